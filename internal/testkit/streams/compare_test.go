package streams

import (
	"strings"
	"testing"
)

func ptr(s string) *string { return &s }

func TestCompareTellsDifferences(t *testing.T) {
	t.Parallel()
	table := &Table{Database: "postgresql", PrimaryKey: []string{"id"},
		Columns: []Column{{"id", "integer"}, {"at", "timestamp with time zone"}, {"n", "numeric(10,2)"}, {"day", "date"}, {"raw", "bytea"}, {"tags", "text[]"}},
		Rows: []map[string]*string{
			{"id": ptr("1"), "at": ptr("2026-01-31 23:59:59.5+00"), "n": ptr("1.50"), "day": ptr("2026-01-31"), "raw": ptr("00ff"), "tags": ptr(`{a,NULL,"b,c"}`)},
			{"id": ptr("2"), "at": ptr("infinity"), "n": nil, "day": nil, "raw": nil, "tags": nil},
		}}
	good := []string{
		`{"id":2,"at":null,"n":null,"day":null,"raw":null,"tags":null,"_rescued_data":"{\"at\":\"infinity\"}"}`,
		`{"id":1,"at":"2026-01-31T23:59:59.500000Z","n":"1.5","day":20484,"raw":"AP8=","tags":["a",null,"b,c"],"_cdc_operation":"c"}`,
	}
	if d := table.Compare(good); len(d) > 0 {
		t.Errorf("equal rows differ: %v", d)
	}
	for what, rows := range map[string][]string{
		"missing":  good[:1],
		"too much": append([]string{strings.Replace(good[0], `"id":2`, `"id":3`, 1)}, good...),
		"tags":     {good[0], strings.Replace(good[1], `"b,c"`, `"b"`, 1)},
		"day":      {good[0], strings.Replace(good[1], `20484`, `20485`, 1)},
		"at":       {strings.Replace(good[0], `infinity`, `-infinity`, 1), good[1]},
	} {
		d := strings.Join(table.Compare(rows), "\n")
		if !strings.Contains(d, what) {
			t.Errorf("%s: not told in %q", what, d)
		}
	}
}

func TestCompareWithoutKeyIsAMultiset(t *testing.T) {
	t.Parallel()
	table := &Table{Database: "mariadb", Columns: []Column{{"a", "int(11)"}, {"b", "varchar(20)"}},
		Rows: []map[string]*string{{"a": ptr("1"), "b": ptr("x")}, {"a": ptr("1"), "b": ptr("x")}}}
	if d := table.Compare([]string{`{"a":1,"b":"x"}`, `{"a":1,"b":"x"}`}); len(d) > 0 {
		t.Error(d)
	}
	if d := table.Compare([]string{`{"a":1,"b":"x"}`, `{"a":1,"b":"y"}`}); len(d) != 2 {
		t.Errorf("%q, want one missing and one too much", d)
	}
}
