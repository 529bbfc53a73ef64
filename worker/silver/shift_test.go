package silver_test

import (
	"encoding/binary"
	"testing"

	"sluice.io/sluice/connectors"
)

// inTx puts a change at a place of a transaction, which began at begin.
func inTx(c connectors.Change, begin, lsn uint64) connectors.Change {
	b := binary.BigEndian.AppendUint64(nil, begin)
	b = binary.BigEndian.AppendUint64(b, lsn)
	b = append(binary.BigEndian.AppendUint64(b, 0), c.Position[len(c.Position)-1])
	c.Position = connectors.Position(b)
	return c
}

// gone gives a delete the row that it removed.
func gone(c connectors.Change, kv ...any) connectors.Change {
	c.Before, c.BeforeQuality = rec(cOp, 1, c.Key.Values[0].Int, kv...).After, connectors.BeforeFull
	return c
}

// formats.md §1.6: a row takes the key of another one before that goes. Its create comes last, behind the delete of the other.
func TestCreateBehindTheDeleteOfTheRowBeforeIt(t *testing.T) {
	t.Parallel()
	a := inTx(rec(cOp, 1, 1, "a", text("old")), 100, 110)
	b := inTx(rec(cOp, 2, 1, "a", text("new")), 200, 220)
	goA := inTx(gone(rec(dOp, 3, 1), "a", text("old")), 200, 230)
	goB := inTx(gone(rec(dOp, 4, 1), "a", text("new")), 300, 310)
	for _, restart := range []bool{false, true} {
		x := newBench(t, nil)
		step := func(rows []string, c ...connectors.Change) {
			t.Helper()
			if restart {
				x.reopen(nil)
			}
			x.merge(c...)
			x.want(rows...)
		}
		row := []string{`{"a":"new","id":1}`}
		step([]string{`{"a":"old","id":1}`}, a)
		step(nil, goA)
		step(row, b)
		step(row, goA, b, a)
		step(nil, goB)
		step(nil, b, goA)
	}
	// The delete was of the younger row, and that of the older one comes last.
	x := newBench(t, nil)
	x.merge(a)
	x.merge(inTx(gone(rec(dOp, 5, 1), "a", text("new")), 200, 240))
	x.merge(b)
	x.merge(inTx(gone(rec(dOp, 6, 1), "a", text("old")), 200, 210))
	x.want()
	// The older row was gone before: the create is that of the row that the delete removed.
	x = newBench(t, nil)
	x.merge(a, inTx(gone(rec(dOp, 6, 1), "a", text("old")), 200, 210))
	x.merge(goA)
	x.merge(b)
	x.want()
}
