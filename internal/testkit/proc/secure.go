package proc

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/ports"
)

// Secure is what a client needs for the secured listeners of a broker.
type Secure struct {
	// SSL asks for a client certificate; SASLSSL and SASLPlaintext for a user by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
	SSL, SASLSSL, SASLPlaintext string
	User, Password              string
	// Files in PEM: the authority of all certificates, another one that signed nothing, and the client's certificate and key.
	CA, OtherCA, ClientCert, ClientKey string
	server                             string // the broker's key and chain
}

// StartSecureKafka starts a broker as StartKafka does, with secured listeners beside the plain one.
func StartSecureKafka(tb testing.TB, dir string) (*Kafka, *Secure) {
	tb.Helper()
	s := &Secure{User: "sluice", Password: "it is a \"secret\""}
	for _, at := range []*string{&s.SSL, &s.SASLSSL, &s.SASLPlaintext} {
		*at = ports.Address(tb)
	}
	file := func(name string, blocks ...*pem.Block) string {
		return writePEM(tb, filepath.Join(dir, name), blocks...)
	}
	ca, other := NewAuthority(tb, "an authority"), NewAuthority(tb, "another authority")
	s.CA, s.OtherCA = file("ca.pem", ca.block()), file("other.pem", other.block())
	cert, key := ca.sign(tb, template("broker"))
	s.server = file("broker.pem", key, cert, ca.block())
	cert, key = ca.sign(tb, template("client"))
	s.ClientCert, s.ClientKey = file("client.pem", cert), file("client.key", key)
	return startKafka(tb, dir, nil, s), s
}

func (s *Secure) listeners() string {
	if s == nil {
		return ""
	}
	return ",SSL://" + s.SSL + ",SASL_SSL://" + s.SASLSSL + ",SASL_PLAINTEXT://" + s.SASLPlaintext
}

func (s *Secure) properties() string {
	if s == nil {
		return ""
	}
	lines := []string{
		"ssl.keystore.type=PEM", "ssl.keystore.location=" + s.server, "ssl.truststore.type=PEM", "ssl.truststore.location=" + s.CA,
		"listener.name.ssl.ssl.client.auth=required", "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
	}
	for _, l := range []string{"sasl_ssl", "sasl_plaintext"} {
		lines = append(lines,
			fmt.Sprintf("listener.name.%s.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s=%s;",
				l, s.User, strings.ReplaceAll(quote(s.Password), "\\", "\\\\")))
		for _, m := range []string{"scram-sha-256", "scram-sha-512"} {
			lines = append(lines, fmt.Sprintf("listener.name.%s.%s.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;", l, m))
		}
	}
	return strings.Join(append(lines, ""), "\n")
}

// quote writes a value of a JAAS line.
func quote(s string) string { return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"` }

// JAAS gives sasl.jaas.config for a login module.
func (s *Secure) JAAS(module, password string) string {
	return fmt.Sprintf("org.apache.kafka.common.security.%s required username=%s password=%s;", module, quote(s.User), quote(password))
}

func (s *Secure) users() []string {
	if s == nil {
		return nil
	}
	var out []string
	for _, m := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		out = append(out, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", m, s.User, s.Password))
	}
	return out
}

// Authority signs certificates for 127.0.0.1.
type Authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// NewAuthority makes an authority.
func NewAuthority(tb testing.TB, name string) *Authority {
	tb.Helper()
	a := &Authority{}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		tb.Fatal(err)
	}
	t := template(name)
	t.IsCA, t.BasicConstraintsValid, t.KeyUsage, t.ExtKeyUsage, t.IPAddresses = true, true, x509.KeyUsageCertSign, nil, nil
	raw, err := x509.CreateCertificate(rand.Reader, t, t, a.key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(raw); err != nil {
		tb.Fatal(err)
	}
	return a
}

// Issue writes the authority, and a certificate with its key, which change may alter before it is signed, to new files.
func (a *Authority) Issue(tb testing.TB, name string, change func(*x509.Certificate)) (ca, cert, key string) {
	tb.Helper()
	dir := tb.TempDir()
	t := template(name)
	if change != nil {
		change(t)
	}
	c, k := a.sign(tb, t)
	return writePEM(tb, filepath.Join(dir, "ca.crt"), a.block()), writePEM(tb, filepath.Join(dir, name+".crt"), c), writePEM(tb, filepath.Join(dir, name+".key"), k)
}

func writePEM(tb testing.TB, path string, blocks ...*pem.Block) string {
	tb.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	if err := os.WriteFile(path, text, 0o600); err != nil {
		tb.Fatal(err)
	}
	return path
}

// template is of a certificate that is good for a day, for servers and clients.
func template(name string) *x509.Certificate {
	return &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
}

func (a *Authority) block() *pem.Block { return &pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw} }

func (a *Authority) sign(tb testing.TB, t *x509.Certificate) (cert, private *pem.Block) {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	raw, err := x509.CreateCertificate(rand.Reader, t, a.cert, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return &pem.Block{Type: "CERTIFICATE", Bytes: raw}, &pem.Block{Type: "PRIVATE KEY", Bytes: der}
}
