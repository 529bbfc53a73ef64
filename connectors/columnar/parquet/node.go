package parquet

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrCorrupt is wrapped where bytes are not what the format says.
	ErrCorrupt = errors.New("corrupt Parquet")
	// ErrUnsupported is wrapped where a file uses what this package does not read.
	ErrUnsupported = errors.New("unsupported Parquet")
)

// Type is a physical type.
type Type int32

// The physical types, with the numbers of the format.
const (
	Boolean Type = iota
	Int32
	Int64
	Int96
	Float
	Double
	ByteArray
	FixedLenByteArray
)

var typeNames = [...]string{"BOOLEAN", "INT32", "INT64", "INT96", "FLOAT", "DOUBLE", "BYTE_ARRAY", "FIXED_LEN_BYTE_ARRAY"}

// String gives the format's name.
func (t Type) String() string {
	if t >= 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", int32(t))
}

// Repetition says how often a node occurs in its parent.
type Repetition int32

// The repetitions, with the numbers of the format.
const (
	Required Repetition = iota
	Optional
	Repeated
)

// Logical is what a node means: the union of converted and logical types, one vocabulary for both.
type Logical uint8

// The meanings that a reader of tables tells apart.
const (
	NoLogical Logical = iota
	LogicalString
	LogicalMap
	LogicalMapKeyValue // legacy
	LogicalList
	LogicalEnum
	LogicalDecimal
	LogicalDate
	LogicalTime
	LogicalTimestamp
	LogicalInt
	LogicalNull
	LogicalJSON
	LogicalBSON
	LogicalUUID
	LogicalFloat16
	LogicalVariant
	LogicalInterval
)

// Unit is the resolution of a LogicalTime or LogicalTimestamp.
type Unit uint8

// The units.
const (
	Millis Unit = iota
	Micros
	Nanos
)

// Node is a node of a schema. It is immutable once a file is open.
type Node struct {
	Name string
	Rep  Repetition
	// FieldID is 0 with HasFieldID false where there is none.
	FieldID    int32
	HasFieldID bool
	Logical    Logical
	// Precision and Scale belong to LogicalDecimal.
	Precision, Scale int32
	// Unit and UTC (isAdjustedToUTC) belong to LogicalTime and LogicalTimestamp.
	Unit Unit
	UTC  bool
	// BitWidth and Signed belong to LogicalInt.
	BitWidth int8
	Signed   bool

	// Children is nil for a leaf.
	Children []*Node

	// Type and TypeLength (of FixedLenByteArray) belong to a leaf.
	Type       Type
	TypeLength int32

	// MaxDef and MaxRep are the levels of a value of this node that is present; Column is a leaf's number in the file,
	// -1 for a group. Finish sets them.
	MaxDef, MaxRep uint8
	Column         int
	parent         *Node
}

// IsLeaf tells that the node has values.
func (n *Node) IsLeaf() bool { return n.Children == nil }

// Path gives the names from the root, which is left out, with dots.
func (n *Node) Path() string { return strings.Join(n.path(), ".") }

func (n *Node) path() []string {
	if n.parent == nil {
		return nil
	}
	return append(n.parent.path(), n.Name)
}

// Finish sets levels, columns and parents below a root, and gives the leaves in the order of columns.
func Finish(root *Node) ([]*Node, error) {
	var leaves []*Node
	var walk func(n *Node, def, rep, depth int) error
	walk = func(n *Node, def, rep, depth int) error {
		switch {
		case depth == 0: // the root's repetition means nothing
		case n.Rep == Optional:
			def++
		case n.Rep == Repeated:
			def++
			rep++
		}
		if def > 255 || depth > 200 {
			return fmt.Errorf("%w: schema is nested too deeply", ErrUnsupported)
		}
		n.MaxDef, n.MaxRep, n.Column = uint8(def), uint8(rep), -1
		if n.IsLeaf() {
			n.Column = len(leaves)
			leaves = append(leaves, n)
			return nil
		}
		for _, c := range n.Children {
			c.parent = n
			if err := walk(c, def, rep, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(root, 0, 0, 0); err != nil {
		return nil, err
	}
	return leaves, nil
}
