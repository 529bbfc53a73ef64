// Package streams loads change streams that were captured from real connectors, with the rows that the databases had
// at the end, and compares a silver table with them, row by row. It knows nothing of Sluice: what it compares are
// canonical JSON lines, as `sluice table cat --output json` and any foreign engine print them.
package streams

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"sluice.io/sluice/internal/testkit"
)

// Names lists the captured streams.
var Names = []string{"pg-types", "pg-toast", "pg-evolve", "pg-restart", "pg-avro", "maria-types", "maria-orders"}

// Header is a record header; a nil Value is a null.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record as it lay in Kafka; a nil Key or Value is a null.
type Record struct {
	Topic       string
	Partition   int32
	Offset      int64
	TimestampMs int64
	Key, Value  []byte
	Headers     []Header
}

// Topic is what the capture counted.
type Topic struct{ Records, Tombstones, Partitions int }

// Stream is a captured stream.
type Stream struct {
	Name    string
	Records []Record
	Topics  map[string]Topic
	// Tables by name.
	Tables map[string]*Table
}

// Column is a column of the database.
type Column struct{ Name, Type string }

// Table is a table as the database showed it at the end.
type Table struct {
	Name       string
	Database   string   `json:"database"`
	PrimaryKey []string `json:"primary_key"`
	Columns    []Column
	// Rows hold what the database prints, nil for NULL.
	Rows []map[string]*string
	// Topics that feed the table.
	Topics []string
	// Renames give, to an old column name, the new one.
	Renames map[string]string
	// Defaults are what the table shows where the events are older than an ADD COLUMN.
	Defaults map[string]*string
	// Zero tells that dates are to be compared by the rule for dates that are none.
	Zero bool
}

// Load reads a captured stream; the test is skipped, with a sentence, where it is absent.
func Load(tb testing.TB, name string) *Stream {
	tb.Helper()
	dir := testkit.Shared(tb, filepath.Join("streams", name))
	s := &Stream{Name: name}
	var err error
	if s.Records, err = readRecords(filepath.Join(dir, "records.jsonl.zst")); err != nil {
		tb.Fatal(err)
	}
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

func readRecords(path string) ([]Record, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	var out []Record
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
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		r := Record{Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, TimestampMs: l.Ts}
		if r.Key, err = fromBase64(l.Key); err == nil {
			r.Value, err = fromBase64(l.Value)
		}
		for _, h := range l.Headers {
			v, errH := fromBase64(h[1])
			if errH != nil {
				err = errH
			}
			r.Headers = append(r.Headers, Header{Name: *h[0], Value: v})
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		out = append(out, r)
	}
	return out, lines.Err()
}

func fromBase64(s *string) ([]byte, error) {
	if s == nil {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(*s)
	if b == nil {
		b = []byte{}
	}
	return b, err
}
