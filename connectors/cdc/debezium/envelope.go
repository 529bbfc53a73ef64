package debezium

import (
	"math"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// Members that Debezium's events have at their top.
const (
	envOther = iota
	envBefore
	envAfter
	envSource
	envTx
	envOp
	envTsMs
	envTsUs
	envTsNs
	envSchema
	envPayload
	envMessage
	envUpdateDescription
	envStatus
	envID
	envDatabaseName
	envDDL
	envTableChanges
	envAggregateType
	envType
	envEventCount
	envDataCollections
	envAdditionalData
	envTimestamp
	envSchemaName
	envCount
)

var envelopeNames = []string{"before", "after", "source", "transaction", "op", "ts_ms", "ts_us", "ts_ns", "schema", "payload",
	"message", "updateDescription", "status", "id", "databaseName", "ddl", "tableChanges", "aggregate_type", "type",
	"event_count", "data_collections", "additional_data", "timestamp", "schemaName"}

// envelope is the top of one event: the texts of its members as sent, empty where absent or null.
type envelope struct {
	text    [envCount]string
	set     uint32 // members that were there, null or not
	members int
	others  int // members that are not known here

	after connectors.Row
}

func (e *envelope) reset() { *e = envelope{} }

// only tells that the event has no members but these.
func (e *envelope) only(members ...int) bool {
	set := uint32(0)
	for _, m := range members {
		set |= 1 << m
	}
	return e.others == 0 && e.set&^set == 0
}

func (e *envelope) has(m int) bool { return e.set&(1<<m) != 0 }

// envelope reads the object at i. The after image becomes a row at once.
func (d *Decoder) envelope(s string, i int, sch *compiled) int {
	e := &d.e
	i, more := js.Open(s, i, '}')
	for k := 0; more; k++ {
		id, at := d.env.Read(s, i, k)
		if at < 0 || at >= len(s) {
			return d.r.Malformed(s, i)
		}
		if id == envSource && s[at] == '{' {
			if i = d.readSource(s, at); i < 0 {
				return -1
			}
			e.text[envSource] = s[at:i]
		} else if id == envAfter && s[at] == '{' {
			var err error
			if e.after, i, err = d.row(s, at, sch, true); err != nil {
				return -1
			}
			e.text[envAfter] = s[at:i]
		} else {
			if i = js.Skip(s, at); i < 0 {
				return d.r.Malformed(s, at)
			}
			if id == envAfter {
				e.after = connectors.Row{}
			}
			if s[at] == 'n' && id != envPayload && id != envSchema {
				e.text[id] = ""
			} else {
				e.text[id] = s[at:i]
			}
		}
		e.members++
		e.set |= 1 << id
		if id == envOther {
			e.others++
		}
		at = i
		if i, more = js.Next(s, i, '}'); i < 0 {
			return d.r.Malformed(s, at)
		}
	}
	return i
}

// row reads a row image.
func (d *Decoder) row(s string, i int, sch *compiled, after bool) (connectors.Row, int, error) {
	var row connectors.Row
	if sch != nil {
		t := sch.before
		if after {
			t = sch.after
		}
		if t == nil {
			d.r.Fail(connectors.ClassMalformed, "the schema sent with the record does not declare this row")
			return row, -1, d.r.Err
		}
		row, i = t.Row(&d.r, s, i)
	} else {
		slot := &d.befSlot
		if after {
			slot = &d.afterSlot
		}
		row, i = d.r.PlainRow(s, i, slot)
	}
	if i < 0 {
		return row, i, d.r.Err
	}
	return row, i, nil
}

// captureTime gives the connector's clock in ns; plain tells that it can be written again from the ns alone.
func (e *envelope) captureTime() (ns int64, plain bool, ok bool) {
	ms, ok1 := integer(e.text[envTsMs])
	us, ok2 := integer(e.text[envTsUs])
	n, ok3 := integer(e.text[envTsNs])
	if !ok1 || !ok2 || !ok3 {
		return 0, false, false
	}
	switch {
	case e.text[envTsNs] != "":
		return n, (e.text[envTsUs] == "" || us == n/1000) && (e.text[envTsMs] == "" || ms == n/1000000), true
	case e.text[envTsUs] != "":
		return times(us, 1000), e.text[envTsMs] == "" || ms == us/1000, true
	}
	return times(ms, 1000000), true, true
}

// times multiplies, and gives 0 (unknown) where int64 does not hold the product.
func times(n, by int64) int64 {
	if n > math.MaxInt64/by || n < math.MinInt64/by {
		return 0
	}
	return n * by
}

// integer reads an integer that may be sent as text. Empty is 0.
func integer(text string) (int64, bool) {
	if text == "" {
		return 0, true
	}
	if text[0] == '"' && len(text) >= 2 {
		text = text[1 : len(text)-1]
	}
	neg := false
	if text != "" && text[0] == '-' {
		neg = true
		text = text[1:]
	}
	if text == "" || len(text) > 19 {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(text); i++ {
		c := text[i] - '0'
		if c > 9 {
			return 0, false
		}
		n = n*10 + uint64(c)
	}
	if neg {
		return -int64(n), n <= 1<<63
	}
	return int64(n), n <= math.MaxInt64
}
