package delta

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"sluice.io/sluice/internal/testkit"
)

// unpack extracts a foreign table's archive.
func unpack(tb testing.TB, archive, dir string) {
	tb.Helper()
	f, err := os.Open(archive)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	var r io.Reader
	if strings.HasSuffix(archive, ".zst") {
		z, err := zstd.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		defer z.Close()
		r = z
	} else {
		z, err := gzip.NewReader(f)
		if err != nil {
			tb.Fatal(err)
		}
		r = z
	}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
		p := filepath.Join(dir, filepath.FromSlash(filepath.Clean("/"+h.Name)))
		switch h.Typeflag {
		case tar.TypeDir:
			err = os.MkdirAll(p, 0o777)
		case tar.TypeReg:
			if err = os.MkdirAll(filepath.Dir(p), 0o777); err != nil {
				break
			}
			var out *os.File
			if out, err = os.Create(p); err != nil {
				break
			}
			_, err = io.Copy(out, tr)
			err = errors.Join(err, out.Close(), os.Chtimes(p, h.ModTime, h.ModTime))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}

// tableRoots finds the folders that have a _delta_log.
func tableRoots(tb testing.TB, dir string) []string {
	tb.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == "_delta_log" {
			out = append(out, filepath.Dir(p))
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	slices.Sort(out)
	return out
}

var update = flag.Bool("update", false, "write the expected outcomes anew")

// TestCorpora opens every table of other writers, at its newest version and at each that its log has. The outcomes are the
// lines of testdata/corpora.txt: what the log says, or why the table is refused, which is then what it is there for. The
// rows are compared in connectors/delta/rows.
func TestCorpora(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	var lines []string
	opened, refused := 0, 0
	open := func(archive string) {
		dir := t.TempDir()
		unpack(t, archive, dir)
		for _, root := range tableRoots(t, dir) {
			rel := strings.TrimPrefix(filepath.ToSlash(root), filepath.ToSlash(dir)+"/")
			tab, err := Open(ctx, fileBucket(t, root), "")
			if err != nil {
				refused++
				lines = append(lines, rel+": refused: "+strings.ReplaceAll(err.Error(), "file://"+filepath.ToSlash(root), "TABLE"))
				continue
			}
			opened++
			s := tab.Cached()
			lines = append(lines, rel+": "+describe(s))
			followsItself(t, rel, tab)
		}
	}
	for _, folder := range []string{"corpora/delta-golden", "corpora/delta-kernel"} {
		entries, err := os.ReadDir(testkit.Shared(t, folder))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			open(filepath.Join(testkit.Shared(t, folder), e.Name()))
		}
	}
	open(testkit.Shared(t, "corpora/deltalake-dat-v0.0.3.tar.gz"))
	t.Logf("%d tables opened, %d refused as they should be", opened, refused)
	got := strings.Join(lines, "\n") + "\n"
	if *update {
		if err := os.WriteFile("testdata/corpora.txt", []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("testdata/corpora.txt")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Error(diff)
	}
}

func describe(s *Snapshot) string {
	rows, exact := s.NumRecords()
	n := fmt.Sprint(rows)
	if !exact {
		n = "unknown"
	}
	return fmt.Sprintf("version %d, %d files, %d bytes, %d vectors, rows by statistics %s, %d txns, %d domains, %d columns", s.Version, s.NumFiles(),
		s.SizeBytes(), s.NumDeletionVectors(), n, s.txns.len(), len(s.domains), len(s.Schema().Fields))
}

// followsItself replays the table version by version and compares with snapshots that were read anew: from checkpoints,
// compactions or commits, whichever there are, the state is the same.
func followsItself(t *testing.T, name string, tab *Table) {
	t.Helper()
	ctx := context.Background()
	newest := tab.Cached()
	if newest.NumFiles() > 10_000 {
		return
	}
	var s *Snapshot
	for v := range newest.Version + 1 {
		at, err := OpenAt(ctx, tab.Bucket(), "", v)
		if err != nil {
			s = nil
			continue // the log does not reach back to it, or the version itself is broken
		}
		at.table = tab
		if s != nil {
			a, err := tab.readCommit(ctx, &parser{}, v)
			if err != nil {
				s = nil
				continue
			}
			next, err := s.next(v, a, at.Timestamp)
			if err != nil {
				t.Errorf("%s, version %d: %v", name, v, err)
				return
			}
			// Tombstones may have expired in one and not in the other.
			x, y := liveState(next), liveState(at)
			if diff := cmp.Diff(x, y); diff != "" {
				t.Errorf("%s, version %d: followed and read anew differ: %s", name, v, diff)
				return
			}
		}
		s = at
	}
}

// liveState is state less what may differ by where it was read from: tombstones expire, checkpoints may leave statistics out
// (DAT no_stats, stats_as_struct), and one (DAT) has its schema printed anew.
func liveState(s *Snapshot) []string {
	c := *s
	c.tombs = hamt[*Remove]{}
	e := hamt[*Add]{}.editing(hashAdd)
	for a := range s.Files() {
		x := *a
		x.Stats = ""
		e.set(&x, never)
	}
	c.files = e.done()
	c.Metadata = s.Metadata.Clone()
	c.Metadata.SchemaString = s.Schema().String()
	return slices.DeleteFunc(state(&c), func(l string) bool { return strings.HasPrefix(l, fmt.Sprint(s.Version)+" {") })
}
