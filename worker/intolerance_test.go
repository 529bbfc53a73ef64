package worker

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
)

// errors.tolerance=none: the record is kept all the same, then its task fails; with errors.log.enable the log has a line of it.
func TestIntolerance(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	var logged lines
	w.log = slog.New(slog.NewTextHandler(&logged, nil))
	w.b.Topic(topic, 1)
	w.produce(0, 0, 3)
	w.b.Put(&kgo.Record{Topic: topic, Key: []byte("k"), Value: []byte("{nonsense")})
	w.start()
	task := partitionTask(0, 0)
	for epoch := range uint64(2) { // started again it fails again, and the letter is there once
		w.c.set(func() {
			w.c.conns = []ownership.Connector{connector("c", "errors.tolerance", "none", "errors.log.enable", "true", "errors.log.include.messages", "true")}
			w.c.mine = own(5+epoch, task)
		})
		until(t, "FAILED", func() bool {
			s := w.c.status(task.ID)
			return s.Epoch == 5+epoch && s.State == ownership.Failed && strings.Contains(s.Trace, topic+"-0-3") && strings.Contains(s.Trace, "errors.tolerance is none")
		})
		if n := w.tableRows("bronze/_dead_letters"); n != 1 {
			t.Errorf("%d dead letters", n)
		}
	}
	if !logged.has("a record became a dead letter", "stage=decode", "offset=3") {
		t.Error("the log has no line of it")
	}
}

// The same of a record that can be decoded and not be merged: it has no key.
func TestIntoleranceOfTables(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.produce(0, 0, 3)
	w.start()
	w.c.set(func() {
		w.c.conns = []ownership.Connector{connector("c", "errors.tolerance", "none")}
		w.c.mine = own(5, partitionTask(0, 0), tableTask())
	})
	until(t, "three rows", func() bool { return w.tableRows("silver/"+topic) == 3 })
	bad := order(0, 9, 2000)
	bad.Key = nil
	w.b.Put(bad)
	until(t, "FAILED", func() bool {
		s := w.c.status(tableTask().ID)
		return s.State == ownership.Failed && strings.Contains(s.Trace, topic+"-0-3") && strings.Contains(s.Trace, "errors.tolerance is none")
	})
	if n := w.tableRows("bronze/_dead_letters"); n != 1 || w.rows() != 4 {
		t.Errorf("%d dead letters, %d rows in bronze", n, w.rows())
	}
}
