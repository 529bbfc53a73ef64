package worker

import (
	"context"

	"sluice.io/sluice/connectors/kafka"
)

// coldRoom bounds the memory of what tables read from bronze files, of all tables of the node together (D9): a version is merged as a whole,
// so it is decoded as a whole, and tables that catch up would all do so at once. What is larger than the room is let in alone.
//
// Who has some and wants more must not wait for it (more), so that nobody waits for somebody who waits. It is safe for concurrent use.
type coldRoom struct {
	budget *kafka.Budget
	turn   chan struct{} // who has it is the next to be let in: small ones do not overtake a large one for ever
}

func newColdRoom(limit int64) *coldRoom {
	return &coldRoom{budget: kafka.NewBudget(limit), turn: make(chan struct{}, 1)}
}

// take waits until there is room for n bytes.
func (c *coldRoom) take(ctx context.Context, n int64) error {
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.turn }()
	_, err := c.budget.Acquire(ctx, n, n)
	return err
}

// more takes n bytes where there is room for them and nobody waits.
func (c *coldRoom) more(n int64) bool {
	select {
	case c.turn <- struct{}{}:
	default:
		return false
	}
	defer func() { <-c.turn }()
	if c.budget.Used()+n > c.budget.Limit() {
		return false
	}
	c.budget.Add(n)
	return true
}

// coldShare is what one table task has of the room.
type coldShare struct {
	room  *coldRoom
	held  int64
	ratio float64 // decoded bytes for one of a file, as seen last
}

// firstRatio is what a table expects before it has read a file.
const firstRatio = 10

// admit waits for room for the changes of files of so many bytes; with hold, which says that the task has changes already, it does not
// wait but says no.
func (s *coldShare) admit(ctx context.Context, bytes int64, hold bool) (bool, error) {
	n := int64(float64(bytes) * s.ratio)
	if hold || s.held > 0 {
		if !s.room.more(n) {
			return false, nil
		}
	} else if err := s.room.take(ctx, n); err != nil {
		return false, err
	}
	s.held += n
	return true, nil
}

// correct takes in what became of files: changes of so many bytes.
func (s *coldShare) correct(files, changes int64) {
	if files <= 0 {
		return
	}
	grown := changes - int64(float64(files)*s.ratio)
	s.room.budget.Add(grown)
	s.held += grown
	s.ratio = float64(changes) / float64(files)
}

// release gives everything back.
func (s *coldShare) release() {
	s.room.budget.Add(-s.held)
	s.held = 0
}
