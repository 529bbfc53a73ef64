package rows

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// lawColumn is a column of the tables of TestWhereIsSQL. Its values are drawn from literals, which stand in SQL's order: a place among them tells all
// that comparisons need to know.
type lawColumn struct {
	name     string // as predicates have it
	typ      schema.Type
	literals []string // text as between quotes
}

var longText = strings.Repeat("long", 10)

var lawColumns = []lawColumn{
	{"i", schema.Of(schema.Long), []string{"-9223372036854775808", "-1", "0", "9007199254740992", "9007199254740993", "9223372036854775807"}},
	{"b", schema.Of(schema.Byte), []string{"-128", "0", "127"}},
	{"s", schema.Of(schema.String), []string{"", "%", "A", "a", "a_", "ab", "abc", longText, longText + "_", longText + "z", "ä", "ä%b", "ä\\b", "日本", strings.Repeat("\U0010FFFF", 40)}},
	{"f", schema.Of(schema.Double), []string{"-Infinity", "-0.1", "0", "0.1", "1e300", "Infinity", "NaN"}},
	{"r", schema.Of(schema.Float), []string{"-3.4", "0", "3.4", "NaN"}},
	{"d", schema.DecimalOf(30, 3), []string{"-123456789012345678901234567.891", "0.000", "0.001", "123456789012345678901234567.890", "123456789012345678901234567.891"}},
	{"t", schema.Of(schema.Timestamp), []string{"1883-11-18T12:00:00.000001Z", "1969-12-31T23:59:59.998999Z", "1969-12-31T23:59:59.999001Z", "1969-12-31T23:59:59.999999Z",
		"2024-02-29T00:00:00Z", "2024-02-29T00:00:00.000999Z"}},
	{"day", schema.Of(schema.Date), []string{"0001-01-01", "1582-10-10", "1969-12-31", "2024-02-29", "9999-12-31"}},
	{"flag", schema.Of(schema.Boolean), []string{"false", "true"}},
	{"y", schema.Of(schema.Binary), []string{"", "a", "b"}},
	{"n.i", schema.Of(schema.Integer), []string{"-1", "0", "7"}},
	{"n.s", schema.Of(schema.String), []string{"", "x", "xy", "y"}},
	{"p", schema.Of(schema.Integer), []string{"-2", "10", "9223"}},
	{"q", schema.Of(schema.String), []string{"a/b=%", "x", "xy"}},
}

func lawSchema() schema.Schema {
	var s schema.Schema
	var members []schema.Field
	for _, c := range lawColumns {
		if _, member, ok := strings.Cut(c.name, "."); ok {
			members = append(members, schema.Field{Name: member, Type: c.typ, Nullable: true})
		} else {
			s.Fields = append(s.Fields, schema.Field{Name: c.name, Type: c.typ, Nullable: true})
		}
	}
	s.Fields = append(s.Fields, schema.Field{Name: "n", Type: schema.StructOf(members...), Nullable: true}, schema.Field{Name: "id", Type: schema.Of(schema.Long), Nullable: true})
	return s
}

const null = -1

// lawTable makes a table of random rows, and gives of each row, by its id, the places of its values among the literals; nil where it is deleted.
func lawTable(t *rapid.T) (s *delta.Snapshot, data []map[string]int) {
	sc, conf := lawSchema(), map[string]string{}
	mode := rapid.SampledFrom([]string{"none", "name", "id"}).Draw(t, "mode")
	if mode != "none" {
		var top int
		sc, top = MapColumns(sc, 0, NewName)
		conf = map[string]string{delta.PropColumnMappingMode: mode, delta.PropMaxColumnID: strconv.Itoa(top)}
	}
	s = create(t, sc, []string{"p", "q"}, conf).Cached()
	place := func(c lawColumn) int { return rapid.IntRange(null, len(c.literals)-1).Draw(t, c.name) }
	literal := func(c lawColumn, i int) connectors.Value {
		if i == null {
			return connectors.NullValue()
		}
		v, ok := parseLiteral(c.literals[i], c.typ)
		if !ok {
			t.Fatalf("%s: %q", c.name, c.literals[i])
		}
		return v
	}
	for f := range rapid.IntRange(1, 4).Draw(t, "files") {
		width := rapid.IntRange(0, 2).Draw(t, "width") // a file whose rows are alike has bounds that tell something
		base := map[string]int{}
		for _, c := range lawColumns {
			base[c.name] = place(c)
		}
		data0 := dataSchema(t, s)
		b := columnar.NewBuilder(data0)
		var parts []delta.PartitionValue
		for i, fd := range s.Schema().Fields {
			if fd.Name == "p" || fd.Name == "q" {
				c := lawColumns[slices.IndexFunc(lawColumns, func(c lawColumn) bool { return c.name == fd.Name })]
				text, isNull, err := FormatPartitionValue(literal(c, base[c.name]), c.typ)
				if err != nil {
					t.Fatal(err)
				}
				parts = append(parts, delta.PartitionValue{Name: columnar.PhysicalName(&s.Schema().Fields[i], mappingOf(t, s)), Value: text, Null: isNull})
			}
		}
		n := rapid.IntRange(1, 4).Draw(t, "rows")
		for range n {
			row := map[string]int{}
			whole := rapid.IntRange(0, 3).Draw(t, "struct") > 0
			for _, c := range lawColumns {
				switch row[c.name] = base[c.name]; {
				case c.name == "p" || c.name == "q":
				case !whole && strings.HasPrefix(c.name, "n."):
					row[c.name] = null
				case rapid.IntRange(0, 2).Draw(t, "other") < width:
					row[c.name] = place(c)
				}
			}
			var members []connectors.Value
			at := 0
			for _, c := range lawColumns {
				v := literal(c, row[c.name])
				switch {
				case strings.HasPrefix(c.name, "n."):
					members = append(members, v)
				case c.name == "p" || c.name == "q":
				default:
					if err := b.Append(at, v); err != nil {
						t.Fatal(err)
					}
					at++
				}
			}
			v := connectors.NullValue()
			if whole {
				v = connectors.Nested(schema.Struct, members)
			}
			if err := b.Append(at, v); err != nil {
				t.Fatal(err)
			}
			b.AppendInt(at+1, int64(len(data)))
			data = append(data, row)
		}
		name := fmt.Sprintf("f%d.parquet", f)
		a, err := WriteFile(context.Background(), s, name, data0, one(b.NewRecord()), WriteOptions{Partition: delta.NewPartition(parts...), RowGroupRows: 2})
		if err != nil {
			t.Fatal(err)
		}
		deletes := n > 1 && rapid.Bool().Draw(t, "delete")
		a.Stats = otherStats(t, a.Stats, s, data[len(data)-n:], deletes)
		c := s.Table().NewCommit(s)
		c.Append(a)
		s = commit(t, c)
		if deletes {
			k := rapid.IntRange(0, n-1).Draw(t, "which")
			s = deleteRows(t, s, name, uint64(k))
			data[len(data)-n+k] = nil
		}
	}
	return s, data
}

// otherStats gives statistics that another writer may have written: less of them, and bounds of floats that leave NaN out.
func otherStats(t *rapid.T, text string, s *delta.Snapshot, rows []map[string]int, counted bool) string {
	var stats map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &stats); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"minValues", "maxValues", "nullCount", "numRecords"} {
		if rapid.IntRange(0, 9).Draw(t, "without "+key) == 0 && (key != "numRecords" || !counted) {
			delete(stats, key)
		}
	}
	f := &s.Schema().Fields[s.Schema().Index("f")]
	lo, hi := len(lawColumns[3].literals), null
	for _, r := range rows {
		if i := r["f"]; i > 0 && i < len(lawColumns[3].literals)-2 { // neither NaN nor infinite
			lo, hi = min(lo, i), max(hi, i)
		} else if i == 0 || i == len(lawColumns[3].literals)-2 {
			hi = len(lawColumns[3].literals)
			break
		}
	}
	for key, i := range map[string]int{"minValues": lo, "maxValues": hi} {
		if _, ok := stats[key]; !ok || hi == null || hi == len(lawColumns[3].literals) {
			continue
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(stats[key], &m); err != nil {
			t.Fatal(err)
		}
		m[columnar.PhysicalName(f, mappingOf(t, s))] = json.RawMessage(lawColumns[3].literals[i])
		stats[key], _ = json.Marshal(m)
	}
	out, err := json.Marshal(stats)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// lawPredicate is a condition as SQL's text, and what it is for a row: 1 true, 0 unknown, -1 false.
type lawPredicate struct {
	text string
	of   func(row map[string]int) int
}

func drawPredicate(t *rapid.T, depth int) lawPredicate {
	if depth > 0 {
		switch rapid.IntRange(0, 3).Draw(t, "node") {
		case 0:
			in := drawPredicate(t, depth-1)
			return lawPredicate{"NOT (" + in.text + ")", func(r map[string]int) int { return -in.of(r) }}
		case 1:
			a, b := drawPredicate(t, depth-1), drawPredicate(t, depth-1)
			return lawPredicate{"(" + a.text + " and " + b.text + ")", func(r map[string]int) int { return min(a.of(r), b.of(r)) }}
		case 2:
			a, b := drawPredicate(t, depth-1), drawPredicate(t, depth-1)
			return lawPredicate{"(" + a.text + " OR " + b.text + ")", func(r map[string]int) int { return max(a.of(r), b.of(r)) }}
		}
	}
	return drawComparison(t)
}

func drawComparison(t *rapid.T) lawPredicate {
	c := rapid.SampledFrom(lawColumns).Draw(t, "column")
	draw := func() (int, string) {
		i := rapid.IntRange(0, 2*len(c.literals)).Draw(t, "literal")
		if i == 2*len(c.literals) {
			return null, "NULL"
		}
		i %= len(c.literals)
		return i, "'" + strings.ReplaceAll(c.literals[i], "'", "''") + "'"
	}
	// compared makes of the order of two places what a comparison says, null being unknown.
	compared := func(v, literal int, holds func(v, literal int) bool) int {
		switch {
		case v == null || literal == null:
			return 0
		case holds(v, literal):
			return 1
		}
		return -1
	}
	ops := map[string]func(v, l int) bool{
		"=": func(v, l int) bool { return v == l }, "<>": func(v, l int) bool { return v != l }, "<": func(v, l int) bool { return v < l },
		"<=": func(v, l int) bool { return v <= l }, ">": func(v, l int) bool { return v > l }, ">=": func(v, l int) bool { return v >= l },
	}
	kinds := []string{"=", "<>", "<", "<=", ">", ">=", "IN", "NOT IN", "BETWEEN", "NOT BETWEEN", "IS NULL", "IS NOT NULL"}
	if c.typ.Kind == schema.String {
		kinds = append(kinds, "LIKE", "NOT LIKE", "LIKE", "NOT LIKE")
	}
	if c.typ.Kind == schema.Boolean {
		kinds = append(kinds, "", "")
	}
	kind := rapid.SampledFrom(kinds).Draw(t, "op")
	sign := 1
	if strings.HasPrefix(kind, "NOT ") {
		sign = -1
	}
	switch strings.TrimPrefix(kind, "NOT ") {
	case "":
		return lawPredicate{c.name, func(r map[string]int) int { return compared(r[c.name], 1, ops["="]) }}
	case "IS NULL", "IS NOT NULL":
		return lawPredicate{c.name + " " + kind, func(r map[string]int) int {
			if (r[c.name] == null) == (kind == "IS NULL") {
				return 1
			}
			return -1
		}}
	case "IN":
		var places []int
		var texts []string
		for range rapid.IntRange(1, 3).Draw(t, "list") {
			i, text := draw()
			places, texts = append(places, i), append(texts, text)
		}
		return lawPredicate{fmt.Sprintf("%s %s (%s)", c.name, kind, strings.Join(texts, ", ")), func(r map[string]int) int {
			out := -1
			for _, i := range places {
				out = max(out, compared(r[c.name], i, ops["="]))
			}
			return sign * out
		}}
	case "BETWEEN":
		lo, from := draw()
		hi, to := draw()
		return lawPredicate{fmt.Sprintf("%s %s %s AND %s", c.name, kind, from, to), func(r map[string]int) int {
			return sign * min(compared(r[c.name], lo, ops[">="]), compared(r[c.name], hi, ops["<="]))
		}}
	case "LIKE":
		pattern := strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "%", "_", "x", "y", "ä", "\\", "!%", "!_", longText, "long", "日", "z", "!!"}), 0, 3).Draw(t, "pattern"), "")
		re := "(?s)^"
		for rest := pattern; rest != ""; {
			n := len(string([]rune(rest)[0]))
			switch c := rest[:n]; {
			case c == "!":
				re += regexp.QuoteMeta(rest[1:2])
				n = 2
			case c == "%":
				re += ".*"
			case c == "_":
				re += "."
			default:
				re += regexp.QuoteMeta(c)
			}
			rest = rest[n:]
		}
		match := regexp.MustCompile(re + "$")
		return lawPredicate{fmt.Sprintf("%s %s '%s' ESCAPE '!'", c.name, kind, pattern), func(r map[string]int) int {
			return sign * compared(r[c.name], 0, func(v, _ int) bool { return match.MatchString(c.literals[v]) })
		}}
	}
	i, text := draw()
	return lawPredicate{c.name + " " + kind + " " + text, func(r map[string]int) int { return compared(r[c.name], i, ops[kind]) }}
}

// TestWhereIsSQL: a scan with a predicate, which skips files and row groups by their statistics, gives the rows for which SQL's three-valued logic says
// true, whatever statistics the files have.
func TestWhereIsSQL(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s, data := lawTable(t)
		for range 40 {
			p := drawPredicate(t, 3)
			where, err := ParsePredicate(p.text, s.Schema())
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for id, row := range data {
				if row != nil && p.of(row) > 0 {
					want = append(want, fmt.Sprintf(`{"id":%d}`, id))
				}
			}
			slices.Sort(want)
			got := lines(t, s, Options{Columns: []string{"id"}, Where: where, Parallel: 1})
			if slices.Sort(got); !slices.Equal(got, want) {
				t.Fatalf("%s: got %v, want %v", p.text, got, want)
			}
		}
	})
}

// TestTruths: the sets of outcomes are what all their members give.
func TestTruths(t *testing.T) {
	t.Parallel()
	value := map[truths]int{yes: 1, unknown: 0, no: -1}
	of := map[int]truths{1: yes, 0: unknown, -1: no}
	for a := range truths(8) {
		for b := range truths(8) {
			var and, not truths
			for x, i := range value {
				if a&x == 0 {
					continue
				}
				not |= of[-i]
				for y, k := range value {
					if b&y != 0 {
						and |= of[min(i, k)]
					}
				}
			}
			if a != 0 && b != 0 && a.and(b) != and || a.not() != not {
				t.Errorf("%b and %b: %b, want %b; not %b, want %b", a, b, a.and(b), and, a.not(), not)
			}
		}
	}
}

// TestSkippingReadsNoFile scans a table whose files are gone: a scan that opens one fails.
func TestSkippingReadsNoFile(t *testing.T) {
	t.Parallel()
	s := create(t, testSchema, []string{"p"}, nil).Cached()
	one := 1
	s = addFile(t, s, "a.parquet", 0, 100, nil)
	s = addFile(t, s, "b.parquet", 200, 300, &one)
	for a := range s.Files() {
		key, _ := s.Table().ObjectKey(a.Path)
		if err := s.Table().Bucket().Delete(context.Background(), key); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"id > 299", "id = 150", "p = 2", "id < 100 AND p = 1", "id >= 200 AND p IS NULL", "s.at > '2000-01-01'", "name < 'a'", "id IS NULL",
		"id = 150 OR p = 2", "NOT (id <= 299)", "NOT (id < 500 OR name = 'n1')", "id BETWEEN 100 AND 199", "id NOT BETWEEN 0 AND 299", "id IN (150, 151, NULL)", "id NOT IN (1, NULL)", "id = NULL",
		"name LIKE 'm%'", "name LIKE 'o_x'", "name NOT LIKE 'n%'", "name NOT LIKE '%'", "NOT (name LIKE 'n%' OR id > 0) AND id > 1000", "p NOT IN (1) AND id > 150"} {
		where, err := ParsePredicate(text, testSchema)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range Scan(context.Background(), s, Options{Where: where}) {
			t.Errorf("%s: %v", text, err)
		}
	}
	var trouble []Trouble
	var found []Finding
	for f, err := range Fsck(context.Background(), s, FsckOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		trouble, found = append(trouble, f.Trouble), append(found, f)
	}
	if !slices.Equal(trouble, []Trouble{MissingFile, MissingFile}) {
		t.Errorf("fsck: %v", trouble)
	}
	out, done := Repair(context.Background(), s, found)
	if out.Kind != delta.Committed || len(done) != 2 || out.Snapshot.NumFiles() != 0 {
		t.Errorf("repair: %+v", out)
	}
}

func TestBadPredicates(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"": "ends too soon", "id": "comparison, IN, BETWEEN, LIKE or IS expected", "id = ": "ends too soon", "id = 'x": "not closed", "id = x": `"x" is no long`, "nope = 1": `no column "nope"`,
		"id = 1 OR": "ends too soon", "(id = 1": "( wants )", "id = 1)": `AND or OR expected at ")"`, "id = 1 id = 2": "AND or OR expected", "NOT": "ends too soon", "id NOT = 1": "expected behind id",
		"id IN 1": "IN wants (", "id IN (1": "comma or )", "id IN ()": "expected at", "id BETWEEN 1": "BETWEEN wants AND", "id BETWEEN 1 OR 2": "BETWEEN wants AND", "id LIKE '1%'": "LIKE is for strings",
		"name LIKE": "ends too soon", "name LIKE 'a' ESCAPE '!!'": "one character", "name LIKE 'a!' ESCAPE '!'": "nothing is behind", "name LIKE a": "expected at", "name = NOT": "expected at",
		"s = 1": "can't be compared", "id ~ 1": "expected", "name = x": "literal of string expected", "s.at.x = 1": "no column", "id IS 1": "IS wants NULL", "= 1": "a column expected",
		"id = X'00'": "literal of long", "b = X'0'": "hexadecimal", "b = X'00": "not closed", "`odd.`x = 1": "no column", "n.`nope` = 1": "no column", "n.`in, side = 1": "not closed",
	} {
		if p, err := ParsePredicate(text, testSchema); err == nil {
			t.Errorf("%q is %v", text, p)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", text, err, want)
		}
	}
	p, err := ParsePredicate("`name` = 'it''s' and ID<>-3 oR not id=1", testSchema)
	if want := fmt.Sprint(Or{And{Term{"name", Eq, connectors.Text("it's")}, Term{"ID", Ne, connectors.Int(schema.Long, -3)}}, Not{Term{"id", Eq, connectors.Int(schema.Long, 1)}}}); err != nil || fmt.Sprint(p) != want {
		t.Errorf("%v, %v; want %s", p, err, want)
	}
	s := create(t, testSchema, nil, nil).Cached()
	for _, p := range []Predicate{Term{Column: "nope"}, Not{Term{Column: "s"}}, And{Term{Column: "id", Op: Like}}, Or{Term{Column: "id", Op: 99}}} {
		err := error(nil)
		for _, err = range Scan(context.Background(), s, Options{Where: p}) {
		}
		if err == nil {
			t.Errorf("%v can be asked", p)
		}
	}
}

func TestPredicateNamesAndBytes(t *testing.T) {
	t.Parallel()
	inner := schema.StructOf(schema.Field{Name: "in, side", Type: schema.StructOf(schema.Field{Name: "x`.y", Type: schema.Of(schema.Long)}, schema.Field{Name: "z", Type: schema.Of(schema.Long)})})
	sc := schema.Schema{Fields: []schema.Field{{Name: "n", Type: inner}, {Name: "a.b", Type: inner}, {Name: "b", Type: schema.Of(schema.Binary)}, {Name: "x", Type: schema.Of(schema.Long)},
		{Name: "not", Type: schema.Of(schema.Boolean)}}}
	for text, path := range map[string][]int{
		"n.`in, side`.z = 1": {0, 0, 1}, "`n`.`in, side`.`x``.y` = 1": {0, 0, 0}, "N.`IN, side`.Z>1": {0, 0, 1}, "`a.b`.`in, side`.z IS NULL": {1, 0, 1}, "`x`=1": {3}, "x = 1": {3}, "`not`": {4},
		"`not` = NULL": {4},
	} {
		p, err := ParsePredicate(text, sc)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if c, err := resolve(sc, p.(Term).Column); err != nil || !slices.Equal(c.path, path) {
			t.Errorf("%s: %v, want %v (%v)", text, c, path, err)
		}
	}
	p, err := ParsePredicate("b = X'00fF' AND b != x'' AND b IN ('text', X'C3BC')", sc)
	if want := fmt.Sprint(And{Term{"b", Eq, connectors.Bytes("\x00\xff")}, Term{"b", Ne, connectors.Bytes("")}, In("b", connectors.Bytes("text"), connectors.Bytes("ü"))}); err != nil || fmt.Sprint(p) != want {
		t.Errorf("%v, %v; want %s", p, err, want)
	}
}
