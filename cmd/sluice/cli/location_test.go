package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/delta"
)

func TestLocation(t *testing.T) {
	t.Parallel()
	for target, want := range map[string][2]string{
		"/data/lake/t":                  {"/", "data/lake/t"},
		"/data/lake/t/":                 {"/", "data/lake/t"},
		"file:///data/a?b=c":            {"/", "data/a?b=c"},
		"s3://bucket/lake/t/":           {"s3://bucket", "lake/t"},
		"s3://bucket/lake/t?region=x/y": {"s3://bucket?region=x/y", "lake/t"},
	} {
		if bucket, path := location(target); bucket != want[0] || path != want[1] {
			t.Errorf("%s: %s and %s, want %v", target, bucket, path, want)
		}
	}
}

// TestShallowClone reads a table whose files lie in quite another folder, by their absolute paths.
// TestPathsThatAreNoTables: a path is told apart from a table before the store is asked.
func TestPathsThatAreNoTables(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"missing": "there is nothing at ", "file/below": "there is nothing at ", "file": "is a file; a table is a folder", ".": ""} {
		err := checkLocal(filepath.Join(dir, name))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
}

func TestShallowClone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src, clone := filepath.Join(dir, "a", "source"), filepath.Join(dir, "b", "deep", "er?", "clone")
	if err := makeTable(context.Background(), src); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(clone, "_delta_log"), 0o755); err != nil {
		t.Fatal(err)
	}
	logs, err := filepath.Glob(filepath.Join(src, "_delta_log", "*.json"))
	if err != nil || len(logs) != 3 {
		t.Fatal(logs, err)
	}
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err == nil {
			text = bytes.ReplaceAll(text, []byte(`"path":"part-`), []byte(`"path":"file:`+filepath.ToSlash(src)+`/part-`))
			err = os.WriteFile(filepath.Join(clone, "_delta_log", filepath.Base(name)), text, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) string {
		var out, words strings.Builder
		if code := Main(Streams{In: strings.NewReader(""), Out: &out, Err: &words}, nil, append([]string{"table"}, args...), "test"); code != 0 {
			t.Errorf("%v: exit code %d: %s", args, code, words.String())
		}
		return out.String()
	}
	want := run("cat", src, "--output", "json", "--sort")
	if got := run("cat", clone, "--output", "json", "--sort"); got != want || strings.Count(got, "\n") != 6 {
		t.Errorf("got %s\nwant %s", got, want)
	}
	run("fsck", clone)
	run("vacuum", clone, "--retention", "0s", "--force")
	run("optimize", clone)
	run("vacuum", clone, "--retention", "0s", "--force")
	if got := run("cat", clone, "--output", "json", "--sort"); got != want {
		t.Errorf("optimized: got %s\nwant %s", got, want)
	}
	if got := run("cat", src, "--output", "json", "--sort"); got != want {
		t.Errorf("the source: got %s\nwant %s", got, want)
	}
}

// TestHistoryOfCleanedLog: the commits that are left are listed, also where older ones are gone.
func TestHistoryOfCleanedLog(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "t")
	if err := makeTable(ctx, dir); err != nil {
		t.Fatal(err)
	}
	tab, err := openTable(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	s, err := tab.SnapshotAt(ctx, 1)
	if err == nil {
		_, err = tab.Checkpoint(ctx, s, delta.CheckpointOptions{})
	}
	for v := 0; v < 3 && err == nil; v++ {
		var out strings.Builder
		code := Main(Streams{In: strings.NewReader(""), Out: &out, Err: &out}, nil, []string{"table", "history", dir, "--output", "json"}, "test")
		var got []commitRow
		if err := json.Unmarshal([]byte(out.String()), &got); err != nil || code != 0 || len(got) != 3-v || len(got) > 0 && got[0].Version != 2 {
			t.Errorf("%d commits are gone: exit code %d, %v: %s", v, code, err, out.String())
		}
		err = os.Remove(filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", v)))
	}
	if err != nil {
		t.Fatal(err)
	}
}
