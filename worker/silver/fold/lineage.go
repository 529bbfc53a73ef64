package fold

import (
	"slices"

	"sluice.io/sluice/connectors"
)

// FirstEpoch is the epoch of the lineage that a table sees first. Epoch 0 is left for events of a lineage that turns out
// to be older.
const FirstEpoch = 1

// Lineages tells to which epoch a change belongs (D5). A new lineage, one whose positions do not go on where those of the
// current one ended, gets the next epoch, so that its changes are newer whatever their positions are. Two signs tell it:
//
//   - an event shows another lineage (server id, base name of the log) and its position does not go on;
//   - inside one partition the position falls while the source's time rises above all seen before. A connector that
//     repeats itself after a restart shows falling positions too, but its times are old ones.
//
// Each partition decides in its own order; a flip that one partition has shown is taken over by the others for events
// from that time on. What must survive a restart is in Sources and Parts and goes to the lake with the table's state; the
// highest positions and times are given again by Observe.
type Lineages struct {
	Sources map[string]*SourceLineage
	Parts   map[PartKey]*PartLineage
}

// PartKey names a topic partition.
type PartKey struct {
	Topic     string
	Partition int32
}

// SourceLineage is what is known of one source: its epochs, and which lineages belong to them.
type SourceLineage struct {
	// Cur is the newest epoch; FromTs the source time of the first event seen in it.
	Cur    uint32
	FromTs int64
	// Names are the lineages seen, with their epochs.
	Names []LineageName

	maxPos string
	maxTs  int64
}

// LineageName assigns a lineage to an epoch.
type LineageName struct {
	Name  string
	Epoch uint32
}

// PartLineage is where one partition stands.
type PartLineage struct {
	Epoch uint32
	// OldTs is the highest source time that the partition showed before its epoch began: an event that is not later
	// belongs to the epoch before.
	OldTs   int64
	Lineage string

	maxPos string
	maxTs  int64
}

// NewLineages gives an empty one.
func NewLineages() *Lineages {
	return &Lineages{Sources: map[string]*SourceLineage{}, Parts: map[PartKey]*PartLineage{}}
}

// Clone copies it, so that a merge which fails leaves no trace.
func (l *Lineages) Clone() *Lineages {
	out := NewLineages()
	for k, v := range l.Sources {
		c := *v
		c.Names = slices.Clone(v.Names)
		out.Sources[k] = &c
	}
	for k, v := range l.Parts {
		c := *v
		out.Parts[k] = &c
	}
	return out
}

// Part gives the partition's place, made where it is new.
func (l *Lineages) Part(topic string, partition int32) *PartLineage {
	k := PartKey{topic, partition}
	p := l.Parts[k]
	if p == nil {
		p = &PartLineage{}
		l.Parts[k] = p
	}
	return p
}

// Source gives the source's place, made where it is new.
func (l *Lineages) Source(name string) *SourceLineage {
	s := l.Sources[name]
	if s == nil {
		s = &SourceLineage{Cur: FirstEpoch}
		l.Sources[name] = s
	}
	return s
}

// Observe tells of an event that was merged before, in a row or tombstone of the table: what the partition reached.
func (p *PartLineage) Observe(epoch uint32, pos string) {
	if epoch == p.Epoch || p.Epoch == 0 {
		p.maxPos = max(p.maxPos, pos)
	}
}

// ObserveTs tells the highest source time among all events merged before.
func (l *Lineages) ObserveTs(ts int64) {
	for _, p := range l.Parts {
		p.maxTs = max(p.maxTs, ts)
	}
	for _, s := range l.Sources {
		s.maxTs = max(s.maxTs, ts)
		for _, p := range l.Parts {
			if p.Epoch == s.Cur || p.Epoch == 0 {
				s.maxPos = max(s.maxPos, p.maxPos)
			}
		}
	}
}

// Raise begins a new epoch for a source by command: all events from now on belong to it.
func (l *Lineages) Raise(source string) uint32 {
	s := l.Source(source)
	s.Cur++
	s.FromTs, s.maxPos = 0, ""
	s.Names = nil
	for _, p := range l.Parts {
		p.Epoch, p.maxPos, p.Lineage, p.OldTs = s.Cur, "", "", 0
	}
	return s.Cur
}

// Assign gives the epoch of the next change of a partition, and whether it began a new one.
func (s *SourceLineage) Assign(p *PartLineage, c *connectors.Change) (epoch uint32, flipped bool) {
	if p.Epoch == 0 {
		p.Epoch = s.Cur
		if c.Lineage == "" && s.Cur > FirstEpoch && s.FromTs != 0 && c.SourceTsNs != 0 && c.SourceTsNs < s.FromTs {
			p.Epoch = s.Cur - 1
		}
	}
	pos, ts := string(c.Position), c.SourceTsNs
	if pos == "" || c.PosQuality == connectors.OffsetOnly {
		return p.Epoch, false
	}
	if c.Snapshot == connectors.SnapshotIncremental {
		// Its position is the stream's at that time: it tells nothing of the lineage.
		return p.Epoch, false
	}
	if name := string(c.Lineage); name != "" && name != p.Lineage {
		if old, e := s.byName(p, name, pos, ts); old {
			return e, false
		} else if e != p.Epoch {
			flipped = e == s.Cur && s.FromTs == ts && s.maxPos == ""
			p.flip(e)
		}
		p.Lineage = name
	} else if p.maxPos != "" && pos < p.maxPos && ts > p.maxTs && p.maxTs != 0 {
		e := p.Epoch + 1
		if e > s.Cur {
			s.begin(ts)
			if name != "" {
				s.setName(name, e)
			}
			flipped = true
		}
		p.flip(e)
	} else if name == "" && p.Epoch < s.Cur && s.FromTs != 0 && ts >= s.FromTs {
		p.flip(s.Cur)
	}
	if c.Lineage == "" && p.OldTs != 0 && ts != 0 && ts <= p.OldTs {
		return p.Epoch - 1, false
	}
	p.maxPos, p.maxTs = max(p.maxPos, pos), max(p.maxTs, ts)
	if p.Epoch == s.Cur {
		s.maxPos, s.maxTs = max(s.maxPos, pos), max(s.maxTs, ts)
	}
	return p.Epoch, flipped
}

// byName finds the epoch of a lineage that differs from the partition's last one. old: the event belongs to an epoch that
// the partition has left, and the partition stays where it is.
func (s *SourceLineage) byName(p *PartLineage, name, pos string, ts int64) (old bool, epoch uint32) {
	for i := range s.Names {
		if s.Names[i].Name == name {
			e := s.Names[i].Epoch
			if e < FirstEpoch && ts >= s.FromTs { // it did not end: several lineages are under way at once
				e = s.Cur
				s.Names[i].Epoch = e
			}
			return e < p.Epoch, e
		}
	}
	switch {
	case len(s.Names) == 0:
		s.setName(name, s.Cur)
		if s.FromTs == 0 && s.maxPos == "" {
			s.FromTs = ts // what another lineage did before is older: its partition lags behind
		}
	case ts != 0 && s.FromTs != 0 && ts < s.FromTs:
		s.setName(name, s.Cur-1)
		return true, s.Cur - 1
	case pos >= s.maxPos:
		// Another server that goes on in the same order of positions: no new epoch is needed.
		s.setName(name, s.Cur)
	default:
		s.begin(ts)
		s.setName(name, s.Cur)
	}
	return false, s.Cur
}

func (s *SourceLineage) begin(ts int64) {
	s.Cur++
	s.FromTs, s.maxPos = ts, ""
}

func (s *SourceLineage) setName(name string, e uint32) {
	for i := range s.Names {
		if s.Names[i].Name == name {
			s.Names[i].Epoch = e
			return
		}
	}
	s.Names = append(s.Names, LineageName{name, e})
}

func (p *PartLineage) flip(e uint32) {
	p.Epoch, p.OldTs, p.maxPos = e, p.maxTs, ""
}
