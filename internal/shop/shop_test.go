package shop

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func rough(seed uint64, schemas bool) Options {
	return Options{Seed: seed, Schemas: schemas, Customers: 30, Orders: 40, Mishaps: Rough, Unavailable: true}
}

func run(s *Shop, steps int) []Record {
	var out []Record
	for range steps {
		out = append(out, s.Next()...)
	}
	return out
}

func TestSameSeedSameRecords(t *testing.T) {
	a, b := run(New(rough(7, true)), 500), run(New(rough(7, true)), 500)
	if !reflect.DeepEqual(a, b) {
		t.Fatal("the same seed gives another life")
	}
	if c := run(New(rough(8, true)), 500); reflect.DeepEqual(a, c) {
		t.Fatal("another seed gives the same life")
	}
}

func TestGoesOnAfterSave(t *testing.T) {
	a := New(rough(3, false))
	run(a, 300)
	var saved bytes.Buffer
	if err := a.Save(&saved); err != nil {
		t.Fatal(err)
	}
	b, err := Load(&saved)
	if err != nil {
		t.Fatal(err)
	}
	wall := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	a.AdvanceTo(wall)
	b.AdvanceTo(wall)
	if !reflect.DeepEqual(run(a, 300), run(b, 300)) {
		t.Fatal("what was saved goes on in another way")
	}
	if d := cmp.Diff(a.Expected(Orders), b.Expected(Orders)); d != "" {
		t.Fatal(d)
	}
}

func TestOffsetsAreDense(t *testing.T) {
	s := New(rough(5, true))
	next := map[string]int64{}
	for _, r := range append(run(s, 800), s.Drain()...) {
		at := fmt.Sprintf("%s/%d", r.Topic, r.Partition)
		if r.Offset != next[at] {
			t.Fatalf("%s: offset %d, want %d", at, r.Offset, next[at])
		}
		next[at]++
	}
	for topic, ends := range s.Ends() {
		for p, end := range ends {
			if next[fmt.Sprintf("%s/%d", topic, p)] != end {
				t.Fatalf("%s/%d ends at %d, Ends says %d", topic, p, next[fmt.Sprintf("%s/%d", topic, p)], end)
			}
		}
	}
}

// TestFoldGivesExpected folds the records by position, in a shuffled order of partitions, with nothing but encoding/json:
// the events say what the model says.
func TestFoldGivesExpected(t *testing.T) {
	for seed := range uint64(6) {
		for _, schemas := range []bool{true, false} {
			s := New(rough(seed, schemas))
			records := run(s, 1500)
			records = append(records, s.Drain()...)
			got, bad := fold(t, records, schemas)
			if len(bad) != len(s.DeadLetters()) {
				t.Fatalf("seed %d: %d records do not decode, the shop says %d", seed, len(bad), len(s.DeadLetters()))
			}
			for _, table := range Tables() {
				if d := cmp.Diff(s.Expected(table), got[table]); d != "" {
					t.Fatalf("seed %d, schemas %v, %s: %s", seed, schemas, table, d)
				}
			}
		}
	}
}

func TestAllMishapsHappen(t *testing.T) {
	s := New(rough(1, true))
	seen := map[string]int{}
	offsets := map[string]string{} // position → event id
	for _, r := range append(run(s, 3000), s.Drain()...) {
		if r.Value == nil {
			seen["tombstone"]++
			continue
		}
		for _, h := range r.Headers {
			if strings.HasSuffix(h.Key, "key") {
				seen[h.Key]++
			}
		}
		v := string(r.Value)
		if strings.Contains(v, `"op":"t"`) {
			seen["truncate"]++
		}
		if strings.Contains(v, placeholder) {
			seen["unavailable"]++
		}
		if i := strings.Index(v, `"sequence":"`); i > 0 && strings.Contains(v, `"op":"u"`) {
			pos := string(r.Key) + v[i:i+60]
			if _, again := offsets[pos]; again {
				seen["repeat"]++
			}
			offsets[pos] = v
		}
	}
	seen["malformed"] = len(s.DeadLetters())
	for _, want := range []string{"tombstone", "__debezium.newkey", "__debezium.oldkey", "truncate", "unavailable", "repeat", "malformed"} {
		if seen[want] == 0 {
			t.Errorf("no %s in 3000 steps: %v", want, seen)
		}
	}
}

func TestDecimalBytes(t *testing.T) {
	for _, cents := range []int64{0, 1, 127, 128, 255, 256, -1, -128, -129, -32768, -32769, 99_999_999} {
		var text string
		if err := json.Unmarshal(decimal(nil, cents), &text); err != nil {
			t.Fatal(err)
		}
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := unscaled(raw); got != cents {
			t.Errorf("%d is written as %d", cents, got)
		}
	}
}

func unscaled(raw []byte) int64 {
	n := new(big.Int).SetBytes(raw)
	if raw[0] >= 0x80 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(raw))))
	}
	return n.Int64()
}

type position struct {
	commit, lsn uint64
	create      bool
}

func (p position) above(o position) bool {
	switch {
	case p.commit != o.commit:
		return p.commit > o.commit
	case p.lsn != o.lsn:
		return p.lsn > o.lsn
	}
	return p.create && !o.create
}

// fold gives the rows that records lead to, and the records that do not decode.
func fold(t *testing.T, records []Record, schemas bool) (map[string][]string, []Record) {
	t.Helper()
	type ev struct {
		pos   position
		key   string
		old   string
		after map[string]any
		trunc bool
	}
	events := map[string][]ev{}
	var bad []Record
	for _, r := range records {
		if r.Value == nil {
			continue
		}
		var v struct {
			After  map[string]any `json:"after"`
			Op     string         `json:"op"`
			Source struct {
				Table, Sequence string
			} `json:"source"`
		}
		payload, key := r.Value, r.Key
		open := func(b []byte) ([]byte, error) {
			if !schemas || b == nil {
				return b, nil
			}
			var env struct {
				Payload json.RawMessage `json:"payload"`
			}
			err := json.Unmarshal(b, &env)
			return env.Payload, err
		}
		payload, err := open(payload)
		if err == nil {
			key, err = open(key)
		}
		if err == nil {
			d := json.NewDecoder(bytes.NewReader(payload))
			d.UseNumber()
			err = d.Decode(&v)
		}
		if err != nil || !strings.Contains("curdt", v.Op) || v.Op == "c" && v.After == nil {
			bad = append(bad, r)
			continue
		}
		var seq [2]*string
		if err := json.Unmarshal([]byte(v.Source.Sequence), &seq); err != nil {
			t.Fatal(err)
		}
		e := ev{key: string(key), after: v.After, trunc: v.Op == "t"}
		if seq[0] != nil {
			fmt.Sscan(*seq[0], &e.pos.commit)
		}
		fmt.Sscan(*seq[1], &e.pos.lsn)
		e.pos.create = v.Op != "d" && v.Op != "t"
		for _, h := range r.Headers {
			if h.Key == "__debezium.oldkey" {
				e.old = string(h.Value)
			}
		}
		events[v.Source.Table] = append(events[v.Source.Table], e)
	}
	out := map[string][]string{}
	for table, evs := range events {
		slices.SortStableFunc(evs, func(a, b ev) int {
			switch {
			case a.pos.above(b.pos):
				return 1
			case b.pos.above(a.pos):
				return -1
			}
			return 0
		})
		rows := map[string]map[string]any{}
		gone := map[string]map[string]any{} // last row of a key that was deleted
		for _, e := range evs {
			switch {
			case e.trunc:
				clear(rows)
			case e.after == nil:
				if r, ok := rows[e.key]; ok {
					gone[e.key] = r
				}
				delete(rows, e.key)
			default:
				for c, v := range e.after {
					if v != placeholder {
						continue
					}
					if r, ok := rows[e.key]; ok {
						e.after[c] = r[c]
					} else {
						e.after[c] = gone[e.old][c]
					}
				}
				rows[e.key] = e.after
			}
		}
		for _, r := range rows {
			for c, v := range r {
				switch text, _ := v.(string); {
				case schemas && (c == "credit" || c == "total" || c == "price"):
					raw, err := base64.StdEncoding.DecodeString(text)
					if err != nil {
						t.Fatal(err)
					}
					r[c] = json.RawMessage(money(nil, unscaled(raw)))
				case schemas && c == "shipped_on" && v != nil:
					days, _ := v.(json.Number).Int64()
					r[c] = time.Unix(days*86400, 0).UTC().Format("2006-01-02")
				}
			}
			var line bytes.Buffer
			enc := json.NewEncoder(&line)
			enc.SetEscapeHTML(false)
			if err := enc.Encode(r); err != nil {
				t.Fatal(err)
			}
			out[table] = append(out[table], strings.TrimSuffix(line.String(), "\n"))
		}
		slices.Sort(out[table])
	}
	return out, bad
}

func BenchmarkShop(b *testing.B) {
	s := New(Options{Seed: 1, Schemas: true, Mishaps: Usual})
	n := 0
	for b.Loop() {
		n += len(s.Next())
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}
