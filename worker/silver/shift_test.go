package silver_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
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

// wantLive is want of the rows that are not deleted.
func (x *bench) wantLive(rows ...string) {
	x.t.Helper()
	var got []string
	for _, l := range canonicalRows(x.t, x.b, "silver/t") {
		if !strings.Contains(l, `"_cdc_deleted":true`) {
			got = append(got, dataOnly(x.t, l))
		}
	}
	if strings.Join(got, "\n") != strings.Join(rows, "\n") {
		x.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(rows, "\n"))
	}
}

// formats.md §1.6: a row takes the key of another one before that goes. Its create comes last, behind the delete of the other.
func TestCreateBehindTheDeleteOfTheRowBeforeIt(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"hard", "soft"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			createBehindDelete(t, func(c *config.Sink) { c.SilverDeleteMode = mode })
		})
	}
}

func createBehindDelete(t *testing.T, set func(*config.Sink)) {
	a := inTx(rec(cOp, 1, 1, "a", text("old")), 100, 110)
	b := inTx(rec(cOp, 2, 1, "a", text("new")), 200, 220)
	goA := inTx(gone(rec(dOp, 3, 1), "a", text("old")), 200, 230)
	goB := inTx(gone(rec(dOp, 4, 1), "a", text("new")), 300, 310)
	for _, restart := range []bool{false, true} {
		x := newBench(t, set)
		step := func(rows []string, c ...connectors.Change) {
			t.Helper()
			if restart {
				x.reopen(set)
			}
			x.merge(c...)
			x.wantLive(rows...)
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
	x := newBench(t, set)
	x.merge(a)
	x.merge(inTx(gone(rec(dOp, 5, 1), "a", text("new")), 200, 240))
	x.merge(b)
	x.merge(inTx(gone(rec(dOp, 6, 1), "a", text("old")), 200, 210))
	x.wantLive()
	// The older row was gone before: the create is that of the row that the delete removed.
	x = newBench(t, set)
	x.merge(a, inTx(gone(rec(dOp, 6, 1), "a", text("old")), 200, 210))
	x.merge(goA)
	x.merge(b)
	x.wantLive()
	// Created, changed and deleted in one transaction, and once more from the beginning: no row comes back.
	x = newBench(t, set)
	late := inTx(rec(uOp, 3, 1, "a", text("newer")), 200, 225)
	goLate := inTx(gone(rec(dOp, 4, 1), "a", text("newer")), 200, 240)
	x.merge(a)
	x.merge(inTx(gone(rec(dOp, 6, 1), "a", text("old")), 150, 160))
	for _, c := range []connectors.Change{b, late, goLate, b, late, goLate} {
		x.merge(c)
	}
	x.wantLive()
	x.reopen(set)
	x.merge(b)
	x.wantLive()
	x.merge(late, goLate, a)
	x.wantLive()
}
