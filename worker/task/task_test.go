package task

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// show prints effects as short words, for tables that read.
func show(effects []Effect) string {
	var out []string
	for _, e := range effects {
		switch e := e.(type) {
		case Start:
			out = append(out, fmt.Sprintf("start(%d)", e.Epoch))
		case Stop:
			word := "stop"
			if e.Now {
				word = "kill"
			}
			out = append(out, fmt.Sprintf("%s(%d)", word, e.Epoch))
		case Retry:
			out = append(out, fmt.Sprintf("retry(%s)", e.After))
		case Release:
			out = append(out, fmt.Sprintf("release(%d)", e.Epoch))
		case Report:
			s := fmt.Sprintf("%s(%d)", strings.ToLower(string(e.State)), e.Epoch)
			if e.Trace != "" {
				s += "{" + e.Trace + "}"
			}
			out = append(out, s)
		case Forget:
			out = append(out, "forget")
		}
	}
	return strings.Join(out, " ")
}

func TestLife(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	type step struct {
		e    Event
		want string
	}
	cases := []struct {
		name  string
		steps []step
	}{
		{"start, trouble, recover, stop for good", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Assigned{Epoch: 5}, ""},
			{Trouble{5, "no broker"}, "running(5){no broker}"},
			{Trouble{5, "no broker"}, ""},
			{Trouble{5, ""}, "running(5)"},
			{Drain{}, "stop(5)"},
			{Ended{Epoch: 5}, "forget"},
		}},
		{"pause and resume under one epoch", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Assigned{Epoch: 5, Paused: true}, "stop(5)"},
			{Ended{Epoch: 5}, "paused(5)"},
			{Assigned{Epoch: 5, Paused: true}, ""},
			{Assigned{Epoch: 5}, "start(5) running(5)"},
		}},
		{"resumed before the pause was done", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Assigned{Epoch: 5, Paused: true}, "stop(5)"},
			{Assigned{Epoch: 5}, ""},
			{Ended{Epoch: 5}, "start(5) running(5)"},
		}},
		{"a newer epoch waits for the old run", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Assigned{Epoch: 7}, "stop(5)"},
			{Assigned{Epoch: 6}, ""},
			{Ended{Epoch: 5}, "start(7) running(7)"},
			{Ended{Epoch: 5, Err: boom}, ""},
		}},
		{"transient errors back off, and the pause grows", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Ended{Epoch: 5, Err: boom, Transient: true}, "running(5){waits and tries again: boom} retry(500ms)"},
			{Assigned{Epoch: 5}, ""},
			{RetryDue{5}, "start(5) running(5){boom}"},
			{Ended{Epoch: 5, Err: boom, Transient: true}, "running(5){waits and tries again: boom} retry(1s)"},
			{RetryDue{5}, "start(5) running(5){boom}"},
			{Ended{Epoch: 5, Err: boom, Transient: true, Lasted: true}, "running(5){waits and tries again: boom} retry(500ms)"},
			{RetryDue{4}, ""},
			{Assigned{Epoch: 5, Paused: true}, "paused(5)"},
			{RetryDue{5}, ""},
		}},
		{"a failed task needs a newer epoch", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Ended{Epoch: 5, Err: boom}, "failed(5){boom}"},
			{Assigned{Epoch: 5}, ""},
			{Assigned{Epoch: 5, Paused: true}, ""},
			{Assigned{Epoch: 8}, "start(8) running(8)"},
		}},
		{"hand-over", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Revoked{5}, "stop(5)"},
			{Revoked{5}, ""},
			{Ended{Epoch: 5}, "release(5)"},
			{Revoked{5}, ""},
			{Gone{}, "forget"},
		}},
		{"handed back what never ran", []step{
			{Revoked{5}, "release(5)"},
			{Gone{}, "forget"},
		}},
		{"given back, then given again", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Revoked{5}, "stop(5)"},
			{Ended{Epoch: 5}, "release(5)"},
			{Assigned{Epoch: 9}, "start(9) running(9)"},
		}},
		{"taken away", []step{
			{Assigned{Epoch: 5}, "start(5) running(5)"},
			{Gone{}, "kill(5)"},
			{Ended{Epoch: 5, Err: boom}, "forget"},
		}},
		{"born paused", []step{
			{Assigned{Epoch: 5, Paused: true}, "paused(5)"},
			{Drain{}, "forget"},
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var task Task
			for i, s := range c.steps {
				var effects []Effect
				task, effects = task.Step(s.e)
				if got := show(effects); got != s.want {
					t.Fatalf("step %d, %T%+v: got %q, want %q", i, s.e, s.e, got, s.want)
				}
			}
		})
	}
}

func TestPauseIsBounded(t *testing.T) {
	t.Parallel()
	for n := range 100 {
		if p := Pause(n); p < FirstPause || p > LastPause {
			t.Fatalf("pause %d is %s", n, p)
		}
	}
	if Pause(2) != time.Second || Pause(50) != LastPause {
		t.Error("pauses do not double up to the last")
	}
}

// One run at a time, runs never of an older epoch than the last, and a stopped run is always waited for.
func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var task Task
		var alive, newest uint64
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			var e Event
			epoch := rapid.Uint64Range(1, 9).Draw(t, "epoch")
			switch rapid.IntRange(0, 6).Draw(t, "event") {
			case 0, 1:
				e = Assigned{Epoch: epoch, Paused: rapid.Bool().Draw(t, "paused")}
			case 2:
				e = Revoked{epoch}
			case 3:
				e = Gone{}
			case 4:
				e = Trouble{epoch, "t"}
			case 5:
				e = RetryDue{epoch}
			case 6:
				if alive == 0 {
					continue
				}
				ended := Ended{Epoch: alive, Transient: rapid.Bool().Draw(t, "transient")}
				if rapid.Bool().Draw(t, "err") {
					ended.Err = errors.New("x")
				}
				alive = 0
				e = ended
			}
			var effects []Effect
			task, effects = task.Step(e)
			for _, f := range effects {
				switch f := f.(type) {
				case Start:
					if alive != 0 {
						t.Fatalf("%T%+v starts %d while %d runs", e, e, f.Epoch, alive)
					}
					if f.Epoch < newest {
						t.Fatalf("epoch %d starts after %d", f.Epoch, newest)
					}
					alive, newest = f.Epoch, f.Epoch
				case Stop:
					if f.Epoch != alive {
						t.Fatalf("%d is stopped while %d runs", f.Epoch, alive)
					}
				case Release, Forget:
					if alive != 0 {
						t.Fatalf("%s while %d runs", show(effects), alive)
					}
					if _, ok := f.(Forget); ok {
						task, newest = Task{}, 0
					}
				}
			}
		}
	})
}
