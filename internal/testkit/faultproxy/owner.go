package faultproxy

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Pid gives the process among pids that owns the local end of a TCP connection of this machine whose client end is addr; 0
// when none does or the system does not tell (only Linux does).
func Pid(addr net.Addr, pids []int) int {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return 0
	}
	for _, pid := range pids {
		inode := inodeOf(pid, tcp.Port)
		if inode == "" {
			continue
		}
		link := "socket:[" + inode + "]"
		dir := fmt.Sprintf("/proc/%d/fd", pid)
		fds, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			if to, err := os.Readlink(filepath.Join(dir, fd.Name())); err == nil && to == link {
				return pid
			}
		}
	}
	return 0
}

// inodeOf finds the socket whose local port is port, in the network of pid.
func inodeOf(pid, port int) string {
	for _, table := range []string{"tcp", "tcp6"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table))
		if err != nil {
			continue
		}
		for _, line := range strings.Split(string(text), "\n")[1:] {
			f := strings.Fields(line)
			if len(f) < 10 {
				continue
			}
			_, hex, ok := strings.Cut(f[1], ":")
			if !ok {
				continue
			}
			if n, err := strconv.ParseUint(hex, 16, 16); err == nil && int(n) == port && f[9] != "0" {
				return f[9]
			}
		}
	}
	return ""
}
