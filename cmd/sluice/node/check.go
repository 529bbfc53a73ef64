package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"

	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/blob"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/coordinator/peer"
)

// checkProperties tells what is wrong with the settings under kafka., without connecting.
func checkProperties(p kafka.Properties) error {
	var errs []error
	for _, err := range kafka.Check(p) {
		if c, ok := errors.AsType[*kafka.ConfigError](err); ok {
			err = &kafka.ConfigError{Key: "kafka." + c.Key, Value: c.Value, Problem: c.Problem}
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unknownProperty says what a Kafka property without meaning does, and which one it may have been meant to be.
func unknownProperty(k string) string {
	text := "this Kafka property is not known and changes nothing"
	if meant := kafka.Meant(k); meant != "" {
		text += "; did you mean kafka." + meant + "?"
	}
	return text
}

// checkPeerTLS tells what is wrong with the files of TLS between nodes, before a peer refuses them.
func checkPeerTLS(s *settings.Settings) error {
	if s.PeerTLS == (peer.TLSFiles{}) {
		return nil
	}
	_, err := s.PeerTLS.Load()
	return err
}

// checkSurroundings looks whether lake and broker of the settings can be reached. Where the node has a Raft log already it was
// right about them once, and it has a vote to give and REST to answer: it starts, and says what it finds later.
func (n *Node) checkSurroundings(ctx context.Context) error {
	check := func(ctx context.Context) error {
		if err := n.checkLake(ctx, n.o.Settings.LakeURL); err != nil {
			return err
		}
		return n.checkBroker(ctx)
	}
	if _, err := os.Stat(filepath.Join(n.o.Settings.DataDir, "raft")); err != nil {
		return check(ctx)
	}
	ctx, n.stopCheck = context.WithCancel(context.WithoutCancel(ctx))
	n.checks.Go(func() {
		if err := check(ctx); err != nil && ctx.Err() == nil {
			n.log.Warn("tasks will wait for what can't be reached", "error", err)
		}
	})
	return nil
}

// checkBroker looks whether the broker of the settings can be reached.
func (n *Node) checkBroker(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if _, err := n.clients.get(ctx, &config.Sink{}); err != nil {
		return fmt.Errorf("kafka: %w; security.protocol and the credentials under kafka. must fit that listener", err)
	}
	return nil
}

// checkLake looks whether the default lake can be read, and a local one written.
func (n *Node) checkLake(ctx context.Context, url string) error {
	if url == "" {
		return nil
	}
	if p := n.lakes.probe(ctx, url); p != "" {
		return fmt.Errorf("lake.url is %q: %s", url, p)
	}
	return nil
}

// reach tries what a connector's configuration points at, for validate.
func (n *Node) reach(ctx context.Context, s *config.Sink) []config.Problem {
	var out []config.Problem
	if p := n.lakes.probe(ctx, s.LakeURL); p != "" {
		out = append(out, config.Problem{Key: "lake.url", Reason: p})
	}
	out = append(out, n.reachBroker(ctx, "consumer.override.", s.ConsumerOverride)...)
	out = append(out, n.reachBroker(ctx, "producer.override.", s.ProducerOverride)...)
	return append(out, n.reachBroker(ctx, "admin.override.", s.AdminOverride)...)
}

// reachBroker looks at a Kafka client that has properties of its own. The node's broker was looked at when the node started.
func (n *Node) reachBroker(ctx context.Context, prefix string, over map[string]string) []config.Problem {
	if len(over) == 0 {
		return nil
	}
	var out []config.Problem
	props := n.clients.base.With(over)
	for _, err := range kafka.Check(props) {
		key := prefix + "bootstrap.servers"
		if c, ok := errors.AsType[*kafka.ConfigError](err); ok {
			key = prefix + c.Key
		}
		out = append(out, config.Problem{Key: key, Reason: err.Error()})
	}
	if len(out) == 0 && over["bootstrap.servers"] != "" {
		if _, err := n.clients.dial(ctx, props); err != nil {
			out = append(out, config.Problem{Key: prefix + "bootstrap.servers", Reason: err.Error()})
		}
	}
	return out
}

// lakes keeps lakes open that REST asks about.
type lakes struct {
	mu   sync.Mutex
	open map[string]store.Bucket
}

func (l *lakes) get(ctx context.Context, url string) (store.Bucket, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if b := l.open[url]; b != nil {
		return b, nil
	}
	b, err := stores.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if l.open == nil {
		l.open = map[string]store.Bucket{}
	}
	l.open[url] = b
	return b, nil
}

func (l *lakes) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, b := range l.open {
		errs = append(errs, b.Close())
	}
	l.open = nil
	return errors.Join(errs...)
}

// probe gives a sentence that says what is wrong with a lake, with the way out; empty: nothing was found.
func (l *lakes) probe(ctx context.Context, url string) string {
	if path, ok := localPath(url); ok {
		if p := probeFolder(path); p != "" {
			return p
		}
	}
	b, err := l.get(ctx, url)
	if err != nil {
		return err.Error()
	}
	for _, err := range b.List(ctx, "", "") {
		switch {
		case err == nil, errors.Is(err, store.ErrNotFound):
		case errors.Is(err, store.ErrPermission):
			return fmt.Sprintf("the store refuses access: %v; check the credentials of this process", err)
		default:
			return fmt.Sprintf("the lake can't be listed: %v; check that the bucket exists and the address is right", err)
		}
		break
	}
	if _, near := b.(store.IntoReader); near {
		return ""
	}
	// D2 rests on the store's conditional writes: one that takes the condition and ignores it would lose commits without a word.
	if err := blob.Probe(ctx, b, "_sluice_probe-"+uuid.NewString()); err != nil {
		return err.Error()
	}
	return ""
}

func localPath(url string) (string, bool) {
	if rest, ok := strings.CutPrefix(url, "file://"); ok {
		return filepath.FromSlash(rest), true
	}
	return url, !strings.Contains(url, ":")
}

// probeFolder makes the folder of a local lake, as the first table would, and tries to write in it.
func probeFolder(path string) string {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		return fmt.Sprintf("%s is a file, and a lake is a folder", path)
	}
	if err := os.MkdirAll(path, 0o755); err != nil {
		return fmt.Sprintf("the folder can't be made: %v", err)
	}
	f, err := os.CreateTemp(path, ".sluice-probe-*")
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Sprintf("no permission to write in %s; give this user the right to, or choose another folder", path)
	}
	if err != nil {
		return fmt.Sprintf("nothing can be written in %s: %v", path, err)
	}
	_ = f.Close()
	_ = os.Remove(f.Name())
	return ""
}
