package dv

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"net/url"
	"strings"

	"github.com/RoaringBitmap/roaring/v2/roaring64"
	"github.com/google/uuid"

	"sluice.io/sluice/connectors/store"
)

var (
	// ErrCorrupt is wrapped where bytes are not the vector that a descriptor promises.
	ErrCorrupt = errors.New("corrupt deletion vector")
	// ErrUnsupported is wrapped where a vector is stored in a way that this package does not read.
	ErrUnsupported = errors.New("unsupported deletion vector")
)

const (
	fileVersion = 1
	magic       = 1681511377
	// MaxSize bounds a vector, in bytes: one of 2^32 scattered rows takes half a gigabyte.
	MaxSize = 1 << 29
	maxFile = math.MaxInt32
	// uuidChars is the length of a UUID's Z85 text.
	uuidChars = 20
)

// Marshal gives the payload of a vector: magic number and portable 64-bit roaring bitmap. The bitmap may be changed to a
// smaller form of itself.
func Marshal(v *roaring64.Bitmap) ([]byte, error) {
	v.RunOptimize()
	buf := bytes.NewBuffer(make([]byte, 0, v.GetSerializedSizeInBytes()+4))
	buf.Write(binary.LittleEndian.AppendUint32(nil, magic))
	if _, err := v.WriteTo(buf); err != nil {
		return nil, fmt.Errorf("serialise deletion vector: %w", err)
	}
	if buf.Len() > MaxSize {
		return nil, fmt.Errorf("%w: vector of %d bytes", ErrUnsupported, buf.Len())
	}
	return buf.Bytes(), nil
}

// Unmarshal reads a payload.
func Unmarshal(b []byte) (*roaring64.Bitmap, error) {
	if len(b) < 12 {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrCorrupt, len(b))
	}
	if m := binary.LittleEndian.Uint32(b); m != magic {
		return nil, fmt.Errorf("%w: magic number %d, want %d", ErrCorrupt, m, magic)
	}
	body := b[4:]
	if err := checkBuckets(body); err != nil {
		return nil, err
	}
	v := roaring64.New()
	n, err := v.ReadFrom(bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if n != int64(len(body)) {
		return nil, fmt.Errorf("%w: bitmap of %d bytes in %d", ErrCorrupt, n, len(body))
	}
	if err := v.Validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return v, nil
}

// checkBuckets compares the number of buckets with the bytes there are, before memory is asked for.
func checkBuckets(b []byte) error {
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8)/8 {
		return fmt.Errorf("%w: %d buckets in %d bytes", ErrCorrupt, n, len(b))
	}
	return nil
}

// Write puts vectors into one new file of a table and gives their descriptors, in order, and the file's key.
func Write(ctx context.Context, bucket store.Bucket, tablePath string, vectors []*roaring64.Bitmap) ([]Descriptor, string, error) {
	id := uuid.New()
	data, out, err := Pack(id, vectors)
	if err != nil {
		return nil, "", err
	}
	key := join(tablePath, fileName(id))
	if err := bucket.Put(ctx, key, data); err != nil {
		return nil, "", fmt.Errorf("write deletion vectors %s: %w", key, err)
	}
	return out, key, nil
}

// Pack gives the bytes of a file of vectors under a UUID, and their descriptors. Every vector must delete something.
func Pack(id uuid.UUID, vectors []*roaring64.Bitmap) ([]byte, []Descriptor, error) {
	data := []byte{fileVersion}
	name := EncodeZ85(id[:])
	out := make([]Descriptor, 0, len(vectors))
	for i, v := range vectors {
		if v.IsEmpty() {
			return nil, nil, fmt.Errorf("deletion vector %d is empty", i)
		}
		p, err := Marshal(v)
		if err != nil {
			return nil, nil, err
		}
		if len(data)+len(p)+8 > maxFile {
			return nil, nil, fmt.Errorf("%w: more than 2 GiB in one file", ErrUnsupported)
		}
		offset := int32(len(data))
		out = append(out, Descriptor{StorageType: StorageUUID, PathOrInlineDv: name, Offset: &offset,
			SizeInBytes: int32(len(p)), Cardinality: int64(v.GetCardinality())})
		data = binary.BigEndian.AppendUint32(data, uint32(len(p)))
		data = append(data, p...)
		data = binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(p))
		if _, err := unframe(data[offset:], len(p)); err != nil { // B2: what the descriptor says is where it says
			return nil, nil, err
		}
	}
	return data, out, nil
}

// Inline gives the descriptor of a vector that lies in the log. Write is better: some writers refuse such tables.
func Inline(v *roaring64.Bitmap) (Descriptor, error) {
	p, err := Marshal(v)
	if err != nil {
		return Descriptor{}, err
	}
	return Descriptor{StorageType: StorageInline, PathOrInlineDv: EncodeZ85(p), SizeInBytes: int32(len(p)), Cardinality: int64(v.GetCardinality())}, nil
}

// Read gives the vector of a descriptor of the table at tablePath.
func Read(ctx context.Context, bucket store.Bucket, tablePath string, d Descriptor) (*roaring64.Bitmap, error) {
	v, err := read(ctx, bucket, tablePath, d)
	if err != nil {
		id := d.UniqueID()
		if len(id) > 80 { // an inline vector is its own name
			id = id[:80] + "…"
		}
		return nil, fmt.Errorf("deletion vector %s: %w", id, err)
	}
	return v, nil
}

func read(ctx context.Context, bucket store.Bucket, tablePath string, d Descriptor) (*roaring64.Bitmap, error) {
	if d.SizeInBytes < 0 || d.SizeInBytes > MaxSize || d.Cardinality < 0 {
		return nil, fmt.Errorf("%w: descriptor of %d bytes and %d rows", ErrCorrupt, d.SizeInBytes, d.Cardinality)
	}
	var payload []byte
	if d.StorageType == StorageInline {
		b, err := DecodeZ85(d.PathOrInlineDv)
		if err != nil {
			return nil, err
		}
		if int(d.SizeInBytes) > len(b) {
			return nil, fmt.Errorf("%w: %d bytes inline, the descriptor says %d", ErrCorrupt, len(b), d.SizeInBytes)
		}
		payload = b[:d.SizeInBytes]
	} else {
		key, err := Key(bucket.URL(), tablePath, d)
		if err != nil {
			return nil, err
		}
		if d.Offset != nil {
			payload, err = readFrame(ctx, bucket, key, int64(*d.Offset), d.SizeInBytes)
		} else if payload, err = readFrame(ctx, bucket, key, 0, d.SizeInBytes); errors.Is(err, ErrCorrupt) {
			// Absent is 0 by the protocol, where a file has its version, and the first vector, 1, to some writers.
			payload, err = readFrame(ctx, bucket, key, 1, d.SizeInBytes)
		}
		if err != nil {
			return nil, err
		}
	}
	v, err := Unmarshal(payload)
	if err != nil {
		return nil, err
	}
	if n := v.GetCardinality(); n != uint64(d.Cardinality) {
		return nil, fmt.Errorf("%w: %d rows, the descriptor says %d", ErrCorrupt, n, d.Cardinality)
	}
	return v, nil
}

// readFrame gives the payload of a vector that begins at a byte of a file.
func readFrame(ctx context.Context, bucket store.Bucket, key string, offset int64, size int32) ([]byte, error) {
	if offset < 0 {
		return nil, fmt.Errorf("%w: offset %d", ErrCorrupt, offset)
	}
	b, err := bucket.ReadRange(ctx, key, offset, int64(size)+8)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		// A file that is too short stays so; an answer that was cut off does not.
		if info, serr := bucket.Stat(ctx, key); serr == nil && info.Size < offset+int64(size)+8 {
			return nil, fmt.Errorf("%s at byte %d: %w: the file ends at byte %d", key, offset, ErrCorrupt, info.Size)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("at byte %d: %w", offset, err)
	}
	p, err := unframe(b, int(size))
	if err != nil {
		return nil, fmt.Errorf("%s at byte %d: %w", key, offset, err)
	}
	return p, nil
}

// unframe checks length and checksum around a payload.
func unframe(b []byte, size int) ([]byte, error) {
	if len(b) != size+8 {
		return nil, fmt.Errorf("%w: %d bytes where %d are to be", ErrCorrupt, len(b), size+8)
	}
	if n := binary.BigEndian.Uint32(b); n != uint32(size) {
		return nil, fmt.Errorf("%w: the file says %d bytes, the descriptor %d", ErrCorrupt, n, size)
	}
	p := b[4 : 4+size]
	if sum := binary.BigEndian.Uint32(b[4+size:]); sum != crc32.ChecksumIEEE(p) {
		return nil, fmt.Errorf("%w: checksum", ErrCorrupt)
	}
	return p, nil
}

// Key gives the key of the file that a vector of storage u or p lies in. An absolute path must be inside the bucket.
func Key(bucketURL, tablePath string, d Descriptor) (string, error) {
	switch d.StorageType {
	case StorageUUID:
		n := len(d.PathOrInlineDv) - uuidChars
		if n < 0 {
			return "", fmt.Errorf("%w: path %q is shorter than a UUID", ErrCorrupt, d.PathOrInlineDv)
		}
		b, err := DecodeZ85(d.PathOrInlineDv[n:])
		if err != nil {
			return "", err
		}
		name := fileName(uuid.UUID(b))
		if prefix := d.PathOrInlineDv[:n]; prefix != "" {
			name = prefix + "/" + name
		}
		return join(tablePath, name), nil
	case StoragePath:
		return absoluteKey(bucketURL, d.PathOrInlineDv)
	}
	return "", fmt.Errorf("%w: storage type %q", ErrUnsupported, d.StorageType)
}

// absoluteKey makes a key of an absolute URI. file:/a, file:///a and /a are the same.
func absoluteKey(bucketURL, uri string) (string, error) {
	norm := func(s string) string {
		if u, err := url.Parse(s); err == nil {
			scheme := u.Scheme
			if scheme == "" {
				scheme = "file"
			}
			if scheme == "s3a" || scheme == "s3n" {
				scheme = "s3"
			}
			return scheme + "://" + u.Host + "/" + strings.TrimPrefix(u.Path, "/")
		}
		return s
	}
	base := strings.TrimSuffix(norm(bucketURL), "/") + "/"
	key, ok := strings.CutPrefix(norm(uri), base)
	if !ok {
		return "", fmt.Errorf("%w: %s lies outside of %s", ErrUnsupported, uri, bucketURL)
	}
	return key, nil
}

func fileName(id uuid.UUID) string { return "deletion_vector_" + id.String() + ".bin" }

func join(tablePath, name string) string {
	if tablePath == "" {
		return name
	}
	return strings.TrimSuffix(tablePath, "/") + "/" + name
}
