package silver

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
)

// propKeys is the table property that names the source's columns of the key, as a JSON list; an empty list: the table has no
// key; null: no row has come yet that would have told.
const propKeys = "sluice.keys"

func (m *Merger) keyed() bool { return len(m.keys) > 0 }

// decide settles, at the first row, whether the table has a key and of which columns.
func (m *Merger) decide(key connectors.Row, override bool) {
	m.decided = true
	m.keys = []string{}
	switch {
	case override:
		m.keys = slices.Clone(m.opt.Config.SilverKeys)
	case !key.IsZero():
		m.keys = slices.Clone(key.Shape.Names)
	}
}

// checkKeys refuses a table that has another key than silver.keys says: its rows would be found by the old one.
func (m *Merger) checkKeys() error {
	want := slices.Sorted(slices.Values(m.opt.Config.SilverKeys))
	if len(want) == 0 || !m.decided || slices.Equal(want, slices.Sorted(slices.Values(m.keys))) {
		return nil
	}
	has := "has the key (" + strings.Join(m.keys, ", ") + ")"
	if !m.keyed() {
		has = "has no key"
	}
	return fmt.Errorf("%w: %s %s, silver.keys is (%s): a table keeps its key. Set silver.keys back, or have the table made anew from bronze with the new one (sluice table rebuild)",
		ErrConfig, m.table.URL(), has, strings.Join(m.opt.Config.SilverKeys, ", "))
}

// noColumn says what can be done about an event that lacks a column of silver.keys.
func (m *Merger) noColumn(key connectors.Row, column string) string {
	return fmt.Sprintf("the event tells (%s) and not %s, a column of silver.keys (%s): which row it is of is not known. Set silver.keys to columns that all events have, then sluice table rebuild; "+
		"where only deletes lack it, the source has to send whole rows before changes (REPLICA IDENTITY FULL in PostgreSQL), and a new snapshot into another silver.path makes up for these",
		strings.Join(key.Shape.Names, ", "), column, strings.Join(m.keys, ", "))
}

// otherKey says what can be done about an event whose key is not the table's.
func (m *Merger) otherKey(key connectors.Row) string {
	has := "the table's is (" + strings.Join(m.keys, ", ") + ")"
	if !m.keyed() {
		has = "the table has none"
	}
	return fmt.Sprintf("the event's key is (%s), %s: a changed key definition needs the table to be made anew. Where the events of before have these columns, too: set silver.keys=%s, then sluice table rebuild; "+
		"else a new snapshot into another silver.path",
		strings.Join(key.Shape.Names, ", "), has, strings.Join(key.Shape.Names, ","))
}

func (m *Merger) keysText() string {
	if !m.decided {
		return "null"
	}
	return encodeKeys(m.keys)
}

func encodeKeys(keys []string) string {
	b, err := json.Marshal(append([]string{}, keys...))
	if err != nil {
		return "[]"
	}
	return string(b)
}

// decodeKeys gives nil where the keys are not settled.
func decodeKeys(text string) ([]string, error) {
	var keys []string
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		return nil, fmt.Errorf("table property %s: %w", propKeys, err)
	}
	return keys, nil
}

// keyCol gives the source column of the i-th key column, -1 while it is not there.
func (m *Merger) keyCol(i int) int { return m.cols.BySource(m.keys[i]) }

func (m *Merger) isKeyCol(col int) bool {
	return slices.Contains(m.keys, m.cols.Source[col].Source)
}

func (m *Merger) soft() bool { return m.opt.Config.SilverDeleteMode == "soft" }

func (m *Merger) planKey(key connectors.Row) *keyPlan {
	p := &keyPlan{}
	missing := false
	for _, k := range m.keys {
		at := key.Shape.Index(k)
		if at < 0 {
			if p.bad = m.otherKey(key); len(m.opt.Config.SilverKeys) > 0 {
				p.bad = m.noColumn(key, k)
			}
			return p
		}
		p.at = append(p.at, int32(at))
		missing = missing || m.cols.BySource(k) < 0
	}
	if len(m.opt.Config.SilverKeys) == 0 && len(key.Shape.Names) != len(m.keys) {
		p.bad = m.otherKey(key)
		return p
	}
	if missing {
		sub := connectors.Row{Shape: &connectors.Shape{}}
		for i, at := range p.at {
			sub.Shape.Names = append(sub.Shape.Names, m.keys[i])
			if key.Shape.Types != nil {
				sub.Shape.Types = append(sub.Shape.Types, key.Shape.Types[at])
			}
			sub.Values = append(sub.Values, key.Values[at])
		}
		m.cols.Observe(sub, true)
	}
	return p
}

func number(k schema.Kind) bool {
	return k >= schema.Boolean && k <= schema.Decimal
}

// sameClass tells that a value hashes as it will when it is read back from a column of the kind.
func sameClass(v *connectors.Value, k schema.Kind) bool {
	if v.Kind == k {
		return true
	}
	if number(v.Kind) && number(k) {
		// All numbers hash alike. A number that does not fit the column must not be taken, though.
		return v.Kind < k && k != schema.Float
	}
	return false
}

// keyConvert is evolve.Convert for columns of a key, whose values cannot be rescued: a text column takes anything's text.
func keyConvert(v connectors.Value, t schema.Type) (connectors.Value, bool) {
	if c, ok := evolve.Convert(v, t); ok {
		return c, true
	}
	if t.Kind == schema.String && v.State == connectors.Present {
		return connectors.Text(strings.Trim(string(evolve.AppendJSON(nil, v)), `"`)), true
	}
	return v, false
}

// movesKey tells that an update gives a row another key of silver.keys. The source's own key is as before, so the source tells it as one event.
func (w *work) movesKey(c *connectors.Change, h fold.Hash) bool {
	if len(w.m.opt.Config.SilverKeys) == 0 || w.m.opt.Config.SilverDeleteMode == "ignore" || c.Op != connectors.Update || c.HasHint() || c.Before.IsZero() || !w.m.tellsKey(c) {
		return false
	}
	was, why := w.keyHash(c, c.Before)
	return why == "" && was != h
}

// tellsKey tells that the columns of the table's key in a before image are true. In an image that may have invented values those are that no source invents.
func (m *Merger) tellsKey(c *connectors.Change) bool {
	if c.BeforeQuality != connectors.BeforePartial {
		return c.BeforeQuality == connectors.BeforeFull
	}
	return !slices.ContainsFunc(m.keys, func(name string) bool {
		v := c.Before.Get(name)
		return v.State != connectors.Present || v.Int == 0 && strings.Trim(v.Str, "\x000") == "" && len(v.Kids()) == 0 || v.Str == "AA==" || strings.HasPrefix(v.Str, "1970-01-01T00:00:00")
	})
}

// moved deletes the row that an update takes its key from, and gives the update as the other half of that key change.
func (w *work) moved(c *connectors.Change, st fold.Stamp) *connectors.Change {
	from, to := *c, *c
	from.Op, from.After = connectors.Delete, connectors.Row{}
	from.SetKeyHints(connectors.Row{}, c.After)
	to.SetKeyHints(c.Before, connectors.Row{})
	was, _ := w.keyHash(c, c.Before)
	w.add(event{c: &from, st: st, h: was, op: connectors.Delete})
	return &to
}
