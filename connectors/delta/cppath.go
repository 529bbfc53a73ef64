package delta

import (
	"slices"
	"strings"

	"sluice.io/sluice/connectors/columnar/parquet"
)

// cpLeaf is a column of a checkpoint file.
type cpLeaf struct {
	node *parquet.Node
	// name is the path as Spark's checkpoints have it. The inner names of maps and lists are the writer's choice (delta-rs writes entries for
	// key_value, old Spark bag and array for list and element): what counts is the place.
	name string
	path []string // as the file has it
}

// cpLeaves gives the columns of a checkpoint file in their order.
func cpLeaves(root *parquet.Node) []cpLeaf {
	var out []cpLeaf
	var walk func(n *parquet.Node, name, path []string)
	walk = func(n *parquet.Node, name, path []string) {
		if n.IsLeaf() {
			out = append(out, cpLeaf{n, strings.Join(name, "."), slices.Clone(path)})
			return
		}
		inner := innerNames(n)
		for _, c := range n.Children {
			path := append(path, c.Name)
			if inner == nil {
				walk(c, append(name, c.Name), path)
				continue
			}
			for i, k := range c.Children {
				walk(k, append(name, inner[i]...), append(path, k.Name))
			}
		}
	}
	for _, c := range root.Children {
		walk(c, []string{c.Name}, []string{c.Name})
	}
	return out
}

// innerNames gives the names below a map or list, one path for each member of its entries; nil for any other group.
func innerNames(n *parquet.Node) [][]string {
	if len(n.Children) != 1 || n.Children[0].Rep != parquet.Repeated {
		return nil
	}
	switch kids := len(n.Children[0].Children); {
	case kids == 2 && n.Logical == parquet.LogicalMap:
		return [][]string{{"key_value", "key"}, {"key_value", "value"}}
	case kids == 1 && n.Logical == parquet.LogicalList:
		return [][]string{{"list", "element"}}
	}
	return nil
}
