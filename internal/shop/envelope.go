package shop

import (
	"strconv"
	"strings"
)

// version is the connector's version that events show.
const version = "3.7.0.Final"

// capture is how long after the database the connector emits an event, in microseconds.
const capture = 5_321

// schemaTexts are the constant parts of a table's records when the JSON converter embeds schemas.
type schemaTexts struct{ key, value string }

const (
	int64Field   = `{"type":"int64","optional":false,"field":"%s"}`
	int32Field   = `{"type":"int32","optional":false,"field":"%s"}`
	boolField    = `{"type":"boolean","optional":false,"field":"%s"}`
	textField    = `{"type":"string","optional":false,"field":"%s"}`
	textOrNull   = `{"type":"string","optional":true,"field":"%s"}`
	decimalField = `{"type":"bytes","optional":false,"name":"org.apache.kafka.connect.data.Decimal","version":1,"parameters":{"scale":"2","connect.decimal.precision":"12"},"field":"%s"}`
	zonedField   = `{"type":"string","optional":false,"name":"io.debezium.time.ZonedTimestamp","version":1,"field":"%s"}`
	dateOrNull   = `{"type":"int32","optional":true,"name":"io.debezium.time.Date","version":1,"field":"%s"}`

	sourceSchema = `{"type":"struct","fields":[{"type":"string","optional":false,"field":"version"},{"type":"string","optional":false,"field":"connector"},` +
		`{"type":"string","optional":false,"field":"name"},{"type":"int64","optional":false,"field":"ts_ms"},` +
		`{"type":"string","optional":true,"name":"io.debezium.data.Enum","version":1,"parameters":{"allowed":"true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"},"default":"false","field":"snapshot"},` +
		`{"type":"string","optional":false,"field":"db"},{"type":"string","optional":true,"field":"sequence"},{"type":"int64","optional":true,"field":"ts_us"},` +
		`{"type":"int64","optional":true,"field":"ts_ns"},{"type":"string","optional":false,"field":"schema"},{"type":"string","optional":false,"field":"table"},` +
		`{"type":"int64","optional":true,"field":"txId"},{"type":"int64","optional":true,"field":"lsn"},{"type":"int64","optional":true,"field":"xmin"},` +
		`{"type":"string","optional":true,"field":"origin"},{"type":"int64","optional":true,"field":"origin_lsn"}],` +
		`"optional":false,"name":"io.debezium.connector.postgresql.Source","version":1,"field":"source"}`
	transactionSchema = `{"type":"struct","fields":[{"type":"string","optional":false,"field":"id"},{"type":"int64","optional":false,"field":"total_order"},` +
		`{"type":"int64","optional":false,"field":"data_collection_order"}],"optional":true,"name":"event.block","version":1,"field":"transaction"}`
	tailSchema = `{"type":"string","optional":false,"field":"op"},{"type":"int64","optional":true,"field":"ts_ms"},` +
		`{"type":"int64","optional":true,"field":"ts_us"},{"type":"int64","optional":true,"field":"ts_ns"}`
)

func field(form, name string) string { return strings.Replace(form, "%s", name, 1) }

var columnSchemas = [numTables][]string{
	{field(int64Field, "id"), field(textField, "name"), field(textOrNull, "email"), field(textField, "tier"),
		field(decimalField, "credit"), field(zonedField, "since"), field(textOrNull, "notes")},
	{field(int64Field, "id"), field(int64Field, "customer_id"), field(textField, "status"), field(decimalField, "total"),
		field(zonedField, "placed_at"), field(dateOrNull, "shipped_on"), field(boolField, "express")},
	{field(int64Field, "order_id"), field(int32Field, "line_no"), field(textField, "sku"), field(int32Field, "quantity"),
		field(decimalField, "price")},
}

var keyColumns = [numTables]int{1, 1, 2}

func schemasOf(topic string, table int) schemaTexts {
	cols := strings.Join(columnSchemas[table], ",")
	row := func(name string) string {
		return `{"type":"struct","fields":[` + cols + `],"optional":true,"name":"` + topic + `.Value","field":"` + name + `"}`
	}
	return schemaTexts{
		key: `{"type":"struct","fields":[` + strings.Join(columnSchemas[table][:keyColumns[table]], ",") +
			`],"optional":false,"name":"` + topic + `.Key"}`,
		value: `{"type":"struct","fields":[` + row("before") + `,` + row("after") + `,` + sourceSchema + `,` + transactionSchema + `,` +
			tailSchema + `],"optional":false,"name":"` + topic + `.Envelope","version":2}`,
	}
}

// encode makes the record of an event.
func (s *Shop) encode(e *event) Record {
	r := Record{Topic: s.topics[e.Table], Partition: e.Partition, TimestampMs: (e.Micros + capture) / 1000, Headers: []Header{
		{"__debezium.context.connectorLogicalName", []byte(s.opts.Prefix)},
		{"__debezium.context.taskId", []byte("0")},
		{"__debezium.context.connectorName", []byte("postgresql")},
		{"__debezium.context.runId", []byte(s.runID())},
	}}
	if e.Header != "" {
		r.Headers = append([]Header{{e.Header, []byte(e.HeaderVal)}}, r.Headers...)
	}
	if e.Key != "" {
		r.Key = s.wrap(s.schemas[e.Table].key, e.Key)
	}
	switch e.Op {
	case "": // tombstone
	case "!":
		r.Value = []byte(e.Value)
	default:
		r.Value = s.wrap(s.schemas[e.Table].value, s.envelope(e))
	}
	return r
}

// wrap puts the schema around a payload where the converter embeds schemas.
func (s *Shop) wrap(schema, payload string) []byte {
	if !s.opts.Schemas {
		return []byte(payload)
	}
	b := make([]byte, 0, len(schema)+len(payload)+24)
	b = append(b, `{"schema":`...)
	b = append(b, schema...)
	b = append(b, `,"payload":`...)
	b = append(b, payload...)
	return append(b, '}')
}

func orNull(b []byte, image string) []byte {
	if image == "" {
		return append(b, "null"...)
	}
	return append(b, image...)
}

func (s *Shop) envelope(e *event) string {
	b := orNull(append(s.buf[:0], `{"before":`...), e.Before)
	b = orNull(append(b, `,"after":`...), e.After)
	b = append(b, `,"source":{"version":"`+version+`","connector":"postgresql","name":`...)
	b = quote(b, s.opts.Prefix)
	b = strconv.AppendInt(append(b, `,"ts_ms":`...), e.Micros/1000, 10)
	b = append(b, `,"snapshot":"`...)
	if e.Snapshot == "" {
		b = append(b, "false"...)
	} else {
		b = append(b, e.Snapshot...)
	}
	b = append(b, `","db":"shop","sequence":"[`...)
	if e.LastCommit == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, `\"`...)
		b = strconv.AppendUint(b, e.LastCommit, 10)
		b = append(b, `\"`...)
	}
	b = append(b, `,\"`...)
	b = strconv.AppendUint(b, e.LSN, 10)
	b = strconv.AppendInt(append(b, `\"]","ts_us":`...), e.Micros, 10)
	b = strconv.AppendInt(append(b, `,"ts_ns":`...), e.Micros*1000, 10)
	b = append(b, `,"schema":"public","table":"`...)
	b = append(b, tableNames[e.Table]...)
	b = append(b, `","txId":`...)
	b = strconv.AppendInt(b, e.TxID, 10)
	b = append(b, `,"lsn":`...)
	b = strconv.AppendUint(b, e.LSN, 10)
	b = append(b, `,"xmin":null,"origin":null,"origin_lsn":null},"transaction":`...)
	if e.Total == 0 {
		b = append(b, "null"...)
	} else {
		b = append(b, `{"id":"`...)
		b = strconv.AppendInt(b, e.TxID, 10)
		b = append(b, ':')
		b = strconv.AppendUint(b, e.LSN, 10)
		b = append(b, `","total_order":`...)
		b = strconv.AppendInt(b, e.Total, 10)
		b = append(b, `,"data_collection_order":`...)
		b = strconv.AppendInt(b, e.Collection, 10)
		b = append(b, '}')
	}
	b = append(b, `,"op":"`...)
	b = append(b, e.Op...)
	now := e.Micros + capture
	b = strconv.AppendInt(append(b, `","ts_ms":`...), now/1000, 10)
	b = strconv.AppendInt(append(b, `,"ts_us":`...), now, 10)
	b = strconv.AppendInt(append(b, `,"ts_ns":`...), now*1000, 10)
	s.buf = append(b, '}')
	return string(s.buf)
}

// partitionOf is Kafka's default partitioner: murmur2 of the key's bytes.
func partitionOf(key []byte, n int32) int32 {
	const m, r = 0x5bd1e995, 24
	h := uint32(0x9747b28c) ^ uint32(len(key))
	i := 0
	for ; i+4 <= len(key); i += 4 {
		k := uint32(key[i]) | uint32(key[i+1])<<8 | uint32(key[i+2])<<16 | uint32(key[i+3])<<24
		k *= m
		k ^= k >> r
		k *= m
		h *= m
		h ^= k
	}
	switch len(key) - i {
	case 3:
		h ^= uint32(key[i+2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[i+1]) << 8
		fallthrough
	case 1:
		h ^= uint32(key[i])
		h *= m
	}
	h ^= h >> 13
	h *= m
	h ^= h >> 15
	return int32(h&0x7fffffff) % n
}
