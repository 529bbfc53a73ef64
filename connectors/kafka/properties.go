package kafka

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"sluice.io/sluice/internal/near"
)

// Properties are Kafka client properties under the names of the Java client (bootstrap.servers, security.protocol,
// sasl.jaas.config …); where librdkafka has another name for the same thing (sasl.username, ssl.ca.location) that works too.
type Properties map[string]string

// settings is what Properties mean.
type settings struct {
	brokers  []string
	clientID string

	fetchMaxBytes     int32 // of one response
	partitionMaxBytes int32 // of one partition in a response
	fetchMinBytes     int32
	fetchMaxWait      time.Duration
	metadataMaxAge    time.Duration
	requestTimeout    time.Duration
	isolation         sarama.IsolationLevel
	startLatest       bool
	rack              string

	conf *sarama.Config
}

// Defaults of the properties that are read.
const (
	defaultFetchMaxBytes     = 16 << 20
	defaultPartitionMaxBytes = 2 << 20
	defaultMaxWait           = 500 * time.Millisecond
	defaultMetadataMaxAge    = 60 * time.Second
	defaultRequestTimeout    = 30 * time.Second
)

// quiet are properties of the Java client that are taken without a word: they have no meaning here, or one that
// Sluice decides by itself.
var quiet = []string{
	"group.id", "group.instance.id", "enable.auto.commit", "auto.commit.interval.ms", "max.poll.records", "max.poll.interval.ms",
	"session.timeout.ms", "heartbeat.interval.ms", "partition.assignment.strategy", "key.deserializer", "value.deserializer",
	"exclude.internal.topics", "allow.auto.create.topics", "check.crcs", "connections.max.idle.ms", "default.api.timeout.ms",
	"interceptor.classes", "reconnect.backoff.ms", "reconnect.backoff.max.ms", "retry.backoff.ms", "retry.backoff.max.ms",
	"receive.buffer.bytes", "send.buffer.bytes", "client.dns.lookup", "ssl.protocol", "ssl.enabled.protocols", "ssl.provider",
	"group.protocol", "key.serializer", "value.serializer", "batch.size", "buffer.memory", "delivery.timeout.ms", "enable.idempotence",
	"max.block.ms", "max.in.flight.requests.per.connection", "partitioner.class", "retries", "transactional.id",
}

// ofConsumer and ofProducer are the known properties that only reading, or only writing, looks at.
var (
	ofConsumer = []string{
		"client.rack", "isolation.level", "auto.offset.reset", "fetch.max.bytes", "max.partition.fetch.bytes", "fetch.min.bytes", "fetch.max.wait.ms",
	}
	ofProducer = []string{"acks", "compression.type", "linger.ms", "max.request.size"}
)

// NoEffect says why a property does nothing in a client of this kind: consumer, producer or admin. Empty where it does something.
func NoEffect(client, property string) string {
	_, known := knownProperties[property]
	switch {
	case client == "consumer" && property == "group.id": // of the offsets that are mirrored
		return ""
	case !known && slices.Contains(quiet, property):
		return "It has no effect: Sluice decides this by itself, or has no use for it."
	case !known:
		if m := Meant(property); m != "" {
			return "It has no effect: no such property is known; was " + m + " meant?"
		}
		return "It has no effect: no such property is known."
	case client != "consumer" && slices.Contains(ofConsumer, property), client != "producer" && slices.Contains(ofProducer, property):
		return "It has no effect on " + client + "s."
	}
	return ""
}

// With gives the properties with others over them.
func (p Properties) With(over map[string]string) Properties {
	out := make(Properties, len(p)+len(over))
	maps.Copy(out, p)
	maps.Copy(out, over)
	return out
}

// Check tells what is wrong with p, by key: all *ConfigError. It does not connect.
func Check(p Properties) []error {
	_, err := p.parse()
	if err == nil {
		return nil
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	return []error{err}
}

// Unknown gives the properties that have no meaning to this package and are not known to be harmless, sorted.
func (p Properties) Unknown() []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(p)) {
		if _, known := knownProperties[k]; !known && !slices.Contains(quiet, k) {
			out = append(out, k)
		}
	}
	return out
}

// Meant gives the property that an unknown one was meant to be; "" when none is near.
func Meant(unknown string) string {
	return near.Nearest(unknown, slices.Sorted(maps.Keys(knownProperties)), 2)
}

// Key makes a text that is equal for equal properties, to share Clients by. It holds secrets: not for printing.
func (p Properties) Key() string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(p)) {
		b.WriteString(strconv.Quote(k))
		b.WriteString(strconv.Quote(p[k]))
	}
	return b.String()
}

var knownProperties = map[string]struct{}{}

func init() {
	for _, k := range []string{
		"bootstrap.servers", "client.id", "client.rack", "security.protocol", "isolation.level", "auto.offset.reset",
		"fetch.max.bytes", "max.partition.fetch.bytes", "fetch.min.bytes", "fetch.max.wait.ms", "metadata.max.age.ms",
		"request.timeout.ms", "socket.connection.setup.timeout.ms", "acks", "compression.type", "linger.ms", "max.request.size",
		"sasl.mechanism", "sasl.mechanisms", "sasl.jaas.config", "sasl.username", "sasl.password",
		"ssl.truststore.location", "ssl.truststore.type", "ssl.truststore.certificates", "ssl.truststore.password",
		"ssl.keystore.location", "ssl.keystore.type", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.password",
		"ssl.key.password", "ssl.ca.location", "ssl.ca.pem", "ssl.certificate.location", "ssl.certificate.pem", "ssl.key.location", "ssl.key.pem",
		"ssl.endpoint.identification.algorithm", "enable.ssl.certificate.verification",
	} {
		knownProperties[k] = struct{}{}
	}
}

// reader collects every error of a Properties, so that an operator sees them all at once.
type propertyReader struct {
	p    Properties
	errs []error
}

func (r *propertyReader) fail(key, format string, args ...any) {
	r.errs = append(r.errs, &ConfigError{Key: key, Value: r.p[key], Problem: fmt.Sprintf(format, args...)})
}

// first gives the value of the first of the names that is set, and that name.
func (r *propertyReader) first(keys ...string) (value, key string) {
	for _, k := range keys {
		if v := strings.TrimSpace(r.p[k]); v != "" {
			return v, k
		}
	}
	return "", keys[0]
}

func (r *propertyReader) number(key string, def, least, most int64) int64 {
	v := strings.TrimSpace(r.p[key])
	if v == "" {
		return def
	}
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < least || n > most {
		r.fail(key, "it must be a whole number from %d to %d", least, most)
		return def
	}
	return n
}

func (r *propertyReader) oneOf(key, def string, choices ...string) string {
	v := strings.TrimSpace(r.p[key])
	if v == "" {
		return def
	}
	for _, c := range choices {
		if strings.EqualFold(c, v) {
			return c
		}
	}
	r.fail(key, "it must be one of %s", strings.Join(choices, ", "))
	return def
}

// parse gives the meaning of p, or all that is wrong with it.
func (p Properties) parse() (*settings, error) {
	r := &propertyReader{p: p}
	s := &settings{clientID: "sluice"}
	r.brokers(s)
	if id, _ := r.first("client.id"); id != "" {
		s.clientID = id
	}
	s.rack, _ = r.first("client.rack")
	s.fetchMaxBytes = int32(r.number("fetch.max.bytes", defaultFetchMaxBytes, 1, 1<<30))
	s.partitionMaxBytes = int32(r.number("max.partition.fetch.bytes", defaultPartitionMaxBytes, 1, 1<<30))
	s.fetchMinBytes = int32(r.number("fetch.min.bytes", 1, 0, 1<<30))
	s.fetchMaxWait = time.Duration(r.number("fetch.max.wait.ms", defaultMaxWait.Milliseconds(), 1, 60_000)) * time.Millisecond
	s.metadataMaxAge = time.Duration(r.number("metadata.max.age.ms", defaultMetadataMaxAge.Milliseconds(), 100, 3_600_000)) * time.Millisecond
	s.requestTimeout = time.Duration(r.number("request.timeout.ms", defaultRequestTimeout.Milliseconds(), 100, 600_000)) * time.Millisecond
	dial := time.Duration(r.number("socket.connection.setup.timeout.ms", 10_000, 100, 600_000)) * time.Millisecond
	s.isolation = sarama.ReadCommitted
	if r.oneOf("isolation.level", "read_committed", "read_committed", "read_uncommitted") == "read_uncommitted" {
		s.isolation = sarama.ReadUncommitted
	}
	s.startLatest = r.oneOf("auto.offset.reset", "earliest", "earliest", "latest", "none") == "latest"

	c := sarama.NewConfig()
	c.ClientID = s.clientID
	c.RackID = s.rack
	c.Version = sarama.V2_8_0_0 // the highest that is spoken; each broker is asked what it speaks
	c.Net.DialTimeout = dial
	c.Net.ReadTimeout = s.requestTimeout
	c.Net.WriteTimeout = s.requestTimeout
	c.Net.MaxOpenRequests = 5
	c.Metadata.Full = false
	c.Metadata.AllowAutoTopicCreation = false
	c.Metadata.RefreshFrequency = s.metadataMaxAge
	c.Metadata.Retry.Max = 1
	c.Metadata.Retry.Backoff = 100 * time.Millisecond
	c.Consumer.IsolationLevel = s.isolation
	r.producer(c)
	c.Producer.Return.Successes = true
	c.Producer.Return.Errors = true
	c.Producer.Retry.Max = 5
	c.Producer.Partitioner = sarama.NewHashPartitioner
	r.security(c)
	if len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("kafka properties: %w", err)
	}
	s.conf = c
	return s, nil
}

// producer sets what is asked of the one who writes dead letters.
func (r *propertyReader) producer(c *sarama.Config) {
	c.Producer.RequiredAcks = map[string]sarama.RequiredAcks{
		"all": sarama.WaitForAll, "-1": sarama.WaitForAll, "1": sarama.WaitForLocal, "0": sarama.NoResponse,
	}[r.oneOf("acks", "all", "all", "-1", "1", "0")]
	c.Producer.Compression = map[string]sarama.CompressionCodec{
		"none": sarama.CompressionNone, "gzip": sarama.CompressionGZIP, "snappy": sarama.CompressionSnappy, "lz4": sarama.CompressionLZ4,
		"zstd": sarama.CompressionZSTD,
	}[r.oneOf("compression.type", "none", "none", "gzip", "snappy", "lz4", "zstd")]
	c.Producer.Flush.Frequency = time.Duration(r.number("linger.ms", 0, 0, 60_000)) * time.Millisecond
	// A dead letter is as large as its record; the broker's limit decides.
	c.Producer.MaxMessageBytes = int(r.number("max.request.size", 64<<20, 1, 1<<30))
}

func (r *propertyReader) brokers(s *settings) {
	v, key := r.first("bootstrap.servers")
	if v == "" {
		problem := "name the brokers as host:port, separated by commas"
		for _, k := range r.p.Unknown() {
			if Meant(k) == key {
				problem += "; " + k + " is set, did you mean this one?"
			}
		}
		r.fail(key, "%s", problem)
		return
	}
	for part := range strings.SplitSeq(v, ",") {
		part = strings.TrimSpace(part)
		if _, after, ok := strings.Cut(part, "://"); ok { // PLAINTEXT://host:port, as in listener settings
			part = after
		}
		if part == "" {
			continue
		}
		host, port, ok := cutLast(part, ":")
		n, err := strconv.Atoi(port)
		if !ok || host == "" || err != nil || n < 1 || n > 65535 {
			r.fail(key, "%q is not host:port", part)
			return
		}
		s.brokers = append(s.brokers, part)
	}
	if len(s.brokers) == 0 {
		r.fail(key, "name the brokers as host:port, separated by commas")
	}
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
