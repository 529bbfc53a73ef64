package connectors

import "strconv"

// Header is one Kafka record header. A nil Value is a null.
type Header struct {
	Key   string
	Value []byte
}

// Record is one Kafka record. A nil Key or Value is a null; an empty one is not. The bytes belong to whoever
// reads the record and are never changed: decoded values point into them.
type Record struct {
	Topic     string
	Partition int32
	Offset    int64
	// TimestampMs is the broker's or producer's time in milliseconds since the epoch.
	TimestampMs int64
	Key, Value  []byte
	Headers     []Header
}

// EventID names the record for ever: <topic>-<partition>-<offset>.
func (r *Record) EventID() string {
	b := make([]byte, 0, len(r.Topic)+24)
	return string(r.AppendEventID(b))
}

// AppendEventID appends EventID to dst.
func (r *Record) AppendEventID(dst []byte) []byte {
	dst = append(dst, r.Topic...)
	dst = append(dst, '-')
	dst = strconv.AppendInt(dst, int64(r.Partition), 10)
	dst = append(dst, '-')
	return strconv.AppendInt(dst, r.Offset, 10)
}

// Header gives the value of the first header with this name.
func (r *Record) Header(name string) ([]byte, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == name {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}
