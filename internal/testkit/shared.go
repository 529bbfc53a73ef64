// Package testkit holds what tests of several rooms share. Production code never imports it.
package testkit

import (
	"os"
	"path/filepath"
	"testing"
)

// Shared gives the path of name in the folder "shared" beside the repository, where captured streams, samples and
// foreign tables lie. The test is skipped, with a sentence that says so, where that folder is absent; with
// SLUICE_REQUIRE_SHARED=1 (CI) it fails instead.
func Shared(tb testing.TB, name string) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			tb.Fatal("the repository's root (go.mod) is not above the test's folder")
		}
		dir = parent
	}
	path := filepath.Join(filepath.Dir(dir), "shared", name)
	if p := os.Getenv("SLUICE_SHARED"); p != "" {
		path = filepath.Join(p, name)
	}
	if _, err := os.Stat(path); err != nil {
		if os.Getenv("SLUICE_REQUIRE_SHARED") != "" {
			tb.Fatalf("shared/%s is needed here and absent: %v", name, err)
		}
		tb.Skipf("SKIPPED: shared/%s is not beside the repository; this test compares with data that lies there", name)
	}
	return path
}
