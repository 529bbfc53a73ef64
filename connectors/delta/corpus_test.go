package delta

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"sluice.io/sluice/connectors/store/file"
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

func TestTry(t *testing.T) {
	ctx := context.Background()
	for _, glob := range []string{"corpora/delta-golden", "corpora/delta-kernel"} {
		entries, _ := os.ReadDir(testkit.Shared(t, glob))
		for _, e := range entries {
			dir := t.TempDir()
			unpack(t, filepath.Join(testkit.Shared(t, glob), e.Name()), dir)
			for _, root := range tableRoots(t, dir) {
				b, err := file.Open(root)
				if err != nil {
					t.Error(err)
				}
				tab, err := Open(ctx, b, "")
				if err != nil {
					t.Logf("%s: %v", e.Name(), err)
					continue
				}
				s := tab.Cached()
				n, ex := s.NumRecords()
				t.Logf("%s %s v%d cp%d files %d dvs %d rows %d %v", e.Name(), strings.TrimPrefix(root, dir), s.Version, s.checkpoint, s.NumFiles(), s.NumDeletionVectors(), n, ex)
			}
		}
	}
}
