package cdc

import (
	"fmt"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
)

// Format is one way to write change events, known by name.
type Format struct {
	// Name as in cdc.format.
	Name string
	// Doc is a sentence for people.
	Doc string
	// New makes a decoder. It is owned by one goroutine.
	New func(Options) (connectors.Decoder, error)
}

// Registry holds the formats that a node knows. It is filled once, then only read.
type Registry struct {
	formats map[string]Format
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry { return &Registry{formats: make(map[string]Format)} }

// Register adds a format; a name can be taken once.
func (r *Registry) Register(f Format) error {
	if _, taken := r.formats[f.Name]; taken {
		return fmt.Errorf("register change format %q: the name is taken", f.Name)
	}
	r.formats[f.Name] = f
	return nil
}

// Names lists the formats, sorted.
func (r *Registry) Names() []string {
	names := make([]string, 0, len(r.formats))
	for n := range r.formats {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// Format gives a format by name.
func (r *Registry) Format(name string) (Format, bool) {
	f, ok := r.formats[name]
	return f, ok
}

// ErrUnknownFormat names the formats that there are.
type ErrUnknownFormat struct {
	Name  string
	Known []string
}

// Error implements error.
func (e *ErrUnknownFormat) Error() string {
	return fmt.Sprintf("cdc.format %q is unknown; there are: %s", e.Name, strings.Join(e.Known, ", "))
}

// New makes a decoder of a format.
func (r *Registry) New(name string, o Options) (connectors.Decoder, error) {
	f, ok := r.formats[name]
	if !ok {
		return nil, &ErrUnknownFormat{Name: name, Known: r.Names()}
	}
	d, err := f.New(o)
	if err != nil {
		return nil, fmt.Errorf("decoder of format %s: %w", name, err)
	}
	return d, nil
}
