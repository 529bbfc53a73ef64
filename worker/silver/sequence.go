package silver

import (
	"fmt"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/worker/silver/fold"
)

// propSequence is the table property that names the columns of silver.sequence.by.
const propSequence = "sluice.sequence.by"

// sequence is stamp under silver.sequence.by: the row's values in those columns are its position, a delete's are those of the row
// that it removed. Equal ones resolve by partition and offset, and so do events that do not tell the values.
func (w *work) sequence(c *connectors.Change, p *partition) fold.Stamp {
	s := fold.Stamp{Epoch: fold.FirstEpoch, Part: uint32(c.Record.Partition) & fold.PartitionMask, Off: c.Record.Offset}
	row := c.After
	if c.Op == connectors.Delete {
		if row = c.Before; c.BeforeQuality != connectors.BeforeFull {
			row = connectors.Row{}
		}
	}
	var pos []byte
	for _, name := range w.m.opt.Config.SilverSequenceBy {
		if row.IsZero() {
			pos = nil
			break
		}
		v := row.Get(name)
		if fold.Unknown(&v) {
			pos = nil
			break
		}
		pos = fold.AppendOrdered(pos, &v)
	}
	if s.Pos = string(pos); s.Pos == "" {
		s.Part |= p.gen << fold.PartitionBits
	}
	return s
}

// checkSequence refuses a table whose rows have another order than the configuration says.
func (m *Merger) checkSequence(snap *delta.Snapshot) error {
	has, _ := snap.Property(propSequence)
	if want := strings.Join(m.opt.Config.SilverSequenceBy, ","); has != want {
		return fmt.Errorf("%w: %s orders changes by %s, the configuration by %s: silver.sequence.by of a table cannot change; choose another silver.path", ErrConfig,
			m.table.URL(), orderName(has), orderName(want))
	}
	return nil
}

func orderName(columns string) string {
	if columns == "" {
		return "the source's log position"
	}
	return "its columns " + columns
}
