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
// from that time on. All of it goes to the lake with the table's state. A state is not written with each merge: what the
// rows of later ones reached is given again by Observe.
//
// A partition can bring the changes of several sources (shards that share a topic), whose positions say nothing of each other's: it has a place in the log of
// each.
type Lineages struct {
	Sources map[string]*SourceLineage
	Parts   map[PartKey]*PartLineage
	// First is the source that the table saw first.
	First string
}

// PartKey names a topic partition.
type PartKey struct {
	Topic     string
	Partition int32
	// Source names, of a partition's place in the log of a source, the source; "" stands for the one that the table saw first, and where none is meant.
	Source string
}

// SourceLineage is what is known of one source: its epochs, and which lineages belong to them.
type SourceLineage struct {
	// Cur is the newest epoch; FromTs the source time of the first event seen in it.
	Cur    uint32
	FromTs int64
	// Starts are the source times at which epochs began, oldest first; that of the first one only where events name their lineage.
	Starts []EpochStart
	// Names are the lineages seen, with their epochs.
	Names []LineageName
	// MaxPos is the highest position in the newest epoch.
	MaxPos string
}

// EpochStart tells when an epoch began: the lowest source time, in ns, that a partition has shown when it found out.
type EpochStart struct {
	Epoch uint32
	Ts    int64
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
	// MaxPos is the highest position in the epoch, MaxTs the highest source time of all, in ns.
	MaxPos string
	MaxTs  int64
	// Again says what of the source's events comes once more.
	Again Again
}

// Again is where a partition stands in a repeat: a connector that was started again sends from an earlier position on what it had sent before. It serves
// where equal positions may be those of several events.
type Again struct {
	// Since is the offset at which positions fell below MaxPos; 0 while they do not, or after they have passed it again.
	Since int64
	// Seen is how many events came at MaxPos behind the first one; OnceMore, how many of all those have come since.
	Seen, OnceMore int64
}

// NewLineages gives an empty one.
func NewLineages() *Lineages {
	return &Lineages{Sources: map[string]*SourceLineage{}, Parts: map[PartKey]*PartLineage{}}
}

// Clone copies it, so that a merge which fails leaves no trace.
func (l *Lineages) Clone() *Lineages {
	out := NewLineages()
	out.First = l.First
	for k, v := range l.Sources {
		c := *v
		c.Names, c.Starts = slices.Clone(v.Names), slices.Clone(v.Starts)
		out.Sources[k] = &c
	}
	for k, v := range l.Parts {
		c := *v
		out.Parts[k] = &c
	}
	return out
}

// Part gives the partition's place in the log of a source, which Source has given before, made where it is new.
func (l *Lineages) Part(topic string, partition int32, source string) *PartLineage {
	if source == l.First {
		source = ""
	}
	return l.Place(PartKey{topic, partition, source})
}

// Epoch is the newest one that a partition has shown, of whatever source.
func (l *Lineages) Epoch(topic string, partition int32) uint32 {
	e := uint32(0)
	for k, p := range l.Parts {
		if k.Topic == topic && k.Partition == partition {
			e = max(e, p.Epoch)
		}
	}
	return e
}

// Place gives a partition's place, made where it is new.
func (l *Lineages) Place(k PartKey) *PartLineage {
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
		if len(l.Sources) == 0 {
			l.First = name
		}
		s = &SourceLineage{Cur: FirstEpoch}
		l.Sources[name] = s
	}
	return s
}

// Reached tells that the partition was at a position, or behind it, before.
func (p *PartLineage) Reached(at Stamp) bool { return at.Epoch != p.Epoch || at.Pos <= p.MaxPos }

// Observe tells of an event that was merged before, by a row of the table: what the partition reached. ts is in ns.
func (p *PartLineage) Observe(at Stamp, ts int64) {
	if !p.Reached(at) {
		p.MaxPos, p.MaxTs, p.Again = at.Pos, max(p.MaxTs, ts), Again{}
	}
}

// pass notes the position of an event of the partition's epoch. It looks at the partition's own order alone, which no cut of the input changes (D7).
func (p *PartLineage) pass(pos string, offset int64) {
	a := &p.Again
	switch {
	case pos > p.MaxPos:
		p.MaxPos, *a = pos, Again{}
	case pos < p.MaxPos && (a.Since == 0 || a.OnceMore > 0): // it goes back, or back again
		*a = Again{Since: offset, Seen: max(a.Seen, a.OnceMore-1)}
	case pos == p.MaxPos && a.Since == 0:
		a.Seen++
	case pos == p.MaxPos:
		a.OnceMore++
	}
}

// Repeating tells whether the event that Assign saw last may be one that came before (D5: a repeat changes nothing, whatever its offset), and then before
// which offset of the partition: if that event is there, with its position, this is it once more. What was lost when the connector ended comes for the
// first time, at MaxPos or, through another partition, anywhere.
func (p *PartLineage) Repeating(at Stamp) (before int64, may bool) {
	a := &p.Again
	may = a.Since > 0 && at.Epoch == p.Epoch && at.Pos != "" && (at.Pos < p.MaxPos || at.Pos == p.MaxPos && a.OnceMore <= a.Seen+1)
	return a.Since, may
}

// Observed tells that all rows were observed.
func (l *Lineages) Observed() {
	for _, s := range l.Sources {
		for _, p := range l.Parts {
			if p.Epoch == s.Cur && !l.Many() {
				s.MaxPos = max(s.MaxPos, p.MaxPos)
			}
		}
	}
}

// Many tells that several sources or topics feed the table, so that a sequence does not tell which of them reached it.
func (l *Lineages) Many() bool {
	topic := ""
	for k := range l.Parts {
		if topic != "" && k.Topic != topic {
			return true
		}
		topic = k.Topic
	}
	return len(l.Sources) > 1
}

// Raise begins a new epoch for a source by command: all events from now on belong to it.
func (l *Lineages) Raise(source string) uint32 {
	s := l.Source(source)
	s.Cur++
	s.FromTs, s.MaxPos = 0, ""
	s.Names, s.Starts = nil, nil
	for k, p := range l.Parts {
		if k.Source == source || k.Source == "" && source == l.First {
			p.Epoch, p.MaxPos, p.Lineage, p.OldTs, p.Again = s.Cur, "", "", 0, Again{}
		}
	}
	return s.Cur
}

// Assign gives the epoch of the next change of a partition, and whether it began a new one.
func (s *SourceLineage) Assign(p *PartLineage, c *connectors.Change) (epoch uint32, flipped bool) {
	if p.Epoch == 0 {
		p.Epoch = s.Cur
		if c.Lineage == "" && c.SourceTsNs != 0 {
			p.Epoch = s.epochAt(c.SourceTsNs)
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
			flipped = e == s.Cur && s.FromTs == ts && s.MaxPos == ""
			p.flip(e)
		}
		p.Lineage = name
	} else if p.MaxPos != "" && pos < p.MaxPos && ts > p.MaxTs && p.MaxTs != 0 {
		e := p.Epoch + 1
		if e > s.Cur {
			s.begin(ts)
			if name != "" {
				s.setName(name, e)
			}
			flipped = true
		} else if name == "" {
			s.since(e, ts)
		}
		p.flip(e)
	} else if name == "" && ts != 0 {
		if e := s.epochAt(ts); e > p.Epoch {
			p.flip(e)
		}
	}
	if c.Lineage == "" && p.OldTs != 0 && ts != 0 && ts <= p.OldTs {
		return min(p.Epoch-1, s.epochAt(ts)), false
	}
	p.pass(pos, c.Record.Offset)
	p.MaxTs = max(p.MaxTs, ts)
	if p.Epoch == s.Cur {
		s.MaxPos = max(s.MaxPos, pos)
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
		if s.FromTs == 0 && s.MaxPos == "" {
			s.FromTs = ts // what another lineage did before is older: its partition lags behind
			s.Starts = []EpochStart{{s.Cur, ts}}
		}
	case ts != 0 && s.FromTs != 0 && ts < s.FromTs:
		e := min(s.Cur-1, s.epochAt(ts))
		s.setName(name, e)
		return true, e
	case pos >= s.MaxPos:
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
	s.FromTs, s.MaxPos = ts, ""
	s.Starts = append(s.Starts[max(0, len(s.Starts)-maxStarts+1):], EpochStart{s.Cur, ts})
}

// maxStarts is how many epochs back events are told by their time.
const maxStarts = 16

// epochAt gives the epoch at a source time: also of an event of a partition that was read behind those that have shown later ones.
func (s *SourceLineage) epochAt(ts int64) uint32 {
	e := s.Cur
	if len(s.Starts) == 0 && e > FirstEpoch && ts < s.FromTs { // states of earlier releases
		return e - 1
	}
	for i := len(s.Starts) - 1; i >= 0; i-- {
		if e = s.Starts[i].Epoch; ts >= s.Starts[i].Ts {
			return e
		}
		e--
	}
	return e
}

// since tells that an epoch which another partition has shown began earlier than that did.
func (s *SourceLineage) since(e uint32, ts int64) {
	for i := range s.Starts {
		if s.Starts[i].Epoch == e {
			s.Starts[i].Ts = min(s.Starts[i].Ts, ts)
		}
	}
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
	p.Epoch, p.OldTs, p.MaxPos, p.Again = e, p.MaxTs, "", Again{}
}
