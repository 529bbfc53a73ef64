// Package ports gives tests ports for processes that are started, killed and started again.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

// Ports lie below those that systems give to outgoing connections (from 32768 on by default; RFC 6335 says from 49152 on): such a one would be taken by
// somebody's connection while its process is down.
const (
	lowest  = 10000
	highest = 32000
)

var (
	mu    sync.Mutex
	given = map[int]bool{}
)

// Free gives a port of 127.0.0.1 that nobody listens on, and that this process was not given before.
func Free(tb testing.TB) int {
	tb.Helper()
	mu.Lock()
	defer mu.Unlock()
	for range 1000 {
		port := lowest + rand.IntN(highest-lowest)
		if given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		given[port] = true
		return port
	}
	tb.Fatal("no free port was found")
	return 0
}

// Address gives 127.0.0.1 with a free port.
func Address(tb testing.TB) string {
	tb.Helper()
	return fmt.Sprintf("127.0.0.1:%d", Free(tb))
}
