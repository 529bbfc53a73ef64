package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/testkit"
)

// clocked is a table in memory whose store and writer share a clock.
func clocked(t *testing.T, conf map[string]string) (*Table, *mem.Bucket, *time.Time) {
	t.Helper()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	b := mem.New("x")
	b.SetClock(clock)
	tab, err := Create(context.Background(), b, "t", CreateOptions{Schema: testSchema(), Configuration: conf}, WithClock(clock))
	if err != nil {
		t.Fatal(err)
	}
	return tab, b, &now
}

func appendOne(t *testing.T, tab *Table, name string) *Snapshot {
	t.Helper()
	c := tab.NewCommit(tab.Cached())
	c.Append(testAdd(name, 10))
	out := c.Do(context.Background())
	if out.Err != nil {
		t.Fatal(out.Err)
	}
	return out.Snapshot
}

func TestTimeTravel(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, ict := range []string{"false", "true"} {
		tab, b, now := clocked(t, map[string]string{PropEnableICT: ict})
		start := *now
		for i := range 10 {
			*now = now.Add(time.Hour)
			appendOne(t, tab, fmt.Sprint(i))
		}
		if ict == "true" {
			// The files were copied later: their times say nothing any more.
			*now = now.Add(100 * time.Hour)
			for v := range int64(11) {
				k := tab.key(logDir + versionName(v) + ".json")
				data, err := b.Get(ctx, k)
				if err != nil {
					t.Fatal(err)
				}
				if err := b.Put(ctx, k, data); err != nil {
					t.Fatal(err)
				}
			}
		}
		for offset, want := range map[time.Duration]int64{0: 0, time.Minute: 0, time.Hour: 1, 90 * time.Minute: 1, 10 * time.Hour: 10, 50 * time.Hour: 10} {
			s, err := tab.SnapshotAsOf(ctx, start.Add(offset))
			if err != nil || s.Version != want || int64(s.NumFiles()) != want {
				t.Errorf("ict %s, after %s: version %v, want %d, %v", ict, offset, s, want, err)
			}
		}
		if _, err := tab.VersionAsOf(ctx, start.Add(-time.Second)); !errors.Is(err, ErrVersionNotFound) {
			t.Errorf("before the table: %v", err)
		}
		for _, v := range []int64{11, 1000, -1} {
			if _, err := tab.SnapshotAt(ctx, v); !errors.Is(err, ErrVersionNotFound) {
				t.Errorf("version %d: %v", v, err)
			}
		}
		h, err := tab.History(ctx, 3)
		if err != nil || len(h) != 3 || h[0].Version != 10 || h[2].Version != 8 || h[0].Adds != 1 || h[0].Rows != 10 || h[0].Info.Operation != "WRITE" {
			t.Errorf("history %+v, %v", h, err)
		}
		// A copy of the table: without in-commit timestamps its commits are as old as their files. What history shows leads back.
		for v := range int64(11) {
			k := tab.key(logDir + versionName(v) + ".json")
			data, err := b.Get(ctx, k)
			if err != nil {
				t.Fatal(err)
			}
			*now = now.Add(time.Duration(v%3) * time.Minute)
			if err := b.Put(ctx, k, data); err != nil {
				t.Fatal(err)
			}
		}
		if h, err = tab.History(ctx, 0); err != nil || len(h) != 11 {
			t.Fatal(len(h), err)
		}
		for _, e := range h {
			if got, err := tab.VersionAsOf(ctx, e.Timestamp); err != nil || got != e.Version {
				t.Errorf("ict %s: history says %s for version %d, which is the time of %d: %v", ict, e.Timestamp, e.Version, got, err)
			}
		}
	}
}

func TestGapsAndHints(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, _ := clocked(t, nil)
	for i := range 12 {
		s := appendOne(t, tab, fmt.Sprint(i))
		if i == 5 {
			if _, err := tab.Checkpoint(ctx, s, CheckpointOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	hintKey := tab.key(logDir + "_last_checkpoint")
	for name, text := range map[string]string{"corrupt": `{"version":`, "none": ``, "wrong type": `{"version":"x"}`, "too new": `{"version":11,"size":3}`,
		"far too new": `{"version":9999,"size":3}`, "negative": `{"version":-4}`, "right": `{"version":6,"size":9}`, "old": `{"version":2,"size":9}`} {
		if err := b.Put(ctx, hintKey, []byte(text)); err != nil {
			t.Fatal(err)
		}
		got, err := Open(ctx, b, "t")
		if err != nil {
			t.Errorf("hint %s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(state(tab.Cached()), state(got.Cached())); diff != "" {
			t.Errorf("hint %s: %s", name, diff)
		}
	}
	// Commit 3 is covered by the checkpoint, 8 is not.
	if err := b.Delete(ctx, tab.key(logDir+versionName(3)+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, b, "t"); err != nil {
		t.Error(err)
	}
	if _, err := OpenAt(ctx, b, "t", 4); !errors.Is(err, ErrGap) && !errors.Is(err, ErrVersionNotFound) {
		t.Errorf("version 4 without commit 3: %v", err)
	}
	if err := b.Delete(ctx, tab.key(logDir+versionName(8)+".json")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(ctx, b, "t"); !errors.Is(err, ErrGap) || !strings.Contains(err.Error(), "commit 8 is missing") {
		t.Errorf("gap: %v", err)
	}
}

func TestCorruptLineIsNamed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, _ := clocked(t, nil)
	appendOne(t, tab, "a")
	line := `{"add":{"path":"x","size":1,"partitionValues":{},"modificationTime":1,"dataChange":true}}` + "\n"
	for bad, want := range map[string]string{`{"add":{"path":5}}`: "path must be a string", `{"add":`: "not JSON", `[]`: "must be an object",
		`{"add":{"size":1}}`: "path is missing", `{"txn":{"appId":"a","version":1.5}}`: "integer of 64 bits",
		`{"txn":{"appId":"a","version":99999999999999999999}}`: "integer of 64 bits", `{"add":[]}`: "add must be an object",
		`{"add":{"path":"x","deletionVector":{"storageType":"u","pathOrInlineDv":"x","offset":-1}}}`: "out of range"} {
		if err := b.Put(ctx, tab.key(logDir+versionName(2)+".json"), []byte(line+bad+"\n"+line)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, b, "t")
		var c *CorruptError
		if !errors.As(err, &c) || c.Version != 2 || c.Line != 2 || c.Offset != int64(len(line)) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestUnknownFieldsAndExactNumbers(t *testing.T) {
	t.Parallel()
	text := `{"commitInfo":{"timestamp":1,"operation":"X<&>","operationParameters":{"a":[1,2],"b":"[]"},"isBlindAppend":"maybe","newThing":{}}}
{"futureAction":{"x":1}}

{"txn":{"appId":"ä\u003c","version":9007199254740993,"zzz":null}}
{"add":{"path":"p","partitionValues":{"b":null,"a":"x<y"},"size":9223372036854775807,"modificationTime":0,"dataChange":false,"stats":"{\"numRecords\":9007199254740993}","future":[1],"tags":{"t":null,"u":"1"}}}`
	var p parser
	a, err := p.commit([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e := enc{}
	e.actions(&Actions{Txns: a.Txns, Adds: a.Adds})
	want := `{"txn":{"appId":"ä<","version":9007199254740993}}
{"add":{"path":"p","partitionValues":{"a":"x<y","b":null},"size":9223372036854775807,"modificationTime":0,"dataChange":false,"stats":"{\"numRecords\":9007199254740993}","tags":{"u":"1"}}}
`
	if diff := cmp.Diff(want, string(e.b)); diff != "" {
		t.Error(diff)
	}
	if n, ok := a.Adds[0].NumRecords(); n != 9007199254740993 || !ok {
		t.Error(n)
	}
	ci := a.CommitInfo
	if ci.Operation != "X<&>" || ci.OperationParameters["a"] != "[1,2]" || ci.IsBlindAppend != nil || !strings.Contains(ci.Raw, "newThing") {
		t.Errorf("%+v", ci)
	}
}

// TestValuesAsSparkTakesThem: numbers and booleans where the protocol has text, and whole numbers with a point.
func TestValuesAsSparkTakesThem(t *testing.T) {
	t.Parallel()
	var p parser
	a, err := p.commit([]byte(`{"add":{"path":"p","partitionValues":{"a":5,"b":true,"c":1.50},"size":1.7e3,"modificationTime":1700000000000.0,"dataChange":true,"tags":{"n":1}}}
{"metaData":{"id":"i","schemaString":"","configuration":{"delta.checkpointInterval":10,"delta.appendOnly":true}}}`))
	if err != nil {
		t.Fatal(err)
	}
	add := a.Adds[0]
	if got := add.PartitionValues.String(); got != "a=5/b=true/c=1.50" || add.Size != 1700 || add.ModificationTime != 1700000000000 || add.Tags["n"] != "1" {
		t.Errorf("%s, %+v", got, add)
	}
	if c := a.Metadata.Configuration; c["delta.checkpointInterval"] != "10" || c["delta.appendOnly"] != "true" {
		t.Errorf("%v", c)
	}
}

// TestFormatsAndTypesThatAreNotRead: the table is not corrupt, it needs another engine.
func TestFormatsAndTypesThatAreNotRead(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for meta, want := range map[string]string{
		`"format":{"provider":"orc"},"schemaString":"{\"type\":\"struct\",\"fields\":[]}"`:                                                        `format "orc"`,
		`"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"x\",\"type\":\"geometry(OGC:CRS84)\",\"nullable\":true,\"metadata\":{}}]}"`: `column "x": unknown type "geometry(OGC:CRS84)"`,
	} {
		b := mem.New("x")
		text := `{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}` + "\n" + `{"metaData":{"id":"i",` + meta + `,"partitionColumns":[],"configuration":{}}}`
		if err := b.Put(ctx, "t/_delta_log/"+versionName(0)+".json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(ctx, b, "t"); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "corrupt") {
			t.Error(err)
		}
	}
}

func TestUnknownFeaturesAreNamed(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for proto, want := range map[string]string{
		`{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors","timeTravel9"],"writerFeatures":["deletionVectors","timeTravel9"]}`: "feature timeTravel9 is not supported",
		`{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["variantShredding"],"writerFeatures":["variantShredding"]}`:                           "variantShredding is not supported (Spark with Delta 4.0",
		`{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["catalogManaged"],"writerFeatures":["catalogManaged"]}`:                               "catalog",
		`{"minReaderVersion":4,"minWriterVersion":7}`: "version 4",
	} {
		b := mem.New("x")
		text := `{"protocol":` + proto + "}\n" + `{"metaData":{"id":"i","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[]}","partitionColumns":[],"configuration":{}}}`
		if err := b.Put(ctx, "t/_delta_log/"+versionName(0)+".json", []byte(text)); err != nil {
			t.Fatal(err)
		}
		_, err := Open(ctx, b, "t")
		var u *UnsupportedError
		if !errors.As(err, &u) || !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", proto, err)
		}
	}
}

func TestWriterFeatures(t *testing.T) {
	t.Parallel()
	p7 := func(f ...string) *Protocol {
		return &Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: f}
	}
	meta := func(conf ...string) *Metadata {
		m := &Metadata{Configuration: map[string]string{}}
		for i := 0; i < len(conf); i += 2 {
			m.Configuration[conf[i]] = conf[i+1]
		}
		return m
	}
	field := func(key string) schema.Schema {
		s := testSchema()
		s.Fields[1].Metadata = map[string]json.RawMessage{key: []byte(`"x"`)}
		return s
	}
	for _, tc := range []struct {
		p    *Protocol
		m    *Metadata
		s    schema.Schema
		want string
	}{
		{p7("icebergCompatV1"), meta(), testSchema(), "icebergCompatV1"},
		{p7("somethingNew"), meta(), testSchema(), "somethingNew"},
		{p7(FeatureCheckConstraints), meta("delta.constraints.c", "id > 0"), testSchema(), "check constraint c"},
		{p7(FeatureCheckConstraints), meta(), testSchema(), ""},
		{&Protocol{MinReaderVersion: 1, MinWriterVersion: 3}, meta("delta.constraints.c", "id > 0"), testSchema(), "check constraint c"},
		{p7(FeatureInvariants), meta(), field("delta.invariants"), "column s has an invariant"},
		{p7(FeatureGeneratedColumns), meta(), field("delta.generationExpression"), "column s is generated"},
		{p7(FeatureIdentityColumns), meta(), field("delta.identity.start"), "identity"},
		{p7(FeatureAllowColumnDefaults, FeatureDomainMetadata, FeatureRowTracking, FeatureClustering), meta(), field("CURRENT_DEFAULT"), ""},
	} {
		err := writable(tc.p, tc.m, tc.s)
		if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%v: %v, want %q", tc.p, err, tc.want)
		}
	}
}

func TestAppendOnly(t *testing.T) {
	t.Parallel()
	tab, _, _ := clocked(t, map[string]string{PropAppendOnly: "true"})
	appendOne(t, tab, "a")
	a, _ := tab.Cached().File("a")
	c := tab.NewCommit(tab.Cached())
	c.Remove(a)
	if out := c.Do(context.Background()); !errors.Is(out.Err, ErrAppendOnly) {
		t.Errorf("delete: %v", out.Err)
	}
	c = tab.NewCommit(tab.Cached())
	c.Rearrange()
	c.Remove(a)
	c.Append(testAdd("b", 10))
	if out := c.Do(context.Background()); out.Err != nil {
		t.Errorf("compaction: %v", out.Err)
	}
}

// TestCleanupOfProtectedLog: what is older than the version that is named goes at once, or not at all.
func TestCleanupOfProtectedLog(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for before, keep := range map[string]int64{"25": 25, "26": -1, "0": 25, "3": 25, "": 25, "x": -2} {
		tab, _, now := clocked(t, map[string]string{PropLogRetention: "interval 2 days", PropCheckpointInterval: "5"})
		var s *Snapshot
		for i := range 40 {
			*now = now.Add(6 * time.Hour)
			s = appendOne(t, tab, fmt.Sprint(i))
			if _, err := tab.Upkeep(ctx, s, UpkeepOptions{KeepAllLogs: true}); err != nil {
				t.Fatal(err)
			}
		}
		meta := *s.Metadata
		meta.Configuration = maps.Clone(meta.Configuration)
		if before != "" {
			meta.Configuration[PropProtectedBefore] = before
		}
		s.Protocol, s.Metadata = &Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{FeatureCheckpointProtection}}, &meta
		plan, err := tab.PlanCleanup(ctx, s, *now)
		if (err != nil) != (keep == -2) || err == nil && (plan.Keep != keep || (len(plan.Delete) > 0) != (keep > 0)) {
			t.Errorf("before %q: %d, %d files, %v; want %d", before, plan.Keep, len(plan.Delete), err, keep)
		}
		if err := s.CheckWritable(); err != nil {
			t.Error(err)
		}
	}
}

func TestCleanup(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	tab, b, now := clocked(t, map[string]string{PropLogRetention: "interval 2 days", PropCheckpointInterval: "5", PropCheckpointPolicy: "v2"})
	for i := range 40 {
		*now = now.Add(6 * time.Hour)
		s := appendOne(t, tab, fmt.Sprint(i))
		if _, err := tab.Upkeep(ctx, s, UpkeepOptions{Checksum: true}); err != nil {
			t.Fatal(err)
		}
		got, err := Open(ctx, b, "t")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(state(s), state(got.Cached())); diff != "" {
			t.Fatal(diff)
		}
	}
	l, err := tab.list(ctx, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Four commits a day: version 30 is of the midnight two days before version 40, which is the cut, 25 is older.
	if l.first != 25 || len(l.checkpoints) != 4 || l.checkpoints[3].version != 25 {
		t.Errorf("the log begins at %d, checkpoints %+v", l.first, l.checkpoints)
	}
	if s, err := OpenAt(ctx, b, "t", 31); err != nil || s.NumFiles() != 31 {
		t.Errorf("version 31: %v", err)
	}
	if _, err := OpenAt(ctx, b, "t", 20); !errors.Is(err, ErrVersionNotFound) {
		t.Errorf("version 20: %v", err)
	}
	n := 0
	for _, err := range b.List(ctx, tab.key(logDir+"_sidecars/"), "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 4 {
		t.Errorf("%d sidecars", n)
	}
	// A reader that has slept must not take the cleaned-up log for a quiet one.
	old, err := OpenAt(ctx, b, "t", 30)
	if err != nil {
		t.Fatal(err)
	}
	sleeper := newTable(b, "t", []Option{WithClock(func() time.Time { return *now })})
	s := *old
	s.Version, s.table = 12, sleeper
	sleeper.cached.Store(&cachedSnapshot{Snapshot: &s, verified: now.Add(-5 * 24 * time.Hour)})
	if got, err := sleeper.Snapshot(ctx); err != nil || got.Version != 40 {
		t.Errorf("the sleeper is at %v, %v", got, err)
	}
}

func TestChecksum(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	b := mem.New("x")
	tab := busyTable(t, b)
	if err := tab.WriteChecksum(ctx, tab.Cached(), "id"); err != nil {
		t.Fatal(err)
	}
	if err := tab.WriteChecksum(ctx, tab.Cached(), "other"); err != nil { // never overwritten
		t.Fatal(err)
	}
	c, err := tab.ReadChecksum(ctx, tab.Cached().Version)
	if err != nil || c.TxnID != "id" || *c.NumDeletionVectors != 3 || *c.NumDeletedRecords != 6 || c.NumFiles != 23 {
		t.Fatalf("%+v, %v", c, err)
	}
	if d := c.Compare(tab.Cached()); len(d) != 0 {
		t.Error(d)
	}
	c.NumFiles++
	c.SetTransactions[0].Version++
	if d := c.Compare(tab.Cached()); len(d) != 2 {
		t.Error(d)
	}
	// Older writers left protocol and metadata out.
	for text, differences := range map[string]int{`{"tableSizeBytes":%d,"numFiles":%d,"numMetadata":1,"numProtocol":1,"numTransactions":0}`: 0, `{"tableSizeBytes":1%d,"numFiles":1%d}`: 2} {
		old, err := parseChecksum(fmt.Appendf(nil, text, tab.Cached().SizeBytes(), tab.Cached().NumFiles()))
		if err != nil {
			t.Fatal(err)
		}
		if d := old.Compare(tab.Cached()); len(d) != differences {
			t.Error(d)
		}
	}
	dir := t.TempDir()
	unpack(t, testkit.Shared(t, "corpora/delta-kernel/crc-full.tar.gz"), dir)
	full, err := Open(ctx, fileBucket(t, filepath.Join(dir, "crc-full")), "")
	if err != nil {
		t.Fatal(err)
	}
	c, err = full.ReadChecksum(ctx, 0)
	if err != nil || c.NumFiles != 10 || c.TableSizeBytes != 5259 || len(c.SetTransactions) != 2 || len(c.Domains) != 3 {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestObjectKey(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ bucket, table, path, want string }{
		{"file:///lake", "t", "a%20b/c+d%2525.parquet", "t/a b/c+d%25.parquet"},
		{"file:///lake", "", "x", "x"},
		{"file:///lake", "t", "file:/lake/o/x%20y", "o/x y"},
		{"file:///lake", "t", "file:///lake/o/x", "o/x"},
		{"file:///lake", "t", "/lake/o/x", "o/x"},
		{"file:///lake", "t", "/other/x", ""},
		{"file:///", "lake/t", "file:/other/x", "other/x"},
		{"file:///", "lake/t", "file:///lake/t/x", "lake/t/x"},
		{"file:///", "lake/t", "x", "lake/t/x"},
		{"file:///lake", "t", "../o/x", "o/x"},
		{"file:///lake", "t", "../../x", ""},
		{"s3://b/p", "t", "s3://b/p/u/x", "u/x"},
		{"s3://b/p", "t", "s3a://b/p/u/x", "u/x"},
		{"s3://b/p", "t", "s3://c/x", ""},
		{"file:///lake", "t", "time=1970-01-02%2008%253A45%253A00/x", "t/time=1970-01-02 08%3A45%3A00/x"},
		{"file:///lake", "t", "time=08:45/x", "t/time=08:45/x"},
		{"file:///lake", "t", "%zz", ""},
	} {
		got, err := objectKey(tc.bucket, tc.table, tc.path)
		if got != tc.want || (err == nil) != (tc.want != "") {
			t.Errorf("%s %s %s: %q, %v, want %q", tc.bucket, tc.table, tc.path, got, err, tc.want)
		}
	}
}

func TestParseInterval(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{"interval 1 week": 7 * 24 * time.Hour, "30 days": 720 * time.Hour, "INTERVAL 12 hours 30 minutes": 750 * time.Minute,
		"interval '2' day": 48 * time.Hour, "": -1, "interval": -1, "interval x days": -1, "interval 1 month": -1, "interval -1 day": -1} {
		got, err := ParseInterval(s)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("%q: %v, want %v", s, got, want)
		}
	}
}
