package corpora

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// unpack extracts an archive into dir.
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
	} else if r, err = gzip.NewReader(f); err != nil {
		tb.Fatal(err)
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
			var w *os.File
			if w, err = os.Create(p); err == nil {
				if _, err = io.Copy(w, tr); err == nil {
					err = w.Close()
				}
			}
			if err == nil { // time travel by files' times
				err = os.Chtimes(p, h.ModTime, h.ModTime)
			}
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}
