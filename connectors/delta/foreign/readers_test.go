package foreign

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/internal/testkit/engines"
)

// reading is one thing to be read of a table, and our own answer.
type reading struct {
	table *table
	what  string
	q     engines.Request
	want  []string
}

// lake makes all tables in a folder, and our own readings of them.
func lake(t *testing.T) (dir string, b store.Bucket, todo []reading) {
	t.Helper()
	dir = t.TempDir()
	b, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	list := tables()
	done := make([][]reading, len(list))
	t.Run("write", func(t *testing.T) {
		for i := range list {
			tab := &list[i]
			t.Run(tab.name, func(t *testing.T) {
				t.Parallel()
				k := newKit(t, b, tab.name, tab.sc, tab.parts, tab.conf, tab.features...)
				tab.fill(k)
				s, err := k.tab.Snapshot(k.ctx)
				k.must(err)
				for f, err := range rows.Fsck(k.ctx, s, rows.FsckOptions{Deep: true}) {
					k.must(err)
					t.Errorf("fsck: %+v", f)
				}
				done[i] = readings(t, b, tab, filepath.Join(dir, tab.name), s)
			})
		}
	})
	return dir, b, slices.Concat(done...)
}

func readings(tb testing.TB, b store.Bucket, tab *table, path string, s *delta.Snapshot) []reading {
	out := []reading{{tab, "newest", engines.Request{Do: "read", Path: path}, ours(tb, b, tab.name, -1, "")}}
	versions := tab.versions
	if tab.all {
		for v := range s.Version {
			versions = append(versions, v)
		}
	}
	for _, v := range versions {
		out = append(out, reading{tab, "version", engines.Request{Do: "read", Path: path, Version: &v}, ours(tb, b, tab.name, v, "")})
	}
	for _, c := range tab.cdf {
		out = append(out, reading{tab, "feed", engines.Request{Do: "read", Path: path, CDF: &c}, oursCDF(tb, b, tab.name, c[0], c[1])})
	}
	for _, w := range tab.where {
		out = append(out, reading{tab, "where", engines.Request{Do: "read", Path: path, Where: w}, ours(tb, b, tab.name, -1, w)})
	}
	return out
}

// can says which kinds of reading an engine offers.
var can = map[string][]string{
	"delta-rs":    {"newest", "version", "feed", "where"},
	"duckdb":      {"newest", "version", "where"},
	"polars":      {"newest", "version"},
	"kernel-java": {"newest", "version"},
	"spark":       {"newest", "version", "feed", "where"},
}

// TestForeignReaders: every table that we write is read by others as we read it.
func TestForeignReaders(t *testing.T) {
	engines.Home(t)
	_, b, todo := lake(t)
	if t.Failed() {
		return
	}
	t.Run("read", func(t *testing.T) {
		for _, name := range []string{"delta-rs", "duckdb", "polars", "kernel-java"} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				compare(t, engines.Start(t, name), todo)
			})
		}
		t.Run("history", func(t *testing.T) {
			t.Parallel()
			e := engines.Start(t, "delta-rs")
			for i := range todo {
				if r := todo[i]; r.what == "newest" && !refuses(r.table, "delta-rs") {
					history(t, e, b, r)
				}
			}
		})
	})
}

func refuses(tab *table, engine string) bool { _, ok := tab.refused[engine]; return ok }

// compare asks an engine for all readings.
func compare(t *testing.T, e *engines.Engine, todo []reading) {
	t.Helper()
	n, equal, refused, seen := 0, 0, 0, map[string]bool{}
	for _, r := range todo {
		if !slices.Contains(can[e.Name], r.what) {
			continue
		}
		what := e.Name + ": " + r.table.name + " " + r.what
		if r.q.Version != nil {
			v, _ := json.Marshal(*r.q.Version)
			what += " " + string(v)
		}
		what += " " + r.q.Where
		got, err := e.Ask(r.q)
		if err != nil && !errors.Is(err, engines.ErrRefused) {
			t.Fatalf("%s: %v", what, err)
		}
		words, mayRefuse := r.table.refused[e.Name]
		switch {
		case mayRefuse && err == nil:
			t.Errorf("%s: it is listed as refused and was read", what)
		case mayRefuse && !strings.Contains(err.Error(), words):
			t.Errorf("%s: refused, but not because of %q: %v", what, words, err)
		case mayRefuse:
			refused++
		case err != nil:
			t.Errorf("%s: %v", what, err)
		case r.what == "feed" && slices.Contains(r.table.wrongFeed, e.Name):
			if slices.Equal(got, r.want) {
				t.Errorf("%s: it is listed as read wrongly, and is right", what)
			}
		case slices.Equal(got, r.want):
			if _, ok := r.table.wrong[e.Name]; ok && r.what == "newest" {
				t.Errorf("%s: it is listed as read wrongly, and is right", what)
			}
			n, equal = n+1, equal+len(got)
			seen[r.table.name] = true
		default:
			if how, ok := r.table.wrong[e.Name]; ok && !slices.ContainsFunc(got, func(l string) bool { return !strings.Contains(l, how) }) {
				continue
			}
			t.Errorf("%s: %d rows, want %d\n%s", what, len(got), len(r.want), firstDifferences(got, r.want))
		}
	}
	t.Logf("FIGURE foreign reader %s: %d tables, %d readings equal (%d rows), %d readings refused as listed", e.Name, len(seen), n, equal, refused)
}

// history compares versions, operations and times.
func history(t *testing.T, e *engines.Engine, b store.Bucket, r reading) {
	t.Helper()
	got, err := e.Ask(engines.Request{Do: "history", Path: r.q.Path})
	if err != nil {
		t.Errorf("history of %s: %v", r.table.name, err)
		return
	}
	tab, err := delta.Open(t.Context(), b, r.table.name)
	if err != nil {
		t.Fatal(err)
	}
	list, err := tab.History(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	var want []string
	for _, h := range list {
		l, err := json.Marshal(map[string]any{"operation": h.Info.Operation, "timestamp": h.Info.Timestamp, "version": h.Version})
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, string(l))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("history of %s\n%s", r.table.name, firstDifferences(got, want))
	}
}

// firstDifferences prints what two sorted lists of lines do not have in common, a few of each.
func firstDifferences(got, want []string) string {
	var b strings.Builder
	for i, j, shown := 0, 0, 0; (i < len(got) || j < len(want)) && shown < 6; {
		switch {
		case j == len(want) || i < len(got) && got[i] < want[j]:
			fmt.Fprintf(&b, "  too much: %.600s\n", got[i])
			i, shown = i+1, shown+1
		case i == len(got) || want[j] < got[i]:
			fmt.Fprintf(&b, "  missing:  %.600s\n", want[j])
			j, shown = j+1, shown+1
		default:
			i, j = i+1, j+1
		}
	}
	return b.String()
}
