package debezium

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/internal/testkit/streams"
)

var streamNames = []string{"pg-types", "pg-toast", "pg-evolve", "pg-restart", "maria-types", "maria-orders"}

// TestStreams decodes every record of the captured streams and folds the changes by position, per key: what comes out
// are the tables that the databases showed. So positions, keys, images, placeholders and types are right together.
func TestStreams(t *testing.T) {
	t.Parallel()
	for _, name := range streamNames {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, records := loadStream(t, name)
			d := newDecoder(t, always)
			var changes []connectors.Change
			found := map[string]int{}
			for i := range records {
				n := len(changes)
				var err error
				if changes, err = d.Decode(changes, &records[i]); err != nil {
					t.Fatalf("%s: %v\n%s", records[i].EventID(), err, records[i].Value)
				}
				found[outcome(changes[n:], nil)]++
				checkRebuild(t, d, &changes[n])
			}
			var kinds []string
			for k, n := range found {
				kinds = append(kinds, fmt.Sprintf("%s %d", k, n))
			}
			sort.Strings(kinds)
			t.Logf("%s: %d records: %s", name, len(records), strings.Join(kinds, ", "))
			tombstones := 0
			for _, topic := range s.Topics {
				tombstones += topic.Tombstones
			}
			if found["tombstone"] != tombstones {
				t.Errorf("%d tombstones, topics.json says %d", found["tombstone"], tombstones)
			}
			for _, table := range s.Tables {
				compareTable(t, table, foldTable(changes, table))
			}
		})
	}
}

// checkRebuild tests that bronze can give the change back: decode(rebuild(x)) equals decode(x).
func checkRebuild(t *testing.T, d *Decoder, c *connectors.Change) {
	t.Helper()
	if !c.Raw.Complete {
		if c.Kind == connectors.RowChange || c.Kind == connectors.TruncateTable {
			t.Fatalf("%s: a row change is not complete", c.Record.EventID())
		}
		return
	}
	r := *c.Record
	r.Value = d.Rebuild(nil, c.OpText, c.CaptureTsNs, c.Raw)
	again, err := d.Decode(nil, &r)
	if err != nil {
		t.Fatalf("%s: rebuilt value: %v\n%s", c.Record.EventID(), err, r.Value)
	}
	if diff := difference(c, &again[0]); diff != "" {
		t.Fatalf("%s: the rebuilt value decodes to another change: %s", c.Record.EventID(), diff)
	}
}

// difference names the first member in which two changes differ; records aside.
func difference(a, b *connectors.Change) string {
	switch {
	case a.Kind != b.Kind || a.Op != b.Op || a.ControlKind != b.ControlKind || a.Snapshot != b.Snapshot || a.OpText != b.OpText:
		return "kind"
	case (a.Source == nil) != (b.Source == nil) || a.Source != nil && *a.Source != *b.Source:
		return "source"
	case !sameRow(a.Key, b.Key):
		return "key"
	case !sameRow(a.OldKey(), b.OldKey()) || !sameRow(a.NewKey(), b.NewKey()):
		return "key change"
	case !sameRow(a.Before, b.Before) || a.BeforeQuality != b.BeforeQuality:
		return "before"
	case !sameRow(a.After, b.After):
		return "after"
	case a.Position != b.Position || a.PosQuality != b.PosQuality || a.Lineage != b.Lineage:
		return "position"
	case a.Tx() != b.Tx():
		return "transaction"
	case a.SourceTsNs != b.SourceTsNs || a.SourceTsDigits != b.SourceTsDigits || a.CaptureTsNs != b.CaptureTsNs:
		return "times"
	case a.Raw != b.Raw:
		return "raw"
	}
	return ""
}

func sameRow(a, b connectors.Row) bool {
	if a.IsZero() || b.IsZero() {
		return a.IsZero() == b.IsZero()
	}
	return slices.Equal(a.Shape.Names, b.Shape.Names) && slices.Equal(a.Rescued(), b.Rescued()) &&
		slices.EqualFunc(a.Shape.Types, b.Shape.Types, func(x, y schemaType) bool { return x.Equal(y) }) &&
		slices.EqualFunc(a.Values, b.Values, connectors.Value.Equal)
}

// cell is a column of a folded row.
type cell struct {
	v       connectors.Value
	rescued string
}

type row map[string]cell

func cells(r connectors.Row) row {
	out := row{}
	for i, n := range r.Shape.Names {
		out[n] = cell{v: r.Values[i]}
	}
	for _, x := range r.Rescued() {
		n := r.Shape.Names[x.Column]
		out[n] = cell{v: out[n].v, rescued: x.Text}
	}
	return out
}

func (r row) text() string {
	var parts []string
	for n, c := range r {
		parts = append(parts, n+"="+render(c.v)+"/"+c.rescued)
	}
	sort.Strings(parts)
	return strings.Join(parts, "\x00")
}

func keyText(r connectors.Row) string {
	if r.IsZero() {
		return ""
	}
	return cells(r).text()
}

// foldTable replays the changes of a table in the order of their positions, with repeats removed, unavailable values
// carried, and the creates and deletes of a key inside one transaction counted net (formats 1.6).
func foldTable(all []connectors.Change, table *streams.Table) []row {
	var list []*connectors.Change
	for i := range all {
		c := &all[i]
		if slices.Contains(table.Topics, c.Record.Topic) && (c.Kind == connectors.RowChange || c.Kind == connectors.TruncateTable) {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b *connectors.Change) int {
		if n := bytes.Compare([]byte(a.Position), []byte(b.Position)); n != 0 {
			return n
		}
		if a.Record.Partition == b.Record.Partition {
			return cmp.Compare(a.Record.Offset, b.Record.Offset)
		}
		return 0
	})
	seen := map[string]bool{}
	list = slices.DeleteFunc(list, func(c *connectors.Change) bool {
		if c.PosQuality != connectors.Exact {
			return false
		}
		id := keyText(c.Key) + "\x01" + string(c.Position) + c.OpText
		twice := seen[id]
		seen[id] = true
		return twice
	})
	rows, left := map[string]row{}, map[string]row{} // left: rows as they were when their key was given up
	bag := map[string][]row{}
	for len(list) > 0 {
		n := 1
		for g := list[0].Tx().Group; g != "" && n < len(list) && list[n].Tx().Group == g; {
			n++
		}
		tx := list[:n]
		list = list[n:]
		net, creates := map[string]int{}, map[string]int{}
		for _, c := range tx {
			k := keyText(c.Key)
			if _, ok := net[k]; !ok && rows[k] != nil {
				net[k] = 1
			}
			switch c.Op {
			case connectors.Insert:
				net[k]++
				creates[k]++
			case connectors.Delete:
				net[k]--
			}
		}
		for _, c := range tx {
			k := keyText(c.Key)
			switch {
			case c.Kind == connectors.TruncateTable:
				clear(rows)
				clear(bag)
			case c.Key.IsZero():
				if !c.Before.IsZero() {
					t := cells(c.Before).text()
					if b := bag[t]; len(b) > 0 {
						bag[t] = b[1:]
					}
				}
				if !c.After.IsZero() {
					t := cells(c.After)
					bag[t.text()] = append(bag[t.text()], t)
				}
			case c.Op == connectors.Delete:
				if rows[k] != nil {
					left[k] = rows[k]
				}
				if creates[k] > 0 && net[k] > 0 && rows[k] != nil && !sameImage(c, rows[k]) {
					continue // the delete is of the row that had the key before this transaction
				}
				delete(rows, k)
			default:
				from := rows[k]
				if c.Op == connectors.Insert && !c.OldKey().IsZero() {
					old := keyText(c.OldKey())
					if from = rows[old]; from == nil {
						from = left[old]
					}
				}
				now := cells(c.After)
				for name, x := range now {
					if x.v.State == connectors.Unavailable || x.v.State == connectors.Absent {
						now[name] = from[name]
					}
				}
				rows[k] = now
			}
		}
	}
	out := make([]row, 0, len(rows))
	for _, r := range rows {
		out = append(out, r)
	}
	for _, b := range bag {
		out = append(out, b...)
	}
	return out
}

// sameImage tells whether a delete's before image is the row.
func sameImage(c *connectors.Change, r row) bool {
	return !c.Before.IsZero() && cells(c.Before).text() == r.text()
}

func compareTable(t *testing.T, table *streams.Table, got []row) {
	t.Helper()
	if len(got) != len(table.Rows) {
		t.Errorf("%s: %d rows, want %d", table.Name, len(got), len(table.Rows))
	}
	texts := make(map[string][]row)
	for _, r := range got {
		k := rowKey(table, r)
		texts[k] = append(texts[k], r)
	}
	bad := 0
	for _, want := range table.Rows {
		var parts []string
		for _, n := range keyColumns(table) {
			parts = append(parts, normal(want[n]))
		}
		k := strings.Join(parts, "\x00")
		if len(texts[k]) == 0 {
			if bad++; bad < 5 {
				t.Errorf("%s: row %q is missing", table.Name, k)
			}
			continue
		}
		r := texts[k][0]
		texts[k] = texts[k][1:]
		for _, col := range table.Columns {
			c, ok := r[col.Name]
			if !ok {
				for from, to := range table.Renames {
					if to == col.Name {
						c, ok = r[from]
					}
				}
			}
			w := want[col.Name]
			if !ok && w != nil && table.Defaults[col.Name] != nil && *table.Defaults[col.Name] == *w {
				continue
			}
			if !sameText(table, col.Type, c, w) {
				if bad++; bad < 8 {
					t.Errorf("%s %q: %s (%s) is %s rescued %q, want %s", table.Name, k, col.Name, col.Type, render(c.v), c.rescued, show(w))
				}
			}
		}
	}
	if bad == 0 {
		t.Logf("%-15s %4d rows, %2d columns as the database showed them", table.Name, len(got), len(table.Columns))
	}
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}

// keyColumns are the columns by which rows are paired; a table without key is paired by all, as texts.
func keyColumns(table *streams.Table) []string {
	if len(table.PrimaryKey) > 0 {
		return table.PrimaryKey
	}
	var all []string
	for _, c := range table.Columns {
		all = append(all, c.Name)
	}
	return all
}

func rowKey(table *streams.Table, r row) string {
	var parts []string
	for _, n := range keyColumns(table) {
		text := render(r[n].v)
		parts = append(parts, normal(&text))
	}
	return strings.Join(parts, "\x00")
}

func normal(s *string) string {
	switch {
	case s == nil:
		return "NULL"
	case len(*s) > 16 && (strings.HasSuffix(*s, "+00") || strings.HasSuffix(*s, " BC") || strings.HasSuffix(*s, "Z")):
		return streams.ISOTime(*s)
	}
	return strings.TrimRight(*s, " ")
}
