package columnar

import (
	"bytes"
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/schema"
)

// rawFile writes columns under any schema, as other writers would.
func rawFile(t *testing.T, rows int64, cols []*parquet.Vector, fields ...*parquet.Node) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := parquet.NewFileWriter(&buf, &parquet.Node{Name: "root", Children: fields}, parquet.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range cols {
		if err := w.Column(i).Write(v); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.FlushRowGroup(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func group(name string, rep parquet.Repetition, l parquet.Logical, kids ...*parquet.Node) *parquet.Node {
	return &parquet.Node{Name: name, Rep: rep, Logical: l, Children: kids}
}

func leaf(name string, rep parquet.Repetition, t parquet.Type) *parquet.Node {
	return &parquet.Node{Name: name, Rep: rep, Type: t}
}

// jsonOf reads a file as a type of one column and gives the values of its rows.
func jsonOf(t *testing.T, data []byte, ty schema.Type) (string, error) {
	t.Helper()
	s := schema.Schema{Fields: []schema.Field{{Name: "c", Type: ty, Nullable: true}}}
	f, err := OpenFile(context.Background(), bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for b, err := range f.Read(context.Background(), ReadOptions{Target: &s}) {
		if err != nil {
			return "", err
		}
		for i := range int(b.Record.NumRows()) {
			l, err := AppendCanonicalJSON(nil, b.Record, s, i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, strings.TrimSuffix(strings.TrimPrefix(string(l), `{"c":`), "}"))
		}
	}
	return strings.Join(out, " "), nil
}

func TestLegacyListsAndMaps(t *testing.T) {
	t.Parallel()
	ints := schema.ArrayOf(schema.Of(schema.Integer))
	structs := schema.ArrayOf(schema.StructOf(schema.Field{Name: "x", Type: schema.Of(schema.Integer), Nullable: true}))
	m := schema.MapOf(schema.Of(schema.Integer), schema.Of(schema.Integer))
	const o, q, r = parquet.Optional, parquet.Required, parquet.Repeated
	// Three rows: [1,2], null, [].
	three := func(top uint8) *parquet.Vector {
		return &parquet.Vector{N: 4, Defs: []uint8{top, top, 0, 1}, Reps: []uint8{0, 1, 0, 0}, Values: 2, W4: []uint32{1, 2}}
	}
	for _, c := range []struct {
		name string
		typ  schema.Type
		want string
		rows int64
		cols []*parquet.Vector
		node *parquet.Node
	}{
		{"three levels", ints, `[1,2] null []`, 3, []*parquet.Vector{three(3)}, group("c", o, parquet.LogicalList, group("list", r, 0, leaf("element", o, parquet.Int32)))},
		{"bag and array", ints, `[1,2] null []`, 3, []*parquet.Vector{three(3)}, group("c", o, parquet.LogicalList, group("bag", r, 0, leaf("array", o, parquet.Int32)))},
		{"two levels", ints, `[1,2] null []`, 3, []*parquet.Vector{three(2)}, group("c", o, parquet.LogicalList, leaf("element", r, parquet.Int32))},
		{"two levels of structs called array", structs, `[{"x":1},{"x":2}] null []`, 3, []*parquet.Vector{three(3)}, group("c", o, parquet.LogicalList, group("array", r, 0, leaf("x", o, parquet.Int32)))},
		{"two levels of structs called tuple", structs, `[{"x":1},{"x":2}] null []`, 3, []*parquet.Vector{three(2)}, group("c", o, parquet.LogicalList, group("c_tuple", r, 0, leaf("x", q, parquet.Int32)))},
		{"two levels of larger structs", structs, `[{"x":1},{"x":2}] null []`, 3, []*parquet.Vector{three(2), three(2)}, group("c", o, parquet.LogicalList, group("list", r, 0, leaf("x", q, parquet.Int32), leaf("y", q, parquet.Int32)))},
		{"a bare repeated field", ints, `[1,2] [] [3]`, 3, []*parquet.Vector{{N: 4, Defs: []uint8{1, 1, 0, 1}, Reps: []uint8{0, 1, 0, 0}, Values: 3, W4: []uint32{1, 2, 3}}}, leaf("c", r, parquet.Int32)},
		{"no annotation", ints, `[1,2] null []`, 3, []*parquet.Vector{three(3)}, group("c", o, 0, group("bag", r, 0, leaf("array_element", o, parquet.Int32)))},
		{"map", m, `[[1,1],[2,2]] null []`, 3, []*parquet.Vector{three(2), three(3)}, group("c", o, parquet.LogicalMap, group("map", r, parquet.LogicalMapKeyValue, leaf("key", q, parquet.Int32), leaf("value", o, parquet.Int32)))},
		{"map of entries", m, `[[1,1],[2,2]] null []`, 3, []*parquet.Vector{three(2), three(2)}, group("c", o, parquet.LogicalMapKeyValue, group("entries", r, 0, leaf("k", q, parquet.Int32), leaf("v", q, parquet.Int32)))},
		{"all members missing", schema.StructOf(schema.Field{Name: "new", Type: ints, Nullable: true}), `{"new":null} null`, 2,
			[]*parquet.Vector{{N: 2, Defs: []uint8{2, 0}, Values: 1, W4: []uint32{1}}}, group("c", o, 0, leaf("old", o, parquet.Int32))},
		{"elements with all members missing", schema.ArrayOf(schema.StructOf(schema.Field{Name: "new", Type: schema.Of(schema.String), Nullable: true})), `[{"new":null},{"new":null}] null []`, 3,
			[]*parquet.Vector{three(3)}, group("c", o, parquet.LogicalList, group("list", r, 0, group("element", q, 0, leaf("old", o, parquet.Int32))))},
		{"another case", schema.Of(schema.Integer), `7`, 1, []*parquet.Vector{{N: 1, Values: 1, W4: []uint32{7}}}, leaf("C", q, parquet.Int32)},
		{"missing", schema.Of(schema.Integer), `null`, 1, []*parquet.Vector{{N: 1, Values: 1, W4: []uint32{7}}}, leaf("d", q, parquet.Int32)},
	} {
		got, err := jsonOf(t, rawFile(t, c.rows, c.cols, c.node), c.typ)
		if err != nil || got != c.want {
			t.Errorf("%s: %s, %v, want %s", c.name, got, err, c.want)
		}
	}
}

func TestWideningAndLegacyEncodings(t *testing.T) {
	t.Parallel()
	dec := func(ty parquet.Type, length, p, s int32) *parquet.Node {
		n := leaf("c", parquet.Required, ty)
		n.Logical, n.Precision, n.Scale, n.TypeLength = parquet.LogicalDecimal, p, s, length
		return n
	}
	logical := func(ty parquet.Type, l parquet.Logical, u parquet.Unit) *parquet.Node {
		n := leaf("c", parquet.Required, ty)
		n.Logical, n.Unit, n.UTC = l, u, true
		return n
	}
	w4 := func(x ...uint32) *parquet.Vector { return &parquet.Vector{N: len(x), Values: len(x), W4: x} }
	w8 := func(x ...uint64) *parquet.Vector { return &parquet.Vector{N: len(x), Values: len(x), W8: x} }
	minus := func(x int32) uint32 { return uint32(x) }
	k := schema.Of
	for _, c := range []struct {
		node *parquet.Node
		v    *parquet.Vector
		typ  schema.Type
		want string // empty: ErrType
	}{
		{leaf("c", 0, parquet.Int32), w4(1, minus(-2)), k(schema.Long), "1 -2"},
		{leaf("c", 0, parquet.Int32), w4(1, minus(-2)), k(schema.Double), "1 -2"},
		{leaf("c", 0, parquet.Int32), w4(1, minus(-2)), schema.DecimalOf(12, 2), `"1.00" "-2.00"`},
		{leaf("c", 0, parquet.Int64), w8(5), schema.DecimalOf(20, 0), `"5"`},
		{leaf("c", 0, parquet.Int32), w4(5), k(schema.Short), "5"},
		{leaf("c", 0, parquet.Int32), w4(70_000), k(schema.Short), ""},
		{leaf("c", 0, parquet.Int64), w8(5), k(schema.Integer), ""},
		{leaf("c", 0, parquet.Float), w4(math.Float32bits(1.5)), k(schema.Double), "1.5"},
		{leaf("c", 0, parquet.Double), w8(math.Float64bits(1.5)), k(schema.Float), ""},
		{logical(parquet.Int32, parquet.LogicalDate, 0), w4(1, minus(-1)), k(schema.TimestampNTZ), `"1970-01-02T00:00:00.000000" "1969-12-31T00:00:00.000000"`},
		{logical(parquet.Int32, parquet.LogicalDate, 0), w4(1), k(schema.Timestamp), ""},
		{logical(parquet.Int64, parquet.LogicalTimestamp, parquet.Millis), w8(1, math.MaxUint64), k(schema.Timestamp), `"1970-01-01T00:00:00.001000Z" "1969-12-31T23:59:59.999000Z"`},
		{logical(parquet.Int64, parquet.LogicalTimestamp, parquet.Millis), w8(math.MaxInt64), k(schema.Timestamp), ""},
		{logical(parquet.Int64, parquet.LogicalTimestamp, parquet.Nanos), w8(1500, math.MaxUint64), k(schema.Timestamp), `"1970-01-01T00:00:00.000001Z" "1969-12-31T23:59:59.999999Z"`},
		{dec(parquet.Int32, 0, 9, 2), w4(12345, minus(-1)), schema.DecimalOf(9, 2), `"123.45" "-0.01"`},
		{dec(parquet.Int32, 0, 9, 2), w4(12345), schema.DecimalOf(12, 4), `"123.4500"`},
		{dec(parquet.Int64, 0, 18, 2), w8(12345), schema.DecimalOf(18, 1), ""},
		{dec(parquet.FixedLenByteArray, 5, 10, 2), &parquet.Vector{N: 2, Values: 2, Data: []byte{0, 0, 0, 0x30, 0x39, 0xff, 0xff, 0xff, 0xff, 0xff}}, schema.DecimalOf(10, 2), `"123.45" "-0.01"`},
		{dec(parquet.ByteArray, 0, 10, 2), &parquet.Vector{N: 2, Values: 2, Offs: []int32{0, 2, 3}, Data: []byte{0x30, 0x39, 0xff}}, schema.DecimalOf(10, 2), `"123.45" "-0.01"`},
		{dec(parquet.ByteArray, 0, 38, 0), &parquet.Vector{N: 1, Values: 1, Offs: []int32{0, 17}, Data: []byte("\x01aaaaaaaaaaaaaaaa")}, schema.DecimalOf(38, 0), ""},
		{leaf("c", 0, parquet.ByteArray), &parquet.Vector{N: 1, Values: 1, Offs: []int32{0, 2}, Data: []byte("ab")}, k(schema.String), `"ab"`},
		{leaf("c", 0, parquet.ByteArray), &parquet.Vector{N: 1, Values: 1, Offs: []int32{0, 2}, Data: []byte("ab")}, k(schema.Binary), `"YWI="`},
		{&parquet.Node{Name: "c", Type: parquet.FixedLenByteArray, TypeLength: 2}, &parquet.Vector{N: 1, Values: 1, Data: []byte("ab")}, k(schema.Binary), `"YWI="`},
		{leaf("c", 0, parquet.ByteArray), &parquet.Vector{N: 1, Values: 1, Offs: []int32{0, 2}, Data: []byte("ab")}, k(schema.Long), ""},
		{leaf("c", 0, parquet.Int32), w4(1), k(schema.Void), `null`},
		{leaf("c", 0, parquet.Int32), w4(1), schema.ArrayOf(k(schema.Integer)), ""},
	} {
		got, err := jsonOf(t, rawFile(t, int64(c.v.N), []*parquet.Vector{c.v}, c.node), c.typ)
		if c.want == "" {
			if !errors.Is(err, ErrType) {
				t.Errorf("%s as %s: %s, %v", c.node.Type, c.typ, got, err)
			}
			continue
		}
		if err != nil || got != c.want {
			t.Errorf("%s as %s: %s, %v, want %s", c.node.Type, c.typ, got, err, c.want)
		}
	}
}

func TestCanonicalNumbers(t *testing.T) {
	t.Parallel()
	for f, want := range map[float64]string{0: "0", math.Copysign(0, -1): "-0", 1: "1", 0.1: "0.1", 1e21: "1e+21", 1e20: "100000000000000000000", 1e-6: "0.000001", 1e-7: "1e-7",
		1.5e-10: "1.5e-10", 1e100: "1e+100", math.NaN(): `"NaN"`, math.Inf(-1): `"-Infinity"`} {
		if got := string(appendECMA(nil, f, 64)); got != want {
			t.Errorf("%v: %s, want %s", f, got, want)
		}
	}
	for days, want := range map[int64]string{0: "1970-01-01", -719528: "0000-01-01", -719529: "-0001-12-31", 2932896: "9999-12-31", 2932897: "+10000-01-01"} {
		if got := string(appendDate(nil, days)); got != want {
			t.Errorf("%d: %s, want %s", days, got, want)
		}
	}
	for s, want := range map[string]string{strings.Repeat("a", 32): strings.Repeat("a", 32), strings.Repeat("a", 33): strings.Repeat("a", 32) + "\x7f",
		strings.Repeat("a", 32) + "ü": strings.Repeat("a", 32) + "\U0010ffff", strings.Repeat("a", 32) + "\U0010ffffb": strings.Repeat("a", 32) + "\U0010ffff\x7f",
		strings.Repeat("\U0010ffff", 70): "", strings.Repeat("\U0010ffff", 40): strings.Repeat("\U0010ffff", 40)} {
		got, ok := truncateMax(s)
		if got != want || ok != (want != "") || ok && got < s {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestTypesOfArrow(t *testing.T) {
	t.Parallel()
	for _, ty := range []schema.Type{schema.Of(schema.Byte), schema.Of(schema.Void), schema.DecimalOf(38, 3), schema.MapOf(schema.Of(schema.String), schema.ArrayOf(schema.Of(schema.TimestampNTZ)))} {
		at, err := ArrowType(ty)
		if err != nil {
			t.Fatal(err)
		}
		back, err := FromArrow(at)
		if err != nil || !back.Equal(ty) {
			t.Errorf("%s is %s is %s: %v", ty, at, back, err)
		}
	}
	if _, err := FromArrow(arrow.FixedWidthTypes.MonthInterval); !errors.Is(err, ErrType) {
		t.Error(err)
	}
}
