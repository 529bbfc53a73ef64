package bronze

import (
	"bytes"
	"context"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/store"
)

// column reads one text column of a file.
func column(t interface{ Fatal(...any) }, b store.Bucket, key, name string) []string {
	ctx := context.Background()
	data, err := b.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	f, err := columnar.OpenFile(ctx, bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	typ := bronzeSchema.Fields[bronzeSchema.Index(name)].Type
	for batch, err := range f.Read(ctx, columnar.ReadOptions{Columns: []string{name}}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(batch.Record.NumRows()) {
			out = append(out, columnar.ValueAt(batch.Record.Column(0), typ, i).Str)
		}
	}
	return out
}
