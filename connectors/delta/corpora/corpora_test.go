package corpora

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones, wherever the test runs

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/internal/testkit"
)

var update = flag.Bool("update", false, "write testdata/outcomes.txt anew")

// outcomesFile has a line for each table and version: name@version, tab, outcome, tab, sentence. Outcomes:
//
//	equal    the rows equal those that come with the table
//	rows     no rows come with the table: count and digest of what we read (and for which see the sentence)
//	files    the data files are not there: count of the files that the log gives
//	refused  the table can't be read, with the reason that it is there to provoke
const outcomesFile = "testdata/outcomes.txt"

type outcome struct{ kind, sentence string }

// reasons are parts of the sentence that a refusal must have, by table.
var reasons = map[string]string{
	"golden/deltalog-invalid-protocol-version":              "reader",
	"golden/deltalog-state-reconstruction-without-metadata": "metaData",
	"golden/deltalog-state-reconstruction-without-protocol": "protocol",
	"golden/no-delta-log-folder":                            "not a Delta table",
}

// notes are added to the sentence of a table, where there is something to know about it.
var notes = map[string]string{
	"golden/data-reader-partition-values":                                   "; its partition values are wall clock readings in Los Angeles",
	"golden/update-deleted-directory":                                       "; its metaData has no schema, so the table has no columns",
	"golden/deltalog-commit-info":                                           "; its metaData has no schema, so the table has no columns",
	"golden/deltalog-state-reconstruction-from-checkpoint-missing-metadata": "; the checkpoint has no metaData, so the commits before it were replayed (Spark fails here)",
	"golden/deltalog-state-reconstruction-from-checkpoint-missing-protocol": "; the checkpoint has no protocol, so the commits before it were replayed (Spark fails here)",
}

// zones are where tables were written whose timestamps as partition values have no zone.
var zones = map[string]string{"golden/data-reader-partition-values": "America/Los_Angeles"}

// feeds are the tables whose change data feed is read, from the first version that has one.
var feeds = []string{"dat/cdf", "kernel/cdf-table-update-ops", "kernel/cdf-table-with-cdc-and-dvs", "kernel/cdf-table-with-dv", "kernel/compacted-log-files-table"}

// dirs are where the tables were unpacked.
var dirs = map[string]string{}

func TestCorpora(t *testing.T) {
	shared := testkit.Shared(t, "corpora")
	want := readOutcomes(t)
	got := map[string]outcome{}
	var order []string
	record := func(name string, o outcome) {
		if _, twice := got[name]; twice {
			t.Errorf("%s is there twice", name)
		}
		got[name] = o
		order = append(order, name)
	}
	dir := t.TempDir()
	unpack(t, filepath.Join(shared, "deltalake-dat-v0.0.3.tar.gz"), dir)
	cases, err := filepath.Glob(filepath.Join(dir, "out/reader_tests/generated/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		runDAT(t, "dat/"+filepath.Base(c), c, record)
	}
	for _, corpus := range []string{"golden", "kernel"} {
		archives, err := filepath.Glob(filepath.Join(shared, "delta-"+corpus, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range archives {
			base, _, _ := strings.Cut(filepath.Base(a), ".tar.")
			dir := t.TempDir()
			unpack(t, a, dir)
			runTables(t, corpus+"/"+base, filepath.Join(dir, base), record)
		}
	}
	for _, f := range feeds {
		if d := dirs[f]; d == "" {
			t.Errorf("there is no table %s", f)
		} else {
			record(f+"@changes", readFeed(t, f, d))
		}
	}
	if *update {
		writeOutcomes(t, order, got)
		return
	}
	equal, refused := 0, 0
	for _, name := range order {
		o := got[name]
		if w, ok := want[name]; !ok {
			t.Errorf("%s is not in %s: %s %s", name, outcomesFile, o.kind, o.sentence)
		} else if w != o {
			t.Errorf("%s: %s, %s\n   want %s, %s", name, o.kind, o.sentence, w.kind, w.sentence)
		}
		delete(want, name)
		if o.kind == "refused" {
			refused++
		} else {
			equal++
		}
	}
	for name := range want {
		t.Errorf("%s of %s did not run", name, outcomesFile)
	}
	tables := map[string]bool{}
	for _, name := range order {
		table, _, _ := strings.Cut(name, "@")
		tables[table] = true
	}
	fmt.Printf("corpora: %d tables, %d versions of them: %d read as expected, %d refused with their reason\n", len(tables), len(order), equal, refused)
}

// runDAT checks each version that has expected rows, and reads the others.
func runDAT(t *testing.T, name, dir string, record func(string, outcome)) {
	dirs[name] = filepath.Join(dir, "delta")
	expected, err := filepath.Glob(filepath.Join(dir, "expected", "*"))
	if err != nil {
		t.Fatal(err)
	}
	done := map[int64]bool{}
	for _, e := range expected {
		var meta struct {
			Version          int64 `json:"version"`
			MinReaderVersion int   `json:"min_reader_version"`
			MinWriterVersion int   `json:"min_writer_version"`
			Properties       map[string]string
		}
		b, err := os.ReadFile(filepath.Join(e, "table_version_metadata.json"))
		if err == nil {
			err = json.Unmarshal(b, &meta)
		}
		if err != nil {
			t.Fatal(err)
		}
		if done[meta.Version] {
			continue
		}
		done[meta.Version] = true
		s, err := snapshot(filepath.Join(dir, "delta"), meta.Version)
		if err != nil {
			record(fmt.Sprintf("%s@%d", name, meta.Version), refusal(t, name, dir, err))
			continue
		}
		if s.Protocol.MinReaderVersion != meta.MinReaderVersion || s.Protocol.MinWriterVersion != meta.MinWriterVersion {
			t.Errorf("%s: protocol %+v, want %d/%d", name, s.Protocol, meta.MinReaderVersion, meta.MinWriterVersion)
		}
		for k, v := range meta.Properties {
			if got, _ := s.Property(k); got != v {
				t.Errorf("%s: property %s is %q, want %q", name, k, got, v)
			}
		}
		record(fmt.Sprintf("%s@%d", name, meta.Version), compareRows(t, name, dir, s, filepath.Join(e, "table_content")))
	}
	others(t, name, filepath.Join(dir, "delta"), done, record)
}

// runTables checks the tables of an archive: one, or many in folders.
func runTables(t *testing.T, name, dir string, record func(string, outcome)) {
	if _, err := os.Stat(filepath.Join(dir, "delta")); err == nil {
		if logs, _ := filepath.Glob(filepath.Join(dir, "delta", "*", "_delta_log")); len(logs) > 0 {
			for _, l := range logs {
				one := filepath.Dir(l)
				runTable(t, name+"/"+filepath.Base(one), one, "", record)
			}
			return
		}
		expected := filepath.Join(dir, "expected")
		if _, err := os.Stat(expected); err != nil {
			expected = ""
		}
		runTable(t, name, filepath.Join(dir, "delta"), expected, record)
		return
	}
	runTable(t, name, dir, "", record)
}

func runTable(t *testing.T, name, dir, expected string, record func(string, outcome)) {
	dirs[name] = dir
	s, err := snapshot(dir, -1)
	if err != nil {
		record(name+"@latest", refusal(t, name, dir, err))
		return
	}
	o := outcome{}
	if expected != "" {
		o = compareRows(t, name, dir, s, expected)
	} else {
		o = justRead(t, name, dir, s)
	}
	record(fmt.Sprintf("%s@%d", name, s.Version), o)
	if name != "kernel/300k-add-files-100-col-partitioned" { // once is enough
		others(t, name, dir, map[int64]bool{s.Version: true}, record)
	}
}

// others reads the versions that nothing is expected of.
func others(t *testing.T, name, dir string, done map[int64]bool, record func(string, outcome)) {
	newest, err := snapshot(dir, -1)
	if err != nil {
		return
	}
	for v := int64(0); v <= newest.Version; v++ {
		if done[v] {
			continue
		}
		s, err := snapshot(dir, v)
		if err != nil {
			record(fmt.Sprintf("%s@%d", name, v), refusal(t, name, dir, err))
			continue
		}
		record(fmt.Sprintf("%s@%d", name, v), justRead(t, name, dir, s))
	}
}

// snapshot opens a version of a table; -1: the newest.
func snapshot(dir string, version int64) (*delta.Snapshot, error) {
	b, err := file.Open(dir)
	if err != nil {
		return nil, err
	}
	if version >= 0 {
		return delta.OpenAt(context.Background(), b, "", version)
	}
	table, err := delta.Open(context.Background(), b, "")
	if err != nil {
		return nil, err
	}
	return table.Snapshot(context.Background())
}

// tableLines gives the rows of a snapshot as sorted canonical JSON lines.
func tableLines(s *delta.Snapshot, zone string) ([]string, error) {
	var out []string
	o := rows.Options{BatchRows: 1000}
	if zone != "" {
		loc, err := time.LoadLocation(zone)
		if err != nil {
			return nil, err
		}
		o.Zone = loc
	}
	sc := s.Schema()
	for b, err := range rows.Scan(context.Background(), s, o) {
		if err != nil {
			return nil, err
		}
		for i := range int(b.Record.NumRows()) {
			line, err := columnar.AppendCanonicalJSON(nil, b.Record, sc, i)
			if err != nil {
				return nil, err
			}
			out = append(out, string(line))
		}
	}
	slices.Sort(out)
	return out, nil
}

func digest(lines []string) string {
	h := sha256.New()
	for _, l := range lines {
		h.Write([]byte(l))
		h.Write([]byte{'\n'})
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func rowsSentence(lines []string) string {
	return fmt.Sprintf("%d rows, sha256 %s", len(lines), digest(lines))
}

func compareRows(t *testing.T, name, dir string, s *delta.Snapshot, expected string) outcome {
	got, err := tableLines(s, zones[name])
	if err != nil {
		return refusal(t, name, dir, err)
	}
	want, err := expectedLines(expected, s.Schema())
	if err != nil {
		t.Errorf("%s: expected rows: %v", name, err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s, version %d: %d rows, want %d%s", name, s.Version, len(got), len(want), firstDifference(got, want))
		return outcome{"differs", rowsSentence(got)}
	}
	return outcome{"equal", rowsSentence(got) + notes[name]}
}

func firstDifference(got, want []string) string {
	for i := range max(len(got), len(want)) {
		g, w := "(none)", "(none)"
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			return fmt.Sprintf("\n got %.600s\nwant %.600s", g, w)
		}
	}
	return ""
}

// expectedLines reads Parquet files as the table's schema, whose columns they must have.
func expectedLines(dir string, sc schema.Schema) ([]string, error) {
	var out []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Ext(p) != ".parquet" {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := columnar.OpenFile(context.Background(), bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return err
		}
		own, err := f.Schema()
		if err != nil {
			return err
		}
		if len(own.Fields) != len(sc.Fields) {
			return fmt.Errorf("%d columns, the table has %d", len(own.Fields), len(sc.Fields))
		}
		for _, c := range sc.Fields {
			if own.Index(c.Name) < 0 {
				return fmt.Errorf("no column %s", c.Name)
			}
		}
		for b, err := range f.Read(context.Background(), columnar.ReadOptions{Target: &sc}) {
			if err != nil {
				return err
			}
			for i := range int(b.Record.NumRows()) {
				line, err := columnar.AppendCanonicalJSON(nil, b.Record, sc, i)
				if err != nil {
					return err
				}
				out = append(out, string(line))
			}
		}
		return nil
	})
	slices.Sort(out)
	return out, err
}

// justRead reads a table whose rows are not known; one whose data files are not there gives its files.
func justRead(t *testing.T, name, dir string, s *delta.Snapshot) outcome {
	var files []string
	missing := 0
	for a := range s.Files() {
		files = append(files, a.Path)
		key, err := s.Table().ObjectKey(a.Path)
		if err == nil {
			_, err = os.Stat(filepath.Join(dir, filepath.FromSlash(key)))
		}
		if err != nil {
			missing++
		}
	}
	if missing > 0 {
		slices.Sort(files)
		return outcome{"files", fmt.Sprintf("%d files, sha256 of their paths %s; %d of the data files are not in the archive", len(files), digest(files), missing) + notes[name]}
	}
	lines, err := tableLines(s, zones[name])
	if err != nil {
		return refusal(t, name, dir, err)
	}
	return outcome{"rows", rowsSentence(lines) + notes[name]}
}

// readFeed gives the change rows of a table, without times.
func readFeed(t *testing.T, name, dir string) outcome {
	s, err := snapshot(dir, -1)
	if err != nil {
		return refusal(t, name, dir, err)
	}
	ctx := context.Background()
	from := int64(0)
	for ; from <= s.Version; from++ {
		if at, err := s.Table().SnapshotAt(ctx, from); err == nil && at.PropertyIs(delta.PropEnableCDF) {
			break
		}
	}
	o := cdf.Options{From: from, To: s.Version}
	sc, err := cdf.Schema(s, o)
	if err != nil {
		t.Fatal(err)
	}
	n := len(sc.Fields) - 1
	short := schema.Schema{Fields: sc.Fields[:n]}
	var out []string
	for b, err := range cdf.Read(ctx, s.Table(), o) {
		if err != nil {
			return refusal(t, name, dir, err)
		}
		rec := array.NewRecord(arrow.NewSchema(b.Record.Schema().Fields()[:n], nil), b.Record.Columns()[:n], b.Record.NumRows())
		for i := range int(rec.NumRows()) {
			line, err := columnar.AppendCanonicalJSON(nil, rec, short, i)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(line))
		}
	}
	slices.Sort(out)
	return outcome{"rows", fmt.Sprintf("changes of versions %d to %d: %s", from, s.Version, rowsSentence(out))}
}
