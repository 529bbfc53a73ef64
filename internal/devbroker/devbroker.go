// Package devbroker is the Kafka broker inside `sluice dev`: kfake, persisted to a folder, with errors that say which
// file is broken and what to do. It speaks the real protocol on a real port, so that kcat and every Kafka client
// work with it.
//
// It is not a broker for anybody's data: one process, no replication, no fsync for each write.
package devbroker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Options say where the broker lives.
type Options struct {
	// Dir keeps its log; empty: in memory.
	Dir string
	// Listen is host:port; port 0 takes a free one. Empty: 127.0.0.1:0.
	Listen string
}

// Broker is a running broker.
type Broker struct {
	cluster *kfake.Cluster
	addr    string
}

// ErrPortTaken: Listen is in use; the caller knows the name of the flag.
var ErrPortTaken = errors.New("the port is in use")

// CorruptError names a file of the broker that can't be read.
type CorruptError struct {
	File string
	Err  error
}

// Error implements error.
func (e *CorruptError) Error() string {
	return fmt.Sprintf("the embedded broker's file %s is broken: %v", e.File, e.Err)
}

// Unwrap gives the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// Open starts the broker, with the records that Dir holds.
func Open(o Options) (*Broker, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("sluice-dev"), kfake.DefaultNumPartitions(4)}
	if o.Dir != "" {
		if err := os.MkdirAll(o.Dir, 0o755); err != nil {
			return nil, fmt.Errorf("make the broker's folder: %w", err)
		}
		if err := check(o.Dir); err != nil {
			return nil, err
		}
		opts = append(opts, kfake.DataDir(o.Dir))
	}
	ln, err := net.Listen("tcp", o.Listen)
	if err != nil {
		if strings.Contains(err.Error(), "address already in use") {
			return nil, fmt.Errorf("the embedded broker can't listen on %s: %w", o.Listen, ErrPortTaken)
		}
		return nil, fmt.Errorf("the embedded broker can't listen on %s: %w", o.Listen, err)
	}
	opts = append(opts, kfake.ListenFn(func(string, string) (net.Listener, error) { return ln, nil }))
	c, err := kfake.NewCluster(opts...)
	if err != nil {
		ln.Close()
		return nil, &CorruptError{File: o.Dir, Err: err}
	}
	return &Broker{cluster: c, addr: ln.Addr().String()}, nil
}

// Addr is the bootstrap address.
func (b *Broker) Addr() string { return b.addr }

// Close writes everything to disk and stops.
func (b *Broker) Close() { b.cluster.Close() }

// check looks at the files that the broker can't do without, so that an error names one of them. What is behind the last
// whole batch of a segment is cut off by the broker itself, as after any crash.
func check(dir string) error {
	meta := filepath.Join(dir, "meta.json")
	if _, err := os.Stat(meta); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(filepath.Join(dir, "partitions")); err == nil {
			return &CorruptError{File: meta, Err: errors.New("it is missing, and there are records in the folder beside it")}
		}
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("read the broker's folder: %w", err)
	}
	for _, e := range entries {
		if filepath.Ext(e.Name()) != ".json" || e.IsDir() {
			continue
		}
		path := filepath.Join(dir, e.Name())
		text, err := os.ReadFile(path)
		if err != nil {
			return &CorruptError{File: path, Err: err}
		}
		var any json.RawMessage
		if err := json.Unmarshal(text, &any); err != nil {
			return &CorruptError{File: path, Err: err}
		}
	}
	return nil
}
