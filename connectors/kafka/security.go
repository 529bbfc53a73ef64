package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// security sets TLS and SASL as security.protocol and its companions say.
func (r *propertyReader) security(c *sarama.Config) {
	protocol := r.oneOf("security.protocol", "PLAINTEXT", "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
	if protocol == "SSL" || protocol == "SASL_SSL" {
		c.Net.TLS.Enable = true
		c.Net.TLS.Config = r.tls()
	}
	if protocol == "SASL_PLAINTEXT" || protocol == "SASL_SSL" {
		r.sasl(c)
	}
}

func (r *propertyReader) sasl(c *sarama.Config) {
	mechanismValue, key := r.first("sasl.mechanism", "sasl.mechanisms")
	c.Net.SASL.Enable = true
	c.Net.SASL.Handshake = true
	c.Net.SASL.Version = sarama.SASLHandshakeV1
	switch strings.ToUpper(mechanismValue) {
	case "PLAIN":
		c.Net.SASL.Mechanism = sarama.SASLTypePlaintext
	case "SCRAM-SHA-256":
		c.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA256
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA256} }
	case "SCRAM-SHA-512":
		c.Net.SASL.Mechanism = sarama.SASLTypeSCRAMSHA512
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{hash: scram.SHA512} }
	case "":
		r.fail(key, "security.protocol asks for SASL; set it to PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
	default:
		r.fail(key, "it must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512")
	}
	c.Net.SASL.User, _ = r.first("sasl.username")
	c.Net.SASL.Password = r.p["sasl.password"]
	if jaas := r.p["sasl.jaas.config"]; strings.TrimSpace(jaas) != "" {
		options, err := parseJAAS(jaas)
		if err != nil {
			r.fail("sasl.jaas.config", "%v", err)
			return
		}
		c.Net.SASL.User, c.Net.SASL.Password = options["username"], options["password"]
	}
	if c.Net.SASL.User == "" {
		r.fail("sasl.jaas.config", `give user and password: sasl.jaas.config as `+
			`org.apache.kafka.common.security.plain.PlainLoginModule required username="…" password="…"; or sasl.username and sasl.password`)
	}
}

// parseJAAS reads the options of a JAAS line: module flag name="value" … ;
func parseJAAS(line string) (map[string]string, error) {
	rest := strings.TrimSpace(line)
	if !strings.HasSuffix(rest, ";") {
		return nil, errors.New("it must end with a semicolon")
	}
	rest = strings.TrimSuffix(rest, ";")
	module, rest, ok := strings.Cut(rest, " ")
	if !ok || !strings.HasSuffix(module, "LoginModule") {
		return nil, errors.New("it must begin with the name of a login module, then required")
	}
	rest = strings.TrimSpace(rest)
	_, rest, ok = strings.Cut(rest, " ") // required, requisite …
	if !ok {
		return nil, errors.New(`it has no options; username="…" password="…" are needed`)
	}
	options := map[string]string{}
	for {
		rest = strings.TrimSpace(rest)
		if rest == "" {
			return options, nil
		}
		name, after, ok := strings.Cut(rest, "=")
		if !ok {
			return nil, fmt.Errorf("option %d is not name=\"value\"", len(options)+1)
		}
		value, tail, err := jaasValue(strings.TrimSpace(after))
		if err != nil {
			return nil, fmt.Errorf("option %s: %w", strings.TrimSpace(name), err)
		}
		options[strings.TrimSpace(name)] = value
		rest = tail
	}
}

func jaasValue(s string) (value, tail string, err error) {
	if s == "" {
		return "", "", errors.New("it has no value")
	}
	quote := s[0]
	if quote != '"' && quote != '\'' {
		value, tail, _ = strings.Cut(s, " ")
		return value, tail, nil
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == quote:
			return b.String(), s[i+1:], nil
		default:
			b.WriteByte(s[i])
		}
	}
	return "", "", errors.New("its quote is not closed")
}

// tls builds the TLS configuration from PEM files or PEM texts.
func (r *propertyReader) tls() *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, key := range []string{"ssl.truststore.type", "ssl.keystore.type"} {
		if v := strings.TrimSpace(r.p[key]); v != "" && !strings.EqualFold(v, "PEM") {
			r.fail(key, "only PEM can be read here; convert it with: keytool -exportcert -rfc … (trust) or openssl pkcs12 -nodes … (key)")
		}
	}
	if text := r.pem("ssl.truststore.certificates", "ssl.ca.pem"); text != "" {
		r.roots(c, "ssl.truststore.certificates", []byte(text))
	} else if path, key := r.first("ssl.truststore.location", "ssl.ca.location"); path != "" {
		if b, ok := r.file(key, path); ok {
			r.roots(c, key, b)
		}
	}
	r.clientCertificate(c)
	if v, set := r.p["ssl.endpoint.identification.algorithm"]; set && strings.TrimSpace(v) == "" {
		verifyChainOnly(c)
	} else if set && !strings.EqualFold(strings.TrimSpace(v), "https") && !strings.EqualFold(strings.TrimSpace(v), "none") {
		r.fail("ssl.endpoint.identification.algorithm", "it must be https, or empty to accept any host name")
	} else if set && strings.EqualFold(strings.TrimSpace(v), "none") {
		verifyChainOnly(c)
	}
	if strings.EqualFold(strings.TrimSpace(r.p["enable.ssl.certificate.verification"]), "false") {
		c.InsecureSkipVerify = true
		c.VerifyConnection = nil
	}
	return c
}

func (r *propertyReader) pem(keys ...string) string {
	v, _ := r.first(keys...)
	return v
}

func (r *propertyReader) file(key, path string) ([]byte, bool) {
	b, err := os.ReadFile(path)
	if err != nil {
		r.fail(key, "the file cannot be read: %v", err)
		return nil, false
	}
	return b, true
}

func (r *propertyReader) roots(c *tls.Config, key string, text []byte) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		r.fail(key, "it holds no PEM certificate (-----BEGIN CERTIFICATE-----); a JKS or PKCS#12 store must be converted to PEM")
		return
	}
	c.RootCAs = pool
}

func (r *propertyReader) clientCertificate(c *tls.Config) {
	chain := []byte(r.pem("ssl.keystore.certificate.chain", "ssl.certificate.pem"))
	key := []byte(r.pem("ssl.keystore.key", "ssl.key.pem"))
	name := "ssl.keystore.certificate.chain"
	if path, k := r.first("ssl.keystore.location"); path != "" { // Java's PEM key store: key and chain in one file
		if b, ok := r.file(k, path); ok {
			chain, key, name = b, b, k
		}
	}
	if path, k := r.first("ssl.certificate.location"); path != "" {
		if b, ok := r.file(k, path); ok {
			chain, name = b, k
		}
	}
	if path, k := r.first("ssl.key.location"); path != "" {
		if b, ok := r.file(k, path); ok {
			key = b
		}
	}
	if len(chain) == 0 && len(key) == 0 {
		return
	}
	if block, _ := pem.Decode(key); block != nil && strings.Contains(block.Type, "ENCRYPTED") {
		r.fail("ssl.key.password", "encrypted private keys cannot be read; decrypt it with: openssl pkcs8 -in key.pem -out plain.pem, and protect the file")
		return
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		r.fail(name, "certificate and key do not make a pair: %v", err)
		return
	}
	c.Certificates = []tls.Certificate{pair}
}

// verifyChainOnly checks the broker's chain but not its host name, as an empty ssl.endpoint.identification.algorithm asks for.
func verifyChainOnly(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true // the chain is verified below
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the broker shows no certificate")
		}
		options := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, cert := range s.PeerCertificates[1:] {
			options.Intermediates.AddCert(cert)
		}
		_, err := s.PeerCertificates[0].Verify(options)
		return err
	}
}

// scramClient is Sarama's port to a SCRAM conversation.
type scramClient struct {
	hash scram.HashGeneratorFcn
	conv *scram.ClientConversation
}

// Begin starts a conversation.
func (s *scramClient) Begin(user, password, authzID string) error {
	c, err := s.hash.NewClient(user, password, authzID)
	if err != nil {
		return fmt.Errorf("start SCRAM as %s: %w", user, err)
	}
	s.conv = c.NewConversation()
	return nil
}

// Step answers a challenge.
func (s *scramClient) Step(challenge string) (string, error) { return s.conv.Step(challenge) }

// Done tells that the conversation is over.
func (s *scramClient) Done() bool { return s.conv.Done() }
