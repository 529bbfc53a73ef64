package optimize

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store/mem"
)

// rowIDs gives id and version of each row, as a reader of row tracking works them out, by the column id.
func rowIDs(t *testing.T, s *delta.Snapshot) map[int64][2]int64 {
	t.Helper()
	extra, ok, err := rowIDFields(s)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	out := map[int64][2]int64{}
	for f := range s.Files() {
		gone, err := rows.DeletedRows(context.Background(), s.Table(), f)
		if err != nil {
			t.Fatal(err)
		}
		o := rows.Options{Columns: []string{"id", extra[0].Name, extra[1].Name}, Positions: true}
		for b, err := range rows.ReadSingle(context.Background(), s, rows.Single{File: f, Drop: gone, Extra: extra}, o) {
			if err != nil {
				t.Fatal(err)
			}
			cols := [3]*array.Int64{}
			for i := range cols {
				cols[i] = b.Record.Column(i).(*array.Int64)
			}
			for i := range int(b.Record.NumRows()) {
				x := [2]int64{*f.BaseRowID + b.Positions[i], *f.DefaultRowCommitVersion}
				for k := range x {
					if cols[k+1].IsValid(i) {
						x[k] = cols[k+1].Value(i)
					}
				}
				out[cols[0].Value(i)] = x
			}
		}
	}
	return out
}

// TestRowIDsMoveAlong: in a table that tracks rows, each keeps its id and the version that wrote it, however often it is moved.
func TestRowIDsMoveAlong(t *testing.T) {
	t.Parallel()
	for _, mapping := range []string{"none", "name", "id"} {
		conf := map[string]string{delta.PropEnableDVs: "true", delta.PropEnableRowTracking: "true", delta.PropRowIDColumn: "_row-id-col-1", delta.PropRowVersionColumn: "_row-version-col-1"}
		sc := sc
		if mapping != "none" {
			conf[delta.PropColumnMappingMode] = mapping
			var top int
			sc, top = rows.MapColumns(sc, 0, rows.NewName)
			conf[delta.PropMaxColumnID] = strconv.Itoa(top)
		}
		tab, err := delta.Create(context.Background(), mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: []string{"p"}, Configuration: conf})
		if err != nil {
			t.Fatal(err)
		}
		s := tab.Cached()
		part := "p"
		if mapping != "none" {
			part = delta.PhysicalName(&s.Schema().Fields[1])
		}
		s = addTo(t, s, "f0", part, 10, 11, 12)
		s = addTo(t, s, "f1", part, 20, 21)
		s = del(t, s, map[string][]uint64{"f0": {1}})
		for round := range 3 {
			want := rowIDs(t, s)
			res, err := Run(context.Background(), tab, Options{})
			if err != nil || res.FilesAdded != 1 {
				t.Fatalf("%s, round %d: %+v, %v", mapping, round, res, err)
			}
			if s, err = tab.Snapshot(context.Background()); err != nil {
				t.Fatal(err)
			}
			if got := rowIDs(t, s); !maps.Equal(got, want) || len(got) != 4+round {
				t.Errorf("%s, round %d: %v, want %v", mapping, round, got, want)
			}
			for f := range s.Files() {
				if strings.Contains(f.Stats, "_row-") {
					t.Errorf("%s: statistics of the ids: %s", mapping, f.Stats)
				}
			}
			s = addTo(t, s, "g"+string(rune('0'+round)), part, int64(100+round))
		}
		seen := map[int64]bool{}
		for _, x := range rowIDs(t, s) {
			if seen[x[0]] {
				t.Errorf("%s: the row id %d is there twice", mapping, x[0])
			}
			seen[x[0]] = true
		}
	}
}

// TestMovedRowsWithoutIDs: rows are not moved by a commit that forgets their ids.
func TestMovedRowsWithoutIDs(t *testing.T) {
	t.Parallel()
	tab, err := delta.Create(context.Background(), mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: []string{"p"},
		Configuration: map[string]string{delta.PropEnableRowTracking: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	s := addTo(t, tab.Cached(), "f0", "p", 1)
	f, _ := s.File("f0")
	c := tab.NewCommit(s)
	c.Remove(f)
	a := *f
	a.Path, a.BaseRowID, a.Written = "f1", nil, &delta.Written{Size: f.Size, Rows: 1}
	c.Append(a)
	c.Rearrange()
	var unsupported *delta.UnsupportedError
	if out := c.Do(context.Background()); !errors.As(out.Err, &unsupported) {
		t.Errorf("%v", out.Err)
	}
	if _, err := Purge(context.Background(), tab, Options{}); err != nil {
		t.Error(err) // there is nothing to do
	}
	addTo(t, s, "f2", "p", 2)
	before := objects(t, tab)
	if _, err := Run(context.Background(), tab, Options{}); err == nil || !strings.Contains(err.Error(), delta.PropRowIDColumn) {
		t.Errorf("a table that does not say where row ids are: %v", err)
	}
	if after := objects(t, tab); !slices.Equal(after, before) {
		t.Errorf("a run that was refused left files: %v, before %v", after, before)
	}
}

func objects(t *testing.T, tab *delta.Table) []string {
	t.Helper()
	var out []string
	for info, err := range tab.Bucket().List(context.Background(), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}
