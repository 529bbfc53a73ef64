package dv

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"reflect"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/uuid"

	"sluice.io/sluice/connectors/store"
)

// mem is a bucket of one object.
type mem struct {
	store.Bucket
	objects map[string][]byte
}

func (m *mem) URL() string { return "s3://lake/root" }

func (m *mem) Put(_ context.Context, key string, data []byte) error {
	m.objects[key] = data
	return nil
}

func (m *mem) ReadRange(_ context.Context, key string, at, n int64) ([]byte, error) {
	b, ok := m.objects[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	if at+n > int64(len(b)) {
		return nil, io.ErrUnexpectedEOF
	}
	return b[at : at+n], nil
}

func (m *mem) Stat(_ context.Context, key string) (store.Info, error) {
	return store.Info{Key: key, Size: int64(len(m.objects[key]))}, nil
}

func (m *mem) List(context.Context, string, string) iter.Seq2[store.Info, error] { return nil }

func of(rows ...uint64) *roaring64.Bitmap { return roaring64.BitmapOf(rows...) }

func TestPackGivesTheBytesOfTheGoldenFile(t *testing.T) {
	t.Parallel()
	// deletion_vector_61d16c75-…bin of table-with-dv-small: rows 0 and 9.
	const want = "0100000024d1d339640100000000000000000000003a30000001000000000001001000000000000900"
	data, d, err := Pack(uuid.MustParse("61d16c75-6994-46b7-a15b-8b538852e50e"), []*roaring64.Bitmap{of(0, 9)})
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(data[:len(data)-4]); got != want || len(data) != 45 {
		t.Errorf("%d bytes\n%s want\n%s", len(data), got, want)
	}
	if d[0].PathOrInlineDv != "vBn[lx{q8@P<9BNH/isA" || *d[0].Offset != 1 || d[0].SizeInBytes != 36 || d[0].Cardinality != 2 {
		t.Errorf("descriptor %+v", d[0])
	}
}

func TestInlineVector(t *testing.T) {
	t.Parallel()
	const text = "^Bg9^0rr910000000000iXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L"
	d := Descriptor{StorageType: StorageInline, PathOrInlineDv: text, SizeInBytes: 44, Cardinality: 6}
	v, err := Read(context.Background(), &mem{}, "t", d)
	if err != nil {
		t.Fatal(err)
	}
	if want := []uint64{3, 4, 7, 11, 18, 29}; !reflect.DeepEqual(v.ToArray(), want) {
		t.Errorf("rows %v, want %v", v.ToArray(), want)
	}
	again, err := Inline(v)
	if err != nil || again.PathOrInlineDv != text || again.SizeInBytes != 44 || again.UniqueID() != "i"+text {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestZ85OfTheRustCrate(t *testing.T) {
	t.Parallel()
	if b, err := DecodeZ85("0rr91##093"); err != nil || hex.EncodeToString(b) != "010000000300" {
		t.Errorf("%x, %v", b, err)
	}
	for _, s := range []string{"#####", "##093000000", "0000", "~0000", "####z"} {
		if b, err := DecodeZ85(s); err == nil {
			t.Errorf("%q is %x", s, b)
		}
	}
}

func TestKeyOfPaths(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ kind, path, want string }{
		{"u", "ab^-aqEH.-t@S}K{vb[*k^", "t/ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin"},
		{"u", "vBn[lx{q8@P<9BNH/isA", "t/deletion_vector_61d16c75-6994-46b7-a15b-8b538852e50e.bin"},
		{"p", "s3://lake/root/x/a%20b.bin", "x/a b.bin"},
		{"p", "s3a://lake/root/x/y.bin", "x/y.bin"},
	} {
		got, err := Key("s3://lake/root", "t", Descriptor{StorageType: c.kind, PathOrInlineDv: c.path})
		if err != nil || got != c.want {
			t.Errorf("%s: %q, %v, want %q", c.path, got, err, c.want)
		}
	}
	if got, err := Key("file:///data/lake", "t", Descriptor{StorageType: "p", PathOrInlineDv: "file:/data/lake/t/x.bin"}); err != nil || got != "t/x.bin" {
		t.Errorf("%q, %v", got, err)
	}
	for _, d := range []Descriptor{{StorageType: "p", PathOrInlineDv: "s3://other/x"}, {StorageType: "r"}, {StorageType: "u", PathOrInlineDv: "short"}} {
		if _, err := Key("s3://lake/root", "t", d); err == nil {
			t.Errorf("%+v has a key", d)
		}
	}
}

func TestWriteAndReadBack(t *testing.T) {
	t.Parallel()
	ctx, b := context.Background(), &mem{objects: map[string][]byte{}}
	in := []*roaring64.Bitmap{of(1, 2, 3), of(1<<33, 5), roaring64.New()}
	in[2].AddRange(10, 100_010)
	ds, key, err := Write(ctx, b, "t", in)
	if err != nil {
		t.Fatal(err)
	}
	for i, d := range ds {
		got, err := Read(ctx, b, "t", d)
		if err != nil || !got.Equals(in[i]) {
			t.Fatalf("vector %d: %v", i, err)
		}
	}
	if ds[2].SizeInBytes > 64 {
		t.Errorf("100000 rows in a run take %d bytes", ds[2].SizeInBytes)
	}
	data := b.objects[key]
	for i := range data[1:] {
		bad := append([]byte(nil), data...)
		bad[i+1] ^= 0x10
		b.objects[key] = bad
		failed := false
		for _, d := range ds {
			if _, err := Read(ctx, b, "t", d); err != nil {
				failed = true
				if !errors.Is(err, ErrCorrupt) {
					t.Fatalf("byte %d: %v", i+1, err)
				}
			}
		}
		if !failed {
			t.Fatalf("a flipped bit in byte %d is not noticed", i+1)
		}
	}
	b.objects[key] = data
	first := ds[0]
	first.Offset = nil // 0 to the protocol, the first vector to some writers
	if got, err := Read(ctx, b, "t", first); err != nil || !got.Equals(in[0]) {
		t.Errorf("without offset: %v, %v", got, err)
	}
	b.objects[key] = data[:*ds[2].Offset+20]
	if _, err := Read(ctx, b, "t", ds[2]); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a file that was cut: %v", err)
	}
	wrong, err := Inline(in[1])
	if err != nil {
		t.Fatal(err)
	}
	wrong.PathOrInlineDv += strings.Repeat("00000", 10_000)
	wrong.Cardinality++
	if _, err := Read(ctx, b, "t", wrong); !errors.Is(err, ErrCorrupt) || len(err.Error()) > 300 {
		t.Errorf("inline: %.400v", err)
	}
	if _, _, err := Write(ctx, b, "t", []*roaring64.Bitmap{roaring64.New()}); err == nil {
		t.Error("an empty vector was written")
	}
}

func FuzzUnmarshal(f *testing.F) {
	p, _ := Marshal(of(0, 9, 70_000))
	f.Add(p)
	run := roaring64.New()
	run.AddRange(1, 1_000_000)
	p, _ = Marshal(run)
	f.Add(p)
	f.Add([]byte{0xd1, 0xd3, 0x39, 0x64, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := Unmarshal(b)
		if err != nil {
			return
		}
		again, err := Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		w, err := Unmarshal(again)
		if err != nil || !w.Equals(v) {
			t.Fatalf("not equal after writing: %v", err)
		}
	})
}

func FuzzZ85(f *testing.F) {
	f.Add("vBn[lx{q8@P<9BNH/isA")
	f.Add("#####")
	f.Fuzz(func(t *testing.T, s string) {
		b, err := DecodeZ85(s)
		if err == nil && len(b)%4 == 0 && EncodeZ85(b) != s {
			t.Fatalf("%q becomes %q", s, EncodeZ85(b))
		}
	})
}
