package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// packedSeeds are packed numbers of several widths, and strings that share prefixes.
func packedSeeds() (seeds [][]byte) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, w := range []uint{0, 1, 7, 13, 31, 40} {
		v := make([]uint64, 300)
		for i := range v {
			v[i] = uint64(i)*1000 + r.Uint64()&(1<<w-1)
		}
		b, ok := appendPacked(nil, v, 8)
		if !ok {
			panic("not packed")
		}
		seeds = append(seeds, b)
	}
	c := &ColumnWriter{opts: &WriterOptions{}, plain: plainStrings(sharingStrings(300)), prefixed: true, hasCodec: true}
	b, _ := c.appendPrefixed(nil)
	return append(seeds, b)
}

// readDamaged reads b as a page of numbers and as one of strings, in parts: errors are ErrCorrupt or ErrUnsupported, and nothing panics.
func readDamaged(t *testing.T, b []byte) {
	t.Helper()
	const limit = 2000
	for _, c := range []struct {
		typ Type
		enc Encoding
	}{{Int32, DeltaBinaryPacked}, {Int64, DeltaBinaryPacked}, {ByteArray, DeltaLengthBytes}, {ByteArray, DeltaBytes}, {ByteArray, Plain}} {
		for _, step := range []int{1, 100, limit} {
			d := values{typ: c.typ}
			err := d.open(c.enc, b, limit, nil)
			for err == nil && d.left > 0 {
				v := &Vector{}
				n := min(step, d.left)
				if err = d.read(v, n); err == nil && v.Values != n {
					t.Fatalf("%d values, want %d", v.Values, n)
				}
			}
			if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatal(err)
			}
		}
	}
}

// TestDamagedValues flips bytes behind the page's checksum, which finds them else.
func TestDamagedValues(t *testing.T) {
	t.Parallel()
	for _, b := range packedSeeds() {
		for i := 0; i < len(b); i += 1 + len(b)/200 {
			for _, x := range []byte{0x01, 0x40, 0x80, 0xff} {
				bad := bytes.Clone(b)
				bad[i] ^= x
				readDamaged(t, bad)
			}
			readDamaged(t, slices.Clip(b[:i]))
		}
	}
}

func FuzzValues(f *testing.F) {
	for _, b := range packedSeeds() {
		f.Add(b)
	}
	f.Add([]byte("\x01\x00\x00\x00a\x00\x00\x00\x00\x28\x00\x00\x00bbbb"))
	f.Fuzz(func(t *testing.T, b []byte) { readDamaged(t, b) })
}

// TestPlainStrings reads strings of lengths around what is copied at once, from pages without a byte behind them and with some, whole and in
// parts, and refuses what is cut off.
func TestPlainStrings(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	var page []byte
	var want [][]byte
	for i := range 400 {
		s := make([]byte, []int{0, 1, 15, 16, 17, 31, 32, 33, 70}[r.IntN(9)])
		for k := range s {
			s[k] = byte(i + k)
		}
		page = append(binary.LittleEndian.AppendUint32(page, uint32(len(s))), s...)
		want = append(want, s)
	}
	for _, behind := range []int{0, 5, 16, 100} {
		b := append(make([]byte, 0, len(page)+behind), page...)
		for _, step := range []int{1, 3, 50, len(want)} {
			d := values{typ: ByteArray}
			if err := d.open(Plain, b, len(want), nil); err != nil {
				t.Fatal(err)
			}
			v := &Vector{}
			for d.left > 0 {
				if err := d.read(v, min(step, d.left)); err != nil {
					t.Fatal(err)
				}
			}
			for i, s := range want {
				if got := v.Data[v.Offs[i]:v.Offs[i+1]]; !bytes.Equal(got, s) {
					t.Fatalf("value %d: %q, want %q", i, got, s)
				}
			}
			for cut := 1; cut < 80; cut++ {
				d := values{typ: ByteArray}
				if err := d.open(Plain, b[:len(page)-cut], len(want), nil); err != nil {
					t.Fatal(err)
				}
				var err error
				for v := (&Vector{}); d.left > 0 && err == nil; {
					err = d.read(v, min(step, d.left))
				}
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("a page without its last %d bytes: %v", cut, err)
				}
			}
		}
	}
}
