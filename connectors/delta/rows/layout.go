package rows

import (
	"fmt"
	"strings"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// layout is how the columns of a table lie in its files.
type layout struct {
	schema    schema.Schema
	mapping   columnar.Mapping
	partition []int // indexes of partition columns in schema
	isPart    []bool
}

// MappingOf gives the column mapping of a table.
func MappingOf(m *delta.Metadata) (columnar.Mapping, error) {
	switch mode := m.Configuration[delta.PropColumnMappingMode]; strings.ToLower(mode) {
	case "", "none":
		return columnar.MapNone, nil
	case "name":
		return columnar.MapName, nil
	case "id":
		return columnar.MapID, nil
	default:
		return 0, fmt.Errorf("%w: column mapping mode %q", delta.ErrUnsupported, mode)
	}
}

func layoutOf(s *delta.Snapshot) (*layout, error) {
	return newLayout(s.Schema(), s.Metadata)
}

func newLayout(sc schema.Schema, m *delta.Metadata) (*layout, error) {
	mapping, err := MappingOf(m)
	if err != nil {
		return nil, err
	}
	l := &layout{schema: sc, mapping: mapping, isPart: make([]bool, len(sc.Fields))}
	for _, name := range m.PartitionColumns {
		i := sc.Index(name)
		if i < 0 {
			i = sc.IndexFold(name)
		}
		if i < 0 {
			return nil, fmt.Errorf("partition column %q is not in the table's schema", name)
		}
		l.partition = append(l.partition, i)
		l.isPart[i] = true
	}
	return l, nil
}

// DataSchema gives the columns that a table's data files hold: all but the partition columns.
func DataSchema(s *delta.Snapshot) (schema.Schema, error) {
	l, err := layoutOf(s)
	if err != nil {
		return schema.Schema{}, err
	}
	var out schema.Schema
	for i, f := range l.schema.Fields {
		if !l.isPart[i] {
			out.Fields = append(out.Fields, f)
		}
	}
	return out, nil
}
