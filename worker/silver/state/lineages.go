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
	parts := sortedParts(l.Parts)
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

// encodeReached writes what each partition reached.
func encodeReached(e *enc, l *fold.Lineages) {
	for _, k := range sortedParts(l.Parts) {
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
	for _, k := range sortedParts(l.Parts) {
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
		p := l.Part(topic, int32(d.i()))
		p.Epoch, p.OldTs, p.Lineage = uint32(d.u()), d.i(), d.str()
	}
}
