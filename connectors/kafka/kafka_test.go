package kafka

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/internal/testkit/broker"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func context10(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, b *broker.Broker, extra ...string) *Client {
	t.Helper()
	p := Properties{"bootstrap.servers": b.Servers()}
	for i := 0; i+1 < len(extra); i += 2 {
		p[extra[i]] = extra[i+1]
	}
	c, err := Dial(context10(t), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// read takes batches until offset end is reached.
func read(t *testing.T, r *Reader, end int64) []connectors.Record {
	t.Helper()
	ctx := context10(t)
	var out []connectors.Record
	for {
		b, err := r.Next(ctx)
		if err != nil {
			t.Fatalf("after %d records: %v (trouble: %s)", len(out), err, r.Trouble())
		}
		out = append(out, b.Records...)
		if b.Next >= end {
			return out
		}
	}
}

func fill(b *broker.Broker, topic string, partition int32, from, n int) {
	var recs []*kgo.Record
	for i := from; i < from+n; i++ {
		recs = append(recs, broker.Rec(topic, partition, fmt.Sprintf("k%d", i), fmt.Sprintf("v%d", i)))
	}
	b.Put(recs...)
}

func TestReadsEveryOffsetOnce(t *testing.T) {
	b := broker.Start(t, kfake.NumBrokers(3))
	b.Topic("a", 3)
	for p := range int32(3) {
		fill(b, "a", p, 0, 1000)
	}
	c := dial(t, b, "max.partition.fetch.bytes", "4096")
	for p := range int32(3) {
		r := c.Read("a", p, 10, "")
		recs := read(t, r, 1000)
		if len(recs) != 990 {
			t.Fatalf("partition %d: %d records, want 990", p, len(recs))
		}
		for i, rec := range recs {
			if rec.Offset != int64(10+i) || string(rec.Value) != fmt.Sprintf("v%d", 10+i) || rec.Partition != p || rec.Topic != "a" {
				t.Fatalf("record %d is %+v", i, rec)
			}
		}
		r.Close()
	}
	if used := c.budget.Used(); used != 0 && !eventually(func() bool { return c.budget.Used() == 0 }) {
		t.Errorf("%d bytes of the budget are not given back", c.budget.Used())
	}
}

func eventually(ok func() bool) bool {
	for range 500 {
		if ok() {
			return true
		}
		time.Sleep(10 * time.Millisecond)
	}
	return false
}

func TestNullAndEmptyAreDifferent(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	b.Put(&kgo.Record{Topic: "a", Key: nil, Value: []byte{}},
		&kgo.Record{Topic: "a", Key: []byte{}, Value: nil, Headers: []kgo.RecordHeader{{Key: "h", Value: nil}, {Key: "h", Value: []byte("x")}}})
	r := dial(t, b).Read("a", 0, 0, "")
	recs := read(t, r, 2)
	if recs[0].Key != nil || recs[0].Value == nil || len(recs[0].Value) != 0 {
		t.Errorf("first record: %+v", recs[0])
	}
	if recs[1].Key == nil || recs[1].Value != nil {
		t.Errorf("second record: %+v", recs[1])
	}
	if h := recs[1].Headers; len(h) != 2 || h[0].Key != "h" || h[0].Value != nil || string(h[1].Value) != "x" {
		t.Errorf("headers: %+v", h)
	}
}

func TestAbortedTransactionsAreJumpedOver(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	fill(b, "a", 0, 0, 2)
	b.Transaction("t1", false, broker.Rec("a", 0, "x", "aborted"), broker.Rec("a", 0, "y", "aborted"))
	b.Transaction("t1", true, broker.Rec("a", 0, "z", "kept"))
	fill(b, "a", 0, 2, 1)
	end := b.PartitionInfo("a", 0).HighWatermark
	recs := read(t, dial(t, b).Read("a", 0, 0, ""), end)
	var got []string
	for _, r := range recs {
		got = append(got, string(r.Value))
	}
	if s := strings.Join(got, " "); s != "v0 v1 kept v2" {
		t.Errorf("read committed gives %q", s)
	}
	all := read(t, dial(t, b, "isolation.level", "read_uncommitted").Read("a", 0, 0, ""), end)
	if len(all) != 6 {
		t.Errorf("read uncommitted gives %d records, want 6", len(all))
	}
}

func TestEndBelowAndRetentionLoss(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	fill(b, "a", 0, 0, 20)
	c := dial(t, b)
	_, err := c.Read("a", 0, 25, "").Next(context10(t))
	if !errors.Is(err, ErrEndBelow) {
		t.Errorf("beyond the end: %v", err)
	}
	if err := b.DeleteRecords("a", 0, 10); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read("a", 0, 5, "").Next(context10(t))
	var pe *PartitionError
	if !errors.Is(err, ErrRetentionLoss) || !errors.As(err, &pe) || pe.Start != 10 {
		t.Errorf("before the start: %v", err)
	}
	o, err := c.Offsets(context10(t), "a", 0)
	if err != nil || o[0] != (Offsets{Start: 10, End: 20}) {
		t.Errorf("offsets %v %v", o, err)
	}
}

func TestRecreatedTopicIsNoticed(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	fill(b, "a", 0, 0, 5)
	c := dial(t, b)
	topics, err := c.Topics(context10(t), "a", "absent")
	if err != nil || len(topics) != 1 || topics[0].ID == "" || topics[0].Partitions != 1 {
		t.Fatalf("topics %+v, %v", topics, err)
	}
	r := c.Read("a", 0, 0, topics[0].ID)
	read(t, r, 5)
	if err := b.DeleteTopic("a"); err != nil {
		t.Fatal(err)
	}
	b.Topic("a", 1)
	b.Forget()
	fill(b, "a", 0, 0, 50)
	if _, err := r.Next(context10(t)); !errors.Is(err, ErrTopicRecreated) {
		// The broker may answer from the new topic before the ids are compared; a reader that begins anew must see it.
		t.Logf("the running reader says %v", err)
	}
	if _, err := c.Read("a", 0, 5, topics[0].ID).Next(context10(t)); !errors.Is(err, ErrTopicRecreated) {
		t.Errorf("got %v, want ErrTopicRecreated", err)
	}
}

func TestWaitsForTopicAndLeader(t *testing.T) {
	b := broker.Start(t, kfake.NumBrokers(3))
	c := dial(t, b)
	r := c.Read("later", 0, 0, "")
	if !eventually(func() bool { return r.Trouble() != "" }) {
		t.Fatal("a topic that does not exist is not told")
	}
	b.Topic("later", 1)
	fill(b, "later", 0, 0, 10)
	if n := len(read(t, r, 10)); n != 10 {
		t.Fatalf("%d records", n)
	}
	if r.Trouble() != "" {
		t.Errorf("still in trouble: %s", r.Trouble())
	}
	for i := range int32(3) {
		if err := b.MoveTopicPartition("later", 0, i); err != nil {
			t.Fatal(err)
		}
		fill(b, "later", 0, 10+int(i)*5, 5)
		if n := len(read(t, r, 15+int64(i)*5)); n != 5 {
			t.Fatalf("after move %d: %d records", i, n)
		}
	}
}

func TestBoundedBytes(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	big := strings.Repeat("x", 10_000)
	for range 40 {
		var recs []*kgo.Record
		for range 10 {
			recs = append(recs, broker.Rec("a", 0, "k", big))
		}
		b.Put(recs...)
	}
	c := dial(t, b, "max.partition.fetch.bytes", "200000")
	r := c.Read("a", 0, 0, "")
	if !eventually(func() bool { return c.budget.Used() > 0 }) {
		t.Fatal("nothing is fetched ahead")
	}
	var most int64
	for range 20 {
		most = max(most, c.budget.Used())
		time.Sleep(5 * time.Millisecond)
	}
	if most > 700_000 {
		t.Errorf("%d bytes are held for a reader that nobody reads", most)
	}
	if n := len(read(t, r, 400)); n != 400 {
		t.Errorf("%d records", n)
	}
}

func TestMirrorAndProduce(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 2)
	b.Topic("dlq", 1)
	c := dial(t, b)
	ctx := context10(t)
	if err := c.MirrorOffsets(ctx, "connect-x", map[string]map[int32]int64{"a": {0: 7, 1: 9}}); err != nil {
		t.Fatal(err)
	}
	err := c.Produce(ctx, []connectors.Record{{Topic: "dlq", Key: []byte("k"), Headers: []connectors.Header{{Key: "h", Value: []byte("1")}}}})
	if err != nil {
		t.Fatal(err)
	}
	recs := read(t, c.Read("dlq", 0, 0, ""), 1)
	if len(recs) != 1 || recs[0].Value != nil || string(recs[0].Key) != "k" || string(recs[0].Headers[0].Value) != "1" {
		t.Errorf("produced %+v", recs)
	}
}

func TestMatchingTopics(t *testing.T) {
	b := broker.Start(t)
	for _, n := range []string{"shop.a", "shop.b", "other.shop.c"} {
		b.Topic(n, 1)
	}
	c := dial(t, b)
	got, err := c.MatchingTopics(context10(t), `shop\..*`)
	if err != nil || len(got) != 2 || got[0].Name != "shop.a" || got[1].Name != "shop.b" {
		t.Errorf("%v %v", got, err)
	}
	var ce *ConfigError
	if _, err := c.MatchingTopics(context10(t), `(`); !errors.As(err, &ce) || ce.Key != "topics.regex" {
		t.Errorf("bad pattern: %v", err)
	}
}

func TestSASL(t *testing.T) {
	for _, mechanism := range []string{"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"} {
		b := broker.Start(t, kfake.EnableSASL(), kfake.Superuser(mechanism, "alice", `p"w;`))
		p := Properties{
			"bootstrap.servers": b.Servers(), "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism,
			"sasl.jaas.config": `org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="p\"w;";`,
		}
		c, err := Dial(context10(t), p, Options{})
		if err != nil {
			t.Fatalf("%s: %v", mechanism, err)
		}
		c.Close()
		p["sasl.jaas.config"] = `org.apache.kafka.common.security.scram.ScramLoginModule required username="alice" password="no";`
		if _, err := Dial(context10(t), p, Options{DialTimeout: 2 * time.Second}); err == nil || strings.Contains(err.Error(), `"no"`) {
			t.Errorf("%s with a wrong password: %v", mechanism, err)
		}
	}
}

func TestUnreachableNamesAddressesAndTime(t *testing.T) {
	_, err := Dial(context10(t), Properties{"bootstrap.servers": "127.0.0.1:1,127.0.0.1:2"}, Options{DialTimeout: 300 * time.Millisecond})
	if !errors.Is(err, ErrUnreachable) {
		t.Fatal(err)
	}
	for _, want := range []string{"bootstrap.servers", "127.0.0.1:1,127.0.0.1:2", "tried for", "is the broker up"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestTLSAgainstPlainListenerSaysSo(t *testing.T) {
	b := broker.Start(t)
	_, err := Dial(context10(t), Properties{"bootstrap.servers": b.Servers(), "security.protocol": "SSL"}, Options{DialTimeout: time.Second})
	if err == nil || !strings.Contains(err.Error(), "security.protocol") {
		t.Errorf("got %v", err)
	}
}

func TestPropertyErrorsNameKeyValueAndWayOut(t *testing.T) {
	t.Parallel()
	cases := []struct {
		p    Properties
		want []string
	}{
		{Properties{}, []string{"bootstrap.servers", "host:port"}},
		{Properties{"bootstrap.servers": "nohost"}, []string{"bootstrap.servers", "nohost", "host:port"}},
		{Properties{"bootstrap.servers": "h:1", "security.protocol": "TLS"}, []string{"security.protocol", "TLS", "SASL_SSL"}},
		{Properties{"bootstrap.servers": "h:1", "fetch.max.bytes": "lots"}, []string{"fetch.max.bytes", "lots", "whole number"}},
		{Properties{"bootstrap.servers": "h:1", "security.protocol": "SASL_SSL"}, []string{"sasl.mechanism", "SCRAM-SHA-256", "sasl.jaas.config"}},
		{Properties{"bootstrap.servers": "h:1", "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": "x.PlainLoginModule required username=a"},
			[]string{"sasl.jaas.config", "[hidden]", "semicolon"}},
		{Properties{"bootstrap.servers": "h:1", "security.protocol": "SSL", "ssl.truststore.location": "/no/such/file"}, []string{"ssl.truststore.location", "/no/such/file"}},
		{Properties{"bootstrap.servers": "h:1", "security.protocol": "SSL", "ssl.truststore.type": "JKS"}, []string{"ssl.truststore.type", "JKS", "PEM"}},
	}
	for _, c := range cases {
		errs := Check(c.p)
		text := fmt.Sprint(errs)
		for _, w := range c.want {
			if !strings.Contains(text, w) {
				t.Errorf("%v: %s does not say %q", c.p, text, w)
			}
		}
	}
	if text := fmt.Sprint(Check(Properties{"bootstrap.server": "h:1"})); !strings.Contains(text, "bootstrap.server is set, did you mean") {
		t.Errorf("a letter left out: %s", text)
	}
	if got := Meant("security.protocl"); got != "security.protocol" {
		t.Errorf("meant: %q", got)
	}
	if got := (Properties{"bootstrap.servers": "h:1", "fetch.max.byte": "1", "linger.ms": "2"}).Unknown(); fmt.Sprint(got) != "[fetch.max.byte]" {
		t.Errorf("unknown: %v", got)
	}
}

// What producer.override.* and admin.override.* say is set, and what does nothing says so.
func TestProducerProperties(t *testing.T) {
	s, err := Properties{
		"bootstrap.servers": "h:1", "acks": "1", "compression.type": "ZSTD", "linger.ms": "20", "max.request.size": "1000",
	}.parse()
	if err != nil {
		t.Fatal(err)
	}
	if p := s.conf.Producer; p.RequiredAcks != sarama.WaitForLocal || p.Compression != sarama.CompressionZSTD || p.Flush.Frequency != 20*time.Millisecond || p.MaxMessageBytes != 1000 {
		t.Errorf("%+v", p)
	}
	for _, bad := range [][2]string{{"acks", "2"}, {"compression.type", "rar"}, {"linger.ms", "-1"}, {"max.request.size", "0"}} {
		if errs := Check(Properties{"bootstrap.servers": "h:1", bad[0]: bad[1]}); len(errs) != 1 || !strings.Contains(errs[0].Error(), bad[0]) {
			t.Errorf("%v: %v", bad, errs)
		}
	}
	for _, c := range []struct{ client, property, want string }{
		{"producer", "acks", ""}, {"consumer", "acks", "no effect on consumers"}, {"admin", "acks", "no effect on admins"},
		{"consumer", "isolation.level", ""}, {"producer", "isolation.level", "no effect on producers"},
		{"admin", "sasl.jaas.config", ""}, {"consumer", "group.id", ""}, {"producer", "group.id", "no effect"},
		{"producer", "retries", "decides this by itself"}, {"producer", "ack", "was acks meant?"}, {"admin", "qwertz", "no such property"},
	} {
		if got := NoEffect(c.client, c.property); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s of a %s: %q", c.property, c.client, got)
		}
	}
}

// Two connectors may read one topic through one Client, each from where it is: neither takes what was fetched for the other.
func TestTwoReadersOfOnePartition(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 1)
	fill(b, "a", 0, 0, 2000)
	c := dial(t, b, "max.partition.fetch.bytes", "2048")
	ahead := c.Read("a", 0, 2000, "")
	defer ahead.Close()
	got := make(chan []connectors.Record, 1)
	go func() { // the one ahead keeps up with what comes
		var recs []connectors.Record
		for ctx := t.Context(); len(recs) < 500; {
			batch, err := ahead.Next(ctx)
			if err != nil {
				break
			}
			recs = append(recs, batch.Records...)
		}
		got <- recs
	}()
	behind := []*Reader{c.Read("a", 0, 0, ""), c.Read("a", 0, 500, "")}
	for n := range 50 {
		fill(b, "a", 0, 2000+10*n, 10)
	}
	for i, r := range behind {
		from := int64(500 * i)
		for k, rec := range read(t, r, 2500) {
			if rec.Offset != from+int64(k) {
				t.Fatalf("reader from %d: record %d has offset %d", from, k, rec.Offset)
			}
		}
		r.Close()
	}
	select {
	case recs := <-got:
		for k, rec := range recs {
			if rec.Offset != int64(2000+k) {
				t.Fatalf("reader ahead: record %d has offset %d", k, rec.Offset)
			}
		}
	case <-context10(t).Done():
		t.Fatal("the reader ahead does not get on")
	}
}

// A panic while a partition is fetched ends its Reader with the defect, instead of being tried again for ever; others that share the connection go on.
func TestPanicOfAFetchEndsItsReader(t *testing.T) {
	b := broker.Start(t)
	b.Topic("a", 2)
	fill(b, "a", 0, 0, 100)
	c := dial(t, b)
	broken := &Reader{topic: "a", partition: 1, wake: make(chan struct{}, 1)} // it has no Client
	c.mu.Lock()
	c.parked[broken] = struct{}{}
	c.mu.Unlock()
	good := c.Read("a", 0, 0, "")
	_, err := broken.Next(context10(t))
	var defect *guard.PanicError
	var part *PartitionError
	if !errors.As(err, &defect) || !errors.As(err, &part) || part.Partition != 1 {
		t.Errorf("the broken reader ended with %v", err)
	}
	if n := len(read(t, good, 100)); n != 100 {
		t.Errorf("the other one has %d records", n)
	}
}
