package settings

import (
	"errors"
	"os"
	"strconv"
	"strings"
)

var units = []struct {
	name string
	n    int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40}, {"B", 1},
}

// leastMemory is what a node needs to do anything.
const leastMemory = 64 << 20

// size reads a memory size: bytes, a number with a unit, or a share of what there is.
func size(text string) (int64, error) {
	form := errors.New("a size is a number of bytes, with a unit (512MiB, 2GB), or a share (75%)")
	var n int64
	if share, ok := strings.CutSuffix(text, "%"); ok {
		p, err := strconv.ParseFloat(strings.TrimSpace(share), 64)
		if err != nil || p <= 0 || p > 100 {
			return 0, form
		}
		n = int64(float64(available()) * p / 100)
		return max(n, leastMemory), nil
	}
	unit := int64(1)
	for _, u := range units {
		if len(text) > len(u.name) && strings.EqualFold(text[len(text)-len(u.name):], u.name) {
			text, unit = text[:len(text)-len(u.name)], u.n
			break
		}
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	if err != nil || f <= 0 {
		return 0, form
	}
	n = int64(f * float64(unit))
	if n < leastMemory {
		return 0, errors.New("a node needs at least 64MiB")
	}
	return n, nil
}

// available is the memory of the machine or of the cgroup, whichever is less.
func available() int64 {
	least := int64(2 << 30) // where nothing can be learnt
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.SplitSeq(string(text), "\n") {
			f := strings.Fields(line)
			if len(f) >= 2 && f[0] == "MemTotal:" {
				if kb, err := strconv.ParseInt(f[1], 10, 64); err == nil {
					least = kb << 10
				}
			}
		}
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 && n < least {
			least = n
		}
	}
	return least
}
