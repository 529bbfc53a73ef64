// Package golden holds one marshalled sample of every message of every release (testdata/v*.txt) and the numbers that
// were ever given (testdata/numbers.txt). Its tests fail when bytes that a release has written no longer decode to the
// same values, or when a field, command or enum number changes its meaning or disappears.
//
// After adding to a .proto file: go test ./proto/golden -update. That appends to the files of the release under way and
// never changes what is there; a release is closed by naming the next one in current.
package golden
