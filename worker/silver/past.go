package silver

import (
	"slices"

	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// past finds the ended versions of the keys of a history (silver.scd.type=2); the key index has the others. Like the index it
// belongs to one version of the table and can be built from it at any time (D8). It holds 24 bytes for each version, 48 for
// each key that has one.
type past struct {
	keys map[fold.Hash][]spot
	n    int64
}

// spot says where an ended version is, and about when it began. The spots of a key are in the order of their marks, those
// without position first.
type spot struct {
	prefix  uint64
	seqHash uint32
	file    uint32
	row     uint32 // with spotBare
}

const spotBare = 1 << 31

func newPast() *past { return &past{keys: map[fold.Hash][]spot{}} }

func spotAt(s fold.Stamp, file uint32, row int64) spot {
	x := spot{file: file, row: uint32(row)}
	x.prefix, x.seqHash = index.Mark(s)
	if s.Pos == "" {
		x.row |= spotBare
	}
	return x
}

func (x spot) bare() bool      { return x.row&spotBare != 0 }
func (x spot) position() int64 { return int64(x.row &^ spotBare) }

func (x spot) cmp(o spot) int {
	switch {
	case x.bare() != o.bare():
		if x.bare() {
			return -1
		}
		return 1
	case x.prefix < o.prefix:
		return -1
	case x.prefix > o.prefix:
		return 1
	}
	return 0
}

func (p *past) add(h fold.Hash, x spot) {
	l := p.keys[h]
	i := len(l)
	for i > 0 && l[i-1].cmp(x) > 0 { // nearly always the newest
		i--
	}
	p.keys[h] = slices.Insert(l, i, x)
	p.n++
}

// find gives the place of the spot that points where x does.
func (p *past) find(h fold.Hash, x spot) int {
	l := p.keys[h]
	i, _ := slices.BinarySearchFunc(l, x, spot.cmp)
	for ; i < len(l) && l[i].cmp(x) == 0; i++ {
		if l[i].file == x.file && l[i].row == x.row {
			return i
		}
	}
	return -1
}

func (p *past) remove(h fold.Hash, x spot) bool {
	i := p.find(h, x)
	if i < 0 {
		return false
	}
	if l := slices.Delete(p.keys[h], i, i+1); len(l) > 0 {
		p.keys[h] = l
	} else {
		delete(p.keys, h)
	}
	p.n--
	return true
}

// move lets the spot x of a key point to another place.
func (p *past) move(h fold.Hash, x spot, file, row uint32) bool {
	i := p.find(h, x)
	if i < 0 {
		return false
	}
	c := &p.keys[h][i]
	c.file, c.row = file, row|c.row&spotBare
	return true
}

// dropFiles forgets the versions in some files.
func (p *past) dropFiles(gone map[uint32]bool) {
	for h, l := range p.keys {
		kept := slices.DeleteFunc(l, func(x spot) bool { return gone[x.file] })
		p.n -= int64(len(l) - len(kept))
		if len(kept) == 0 {
			delete(p.keys, h)
		} else {
			p.keys[h] = kept
		}
	}
}

// older gives the spots from the newest on that began before a mark.
func older(l []spot, mark uint64) int {
	i, _ := slices.BinarySearchFunc(l, mark, func(x spot, m uint64) int {
		switch {
		case x.bare() || x.prefix < m:
			return -1
		case x.prefix > m:
			return 1
		}
		return 0
	})
	if i--; i < 0 {
		return 0
	}
	for i > 0 && l[i-1].cmp(l[i]) == 0 {
		i--
	}
	return i
}

func (p *past) bytes() int64 { return p.n*24 + int64(len(p.keys))*48 }
