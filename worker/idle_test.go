package worker

import (
	"context"
	"slices"
	"testing"
	"time"
)

// idler notes that its table was looked after.
type idler struct {
	tableMerger
	path string
	seen *[]string
}

func (i idler) Idle(context.Context) error {
	*i.seen = append(*i.seen, i.path)
	return nil
}

// Many tables that all have something left to do do not keep a task from its next changes: they are looked after in turn.
func TestManyIdleTablesTakeTurns(t *testing.T) {
	t.Parallel()
	var seen []string
	m := &manyTables{tables: map[string]*oneTable{}}
	for _, p := range []string{"b", "c", "a"} {
		m.tables[p] = &oneTable{m: idler{path: p, seen: &seen}}
	}
	for range 4 {
		if err := m.idleFor(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"a", "b", "c", "a"}; !slices.Equal(seen, want) {
		t.Errorf("looked after %v, want %v", seen, want)
	}
	seen = nil
	if err := m.idleFor(t.Context(), time.Hour); err != nil {
		t.Fatal(err)
	}
	if want := []string{"b", "c", "a"}; !slices.Equal(seen, want) {
		t.Errorf("looked after %v, want %v", seen, want)
	}
}
