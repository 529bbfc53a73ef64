// Package samples reads the sample events that lie beside the repository. For tests only.
package samples

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
)

// Sample is one sample event with what is expected of it.
type Sample struct {
	Name   string
	Record connectors.Record
	Expect map[string]any
}

type file struct {
	Topic    string                     `json:"topic"`
	Key      json.RawMessage            `json:"key"`
	Value    json.RawMessage            `json:"value"`
	KeyB64   string                     `json:"key_b64"`
	ValueB64 string                     `json:"value_b64"`
	ValueRaw *string                    `json:"value_raw"`
	Headers  map[string]json.RawMessage `json:"headers"`
	Expect   map[string]any             `json:"expect"`
}

// Load gives the samples in dir whose names start with one of the prefixes; the test is skipped where there are none.
func Load(tb testing.TB, dir string, prefixes ...string) []Sample {
	tb.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		tb.Fatal(err)
	}
	var out []Sample
	for _, e := range entries {
		name, isJSON := strings.CutSuffix(e.Name(), ".json")
		if !isJSON || !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			tb.Fatal(err)
		}
		var f file
		if err := json.Unmarshal(b, &f); err != nil {
			tb.Fatalf("%s: %v", name, err)
		}
		s := Sample{Name: name, Expect: f.Expect}
		s.Record = connectors.Record{Topic: f.Topic, Offset: int64(len(out)), TimestampMs: 1773480413500, Key: body(tb, f.Key, true), Value: body(tb, f.Value, false)}
		if f.KeyB64 != "" {
			s.Record.Key = unbase64(tb, f.KeyB64)
		}
		if f.ValueB64 != "" {
			s.Record.Value = unbase64(tb, f.ValueB64)
		}
		if f.ValueRaw != nil {
			s.Record.Value = []byte(*f.ValueRaw)
		}
		names := make([]string, 0, len(f.Headers))
		for n := range f.Headers {
			names = append(names, n)
		}
		slices.Sort(names)
		for _, n := range names {
			s.Record.Headers = append(s.Record.Headers, connectors.Header{Key: n, Value: body(tb, f.Headers[n], true)})
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		tb.Skipf("SKIPPED: no samples named %v in shared/samples", prefixes)
	}
	return out
}

// body gives the bytes that a JSON value of a sample stands for: compact JSON, a text without quotes where bare is
// set, nil for null.
func body(tb testing.TB, raw json.RawMessage, bare bool) []byte {
	tb.Helper()
	if len(raw) == 0 || string(raw) == "null" {
		return nil
	}
	if bare && raw[0] == '"' {
		var s string
		if err := json.Unmarshal(raw, &s); err != nil {
			tb.Fatal(err)
		}
		return []byte(s)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

func unbase64(tb testing.TB, s string) []byte {
	tb.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}
