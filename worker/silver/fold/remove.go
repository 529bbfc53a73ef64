package fold

import "slices"

// voids takes away one of several rows that share a key inside a transaction: net, the key stays.
func (f *folder) voids(e *Event) {
	top := e.Before != nil && f.img != nil && equalKnown(e.Before, f.img)
	if top {
		for _, u := range f.under {
			if u != nil && equalKnown(e.Before, u) {
				top = false // both are equal: it does not matter which goes
			}
		}
	}
	n := len(f.under) - 1
	if top && f.under[n] != nil {
		f.img = f.under[n].Clone()
		f.under = f.under[:n]
	} else {
		drop := 0
		for i, u := range f.under {
			if e.Before != nil && u != nil && equalKnown(e.Before, u) {
				drop = i
				break
			}
		}
		f.under = slices.Delete(f.under, drop, drop+1)
		f.img = f.img.Clone()
	}
	// The key is decided up to this delete, so that a repeat of it changes nothing.
	f.img.Stamp = e.Stamp
	f.stamp, f.seen = e.Stamp, true
	if len(f.under) == 0 {
		f.tx = ""
	}
}

// soften keeps the last image of a deleted row.
func (f *folder) soften(e *Event) {
	img := f.img
	if e.Before != nil {
		img = e.Before
	}
	if img == nil {
		return
	}
	img = img.Clone()
	if e.Before != nil && f.img != nil {
		for i := range img.Vals {
			if Gaps(&img.Vals[i]) {
				img.Vals[i] = Mend(img.Vals[i], f.img.at(i))
			}
		}
	}
	img.Took = f.out.Took
	if n := f.in.TxLen; n == 0 || len(e.Stamp.Pos) < n {
		img.Took = Stamp{}
	} else if !img.Took.set() {
		img.Took = e.Stamp
	} else if len(img.Took.Pos) <= n || img.Took.Pos[:n] != e.Stamp.Pos[:n] || img.Took.Epoch != e.Stamp.Epoch {
		img.Took = Stamp{}
	}
	img.Stamp, img.Deleted = e.Stamp, true
	img.Meta.Op = 'd'
	if e.Image != nil {
		img.Meta = e.Image.Meta
	}
	f.img = img
}
