package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"time"

	"sluice.io/sluice/coordinator/peer"
	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/internal/ownership"
)

// Discovery finds what a connector consists of: the port to Kafka, called on the leader only.
type Discovery interface {
	// Discover lists the topics that the connector reads and the tasks that it should have. It may give both and an
	// error that says what it still waits for (a topic that does not exist yet): the tasks are used and the error's
	// text is shown. Without tasks an error leaves those that there are alone. An error that is
	// ownership.ErrInvalid makes the connector FAILED until it is configured anew or restarted; any other is tried
	// again.
	Discover(ctx context.Context, c ownership.Connector) ([]ownership.Topic, []ownership.Task, error)
}

// DiscoveryFunc is a Discovery.
type DiscoveryFunc func(ctx context.Context, c ownership.Connector) ([]ownership.Topic, []ownership.Task, error)

// Discover implements Discovery.
func (f DiscoveryFunc) Discover(ctx context.Context, c ownership.Connector) ([]ownership.Topic, []ownership.Task, error) {
	return f(ctx, c)
}

// ValidateFunc judges a configuration before it is proposed, on the leader, where no other write of a configuration is
// under way: others are all other connectors. Its error reaches the caller with its text and, if it is one, as
// ownership.ErrInvalid.
type ValidateFunc func(ctx context.Context, c ownership.Connector, others []ownership.Connector) error

// Timing holds the durations that decide how fast the cluster notices things. Zero values mean the defaults.
type Timing struct {
	// Heartbeat is how often a node tells the leader that it lives (200 ms).
	Heartbeat time.Duration
	// Lease is how long a node may go on with its tasks after its last heartbeat that the leader answered (1 s).
	Lease time.Duration
	// Dead is how long the leader waits for a heartbeat before it gives a node's tasks away (1.3 s). It exceeds Lease,
	// so that the owner has stopped by then.
	Dead time.Duration
	// Raft tunes elections.
	Raft raftnode.Timing
	// Discover is how often the broker is asked about a connector's topics (3 s).
	Discover time.Duration
	// Balance is how often tasks that run well may be moved for the sake of balance (5 s).
	Balance time.Duration
	// Revoke is how long an owner has to release a task before it is taken away (30 s).
	Revoke time.Duration
	// Write is how long a write waits for a leader before it fails with ErrNoLeader (10 s).
	Write time.Duration
	// Stable is how long a follower must have been well before it gets a vote (1 s).
	Stable time.Duration
	// DeadVoter is how long a dead voter keeps its vote while there is a follower to replace it (10 s).
	DeadVoter time.Duration
	// ClockSkew is how far the clock of a node that joins may be off (30 s).
	ClockSkew time.Duration
}

func (t Timing) withDefaults() Timing {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&t.Heartbeat, 200*time.Millisecond)
	def(&t.Lease, time.Second)
	def(&t.Dead, t.Lease+300*time.Millisecond)
	def(&t.Discover, 3*time.Second)
	def(&t.Balance, 5*time.Second)
	def(&t.Revoke, 30*time.Second)
	def(&t.Write, 10*time.Second)
	def(&t.Stable, time.Second)
	def(&t.DeadVoter, 10*time.Second)
	def(&t.ClockSkew, 30*time.Second)
	return t
}

// Options of a Coordinator.
type Options struct {
	// NodeID is this node's name for all time; unique in the cluster. Default: the host's name.
	NodeID string
	// DataDir holds the folder raft. Empty keeps everything in memory, for tests.
	DataDir string
	// PeerListen is the address to listen on (":8093"); PeerAdvertised the one under which others reach it.
	PeerListen, PeerAdvertised string
	// RESTAdvertised is shown to others as this node's REST address.
	RESTAdvertised string
	// Join lists the peer addresses of the seeds, this node possibly among them. Empty: a cluster of one.
	Join []string
	// TLS, where any file is named, secures the traffic between peers.
	TLS peer.TLSFiles
	// Version of the binary, for people.
	Version string

	Discovery Discovery
	Validate  ValidateFunc
	// Observe is told of every change of the agreed state, in order, on every node. It must not block.
	Observe func(Event)
	// Refused counts the commits of this life that tables' logs have refused, for Conditions; nil: none.
	Refused func() int64
	// SetLevel sets the level of a logger of this node, for another node's SetLevels; nil: there are no loggers.
	SetLevel func(logger string, level slog.Level)
	Logger   *slog.Logger
	Timing   Timing

	// Now is the wall clock that other nodes compare with theirs; nil: the machine's. Leases do not depend on it.
	Now func() time.Time

	// Dial replaces TCP, and Network Raft's streams, in tests.
	Dial    peer.DialFunc
	Network *raftnode.Network
	// SnapshotEvery and Trailing: see raftnode.Options.
	SnapshotEvery, Trailing uint64
}

func (o *Options) complete() error {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.NodeID == "" {
		host, err := os.Hostname()
		if err != nil {
			return fmt.Errorf("node.id is not set and the host has no name: %w", err)
		}
		o.NodeID = host
	}
	if strings.ContainsAny(o.NodeID, " \t\n/,") {
		return fmt.Errorf("node.id %q: no spaces, slashes and commas, please", o.NodeID)
	}
	if o.PeerListen == "" {
		o.PeerListen = ":8093"
	}
	if _, _, err := net.SplitHostPort(o.PeerListen); err != nil {
		return fmt.Errorf("peer.listen %q is not host:port: %w", o.PeerListen, err)
	}
	for _, s := range o.Join {
		if _, port, err := net.SplitHostPort(s); err != nil || port == "" {
			return fmt.Errorf("cluster.join: %q is not host:port", s)
		}
	}
	o.Timing = o.Timing.withDefaults()
	if o.Timing.Dead < o.Timing.Lease {
		return errors.New("the time after which a node counts as dead must not be shorter than its lease")
	}
	return nil
}

// advertise works out under which address others reach this node, once the listener's port is known.
func (o *Options) advertise(actual net.Addr) error {
	if o.PeerAdvertised != "" {
		host, port, err := net.SplitHostPort(o.PeerAdvertised)
		if err != nil || host == "" || port == "" {
			return fmt.Errorf("peer.advertised %q is not host:port", o.PeerAdvertised)
		}
		return nil
	}
	_, port, err := net.SplitHostPort(actual.String())
	if err != nil {
		return fmt.Errorf("find port of peer.listen: %w", err)
	}
	host, _, _ := net.SplitHostPort(o.PeerListen)
	if ip := net.ParseIP(host); host == "" || (ip != nil && ip.IsUnspecified()) {
		if host, err = os.Hostname(); err != nil {
			return fmt.Errorf("peer.advertised is not set and the host has no name: %w", err)
		}
	}
	o.PeerAdvertised = net.JoinHostPort(host, port)
	return nil
}
