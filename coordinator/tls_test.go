package coordinator

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/coordinator/peer"
	"sluice.io/sluice/internal/ownership"
)

// authority makes certificates for a test.
type authority struct {
	t    testing.TB
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign("ca", tmpl, nil)
	return a
}

func (a *authority) sign(name string, tmpl *x509.Certificate, parent *authority) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	by, byKey := tmpl, key
	if parent != nil {
		by, byKey = parent.cert, parent.key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by, &key.PublicKey, byKey)
	if err != nil {
		a.t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".crt", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", keyDER)
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	a.t.Helper()
	if err := os.WriteFile(filepath.Join(a.dir, name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) node(name string) peer.TLSFiles {
	a.t.Helper()
	a.sign(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a)
	return peer.TLSFiles{CA: filepath.Join(a.dir, "ca.crt"), Cert: filepath.Join(a.dir, name+".crt"), Key: filepath.Join(a.dir, name+".key")}
}

func TestPeersInMutualTLS(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	k := newCluster(t, 3, nil, func(i int, o *Options) { o.TLS = ca.node(o.NodeID) })
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
	// Neither a stranger's certificate nor none gets in.
	other := newAuthority(t)
	for name, files := range map[string]peer.TLSFiles{"stranger": other.node("n9"), "plain": {}} {
		o := Options{
			NodeID: "n9", DataDir: t.TempDir(), PeerListen: ports(t, 1)[0], Join: k.addrs, Timing: quick(), TLS: files, Logger: testLogger(t),
		}
		n := &testNode{t: t, opts: o, running: map[ownership.TaskID]uint64{}}
		n.start()
		eventually(t, name+" to be refused", func() bool { return strings.Contains(n.c.Stage(), "no answer from") })
		if n.c.ClusterID() != "" {
			t.Errorf("%s got in", name)
		}
		n.kill()
	}
	if _, err := New(Options{NodeID: "x", PeerListen: "127.0.0.1:0", TLS: peer.TLSFiles{CA: "/nowhere"}}); err == nil || !strings.Contains(err.Error(), "peer.tls") {
		t.Errorf("half a configuration: %v", err)
	}
}
