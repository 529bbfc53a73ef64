package silver_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/schema"
)

// checkFeed replays the change data feed of the table from its first version on, which must give its rows: an insert or a
// postimage adds a row, a delete or a preimage takes an equal one away that is there. A postimage follows for each preimage.
func checkFeed(t *rapid.T, r *simRun) {
	if !r.conf.SilverCDF || !tableThere(r.b) {
		return
	}
	ctx := context.Background()
	tab, err := delta.Open(ctx, r.b, "silver/t")
	if err != nil {
		t.Fatalf("%v", err)
	}
	snap, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatalf("%v", err)
	}
	rows := map[string]int{}
	pairs := map[int64]int{}
	sch := snap.Schema()
	var changes []string
	for b, err := range cdf.Read(ctx, tab, cdf.Options{To: -1}) {
		if err != nil {
			t.Fatalf("%v", err)
		}
		n := len(sch.Fields)
		kinds := b.Record.Column(n)
		own := array.NewRecord(arrow.NewSchema(b.Record.Schema().Fields()[:n], nil), b.Record.Columns()[:n], b.Record.NumRows())
		for i := range int(b.Record.NumRows()) {
			line, err := columnar.AppendCanonicalJSON(nil, own, sch, i)
			if err != nil {
				t.Fatalf("%v", err)
			}
			changes = append(changes, fmt.Sprintf("%05d %s %s", b.Version, columnar.ValueAt(kinds, schema.Of(schema.String), i).Str, line))
		}
	}
	// Inside a version what goes comes first.
	slices.SortStableFunc(changes, func(a, b string) int {
		rank := func(s string) string {
			if k := s[6:]; strings.HasPrefix(k, "delete") || strings.HasPrefix(k, "update_pre") {
				return s[:5] + "0"
			}
			return s[:5] + "1"
		}
		return strings.Compare(rank(a), rank(b))
	})
	for _, c := range changes {
		var version int64
		if _, err := fmt.Sscan(c[:5], &version); err != nil {
			t.Fatalf("%v", err)
		}
		kind, line, _ := strings.Cut(c[6:], " ")
		switch kind {
		case "update_postimage":
			pairs[version]--
			rows[line]++
		case "insert":
			rows[line]++
		case "update_preimage":
			pairs[version]++
			rows[line]--
		case "delete":
			rows[line]--
		default:
			t.Fatalf("a change of kind %q", kind)
		}
		if rows[line] < 0 {
			t.Fatalf("version %d takes a row that is not there: %s", version, line)
		}
	}
	for v, n := range pairs {
		if n != 0 {
			t.Fatalf("version %d has %d more preimages than postimages", v, n)
		}
	}
	var got []string
	for l, n := range rows {
		for range n {
			got = append(got, l)
		}
	}
	if d := diff(got, canonicalRows(fataler{t}, r.b, "silver/t")); d != "" {
		t.Fatalf("the change data feed gives other rows:\n%s", d)
	}
}
