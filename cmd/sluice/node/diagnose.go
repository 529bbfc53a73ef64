package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"

	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/coordinator/peer"
)

// Finding is one line of a diagnosis. Problem is empty when all is well.
type Finding struct {
	What    string `json:"what"`
	Note    string `json:"note,omitempty"`
	Problem string `json:"problem,omitempty"`
}

// Diagnose checks what a node would be started with, without starting it.
func Diagnose(ctx context.Context, s *settings.Settings) []Finding {
	var out []Finding
	add := func(what, note string, err error) {
		f := Finding{What: what, Note: note}
		if err != nil {
			f.Problem = err.Error()
		}
		out = append(out, f)
	}
	for _, w := range s.Warnings {
		add("environment", "", fmt.Errorf("%s", w))
	}
	lock, err := LockDir(s.DataDir, "--data-dir (data.dir)")
	add("data.dir", s.DataDir, err)
	if lock != nil {
		lock.Close()
	}
	for _, p := range []struct{ setting, addr string }{{"rest.listen", s.RESTListen}, {"peer.listen", s.PeerListen}} {
		ln, err := net.Listen("tcp", p.addr)
		if err != nil {
			err = &ListenError{Setting: p.setting, Address: p.addr, Err: err}
		} else {
			ln.Close()
		}
		add(p.setting, p.addr, err)
	}
	if s.PeerTLS != (peer.TLSFiles{}) {
		add("peer.tls", s.PeerTLS.Cert, checkPeerTLS(s))
	}
	n := &Node{o: Options{Settings: s}, log: slog.New(slog.DiscardHandler), lakes: &lakes{}}
	defer func() { _ = n.lakes.close() }()
	base := kafka.Properties(s.Kafka)
	n.clients = newClients(base, kafka.NewBudget(1<<20), n.log)
	defer n.clients.close()
	note := s.Kafka["bootstrap.servers"]
	err = checkProperties(base)
	if err == nil {
		err = n.checkBroker(ctx)
	}
	if err == nil {
		if cl, cerr := n.clients.get(ctx, &config.Sink{}); cerr == nil {
			if topics, terr := cl.MatchingTopics(ctx, ".*"); terr == nil {
				note = fmt.Sprintf("%s, %d topics", note, len(topics))
			}
		}
	}
	add("kafka.bootstrap.servers", note, err)
	for _, k := range base.Unknown() {
		add("kafka."+k, "", errors.New(unknownProperty(k)))
	}
	if s.LakeURL == "" {
		add("lake.url", "not set: connectors must name their own", nil)
	} else {
		add("lake.url", s.LakeURL, n.checkLake(ctx, s.LakeURL))
	}
	add("memory.limit", fmt.Sprintf("%d MiB", s.MemoryLimit>>20), nil)
	if host, err := os.Hostname(); err == nil {
		add("node.id", fmt.Sprintf("%s on %s", s.NodeID, host), nil)
	}
	return out
}
