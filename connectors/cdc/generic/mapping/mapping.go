// Package mapping reads the JSON object that says where the parts of a change event of any shape lie, the value of
// format.generic.mapping:
//
//	op         {"path": "op", "map": {"I": "insert", …}, "default": "error"}; insert update delete read truncate ignore
//	table      {"path": "tbl", "split": "."} or {"const": "orders"}; split makes schema and table (or database too)
//	key        {"from": "kafka-key"} (default) or {"columns": ["id"]}
//	before     path of the row before, or absent
//	after      path of the row after; "" is the value itself
//	partial    what a column that after leaves out means: "unchanged" (default) or "null"
//	order      [{"path": "scn", "type": "uint"}, …]: the position, field by field; types uint bigint hex lsn string rfc3339
//	lineage    {"path": …} or {"const": …}: which log the position belongs to
//	srcTs      {"path": "when", "unit": "rfc3339"}: s ms us ns rfc3339
//	tx         {"id": path, "totalOrder": path}; without totalOrder several changes may have one position, and the later offset wins
//	tombstone  what a null value means: "delete" (default) or "ignore"
//
// Paths are names joined by dots.
package mapping

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"sluice.io/sluice/connectors"
)

// Key is the setting that holds the mapping.
const Key = "format.generic.mapping"

// Mapping says where the parts of an event lie.
type Mapping struct {
	Op struct {
		Path    string            `json:"path"`
		Map     map[string]string `json:"map"`
		Default string            `json:"default"`
	} `json:"op"`
	Table struct {
		Path  string `json:"path"`
		Const string `json:"const"`
		Split string `json:"split"`
	} `json:"table"`
	Key struct {
		From    string   `json:"from"`
		Columns []string `json:"columns"`
	} `json:"key"`
	Before  *string `json:"before"`
	After   *string `json:"after"`
	Partial string  `json:"partial"`
	Order   []struct {
		Path string `json:"path"`
		Type string `json:"type"`
	} `json:"order"`
	Lineage struct {
		Path  string `json:"path"`
		Const string `json:"const"`
	} `json:"lineage"`
	SrcTs struct {
		Path string `json:"path"`
		Unit string `json:"unit"`
	} `json:"srcTs"`
	Tx struct {
		ID         string `json:"id"`
		TotalOrder string `json:"totalOrder"`
	} `json:"tx"`
	Tombstone string `json:"tombstone"`
}

// Operations are the words of op.map and op.default.
var Operations = map[string]connectors.Op{"insert": connectors.Insert, "update": connectors.Update, "delete": connectors.Delete,
	"read": connectors.Read, "truncate": connectors.Truncate, "ignore": connectors.NoOp}

// Parse reads and checks a mapping. Its errors do not name Key.
func Parse(text string) (*Mapping, error) {
	m := &Mapping{}
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, fmt.Errorf("not the JSON object that it should be: %w", err)
	}
	if m.After == nil {
		return nil, errors.New(`"after" is missing ("" takes the whole value)`)
	}
	for word, op := range m.Op.Map {
		if _, ok := Operations[op]; !ok {
			return nil, fmt.Errorf("op.map gives %q for %q; there are insert, update, delete, read, truncate, ignore", op, word)
		}
	}
	if _, ok := Operations[m.Op.Default]; !ok && m.Op.Default != "" && m.Op.Default != "error" {
		return nil, fmt.Errorf("op.default is %q", m.Op.Default)
	}
	if m.Table.Path == "" && m.Table.Const == "" {
		return nil, errors.New(`"table" needs "path" or "const"`)
	}
	for _, c := range []struct {
		name, value string
		allowed     []string
	}{
		{"key.from", m.Key.From, []string{"", "kafka-key"}}, {"partial", m.Partial, []string{"", "null", "unchanged"}},
		{"tombstone", m.Tombstone, []string{"", "delete", "ignore"}}, {"srcTs.unit", m.SrcTs.Unit, []string{"", "s", "ms", "us", "ns", "rfc3339"}},
	} {
		if !slices.Contains(c.allowed, c.value) {
			return nil, fmt.Errorf("%s is %q; there are %q", c.name, c.value, c.allowed[1:])
		}
	}
	for _, o := range m.Order {
		if !slices.Contains([]string{"uint", "bigint", "hex", "lsn", "string", "rfc3339"}, o.Type) {
			return nil, fmt.Errorf("the type of order %q is %q", o.Path, o.Type)
		}
	}
	return m, nil
}
