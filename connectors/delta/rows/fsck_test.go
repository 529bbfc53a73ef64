package rows

import (
	"context"
	"slices"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
)

// TestFsckOfFilesElsewhere: files and vectors of a shallow clone that lie in another bucket are told of and stay in the table, and so does a
// file in a form that is not read here; the rest is looked at all the same. Only what is surely gone is taken out.
func TestFsckOfFilesElsewhere(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab := create(t, testSchema, []string{"p"}, nil)
	s := addFile(t, tab.Cached(), "a", 0, 10, nil)
	s = addFile(t, s, "gone", 10, 20, nil)
	a, _ := s.File("a")
	elsewhere := *a
	elsewhere.Path, elsewhere.Written = "s3://elsewhere/t/b", &delta.Written{Size: a.Size, Rows: 10}
	vector := elsewhere
	vector.Path = "s3://elsewhere/t/c"
	c := tab.NewCommit(s)
	c.Append(elsewhere)
	c.Append(vector)
	s = commit(t, c)
	if err := tab.Bucket().Delete(ctx, "t/gone"); err != nil {
		t.Fatal(err)
	}
	look := func(s *delta.Snapshot) (found []Finding, kinds []string) {
		for f, err := range Fsck(ctx, s, FsckOptions{Deep: true}) {
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, f)
			kinds = append(kinds, string(f.Trouble)+" "+f.File)
		}
		slices.Sort(kinds)
		return found, kinds
	}
	found, kinds := look(s)
	if want := []string{"missing-file gone", "unreachable s3://elsewhere/t/b", "unreachable s3://elsewhere/t/c"}; !slices.Equal(kinds, want) {
		t.Fatalf("found %q, want %q", kinds, want)
	}
	out, done := Repair(ctx, s, found)
	if out.Kind != delta.Committed || len(done) != 1 || done[0].File != "gone" || out.Snapshot.NumFiles() != 3 {
		t.Fatalf("repair: %+v, %+v", out, done)
	}
	// A vector of a storage type that is not read here is no reason to stop.
	k := &checker{ctx: ctx, s: out.Snapshot}
	odd := *a
	odd.DeletionVector = &dv.Descriptor{StorageType: "r", PathOrInlineDv: "x", SizeInBytes: 40, Cardinality: 1}
	if err := k.vector(&odd, 10); err != nil || len(k.found) != 1 || k.found[0].Trouble != Unreachable {
		t.Errorf("found %+v, %v", k.found, err)
	}
}
