package silver_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

var errStream = errors.New("the connection was closed")

// streamStore counts what is done with streamed objects, and lets the at-th of these steps fail.
type streamStore struct {
	store.Bucket
	mu         sync.Mutex
	steps, at  int
	cancel     context.CancelFunc // instead of an error
	open, made int
}

func (s *streamStore) step() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.steps++
	if s.steps != s.at {
		return nil
	}
	if s.cancel != nil {
		s.cancel()
		return nil
	}
	return errStream
}

func (s *streamStore) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	if err := s.step(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	w, err := s.Bucket.Create(ctx, key)
	if err != nil {
		cancel()
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open++
	s.made++
	return &streamWriter{WriteCloser: w, s: s, drop: cancel}, nil
}

type streamWriter struct {
	io.WriteCloser
	s    *streamStore
	drop context.CancelFunc
	bad  error
	done bool
}

// Write writes half of what it is given before it fails.
func (w *streamWriter) Write(p []byte) (int, error) {
	if w.bad == nil {
		if w.bad = w.s.step(); w.bad != nil {
			_, _ = w.WriteCloser.Write(p[:len(p)/2])
		}
	}
	if w.bad != nil {
		return 0, w.bad
	}
	return w.WriteCloser.Write(p)
}

// Close publishes the object, or, after a failure, what a store must not publish: nothing.
func (w *streamWriter) Close() error {
	if !w.done {
		w.done = true
		w.s.mu.Lock()
		w.s.open--
		w.s.mu.Unlock()
	}
	if w.bad == nil {
		w.bad = w.s.step()
	}
	if w.bad != nil {
		w.drop()
		_ = w.WriteCloser.Close()
		return w.bad
	}
	defer w.drop()
	return w.WriteCloser.Close()
}

// TestFilesThatWereBegun: a merge whose file is given up after some of it was streamed to the store. Each step of each stream fails once, by an error of the store or because
// the merge is stopped: no version refers to a half file, no stream is left open and nothing is left of it in the lake, and the same merge once more gives the right rows.
func TestFilesThatWereBegun(t *testing.T) {
	defer silver.SetStreamFrom(512)()
	integer, long8 := schema.Of(schema.Integer), schema.Of(schema.Long)
	row := func(op connectors.Op, off, id int64, typ schema.Type, v int64) connectors.Change {
		kind := "even"
		if id%2 == 1 {
			kind = "odd"
		}
		c := rec(op, off, id)
		if op != dOp {
			c = shaped(op, off, id, []schema.Type{schema.Of(schema.String), typ}, "kind", text(kind), "v", connectors.Int(typ.Kind, v))
		}
		return c
	}
	const n = 60
	var first, second, wider []connectors.Change
	for id := range int64(n) {
		first = append(first, row(cOp, id+1, id, integer, id))
		switch id % 5 {
		case 0:
			second = append(second, row(uOp, 100+id, id, integer, 1000+id))
		case 1:
			second = append(second, row(dOp, 100+id, id, integer, 0))
		}
		wider = append(wider, row(uOp, 200+id, id, long8, 1<<40+id))
	}
	second = append(second, row(cOp, 190, n, integer, 7), row(cOp, 191, n+1, integer, 7))
	for name, c := range map[string]struct {
		set   func(*config.Sink)
		batch []connectors.Change
	}{
		"deletion vectors":      {func(k *config.Sink) { k.SilverCDF = true }, second},
		"copy-on-write":         {func(k *config.Sink) { k.SilverCDF, k.SilverMergeMode = true, "copy-on-write" }, second},
		"partitions":            {func(k *config.Sink) { k.SilverCDF, k.SilverPartitionBy = true, []string{"kind"} }, second},
		"history":               {func(k *config.Sink) { k.SilverCDF, k.SilverSCDType = true, 2 }, second},
		"a column grows":        {func(*config.Sink) {}, wider[:20]},
		"history copy-on-write": {func(k *config.Sink) { k.SilverSCDType, k.SilverMergeMode = 2, "copy-on-write" }, second},
	} {
		var want []string
		steps := 0
		for at := 0; at <= steps; at++ { // the first time nothing fails
			for _, stopped := range []bool{false, true} {
				if at == 0 && stopped || at > 12 && at < steps-6 && at%3 != 1 {
					continue
				}
				b := mem.New("lake")
				s := &streamStore{Bucket: b}
				conf := sinkConfig()
				c.set(conf)
				m, err := silver.Open(context.Background(), silver.Options{Bucket: s, Path: "silver/t", Connector: "c", Config: conf, Upkeep: silver.Upkeep{Manual: true}})
				if err != nil {
					t.Fatal(err)
				}
				merge := func(ctx context.Context, version int64, in []connectors.Change) error {
					_, err := m.Merge(ctx, []silver.Batch{{Feed: "bronze/t", Version: version, Changes: in}})
					return err
				}
				if err := merge(context.Background(), 0, first); err != nil {
					t.Fatal(err)
				}
				before := canonicalRows(t, b, "silver/t")
				ctx, cancel := context.WithCancel(context.Background())
				s.steps, s.at = 0, at
				if stopped {
					s.cancel = cancel
				}
				err = merge(ctx, 1, c.batch)
				cancel()
				where := fmt.Sprintf("%s, step %d of %d, stopped %t", name, at, steps, stopped)
				if at == 0 {
					if err != nil {
						t.Fatal(err)
					}
					if want, steps = canonicalRows(t, b, "silver/t"), s.steps; s.made == 0 {
						t.Fatalf("%s: nothing was streamed", name)
					}
					continue
				}
				if err == nil && !stopped || err != nil && !errors.Is(err, errStream) && !errors.Is(err, context.Canceled) {
					t.Fatalf("%s: %v", where, err)
				}
				if s.open != 0 {
					t.Fatalf("%s: %d streams are open", where, s.open)
				}
				if err != nil {
					if got := canonicalRows(t, b, "silver/t"); !slices.Equal(got, before) {
						t.Fatalf("%s: the table changed:\n%s", where, diff(got, before))
					}
					s.at = 0
					if err := merge(context.Background(), 1, c.batch); err != nil {
						t.Fatalf("%s: once more: %v", where, err)
					}
				}
				if got := canonicalRows(t, b, "silver/t"); !slices.Equal(got, want) {
					t.Fatalf("%s: rows differ:\n%s", where, diff(got, want))
				}
				wholeFiles(t, b, where)
			}
		}
	}
}

// wholeFiles finds nothing half among a table's files, and those of the table as long as the log says.
func wholeFiles(t *testing.T, b store.Bucket, where string) {
	t.Helper()
	ctx := context.Background()
	tab, err := delta.Open(ctx, b, "silver/t")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sizes := map[string]int64{}
	for a := range snap.Files() {
		sizes["silver/t/"+a.Path] = a.Size
	}
	for o, err := range b.List(ctx, "silver/t/", "") {
		if err != nil {
			t.Fatal(err)
		}
		if size, ok := sizes[o.Key]; ok && size != o.Size {
			t.Errorf("%s: %s has %d bytes, the log says %d", where, o.Key, o.Size, size)
		}
		delete(sizes, o.Key)
		if strings.HasSuffix(o.Key, ".parquet") {
			if data, err := b.Get(ctx, o.Key); err != nil || len(data) < 8 || string(data[len(data)-4:]) != "PAR1" {
				t.Errorf("%s: %s is half a file", where, o.Key)
			}
		}
	}
	if len(sizes) > 0 {
		t.Errorf("%s: the log has %v, the store not", where, slices.Collect(maps.Keys(sizes)))
	}
}
