package silver_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/worker/silver"
)

// The key of a source table becomes another one in mid-stream. Its events are dead letters that say what helps, and that does: all events merged anew with
// silver.keys give the rows of the source, whichever way they are cut.
func TestKeyDefinitionChanges(t *testing.T) {
	t.Parallel()
	for _, keyless := range []bool{false, true} {
		w := newWire(t)
		event := func(op string, pos int, oldKey bool, before, after string) []connectors.Change {
			key := `{"a":"x","b":2}`
			if img := after + before; strings.Contains(img, `"a":"y"`) {
				key = `{"a":"y","b":2}`
			}
			if oldKey && keyless {
				key = ""
			} else if oldKey {
				key = `{"id":` + string((after + before)[len(`{"id":`)]) + `}`
			}
			return w.event("mysql", op, fmt.Sprintf(`"snapshot":"false","server_id":1,"file":"bin.000001","pos":%d,"row":0`, pos), key, before, after)
		}
		events := [][]connectors.Change{
			event("c", 10, true, "", `{"id":1,"a":"x","b":2,"v":1}`),
			event("c", 11, true, "", `{"id":2,"a":"y","b":2,"v":2}`),
			event("u", 12, true, `{"id":1,"a":"x","b":2,"v":1}`, `{"id":1,"a":"x","b":2,"v":3}`),
			event("d", 13, true, `{"id":2,"a":"y","b":2,"v":2}`, ""),
			w.record(map[bool]string{false: `{"id":2}`}[keyless], ""),
			// ALTER TABLE … DROP PRIMARY KEY, ADD PRIMARY KEY (a, b)
			event("u", 20, false, `{"id":1,"a":"x","b":2,"v":3}`, `{"id":1,"a":"x","b":2,"v":4}`),
			event("c", 21, false, "", `{"id":2,"a":"y","b":2,"v":5}`),
		}
		x := newBench(t, nil)
		for _, e := range events {
			x.merge(e...)
		}
		if len(x.letters) != 2 || !strings.Contains(x.letters[0].Reason, "set silver.keys=a,b, then sluice table rebuild") {
			t.Fatalf("keyless %t: letters %v", keyless, x.letters)
		}
		anew := func(c *config.Sink) { c.SilverKeys = []string{"a", "b"} }
		if err := x.m.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		conf := sinkConfig()
		anew(conf)
		_, err := silver.Open(context.Background(), silver.Options{Bucket: x.b, Path: "silver/t", Connector: "c", Config: conf})
		if err == nil || !strings.Contains(err.Error(), silver.ErrConfig.Error()) {
			t.Errorf("keyless %t: a table with another key was opened: %v", keyless, err)
		}
		for cut := range 1 << (len(events) - 1) {
			y := newBench(t, anew)
			var pending []connectors.Change
			for i, e := range events {
				if pending = append(pending, e...); cut>>i&1 == 1 {
					y.merge(pending...)
					pending = nil
				}
			}
			y.merge(pending...)
			y.want(`{"a":"x","b":2,"id":1,"v":4}`, `{"a":"y","b":2,"id":2,"v":5}`)
			if len(y.letters) > 0 {
				t.Fatalf("keyless %t, cut %b: %v", keyless, cut, y.letters)
			}
		}
	}
}

// What a dead letter of an event without the table's key advises helps: with silver.keys the table goes on, and all events merged anew give the rows of the source.
func TestLettersAboutKeysSayWhatHelps(t *testing.T) {
	t.Parallel()
	keys := func(names ...string) func(*config.Sink) { return func(c *config.Sink) { c.SilverKeys = names } }
	for _, c := range []struct {
		name   string
		is     func(*config.Sink)
		letter string
		then   func(*config.Sink)
		goesOn bool // the table is opened with then, and needs no rebuild for what comes
	}{
		{"no key", nil, "Set silver.keys=id,", keys("id"), true},
		{"a column that came later", keys("id", "b"), "Set silver.keys to columns that all events have", keys("id"), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, pos := newWire(t), 10
			event := func(op, key, before, after string) []connectors.Change {
				pos++
				return w.event("mysql", op, fmt.Sprintf(`"snapshot":"false","server_id":1,"file":"bin.000001","pos":%d,"row":0`, pos), key, before, after)
			}
			events := [][]connectors.Change{
				event("c", `{"id":1}`, "", `{"id":1,"v":1}`),
				event("c", `{"id":2}`, "", `{"id":2,"v":2}`),
				event("u", `{"id":1}`, `{"id":1,"v":1}`, `{"id":1,"v":3}`),
				// ALTER TABLE … DROP PRIMARY KEY, ADD COLUMN b
				event("c", "", "", `{"id":3,"v":5,"b":7}`),
				event("d", "", `{"id":2,"v":2,"b":null}`, ""),
			}
			last := event("u", "", `{"id":1,"v":3,"b":null}`, `{"id":1,"v":6,"b":8}`)
			source := []string{`{"b":7,"id":3,"v":5}`, `{"b":8,"id":1,"v":6}`}
			x := newBench(t, c.is)
			for _, e := range events {
				x.merge(e...)
			}
			if len(x.letters) == 0 || !strings.Contains(x.letters[0].Reason, c.letter) || !strings.Contains(x.letters[0].Reason, "sluice table rebuild") {
				t.Fatalf("letters %v", x.letters)
			}
			if c.goesOn {
				n := len(x.letters)
				x.reopen(c.then)
				x.merge(last...)
				if len(x.letters) != n {
					t.Fatalf("the table does not go on: %v", x.letters[n:])
				}
				if !strings.Contains(x.rows(), source[1]) {
					t.Fatalf("got\n%s", x.rows())
				}
			}
			events = append(events, last)
			for _, scd := range []int{1, 2} {
				for cut := range 1 << (len(events) - 1) {
					set := func(k *config.Sink) { c.then(k); k.SilverSCDType = scd }
					y := newBench(t, set)
					var pending []connectors.Change
					for i, e := range events {
						if pending = append(pending, e...); cut>>i&1 == 1 {
							y.merge(pending...)
							y.reopen(set)
							pending = nil
						}
					}
					y.merge(pending...)
					if len(y.letters) > 0 {
						t.Fatalf("scd %d, cut %b: %v", scd, cut, y.letters)
					}
					if scd == 1 {
						y.want(source...)
					}
				}
			}
		})
	}
}
