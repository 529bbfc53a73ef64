package index

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/worker/silver/fold"
)

func hashOf(i int) fold.Hash {
	return fold.Sum([]byte{byte(i), byte(i >> 8), byte(i >> 16), byte(i >> 24)})
}

// The table does what a map of slices does, whatever is done to it.
func TestTableIsAMultimap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var tab Table
		model := map[fold.Hash]map[uint32]uint32{} // row → file
		n := 0
		for i, ops := 0, rapid.IntRange(1, 400).Draw(t, "ops"); i < ops; i++ {
			h := hashOf(rapid.IntRange(0, 20).Draw(t, "key"))
			if model[h] == nil {
				model[h] = map[uint32]uint32{}
			}
			row := uint32(rapid.IntRange(0, 30).Draw(t, "row"))
			_, has := model[h][row]
			switch rapid.IntRange(0, 2).Draw(t, "op") {
			case 0:
				if !has {
					tab.Insert(Entry{Hash: h, File: 1, Row: row})
					model[h][row] = 1
					n++
				}
			case 1:
				if tab.Remove(Entry{Hash: h, File: model[h][row], Row: row}) != has {
					t.Fatalf("remove gave %v", !has)
				}
				if has {
					delete(model[h], row)
					n--
				}
			case 2:
				if tab.Replace(Entry{Hash: h, File: model[h][row], Row: row}, Entry{Hash: h, File: 7, Row: row}) != has {
					t.Fatalf("replace gave %v", !has)
				}
				if has {
					model[h][row] = 7
				}
			}
		}
		if tab.Len() != n {
			t.Fatalf("%d entries, want %d", tab.Len(), n)
		}
		for h, rows := range model {
			got := map[uint32]uint32{}
			tab.Each(h, func(e Entry) bool { got[e.Row] = e.File; return true })
			if len(got) != len(rows) {
				t.Fatalf("%v: %v, want %v", h, got, rows)
			}
			for r, f := range rows {
				if got[r] != f {
					t.Fatalf("%v: %v, want %v", h, got, rows)
				}
			}
			_, ok, more := tab.Get(h)
			if ok != (len(rows) > 0) || more != (len(rows) > 1) {
				t.Fatalf("get of %d rows: %v %v", len(rows), ok, more)
			}
		}
	})
}

// An entry needs at most 40 bytes once a table has more than a few keys.
func TestBytesPerKey(t *testing.T) {
	var tab Table
	worst := 0.0
	for i := range 400_000 {
		tab.Insert(Entry{Hash: hashOf(i), Row: uint32(i)})
		if i > 100_000 && i%1000 == 0 {
			worst = max(worst, float64(tab.Bytes())/float64(tab.Len()))
		}
	}
	if worst > 41 {
		t.Fatalf("%.1f bytes per key", worst)
	}
	t.Logf("%.1f bytes per key at worst", worst)
}

// What an entry's mark says of a change is what the full sequences say.
func TestJudgeAgreesWithCompare(t *testing.T) {
	pos := rapid.Custom(func(t *rapid.T) string {
		b := make([]byte, 25)
		for i, n := 0, rapid.IntRange(1, 4).Draw(t, "n"); i < n; i++ {
			b[rapid.IntRange(0, 24).Draw(t, "at")] = rapid.Byte().Draw(t, "b")
		}
		return string(b)
	})
	stamp := rapid.Custom(func(t *rapid.T) fold.Stamp {
		s := fold.Stamp{
			Epoch: rapid.SampledFrom([]uint32{0, 1, 2, 14, 15, 16, 17}).Draw(t, "epoch"),
			Part:  rapid.Uint32Range(0, 2).Draw(t, "part"), Off: rapid.Int64Range(0, 5).Draw(t, "off"),
			Exact: rapid.Bool().Draw(t, "exact"),
		}
		if rapid.Bool().Draw(t, "positioned") {
			s.Pos = pos.Draw(t, "pos")
		} else {
			s.Exact = false
			s.Part |= rapid.Uint32Range(0, 2).Draw(t, "gen") << fold.PartitionBits
		}
		return s
	})
	rapid.Check(t, func(t *rapid.T) {
		row, c := stamp.Draw(t, "row"), stamp.Draw(t, "change")
		if rapid.Bool().Draw(t, "same") {
			c.Pos = row.Pos
		}
		stored := row
		stored.Exact = false
		want := fold.Compare(c, stored)
		switch got := Judge(At(hashOf(1), row, 3, 4, false), c); got {
		case Unsure:
		default:
			if int(got) != want {
				t.Fatalf("%v, want %d", got, want)
			}
		}
	})
}

func BenchmarkGet(b *testing.B) {
	var tab Table
	const n = 1 << 20
	for i := range n {
		tab.Insert(Entry{Hash: hashOf(i), Row: uint32(i)})
	}
	keys := make([]fold.Hash, 1<<16)
	for i := range keys {
		keys[i] = hashOf(rand.IntN(n))
	}
	b.ResetTimer()
	for i := range b.N {
		if _, ok, _ := tab.Get(keys[i&(1<<16-1)]); !ok {
			b.Fatal("lost")
		}
	}
}
