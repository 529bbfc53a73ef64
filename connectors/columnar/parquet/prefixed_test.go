package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
)

// plainStrings is a page of strings as PLAIN has them.
func plainStrings(list [][]byte) (page []byte) {
	for _, s := range list {
		page = append(binary.LittleEndian.AppendUint32(page, uint32(len(s))), s...)
	}
	return page
}

// prefixedPage is a page of strings as DELTA_BYTE_ARRAY has them.
func prefixedPage(t testing.TB, list [][]byte) []byte {
	c := &ColumnWriter{opts: &WriterOptions{}, plain: slices.Clip(plainStrings(list)), prefixed: true, hasCodec: true}
	page, ok := c.appendPrefixed(nil)
	if !ok {
		t.Fatal("not written")
	}
	return page
}

// sharingStrings are n strings of lengths around what is copied at once, which share as much with the one before.
func sharingStrings(n int) [][]byte {
	r := rand.New(rand.NewPCG(7, 8))
	lengths := []int{0, 1, 7, 8, 9, 15, 16, 17, 31, 40}
	list, last := make([][]byte, n), []byte(nil)
	for i := range list {
		short := i/500%2 == 0 // long stretches of what is read at once
		pick := func() int {
			if short {
				return r.IntN(16)
			}
			return lengths[r.IntN(len(lengths))]
		}
		s := append(bytes.Clone(last[:min(len(last), pick())]), make([]byte, pick())...)
		for k := range s {
			if s[k] == 0 {
				s[k] = byte(1 + r.IntN(255))
			}
		}
		list[i], last = s, s
	}
	return list
}

// TestPrefixedStrings reads what shares its beginning with the string before, whole and in parts, from pages with and without bytes behind them, and
// refuses what is cut off.
func TestPrefixedStrings(t *testing.T) {
	t.Parallel()
	want := sharingStrings(3000)
	page := prefixedPage(t, want)
	for _, behind := range []int{0, 5, 100} {
		b := append(make([]byte, 0, len(page)+behind), page...)
		for _, step := range []int{1, 3, 255, 256, 257, len(want)} {
			d := values{typ: ByteArray}
			if err := d.open(DeltaBytes, b, len(want), nil); err != nil {
				t.Fatal(err)
			}
			for at := 0; at < len(want); at += step {
				v := &Vector{rows: step, mem: (&Pool{}).Lease()}
				if step == 3 { // as if behind others
					v.Offs, v.Data = []int32{0, 5}, []byte("other")
				}
				n, skip := min(step, d.left), max(len(v.Offs)-1, 0)
				if err := d.read(v, n); err != nil {
					t.Fatal(err)
				}
				for i, s := range want[at : at+n] {
					if got := v.Data[v.Offs[skip+i]:v.Offs[skip+i+1]]; !bytes.Equal(got, s) {
						t.Fatalf("%d at once, value %d: %q, want %q", step, at+i, got, s)
					}
				}
			}
			if d.left > 0 || d.p != len(page) {
				t.Fatalf("%d left, at %d of %d", d.left, d.p, len(page))
			}
		}
	}
	for cut := 1; cut < 80; cut++ {
		d := values{typ: ByteArray}
		if err := d.open(DeltaBytes, page[:len(page)-cut], len(want), nil); err != nil {
			t.Fatal(err)
		}
		if err := d.read(&Vector{}, len(want)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("a page without its last %d bytes: %v", cut, err)
		}
	}
}

// TestPrefixedGrowth refuses a small page that says it holds more than any page may.
func TestPrefixedGrowth(t *testing.T) {
	t.Parallel()
	const n = 1 << 20
	shared, own := make([]uint32, n), make([]uint32, n)
	own[0] = 1 << 14
	for i := range shared[1:] {
		shared[1+i] = 1 << 14
	}
	page, _ := appendDeltas(nil, shared, nil)
	page, _ = appendDeltas(page, own, nil)
	page = append(page, make([]byte, 1<<14)...)
	d := values{typ: ByteArray}
	if err := d.open(DeltaBytes, page, n, nil); err != nil {
		t.Fatal(err)
	}
	for {
		if err := d.read(&Vector{}, 1<<12); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Error(err)
			}
			return
		}
	}
}

func TestCommonPrefix(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	for range 5000 {
		a, b := make([]byte, r.IntN(40), 40+r.IntN(20)), make([]byte, r.IntN(40), 40+r.IntN(20))
		if len(a) > 0 && r.IntN(2) == 0 {
			a[r.IntN(len(a))] = 1
		}
		if r.IntN(2) == 0 {
			a, b = slices.Clip(a), slices.Clip(b)
		}
		want := 0
		for want < min(len(a), len(b)) && a[want] == b[want] {
			want++
		}
		if got := commonPrefix(a, b); got != want {
			t.Fatalf("%x, %x: %d, want %d", a, b, got, want)
		}
	}
}

func BenchmarkPrefixed(b *testing.B) {
	names := make([][]byte, 20_000)
	for i := range names {
		names[i] = []byte("customer " + strconv.Itoa(i*7919%1000003))
	}
	c := &ColumnWriter{opts: &WriterOptions{}, plain: plainStrings(names), prefixed: true, hasCodec: true}
	page, _ := c.appendPrefixed(nil)
	b.Run("read", func(b *testing.B) {
		pool := &Pool{}
		for b.Loop() {
			v := &Vector{mem: pool.Lease(), rows: len(names)}
			d := values{typ: ByteArray}
			if err := d.open(DeltaBytes, page, len(names), nil); err != nil {
				b.Fatal(err)
			}
			if err := d.read(v, len(names)); err != nil {
				b.Fatal(err)
			}
			v.mem.Done()
		}
	})
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			page, _ = c.appendPrefixed(page[:0])
		}
	})
}

// A page is in prefixes with all of its strings, or not at all. Was: of a page whose first strings share little only those were written, where they alone are
// less than three quarters of the page.
func TestPrefixedPagesAreWhole(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(11, 12))
	text := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'a' + byte(r.IntN(26))
		}
		return b
	}
	written := 0
	for _, n := range []int{1, 200, packedTrial - 1, packedTrial, packedTrial + 1, 3000, 6000} {
		for _, from := range []int{0, 100, 2000, n} { // from here on texts share
			var want [][]byte
			c := &ColumnWriter{leaf: &Node{Type: ByteArray, Logical: LogicalString}, opts: &WriterOptions{Codec: Snappy}}
			for i := range n {
				s := text(10 + r.IntN(12))
				if i >= from {
					s = fmt.Appendf(nil, "customer/%08d", i)
				}
				want = append(want, s)
				c.plain = append(binary.LittleEndian.AppendUint32(c.plain, uint32(len(s))), s...)
			}
			for range 2 { // the first page of a row group, and one behind it
				page, ok := c.appendPrefixed(nil)
				if !ok {
					continue
				}
				written++
				d := values{typ: ByteArray}
				if err := d.open(DeltaBytes, page, n, nil); err != nil || d.left != n {
					t.Fatalf("%d texts that share from %d on: %d are in the page (%v)", n, from, d.left, err)
				}
				v := &Vector{}
				if err := d.read(v, n); err != nil {
					t.Fatal(err)
				}
				for i, s := range want {
					if got := v.Data[v.Offs[i]:v.Offs[i+1]]; !bytes.Equal(got, s) {
						t.Fatalf("%d texts that share from %d on: %d is %q, want %q", n, from, i, got, s)
					}
				}
			}
		}
	}
	if written == 0 {
		t.Error("nothing was written in prefixes")
	}
}
