package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// slack is how many bytes behind a decoded page may be read (never used) by what copies words at a time.
const slack = 16

// String gives the name that delta.parquet.compression.codec and Spark use.
func (c Codec) String() string {
	names := [...]string{"uncompressed", "snappy", "gzip", "lzo", "brotli", "lz4", "zstd", "lz4_raw"}
	if c >= 0 && int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("codec(%d)", int32(c))
}

// ParseCodec reads the name of a codec that can be written: snappy (also for ""), zstd, gzip, lz4_raw, uncompressed or none.
func ParseCodec(name string) (Codec, error) {
	switch name {
	case "", "snappy", "SNAPPY":
		return Snappy, nil
	case "zstd", "ZSTD":
		return Zstd, nil
	case "gzip", "GZIP":
		return Gzip, nil
	case "lz4_raw", "LZ4_RAW":
		return LZ4Raw, nil
	case "none", "NONE", "uncompressed", "UNCOMPRESSED":
		return Uncompressed, nil
	}
	return 0, fmt.Errorf("%w: compression %q (known: snappy, zstd, gzip, lz4_raw, uncompressed)", ErrUnsupported, name)
}

var zstdReaders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
	if err != nil {
		return err
	}
	return d
}}

// decompress gives the size bytes that src holds, in dst's memory where that is large enough. At most slack bytes behind the
// result may be read.
func decompress(c Codec, dst, src []byte, size int) ([]byte, error) {
	out, err := decompressTo(c, dst[:0], src, size)
	if err != nil {
		return nil, err
	}
	if len(out) != size {
		return nil, fmt.Errorf("%w: page of %d bytes decompresses to %d", ErrCorrupt, size, len(out))
	}
	return out, nil
}

func decompressTo(c Codec, dst, src []byte, size int) ([]byte, error) {
	corrupt := func(err error) error { return fmt.Errorf("%w: %s page: %w", ErrCorrupt, c, err) }
	switch c {
	case Uncompressed:
		return src, nil
	case Snappy:
		n, head := binary.Uvarint(src)
		// A copy of three bytes gives 64: nothing decompresses further.
		if head <= 0 || n != uint64(size) || size > 22*len(src)+16 {
			return nil, fmt.Errorf("%w: snappy page of %d bytes says it holds %d, its header %d", ErrCorrupt, len(src), n, size)
		}
		out := grown(dst, size)
		if err := decodeSnappy(out, src[head:]); err != nil {
			return nil, corrupt(err)
		}
		return out, nil
	case Zstd:
		d, ok := zstdReaders.Get().(*zstd.Decoder)
		if !ok {
			return nil, fmt.Errorf("%w: no zstd decoder", ErrUnsupported)
		}
		defer zstdReaders.Put(d)
		out, err := d.DecodeAll(src, grown(dst, min(size, 64*len(src)+1024))[:0])
		if err != nil {
			return nil, corrupt(err)
		}
		return out, nil
	case Gzip:
		r, err := gzip.NewReader(bytes.NewReader(src))
		if err != nil {
			return nil, corrupt(err)
		}
		return readBounded(r, dst, min(size, 1100*len(src)+1024), size, corrupt)
	case Brotli:
		return readBounded(brotli.NewReader(bytes.NewReader(src)), dst, min(size, 64*len(src)+1024), size, corrupt)
	case LZ4Raw:
		if size > 256*len(src)+64 {
			return nil, fmt.Errorf("%w: lz4 page of %d bytes says it holds %d", ErrCorrupt, len(src), size)
		}
		out := grown(dst, size)
		n, err := lz4.UncompressBlock(src, out)
		if err != nil {
			return nil, corrupt(err)
		}
		return out[:n], nil
	case LZ4:
		return decompressHadoopLZ4(dst, src, size, corrupt)
	}
	return nil, fmt.Errorf("%w: compression %s", ErrUnsupported, c)
}

// decompressHadoopLZ4 reads Hadoop's blocks (sizes big endian before each), or a raw block, which some writers took for it.
func decompressHadoopLZ4(dst, src []byte, size int, corrupt func(error) error) ([]byte, error) {
	if size > 256*len(src)+64 {
		return nil, fmt.Errorf("%w: lz4 page of %d bytes says it holds %d", ErrCorrupt, len(src), size)
	}
	out := grown(dst, size)
	done, b := 0, src
	for len(b) >= 8 {
		want, n := int(binary.BigEndian.Uint32(b)), int(binary.BigEndian.Uint32(b[4:]))
		if n < 0 || n > len(b)-8 || want < 0 || want > size-done {
			break
		}
		got, err := lz4.UncompressBlock(b[8:8+n], out[done:done+want])
		if err != nil || got != want {
			break
		}
		done, b = done+want, b[8+n:]
	}
	if done == size && len(b) == 0 {
		return out, nil
	}
	n, err := lz4.UncompressBlock(src, out)
	if err != nil {
		return nil, corrupt(err)
	}
	return out[:n], nil
}

// grown gives a slice of n bytes with slack behind it, in b's memory where it fits.
func grown(b []byte, n int) []byte {
	if cap(b) < n+slack {
		b = Raw[byte](n + slack + n/8)
	}
	return b[:n]
}

// readBounded reads at most limit bytes, beginning with memory for first.
func readBounded(r io.Reader, dst []byte, first, limit int, corrupt func(error) error) ([]byte, error) {
	out := grown(dst, first)[:0]
	for {
		if len(out) == cap(out) {
			out = append(out, 0)[:len(out)]
		}
		n, err := r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		if len(out) > limit {
			return nil, fmt.Errorf("%w: page holds more than the %d bytes that its header says", ErrCorrupt, limit)
		}
		if err == io.EOF {
			return out, nil
		}
		if err != nil {
			return nil, corrupt(err)
		}
	}
}

var zstdWriters = sync.Pool{New: func() any {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(1<<20))
	if err != nil {
		return err
	}
	return e
}}

// compress appends src in compressed form to dst.
func compress(c Codec, dst, src []byte) ([]byte, error) {
	switch c {
	case Uncompressed:
		return append(dst, src...), nil
	case Snappy:
		n := s2.MaxEncodedLen(len(src))
		if n < 0 {
			return nil, fmt.Errorf("%w: page of %d bytes", ErrUnsupported, len(src))
		}
		if cap(dst)-len(dst) < n {
			dst = append(make([]byte, 0, 2*cap(dst)+n), dst...)
		}
		out := s2.EncodeSnappy(dst[len(dst):len(dst)+n], src)
		return dst[:len(dst)+len(out)], nil
	case Zstd:
		e, ok := zstdWriters.Get().(*zstd.Encoder)
		if !ok {
			return nil, fmt.Errorf("%w: no zstd encoder", ErrUnsupported)
		}
		defer zstdWriters.Put(e)
		return e.EncodeAll(src, dst), nil
	case Gzip:
		buf := bytes.NewBuffer(dst)
		w := gzip.NewWriter(buf)
		if _, err := w.Write(src); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		return buf.Bytes(), nil
	case LZ4Raw:
		out := make([]byte, lz4.CompressBlockBound(len(src)))
		var lc lz4.Compressor
		n, err := lc.CompressBlock(src, out)
		if err != nil {
			return nil, err
		}
		if n == 0 && len(src) > 0 { // not compressible: one run of literals
			return appendLZ4Literals(dst, src), nil
		}
		return append(dst, out[:n]...), nil
	}
	return nil, fmt.Errorf("%w: compression %s", ErrUnsupported, c)
}

func appendLZ4Literals(dst, src []byte) []byte {
	n := len(src)
	if n < 15 {
		return append(append(dst, byte(n)<<4), src...)
	}
	dst = append(dst, 0xf0)
	for n -= 15; n >= 255; n -= 255 {
		dst = append(dst, 255)
	}
	return append(append(dst, byte(n)), src...)
}
