package foreign

import (
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/internal/testkit/engines"
)

// written is a table of ours that others write.
type written struct {
	name     string
	parts    []string
	conf     map[string]string
	features []string
	fill     func(k *kit)
	// refuses are the operations that an engine refuses, as "engine operation", by a part of what it says; "" for all.
	refuses map[string]string
	// spark: Spark writes it too; a few tables have all that matters, and every one takes it half a minute of work.
	spark bool
}

// writtenTables have the columns id, s, d, at, n, local and p.
func writtenTables() []written {
	fill := func(k *kit) {
		k.plain = true
		k.add(20, 0, 1).del(4, 1, 2).add(12, 1, 2)
	}
	feature := map[string]string{"delta-rs append": "", "delta-rs delete": "", "delta-rs update": "", "delta-rs merge": "", "delta-rs optimize": ""}
	return []written{
		{name: "plain", fill: func(k *kit) { k.plain = true; k.add(20, 0, 1).add(12, 1) }},
		{name: "partitioned", parts: []string{"p"}, conf: withDVs(), fill: fill},
		{name: "dv", conf: withDVs(), fill: fill},
		{name: "dv-checkpoint", parts: []string{"p"}, conf: withDVs(), fill: func(k *kit) { fill(k); k.checkpoint(delta.CheckpointV1).del(5, 0, 1) }},
		{name: "dv-checkpoint-v2", conf: withDVs(delta.PropCheckpointPolicy, "v2"), fill: func(k *kit) { fill(k); k.checkpoint(delta.CheckpointV2Parquet).del(5, 0, 1) }},
		{name: "struct-stats", parts: []string{"p"}, conf: withDVs(delta.PropStatsAsStruct, "true", delta.PropStatsAsJSON, "false"),
			fill: func(k *kit) { fill(k); k.checkpoint(delta.CheckpointV1).add(3, 1) }},
		{name: "feed", spark: true, conf: withDVs(delta.PropEnableCDF, "true"), fill: fill},
		{name: "mapping", spark: true, parts: []string{"p"}, conf: withDVs(delta.PropColumnMappingMode, "name"), fill: fill,
			refuses: map[string]string{"delta-rs optimize": ""}},
		{name: "silver", spark: true, parts: []string{"p"}, conf: withDVs(), features: []string{delta.FeatureDomainMetadata}, refuses: feature, fill: func(k *kit) {
			c := k.tab.NewCommit(k.s)
			c.SetDomain("sluice.state", `{"epoch":3}`)
			k.do(c, "WRITE")
			fill(k)
		}},
		{name: "in-commit-timestamps", conf: withDVs(delta.PropEnableICT, "true"), fill: fill, refuses: feature},
	}
}

// operations of a foreign writer, by name, as requests for the table at a path.
var operations = map[string][]struct {
	name string
	make func(path string) engines.Request
}{
	"delta-rs": {
		{"append", func(p string) engines.Request {
			return engines.Request{Do: "append", Path: p, Rows: []map[string]any{{"id": 900, "s": "theirs", "n": 7, "p": "v1"}, {"id": 901, "s": nil, "n": nil, "p": nil}}}
		}},
		{"delete", func(p string) engines.Request {
			return engines.Request{Do: "call", Path: p, Name: "delete", Args: map[string]any{"predicate": "id % 5 = 2"}}
		}},
		{"update", func(p string) engines.Request {
			return engines.Request{Do: "call", Path: p, Name: "update", Args: map[string]any{"predicate": "id % 7 = 3", "updates": map[string]any{"s": "'updated'"}}}
		}},
		{"merge", func(p string) engines.Request {
			return engines.Request{Do: "merge", Path: p, Rows: []map[string]any{{"id": 4, "s": "merged", "p": "v1"}, {"id": 5000, "s": "inserted", "p": "v2"}}}
		}},
		{"optimize", func(p string) engines.Request { return engines.Request{Do: "call", Path: p, Name: "optimize.compact"} }},
		{"vacuum", func(p string) engines.Request {
			return engines.Request{Do: "call", Path: p, Name: "vacuum", Args: map[string]any{"dry_run": true}}
		}},
		{"checkpoint", func(p string) engines.Request { return engines.Request{Do: "call", Path: p, Name: "create_checkpoint"} }},
	},
	"spark": {
		{"append", func(p string) engines.Request {
			return sql("INSERT INTO %s (id, s, n, p) VALUES (900, 'theirs', 7, 'v1'), (901, null, null, null)", p)
		}},
		{"update", func(p string) engines.Request { return sql("UPDATE %s SET s = 'updated' WHERE id %% 7 = 3", p) }},
		{"delete", func(p string) engines.Request { return sql("DELETE FROM %s WHERE id %% 5 = 2", p) }},
		{"merge", func(p string) engines.Request {
			return sql("MERGE INTO %s t USING (SELECT id + 1000 * (id %% 2) AS id FROM VALUES (4), (5), (6), (8), (9) AS v(id)) s ON t.id = s.id "+
				"WHEN MATCHED AND s.id = 8 THEN DELETE WHEN MATCHED THEN UPDATE SET s = 'merged' WHEN NOT MATCHED THEN INSERT (id, s, p) VALUES (s.id, 'inserted', 'v2')", p)
		}},
		{"optimize", func(p string) engines.Request { return sql("OPTIMIZE %s", p) }},
		{"purge", func(p string) engines.Request { return sql("REORG TABLE %s APPLY (PURGE)", p) }},
		{"vacuum", func(p string) engines.Request { return sql("VACUUM %s RETAIN 1000 HOURS DRY RUN", p) }},
	},
}

func sql(text, path string) engines.Request {
	return engines.Request{Do: "sql", SQL: fmt.Sprintf(text, "delta.`"+path+"`")}
}

func TestDeltaRSWrites(t *testing.T) {
	engines.Home(t)
	writers(t, engines.Start(t, "delta-rs"))
}

// writers: what others write to our tables is read by us as they read it, keeps our progress, and we go on writing.
func writers(t *testing.T, e *engines.Engine) {
	t.Helper()
	name := e.Name
	dir := t.TempDir()
	b, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	done, refused := 0, 0
	for _, w := range writtenTables() {
		if name == "spark" && !w.spark {
			continue
		}
		sc := ntzSchema()
		sc.Fields = append(sc.Fields, col("p", of(schema.String)))
		k := newKit(t, b, w.name, sc, w.parts, w.conf, w.features...)
		w.fill(k)
		at := filepath.Join(dir, w.name)
		for _, op := range operations[name] {
			_, err := e.Ask(op.make(at))
			words, mayRefuse := w.refuses[name+" "+op.name]
			switch {
			case mayRefuse && err == nil:
				t.Errorf("%s: %s %s is listed as refused, and was done", w.name, name, op.name)
			case mayRefuse && !strings.Contains(err.Error(), words):
				t.Errorf("%s: %s %s was refused, but not because of %q: %v", w.name, name, op.name, words, err)
			case mayRefuse:
				refused++
				continue
			case err != nil:
				t.Errorf("%s: %s %s: %v", w.name, name, op.name, err)
				continue
			}
			done++
			k.follow(e, at, op.name)
		}
		// A reader that knows nothing of before reads the same.
		if got, want := ours(t, b, w.name, -1, ""), k.read(e, at, "at the end"); !slices.Equal(got, want) {
			t.Errorf("%s: opened anew: %d rows, %s reads %d\n%s", w.name, len(got), name, len(want), firstDifferences(got, want))
		}
	}
	t.Logf("FIGURE foreign writer %s: %d operations on our tables, read and gone on from by us; %d refused as listed", name, done, refused)
}

// read asks the engine for the newest rows.
func (k *kit) read(e *engines.Engine, at, when string) []string {
	k.Helper()
	l, err := e.Ask(engines.Request{Do: "read", Path: at})
	if err != nil {
		k.Fatalf("%s %s: %s can't read it: %v", k.tab.Path(), when, e.Name, err)
	}
	return l
}

// follow compares our reading with the engine's after an operation of its, and writes on; what is written is compared after the next operation.
func (k *kit) follow(e *engines.Engine, at, op string) {
	k.Helper()
	when := "after " + e.Name + "'s " + op
	s, err := k.tab.Snapshot(k.ctx)
	k.must(err)
	k.s = s
	for f, err := range rows.Fsck(k.ctx, s, rows.FsckOptions{Deep: true}) {
		k.must(err)
		k.Errorf("%s %s: fsck: %+v", k.tab.Path(), when, f)
	}
	if got, want := ours(k, k.tab.Bucket(), k.tab.Path(), -1, ""), k.read(e, at, when); !slices.Equal(got, want) {
		k.Errorf("%s %s: %d rows, %s reads %d\n%s", k.tab.Path(), when, len(got), e.Name, len(want), firstDifferences(got, want))
	}
	// D1: our progress is where it was, and moves on from there.
	app := "sluice/test/" + k.tab.Path()
	if got, ok := k.s.Txn(app); !ok || got != int64(k.next) {
		k.Errorf("%s %s: the txn is %d, want %d", k.tab.Path(), when, got, k.next)
	}
	k.add(3, 1)
	if k.s.PropertyIs(delta.PropEnableDVs) {
		k.do(k.delOne(fmt.Sprintf("part-%05d.parquet", k.file-1)), "DELETE")
	}
}

// delOne is a commit that deletes the first row of a file that has no vector.
func (k *kit) delOne(name string) *delta.Commit {
	k.Helper()
	i := slices.IndexFunc(k.files(), func(a *delta.Add) bool { return path.Base(a.Path) == name })
	if i < 0 {
		k.Fatalf("%s: the file %s is gone", k.tab.Path(), name)
	}
	d, _, err := dv.Write(k.ctx, k.tab.Bucket(), k.tab.Path(), []*roaring64.Bitmap{roaring64.BitmapOf(0)})
	k.must(err)
	c := k.tab.NewCommit(k.s)
	c.SetDV(k.files()[i], d[0])
	return c
}
