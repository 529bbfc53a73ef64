package silver

import (
	"cmp"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/state"
)

// A truncate, and the end of a snapshot, speak of one source table, and a table of the lake can have rows of several. The event that made a row tells whose it
// is; the row keeps that by its topic, and where the topic does not tell it, since other source tables had come through it before, in a column of its own.

// tableKey names a source table.
func tableKey(s *connectors.Source) string {
	if s == nil {
		return ""
	}
	return s.Name + "\x00" + s.DB + "\x00" + s.Schema + "\x00" + s.Table
}

// tableOf names the source table of a change, "" where it is not told.
func (w *work) tableOf(c *connectors.Change) string {
	if c.Source == nil || c.Source.Table == "" {
		return ""
	}
	if c.Source != w.tableSrc {
		w.tableSrc, w.table = c.Source, tableKey(c.Source)
	}
	return w.table
}

// sourceName names a source table for people.
func sourceName(s *connectors.Source) string {
	if s == nil {
		return "a table that is not told"
	}
	return strings.Join(slices.DeleteFunc([]string{s.DB, s.Schema, s.Table}, func(n string) bool { return n == "" }), ".")
}

// sourceText is how column _cdc_source names a source table, of its tableKey: source, database, schema where there is one, and table, joined by dots. A part
// that has a dot or a quote in it is quoted.
func sourceText(key string) string {
	parts := strings.Split(key, "\x00")
	if len(parts) == 4 && parts[2] == "" {
		parts = slices.Delete(parts, 2, 3)
	}
	for i, p := range parts {
		if strings.ContainsAny(p, `."`) {
			parts[i] = `"` + strings.ReplaceAll(p, `"`, `""`) + `"`
		}
	}
	return strings.Join(parts, ".")
}

// sourceKey is the inverse of sourceText. A text that is none names no table that there is.
func sourceKey(text string) string {
	var parts []string
	for rest, more := text, true; more; {
		var part string
		if !strings.HasPrefix(rest, `"`) {
			part, rest, more = strings.Cut(rest, ".")
			parts = append(parts, part)
			continue
		}
		for rest = rest[1:]; ; {
			p, after, closed := strings.Cut(rest, `"`)
			part += p
			if rest = after; !closed || !strings.HasPrefix(rest, `"`) {
				break
			}
			part, rest = part+`"`, rest[1:]
		}
		parts = append(parts, part)
		rest, more = strings.CutPrefix(rest, ".")
	}
	if len(parts) == 3 {
		parts = slices.Insert(parts, 2, "")
	}
	return strings.Join(parts, "\x00")
}

// noteTable remembers the first source table of which rows come through a topic: those of others have to tell it.
func (w *work) noteTable(c *connectors.Change) {
	if c.Source == w.noted {
		return
	}
	w.noted = c.Source
	table := w.tableOf(c)
	for i := range w.state.Topics {
		t := &w.state.Topics[i]
		if table == "" || t.Name != c.Record.Topic {
			continue
		}
		if t.Table == "" {
			t.Table, t.Apart, w.stateNew = table, true, true
		}
		w.mixed = w.mixed || t.Mixed || t.Table != table
	}
}

func topicOf(s *state.State, name string) state.Topic {
	for _, t := range s.Topics {
		if t.Name == name {
			return t
		}
	}
	return state.Topic{Name: name}
}

// topic gives what is known of a topic of which the table has rows, as they are before this merge.
func (w *work) topic(name string) state.Topic { return topicOf(w.m.state, name) }

// toldTable is the source table that a row has to tell by itself, "" where its topic tells it.
func (w *work) toldTable(topic, table string) string {
	if t := topicOf(w.state, topic); t.Table == table && !t.Mixed {
		return ""
	}
	return table
}

// toldOf is toldTable of an image.
func (w *work) toldOf(img *fold.Image) string {
	if img.Table == "" {
		return ""
	}
	return w.toldTable(eventTopic(img.Meta.EventID), img.Table)
}

// tableOfRow is the source table of a row of the table, "" where that is not known.
func (m *Merger) tableOfRow(topic, told string) string {
	if told != "" {
		return told
	}
	if t := topicOf(m.state, topic); !t.Mixed {
		return t.Table
	}
	return ""
}

// appendSource appends to the content of a row without key of which source table it is, where that is not the first one of the table: a removal takes a row of its
// own table, whose truncates and snapshots leave others alone, and positions say nothing of those in another log.
func appendSource(dst []byte, st *state.State, topic, told string) []byte {
	table := told
	if table == "" {
		if t := topicOf(st, topic); t.Apart {
			table = t.Table
		}
	}
	if table == "" || len(st.Topics) == 0 || table == st.Topics[0].Table {
		return dst
	}
	return append(append(dst, 0), table...)
}

// ensureSource adds the column by which rows tell their source table, where one has to.
func (w *work) ensureSource() {
	if w.m.cols.Schema.Index(evolve.ColSource) >= 0 {
		return
	}
	must := w.mixed
	for i := 0; !must && i < len(w.winners); i++ {
		must = w.winners[i].img != nil && w.toldOf(w.winners[i].img) != ""
	}
	if must {
		w.m.cols.Ensure(evolve.ColSource, schema.Of(schema.String))
	}
}

// severalSources tells that rows of the table are of several source tables, or of several topics.
func (w *work) severalSources() bool {
	isMixed := func(t state.Topic) bool { return t.Mixed }
	return w.mixed || len(w.state.Topics) > 1 || slices.ContainsFunc(w.m.state.Topics, isMixed) || w.m.snap != nil && w.m.snap.Schema().Index(evolve.ColSource) >= 0
}

// toldSource gives what a new row tells of its source table.
func (w *work) toldSource(x *winner) string {
	told := ""
	if x.img != nil {
		told = w.toldOf(x.img)
	} else {
		c := w.events[x.ev].c
		told = w.toldTable(c.Record.Topic, w.tableOf(c))
	}
	if told != w.toldKey {
		w.toldKey, w.toldText = told, sourceText(told)
	}
	return w.toldText
}

// ofTable tells whether what is said of a source table, t.Table, in a topic is said of another one, too. Where one of the two does not tell its table, their
// topic says it.
func ofTable(t *state.Truncate, table, topic string) bool {
	if table == "" || t.Table == "" || strings.HasSuffix(t.Table, "\x00") {
		return topic == t.Topic
	}
	return t.Table == table
}

// ofChange tells whether a truncate is one of a change's source table.
func (w *work) ofChange(t *state.Truncate, c *connectors.Change) bool {
	return ofTable(t, w.tableOf(c), c.Record.Topic)
}

// ofRow tells whether a truncate is one of the source table of a row, which is new or one of the table.
func (w *work) ofRow(t *state.Truncate, row *fold.Image) bool {
	return w.ofRows(t, eventTopic(row.Meta.EventID), row.Table)
}

// ofRows tells whether a truncate is one of the source table of the rows of a topic that tell one, or none.
func (w *work) ofRows(t *state.Truncate, topic, told string) bool {
	of := w.topic(topic)
	return (told != "" || !of.Mixed) && ofTable(t, cmp.Or(told, of.Table), topic)
}

// sameSource tells that two images are of one source table, by their topics where one does not tell its table.
func sameSource(a, b *fold.Image) bool {
	if a.Table != "" && b.Table != "" {
		return a.Table == b.Table
	}
	return eventTopic(a.Meta.EventID) == eventTopic(b.Meta.EventID)
}

// eventTopic takes the topic out of <topic>-<partition>-<offset>.
func eventTopic(id string) string {
	for n := 0; n < 2; n++ {
		i := strings.LastIndexByte(id, '-')
		if i < 0 {
			return id
		}
		id = id[:i]
	}
	return id
}
