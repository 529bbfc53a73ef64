package raftnode

import (
	"errors"

	"github.com/hashicorp/raft"
)

var (
	// ErrNotLeader: the entry was not accepted here and will not be applied.
	ErrNotLeader = errors.New("this node does not lead")
	// ErrUnknown: the entry was accepted, then leadership or patience was lost: it may be applied or not.
	ErrUnknown = errors.New("outcome unknown: leadership was lost while the entry was on its way")
	// ErrClosed: the node is shut down.
	ErrClosed = errors.New("raft node is closed")
	// ErrDamaged: the files on disk cannot be used; the wrapping error says which and what to do.
	ErrDamaged = errors.New("raft files are damaged")
	// ErrInUse: another process has the files open.
	ErrInUse = errors.New("raft files are in use by another process")
)

func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress), errors.Is(err, raft.ErrEnqueueTimeout):
		return errors.Join(ErrNotLeader, err)
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore):
		return errors.Join(ErrUnknown, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return errors.Join(ErrClosed, err)
	default:
		return err
	}
}
