package state

import (
	"maps"
	"slices"

	"sluice.io/sluice/worker/silver/fold"
)

func encodeLineages(e *enc, l *fold.Lineages) {
	if len(l.Sources) == 0 && len(l.Parts) == 0 {
		return
	}
	names := slices.Sorted(maps.Keys(l.Sources))
	e.u(uint64(len(names)))
	for _, n := range names {
		s := l.Sources[n]
		e.str(n)
		e.u(uint64(s.Cur))
		e.i(s.FromTs)
		e.u(uint64(len(s.Names)))
		for _, x := range s.Names {
			e.str(x.Name)
			e.u(uint64(x.Epoch))
		}
	}
	parts := firstParts(l)
	e.u(uint64(len(parts)))
	for _, k := range parts {
		p := l.Parts[k]
		e.str(k.Topic)
		e.i(int64(k.Partition))
		e.u(uint64(p.Epoch))
		e.i(p.OldTs)
		e.str(p.Lineage)
	}
}

// firstParts are the places of partitions in the log of the source that the table saw first: those that releases before several sources could share a partition
// know.
func firstParts(l *fold.Lineages) []fold.PartKey {
	return slices.DeleteFunc(sortedParts(l.Parts), func(k fold.PartKey) bool { return k.Source != "" })
}

// encodeOthers writes which source is the first, where there are several, and the places of partitions in the logs of the others.
func encodeOthers(e *enc, l *fold.Lineages) {
	if len(l.Sources) < 2 {
		return
	}
	e.str(l.First)
	for _, k := range sortedParts(l.Parts) {
		if k.Source == "" {
			continue
		}
		p := l.Parts[k]
		e.str(k.Topic)
		e.i(int64(k.Partition))
		e.str(k.Source)
		e.u(uint64(p.Epoch))
		e.i(p.OldTs)
		e.str(p.Lineage)
		e.str(p.MaxPos)
		e.i(p.MaxTs)
		e.i(p.Again.Since)
		e.i(p.Again.Seen)
		e.i(p.Again.OnceMore)
	}
}

func decodeOthers(d *dec, l *fold.Lineages) {
	l.First = d.str()
	for d.err == nil && d.b != "" {
		*l.Place(fold.PartKey{Topic: d.str(), Partition: int32(d.i()), Source: d.str()}) = fold.PartLineage{Epoch: uint32(d.u()), OldTs: d.i(), Lineage: d.str(),
			MaxPos: d.str(), MaxTs: d.i(), Again: fold.Again{Since: d.i(), Seen: d.i(), OnceMore: d.i()}}
	}
}

// encodeReached writes what each partition reached.
func encodeReached(e *enc, l *fold.Lineages) {
	for _, k := range firstParts(l) {
		if p := l.Parts[k]; p.MaxPos != "" || p.MaxTs != 0 {
			e.str(k.Topic)
			e.i(int64(k.Partition))
			e.str(p.MaxPos)
			e.i(p.MaxTs)
		}
	}
}

// encodeAgain writes which partitions repeat what they brought, and how many events share the position that they reached.
func encodeAgain(e *enc, l *fold.Lineages) {
	for _, k := range firstParts(l) {
		if a := l.Parts[k].Again; a != (fold.Again{}) {
			e.str(k.Topic)
			e.i(int64(k.Partition))
			e.i(a.Since)
			e.i(a.Seen)
			e.i(a.OnceMore)
		}
	}
}

// encodeEpochs writes of each source what its newest epoch reached, and when its epochs began.
func encodeEpochs(e *enc, l *fold.Lineages) {
	for _, n := range slices.Sorted(maps.Keys(l.Sources)) {
		s := l.Sources[n]
		if s.MaxPos == "" && len(s.Starts) == 0 {
			continue
		}
		e.str(n)
		e.str(s.MaxPos)
		e.u(uint64(len(s.Starts)))
		for _, x := range s.Starts {
			e.u(uint64(x.Epoch))
			e.i(x.Ts)
		}
	}
}

func decodeEpochs(d *dec, l *fold.Lineages) {
	s := l.Source(d.str())
	s.MaxPos, s.Starts = d.str(), nil
	for n := d.n(); n > 0 && d.err == nil; n-- {
		s.Starts = append(s.Starts, fold.EpochStart{Epoch: uint32(d.u()), Ts: d.i()})
	}
}

func decodeLineages(d *dec, l *fold.Lineages) {
	for n := d.n(); n > 0 && d.err == nil; n-- {
		s := l.Source(d.str())
		s.Cur, s.FromTs = uint32(d.u()), d.i()
		for k := d.n(); k > 0 && d.err == nil; k-- {
			s.Names = append(s.Names, fold.LineageName{Name: d.str(), Epoch: uint32(d.u())})
		}
	}
	for n := d.n(); n > 0 && d.err == nil; n-- {
		topic := d.str()
		p := l.Place(fold.PartKey{Topic: topic, Partition: int32(d.i())})
		p.Epoch, p.OldTs, p.Lineage = uint32(d.u()), d.i(), d.str()
	}
}
