package debezium

import (
	"fmt"
	"strings"
	"testing"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
)

const benchRow = `{"id":%d,"customer_id":%d,"status":"PAID","total":"119.90","note":"leave at the door","updated_at":"2026-03-14T09:26:53.123456Z"}`

// benchEvents makes PostgreSQL events of about 600 bytes: 70 % updates with before, 20 % inserts, 10 % deletes.
func benchEvents(n int) []connectors.Record {
	recs := make([]connectors.Record, n)
	for i := range recs {
		row := fmt.Sprintf(benchRow, i*7919%200000, i%977)
		before, after, op := row, row, "u"
		switch {
		case i%10 == 9:
			after, op = "null", "d"
		case i%10 >= 7:
			before, op = "null", "c"
		}
		before = strings.Replace(before, "PAID", "NEW", 1)
		lsn := 34359849000 + i*120
		recs[i] = connectors.Record{
			Topic: "shop.public.orders", Offset: int64(i), Key: fmt.Appendf(nil, `{"id":%d}`, i*7919%200000),
			Value: fmt.Appendf(nil, `{"before":%s,"after":%s,"source":{"version":"3.7.0.Final","connector":"postgresql","name":"shop","ts_ms":1795389338381,`+
				`"snapshot":"false","db":"shop","sequence":"[\"%d\",\"%d\"]","ts_us":1795389338381633,"ts_ns":1795389338381633000,"schema":"public","table":"orders",`+
				`"txId":%d,"lsn":%d,"xmin":null},"transaction":null,"op":"%s","ts_ms":1795389338647,"ts_us":1795389338647539,"ts_ns":1795389338647539153}`,
				before, after, lsn-56, lsn, i, lsn, op),
			Headers: []connectors.Header{
				{Key: "__debezium.context.connectorLogicalName", Value: []byte("shop")}, {Key: "__debezium.context.taskId", Value: []byte("0")},
				{Key: "__debezium.context.connectorName", Value: []byte("postgresql")}, {Key: "__debezium.context.runId", Value: []byte("01a2058b-2a5c-7c8c-be8e-08025ea108c3")}},
		}
	}
	return recs
}

func benchDecode(b *testing.B, recs []connectors.Record, o cdc.Options) {
	d := newDecoder(b, o)
	var size int
	for i := range recs {
		size += len(recs[i].Value)
	}
	b.SetBytes(int64(size / len(recs)))
	b.ReportAllocs()
	dst := make([]connectors.Change, 0, 1024)
	i := 0
	for b.Loop() {
		if len(dst) == cap(dst) {
			dst = dst[:0]
		}
		var err error
		if dst, err = d.Decode(dst, &recs[i%len(recs)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

func BenchmarkDecodePlain(b *testing.B)             { benchDecode(b, benchEvents(4096), cdc.Options{}) }
func BenchmarkDecodePlainBeforeAlways(b *testing.B) { benchDecode(b, benchEvents(4096), always) }

// BenchmarkDecodeSchema decodes captured events with embedded schemas of 3 to 5 kB.
func BenchmarkDecodeSchema(b *testing.B) {
	_, records := loadStream(b, "pg-restart")
	var recs []connectors.Record
	for _, r := range records {
		if strings.HasSuffix(r.Topic, ".orders") && r.Value != nil {
			recs = append(recs, r)
		}
	}
	benchDecode(b, recs, cdc.Options{})
}

// BenchmarkFastjsonParse is what a general parser needs for the tree alone, nothing decoded from it.
func BenchmarkFastjsonParse(b *testing.B) {
	recs := benchEvents(4096)
	var p fastjson.Parser
	b.SetBytes(int64(len(recs[0].Value)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := p.ParseBytes(recs[i%len(recs)].Value); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
