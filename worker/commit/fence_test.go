package commit

import (
	"context"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
)

// slowLog lets another writer in while a commit is on its way, and stops the task before it hears of it: a zombie.
type slowLog struct {
	store.Bucket
	meanwhile func()
}

func (b *slowLog) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if f := b.meanwhile; f != nil {
		b.meanwhile = nil
		f()
	}
	return b.Bucket.PutIfAbsent(context.WithoutCancel(ctx), key, data) // it was in the network already
}

func TestARefusalOfAZombieIsCounted(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	lake := mem.New("lake")
	slow := &slowLog{Bucket: lake}
	mine, other := NewTables(nil), NewTables(nil)
	refused, met := 0, 0
	mine.OnRefused(func() { refused++ })
	b := Fenced(slow, func() { met++ })
	table := open(t, mine, b)
	if _, err := mine.Append(ctx, table, appendOf("f1", -1, 10)); err != nil {
		t.Fatal(err)
	}
	taken := open(t, other, lake)
	life, stop := context.WithCancel(ctx)
	slow.meanwhile = func() { // called within the zombie's commit
		if _, err := other.Append(ctx, taken, appendOf("f2", 10, 20)); err != nil {
			t.Error(err)
		}
		stop()
	}
	if _, err := mine.Append(life, table, appendOf("f3", 10, 15)); err == nil {
		t.Fatal("the zombie's commit is in")
	}
	if refused != 1 || met != 1 {
		t.Errorf("%d refusals and %d conflicts counted", refused, met)
	}
	// A task that is stopped while nobody refuses anything is no zombie.
	life, stop = context.WithCancel(ctx)
	stop()
	if _, err := mine.Append(life, table, appendOf("f4", 20, 30)); err == nil {
		t.Fatal("a stopped task has committed")
	}
	s, err := delta.Open(ctx, lake, "t")
	if err != nil {
		t.Fatal(err)
	}
	snap, err := s.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if at, _ := snap.Txn("app"); at != 20 || refused != 1 {
		t.Errorf("the table is at %d, %d refusals", at, refused)
	}
}
