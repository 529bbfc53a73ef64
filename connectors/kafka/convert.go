package kafka

import (
	"errors"
	"fmt"
	"math"

	"sluice.io/sluice/connectors"

	"github.com/IBM/sarama"
)

// measure looks at a response block: the offset after it, the bytes that its records hold, and whether there is
// anything whole in it.
func measure(b *sarama.FetchResponseBlock, from int64) (next, bytes int64, whole bool) {
	next = from
	for _, records := range b.RecordsSet {
		switch {
		case records.RecordBatch != nil:
			batch := records.RecordBatch
			if batch.PartialTrailingRecord {
				continue
			}
			whole = true
			next = max(next, batch.LastOffset()+1)
			for _, rec := range batch.Records {
				bytes += recordBytes(rec)
			}
		case records.MsgSet != nil:
			for _, m := range records.MsgSet.Messages {
				whole = true
				next = max(next, m.Offset+1)
				for _, inner := range m.Messages() {
					bytes += int64(len(inner.Msg.Key)+len(inner.Msg.Value)) + recordOverhead
				}
			}
		}
	}
	return next, bytes, whole && next > from
}

// recordOverhead is about what a record costs in memory beside its bytes.
const recordOverhead = 96

func recordBytes(rec *sarama.Record) int64 {
	n := int64(len(rec.Key)+len(rec.Value)) + recordOverhead
	for _, h := range rec.Headers {
		n += int64(len(h.Key) + len(h.Value) + 64)
	}
	return n
}

// convert makes the records of a block. Control records and records of aborted transactions are left out; Next covers
// them.
func (r *Reader) convert(b block) (Batch, error) {
	out := Batch{Next: b.next, HighWater: b.high, Bytes: b.bytes}
	n := 0
	for _, records := range b.resp.RecordsSet {
		if records.RecordBatch != nil {
			n += len(records.RecordBatch.Records)
		}
	}
	out.Records = make([]connectors.Record, 0, n)
	aborted := map[int64]struct{}{}
	pending := b.resp.AbortedTransactions // the broker sorts them by first offset
	for _, records := range b.resp.RecordsSet {
		if records.MsgSet != nil {
			r.convertLegacy(&out, records.MsgSet, b.from)
			continue
		}
		batch := records.RecordBatch
		if batch == nil || batch.PartialTrailingRecord {
			continue
		}
		for len(pending) > 0 && pending[0].FirstOffset <= batch.LastOffset() {
			aborted[pending[0].ProducerID] = struct{}{}
			pending = pending[1:]
		}
		if batch.Control {
			if abort, err := isAbort(batch); err != nil {
				return Batch{}, &PartitionError{Topic: r.topic, Partition: r.partition, Offset: batch.FirstOffset, Start: -1, End: -1, Err: err}
			} else if abort {
				delete(aborted, batch.ProducerID)
			}
			continue
		}
		if _, bad := aborted[batch.ProducerID]; bad && batch.IsTransactional && r.c.s.isolation == sarama.ReadCommitted {
			continue
		}
		r.convertBatch(&out, batch, b.from)
	}
	return out, nil
}

func (r *Reader) convertBatch(out *Batch, batch *sarama.RecordBatch, from int64) {
	base := millis(batch.FirstTimestamp.UnixMilli())
	last := millis(batch.MaxTimestamp.UnixMilli())
	for _, rec := range batch.Records {
		offset := batch.FirstOffset + rec.OffsetDelta
		if offset < from {
			continue // the batch begins before the offset that was asked for
		}
		ts := last
		if !batch.LogAppendTime {
			ts = base + rec.TimestampDelta.Milliseconds()
		}
		out.Records = append(out.Records, connectors.Record{
			Topic: r.topic, Partition: r.partition, Offset: offset, TimestampMs: ts,
			Key: rec.Key, Value: rec.Value, Headers: headersOf(rec.Headers),
		})
	}
}

// millis repairs the zero time.Time, which Sarama gives for a timestamp of -1.
func millis(ms int64) int64 {
	if ms < math.MinInt64/4 || ms == -62135596800000 {
		return -1
	}
	return ms
}

func headersOf(hs []*sarama.RecordHeader) []connectors.Header {
	if len(hs) == 0 {
		return nil
	}
	out := make([]connectors.Header, len(hs))
	for i, h := range hs {
		out[i] = connectors.Header{Key: string(h.Key), Value: h.Value}
	}
	return out
}

// convertLegacy reads the message sets of logs that were written before Kafka 0.11.
func (r *Reader) convertLegacy(out *Batch, set *sarama.MessageSet, from int64) {
	for _, block := range set.Messages {
		inner := block.Messages()
		for _, m := range inner {
			offset := m.Offset
			ts := m.Msg.Timestamp
			if m.Msg.Version >= 1 {
				offset += block.Offset - inner[len(inner)-1].Offset
				if m.Msg.LogAppendTime {
					ts = block.Msg.Timestamp
				}
			}
			if offset < from {
				continue
			}
			out.Records = append(out.Records, connectors.Record{
				Topic: r.topic, Partition: r.partition, Offset: offset, TimestampMs: millis(ts.UnixMilli()),
				Key: m.Msg.Key, Value: m.Msg.Value,
			})
		}
	}
}

// isAbort reads the control record of a batch: version i16, type i16 (0 abort, 1 commit).
func isAbort(batch *sarama.RecordBatch) (bool, error) {
	if len(batch.Records) == 0 {
		return false, nil
	}
	key := batch.Records[0].Key
	if len(key) < 4 {
		return false, errors.New("a control record has a key of " + fmt.Sprint(len(key)) + " bytes instead of 4")
	}
	return key[2] == 0 && key[3] == 0, nil
}
