package samples

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"sluice.io/sluice/connectors"
)

// Stream is a captured stream of change events with the tables as the database showed them at its end.
type Stream struct {
	Name    string
	Records []connectors.Record
	Topics  map[string]struct{ Records, Tombstones, Partitions int }
	Tables  map[string]*Table
}

// Table is the expected end of one table.
type Table struct {
	Name       string
	Database   string   `json:"database"`
	PrimaryKey []string `json:"primary_key"`
	Columns    []struct{ Name, Type string }
	Rows       []map[string]*string
	Topics     []string
	Renames    map[string]string
	Defaults   map[string]*string
	Zero       bool
}

// LoadStream reads the captured stream that lies in dir.
func LoadStream(tb testing.TB, dir string) *Stream {
	tb.Helper()
	s := &Stream{Name: filepath.Base(dir), Records: readRecords(tb, filepath.Join(dir, "records.jsonl.zst"))}
	readJSON(tb, filepath.Join(dir, "topics.json"), &s.Topics)
	readJSON(tb, filepath.Join(dir, "expected", "tables.json"), &s.Tables)
	for n, t := range s.Tables {
		t.Name = n
		readJSON(tb, filepath.Join(dir, "expected", n+".schema.json"), t)
		b, err := os.ReadFile(filepath.Join(dir, "expected", n+".jsonl"))
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var row map[string]*string
			if err := json.Unmarshal([]byte(line), &row); err != nil {
				tb.Fatal(err)
			}
			t.Rows = append(t.Rows, row)
		}
	}
	return s
}

func readJSON(tb testing.TB, path string, into any) {
	tb.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		tb.Fatalf("%s: %v", path, err)
	}
}

func readRecords(tb testing.TB, path string) []connectors.Record {
	tb.Helper()
	f, err := os.Open(path)
	if err != nil {
		tb.Fatal(err)
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		tb.Fatal(err)
	}
	defer z.Close()
	bytesOf := func(s *string) []byte {
		if s == nil {
			return nil
		}
		b, err := base64.StdEncoding.DecodeString(*s)
		if err != nil {
			tb.Fatal(err)
		}
		return b
	}
	var out []connectors.Record
	lines := bufio.NewScanner(z)
	lines.Buffer(make([]byte, 1<<20), 64<<20)
	for lines.Scan() {
		var l struct {
			Topic      string
			Partition  int32
			Offset, Ts int64
			Key, Value *string
			Headers    [][2]*string
		}
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			tb.Fatal(err)
		}
		r := connectors.Record{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, TimestampMs: l.Ts, Key: bytesOf(l.Key), Value: bytesOf(l.Value)}
		for _, h := range l.Headers {
			r.Headers = append(r.Headers, connectors.Header{Key: *h[0], Value: bytesOf(h[1])})
		}
		out = append(out, r)
	}
	if err := lines.Err(); err != nil {
		tb.Fatal(err)
	}
	return out
}
