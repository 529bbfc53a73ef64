package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store/faultstore"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/connectors/store/retry"
)

// attempt is a commit of the test below and what its writer was told.
type attempt struct {
	kind    string
	out     Outcome
	file    string // that rows were deleted of
	rows    []uint64
	removed string
}

// tryOne makes a commit of a random kind. ok is false where the writer did not come so far as to try.
func tryOne(ctx context.Context, tab *Table, rnd *rand.Rand, name string) (a attempt, ok bool) {
	s, err := tab.Snapshot(ctx)
	if err != nil {
		return a, false
	}
	var files []*Add
	for f := range s.Files() {
		files = append(files, f)
	}
	pick := files[rnd.IntN(len(files))]
	c := tab.NewCommit(s)
	switch a.kind = []string{"append", "append", "vector", "vector", "remove", "rewrite", "metadata", "domain", "feature"}[rnd.IntN(9)]; a.kind {
	case "append":
		c.Append(testAdd(name, 20))
	case "vector":
		now := roaring64.New()
		if pick.DeletionVector != nil {
			if now, err = dv.Read(ctx, tab.bucket, "t", *pick.DeletionVector); err != nil {
				return a, false
			}
			now = now.Clone()
		}
		n, _ := pick.NumRecords()
		for range 2 {
			if r := rnd.Uint64N(uint64(n)); now.CheckedAdd(r) {
				a.rows = append(a.rows, r)
			}
		}
		ds, _, err := dv.Write(ctx, tab.bucket, "t", []*roaring64.Bitmap{now})
		if err != nil || len(a.rows) == 0 {
			return a, false
		}
		a.file = pick.Path
		c.SetDV(pick, ds[0])
	case "remove":
		if len(files) < 6 {
			return a, false
		}
		a.removed = pick.Path
		c.Remove(pick)
	case "rewrite":
		n, _ := pick.LiveRecords()
		a.removed = pick.Path
		c.Rearrange()
		c.Remove(pick)
		c.Append(testAdd(name, int(n)))
	case "metadata":
		m := s.Metadata.Clone()
		m.Description = name
		c.SetMetadata(m)
	case "domain":
		c.SetDomain("d", name)
	case "feature":
		c.RequireFeatures(FeatureVacuumProtocolCheck, FeatureRowTracking, FeatureDomainMetadata)
	}
	a.out = c.Do(ctx)
	return a, true
}

// TestEveryKindOfCommitOverABrokenStore: whatever a commit does, what its writer is told is what became of it, and what was committed stays. An unknown
// outcome is the only one that may be either.
func TestEveryKindOfCommitOverABrokenStore(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	const writers = 4
	inner := mem.New("x")
	first := newTestTable(t, inner, map[string]string{PropEnableDVs: "true"})
	c := first.NewCommit(first.Cached())
	for i := range 8 {
		c.Append(testAdd(fmt.Sprintf("base%d", i), 20))
	}
	if out := c.Do(ctx); out.Err != nil {
		t.Fatal(out.Err)
	}
	var (
		mu   sync.Mutex
		wg   sync.WaitGroup
		done []attempt
	)
	each := int(size(t, 60, 600))
	for w := range writers {
		wg.Go(func() {
			b := faultstore.Wrap(inner, faultstore.Options{Seed: uint64(w + 7), Unavailable: 0.03, LostAnswer: 0.1, LostWrite: 0.05, Late: 0.05, Truncated: 0.02, Lag: 2 * time.Millisecond})
			defer b.Settle()
			tab := newTable(retry.Wrap(b, retry.Options{First: time.Millisecond}), "t", nil)
			rnd := rand.New(rand.NewPCG(uint64(w), 3))
			for i := range each {
				if a, ok := tryOne(ctx, tab, rnd, fmt.Sprintf("w%d-%d", w, i)); ok {
					mu.Lock()
					done = append(done, a)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	tab, err := Open(ctx, inner, "t")
	if err != nil {
		t.Fatal(err)
	}
	byTxn, gone := map[string]int64{}, map[string]bool{}
	for e, err := range tab.Commits(ctx, 0, -1) {
		if err != nil {
			t.Fatal(err)
		}
		if _, twice := byTxn[e.CommitInfo.TxnID]; twice {
			t.Errorf("version %d is a commit that was there before", e.Version)
		}
		byTxn[e.CommitInfo.TxnID] = e.Version
		added := map[string]bool{}
		for _, x := range e.Adds {
			added[x.Path] = true
		}
		for _, x := range e.Removes {
			if !added[x.Path] {
				gone[x.Path] = true
			}
		}
	}
	kinds := map[string]int{}
	for _, a := range done {
		kinds[a.kind+" "+a.out.Kind.String()]++
		version, there := byTxn[a.out.TxnID]
		switch a.out.Kind {
		case Committed:
			if !there || version != a.out.Version {
				t.Errorf("%s: told of version %d, in the log: %v, %d", a.kind, a.out.Version, there, version)
			}
		case Conflict:
			if there {
				t.Errorf("%s: told of a conflict (%v), it is version %d", a.kind, a.out.Err, version)
			}
			if errors.Is(a.out.Err, ErrInvalidCommit) {
				t.Errorf("%s: %v", a.kind, a.out.Err)
			}
		}
		if !there || a.file == "" {
			continue
		}
		f, live := tab.Cached().File(a.file)
		if !live {
			if !gone[a.file] {
				t.Errorf("%s is gone without a remove", a.file)
			}
			continue
		}
		v, err := dv.Read(ctx, inner, "t", *f.DeletionVector)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range a.rows {
			if !v.Contains(r) {
				t.Errorf("row %d of %s was deleted in version %d and is there", r, a.file, version)
			}
		}
	}
	full, err := OpenAt(ctx, inner, "t", tab.Cached().Version)
	if err != nil {
		t.Fatal(err)
	}
	if a, b := strings.Join(state(tab.Cached()), "\n"), strings.Join(state(full), "\n"); a != b {
		t.Error("the snapshots differ")
	}
	t.Logf("%d versions: %v", tab.Cached().Version, kinds)
}
