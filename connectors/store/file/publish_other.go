//go:build !linux

package file

import "os"

// publish gives the content of temp the name path if that is free.
func publish(temp, path string) error { return os.Link(temp, path) }
