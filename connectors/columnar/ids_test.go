package columnar

import (
	"encoding/json"
	"strconv"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// TestFilesWithoutFieldIDs: a table whose columns are found by id may have files of a writer that knows names only. One id in the file, and ids alone count.
func TestFilesWithoutFieldIDs(t *testing.T) {
	t.Parallel()
	field := func(name, physical string, id int) schema.Field {
		return schema.Field{Name: name, Type: schema.Of(schema.Long), Nullable: true, Metadata: map[string]json.RawMessage{
			KeyPhysicalName: json.RawMessage(strconv.Quote(physical)), KeyColumnID: json.RawMessage(strconv.Itoa(id))}}
	}
	table := schema.Schema{Fields: []schema.Field{field("a", "col-1", 1), field("b", "col-2", 2)}}
	rows := [][]connectors.Value{{connectors.Int(schema.Long, 5), connectors.Int(schema.Long, 6)}}
	plain := schema.Schema{Fields: []schema.Field{{Name: "col-1", Type: schema.Of(schema.Long), Nullable: true}, {Name: "col-2", Type: schema.Of(schema.Long), Nullable: true}}}
	data, _ := writeAll(t, plain, fill(t, plain, rows, 10), WriterOptions{})
	mustEqual(t, rows, readRows(t, data, table, ReadOptions{Target: &table, Mapping: MapID}))
	// With ids: col-2 has the id 3, which the table does not know.
	mixed := schema.Schema{Fields: []schema.Field{field("a", "x", 1), field("b", "col-2", 3)}}
	data, _ = writeAll(t, mixed, fill(t, mixed, rows, 10), WriterOptions{Mapping: MapID})
	mustEqual(t, [][]connectors.Value{{rows[0][0], connectors.NullValue()}}, readRows(t, data, table, ReadOptions{Target: &table, Mapping: MapID}))
}
