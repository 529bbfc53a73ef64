package silver

import "sluice.io/sluice/worker/silver/index"

// Index lets tests damage the key index.
func (m *Merger) Index() *index.Index { return m.idx }

// SetCutKeys lets one commit end at most n rows because of a truncate, until the function that it gives is called.
func SetCutKeys(n int) func() {
	was := cutKeys
	cutKeys = n
	return func() { cutKeys = was }
}

// Tombstones gives how many removed files the Merger's snapshot remembers.
func (m *Merger) Tombstones() int { return m.snap.NumTombstones() }

// SetStreamFrom lets files of more than n bytes be streamed, until the function that it gives is called.
func SetStreamFrom(n int) func() {
	was := streamFrom
	streamFrom = n
	return func() { streamFrom = was }
}

// SourceText and SourceKey are how a row tells its source table, and what it is.
func SourceText(key string) string { return sourceText(key) }
func SourceKey(text string) string { return sourceKey(text) }

// Mix makes the state that of a release that merged rows of several source tables of a topic without noting whose they are.
func (m *Merger) Mix() {
	for i := range m.state.Topics {
		m.state.Topics[i].Mixed = true
	}
	m.pending = true
}
