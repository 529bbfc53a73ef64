package corpora

import (
	"bytes"
	"context"
	"encoding/json"
	"path/filepath"
	"reflect"
	"testing"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/internal/testkit"
)

// TestStatisticsAreSparks writes the rows of files of Spark anew and compares the statistics with those that Spark gave.
func TestStatisticsAreSparks(t *testing.T) {
	shared := testkit.Shared(t, "corpora/delta-kernel")
	for _, name := range []string{"stats-writing-all-types", "timestamp-truncation-stats", "mixed-nulls"} {
		dir := t.TempDir()
		unpack(t, filepath.Join(shared, name+".tar.gz"), dir)
		dir = filepath.Join(dir, name)
		if name == "stats-writing-all-types" {
			dir = filepath.Join(dir, "delta")
		}
		s, err := snapshot(dir, -1)
		if err != nil {
			t.Fatal(err)
		}
		sc, err := rows.DataSchema(s)
		if err != nil {
			t.Fatal(err)
		}
		mapping, err := rows.MappingOf(s.Metadata)
		if err != nil {
			t.Fatal(err)
		}
		cols := []string{}
		for _, f := range sc.Fields {
			cols = append(cols, f.Name)
		}
		for a := range s.Files() {
			var buf bytes.Buffer
			w, err := columnar.NewWriter(&buf, sc, columnar.WriterOptions{Mapping: mapping})
			if err != nil {
				t.Fatal(err)
			}
			for b, err := range rows.ReadSingle(context.Background(), s, rows.Single{File: a}, rows.Options{Columns: cols}) {
				if err != nil {
					t.Fatal(err)
				}
				if err := w.Write(b.Record); err != nil {
					t.Fatal(err)
				}
			}
			st, err := w.Close()
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			if err := json.Unmarshal([]byte(st.JSON(false)), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(a.Stats), &want); err != nil {
				t.Fatal(err)
			}
			delete(want, "tightBounds")
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s:\n got %s\nwant %s", name, a.Path, st.JSON(false), a.Stats)
			}
		}
	}
}
