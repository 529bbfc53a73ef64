package silver_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/flat"
	"sluice.io/sluice/connectors/config"
)

// A delete that is nothing but a null value takes the row that is there, also in a history, whatever its create came over, and however the
// events are cut into merges.
func TestBareDeleteOverCreateOverRow(t *testing.T) {
	t.Parallel()
	for _, scd := range []int{1, 2} {
		for cut := range 4 {
			for _, again := range []bool{false, true} {
				t.Run(fmt.Sprintf("scd %d cut %d again %t", scd, cut, again), func(t *testing.T) {
					t.Parallel()
					set := func(c *config.Sink) { c.SilverSCDType = scd }
					x, w := newBench(t, set), newWire(t)
					steps := [][]connectors.Change{
						w.pg("c", 50, 50, 1, `{"id":1,"a":"old"}`),
						w.pg("c", 60, 61, 1, `{"id":1,"a":"new"}`),
						w.record(`{"id":1}`, ""),
					}
					if again {
						steps = append(steps, steps[0], steps[2])
					}
					var pending []connectors.Change
					for i, s := range steps {
						pending = append(pending, s...)
						if i >= 3 || cut>>i&1 == 1 || i == len(steps)-1 {
							x.merge(pending...)
							pending = nil
							x.reopen(set)
						}
					}
					x.merge(pending...)
					for _, l := range canonicalRows(t, x.b, "silver/t") {
						if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
							t.Errorf("left: %s", l)
						}
					}
					// It is gone for good, and another row may come.
					x.merge(w.pg("c", 70, 71, 1, `{"id":1,"a":"next"}`)...)
					n := 0
					for _, l := range canonicalRows(t, x.b, "silver/t") {
						if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
							n++
						}
					}
					if n != 1 {
						t.Errorf("%d rows are current, want 1:\n%s", n, x.rows())
					}
				})
			}
		}
	}
}

// A row that takes another key carries its values over, also where the delete of its old key is nothing but a null value.
func TestBareDeleteOfChangedKey(t *testing.T) {
	t.Parallel()
	for _, scd := range []int{1, 2} {
		for cut := range 8 {
			for k, order := range [][]int{{0, 1, 2}, {0, 1, 2}, {0, 2, 1}, {2, 0, 1}} {
				t.Run(fmt.Sprintf("scd %d cut %d order %d", scd, cut, k), func(t *testing.T) {
					t.Parallel()
					set := func(c *config.Sink) { c.SilverSCDType = scd }
					x, w := newBench(t, set), newFlatWire(t)
					x.merge(w.row("c", 40, 40, 9, `"a":9,"big":"other"`)...) // tells the columns
					steps := [][]connectors.Change{
						w.row("c", 50, 50, 1, `"a":1,"big":"kept"`),
						w.record(`{"id":1}`, "", "__debezium.newkey", `{"id":2}`),
						w.row("c", 60, 61, 2, `"a":2,"big":"__debezium_unavailable_value"`, "__debezium.oldkey", `{"id":1}`),
					}
					steps[2][0].Record.Partition = int32(min(k, 1)) // what shares a partition keeps its order
					var pending []connectors.Change
					for i, k := range order {
						pending = append(pending, steps[k]...)
						if cut>>i&1 == 1 {
							x.merge(pending...)
							pending = nil
							x.reopen(set)
						}
					}
					x.merge(pending...)
					got := map[string]bool{}
					for _, l := range canonicalRows(t, x.b, "silver/t") {
						if scd == 1 || strings.Contains(l, `"__END_AT":null`) {
							got[dataOnly(t, l)] = true
						}
					}
					if want := `{"a":2,"big":"kept","id":2}`; len(got) != 2 || !got[want] {
						t.Errorf("got %v, want %s", got, want)
					}
				})
			}
		}
	}
}

// flatWire is wire for events as ExtractNewRecordState makes them.
type flatWire struct {
	wire
	flat connectors.Decoder
}

func newFlatWire(t *testing.T) *flatWire {
	t.Helper()
	d, err := flat.New(cdc.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &flatWire{*newWire(t), d}
}

func (w *flatWire) record(key, value string, headers ...string) []connectors.Change {
	w.t.Helper()
	r := w.next(key, value, headers...)
	out, err := w.flat.Decode(nil, r)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// row is an event of PostgreSQL with its position beside the columns.
func (w *flatWire) row(op string, commit, lsn, id int, columns string, headers ...string) []connectors.Change {
	w.t.Helper()
	return w.record(fmt.Sprintf(`{"id":%d}`, id), fmt.Sprintf(`{"id":%d,%s,"__op":%q,"__connector":"postgresql","__source_sequence":"[\"%d\",\"%d\"]","__source_lsn":%d}`,
		id, columns, op, commit, lsn, lsn), headers...)
}
