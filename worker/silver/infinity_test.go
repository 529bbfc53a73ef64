package silver_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// Keys that their column cannot hold (PostgreSQL's infinity and -infinity, both NULL with their text in _rescued_data) are keys of their own: also in an
// index that was made from the table.
func TestKeysThatDoNotFit(t *testing.T) {
	t.Parallel()
	const stamp = `{"type":"int64","name":"io.debezium.time.MicroTimestamp","field":"until"}`
	const row = `{"type":"struct","optional":true,"fields":[` + stamp + `,{"type":"string","optional":true,"field":"v"}],"field":%q}`
	schema := `{"type":"struct","fields":[` + fmt.Sprintf(row, "before") + "," + fmt.Sprintf(row, "after") + `,{"type":"struct","fields":[{"type":"string","field":"connector"},{"type":"string","field":"table"},{"type":"string","field":"sequence"},{"type":"int64","field":"lsn"},{"type":"int64","field":"ts_ms"}],"field":"source"},{"type":"string","field":"op"}],"name":"p.public.t.Envelope"}`
	for _, scd := range []int{1, 2} {
		d, err := debezium.New(cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := mem.New("lake")
		conf := sinkConfig()
		conf.SilverSCDType = scd
		at := int64(0)
		event := func(op string, until int64, v string) connectors.Change {
			at++
			image := fmt.Sprintf(`{"until":%d,"v":%q}`, until, v)
			before, after := "null", image
			if op == "d" {
				before, after = image, "null"
			}
			r := &connectors.Record{Topic: "p.public.t", Offset: at, TimestampMs: 1000 * at,
				Key: fmt.Appendf(nil, `{"schema":{"type":"struct","fields":[%s]},"payload":{"until":%d}}`, stamp, until),
				Value: fmt.Appendf(nil, `{"schema":%s,"payload":{"before":%s,"after":%s,"source":{"connector":"postgresql","table":"t","sequence":"[\"%d\",\"%d\"]","lsn":%d,"ts_ms":%d},"op":%q}}`,
					schema, before, after, at, at, at, 1000*at, op)}
			out, err := d.Decode(nil, r)
			if err != nil || len(out) != 1 {
				t.Fatalf("%d changes, %v", len(out), err)
			}
			return out[0]
		}
		version := int64(0)
		// Each step opens the table anew, without what the Merger before it knew.
		merge := func(changes ...connectors.Change) {
			mergeEach(t, b, conf, []silver.Batch{{Feed: "bronze/t", Version: version, Changes: changes}})
			version++
		}
		check := func(want ...string) {
			t.Helper()
			var got []string
			for _, l := range canonicalRows(t, b, "silver/t") {
				if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
					got = append(got, l)
				}
			}
			for _, w := range want {
				inf, v, _ := strings.Cut(w, "=")
				n := 0
				for _, l := range got {
					if strings.Contains(l, `"{\"until\":\"`+inf+`\"}"`) && strings.Contains(l, `"v":"`+v+`"`) {
						n++
					}
				}
				if n != 1 {
					t.Errorf("scd %d: %s: %d rows of %v", scd, w, n, got)
				}
			}
			if len(got) != len(want) {
				t.Errorf("scd %d: %d rows, want %v: %v", scd, len(got), want, got)
			}
		}
		merge(event("c", math.MaxInt64, "a"), event("c", math.MinInt64, "b"), event("c", -63517820276500000, "c"))
		check("infinity=a", "-infinity=b", "-0043-03-15T01:02:03.500000=c")
		merge(event("u", math.MaxInt64, "d"))
		merge(event("u", math.MinInt64, "e"))
		check("infinity=d", "-infinity=e", "-0043-03-15T01:02:03.500000=c")
		merge(event("d", math.MinInt64, "e"), event("d", -63517820276500000, "c"))
		check("infinity=d")
	}
}
