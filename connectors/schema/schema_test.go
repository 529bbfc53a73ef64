package schema

import (
	"errors"
	"testing"
)

func TestSchemaStringRoundTrip(t *testing.T) {
	t.Parallel()
	const s = `{"type":"struct","fields":[` +
		`{"name":"id","type":"long","nullable":false,"metadata":{}},` +
		`{"name":"d","type":"decimal(10,2)","nullable":true,"metadata":{"comment":"<a>","delta.columnMapping.id":9007199254740993}},` +
		`{"name":"a","type":{"type":"array","elementType":{"type":"map","keyType":"string","valueType":"timestamp_ntz","valueContainsNull":true},"containsNull":false},"nullable":true,"metadata":{}},` +
		`{"name":"s","type":{"type":"struct","fields":[{"name":"x","type":"void","nullable":true,"metadata":{}}]},"nullable":true,"metadata":{}}]}`
	got, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != s {
		t.Errorf("printed\n%s\nwant\n%s", got.String(), s)
	}
	if i := got.IndexFold("D"); i != 1 || got.Index("D") != -1 {
		t.Errorf("IndexFold(D) = %d, Index(D) = %d", i, got.Index("D"))
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{``, `"long"`, `{"type":"struct","fields":[{"name":"a","type":"int"}]}`,
		`{"type":"struct","fields":[{"name":"a","type":"decimal(39,1)"}]}`, `{"type":"array"}`, `[]`} {
		if _, err := Parse(s); !errors.Is(err, ErrSyntax) {
			t.Errorf("Parse(%q): %v, want ErrSyntax", s, err)
		}
	}
}
