package state

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver/fold"
)

func full() *State {
	s := New()
	src := s.Lineages.Source("shop")
	src.Cur, src.FromTs = 2, 1790000000000000000
	src.Names = []fold.LineageName{{Name: "mysql/1/binlog", Epoch: 1}, {Name: "mysql/2/binlog", Epoch: 2}}
	p := s.Lineages.Part("t", 3, "shop")
	p.Epoch, p.OldTs, p.Lineage = 2, 5, "mysql/2/binlog"
	at := fold.Stamp{Pos: "pos", Off: 7, Epoch: 2, Part: 3, Exact: true}
	row := &Row{Names: []string{"id", "tags"}, Values: []connectors.Value{connectors.Int(schema.Long, -5),
		connectors.Nested(schema.Array, []connectors.Value{connectors.Text("a"), connectors.NullValue(), connectors.UnavailableValue()})},
		Rescue: []string{"", `"x"`}, From: []*fold.Stamp{nil, &at}, Stamp: at, Meta: fold.Meta{Op: 'c', TsUs: 9, EventID: "t-3-7"}, Origin: "o", Guess: true}
	s.Topics = []Topic{{Name: "t", Generation: 2, MaxPartition: 3}}
	s.Truncates = []Truncate{{Topic: "t", Table: "shop.t", Stamp: at, AtMs: 11}}
	s.Deletes = []Delete{{"t", 3, 8, fold.Hash{Lo: 1, Hi: 2}}}
	s.Opens = []Open{{Hash: fold.Hash{Lo: 3}, AtMs: 4, Base: row, Stamp: at, Events: []Event{{Stamp: at, Sub: 1, Op: connectors.Insert, Tx: "9",
		From: fold.Hash{Lo: 4}, Image: row}}}}
	s.Moves = []Move{{From: fold.Hash{Lo: 5}, To: fold.Hash{Lo: 6}, Stamp: at, Origin: "o", Born: "?", AtMs: 12, Row: row}}
	s.Segments = []Segment{{"tombstones/1-0", 100, 2000, 13}}
	s.Tombs = []Tomb{{Hash: fold.Hash{Lo: 7, Hi: 8}, Seq: at.Seq(), AtMs: 14}, {Hash: fold.Hash{Lo: 9}, Seq: at.Seq(), Add: at.Seq(), AtMs: 15}}
	s.Watermarks = map[fold.PartKey]int64{{Topic: "t", Partition: 3}: 16}
	return s
}

// stamps compares what a stamp has in public.
var stamps = cmp.Comparer(func(a, b fold.Stamp) bool { return a == b })

func TestStateComesBack(t *testing.T) {
	s := full()
	b := s.Encode()
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Encode(), b) {
		t.Fatalf("encoded again it differs:\n%x\n%x", got.Encode(), b)
	}
	if d := cmp.Diff(s.Moves, got.Moves, stamps); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(s.Opens, got.Opens, stamps); d != "" {
		t.Fatal(d)
	}
	if d := cmp.Diff(s.Tombs, got.Tombs, stamps); d != "" {
		t.Fatal(d)
	}
	for i := range b {
		c := bytes.Clone(b)
		c[i] ^= 0x40
		if _, err := Decode(c); !errors.Is(err, ErrFormat) {
			t.Fatalf("byte %d was damaged and Decode gave %v", i, err)
		}
		if _, err := Decode(b[:i]); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut off at %d, Decode gave %v", i, err)
		}
	}
}

func TestStateGolden(t *testing.T) {
	want, err := hex.DecodeString(goldenState)
	if err != nil {
		t.Fatal(err)
	}
	if got := full().Encode(); !bytes.Equal(got, want) {
		t.Fatalf("the bytes of format %d changed; raise Version and keep reading the old ones:\n%x", Version, got)
	}
	if _, err := Decode(want); err != nil {
		t.Fatal(err)
	}
}

func TestReachedGolden(t *testing.T) {
	s := New()
	src := s.Lineages.Source("shop")
	src.Cur, src.FromTs, src.MaxPos, src.Starts = 3, 9, "high", []fold.EpochStart{{Epoch: 2, Ts: -4}, {Epoch: 3, Ts: 9}}
	p := s.Lineages.Part("t", 3, "shop")
	p.Epoch, p.MaxPos, p.MaxTs = 3, "high", 1790000000000000000
	for again, golden := range map[fold.Again]string{{}: goldenReached, {Since: 70, Seen: 2, OnceMore: 1}: goldenAgain} {
		p.Again = again
		if got := hex.EncodeToString(s.Encode()); got != golden {
			t.Fatalf("the bytes changed:\n%s", got)
		}
		b, err := hex.DecodeString(golden)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(s.Lineages, got.Lineages); d != "" {
			t.Fatal(d)
		}
	}
}

func TestStoreMergesSegmentsAndCleansUp(t *testing.T) {
	ctx := context.Background()
	b := mem.New("lake")
	now := time.Unix(1790000000, 0)
	b.SetClock(func() time.Time { return now })
	s := NewStore(b, "silver/t")
	st := New()
	m, n := int64(-1), 0
	for i := range 40 {
		for range 1000 {
			n++
			st.Tombs = append(st.Tombs, Tomb{Hash: fold.Sum([]byte(fmt.Sprint(n))), Seq: fold.Stamp{Off: int64(n)}.Seq(), AtMs: int64(i)})
		}
		var err error
		if m, err = s.Save(ctx, m+1, st, func(x *Tomb) bool { return x.AtMs != 3 }, -1); err != nil {
			t.Fatal(err)
		}
		if st, err = s.Load(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if len(st.Segments) > 2*fanIn {
		t.Fatalf("%d segments", len(st.Segments))
	}
	seen := map[fold.Hash]bool{}
	if err := s.Tombs(ctx, st, func(ts []Tomb) error {
		for _, x := range ts {
			seen[x.Hash] = true
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 39000 && len(seen) != 40000 {
		t.Fatalf("%d tombstones", len(seen))
	}
	if err := s.Clean(ctx, m, st, now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	left := 0
	for _, err := range b.List(ctx, "silver/t/_sluice/", "") {
		if err != nil {
			t.Fatal(err)
		}
		left++
	}
	if left > 4+2*fanIn {
		t.Fatalf("%d objects are left", left)
	}
	if err := s.Tombs(ctx, st, func([]Tomb) error { return nil }); err != nil {
		t.Fatalf("clean-up took what was needed: %v", err)
	}
}

// However many tombstones there are, a save reads and writes no more than a few segments of the largest size.
func TestLargeSegmentsStay(t *testing.T) {
	ctx := context.Background()
	s := NewStore(mem.New("lake"), "silver/t")
	st := New()
	const batch = largest / 4
	rest := map[string]bool{}
	m, n := int64(-1), 0
	for range 4 * fanIn {
		for range batch {
			n++
			st.Tombs = append(st.Tombs, Tomb{Hash: fold.Hash{Lo: uint64(n)}, Seq: "s", AtMs: int64(n)})
		}
		asked := 0
		var err error
		if m, err = s.Save(ctx, m+1, st, func(*Tomb) bool { asked++; return true }, -1); err != nil {
			t.Fatal(err)
		}
		if asked > (fanIn+1)*largest {
			t.Fatalf("a save looked at %d tombstones", asked)
		}
		have := map[string]bool{}
		for _, g := range st.Segments {
			have[g.Name] = true
		}
		for name := range rest {
			if !have[name] {
				t.Fatalf("%s, which has the largest size, was merged", name)
			}
		}
		for _, g := range st.Segments {
			if g.Count >= largest {
				rest[g.Name] = true
			}
		}
	}
	if len(rest) < 3 {
		t.Fatalf("%d segments of the largest size", len(rest))
	}
	got := 0
	if err := s.Tombs(ctx, st, func(l []Tomb) error { got += len(l); return nil }); err != nil || got != n {
		t.Fatalf("%d tombstones, want %d: %v", got, n, err)
	}
	// All of a segment expires with its newest.
	if _, err := s.Save(ctx, m+1, st, nil, int64(n)+1); err != nil || len(st.Segments) > 0 {
		t.Fatalf("%d segments after all have expired: %v", len(st.Segments), err)
	}
}

// A merge that was cut off leaves its state object; a repeat meets it, another merge takes the next number.
func TestSaveIsOnce(t *testing.T) {
	ctx := context.Background()
	s := NewStore(mem.New("lake"), "t")
	a, c := New(), New()
	c.Topics = []Topic{{Name: "x", Generation: 1, MaxPartition: 0}}
	for _, k := range []struct {
		st   *State
		want int64
	}{{a, 0}, {a, 0}, {c, 1}, {c, 1}} {
		if m, err := s.Save(ctx, 0, k.st, nil, 0); err != nil || m != k.want {
			t.Fatalf("%d %v, want %d", m, err, k.want)
		}
	}
}

// What a history adds stands in sections of its own, behind those of the first release.
func TestHistoryStateGolden(t *testing.T) {
	s := New()
	at := fold.Stamp{Pos: "pos", Off: 7, Epoch: 2, Part: 3, Exact: true}
	s.Truncates = []Truncate{{Topic: "t", Table: "a", Stamp: at, AtMs: 11}, {Topic: "t", Table: "b", Stamp: at, AtMs: 12, Us: 13}}
	s.Ends = []End{{Hash: fold.Hash{Lo: 1, Hi: 2}, Stamp: at, Us: 14, AtMs: 15},
		{Hash: fold.Hash{Lo: 3}, Stamp: at, Us: 16, AtMs: 17, Before: &Row{Names: []string{"id"}, Values: []connectors.Value{connectors.Int(schema.Long, 5)},
			Rescue: []string{""}, From: []*fold.Stamp{nil}}}}
	want, err := hex.DecodeString(goldenHistory)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Encode(); !bytes.Equal(got, want) {
		t.Fatalf("the bytes of format %d changed:\n%x", Version, got)
	}
	got, err := Decode(want)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Ends, got.Ends, stamps) + cmp.Diff(s.Truncates, got.Truncates, stamps); d != "" {
		t.Fatal(d)
	}
}

// Of which source tables a topic's rows are stands in a section of its own: states without it are read as before.
func TestTablesOfTopicsComeBack(t *testing.T) {
	const golden = "534c555354415445010216036f6c6401040174010603616c6c0200036e657701000f0c010161000201620103016302"
	s := New()
	s.Topics = []Topic{{Name: "old", Generation: 1, MaxPartition: 2}, {Name: "t", Generation: 1, MaxPartition: 3, Table: "a"}, {Name: "all", Generation: 2, Table: "b", Mixed: true}, {Name: "new", Generation: 1, Table: "c", Apart: true}}
	b := s.Encode()
	if got := hex.EncodeToString(b[:len(b)-4]); got != golden {
		t.Fatalf("the bytes of format %d changed:\n%s", Version, got)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s.Topics, got.Topics); d != "" {
		t.Fatal(d)
	}
}

// Rows that tell their source table, and partitions that bring the changes of several sources, stand in sections of their own: states without them are read as
// before, and releases without pass over them.
func TestSeveralSourcesComeBack(t *testing.T) {
	s := New()
	s.Lineages.Source("b").Cur = 2
	s.Lineages.Source("a").Cur = 3
	*s.Lineages.Part("t", 1, "b") = fold.PartLineage{Epoch: 2, MaxPos: "of b"}
	*s.Lineages.Part("t", 1, "a") = fold.PartLineage{Epoch: 3, OldTs: 4, Lineage: "log", MaxPos: "of a", MaxTs: 5, Again: fold.Again{Since: 6, Seen: 7, OnceMore: 8}}
	row := func(table string) *Row { return &Row{Table: table, Meta: fold.Meta{Op: 'c', EventID: "t-1-2"}} }
	s.Opens = []Open{{Base: row(""), Events: []Event{{Image: row("a\x00d\x00\x00u"), Before: row("")}}}}
	s.Moves = []Move{{Row: row("a\x00d\x00\x00v")}}
	s.Ends = []End{{Before: row("")}, {Before: row("b\x00d\x00s\x00w")}}
	b := s.Encode()
	if got := hex.EncodeToString(b[:len(b)-4]); got != goldenSources {
		t.Fatalf("the bytes of format %d changed:\n%s", Version, got)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(s, got, stamps); d != "" {
		t.Fatal(d)
	}
	if got.Lineages.First != "b" || got.Lineages.Epoch("t", 1) != 3 || got.Lineages.Epoch("t", 0) != 0 {
		t.Fatalf("%+v", got.Lineages)
	}
	// A new epoch of one source is none of the other's.
	if e := got.Lineages.Raise("b"); e != 3 || got.Lineages.Part("t", 1, "a").MaxPos != "of a" || got.Lineages.Part("t", 1, "b").MaxPos != "" {
		t.Fatalf("epoch %d, %+v", e, got.Lineages)
	}
}

// A stamp that was lifted to the position of the change before it stays behind that change when its events are folded again.
func TestLiftedStampComesBack(t *testing.T) {
	before := fold.Stamp{Pos: "pos", Off: 9, Epoch: 2, Part: 3, Exact: true}
	lifted := fold.Stamp{Off: 8, Epoch: 2, Part: 1<<fold.PartitionBits | 3}.Lift(fold.Stamp{Pos: "pos", Off: 7, Epoch: 2, Part: 3, Exact: true})
	if !lifted.Lifted || fold.Compare(lifted, before) <= 0 {
		t.Fatalf("%+v does not lie behind %+v", lifted, before)
	}
	s := New()
	s.Opens = []Open{{Hash: fold.Hash{Lo: 3}, Stamp: before, Events: []Event{{Stamp: lifted, Op: connectors.Delete}}}}
	const golden = "534c555354415445010557000000000000000300000000000000011300000002706f7300000003000000000000000901" +
		"021300000002706f730000000300000000000000080003000000000000000000000000000000000000000000000000000000"
	b := s.Encode()
	if got := hex.EncodeToString(b[:len(b)-4]); got != golden {
		t.Fatalf("the bytes of format %d changed:\n%s", Version, got)
	}
	got, err := Decode(b)
	if err != nil {
		t.Fatal(err)
	}
	if at := got.Opens[0].Events[0].Stamp; at != lifted || fold.Compare(at, before) <= 0 {
		t.Fatalf("%+v, want %+v", at, lifted)
	}
}
