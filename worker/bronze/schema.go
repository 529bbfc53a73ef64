package bronze

import (
	"strconv"

	"sluice.io/sluice/connectors/schema"
)

// Columns of a bronze table, in order. Their numbers are positions in Schema.
const (
	colKafkaKey = iota
	colBefore
	colAfter
	colOperation
	colSourceTs
	colSourceDB
	colSourceSchema
	colSourceTable
	colConnector
	colTopic
	colPartition
	colOffset
	colKafkaTimestamp
	colEventID
	colProcessedAt
	colSource
	colTransaction
	colCaptureTs
	colValueSchema
	colHeaders
	colKafkaValue
	numColumns
)

// Schema is the row type of every bronze table.
//
// A row is one Kafka record. kafka_value holds the record's value only where the other columns cannot give it back: for
// undecodable records (operation is null) and for formats and events of which the columns are not the whole text. A
// tombstone has neither. capture_ts_ns is the connector's clock in nanoseconds. value_schema is the text of the schema
// that came with the value; it is the same in all rows of a table's version, so a dictionary makes it cost nothing.
func Schema() schema.Schema {
	str, lng := schema.Of(schema.String), schema.Of(schema.Long)
	ts, bin := schema.Of(schema.Timestamp), schema.Of(schema.Binary)
	header := schema.StructOf(
		schema.Field{Name: "key", Type: str, Nullable: true},
		schema.Field{Name: "value", Type: bin, Nullable: true},
	)
	types := [numColumns]struct {
		name string
		t    schema.Type
	}{
		colKafkaKey: {"kafka_key", bin}, colBefore: {"before", str}, colAfter: {"after", str}, colOperation: {"operation", str},
		colSourceTs: {"source_ts_ms", lng}, colSourceDB: {"source_db", str}, colSourceSchema: {"source_schema", str},
		colSourceTable: {"source_table", str}, colConnector: {"connector", str}, colTopic: {"topic", str},
		colPartition: {"partition", schema.Of(schema.Integer)}, colOffset: {"offset", lng}, colKafkaTimestamp: {"kafka_timestamp", ts},
		colEventID: {"event_id", str}, colProcessedAt: {"processed_at", ts}, colSource: {"source", str},
		colTransaction: {"transaction", str}, colCaptureTs: {"capture_ts_ns", lng}, colValueSchema: {"value_schema", str},
		colHeaders: {"headers", schema.ArrayOf(header)}, colKafkaValue: {"kafka_value", bin},
	}
	s := schema.Schema{Fields: make([]schema.Field, numColumns)}
	for i, c := range types {
		s.Fields[i] = schema.Field{Name: c.name, Type: c.t, Nullable: true}
	}
	return s
}

// AppID names the txn that holds a partition's next offset (D1).
func AppID(connector, topic string, partition int32) string {
	return "sluice/" + connector + "/" + topic + "/" + strconv.Itoa(int(partition))
}

// TopicAppID names the txn that remembers which topic the offsets belong to: its version is made of Kafka's topic id.
func TopicAppID(connector, topic string) string { return "sluice/" + connector + "/" + topic + "/id" }
