package delta

import (
	"strings"
	"testing"
)

func FuzzCommit(f *testing.F) {
	for _, s := range []string{
		`{"commitInfo":{"timestamp":1,"operation":"WRITE","operationParameters":{"mode":"Append","partitionBy":"[]"},"isBlindAppend":true,"txnId":"a"}}`,
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}`,
		`{"metaData":{"id":"x","format":{"provider":"parquet","options":{}},"schemaString":"{}","partitionColumns":["p"],"configuration":{"a":"b"},"createdTime":1}}`,
		`{"add":{"path":"a%20b","partitionValues":{"p":null,"q":"\u00e4"},"size":1,"modificationTime":2,"dataChange":true,"stats":"{\"numRecords\":1}","tags":{"a":"b"},"deletionVector":{"storageType":"u","pathOrInlineDv":"vBn[lx{q8@P<9BNH/isA","offset":1,"sizeInBytes":36,"cardinality":2},"baseRowId":3}}`,
		`{"remove":{"path":"a","deletionTimestamp":1,"dataChange":false,"extendedFileMetadata":true,"partitionValues":{},"size":5}}`,
		`{"cdc":{"path":"_change_data/x","partitionValues":{},"size":1,"dataChange":false}}`,
		`{"txn":{"appId":"a","version":9223372036854775807,"lastUpdated":1}}` + "\n" + `{"domainMetadata":{"domain":"d","configuration":"{}","removed":true}}`,
		`{"sidecar":{"path":"x.parquet","sizeInBytes":1,"modificationTime":2}}` + "\n" + `{"checkpointMetadata":{"version":4,"tags":null}}`,
		`{"add":{"path":"x","size":1e3}}`, "{\"add\":{\"path\":\"\xff\"}}", `{"add":null}`, strings.Repeat("[", 400),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var p parser
		a, err := p.commit(data)
		if err != nil {
			return
		}
		// What we write of what we have read says the same again.
		e := enc{}
		e.actions(&Actions{Protocol: a.Protocol, Metadata: a.Metadata, Txns: a.Txns, Adds: a.Adds, Removes: a.Removes, CDC: a.CDC, Domains: a.Domains})
		first := string(e.b)
		again, err := p.commit(e.b)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		e = enc{}
		e.actions(again)
		if string(e.b) != first {
			t.Fatalf("written\n%s\nread and written again\n%s", first, e.b)
		}
		r := newReplay(newTable(nil, "", nil), nil)
		r.apply(a)
		r.apply(a)
		for _, x := range a.Adds {
			x.NumRecords()
			WideBounds(x.Stats)
		}
	})
}

func FuzzHint(f *testing.F) {
	for _, s := range []string{`{"version":3,"size":7}`, `{"version":-1}`, `{"version":1e9,"parts":"x"}`, `{"size":3,"sizeInBytes":14193,"version":0}`, `[]`, `{`,
		`{"version":10,"size":3,"checkpointSchema":{"type":"struct","fields":[]},"v2Checkpoint":{"path":"x"}}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if h := parseHint(data); h != nil && h.Version < 0 {
			t.Fatal(h.Version)
		}
		if c, err := parseChecksum(data); (c == nil) == (err == nil) {
			t.Fatal(c, err)
		}
	})
}

func FuzzStats(f *testing.F) {
	for _, s := range []string{`{"numRecords":3,"minValues":{"a":1,"b":{"c":"x"}},"maxValues":{"a":2,"b":{"c":"y"}},"nullCount":{"a":0},"tightBounds":true}`,
		`{"numRecords":1e300000000}`, `{"minValues":{"a":1e999999999},"maxValues":{"a":1}}`, `{"minValues":{"a":"NaN"},"maxValues":{"a":"z"}}`, `{}`, `null`, `{"tightBounds":true,"tightBounds":false}`,
		`{"numRecords":99999999999999999999}`, `{"a":{"numRecords":5}}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if n, ok := statsNumRecords(s); ok && n < 0 {
			t.Fatal(n)
		}
		_ = checkStats(&Add{Path: "x", Stats: s}, nil)
		w := WideBounds(s)
		if WideBounds(w) != w {
			t.Fatalf("%s, then %s", w, WideBounds(w))
		}
		a, ok1 := statsNumRecords(s)
		b, ok2 := statsNumRecords(w)
		if checkStats(&Add{Stats: s}, nil) == nil && (a != b || ok1 != ok2) {
			t.Fatalf("%d %v became %d %v in %s", a, ok1, b, ok2, w)
		}
	})
}

func FuzzLogName(f *testing.F) {
	for _, s := range []string{"00000000000000000010.json", "00000000000000000010.checkpoint.parquet", "00000000000000000010.checkpoint.0000000001.0000000002.parquet",
		"00000000000000000010.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json", "00000000000000000004.00000000000000000006.compacted.json", "00000000000000000004.crc",
		"99999999999999999999.json", "_last_checkpoint", ".00000000000000000010.json.crc"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if l, ok := parseLogName(s); ok && (l.version < 0 || l.kind == compactedFile && l.last <= l.version || l.kind == checkpointPart && (l.part < 1 || l.part > l.parts)) {
			t.Fatalf("%q: %+v", s, l)
		}
	})
}
