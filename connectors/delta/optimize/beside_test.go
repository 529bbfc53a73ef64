package optimize

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store/mem"
)

// TestOptimizeBesideDeletes lets optimizers run while others delete rows by vectors: no run fails, and what was deleted stays deleted, in whatever
// file the row is by then.
func TestOptimizeBesideDeletes(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := newTable(t)
	const files, perFile = 8, 20
	s := tab.Cached()
	for f := range files {
		var ids []int64
		for i := range perFile {
			ids = append(ids, int64(f*perFile+i))
		}
		s = add(t, s, fmt.Sprintf("f%d", f), "x", ids...)
	}
	var wg sync.WaitGroup
	for w := range 2 { // each deletes every fourth row, one commit a row
		wg.Go(func() {
			for id := int64(w); id < files*perFile; id += 4 {
				if err := deleteID(ctx, tab, id); err != nil {
					t.Errorf("delete %d: %v", id, err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	runs, carried := 0, int64(0)
	for on := true; on; {
		select {
		case <-done:
			on = false
		default:
		}
		res, err := Run(ctx, tab, Options{MaxDeleted: 0.01})
		if err != nil {
			t.Fatalf("run %d: %v", runs, err)
		}
		runs, carried = runs+1, carried+res.RowsCarried
	}
	s, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for id := range files * perFile {
		if id%4 > 1 {
			want = append(want, fmt.Sprintf(`{"id":%d,"p":"x"}`, id))
		}
	}
	slices.Sort(want)
	if got := ids(t, s); !slices.Equal(got, want) {
		t.Errorf("%d rows, want %d", len(got), len(want))
	}
	for f, err := range rows.Fsck(ctx, s, rows.FsckOptions{Deep: true}) {
		t.Errorf("%+v %v", f, err)
	}
	t.Logf("%d runs, %d rows carried over", runs, carried)
}

// deleteID looks a row up and deletes it, again where its file was rewritten meanwhile.
func deleteID(ctx context.Context, tab *delta.Table, id int64) error {
	for {
		s, err := tab.Snapshot(ctx)
		if err != nil {
			return err
		}
		file, at, err := find(ctx, s, id)
		if err != nil {
			return err
		}
		v := roaring64.BitmapOf(uint64(at))
		old, err := rows.DeletedRows(ctx, tab, file)
		if err != nil {
			return err
		}
		if old != nil {
			v.Or(old)
		}
		d, _, err := dv.Write(ctx, tab.Bucket(), tab.Path(), []*roaring64.Bitmap{v})
		if err != nil {
			return err
		}
		c := tab.NewCommit(s)
		c.SetVector(file, d[0], old, v)
		c.ExpectRows(-1)
		if out := c.Do(ctx); out.Kind == delta.Committed || !errors.Is(out.Err, delta.ErrConcurrentRemove) {
			return out.Err
		}
	}
}

func find(ctx context.Context, s *delta.Snapshot, id int64) (*delta.Add, int64, error) {
	for b, err := range rows.Scan(ctx, s, rows.Options{Columns: []string{"id"}, Positions: true, Parallel: 1}) {
		if err != nil {
			return nil, 0, err
		}
		for i, x := range b.Record.Column(0).(*array.Int64).Int64Values() {
			if x == id {
				return b.File, b.Positions[i], nil
			}
		}
	}
	return nil, 0, fmt.Errorf("row %d is not there in version %d", id, s.Version)
}

// TestOptimizeBesideACopyOnWriteDelete: where the table has no deletion vectors, rows of a file that was rewritten meanwhile can't be deleted in the
// new file: the run drops its work and says that it lost, and the deleted rows stay deleted.
func TestOptimizeBesideACopyOnWriteDelete(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, err := delta.Create(ctx, mem.New("lake"), "t", delta.CreateOptions{Schema: sc, PartitionColumns: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	s := add(t, tab.Cached(), "a", "x", 1, 2, 3)
	s = add(t, s, "b", "x", 4, 5, 6)
	w, err := Rewrite(ctx, s, Plan(s, Options{})[0], Options{})
	if err != nil {
		t.Fatal(err)
	}
	// The other writer: a becomes a2 without row 2.
	next := add(t, s, "a2", "x", 1, 3)
	c := tab.NewCommit(next)
	old, _ := next.File("a")
	c.Remove(old)
	must(t, c.Do(ctx))
	if out := w.Commit(ctx, Options{}); out.Kind != delta.Conflict || !errors.Is(out.Err, delta.ErrConcurrentRemove) {
		t.Fatalf("%s: %v", out.Kind, out.Err)
	}
	if s, err = tab.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := ids(t, s), []string{`{"id":1,"p":"x"}`, `{"id":3,"p":"x"}`, `{"id":4,"p":"x"}`, `{"id":5,"p":"x"}`, `{"id":6,"p":"x"}`}; !slices.Equal(got, want) {
		t.Errorf("rows %q", got)
	}
}
