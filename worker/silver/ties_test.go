package silver_test

import (
	"fmt"
	"sort"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/generic"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// A mapping may name an order that several changes of a row share, as a time or the number of a transaction: the last one counts, also after
// a restart of the producer that repeats some. Was: the first one did, a delete came before the insert of its own transaction, and what equalled the
// row that the table had was taken for its repeat, whatever came between; a history took a second delete for the repeat of the first.
func TestOrderWithTies(t *testing.T) {
	t.Parallel()
	const mapping = `{"op":{"path":"op","map":{"I":"insert","U":"update","D":"delete"}},"table":{"const":"t"},"key":{"columns":["id"]},"before":"old","after":"new",
		"order":[{"path":"scn","type":"uint"}]}`
	rapid.Check(t, func(t *rapid.T) {
		d, err := generic.Format().New(cdc.Options{Config: map[string]string{generic.MappingKey: mapping}})
		if err != nil {
			t.Fatal(err)
		}
		rows, past := map[int]int64{}, 0
		toggle := rapid.Bool().Draw(t, "toggle") // values come again: what equals a change before is none the less one of its own
		var batches []silver.Batch
		var cur []connectors.Change
		scn := 1
		var said []string
		offset := int64(0)
		say := func(text string) {
			cs, err := d.Decode(nil, &connectors.Record{Topic: "t", Offset: offset, TimestampMs: offset, Value: []byte(text)})
			if err != nil {
				t.Fatal(err)
			}
			offset++
			cur = append(cur, cs...)
			if rapid.IntRange(0, 3).Draw(t, "cut") == 0 {
				batches = append(batches, silver.Batch{Feed: "f", Version: int64(len(batches)), Changes: cur})
				cur = nil
			}
		}
		for n := range rapid.Int64Range(1, 30).Draw(t, "events") {
			k := rapid.IntRange(1, 3).Draw(t, "k")
			_, there := rows[k]
			if toggle {
				n %= 2
			}
			text := fmt.Sprintf(`{"op":"I","scn":%d,"new":{"id":%d,"v":%d}}`, scn, k, n)
			switch {
			case there && rapid.Bool().Draw(t, "delete"):
				text = fmt.Sprintf(`{"op":"D","scn":%d,"old":{"id":%d}}`, scn, k)
				delete(rows, k)
				past++
			case there:
				past++
				text = fmt.Sprintf(`{"op":"U","scn":%d,"new":{"id":%d,"v":%d}}`, scn, k, n)
				fallthrough
			default:
				rows[k] = n
			}
			said = append(said, text)
			say(text)
			scn += rapid.IntRange(0, 2).Draw(t, "next") / 2
			if rapid.IntRange(0, 9).Draw(t, "restart") == 0 { // the producer sends again what it does not know to be there
				for _, text := range said[rapid.IntRange(0, len(said)-1).Draw(t, "from"):] {
					say(text)
				}
			}
		}
		batches = append(batches, silver.Batch{Feed: "f", Version: int64(len(batches)), Changes: cur})
		b := mem.New("lake")
		conf := sinkConfig()
		conf.Format = "generic"
		history := rapid.Bool().Draw(t, "history")
		if history {
			conf.SilverSCDType = 2
		}
		mergeEach(fataler{t}, b, conf, batches)
		var want, got []string
		for k, v := range rows {
			want = append(want, fmt.Sprintf(`{"id":%d,"v":%d}`, k, v))
		}
		sort.Strings(want)
		for _, line := range canonicalRows(fataler{t}, b, "silver/t") {
			if history && !strings.Contains(line, `"__END_AT":null`) {
				past--
				continue
			}
			got = append(got, dataOnly(fataler{t}, line))
		}
		sort.Strings(got)
		if history && past != 0 && !toggle {
			t.Fatalf("%d versions are missing:\n%s\n%s", past, strings.Join(canonicalRows(fataler{t}, b, "silver/t"), "\n"), said)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("the table has %v, not %v", got, want)
		}
	})
}
