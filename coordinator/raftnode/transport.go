package raftnode

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"
)

// transport is what raft needs of one.
type transport interface {
	raft.Transport
	raft.WithPreVote
	raft.WithClose
}

// streams makes a raft.StreamLayer of a listener and a dial function.
type streams struct {
	net.Listener
	dial func(address string, timeout time.Duration) (net.Conn, error)
}

func (s streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.dial(string(address), timeout)
}

// nudged forwards the requests of a transport, but those for votes while the node abstains, and lets this node send one to
// itself: TimeoutNow, with which a cluster of one becomes its leader at once instead of waiting whether somebody else is.
// It has no pipelines.
type nudged struct {
	transport
	abstains atomic.Bool
	out      chan raft.RPC
	done     chan struct{}
	once     sync.Once
	wg       sync.WaitGroup
}

func newNudged(t transport, abstains bool) *nudged {
	n := &nudged{transport: t, out: make(chan raft.RPC), done: make(chan struct{})}
	n.abstains.Store(abstains)
	in := t.Consumer()
	n.wg.Go(func() {
		for {
			select {
			case rpc := <-in:
				if n.abstains.Load() && refuseVote(rpc) {
					continue
				}
				select {
				case n.out <- rpc:
				case <-n.done:
					rpc.Respond(nil, raft.ErrTransportShutdown)
					return
				}
			case <-n.done:
				return
			}
		}
	})
	return n
}

// refuseVote answers no where a vote is asked for.
func refuseVote(rpc raft.RPC) bool {
	header := raft.RPCHeader{ProtocolVersion: raft.ProtocolVersionMax}
	switch req := rpc.Command.(type) {
	case *raft.RequestVoteRequest:
		rpc.Respond(&raft.RequestVoteResponse{RPCHeader: header, Term: req.Term}, nil)
	case *raft.RequestPreVoteRequest:
		rpc.Respond(&raft.RequestPreVoteResponse{RPCHeader: header, Term: req.Term}, nil)
	default:
		return false
	}
	return true
}

var errAbstains = errors.New("this node does not stand for election before a leader has taken it in anew")

// RequestVote implements raft.Transport.
func (n *nudged) RequestVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestVoteRequest, resp *raft.RequestVoteResponse) error {
	if n.abstains.Load() {
		return errAbstains
	}
	return n.transport.RequestVote(id, target, args, resp)
}

// RequestPreVote implements raft.WithPreVote.
func (n *nudged) RequestPreVote(id raft.ServerID, target raft.ServerAddress, args *raft.RequestPreVoteRequest, resp *raft.RequestPreVoteResponse) error {
	if n.abstains.Load() {
		return errAbstains
	}
	return n.transport.RequestPreVote(id, target, args, resp)
}

func (n *nudged) Consumer() <-chan raft.RPC { return n.out }

// AppendEntriesPipeline refuses: where a follower refuses entries (its disk is full, say) raft stops to listen to the pipeline before it stops to send, and may
// send for good. The follower gets nothing more from this leader then, which cannot be stopped either.
func (n *nudged) AppendEntriesPipeline(raft.ServerID, raft.ServerAddress) (raft.AppendPipeline, error) {
	return nil, raft.ErrPipelineReplicationNotSupported
}

func (n *nudged) Close() error {
	n.once.Do(func() { close(n.done) })
	err := n.transport.Close()
	n.wg.Wait()
	return err
}

// elect makes this node stand for election now.
func (n *nudged) elect(id, address string, timeout time.Duration) error {
	answer := make(chan raft.RPCResponse, 1)
	rpc := raft.RPC{
		Command: &raft.TimeoutNowRequest{RPCHeader: raft.RPCHeader{
			ProtocolVersion: raft.ProtocolVersionMax, ID: []byte(id), Addr: []byte(address),
		}},
		RespChan: answer,
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case n.out <- rpc:
	case <-n.done:
		return ErrClosed
	case <-timer.C:
		return errors.New("raft does not take requests")
	}
	select {
	case r := <-answer:
		return r.Error
	case <-timer.C:
		return errors.New("raft does not answer")
	}
}

// Network is an in-memory network for tests: nodes that are attached to it reach one another unless they are cut off.
type Network struct {
	mu    sync.Mutex
	nodes map[string]*raft.InmemTransport
	cut   map[[2]string]bool
}

// NewNetwork gives an empty network.
func NewNetwork() *Network {
	return &Network{nodes: map[string]*raft.InmemTransport{}, cut: map[[2]string]bool{}}
}

func (w *Network) attach(address string, timeout time.Duration) *raft.InmemTransport {
	w.mu.Lock()
	defer w.mu.Unlock()
	_, t := raft.NewInmemTransportWithTimeout(raft.ServerAddress(address), timeout)
	w.nodes[address] = t
	w.connect()
	return t
}

func (w *Network) connect() {
	for a, from := range w.nodes {
		for b, to := range w.nodes {
			if a != b && !w.cut[[2]string{a, b}] {
				from.Connect(raft.ServerAddress(b), to)
			} else {
				from.Disconnect(raft.ServerAddress(b))
			}
		}
	}
}

// Cut makes messages from one address to another get lost, or heals that way again.
func (w *Network) Cut(from, to string, cut bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[[2]string{from, to}] = cut
	w.connect()
}
