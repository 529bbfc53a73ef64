package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/internal/testkit/proc"
)

// TestSecureBroker reads from the TLS and SASL listeners of a real Kafka broker, each connector by another way in; and shows what a
// user sees whose password or authority is wrong.
func TestSecureBroker(t *testing.T) {
	kafka, secure := proc.StartSecureKafka(t, t.TempDir())
	cl, err := kgo.NewClient(kgo.SeedBrokers(kafka.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	n := newNode(t, kafka.Addr)
	n.start(t)
	n.ready(t)

	const plain, scram = "plain.PlainLoginModule", "scram.ScramLoginModule"
	tls := map[string]string{"security.protocol": "SSL", "bootstrap.servers": secure.SSL, "ssl.truststore.type": "PEM", "ssl.truststore.location": secure.CA}
	sasl := func(protocol, mechanism, module, password string) map[string]string {
		p := map[string]string{"security.protocol": protocol, "bootstrap.servers": secure.SASLPlaintext, "sasl.mechanism": mechanism,
			"sasl.jaas.config": secure.JAAS(module, password)}
		if protocol == "SASL_SSL" {
			p["bootstrap.servers"], p["ssl.truststore.type"], p["ssl.truststore.location"] = secure.SASLSSL, "PEM", secure.CA
		}
		return p
	}
	with := func(p map[string]string, more ...string) map[string]string {
		out := map[string]string{}
		for k, v := range p {
			out[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			out[more[i]] = more[i+1]
		}
		return out
	}
	config := func(topic string, overrides map[string]string) map[string]string {
		c := map[string]string{"connector.class": "LakehouseSink", "topics": topic, "cdc.format": "debezium"}
		for k, v := range overrides {
			c["consumer.override."+k] = v
		}
		return c
	}
	for name, p := range map[string]map[string]string{
		"tls-with-certificate": with(tls, "ssl.certificate.location", secure.ClientCert, "ssl.key.location", secure.ClientKey),
		"sasl-ssl-plain":       sasl("SASL_SSL", "PLAIN", plain, secure.Password),
		"sasl-ssl-scram-256":   sasl("SASL_SSL", "SCRAM-SHA-256", scram, secure.Password),
		"sasl-ssl-scram-512":   sasl("SASL_SSL", "SCRAM-SHA-512", scram, secure.Password),
		"sasl-plain":           sasl("SASL_PLAINTEXT", "PLAIN", plain, secure.Password),
		"sasl-scram-512":       sasl("SASL_PLAINTEXT", "SCRAM-SHA-512", scram, secure.Password),
	} {
		topic := "secure." + name
		if _, err := kadm.NewClient(cl).CreateTopic(context.Background(), 1, 1, nil, topic); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			value := fmt.Sprintf(`{"op":"c","ts_ms":1,"source":{"connector":"postgresql","name":"s","db":"d","schema":"s","table":"t","lsn":%d},"before":null,"after":{"id":%d}}`, 100+i, i)
			if err := cl.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Key: fmt.Appendf(nil, `{"id":%d}`, i), Value: []byte(value)}).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
		n.put(t, name, config(topic, p))
		n.caughtUp(t, name, ends{topic: {0: 20}}, feeds{"silver/" + topic: {topic}}, time.Minute)
		if rows := n.cat(t, "silver/"+topic); len(rows) != 20 {
			t.Errorf("%s: silver has %d rows, want 20", name, len(rows))
		}
	}

	for name, k := range map[string]struct {
		config map[string]string
		says   []string
	}{
		"wrong-password": {sasl("SASL_SSL", "SCRAM-SHA-512", scram, "guess"), []string{"sasl"}},
		"wrong-plain":    {sasl("SASL_PLAINTEXT", "PLAIN", plain, "guess"), []string{"sasl"}},
		"wrong-ca":       {with(sasl("SASL_SSL", "PLAIN", plain, secure.Password), "ssl.truststore.location", secure.OtherCA), []string{"certificate"}},
		"no-certificate": {tls, []string{"certificate"}},
		"no-tls":         {with(sasl("SASL_PLAINTEXT", "PLAIN", plain, secure.Password), "bootstrap.servers", secure.SASLSSL), []string{secure.SASLSSL}},
	} {
		_, body := n.call(t, "PUT", "/connector-plugins/LakehouseSink/config/validate", with(config("secure.nobody", k.config), "name", name))
		var report struct {
			Configs []struct {
				Value struct {
					Name   string
					Errors []string
				}
			}
		}
		if err := json.Unmarshal([]byte(body), &report); err != nil {
			t.Fatal(err)
		}
		var said []string
		for _, c := range report.Configs {
			for _, e := range c.Value.Errors {
				said = append(said, c.Value.Name+": "+e)
			}
		}
		text := strings.Join(said, "\n")
		t.Logf("%s: %s", name, text)
		for _, want := range k.says {
			if !strings.Contains(strings.ToLower(text), want) {
				t.Errorf("%s: validate says %q, which does not name %q", name, text, want)
			}
		}
		if strings.Contains(text, "guess") || strings.Contains(text, "secret") {
			t.Errorf("%s: validate tells the password: %s", name, text)
		}
	}
}
