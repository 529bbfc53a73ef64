package rows

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/columnar/parquet"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
)

// variantTable makes a table whose column v is a variant, its files with these members of it.
func variantTable(t *testing.T, members ...schema.Field) *delta.Table {
	t.Helper()
	ctx := context.Background()
	kind := schema.StructOf(members...)
	plain, err := delta.Create(ctx, mem.New("plain"), "t", delta.CreateOptions{Schema: schema.Schema{Fields: []schema.Field{
		{Name: "id", Type: schema.Of(schema.Long)}, {Name: "v", Type: kind, Nullable: true}, {Name: "tail", Type: schema.Of(schema.String), Nullable: true},
	}}, Configuration: map[string]string{delta.PropEnableDVs: "true"}})
	if err != nil {
		t.Fatal(err)
	}
	s, err := plain.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sc := dataSchema(t, s)
	b := columnar.NewBuilder(sc)
	for id := range int64(3) {
		b.AppendInt(0, id)
		v := connectors.NullValue()
		if id != 1 {
			var kids []connectors.Value
			for range members {
				kids = append(kids, connectors.Bytes(string([]byte{1, byte(id)})))
			}
			v = connectors.Nested(schema.Struct, kids)
		}
		if err := b.Append(1, v); err != nil {
			t.Fatal(err)
		}
		b.AppendString(2, "x")
	}
	a, err := WriteFile(ctx, s, "f.parquet", sc, one(b.NewRecord()), WriteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c := plain.NewCommit(s)
	c.Append(a)
	commit(t, c)
	// The same bytes under a log that says what they are.
	to := mem.New("variant")
	for o, err := range plain.Bucket().List(ctx, "t/", "") {
		if err != nil {
			t.Fatal(err)
		}
		raw, err := plain.Bucket().Get(ctx, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(o.Key, ".json") {
			raw = bytes.ReplaceAll(raw, []byte(strings.ReplaceAll(schema.Schema{Fields: members}.String(), `"`, `\"`)), []byte(`\"variant\"`))
			raw = bytes.ReplaceAll(raw, []byte(`"deletionVectors"`), []byte(`"deletionVectors","variantType"`))
		}
		if err := to.PutIfAbsent(ctx, o.Key, raw); err != nil {
			t.Fatal(err)
		}
	}
	tab, err := delta.Open(ctx, to, "t")
	if err != nil {
		t.Fatal(err)
	}
	return tab
}

// TestVariants: variants are read as the two binaries that Parquet has of them; tables with them are not written, and variants whose values lie in columns of their
// own (shredded) are refused, since they would be taken for nothing.
func TestVariants(t *testing.T) {
	ctx := context.Background()
	metadata, value := schema.Field{Name: "metadata", Type: schema.Of(schema.Binary)}, schema.Field{Name: "value", Type: schema.Of(schema.Binary)}
	tab := variantTable(t, metadata, value)
	s, err := tab.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if f := s.Schema().Fields[1]; f.Type.Kind != schema.Variant {
		t.Fatalf("v is %s", f.Type)
	}
	want := []string{`{"id":0,"tail":"x","v":{"metadata":"AQA=","value":"AQA="}}`, `{"id":1,"tail":"x","v":null}`, `{"id":2,"tail":"x","v":{"metadata":"AQI=","value":"AQI="}}`}
	if got := lines(t, s, Options{}); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	c := tab.NewCommit(s)
	c.Info(delta.CommitInfo{Operation: "WRITE"})
	if out := c.Do(ctx); !errors.Is(out.Err, delta.ErrUnsupported) || !strings.Contains(out.Err.Error(), "variantType") {
		t.Errorf("a commit: %v", out.Err)
	}
	for _, members := range [][]schema.Field{{metadata, value, {Name: "typed_value", Type: schema.Of(schema.Binary), Nullable: true}}, {metadata, {Name: "typed_value", Type: schema.Of(schema.Binary), Nullable: true}}} {
		s, err := variantTable(t, members...).Snapshot(ctx)
		if err != nil {
			t.Fatal(err)
		}
		err = nil
		for _, e := range Scan(ctx, s, Options{}) {
			err = e
		}
		if !errors.Is(err, parquet.ErrUnsupported) || !strings.Contains(err.Error(), "shredded") || !strings.Contains(err.Error(), `"v"`) {
			t.Errorf("%d members: %v", len(members), err)
		}
	}
}
