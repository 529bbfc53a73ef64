package silver_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/config"
)

// formats.md §1.4: a delete of PostgreSQL's default replica identity tells the source's key and invents the rest. Its inventions are no key of silver.keys.
func TestInventedValuesAreNoKey(t *testing.T) {
	t.Parallel()
	const source = `"snapshot":"false","sequence":"[\"%\",\"%\"]","lsn":%`
	for _, before := range []string{`{"id":1,"a":null,"b":0,"v":null}`, `{"id":1,"a":"","b":0,"v":null}`} {
		w := newWire(t)
		event := func(op, lsn, id, before, after string) []connectors.Change {
			return w.event("postgresql", op, strings.ReplaceAll(source, "%", lsn), `{"id":`+id+`}`, before, after)
		}
		x := newBench(t, func(c *config.Sink) { c.SilverKeys = []string{"a", "b"} })
		x.merge(event("c", "10", "1", "", `{"id":1,"a":"x","b":2,"v":1}`)...)
		x.merge(event("c", "11", "2", "", `{"id":2,"a":"","b":0,"v":2}`)...)
		x.merge(event("d", "12", "1", before, "")...)
		x.want(`{"a":"","b":0,"id":2,"v":2}`, `{"a":"x","b":2,"id":1,"v":1}`)
		if len(x.letters) != 1 || !strings.Contains(x.letters[0].Reason, "REPLICA IDENTITY FULL") {
			t.Errorf("%s: letters %v", before, x.letters)
		}
	}
}

// An update that changes a column of silver.keys and not the source's key takes its row along, whichever way the events are cut: also where PostgreSQL's whole
// rows have a null, which it invents in others.
func TestUpdatesMoveRowsToOtherKeys(t *testing.T) {
	t.Parallel()
	conf := sinkConfig()
	conf.SilverKeys = []string{"a"}
	dec, err := debezium.New(cdc.OptionsOf(conf))
	if err != nil {
		t.Fatal(err)
	}
	for connector, source := range map[string]string{
		"mysql":      `"snapshot":"false","server_id":1,"file":"bin.000001","pos":%[1]d,"row":0`,
		"postgresql": `"snapshot":"false","sequence":"[\"%[1]d\",\"%[1]d\"]","lsn":%[1]d`,
	} {
		w, pos := newWire(t), 10
		w.dec = dec
		event := func(op, id, before, after string) []connectors.Change {
			pos++
			return w.event(connector, op, fmt.Sprintf(source, pos), `{"id":`+id+`}`, before, after)
		}
		events := [][]connectors.Change{
			event("c", "1", "", `{"id":1,"a":"x","n":null,"v":1}`),
			event("c", "2", "", `{"id":2,"a":"y","n":null,"v":2}`),
			event("u", "1", `{"id":1,"a":"x","n":null,"v":1}`, `{"id":1,"a":"z","n":null,"v":3}`),
			event("u", "2", `{"id":2,"a":"y","n":null,"v":2}`, `{"id":2,"a":"x","n":null,"v":4}`), // the key that the other row left
			event("u", "1", `{"id":1,"a":"z","n":null,"v":3}`, `{"id":1,"a":"y","n":null,"v":5}`),
		}
		for _, scd := range []int{1, 2} {
			set := func(c *config.Sink) { c.SilverKeys, c.SilverSCDType = []string{"a"}, scd }
			whole := ""
			for cut := range 1 << (len(events) - 1) {
				x := newBench(t, set)
				var pending []connectors.Change
				for i, e := range events {
					if pending = append(pending, e...); cut>>i&1 == 1 {
						x.merge(pending...)
						x.merge(pending...) // again
						x.reopen(set)
						pending = nil
					}
				}
				x.merge(pending...)
				if scd == 1 {
					x.want(`{"a":"x","id":2,"v":4}`, `{"a":"y","id":1,"v":5}`)
				} else if whole == "" {
					whole = x.rows()
					if n := strings.Count(whole, "\n") + 1; n != 5 {
						t.Fatalf("%s: %d versions:\n%s", connector, n, whole)
					}
				} else if x.rows() != whole {
					t.Fatalf("%s, cut %b: got\n%s\nwant\n%s", connector, cut, x.rows(), whole)
				}
				if len(x.letters) > 0 {
					t.Fatal(x.letters)
				}
			}
		}
	}
}
