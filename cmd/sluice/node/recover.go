package node

import (
	"fmt"
	"net"
	"os"

	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/coordinator"
	"sluice.io/sluice/coordinator/raftnode"
)

// Recover makes the stopped node of these settings the only member of its cluster; dry only says how far its log goes.
func Recover(s *settings.Settings, dry bool) (raftnode.Extent, error) {
	lock, err := LockDir(s.DataDir, "--data-dir (data.dir)") // a node that runs holds it
	if err != nil {
		return raftnode.Extent{}, fmt.Errorf("the node must be stopped: %w", err)
	}
	defer lock.Close()
	o := coordinator.Options{NodeID: s.NodeID, DataDir: s.DataDir, PeerListen: s.PeerListen, PeerAdvertised: s.PeerAdvertised, Join: s.ClusterJoin}
	x, err := coordinator.Inspect(o)
	if err != nil || dry {
		return x, err
	}
	if o.PeerAdvertised == "" { // as the node itself would work it out
		host, port, err := net.SplitHostPort(s.PeerListen)
		if err != nil {
			return x, fmt.Errorf("peer.listen %q is not host:port: %w", s.PeerListen, err)
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			if host, err = os.Hostname(); err != nil {
				return x, fmt.Errorf("peer.advertised is not set and the host has no name: %w", err)
			}
		}
		o.PeerAdvertised = net.JoinHostPort(host, port)
	}
	return x, coordinator.Recover(o)
}
