// Package debezium decodes Debezium's change events in JSON, with and without embedded Connect schemas, of all
// connectors: PostgreSQL, MySQL, MariaDB, SQL Server, Oracle, MongoDB; of others rows are decoded and Kafka offsets
// decide their order.
//
// # How a record is read
//
// Decode finds the schema member by comparing it with those seen before (a prefix of equal bytes needs no parsing),
// then scans the envelope once: spans of before, source, transaction are kept, the after image becomes a Row at once.
// Then the source block gives table, position and times; the record's key and headers give the keys.
//
// # Decisions
//
//   - Positions (pos.go): fixed-width fields of the source, then transaction.total_order, then the sub order delete,
//     read, create. Where a source may give two events of a key one position (PosQuality TieMayHappen), the sub order
//     is left out, so that the Kafka offset decides.
//   - PostgreSQL's sequence pair with a null first element (snapshot, first transaction) takes the second one for it,
//     as incremental snapshots do themselves: so a later snapshot ranks above what was streamed before it.
//   - MariaDB orders by the sequence number of the GTID inside its domain, which survives a fail-over; its snapshot rows
//     have none and rank below every streamed row of the domain.
//   - Lineage is empty where the event does not show it (snapshots): such an event belongs to the newest lineage known.
//   - The placeholder for unavailable values is looked for in events of PostgreSQL, SQL Server, Oracle and unknown
//     connectors; not in snapshot rows, nor in creates without old key whose headers were not stripped: those carry all
//     their values, so a text that looks like the placeholder is one; as it is in the columns of the key.
//   - Values outside their type's range (infinity, years outside 0001–9999, decimals longer than declared) are NULL with
//     their text in Row.Rescued; of timestamps finer than microseconds the rest is cut off (bronze has it).
//   - Without schemas: integers are Long, fractions Double, objects and arrays the JSON text as sent; integers beyond
//     int64 are String; a fraction that float64 cannot hold is also rescued as text. An object of exactly scale and
//     value is a decimal of variable scale: its digits, as String.
//   - Keys: a key that is no object (after ExtractField) is a row of the one column KeyColumn. A key that is not JSON is
//     a dead letter. Variable-scale decimals in keys are canonical (no zeros behind the fraction), in the key's columns of
//     the images too.
//   - A lone surrogate becomes U+FFFD in the column; the text as sent is rescued. Invalid UTF-8 is a dead letter.
//   - MongoDB: fields of the document are columns; ObjectIds are 24 hex digits, nested documents and arrays relaxed
//     extended JSON; the key is the column _id, where a text keeps its quotes ("1004" and 1004 are two keys).
package debezium
