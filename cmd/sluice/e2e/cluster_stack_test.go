package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/faultproxy"
	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
	"sluice.io/sluice/internal/testkit/s3"
)

// stack says what a cluster under test stands on.
type stack struct {
	peers bool // a fault proxy before the peer port of each node
	kafka bool // a real Apache Kafka in place of kfake
	minio bool // the lake on MinIO behind a fault proxy in place of a folder
	disks bool // lake and data of each node on small file systems of their own, where the system lets the test mount them
}

// newCluster prepares nodes n1, n2, … and a broker; the nodes are started by the test.
func newCluster(tb testing.TB, size int) *cluster {
	tb.Helper()
	return prepare(tb, size, stack{})
}

// prepare makes a cluster. Through the proxy before a peer port, a port on which nobody listens is one that resets connections, so
// the quick ways of noticing that a process is gone do not work.
func prepare(tb testing.TB, size int, on stack) *cluster {
	tb.Helper()
	c := &cluster{}
	var servers string
	if on.kafka {
		servers = c.realKafka(tb)
	} else {
		servers = c.fakeKafka(tb)
	}
	dir := tb.TempDir()
	for i := range size {
		c.nodes = append(c.nodes, &node{id: fmt.Sprintf("n%d", i+1), dir: filepath.Join(dir, fmt.Sprintf("n%d", i+1))})
	}
	if on.disks {
		c.disks = mount(tb, dir, append([]string{"lake"}, c.ids()...))
	}
	lake := filepath.Join(dir, "lake")
	if err := os.MkdirAll(lake, 0o755); err != nil {
		tb.Fatal(err)
	}
	at, settings := lake, "file://"+lake // for the test, for the nodes
	if on.minio {
		at, settings = c.onMinIO(tb)
	}
	var join []string
	var listen []int
	for range size {
		port := ports.Free(tb)
		listen = append(listen, port)
		if !on.peers {
			join = append(join, fmt.Sprintf("127.0.0.1:%d", port))
			continue
		}
		p, err := faultproxy.Listen("127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", port), c.owner)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = p.Close() })
		c.peers = append(c.peers, p)
		join = append(join, p.Addr().String())
	}
	for i, n := range c.nodes {
		n.lake = at
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			tb.Fatal(err)
		}
		rest := ports.Address(tb)
		n.rest = "http://" + rest
		conf := fmt.Sprintf(`node.id: %s
data.dir: %s
lake.url: %s
kafka.bootstrap.servers: %s
rest.listen: %s
rest.advertised: %s
peer.listen: 127.0.0.1:%d
peer.advertised: %s
cluster.join: %s
memory.limit: 256MiB
log.format: text
`, n.id, filepath.Join(n.dir, "data"), settings, servers, rest, rest, listen[i], join[i], strings.Join(join, ","))
		path := filepath.Join(n.dir, "sluice.yaml")
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			tb.Fatal(err)
		}
		n.args = []string{"serve", "--config", path}
	}
	bucket, err := stores.Open(context.Background(), at)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = bucket.Close() })
	c.lake = &lakeWatch{bucket: bucket, tables: map[string]*delta.Table{}}
	return c
}

func (c *cluster) ids() []string {
	var out []string
	for _, n := range c.nodes {
		out = append(out, n.id)
	}
	return out
}

// fakeKafka starts a broker in this process behind a fault proxy.
func (c *cluster) fakeKafka(tb testing.TB) string {
	b := broker.Start(tb, broker.Listen(func(network, address string) (net.Listener, error) {
		ln, err := faultproxy.Before(network, address, c.owner)
		if err != nil {
			return nil, err
		}
		c.kafka = ln.Proxy
		return ln, nil
	}))
	c.client, c.topic = b.Client(), b.Topic
	return b.Servers()
}

// realKafka starts an Apache Kafka behind a fault proxy.
func (c *cluster) realKafka(tb testing.TB) string {
	c.real = proc.StartKafkaBehind(tb, tb.TempDir(), func(listens string) string {
		p, err := faultproxy.Listen("127.0.0.1:0", listens, c.owner)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = p.Close() })
		c.kafka = p
		return p.Addr().String()
	})
	var err error
	// A new topic takes a moment until every part of the broker knows it.
	c.client, err = kgo.NewClient(kgo.SeedBrokers(c.real.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.UnknownTopicRetries(100),
		kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(c.client.Close)
	admin := kadm.NewClient(c.client)
	c.topic = func(name string, partitions int32) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if _, err := admin.CreateTopic(ctx, partitions, 1, nil, name); err != nil {
			tb.Fatalf("create topic %s: %v", name, err)
		}
	}
	return c.real.Addr
}

// onMinIO starts a store and gives the lake's URL, past the fault proxy and through it.
func (c *cluster) onMinIO(tb testing.TB) (direct, through string) {
	server := s3.Start(tb, "minio")
	p, err := faultproxy.ListenHTTP("127.0.0.1:0", strings.TrimPrefix(server.Endpoint, "http://"), c.owner)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	c.store = p
	t, ok := tb.(interface{ Setenv(key, value string) })
	if !ok {
		tb.Fatal("a benchmark cannot set the environment of what it starts")
	}
	for k, v := range server.Env() {
		t.Setenv(k, v)
	}
	return server.URL("shop"), server.URL("shop") + "?endpoint=http://" + p.Addr().String()
}

// disks are small file systems in memory that a test can fill.
type disks struct {
	at map[string]string // by name
}

// diskSize is more than a test needs and little enough to fill it in no time.
const diskSize = "256m"

// mount gives each name in dir a file system of its own; nil where the system does not let the test do that.
func mount(tb testing.TB, dir string, names []string) *disks {
	tb.Helper()
	d := &disks{at: map[string]string{}}
	for _, name := range names {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(path, 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := syscall.Mount("tmpfs", path, "tmpfs", 0, "size="+diskSize); err != nil {
			tb.Logf("no file systems of its own, so no full disks: %v", err)
			return nil
		}
		d.at[name] = path
		// Processes end before, since they were started later.
		tb.Cleanup(func() {
			if err := syscall.Unmount(path, syscall.MNT_DETACH); err != nil {
				tb.Errorf("unmount %s: %v", path, err)
			}
		})
	}
	return d
}

// fill leaves no byte free on a disk; drain takes the ballast away.
func (d *disks) fill(tb testing.TB, name string) {
	tb.Helper()
	f, err := os.Create(d.ballast(name))
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	block := make([]byte, 1<<20)
	for size := len(block); size > 0; {
		_, err := f.Write(block[:size])
		if errors.Is(err, syscall.ENOSPC) {
			size /= 4
		} else if err != nil {
			tb.Fatal(err)
		}
	}
}

func (d *disks) drain(tb testing.TB, name string) {
	tb.Helper()
	if err := os.Remove(d.ballast(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		tb.Fatal(err)
	}
}

func (d *disks) ballast(name string) string { return filepath.Join(d.at[name], "ballast") }
