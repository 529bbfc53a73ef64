// Package proto answers one question: what have we promised on disk and on the wire? It holds numbers and no logic.
//
//	raft/v1      commands of the Raft log; a command's number is its field number in Command.body
//	snapshot/v1  records of a snapshot of the replicated state
//	peer/v1      requests and answers between nodes
//	golden       one marshalled sample of every message of every release, and the tests that old bytes still decode
//
// Rules, which golden enforces:
//
//   - a number is never given a second meaning: fields and commands are appended, retired ones are reserved;
//   - a command states the version from which it is known (min_version). It is proposed only when every member knows
//     that version, and a node that meets a newer one stops (D10);
//   - repeated entries stand where a map would, since the order of a map's bytes is not promised.
//
// The Go code is generated: go run ./internal/tools/protogen. With -check the tool fails when it is not current.
package proto
