package coordinator

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/coordinator/peer"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/internal/testkit/proc"
)

func issue(tb testing.TB, a *proc.Authority, name string, change func(*x509.Certificate)) peer.TLSFiles {
	tb.Helper()
	ca, cert, key := a.Issue(tb, name, change)
	return peer.TLSFiles{CA: ca, Cert: cert, Key: key}
}

func TestPeersInMutualTLS(t *testing.T) {
	t.Parallel()
	ca := proc.NewAuthority(t, "an authority")
	k := newCluster(t, 3, nil, func(i int, o *Options) { o.TLS = issue(t, ca, o.NodeID, nil) })
	k.startAll()
	k.voters(3)
	if _, err := k.nodes[2].c.Create(t.Context(), "c", nil, ownership.TargetRunning); err != nil {
		t.Fatal(err)
	}
	for _, n := range k.nodes {
		if err := n.c.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := n.c.Connector("c"); err != nil {
			t.Fatal(err)
		}
	}
	// Neither a stranger's certificate nor none gets in, nor one for another host; each learns why.
	other := issue(t, proc.NewAuthority(t, "another authority"), "n9", nil)
	for _, x := range []struct {
		name  string
		files peer.TLSFiles
		says  string
	}{
		{"stranger", other, "x509: certificate signed by unknown authority"},
		{"plain", peer.TLSFiles{}, "is peer.tls set on that node, and not on this one?"},
	} {
		o := Options{
			NodeID: "n9", DataDir: t.TempDir(), PeerListen: addresses(t, 1)[0], Join: k.addrs, Timing: quick(), TLS: x.files, Logger: testLogger(t),
		}
		n := &testNode{t: t, opts: o, running: map[ownership.TaskID]uint64{}}
		n.start()
		eventually(t, x.name+" to be refused with a reason", func() bool {
			return strings.Contains(n.c.Stage(), "no answer from") && strings.Contains(n.c.Stage(), x.says)
		})
		if n.c.ClusterID() != "" {
			t.Errorf("%s got in", x.name)
		}
		n.kill()
	}
}

// TestTLSFilesThatNoPeerTakes are refused at the start, with what is wrong about them.
func TestTLSFilesThatNoPeerTakes(t *testing.T) {
	t.Parallel()
	ca, other := proc.NewAuthority(t, "an authority"), proc.NewAuthority(t, "another authority")
	good := issue(t, ca, "good", nil)
	foreign := issue(t, other, "foreign", nil)
	foreign.CA = good.CA
	swapped := good
	swapped.Key = foreign.Key
	for _, x := range []struct {
		name  string
		files peer.TLSFiles
		says  []string
	}{
		{"half", peer.TLSFiles{CA: "/nowhere"}, []string{"peer.tls.ca", "peer.tls.cert", "peer.tls.key"}},
		{"missing", peer.TLSFiles{CA: "/nowhere", Cert: good.Cert, Key: good.Key}, []string{"peer.tls.ca", "/nowhere"}},
		{"no certificate", peer.TLSFiles{CA: good.Key, Cert: good.Cert, Key: good.Key}, []string{"peer.tls.ca", "holds no certificate"}},
		{"another key", swapped, []string{"peer.tls.key", "private key does not match"}},
		{"another authority", foreign, []string{"not of the authority in peer.tls.ca"}},
		{"expired", issue(t, ca, "old", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }), []string{"peer.tls.cert", "expired"}},
		{"server only", issue(t, ca, "server", func(c *x509.Certificate) { c.ExtKeyUsage = c.ExtKeyUsage[:1] }), []string{"clientAuth"}},
	} {
		_, err := New(Options{NodeID: "x", PeerListen: "127.0.0.1:0", TLS: x.files})
		for _, want := range x.says {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not say %q", x.name, err, want)
			}
		}
	}
}
