package coordinator

import (
	"path/filepath"

	"sluice.io/sluice/coordinator/raftnode"
)

// Inspect says how far the Raft log under o.DataDir goes, so that Recover is given the longest. The node must be stopped.
func Inspect(o Options) (raftnode.Extent, error) {
	if err := o.complete(); err != nil {
		return raftnode.Extent{}, err
	}
	return raftnode.Inspect(filepath.Join(o.DataDir, "raft"), o.Logger)
}
