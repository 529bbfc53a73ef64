package fold

import (
	"encoding/binary"
	"errors"

	"sluice.io/sluice/connectors"
)

// Seq is the sequence of a change as column _cdc_sequence keeps it:
//
//	epoch u32 | Position | generation and partition u32 | offset u64
//
// all big endian, so that bytes.Compare orders the changes of one source (formats.md §0.2). The generation is in the
// upper 12 bits of the third part. It is 0 where there is a position. Changes without one have a generation from 1 on, which
// rises when their topic is seen to have got more partitions, since keys move between partitions then; snapshot rows without
// position have 0 and rank below every positioned change of their lineage. With a position, any other number than 0 tells a change that
// was lifted to it.
type Seq string

const (
	seqEpoch = 4
	seqTail  = 12
	// PartitionBits are the lower bits of the third part of a Seq: the Kafka partition.
	PartitionBits = 20
	// PartitionMask takes the Kafka partition out of the third part.
	PartitionMask = 1<<PartitionBits - 1
	// MaxGeneration is the highest generation that a Seq can hold; more changes of the partition count stay at it.
	MaxGeneration = 1<<(32-PartitionBits) - 1

	liftedPart = 1 << PartitionBits
)

// ErrSeq tells that bytes are not a sequence.
var ErrSeq = errors.New("not a sequence: shorter than epoch, partition and offset")

// Stamp is a sequence taken apart. Pos is the source's position, empty where the event has none.
type Stamp struct {
	Pos   string
	Off   int64
	Epoch uint32
	// Part is generation<<PartitionBits | partition.
	Part uint32
	// Exact tells that an equal position means the same event.
	Exact bool
	// Lifted tells that the position is that of the change before this one (Lift): it comes right behind what has the position
	// itself, and the position does not name its transaction.
	Lifted bool
}

// Positioned tells that the source gave a position.
func (s Stamp) Positioned() bool { return s.Pos != "" }

// Unranked tells a snapshot row without position.
func (s Stamp) Unranked() bool { return s.Pos == "" && s.Part>>PartitionBits == 0 }

// Append appends the bytes of the stamp to dst.
func (s Stamp) Append(dst []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, s.Epoch)
	dst = append(dst, s.Pos...)
	part := s.Part
	if s.Lifted {
		part |= liftedPart
	}
	dst = binary.BigEndian.AppendUint32(dst, part)
	return binary.BigEndian.AppendUint64(dst, uint64(s.Off))
}

// Seq gives the bytes of the stamp.
func (s Stamp) Seq() Seq { return Seq(s.Append(make([]byte, 0, seqEpoch+seqTail+len(s.Pos)))) }

// Parse takes a sequence apart. Exact is left false: stored bytes do not tell.
func Parse(q string) (Stamp, error) {
	if len(q) < seqEpoch+seqTail {
		return Stamp{}, ErrSeq
	}
	n := len(q) - seqTail
	tail := q[n:]
	s := Stamp{
		Epoch: be32(q), Pos: q[seqEpoch:n],
		Part: be32(tail), Off: int64(uint64(be32(tail[4:]))<<32 | uint64(be32(tail[8:]))),
	}
	if s.Pos != "" && s.Part&^PartitionMask != 0 {
		s.Part, s.Lifted = s.Part&PartitionMask, true
	}
	return s, nil
}

func be32(s string) uint32 {
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

// Compare orders two changes of one key: negative when a is older, 0 when they are the same event.
//
//   - The later epoch wins.
//   - Both with a position: the position, then, unless one of the two is exact, generation, partition and offset (D5). What was
//     lifted to a position comes behind what has it.
//   - Neither has one: the offset inside one partition; between partitions generation, partition and offset.
//   - One has: a snapshot row without position is older than every positioned change; any other falls back to
//     generation, partition and offset.
func Compare(a, b Stamp) int {
	if a.Epoch != b.Epoch {
		return cmp(a.Epoch, b.Epoch)
	}
	if a.Pos != "" && b.Pos != "" {
		if a.Pos != b.Pos {
			if a.Pos < b.Pos {
				return -1
			}
			return 1
		}
		if a.Lifted != b.Lifted {
			if a.Lifted {
				return 1
			}
			return -1
		}
		if a.Exact || b.Exact {
			return 0
		}
		return tail(a, b)
	}
	if a.Pos != "" || b.Pos != "" {
		if a.Unranked() {
			return -1
		}
		if b.Unranked() {
			return 1
		}
	}
	return tail(a, b)
}

// tail orders by (partition, offset), D5, a later generation of partitions first.
func tail(a, b Stamp) int {
	if a.Part&PartitionMask != b.Part&PartitionMask {
		return cmp(a.Part, b.Part)
	}
	return cmp(a.Off, b.Off)
}

func cmp[T uint32 | int64 | uint64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Lift gives a change without position the position of the change of its key that it follows, so that one total order
// remains: it lies right behind that change, and a repeat of an older positioned event stays older. It returns s
// unchanged where it does not follow prev, or where one of the two ranks by itself.
func (s Stamp) Lift(prev Stamp) Stamp {
	if s.Pos != "" || s.Unranked() || prev.Pos == "" || s.Epoch != prev.Epoch || Compare(s, prev) <= 0 {
		return s
	}
	s.Pos, s.Exact, s.Lifted = prev.Pos, false, true
	s.Part &= PartitionMask
	return s
}

// Mark maps epoch and position to eight bytes in a monotone way: Mark(a) < Mark(b) implies that a is older.
// The upper 4 bits are the epoch (15 stands for all higher ones), then the position with its runs of zero bytes
// shortened: before each three bytes 4 bits that say how few zero bytes precede them. Fixed-width fields are mostly
// leading zeros, so that two fields usually fit.
func Mark(epoch uint32, pos string) uint64 {
	if epoch >= 15 {
		return 15 << 60
	}
	out := uint64(epoch) << 60
	bits := 60
	for i := 0; bits > 0; {
		zeros := 0
		for i < len(pos) && zeros < 15 && pos[i] == 0 {
			zeros++
			i++
		}
		if i >= len(pos) {
			// The end of a position ranks below everything that could follow it.
			break
		}
		bits -= 4
		out |= uint64(15-zeros) << bits
		for k := 0; k < 3 && bits > 0; k++ {
			var b uint64
			if i < len(pos) {
				b = uint64(pos[i])
				i++
			}
			if bits >= 8 {
				bits -= 8
				out |= b << bits
			} else {
				out |= b >> (8 - bits)
				bits = 0
			}
		}
	}
	return out
}

// StampOf makes the stamp of a change. gen is the generation of its topic's partitions, from 1 on.
func StampOf(c *connectors.Change, epoch uint32, gen uint32) Stamp {
	s := Stamp{
		Pos: string(c.Position), Epoch: epoch, Exact: c.PosQuality == connectors.Exact,
		Part: uint32(c.Record.Partition) & PartitionMask, Off: c.Record.Offset,
	}
	if c.PosQuality == connectors.OffsetOnly {
		s.Pos, s.Exact = "", false
	}
	if s.Pos == "" && c.Op != connectors.Read {
		s.Part |= gen << PartitionBits
	}
	return s
}
