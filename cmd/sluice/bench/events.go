package bench

import (
	"fmt"
	"math/rand/v2"
	"strconv"

	"github.com/twmb/franz-go/pkg/kgo"
)

const smallTopic, ordersTopic = "bench.public.small", "bench.public.orders"

// smallEvent is a JSON change event of 142 bytes.
func smallEvent(i int64) []byte {
	b := make([]byte, 0, 144)
	b = append(b, `{"op":"c","ts_ms":1790000000123,"source":{"connector":"postgresql","db":"d","schema":"s","table":"t","lsn":`...)
	b = strconv.AppendInt(b, 100_000_000+i, 10)
	b = append(b, `},"after":{"id":`...)
	b = strconv.AppendInt(b, 10_000_000+i%9_000_000, 10)
	b = append(b, `}`...)
	for len(b) < 141 {
		b = append(b, ' ')
	}
	return append(b, '}')
}

// orders makes Debezium events of 600 bytes over a number of keys: 70 % updates, 20 % inserts, 10 % deletes, 0.5 % repeats,
// as after a connector's restart.
type orders struct {
	rnd    *rand.Rand
	parts  int32
	alive  []bool
	n      int64
	recent []*kgo.Record
}

func newOrders(keys int, partitions int32, seed uint64) *orders {
	return &orders{rnd: rand.New(rand.NewPCG(seed, 1)), parts: partitions, alive: make([]bool, keys)}
}

// next makes an event.
func (o *orders) next() *kgo.Record {
	o.n++
	if len(o.recent) > 0 && o.rnd.IntN(200) == 0 {
		old := o.recent[o.rnd.IntN(len(o.recent))]
		return &kgo.Record{Topic: old.Topic, Partition: old.Partition, Key: old.Key, Value: old.Value}
	}
	id := o.rnd.IntN(len(o.alive))
	op := byte('u')
	switch p := o.rnd.IntN(100); {
	case p < 10:
		op = 'd'
	case p < 30:
		op = 'c'
	}
	for range 64 { // look for a key that the operation fits
		if o.alive[id] == (op != 'c') {
			break
		}
		id = o.rnd.IntN(len(o.alive))
	}
	if o.alive[id] == (op == 'c') {
		op = 'u'
		if !o.alive[id] {
			op = 'c'
		}
	}
	o.alive[id] = op != 'd'
	r := &kgo.Record{Topic: ordersTopic, Partition: int32(id) % o.parts, Key: fmt.Appendf(nil, `{"id":%d}`, id), Value: o.event(op, id)}
	if len(o.recent) < 1000 {
		o.recent = append(o.recent, r)
	} else {
		o.recent[o.n%1000] = r
	}
	return r
}

func (o *orders) event(op byte, id int) []byte {
	ms := 1_790_000_000_000 + o.n
	row := fmt.Appendf(nil, `{"id":%d,"customer_id":%d,"status":"%s","total":"%d.%02d","currency":"EUR","placed_at":%d,"updated_at":%d,"note":"`,
		id, id%5000, [...]string{"placed", "paid", "packed", "sent"}[o.n%4], o.n%900, o.n%100, ms*1000-int64(id), ms*1000)
	source := fmt.Appendf(nil, `{"version":"3.7.0.Final","connector":"postgresql","name":"bench","ts_ms":%d,"snapshot":"false","db":"shop","sequence":"[\"%d\",\"%d\"]",`+
		`"ts_us":%d,"ts_ns":%d,"schema":"public","table":"orders","txId":%d,"lsn":%d,"xmin":null}`,
		ms, 30_000_000_000+o.n*200-100, 30_000_000_000+o.n*200, ms*1000, ms*1_000_000, 700_000+o.n/5, 30_000_000_000+o.n*200)
	tail := fmt.Appendf(nil, `,"transaction":null,"op":"%c","ts_ms":%d,"ts_us":%d,"ts_ns":%d}`, op, ms+5, (ms+5)*1000, (ms+5)*1_000_000)
	image, other := "after", "before"
	if op == 'd' {
		image, other = "before", "after"
	}
	b := make([]byte, 0, 640)
	b = append(b, `{"`...)
	if op == 'd' {
		b = append(append(append(b, image...), `":`...), row...)
	} else {
		b = append(append(append(append(append(b, other...), `":null,"`...), image...), `":`...), row...)
	}
	rest := len(source) + len(tail) + len(`"},"source":`)
	if op == 'd' {
		rest += len(`,"after":null`)
	}
	for len(b)+rest < 600 {
		b = append(b, 'x')
	}
	b = append(b, `"}`...)
	if op == 'd' {
		b = append(b, `,"after":null`...)
	}
	b = append(append(b, `,"source":`...), source...)
	return append(b, tail...)
}
