package cdc

import (
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// Finding says which format a record is in.
type Finding struct {
	// Format is a name of a registry, "tombstone" for a record without value, or "" where none is known.
	Format string
	// Encoding is json, json-schema (with embedded Connect schema), registry (a schema registry's framing) or unknown.
	Encoding string
	// Why is a sentence for people.
	Why string
}

// FormatTombstone is the Finding.Format of records that have no value: every format has them.
const FormatTombstone = "tombstone"

const (
	mOther = iota
	mMetadata
	mSpecversion
	mOp
	mSource
	mOpType
	mTable
	mPos
	mIsDDL
	mMysqlType
	mType
	mDatabase
	mTs
	mData
	mDeletedMark
	mOpMark
	mSchema
	mPayload
	mTableChanges
	mStatus
	mID
	mTsMs
	mAggregateType
	mReason
)

var detectNames = []string{"metadata", "specversion", "op", "source", "op_type", "table", "pos", "isDdl", "mysqlType", "type", "database",
	"ts", "data", "__deleted", "__op", "schema", "payload", "tableChanges", "status", "id", "ts_ms", "aggregate_type", "reason"}

// flatHeader is the header by which ExtractNewRecordState says what happened, where add.headers asks for it.
const flatHeader = "__op"

// Detect tells the format of one record by its value and that header alone, by the rules of formats.md section 6: the answer for a
// record is always the same, whatever came before it.
func Detect(rec *connectors.Record) Finding {
	s := strings.TrimPrefix(js.Text(rec.Value), "\uFEFF")
	_, flat := rec.Header(flatHeader)
	none := func(encoding, why string) Finding {
		if flat {
			return Finding{Format: "debezium-flat", Encoding: encoding, Why: why + ", and a header __op is there"}
		}
		return Finding{Format: FormatTombstone, Encoding: encoding, Why: why}
	}
	switch {
	case len(s) == 0:
		return none("json", "there is no value")
	case s[0] <= 1 && len(s) >= 6:
		return Finding{Encoding: "registry", Why: "the first byte is the magic of a schema registry's framing, and those are not asked: let the source write JSON (JsonConverter)"}
	}
	i := js.Space(s, 0)
	if i >= len(s) || s[i] != '{' || !utf8.ValidString(s) {
		if end := js.Null(s, i); end >= 0 && js.Space(s, end) == len(s) {
			return none("json", "the value is the text null")
		}
		return Finding{Encoding: "unknown", Why: "the value is not a JSON object"}
	}
	f := Finding{Encoding: "json"}
	texts, set, n, ok := topMembers(s, i)
	if !ok {
		return Finding{Encoding: "unknown", Why: "the value is not JSON"}
	}
	if n == 2 && set&(1<<mSchema|1<<mPayload) == 1<<mSchema|1<<mPayload {
		if texts[mPayload] == "null" {
			return none("json-schema", "the payload is null")
		}
		if texts[mPayload][0] == '{' {
			f.Encoding = "json-schema"
			if texts, set, n, ok = topMembers(texts[mPayload], 0); !ok {
				return Finding{Encoding: "unknown", Why: "the value is not JSON"}
			}
		}
	}
	has := func(members ...int) bool {
		for _, m := range members {
			if set&(1<<m) == 0 {
				return false
			}
		}
		return true
	}
	object := func(m int) bool { return has(m) && texts[m][0] == '{' }
	switch {
	case object(mMetadata) && strings.Contains(texts[mMetadata], `"record-type"`):
		f.Format, f.Why = "dms", "metadata.record-type is there"
	case has(mSpecversion):
		f.Format, f.Why = "cloudevents", "specversion is there"
	case has(mOp) && object(mSource) && strings.Contains(texts[mSource], `"connector"`):
		f.Format, f.Why = "debezium", "op and source.connector are there"
	case has(mTableChanges), has(mStatus, mID) && (texts[mStatus] == `"BEGIN"` || texts[mStatus] == `"END"`), n == 1 && has(mTsMs), has(mAggregateType, mID, mType) && !has(mData):
		f.Format, f.Why = "debezium", "it has the members of a Debezium control event"
	case has(mOpType, mTable):
		f.Format, f.Why = "goldengate", "op_type and table are there"
	case has(mIsDDL) && (has(mMysqlType) || has(mType)):
		f.Format, f.Why = "canal", "isDdl is there"
	case has(mDatabase, mTable, mType, mTs) && strings.ToLower(texts[mType]) == texts[mType],
		has(mDatabase, mTable, mReason) && n == 3:
		f.Format, f.Why = "maxwell", "database, table, type and ts are there"
	case flat:
		f.Format, f.Why = "debezium-flat", "a header __op is there"
	case has(mOpMark) || has(mDeletedMark):
		f.Format, f.Why = "debezium-flat", "__op or __deleted is there"
	default:
		f.Why = "the members of the value are those of no format that can be told: set cdc.format"
	}
	return f
}

func topMembers(s string, i int) (texts [32]string, set uint32, n int, ok bool) {
	names := js.NewNames(detectNames...)
	i, more := js.Open(s, i, '}')
	for more {
		id, at := names.Read(s, i, n)
		if at < 0 {
			return texts, set, n, false
		}
		if i = js.Skip(s, at); i < 0 {
			return texts, set, n, false
		}
		texts[id] = s[at:i]
		set |= 1 << id
		n++
		if i, more = js.Next(s, i, '}'); i < 0 {
			return texts, set, n, false
		}
	}
	return texts, set, n, js.Space(s, i) == len(s)
}
