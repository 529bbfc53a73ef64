package loggers

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestLevels(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	r := New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: Trace}))
	silver := r.Logger("worker.silver").With("table", "t")
	raft := slog.New(r.Handler()).With(Attr, "coordinator.raft").WithGroup("g")
	say := func(want string) {
		t.Helper()
		out.Reset()
		for _, l := range []slog.Level{Trace, slog.LevelDebug, slog.LevelInfo, slog.LevelError} {
			silver.Log(context.Background(), l, "s")
			raft.Log(context.Background(), l, "r")
		}
		got := ""
		for line := range strings.Lines(out.String()) {
			got += line[strings.Index(line, "msg=")+4:][:1]
		}
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	say("srsr")
	now := time.UnixMilli(1)
	if got := r.Set("worker", slog.LevelError, now); !slices.Equal(got, []string{"worker", "worker.silver"}) {
		t.Error(got)
	}
	say("rsr")
	r.Set(Root, Off, now)
	say("s")
	r.Set("worker.silver", Trace, now)
	say("ssss")
	r.Set("worker.silver", Trace, time.UnixMilli(9))
	if s, ok := r.Get("worker.silver"); !ok || !s.Modified.Equal(now) || LevelName(s.Level) != "TRACE" {
		t.Error(s, ok)
	}
	if s := r.All()["coordinator.raft"]; LevelName(s.Level) != "OFF" || !s.Modified.IsZero() {
		t.Error(s)
	}
	r.Set("a.b", slog.LevelDebug, now)
	if r.Logger("a.b.c"); !r.Logger("a.b.c").Enabled(context.Background(), slog.LevelDebug) {
		t.Error("a later logger inherits")
	}
	r.SetRoot(slog.LevelWarn)
	if s, _ := r.Get("coordinator.raft"); s.Level != slog.LevelWarn {
		t.Error(s)
	}
	if _, ok := r.Get("nobody"); ok {
		t.Error("nobody")
	}
	for _, l := range []string{"trace", "Fatal", "off"} {
		if _, err := ParseLevel(l); err != nil {
			t.Error(err)
		}
	}
}
