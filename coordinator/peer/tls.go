package peer

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"
)

// TLSFiles names PEM files: the authority of the cluster, and this node's certificate and key.
type TLSFiles struct {
	CA, Cert, Key string
}

// Load gives the configuration of both sides: every node shows a certificate of the authority and asks for one. What every
// peer would refuse is an error here. Certificate and key are read again at each handshake, so that a renewed one needs no
// restart; the authority is read once.
func (f TLSFiles) Load() (*tls.Config, error) {
	if f.CA == "" || f.Cert == "" || f.Key == "" {
		return nil, fmt.Errorf("TLS between peers needs all of peer.tls.ca, peer.tls.cert and peer.tls.key, got %q, %q, %q", f.CA, f.Cert, f.Key)
	}
	pem, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("read peer.tls.ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("peer.tls.ca %s holds no certificate in PEM", f.CA)
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("load peer.tls.cert %s with peer.tls.key %s: %w", f.Cert, f.Key, err)
		}
		return &cert, nil
	}
	cert, err := load()
	if err != nil {
		return nil, err
	}
	if err := f.check(cert, pool, time.Now()); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:           tls.VersionTLS13,
		RootCAs:              pool,
		ClientCAs:            pool,
		ClientAuth:           tls.RequireAndVerifyClientCert,
		GetCertificate:       func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return load() },
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() },
	}, nil
}

// check looks at this node's certificate as a peer will: as that of a server, and as that of a client.
func (f TLSFiles) check(cert *tls.Certificate, authority *x509.CertPool, now time.Time) error {
	between := x509.NewCertPool()
	for _, der := range cert.Certificate[1:] {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return fmt.Errorf("peer.tls.cert %s: read its chain: %w", f.Cert, err)
		}
		between.AddCert(c)
	}
	for use, name := range map[x509.ExtKeyUsage]string{x509.ExtKeyUsageServerAuth: "serverAuth", x509.ExtKeyUsageClientAuth: "clientAuth"} {
		_, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: authority, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
		invalid := x509.CertificateInvalidError{}
		switch {
		case err == nil:
		case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
			return fmt.Errorf("peer.tls.cert %s is not for %s; nodes are both to each other, so it needs serverAuth and clientAuth: %w", f.Cert, name, err)
		case errors.As(err, &x509.UnknownAuthorityError{}):
			return fmt.Errorf("peer.tls.cert %s is not of the authority in peer.tls.ca %s, so no peer would take it: %w", f.Cert, f.CA, err)
		default:
			return fmt.Errorf("no peer would take peer.tls.cert %s: %w", f.Cert, err)
		}
	}
	return nil
}
