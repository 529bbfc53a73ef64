package peer

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// TLSFiles names PEM files: the authority of the cluster, and this node's certificate and key.
type TLSFiles struct {
	CA, Cert, Key string
}

// Load gives the configuration of both sides: every node shows a certificate of the authority and asks for one.
// The files are read again at each handshake, so that renewed certificates need no restart.
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
		return nil, fmt.Errorf("peer.tls.ca %s holds no certificate", f.CA)
	}
	load := func() (*tls.Certificate, error) {
		cert, err := tls.LoadX509KeyPair(f.Cert, f.Key)
		if err != nil {
			return nil, fmt.Errorf("load peer.tls.cert %s with peer.tls.key %s: %w", f.Cert, f.Key, err)
		}
		return &cert, nil
	}
	if _, err := load(); err != nil {
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
