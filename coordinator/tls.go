package coordinator

import (
	"crypto/tls"

	"sluice.io/sluice/coordinator/peer"
)

func (c *Coordinator) tls() (*tls.Config, error) {
	if c.opts.TLS == (peer.TLSFiles{}) {
		return nil, nil
	}
	return c.opts.TLS.Load()
}
