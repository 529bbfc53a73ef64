// Package task is the life of one task as a pure function: events in, a new state and effects out. It knows no clock,
// no goroutine and no I/O; the worker's runtime feeds it and does what it says.
//
// A task has at most one run at a time. A run belongs to one epoch: a newer epoch (another configuration, a restart,
// a new life of the process) always waits for the old run to end.
package task

import (
	"time"

	"sluice.io/sluice/internal/ownership"
)

// Phase is where a task is in its life.
type Phase uint8

const (
	// Idle: nothing runs, nothing was decided yet.
	Idle Phase = iota
	// Running: a run is at work.
	Running
	// Backoff: the last run ended with an error that may pass; the next one starts when RetryDue comes.
	Backoff
	// Paused: an operator wants it so.
	Paused
	// Failed: the last run ended with an error that needs an operator. Only a newer epoch starts it again.
	Failed
	// Stopping: a run was told to end and has not yet.
	Stopping
	// Released: the task was given back; what it was is only remembered until the assignment is gone.
	Released
)

var phaseNames = [...]string{"idle", "running", "backoff", "paused", "failed", "stopping", "released"}

// String gives the phase's name.
func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return "?"
}

// then is what follows when a Stopping run has ended.
type then uint8

const (
	thenNothing then = iota
	thenStart
	thenPause
	thenRelease
	thenForget
)

// Task is the state. The zero Task is one that was never assigned. It is a value: Step gives a changed copy.
type Task struct {
	Phase Phase
	Epoch uint64 // of the newest assignment
	run   uint64 // epoch of the run that is at work or being stopped
	tries int    // runs in a row that ended in transient errors
	trace string
	next  then
}

// Trace is what a status would say now.
func (t Task) Trace() string { return t.trace }

// Event is what happens to a task.
type Event interface{ event() }

type (
	// Assigned: the task is owned under an epoch; Paused when the connector's target state is not RUNNING.
	Assigned struct {
		Epoch  uint64
		Paused bool
	}
	// Revoked: the task is to be finished and given back.
	Revoked struct{ Epoch uint64 }
	// Gone: the task is no longer owned, whether or not it was given back.
	Gone struct{}
	// Trouble: the run goes on but waits for something; an empty Text: no more.
	Trouble struct {
		Epoch uint64
		Text  string
	}
	// Ended: the run of an epoch is over. Err is nil when it was told to end. Transient: trying again may help.
	Ended struct {
		Epoch     uint64
		Err       error
		Transient bool
		// Lasted tells that the run worked for a while before the error: then the retry begins with a short pause again.
		Lasted bool
	}
	// RetryDue: the pause of Backoff is over.
	RetryDue struct{ Epoch uint64 }
	// Drain: the process is about to end.
	Drain struct{}
)

func (Assigned) event() {}
func (Revoked) event()  {}
func (Gone) event()     {}
func (Trouble) event()  {}
func (Ended) event()    {}
func (RetryDue) event() {}
func (Drain) event()    {}

// Effect is what the runtime has to do.
type Effect interface{ effect() }

type (
	// Start begins a run.
	Start struct{ Epoch uint64 }
	// Stop tells the run to finish its batch and end. Now: it is not ours any more, drop the batch.
	Stop struct {
		Epoch uint64
		Now   bool
	}
	// Retry asks for RetryDue after a pause.
	Retry struct {
		Epoch uint64
		After time.Duration
	}
	// Release gives the task back.
	Release struct{ Epoch uint64 }
	// Report tells the cluster how the task is.
	Report struct {
		Epoch uint64
		State ownership.State
		Trace string
	}
	// Forget drops the task.
	Forget struct{}
)

func (Start) effect()   {}
func (Stop) effect()    {}
func (Retry) effect()   {}
func (Release) effect() {}
func (Report) effect()  {}
func (Forget) effect()  {}

// The pauses between tries double from the first to the last.
const (
	FirstPause = 500 * time.Millisecond
	LastPause  = 30 * time.Second
)

// Pause gives the pause before the nth try again, counting from 1.
func Pause(n int) time.Duration {
	d := FirstPause
	for ; n > 1 && d < LastPause; n-- {
		d *= 2
	}
	return min(d, LastPause)
}

// Step takes an event in.
func (t Task) Step(e Event) (Task, []Effect) {
	switch e := e.(type) {
	case Assigned:
		return t.assigned(e)
	case Revoked:
		return t.revoked(e)
	case Gone:
		return t.gone()
	case Trouble:
		if t.Phase != Running || e.Epoch != t.run || e.Text == t.trace {
			return t, nil
		}
		t.trace = e.Text
		return t, []Effect{Report{t.run, ownership.Running, t.trace}}
	case Ended:
		return t.ended(e)
	case RetryDue:
		if t.Phase != Backoff || e.Epoch != t.Epoch {
			return t, nil
		}
		return t.start()
	case Drain:
		return t.drain()
	}
	return t, nil
}

func (t Task) start() (Task, []Effect) {
	t.Phase, t.run, t.next = Running, t.Epoch, thenNothing
	return t, []Effect{Start{t.Epoch}, Report{t.Epoch, ownership.Running, t.trace}}
}

func (t Task) pause() (Task, []Effect) {
	t.Phase, t.trace, t.tries, t.next = Paused, "", 0, thenNothing
	return t, []Effect{Report{t.Epoch, ownership.Paused, ""}}
}

func (t Task) stopThen(next then) (Task, []Effect) {
	t.Phase, t.next = Stopping, next
	return t, []Effect{Stop{Epoch: t.run}}
}

func (t Task) assigned(e Assigned) (Task, []Effect) {
	if e.Epoch < t.Epoch {
		return t, nil // news of the past
	}
	fresh := e.Epoch > t.Epoch
	if fresh {
		t.Epoch, t.tries, t.trace = e.Epoch, 0, ""
	}
	switch t.Phase {
	case Running:
		switch {
		case e.Paused:
			return t.stopThen(thenPause)
		case fresh:
			return t.stopThen(thenStart)
		}
		return t, nil
	case Stopping:
		switch {
		case e.Paused:
			t.next = thenPause
		case fresh || t.next == thenPause:
			t.next = thenStart
		}
		return t, nil
	case Failed, Released:
		if !fresh {
			return t, nil
		}
	case Paused:
		if e.Paused {
			if fresh {
				return t.pause()
			}
			return t, nil
		}
	case Backoff:
		if !fresh && !e.Paused {
			return t, nil
		}
	}
	if e.Paused {
		return t.pause()
	}
	return t.start()
}

func (t Task) revoked(e Revoked) (Task, []Effect) {
	if e.Epoch < t.Epoch || t.Phase == Released {
		return t, nil
	}
	t.Epoch = e.Epoch
	switch t.Phase {
	case Running:
		return t.stopThen(thenRelease)
	case Stopping:
		t.next = thenRelease
		return t, nil
	}
	return t.release()
}

func (t Task) release() (Task, []Effect) {
	t.Phase, t.next, t.trace = Released, thenNothing, ""
	return t, []Effect{Release{t.Epoch}}
}

func (t Task) gone() (Task, []Effect) {
	switch t.Phase {
	case Running:
		t.Phase, t.next = Stopping, thenForget
		return t, []Effect{Stop{Epoch: t.run, Now: true}}
	case Stopping:
		t.next = thenForget
		return t, []Effect{Stop{Epoch: t.run, Now: true}}
	}
	return t, []Effect{Forget{}}
}

func (t Task) drain() (Task, []Effect) {
	switch t.Phase {
	case Running:
		return t.stopThen(thenForget)
	case Stopping:
		t.next = thenForget
		return t, nil
	}
	return t, []Effect{Forget{}}
}

func (t Task) ended(e Ended) (Task, []Effect) {
	if e.Epoch != t.run || (t.Phase != Running && t.Phase != Stopping) {
		return t, nil
	}
	if t.Phase == Stopping {
		switch t.next {
		case thenStart:
			return t.start()
		case thenPause:
			return t.pause()
		case thenRelease:
			return t.release()
		default:
			t.Phase = Idle
			return t, []Effect{Forget{}}
		}
	}
	switch {
	case e.Err == nil:
		return t.start() // it had no reason to end
	case e.Transient:
		if e.Lasted {
			t.tries = 0
		}
		t.tries++
		t.Phase, t.trace = Backoff, e.Err.Error()
		return t, []Effect{Report{t.Epoch, ownership.Running, "waits and tries again: " + t.trace}, Retry{t.Epoch, Pause(t.tries)}}
	}
	t.Phase, t.trace = Failed, e.Err.Error()
	return t, []Effect{Report{t.Epoch, ownership.Failed, t.trace}}
}
