package streams

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// cell is a column of a silver row: its JSON and, where it did not fit the column, its text in _rescued_data.
type cell struct {
	json    json.RawMessage
	rescued string
	saved   bool
}

func (c cell) null() bool { return len(c.json) == 0 || string(c.json) == "null" }

// text gives a JSON string unquoted, any other JSON as it is.
func (c cell) text() string {
	var s string
	if len(c.json) > 0 && c.json[0] == '"' && json.Unmarshal(c.json, &s) == nil {
		return s
	}
	return string(c.json)
}

// Compare says how the rows of a silver table (canonical JSON lines) differ from what the database showed: one sentence
// for each difference, none where they are equal. Rows of a table without key are compared as a multiset.
func (t *Table) Compare(lines []string) []string {
	var diffs []string
	rows := make([]map[string]cell, 0, len(lines))
	for _, line := range lines {
		row, err := parseRow(line)
		if err != nil {
			return append(diffs, fmt.Sprintf("row %s: %v", line, err))
		}
		rows = append(rows, row)
	}
	if len(rows) != len(t.Rows) {
		diffs = append(diffs, fmt.Sprintf("%d rows, the database had %d", len(rows), len(t.Rows)))
	}
	keys := t.PrimaryKey
	if len(keys) == 0 {
		for _, c := range t.Columns {
			keys = append(keys, c.Name)
		}
	}
	types := map[string]string{}
	for _, c := range t.Columns {
		types[c.Name] = c.Type
	}
	// Most keys print alike on both sides: pair these by text first, the rest by comparing.
	left := map[string][]map[string]cell{}
	for _, r := range rows {
		var b strings.Builder
		for _, k := range keys {
			b.WriteString(t.cell(r, k).text() + "\x00")
		}
		left[b.String()] = append(left[b.String()], r)
	}
	take := func(want map[string]*string) map[string]cell {
		match := func(r map[string]cell) bool {
			for _, k := range keys {
				if !t.same(types[k], t.cell(r, k), want[k]) {
					return false
				}
			}
			return true
		}
		for _, k := range append([]string{keyText(keys, want)}, slices.Sorted(maps.Keys(left))...) {
			if i := slices.IndexFunc(left[k], match); i >= 0 {
				r := left[k][i]
				left[k] = slices.Delete(left[k], i, i+1)
				return r
			}
		}
		return nil
	}
	for _, want := range t.Rows {
		row := take(want)
		if row == nil {
			diffs = append(diffs, "missing: "+describe(keys, want))
			continue
		}
		for _, col := range t.Columns {
			c, w := t.cell(row, col.Name), want[col.Name]
			if t.same(col.Type, c, w) {
				continue
			}
			if d := t.Defaults[col.Name]; w != nil && c.null() && d != nil && *d == *w {
				continue // the row is older than its column: no event ever carried the default
			}
			diffs = append(diffs, fmt.Sprintf("%s: %s (%s) is %s rescued %q, want %s", describe(keys, want), col.Name, col.Type, c.json, c.rescued, show(w)))
		}
	}
	for _, list := range left {
		for _, r := range list {
			var parts []string
			for _, k := range keys {
				parts = append(parts, k+"="+t.cell(r, k).text())
			}
			diffs = append(diffs, "too much: "+strings.Join(parts, " "))
		}
	}
	slices.Sort(diffs)
	return diffs
}

// keyText is how the key of a silver row prints where database and JSON print alike.
func keyText(keys []string, row map[string]*string) string {
	var b strings.Builder
	for _, k := range keys {
		if row[k] == nil {
			b.WriteString("null")
		} else {
			b.WriteString(*row[k])
		}
		b.WriteByte(0)
	}
	return b.String()
}

// cell finds a column under its name, a name that it had before, or its name with what Delta forbids replaced.
func (t *Table) cell(r map[string]cell, name string) cell {
	c, ok := r[name]
	if ok && !c.null() {
		return c
	}
	for from, to := range t.Renames {
		if to == name && !ok {
			return r[from]
		}
		if old, had := r[from]; to == name && had && c.null() && !c.saved {
			return old
		}
	}
	if ok {
		return c
	}
	for n, c := range r {
		if plain(n) == plain(name) {
			return c
		}
	}
	return cell{}
}

// plain leaves letters and digits of a name.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,;{}()\n\t=_%", r) {
			return -1
		}
		return r
	}, name)
}

func parseRow(line string) (map[string]cell, error) {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(line), &m); err != nil {
		return nil, err
	}
	row := make(map[string]cell, len(m))
	for n, v := range m {
		if !strings.HasPrefix(n, "_") {
			row[n] = cell{json: v}
		}
	}
	var text string
	if raw := m["_rescued_data"]; len(raw) > 0 && string(raw) != "null" {
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("_rescued_data: %w", err)
		}
		var saved map[string]json.RawMessage
		if err := json.Unmarshal([]byte(text), &saved); err != nil {
			return nil, fmt.Errorf("_rescued_data: %w", err)
		}
		for n, v := range saved {
			c := row[n]
			c.rescued, c.saved = (cell{json: v}).text(), true
			row[n] = c
		}
	}
	return row, nil
}

func describe(keys []string, want map[string]*string) string {
	var parts []string
	for _, k := range keys {
		parts = append(parts, k+"="+show(want[k]))
	}
	return strings.Join(parts, " ")
}

func show(s *string) string {
	if s == nil {
		return "NULL"
	}
	return *s
}
