package silver_test

import (
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
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
