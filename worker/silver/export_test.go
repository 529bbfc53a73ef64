package silver

import "sluice.io/sluice/worker/silver/index"

// Index lets tests damage the key index.
func (m *Merger) Index() *index.Index { return m.idx }
