// Package loggers keeps the levels of named loggers, to be changed while the process runs.
//
// A logger is named by the attribute "logger" (slog.Logger.With("logger", "worker.silver")); names are dotted, and a
// logger without a level of its own has that of its nearest ancestor, at last that of "root". Checking whether a line
// is wanted costs one atomic load.
package loggers

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Attr is the attribute that names a logger.
const Attr = "logger"

// Root is the name of the logger above all.
const Root = "root"

// Levels of Kafka Connect that slog has no names for.
const (
	Trace = slog.Level(-8)
	Fatal = slog.Level(12)
	Off   = slog.Level(1 << 20)
)

var levels = []struct {
	name  string
	level slog.Level
}{{"TRACE", Trace}, {"DEBUG", slog.LevelDebug}, {"INFO", slog.LevelInfo}, {"WARN", slog.LevelWarn}, {"ERROR", slog.LevelError}, {"FATAL", Fatal}, {"OFF", Off}}

// ParseLevel reads TRACE, DEBUG, INFO, WARN, ERROR, FATAL or OFF, in any case.
func ParseLevel(s string) (slog.Level, error) {
	for _, l := range levels {
		if strings.EqualFold(l.name, s) {
			return l.level, nil
		}
	}
	return 0, fmt.Errorf("invalid log level '%s'", s)
}

// LevelName is the inverse of ParseLevel; levels between two names have the lower one.
func LevelName(l slog.Level) string {
	name := levels[0].name
	for _, x := range levels {
		if l >= x.level {
			name = x.name
		}
	}
	return name
}

// State is the level of one logger.
type State struct {
	Level slog.Level
	// Modified is when the level was last changed at run time; zero: never.
	Modified time.Time
}

// Registry holds the levels. It is safe for concurrent use.
type Registry struct {
	out slog.Handler

	mu     sync.Mutex
	named  map[string]*logger
	atRoot *logger
}

type logger struct {
	name  string
	level atomic.Int64 // the effective one
	own   bool         // under Registry.mu, as modified
	// modified is when own was last changed.
	modified time.Time
}

// New makes a registry whose lines go to out, which must let every level through; nil drops them. The root's level
// is INFO.
func New(out slog.Handler) *Registry {
	if out == nil {
		out = slog.DiscardHandler
	}
	r := &Registry{out: out, named: map[string]*logger{}}
	r.atRoot = &logger{name: Root, own: true}
	r.named[Root] = r.atRoot
	return r
}

// Handler gives the handler to make loggers of.
func (r *Registry) Handler() slog.Handler { return handler{registry: r, logger: r.atRoot, out: r.out} }

// Logger gives the logger of a name, entering it.
func (r *Registry) Logger(name string) *slog.Logger { return slog.New(r.Handler()).With(Attr, name) }

// SetRoot sets the root's level from the settings, without marking it as changed at run time.
func (r *Registry) SetRoot(l slog.Level) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.atRoot.level.Store(int64(l))
	r.inherit()
}

// All gives the state of every logger that there is.
func (r *Registry) All() map[string]State {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[string]State, len(r.named))
	for n, l := range r.named {
		out[n] = l.state()
	}
	return out
}

// Get gives the state of one logger.
func (r *Registry) Get(name string) (State, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l, ok := r.named[name]
	if !ok {
		return State{}, false
	}
	return l.state(), true
}

// Set changes the level of a logger and of those below it, and names them, sorted. A name that is not there yet is
// entered: loggers that come later below it inherit. To set the same level again changes nothing.
func (r *Registry) Set(name string, level slog.Level, now time.Time) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.enter(name)
	var affected []string
	for _, n := range slices.Sorted(maps.Keys(r.named)) {
		if n != name && !strings.HasPrefix(n, name+".") {
			continue
		}
		l := r.named[n]
		if !l.own || l.level.Load() != int64(level) {
			l.own, l.modified = true, now
			l.level.Store(int64(level))
		}
		affected = append(affected, n)
	}
	r.inherit()
	return affected
}

func (l *logger) state() State { return State{Level: slog.Level(l.level.Load()), Modified: l.modified} }

// enter gives the logger of a name, made when it is not there. It needs mu.
func (r *Registry) enter(name string) *logger {
	l, ok := r.named[name]
	if !ok {
		l = &logger{name: name}
		l.level.Store(r.ancestor(name).level.Load())
		r.named[name] = l
	}
	return l
}

// ancestor finds the nearest logger above that has a level of its own. It needs mu.
func (r *Registry) ancestor(name string) *logger {
	for {
		i := strings.LastIndexByte(name, '.')
		if i < 0 {
			return r.atRoot
		}
		name = name[:i]
		if l, ok := r.named[name]; ok && l.own {
			return l
		}
	}
}

// inherit brings the effective levels up to date. It needs mu.
func (r *Registry) inherit() {
	for n, l := range r.named {
		if !l.own {
			l.level.Store(r.ancestor(n).level.Load())
		}
	}
}

// handler is a slog.Handler whose level is a registry's.
type handler struct {
	registry *Registry
	logger   *logger
	out      slog.Handler
}

// Enabled implements slog.Handler.
func (h handler) Enabled(_ context.Context, l slog.Level) bool {
	return int64(l) >= h.logger.level.Load()
}

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, rec slog.Record) error { return h.out.Handle(ctx, rec) }

// WithAttrs implements slog.Handler. An attribute "logger" names the logger.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	h.out = h.out.WithAttrs(attrs)
	for _, a := range attrs {
		if a.Key == Attr && a.Value.Kind() == slog.KindString && a.Value.String() != "" {
			h.registry.mu.Lock()
			h.logger = h.registry.enter(a.Value.String())
			h.registry.mu.Unlock()
		}
	}
	return h
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler {
	h.out = h.out.WithGroup(name)
	return h
}
