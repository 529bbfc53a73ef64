package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/klauspost/compress/s2"
)

// snappyInputs are bytes of kinds that compress differently: numbers, texts, runs of all short periods, noise.
func snappyInputs(n int) map[string][]byte {
	r := rand.New(rand.NewPCG(1, 2))
	in := map[string][]byte{}
	for i := range n {
		in["count"] = binary.LittleEndian.AppendUint64(in["count"], uint64(i))
		in["prices"] = binary.LittleEndian.AppendUint64(in["prices"], math.Float64bits(float64(i)/4))
		in["ints"] = binary.LittleEndian.AppendUint32(in["ints"], uint32(r.IntN(1000)))
		name := "customer " + strconv.Itoa(i*7919%1000003)
		in["names"] = append(binary.LittleEndian.AppendUint32(in["names"], uint32(len(name))), name...)
		in["noise"] = append(in["noise"], byte(r.Uint32()))
	}
	for period := 1; period <= 40; period++ {
		in[fmt.Sprint("period ", period)] = bytes.Repeat(in["noise"][:period], n/period)
	}
	for i := 0; i < n; { // runs and repeats from afar, of many lengths
		k := 1 + r.IntN(100)
		switch b := in["mixed"]; r.IntN(3) {
		case 0:
			b = append(b, in["noise"][i%(n/2):][:min(k, n/2)]...)
			in["mixed"] = b
		case 1:
			in["mixed"] = append(b, bytes.Repeat([]byte{byte(k)}, k)...)
		default:
			from := r.IntN(len(b) + 1)
			in["mixed"] = append(b, b[from:min(len(b), from+k)]...)
		}
		i += k
	}
	return in
}

// decodedSnappy decodes with bytes behind input and output that must neither be used nor, past the slack, changed.
func decodedSnappy(t testing.TB, src []byte, size int) ([]byte, error) {
	mem := bytes.Repeat([]byte{0xa5}, size+slack+8)
	err := decodeSnappy(mem[:size:size+slack], append(make([]byte, 0, len(src)), src...))
	if !bytes.Equal(mem[size+slack:], bytes.Repeat([]byte{0xa5}, 8)) {
		t.Fatal("bytes behind the slack were written")
	}
	return mem[:size], err
}

func TestSnappy(t *testing.T) {
	for _, n := range []int{1, 2, 3, 7, 20, 50, 300, 70_000} {
		for name, want := range snappyInputs(max(n, 40)) {
			want = want[:min(len(want), n*8)]
			for _, src := range [][]byte{s2.EncodeSnappy(nil, want), s2.EncodeSnappyBetter(nil, want), s2.EncodeSnappyBest(nil, want)} {
				_, head := binary.Uvarint(src)
				if got, err := decodedSnappy(t, src[head:], len(want)); err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%s, %d bytes: differs, %v", name, len(want), err)
				}
				for _, size := range []int{len(want) - 1, len(want) + 1} {
					if _, err := decodedSnappy(t, src[head:], size); err == nil {
						t.Fatalf("%s: %d bytes decode as %d", name, len(want), size)
					}
				}
				if _, err := decodedSnappy(t, src[head:len(src)-1], len(want)); err == nil {
					t.Fatalf("%s: a block that is cut off is decoded", name)
				}
			}
		}
	}
}

// TestSnappyElements decodes each kind of copy, from each near offset, at the beginning of a block and in its end.
func TestSnappyElements(t *testing.T) {
	for off := 1; off <= 80; off++ {
		for n := 1; n <= 64; n++ {
			for _, behind := range []int{0, 1, 30, 100} {
				want := make([]byte, 80, 300)
				for i := range want {
					want[i] = byte(i)
				}
				src := append([]byte{60 << 2, 79}, want...)
				for i := range n {
					want = append(want, want[80+i-off])
				}
				copies := [][]byte{{byte(n-1)<<2 | 2, byte(off), 0}, {byte(n-1)<<2 | 3, byte(off), 0, 0, 0}}
				if n >= 4 && n <= 11 {
					copies = append(copies, []byte{byte(n-4)<<2 | 1, byte(off)})
				}
				for i := range behind {
					want = append(want, byte(i))
				}
				for _, c := range copies {
					block := append(bytes.Clone(src), c...)
					if behind > 0 {
						block = append(append(block, 60<<2, byte(behind-1)), want[80+n:]...)
					}
					if got, err := decodedSnappy(t, block, len(want)); err != nil || !bytes.Equal(got, want) {
						t.Fatalf("copy %v of %d bytes from %d before, %d behind: differs, %v", c, n, off, behind, err)
					}
				}
			}
		}
	}
}

// FuzzSnappy compares with another decoder on any bytes.
func FuzzSnappy(f *testing.F) {
	for _, in := range snappyInputs(300) {
		f.Add(s2.EncodeSnappy(nil, in))
	}
	f.Add([]byte{10, 0x01, 0x00})
	f.Fuzz(func(t *testing.T, src []byte) {
		size, head := binary.Uvarint(src)
		if head <= 0 || size > 1<<20 {
			return
		}
		got, err := decodedSnappy(t, src[head:], int(size))
		want, wantErr := s2.Decode(nil, src)
		// A copy from no bytes before is a repeat in S2, and nothing in Snappy.
		if err != nil && wantErr == nil && !usesRepeats(src[head:]) || err == nil && (wantErr != nil || !bytes.Equal(got, want)) {
			t.Errorf("%x: %v, want %v", src, err, wantErr)
		}
	})
}

// usesRepeats tells whether a valid block has a copy with offset 0.
func usesRepeats(src []byte) bool {
	for len(src) > 0 {
		n := int(src[0])
		switch n & 3 {
		case 0:
			x := n>>2 + 1
			n = 0
			if x > 60 {
				n = x - 60
				var le [4]byte
				copy(le[:], src[1:1+n])
				x = int(binary.LittleEndian.Uint32(le[:])) + 1
			}
			src = src[1+n+x:]
			continue
		case 1:
			if n>>5 == 0 && src[1] == 0 {
				return true
			}
			src = src[2:]
		case 2:
			src = src[3:]
		default:
			src = src[5:]
		}
	}
	return false
}

func BenchmarkSnappy(b *testing.B) {
	in := snappyInputs(20_000)
	for _, name := range []string{"count", "prices", "ints", "names"} {
		src := s2.EncodeSnappy(nil, in[name])
		_, head := binary.Uvarint(src)
		dst := make([]byte, len(in[name]), len(in[name])+slack)
		b.Run(name+"/s2", func(b *testing.B) {
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if _, err := s2.Decode(dst, src); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(name+"/ours", func(b *testing.B) {
			b.SetBytes(int64(len(dst)))
			for b.Loop() {
				if err := decodeSnappy(dst, src[head:]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
