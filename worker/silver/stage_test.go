package silver_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// A table whose index is far larger than memory is opened anew, and merges find all of its rows: updates and deletes leave as many as there should be.
func TestOpenTableFarLargerThanMemory(t *testing.T) {
	t.Parallel()
	const keys = 5000 // memory has room for 1024
	for _, scd := range []int{1, 2} {
		conf := sinkConfig()
		conf.SilverSCDType = scd
		b, dir := mem.New("lake"), t.TempDir()
		version, offset := int64(0), int64(0)
		merge := func(op connectors.Op, from, to int64, v int64) {
			t.Helper()
			m, err := silver.Open(t.Context(), silver.Options{Bucket: b, Path: "silver/t", Connector: conf.Name, Config: conf, DataDir: dir, IndexMemory: func() int64 { return 0 },
				DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error { return errors.New(l[0].Reason) }})
			if err != nil {
				t.Fatal(err)
			}
			var in []connectors.Change
			for k := from; k < to; k++ {
				offset++
				if op == dOp {
					in = append(in, rec(op, offset, k))
				} else {
					in = append(in, rec(op, offset, k, "a", long(v)))
				}
			}
			res, err := m.Merge(t.Context(), []silver.Batch{{Feed: "bronze/t", Version: version, Changes: in}})
			version++
			if err != nil || !res.Committed {
				t.Fatalf("%+v, %v", res, err)
			}
			if st := m.Stats(); version > 1 && st.IndexDisk == 0 {
				t.Error("the index is not on disk")
			}
			if err := m.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		merge(cOp, 0, keys, 1)
		merge(uOp, 1000, 3000, 2)
		merge(dOp, 2000, 4000, 0)
		var got [3]int
		for _, line := range canonicalRows(t, b, "silver/t") {
			if scd == 1 || strings.Contains(line, `"__END_AT":null`) {
				got[line[strings.Index(line, `"a":`)+4]-'0']++
			}
		}
		if got != [3]int{0, 2000, 1000} {
			t.Errorf("SCD %d: %v rows by value, want 2000 of 1 and 1000 of 2", scd, got)
		}
	}
}
