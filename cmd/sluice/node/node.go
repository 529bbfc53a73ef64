package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"sluice.io/sluice/api"
	"sluice.io/sluice/api/loggers"
	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/coordinator"
	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/worker"
)

// Options say how a node is built.
type Options struct {
	Settings *settings.Settings
	Version  string
	// Log is where lines go; it must let every level through.
	Log slog.Handler
	// Timing of the cluster; the zero value is the usual one.
	Timing coordinator.Timing
	// Crash is called at the phases of commits, for the kill test.
	Crash func(phase string)
}

// Node is a running node. Start makes it, Run waits for its end.
type Node struct {
	o       Options
	log     *slog.Logger
	loggers *loggers.Registry
	lock    *os.File
	metrics *prometheus.Registry
	clients *clients
	lakes   *lakes
	coord   *coordinator.Coordinator
	worker  *worker.Runtime
	api     *api.Server
	ln      net.Listener
	up      atomic.Bool
	checks  sync.WaitGroup
	// stopCheck ends the look at lake and broker that goes on behind the start; nil where there is none.
	stopCheck context.CancelFunc
	running   atomic.Pointer[worker.Runtime] // the worker, once there is one: peers may ask before
}

// ListenError says which setting names the address that can't be listened on.
type ListenError struct {
	Setting, Address string
	Err              error
}

// Error implements error. The way out names the flag.
func (e *ListenError) Error() string {
	flag := settings.Definition{Name: e.Setting}.Flag()
	if strings.Contains(e.Err.Error(), "address already in use") {
		return fmt.Sprintf("%s is %s and that port is in use; stop what uses it, or choose another with --%s (:0 takes any free one)", e.Setting, e.Address, flag)
	}
	return fmt.Sprintf("%s is %s and can't be listened on: %v; choose another with --%s", e.Setting, e.Address, e.Err, flag)
}

// Unwrap gives the cause.
func (e *ListenError) Unwrap() error { return e.Err }

// Start takes the ports and files of a node and checks what it was told. The order:
//
//  1. the lock of data.dir: two processes in one folder would spoil each other's files;
//  2. the REST port, before anything that takes time, so that a port in use is said at once;
//  3. lake and broker, so that a wrong address or password is said here and not in a task's trace. A node that has been a
//     member of a cluster is needed there whatever lake and broker do, so it only warns;
//  4. the coordinator, which opens the Raft log and the peer port;
//  5. worker and API, which only hold what the others have opened.
//
// What was taken is given back when a later step fails.
func Start(ctx context.Context, o Options) (_ *Node, err error) {
	s := o.Settings
	if o.Log == nil {
		o.Log = slog.DiscardHandler
	}
	n := &Node{o: o, loggers: loggers.New(o.Log), metrics: prometheus.NewRegistry()}
	n.loggers.SetRoot(s.LogLevel)
	n.log = n.loggers.Logger("node")
	for _, w := range s.Warnings {
		n.log.Warn(w)
	}
	defer func() {
		if err != nil {
			n.release()
		}
	}()
	if err = checkPeerTLS(s); err != nil {
		return nil, err
	}
	if n.lock, err = LockDir(s.DataDir, "--data-dir (data.dir)"); err != nil {
		return nil, err
	}
	if n.ln, err = net.Listen("tcp", s.RESTListen); err != nil {
		return nil, &ListenError{Setting: "rest.listen", Address: s.RESTListen, Err: err}
	}
	rest := settings.Advertise(n.ln.Addr().String(), hostOf(s.RESTAdvertised))
	n.lakes = &lakes{}
	defaults := n.defaults()
	base := kafka.Properties(s.Kafka)
	n.clients = newClients(base, kafka.NewBudget(8<<20), n.loggers.Logger("kafka"))
	if err = checkProperties(base); err != nil {
		return nil, err
	}
	for _, k := range base.Unknown() {
		n.log.Warn(unknownProperty(k), "setting", "kafka."+k)
	}
	if err = n.checkSurroundings(ctx); err != nil {
		return nil, err
	}
	n.coord, err = coordinator.New(coordinator.Options{
		NodeID: s.NodeID, DataDir: s.DataDir, PeerListen: s.PeerListen, PeerAdvertised: s.PeerAdvertised, RESTAdvertised: rest,
		Join: s.ClusterJoin, TLS: s.PeerTLS, Version: o.Version, Discovery: &discovery{clients: n.clients, defaults: defaults},
		Validate: validate(defaults), Logger: n.loggers.Logger("coordinator"), Timing: o.Timing,
		Refused: n.refused, SetLevel: func(logger string, level slog.Level) { n.loggers.Set(logger, level, time.Now()) },
	})
	if err != nil {
		return nil, explainCoordinator(err, s)
	}
	if err = n.metrics.Register(collectors.NewGoCollector()); err == nil {
		err = n.metrics.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	}
	if err != nil {
		return nil, fmt.Errorf("register metrics: %w", err)
	}
	openLake := stores.Open
	if o.Crash != nil {
		openLake = openInFlight(openLake, o.Crash, n.log)
	}
	n.worker, err = worker.New(worker.Options{
		Node: s.NodeID, Ownership: n.coord, Kafka: base, OpenLake: openLake, Formats: formats.Default(), Defaults: defaults,
		DataDir: s.DataDir, MemoryLimit: s.MemoryLimit, Grace: s.ShutdownTimeout / 2,
		Logger: n.loggers.Logger("worker"), Registerer: n.metrics, Crash: o.Crash,
	})
	if err != nil {
		return nil, err
	}
	n.running.Store(n.worker)
	if err = n.metrics.Register(clusterMetrics{n.coord}); err != nil {
		return nil, fmt.Errorf("register metrics of the cluster: %w", err)
	}
	n.api, err = api.New(n.apiOptions(defaults))
	return n, err
}

// release gives back what Start took.
func (n *Node) release() {
	if n.stopCheck != nil {
		n.stopCheck()
		n.checks.Wait()
	}
	if n.coord != nil {
		_ = n.coord.Close() // on the way out with another error
	}
	if n.clients != nil {
		n.clients.close()
	}
	if n.lakes != nil {
		_ = n.lakes.close()
	}
	if n.ln != nil {
		_ = n.ln.Close()
	}
	if n.lock != nil {
		_ = n.lock.Close()
	}
}

// URL is the REST address of this node, for this machine.
func (n *Node) URL() string {
	host, port, err := net.SplitHostPort(n.ln.Addr().String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Ready is closed when the node belongs to a cluster that has a leader.
func (n *Node) Ready() <-chan struct{} { return n.coord.Ready() }

// Metrics gathers the figures of this node.
func (n *Node) Metrics() prometheus.Gatherer { return n.metrics }

// Stats are the figures of this node's tasks.
func (n *Node) Stats() worker.Stats { return n.worker.Stats() }

// Run works until ctx ends or a part fails, and then stops in the order opposite to the start:
//
//  1. the cluster is told that this node leaves, so that its tasks are planned elsewhere;
//  2. the worker finishes its batches and releases its tasks, for which it needs the coordinator;
//  3. REST answers to the last, so that whoever drains can watch it;
//  4. the coordinator hands on leadership and closes the log; then Kafka clients, lakes, the lock.
func (n *Node) Run(ctx context.Context) error {
	hard, kill := context.WithCancel(context.WithoutCancel(ctx))
	defer kill()
	soft, drain := context.WithCancel(ctx)
	defer drain()

	g := new(errgroup.Group)
	// part runs f until its context ends; a part that ends by itself takes the node along.
	part := func(name string, in context.Context, f func(context.Context) error) <-chan struct{} {
		done := make(chan struct{})
		g.Go(func() error {
			defer close(done)
			defer drain()
			if err := f(in); err != nil && !errors.Is(err, context.Canceled) {
				n.log.Error("a part of the node failed", "part", name, "error", err)
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		return done
	}
	coordHard, stopCoord := context.WithCancel(hard)
	defer stopCoord()
	server := &http.Server{Handler: n.api, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(n.loggers.Handler(), slog.LevelDebug)}
	coordDone := part("coordinator", coordHard, n.coord.Run)
	restDone := part("rest", hard, func(context.Context) error {
		if err := server.Serve(n.ln); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	workerHard, stopWorker := context.WithCancel(hard)
	defer stopWorker()
	workerDone := part("worker", workerHard, n.worker.Run)
	n.log.Info("node is up", "node", n.o.Settings.NodeID, "rest", n.URL(), "peer", n.coord.PeerAddress(), "version", n.o.Version,
		"data", n.o.Settings.DataDir, "lake", n.o.Settings.LakeURL)
	n.up.Store(true)

	<-soft.Done()
	n.log.Info("draining", "timeout", n.o.Settings.ShutdownTimeout)
	limit, cancel := context.WithTimeout(hard, n.o.Settings.ShutdownTimeout)
	defer cancel()
	n.leave(limit)
	stopWorker()
	wait(limit, workerDone)
	_ = server.Shutdown(limit) // open requests that outlast the limit are cut off
	_ = server.Close()
	wait(limit, restDone)
	stopCoord()
	wait(limit, coordDone)
	if limit.Err() != nil {
		n.log.Warn("the drain took longer than shutdown.timeout; what was not committed is read again by the next owner")
	}
	kill()
	err := g.Wait()
	n.ln = nil // closed by the server
	n.release()
	n.log.Info("stopped")
	return err
}

func wait(limit context.Context, done <-chan struct{}) {
	select {
	case <-done:
	case <-limit.Done():
	}
}

// defaults are what connectors inherit.
func (n *Node) defaults() config.Defaults {
	s := n.o.Settings
	d := config.Defaults{LakeURL: s.LakeURL, Registry: config.NewRegistry(n.o.Version), ClientProperty: kafka.NoEffect}
	converter := func(name string) config.Converter {
		c := config.Converter{Class: s.Converters[name], Options: map[string]string{}}
		for k, v := range s.Converters {
			if tail, ok := strings.CutPrefix(k, name+"."); ok {
				c.Options[tail] = v
			}
		}
		return c
	}
	d.KeyConverter, d.ValueConverter = converter("key.converter"), converter("value.converter")
	return d
}

func (n *Node) apiOptions(d config.Defaults) api.Options {
	lake := &lakePort{lakes: n.lakes, clients: n.clients, defaults: d, coord: n.coord}
	return api.Options{
		Cluster: n.coord, Lake: lake, Registry: d.Registry, Defaults: d, Reach: n.reach,
		KafkaClusterID: n.clients.clusterID, Health: n.health, Loggers: n.loggers, Logger: n.loggers.Logger("rest"),
		Node: n.o.Settings.NodeID, Version: n.o.Version,
		Metrics: promhttp.HandlerFor(n.metrics, promhttp.HandlerOpts{}),
		Drain:   n.drainMember, RaiseEpoch: lake.raiseEpoch,
		Leave: n.coord.DrainUntilRestart,
		Admin: n.coord,
		Stats: func() any { return n.worker.Stats() },

		Conditions: n.coord.Conditions, BroadcastLevel: n.coord.SetLevels,
	}
}

func (n *Node) health(context.Context) error {
	select {
	case <-n.coord.Ready():
		return nil
	default:
		return fmt.Errorf("%w: %s", api.ErrStarting, n.coord.Stage())
	}
}

// refused counts the commits of this life that tables' logs refused.
func (n *Node) refused() int64 {
	if w := n.running.Load(); w != nil {
		return w.RefusedCommits()
	}
	return 0
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return "localhost"
	}
	return host
}

// explainCoordinator says which setting or file an error of the coordinator is about.
func explainCoordinator(err error, s *settings.Settings) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "address already in use"):
		return &ListenError{Setting: "peer.listen", Address: s.PeerListen, Err: err}
	case strings.Contains(text, "bind") || strings.Contains(text, "listen"):
		return &ListenError{Setting: "peer.listen", Address: s.PeerListen, Err: err}
	}
	dir := filepath.Join(s.DataDir, "raft")
	if _, another := errors.AsType[*coordinator.FolderError](err); another || errors.Is(err, raftnode.ErrDamaged) {
		return err // it says all
	}
	return fmt.Errorf("the Raft log in %s can't be opened: %w. Connectors and assignments are kept there; the tables and their progress are not. "+
		"On a node of a cluster, move the folder away and let the node join again; on a cluster of one, move it away and create the connectors again: they go on where they were", dir, err)
}

// leave tells the cluster that this node goes; on a cluster of one there is nobody to tell.
func (n *Node) leave(ctx context.Context) {
	if err := n.coord.Leave(ctx); err != nil {
		n.log.Warn("the other nodes could not be told that this one leaves; they will notice", "error", err)
	}
}

// drainMember is REST's drain: it marks, and does not wait.
func (n *Node) drainMember(ctx context.Context, member string, on bool) error {
	if on {
		return n.coord.Drain(ctx, member, false)
	}
	return n.coord.Undrain(ctx, member)
}
