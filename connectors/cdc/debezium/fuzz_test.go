package debezium

import (
	"runtime"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/internal/samples"
	"sluice.io/sluice/internal/testkit"
)

// FuzzDecode gives the decoder any bytes: it may refuse them, but it must not panic, hang or swallow memory, and a
// value that it takes must decode the same again when it is rebuilt.
func FuzzDecode(f *testing.F) {
	for _, s := range samples.Load(f, testkit.Shared(f, "samples"), "debezium-", "malformed-") {
		header := []byte(nil)
		if len(s.Record.Headers) > 0 {
			header = s.Record.Headers[0].Value
		}
		f.Add(s.Record.Key, s.Record.Value, header)
	}
	f.Add([]byte(`{"schema":{"type":"int32"},"payload":7}`), []byte(`{"payload":{"op":"d","source":{"connector":"postgresql","table":"t"},"before":null},"schema":null}`), []byte(`{`))
	f.Fuzz(func(t *testing.T, key, value, header []byte) {
		d, err := New(cdc.Options{Before: cdc.BeforeAlways})
		if err != nil {
			t.Fatal(err)
		}
		rec := &connectors.Record{Topic: "t", Key: key, Value: value, Headers: []connectors.Header{{Key: headerOldKey, Value: header}}}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		cs, err := d.Decode(nil, rec)
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20+2000*uint64(len(key)+len(value)+len(header)) {
			t.Fatalf("%d bytes of input took %d bytes of memory", len(value), grown)
		}
		if err != nil {
			if _, ok := connectors.IsPoison(err); !ok {
				t.Fatalf("an error that is no dead letter: %v", err)
			}
			return
		}
		if len(cs) != 1 {
			t.Fatalf("%d changes of one record", len(cs))
		}
		checkRows(t, &cs[0])
		if cs[0].Raw.Complete && cs[0].Kind != connectors.Tombstone {
			checkRebuild(t, d, &cs[0])
		}
	})
}

func checkRows(t *testing.T, c *connectors.Change) {
	t.Helper()
	for _, r := range []connectors.Row{c.Key, c.OldKey(), c.NewKey(), c.Before, c.After} {
		if r.IsZero() {
			continue
		}
		if len(r.Values) != len(r.Shape.Names) || r.Shape.Types != nil && len(r.Shape.Types) != len(r.Shape.Names) {
			t.Fatalf("a row of %d values has a shape of %d", len(r.Values), len(r.Shape.Names))
		}
		for i, v := range r.Values {
			if v.State == connectors.Present && r.Shape.Types != nil && v.Kind != r.Shape.Types[i].Kind {
				t.Fatalf("column %s is a %s and declared as %s", r.Shape.Names[i], v.Kind, r.Shape.Types[i])
			}
		}
		for _, x := range r.Rescued() {
			if x.Column < 0 || x.Column >= len(r.Values) {
				t.Fatalf("rescued text of column %d of %d", x.Column, len(r.Values))
			}
		}
	}
}
