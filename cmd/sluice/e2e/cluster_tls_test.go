package e2e

import (
	"crypto/x509"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/proc"
)

// TestClusterInMutualTLS forms a cluster whose nodes show certificates to each other, and shows what users get to see of a node
// whose certificate is missing, of another authority, or expired.
func TestClusterInMutualTLS(t *testing.T) {
	c := newCluster(t, 3)
	ca := proc.NewAuthority(t, "an authority")
	flags := func(a *proc.Authority, name string, change func(*x509.Certificate)) []string {
		ca, cert, key := a.Issue(t, name, change)
		return []string{"--peer-tls-ca", ca, "--peer-tls-cert", cert, "--peer-tls-key", key}
	}
	for _, n := range c.nodes {
		n.args = append(n.args, flags(ca, n.id, nil)...)
	}
	c.startAll(t, []int{2, 0, 1})
	c.whole(t)
	c.nodes[1].put(t, "a", map[string]string{"connector.class": "LakehouseSink", "topics": "nothing", "name": "a"})
	for _, n := range c.nodes {
		proc.Eventually(t, time.Minute, "every node shows it", func() (bool, string) {
			status, body := n.call(t, "GET", "/connectors/a", nil)
			return status == 200, fmt.Sprint(n.id, status, body)
		})
	}
	waits := func(name, why string, args ...string) {
		t.Helper()
		n := c.nodes[0].like(t, map[string]string{"node.id": name})
		n.args = append(n.args, args...)
		n.start(t)
		proc.Eventually(t, time.Minute, name+" says why it is not let in", func() (bool, string) {
			status, body := n.call(t, "GET", "/health", nil)
			return status == 503 && strings.Contains(body, why), fmt.Sprint(status, body)
		})
		n.Kill()
	}
	waits("plain", "is peer.tls set on that node, and not on this one?")
	waits("stranger", "certificate signed by unknown authority", flags(proc.NewAuthority(t, "another authority"), "stranger", nil)...)
	refused := c.nodes[0].like(t, map[string]string{"node.id": "old"})
	refused.args = append(refused.args, flags(ca, "old", func(x *x509.Certificate) { x.NotAfter = time.Now().Add(-time.Minute) })...)
	refused.refuses(t, "peer.tls.cert", "expired")
	refused = c.nodes[0].like(t, map[string]string{"node.id": "half"})
	refused.args = append(refused.args, "--peer-tls-cert", "/nowhere.crt")
	refused.refuses(t, "peer.tls.ca", "peer.tls.key")
	if members := c.nodes[0].members(t); len(members) != 3 {
		t.Errorf("somebody got in: %+v", members)
	}
}
