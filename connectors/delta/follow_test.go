package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/store/mem"
)

// TestTimeOfACheckpointedVersion: a snapshot that was read from a checkpoint alone has the time of its commit, and the commit after it a later one,
// whatever the clock of its writer says.
func TestTimeOfACheckpointedVersion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, format := range []CheckpointFormat{CheckpointV1, CheckpointV2JSON, CheckpointV2Parquet} {
		for _, ict := range []string{"true", "false"} {
			tab, b, now := clocked(t, map[string]string{PropEnableICT: ict, PropCheckpointPolicy: "v2"})
			start := *now
			*now = start.Add(3 * time.Hour) // a clock that is ahead
			s := appendOne(t, tab, "a")
			at := *now
			b.SetClock(func() time.Time { return start.Add(30 * time.Minute) })
			if _, err := tab.Checkpoint(ctx, s, CheckpointOptions{Format: format}); err != nil {
				t.Fatal(err)
			}
			*now = start.Add(time.Hour)
			other, err := Open(ctx, b, "t", WithClock(func() time.Time { return *now }))
			if err != nil {
				t.Fatal(err)
			}
			if got := other.Cached(); got.checkpoint != 1 || !got.Timestamp.Equal(at) {
				t.Errorf("format %d, ict %s: committed at %s, want %s (checkpoint %d)", format, ict, got.Timestamp, at, got.checkpoint)
			}
			c := other.NewCommit(other.Cached())
			c.Append(testAdd("b", 10))
			out := c.Do(ctx)
			if out.Err != nil {
				t.Fatal(out.Err)
			}
			if ict == "true" && out.Snapshot.ict <= at.UnixMilli() {
				t.Errorf("format %d: in-commit timestamp %d after %d", format, out.Snapshot.ict, at.UnixMilli())
			}
		}
	}
}

// TestTimeOfEnablingTimestamps: the property that says when in-commit timestamps were switched on holds the timestamp of the commit that did it.
func TestTimeOfEnablingTimestamps(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	tick := func() time.Time { now = now.Add(7 * time.Millisecond); return now }
	tab, err := Create(ctx, mem.New("x"), "t", CreateOptions{Schema: testSchema()}, WithClock(tick))
	if err != nil {
		t.Fatal(err)
	}
	c := tab.NewCommit(tab.Cached())
	m := c.Base().Metadata.Clone()
	m.Configuration[PropEnableICT] = "true"
	c.SetMetadata(m)
	out := c.Do(ctx)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	if p, _ := out.Snapshot.Property(PropICTEnablementTime); p != fmt.Sprint(out.Snapshot.ict) {
		t.Errorf("enabled at %s, the commit is of %d", p, out.Snapshot.ict)
	}
}

// TestRowsThatAWinnerBroughtBack: what another writer restored in a file stays when our deletion of other rows of it is put after.
func TestRowsThatAWinnerBroughtBack(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, _ := clocked(t, map[string]string{PropEnableDVs: "true"})
	appendOne(t, tab, "A")
	set := func(tab *Table, rows ...uint64) *Commit {
		c := tab.NewCommit(tab.Cached())
		c.SetDV(file1(t, c.Base(), "A"), vector(t, b, rows...))
		return c
	}
	if out := set(tab, 1, 2).Do(ctx); out.Err != nil {
		t.Fatal(out.Err)
	}
	ours := set(tab, 1, 2, 5)
	// The winner is a RESTORE of another engine: its vector holds less than the one before.
	s := tab.Cached()
	old := file1(t, s, "A")
	less, d := *old, vector(t, b, 1)
	less.DeletionVector = &d
	e := enc{}
	e.actions(&Actions{Removes: []*Remove{removeOf(old, 1, true)}, Adds: []*Add{&less}})
	if err := b.PutIfAbsent(ctx, "t/"+logDir+versionName(s.Version+1)+".json", e.b); err != nil {
		t.Fatal(err)
	}
	out := ours.Do(ctx)
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	got, err := dv.Read(ctx, b, "t", *file1(t, out.Snapshot, "A").DeletionVector)
	if err != nil {
		t.Fatal(err)
	}
	if want := roaring64.BitmapOf(1, 5); !got.Equals(want) {
		t.Errorf("deleted %v, want %v", got.ToArray(), want.ToArray())
	}
}

// TestFollowerMeetsAGap: a table that is followed does not end before a hole in its log: it is read anew from a checkpoint behind the hole, or
// the hole is told.
func TestFollowerMeetsAGap(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, checkpoint := range []bool{true, false} {
		tab, b, _ := clocked(t, nil)
		follower, err := Open(ctx, b, "t")
		if err != nil {
			t.Fatal(err)
		}
		var s *Snapshot
		for i := range 40 {
			s = appendOne(t, tab, fmt.Sprint(i))
		}
		if checkpoint {
			if _, err := tab.Checkpoint(ctx, s, CheckpointOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := b.Delete(ctx, "t/"+logDir+versionName(30)+".json"); err != nil {
			t.Fatal(err)
		}
		got, err := follower.Snapshot(ctx)
		switch {
		case checkpoint && (err != nil || got.Version != 40 || got.NumFiles() != 40):
			t.Errorf("with a checkpoint: %+v, %v", got, err)
		case !checkpoint && !errors.Is(err, ErrGap):
			t.Errorf("without: %v", err)
		}
	}
}

// TestIncompleteCheckpoint: a checkpoint of several parts of which one is missing is as if it were not there, and is told.
func TestIncompleteCheckpoint(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, _ := clocked(t, nil)
	for i := range 4 {
		appendOne(t, tab, fmt.Sprint(i))
	}
	for _, part := range []string{"1", "3"} {
		key := "t/" + logDir + versionName(3) + ".checkpoint.000000000" + part + ".0000000003.parquet"
		if err := b.Put(ctx, key, []byte("PAR1")); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := Open(ctx, b, "t"); err != nil || got.Cached().NumFiles() != 4 {
		t.Fatal(err)
	}
	found, err := CheckLog(ctx, b, "t")
	if err != nil || len(found) != 1 || found[0].Trouble != MissingPart {
		t.Fatalf("%+v, %v", found, err)
	}
	for v := range int64(3) {
		if err := b.Delete(ctx, "t/"+logDir+versionName(v)+".json"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Open(ctx, b, "t"); !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "of the 3 parts of checkpoint 3 there are 2") {
		t.Error(err)
	}
	if _, err := RepairLog(ctx, b, "t", found); err == nil {
		t.Error("a log that can't be read was repaired")
	}
}

// TestCheckLogFindsTimesAndCompactions: in-commit timestamps that are missing or do not rise, and compacted files that are no use.
func TestCheckLogFindsTimesAndCompactions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, _ := clocked(t, map[string]string{PropEnableICT: "true"})
	appendOne(t, tab, "a")
	s := appendOne(t, tab, "b")
	put := func(name, text string) {
		if err := b.Put(ctx, "t/"+logDir+name, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	put(versionName(3)+".json", `{"commitInfo":{"operation":"WRITE"}}`)
	put(versionName(4)+".json", fmt.Sprintf(`{"commitInfo":{"inCommitTimestamp":%d,"operation":"WRITE"}}`, s.ict))
	put(versionName(1)+"."+versionName(3)+".compacted.json", `{"add"`)
	found, err := CheckLog(ctx, b, "t")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range found {
		got = append(got, string(f.Trouble)+" "+f.File[len(logDir)+19:][:1])
	}
	if want := []string{"wrong-timestamp 3", "wrong-timestamp 4", "corrupt-compaction 1"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if done, err := RepairLog(ctx, b, "t", found); err != nil || len(done) != 1 || done[0].Trouble != CorruptCompaction {
		t.Errorf("repaired %+v, %v", done, err)
	}
}

// TestIsolationOfTheTable: where the table wants Serializable, a commit that has read all of it can't come after a blind append.
func TestIsolationOfTheTable(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for level, want := range map[string]error{"Serializable": ErrConcurrentAppend, "": nil, "WriteSerializable": nil} {
		conf := map[string]string{}
		if level != "" {
			conf[PropIsolationLevel] = level
		}
		tab, _, _ := clocked(t, conf)
		base := appendOne(t, tab, "a")
		c := tab.NewCommit(base)
		c.ReadsTable()
		c.Remove(file1(t, base, "a"))
		appendOne(t, tab, "b")
		if out := c.Do(ctx); !errors.Is(out.Err, want) || (want == nil) != (out.Kind == Committed) {
			t.Errorf("%q: %s, %v", level, out.Kind, out.Err)
		}
	}
}
