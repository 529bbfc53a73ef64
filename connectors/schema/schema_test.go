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

func TestParseTypesOfOtherWriters(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Type{
		`"char(10)"`: Of(String), `"varchar(5)"`: Of(String), `"null"`: Of(Void), `"decimal"`: DecimalOf(10, 0),
		`{"type":"udt","class":"org.apache.spark.ml.linalg.VectorUDT","pyClass":"p","sqlType":{"type":"struct","fields":[{"name":"type","type":"byte","nullable":false,"metadata":{}}]}}`: StructOf(
			Field{Name: "type", Type: Of(Byte)}),
	} {
		got, err := Parse(`{"type":"struct","fields":[{"name":"x","type":` + s + `,"nullable":true,"metadata":{}}]}`)
		if err != nil || !got.Fields[0].Type.Equal(want) {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	var unknown UnknownTypeError
	if _, err := Parse(`{"type":"struct","fields":[{"name":"x","type":"geometry(OGC:CRS84)"}]}`); !errors.As(err, &unknown) || unknown != "geometry(OGC:CRS84)" {
		t.Error(err)
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
