package raftnode

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// logger lets hashicorp/raft write to slog. Its info lines tell of inner steps, so they become debug lines; warnings
// and errors stay what they are, save those of ordinary life (a peer that does not answer is said once, by the
// coordinator).
type logger struct {
	l    *slog.Logger
	name string
	args []any
}

func newLogger(l *slog.Logger) hclog.Logger { return &logger{l: l, name: "raft"} }

func (g *logger) level(l hclog.Level, msg string) slog.Level {
	switch l {
	case hclog.Error:
		for _, ordinary := range []string{"failed to heartbeat to", "failed to appendEntries to", "failed to make requestVote",
			"failed to pipeline appendEntries", "failed to decode incoming command", "failed to flush response", "peer has newer term"} {
			if strings.Contains(msg, ordinary) {
				return slog.LevelDebug
			}
		}
		return slog.LevelError
	case hclog.Warn:
		if strings.Contains(msg, "heartbeat timeout reached") || strings.Contains(msg, "Election timeout reached") ||
			strings.Contains(msg, "failed to contact") || strings.Contains(msg, "rejecting") ||
			strings.Contains(msg, "previous log term mis-match") || strings.Contains(msg, "no known peers") {
			return slog.LevelDebug
		}
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

func (g *logger) Log(l hclog.Level, msg string, args ...any) {
	ctx := context.Background() // hclog has no context to pass
	level := g.level(l, msg)
	if !g.l.Enabled(ctx, level) {
		return
	}
	all := make([]any, 0, len(g.args)+len(args))
	for _, a := range append(append([]any{}, g.args...), args...) {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if layout, ok := f[0].(string); ok {
				a = fmt.Sprintf(layout, f[1:]...)
			}
		}
		all = append(all, a)
	}
	g.l.Log(ctx, level, g.name+": "+msg, all...)
}

func (g *logger) Trace(msg string, args ...any) { g.Log(hclog.Trace, msg, args...) }
func (g *logger) Debug(msg string, args ...any) { g.Log(hclog.Debug, msg, args...) }
func (g *logger) Info(msg string, args ...any)  { g.Log(hclog.Info, msg, args...) }
func (g *logger) Warn(msg string, args ...any)  { g.Log(hclog.Warn, msg, args...) }
func (g *logger) Error(msg string, args ...any) { g.Log(hclog.Error, msg, args...) }

func (g *logger) IsTrace() bool         { return false }
func (g *logger) IsDebug() bool         { return g.l.Enabled(context.Background(), slog.LevelDebug) }
func (g *logger) IsInfo() bool          { return g.IsDebug() }
func (g *logger) IsWarn() bool          { return true }
func (g *logger) IsError() bool         { return true }
func (g *logger) ImpliedArgs() []any    { return g.args }
func (g *logger) Name() string          { return g.name }
func (g *logger) SetLevel(hclog.Level)  {}
func (g *logger) GetLevel() hclog.Level { return hclog.Debug }
func (g *logger) With(args ...any) hclog.Logger {
	return &logger{l: g.l, name: g.name, args: append(append([]any{}, g.args...), args...)}
}
func (g *logger) Named(name string) hclog.Logger {
	return &logger{l: g.l, name: g.name + "." + name, args: g.args}
}
func (g *logger) ResetNamed(name string) hclog.Logger {
	return &logger{l: g.l, name: name, args: g.args}
}
func (g *logger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(g.l.Handler(), slog.LevelDebug)
}
func (g *logger) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
