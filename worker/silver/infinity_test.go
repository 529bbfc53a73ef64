package silver_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/schema"
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

// Rows of a table without key that differ only in a value that its column cannot hold are not equal: a delete or an update takes the one that it names, also
// where the index was made from the table.
func TestRowsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, scd := range []int{1, 2} {
		for _, mode := range []string{"deletion-vectors", "copy-on-write"} {
			b := mem.New("lake")
			conf := sinkConfig()
			conf.SilverSCDType, conf.SilverMergeMode = scd, mode
			shape := &connectors.Shape{Names: []string{"a", "until"}, Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.Timestamp)}}
			row := func(text string) connectors.Row {
				r := connectors.Row{Shape: shape, Values: []connectors.Value{long(1), connectors.NullValue()}}
				if text != "" {
					r.SetRescued([]connectors.Rescued{{Column: 1, Text: text}})
				}
				return r
			}
			at := int64(0)
			event := func(op connectors.Op, before, after string) connectors.Change {
				at++
				c := rec(op, at, 0)
				c.Key, c.Before, c.After, c.BeforeQuality = connectors.Row{}, connectors.Row{}, connectors.Row{}, connectors.BeforeFull
				if op != cOp {
					c.Before = row(before)
				}
				if op != dOp {
					c.After = row(after)
				}
				return c
			}
			version := int64(0)
			// Each step opens the table anew, without what the Merger before it knew.
			step := func(want string, changes ...connectors.Change) {
				t.Helper()
				mergeEach(t, b, conf, []silver.Batch{{Feed: "bronze/t", Version: version, Changes: changes}})
				version++
				var got []string
				for _, l := range canonicalRows(t, b, "silver/t") {
					if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
						_, rest, _ := strings.Cut(l, `"_rescued_data":`)
						text := strings.TrimPrefix(rest, `"{\"until\":\"`)
						text, _, _ = strings.Cut(text, `\"`)
						if strings.HasPrefix(rest, "null") {
							text = "null"
						}
						got = append(got, text)
					}
				}
				slices.Sort(got)
				if is := strings.Join(got, " "); is != want {
					t.Errorf("scd %d, %s: %q, want %q", scd, mode, is, want)
				}
			}
			step("-infinity infinity infinity null", event(cOp, "", "infinity"), event(cOp, "", "-infinity"), event(cOp, "", "infinity"), event(cOp, "", ""))
			step("infinity infinity null", event(dOp, "-infinity", ""))
			step("-infinity infinity null", event(uOp, "infinity", "-infinity"))
			step("-infinity infinity", event(dOp, "", ""))
			step("infinity", event(dOp, "-infinity", ""))
		}
	}
}
