package delta

import (
	"strings"

	"github.com/apache/arrow/go/v17/parquet"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"
)

// cpPath names a column of a checkpoint as Spark's checkpoints name it. The inner names of maps and lists are the writer's
// choice (delta-rs writes entries for key_value, old Spark bag and array for list and element): what counts is the place.
func cpPath(c *pqschema.Column) string {
	var nodes []pqschema.Node // from the leaf up, the root left out
	for n := c.SchemaNode(); n != nil && n.Parent() != nil; n = n.Parent() {
		nodes = append(nodes, n)
	}
	names := make([]string, 0, len(nodes))
	for i := len(nodes) - 1; i >= 0; i-- {
		names = append(names, nodes[i].Name())
		group, ok := nodes[i].(*pqschema.GroupNode)
		if !ok || i < 2 || group.NumFields() != 1 || nodes[i-1].RepetitionType() != parquet.Repetitions.Repeated {
			continue
		}
		pair, ok := nodes[i-1].(*pqschema.GroupNode)
		switch {
		case !ok:
		case pair.NumFields() == 2 && nodes[i].LogicalType().Equals(pqschema.MapLogicalType{}):
			inner := "key"
			if pair.FieldIndexByName(nodes[i-2].Name()) == 1 {
				inner = "value"
			}
			names = append(names, "key_value", inner)
			i -= 2
		case pair.NumFields() == 1 && nodes[i].LogicalType().Equals(pqschema.ListLogicalType{}):
			names = append(names, "list", "element")
			i -= 2
		}
	}
	return strings.Join(names, ".")
}
