package cdc

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"sluice.io/sluice/connectors"
)

// Found says how many records of a topic were in which format.
type Found struct {
	Finding
	Topic   string
	Records int64
	// First is the event id of the first one.
	First string
}

// Auto decodes each record by the format that Detect tells for it, so that what a record means does not depend on the
// records before it (D7). Debezium is tried first, since that is the same as detecting it, and faster.
//
// Found may be called from any goroutine.
type Auto struct {
	reg  *Registry
	opts Options
	main connectors.Decoder // Debezium
	subs map[string]connectors.Decoder

	mu    sync.Mutex
	found map[foundKey]*Found
	last  *Found
}

type foundKey struct{ topic, format, encoding string }

// AutoName is the name of the format that detects the others.
const AutoName = "auto"

// NewAuto makes a decoder that detects the formats of reg. main is the name of the format that is tried first and that
// takes tombstones.
func NewAuto(reg *Registry, main string, o Options) (*Auto, error) {
	d, err := reg.New(main, o)
	if err != nil {
		return nil, err
	}
	return &Auto{reg: reg, opts: o, main: d, subs: map[string]connectors.Decoder{main: d}, found: map[foundKey]*Found{}}, nil
}

// Decode implements connectors.Decoder.
func (a *Auto) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	out, err := a.main.Decode(dst, rec)
	if err == nil && len(out) > len(dst) && out[len(out)-1].Kind == connectors.Tombstone {
		if _, flat := rec.Header(flatHeader); flat { // the headers of a flattened delete tell its position
			return a.other(dst, rec, nil)
		}
	}
	if err == nil {
		kind := "debezium"
		if len(rec.Value) == 0 || out[len(out)-1].Kind == connectors.Tombstone {
			kind = FormatTombstone
		}
		a.note(rec, kind)
		return out, nil
	}
	if _, poison := connectors.IsPoison(err); !poison {
		return dst, err
	}
	return a.other(dst, rec, err)
}

// other decodes a record that is not of the main format, for which that one said err.
func (a *Auto) other(dst []connectors.Change, rec *connectors.Record, err error) ([]connectors.Change, error) {
	f := Detect(rec)
	if f.Format == "" {
		a.noteFinding(rec, f)
		if f.Encoding == "json" || f.Encoding == "json-schema" {
			return dst, &connectors.DecodeError{Class: connectors.ClassUnknown, Reason: f.Why, Err: err}
		}
		return dst, err
	}
	a.noteFinding(rec, f)
	d, ok := a.subs[f.Format]
	if ok && d == a.main {
		return dst, err
	}
	if !ok {
		var unknown *ErrUnknownFormat
		if d, err = a.reg.New(f.Format, a.opts); errors.As(err, &unknown) {
			return dst, connectors.Poison(connectors.ClassUnknown, "%v", err)
		} else if err != nil {
			return dst, fmt.Errorf("format %s, detected on topic %s: %w", f.Format, rec.Topic, err)
		}
		a.subs[f.Format] = d
	}
	return d.Decode(dst, rec)
}

// note counts a record of the main format without looking into it again.
func (a *Auto) note(rec *connectors.Record, format string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if l := a.last; l != nil && l.Format == format && l.Topic == rec.Topic {
		l.Records++
		return
	}
	k := foundKey{rec.Topic, format, ""}
	f := a.found[k]
	if f == nil {
		x := Detect(rec)
		x.Format = format
		f = &Found{Finding: x, Topic: rec.Topic, First: rec.EventID()}
		a.found[k] = f
	}
	f.Records++
	a.last = f
}

func (a *Auto) noteFinding(rec *connectors.Record, x Finding) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k := foundKey{rec.Topic, x.Format, x.Encoding}
	f := a.found[k]
	if f == nil {
		f = &Found{Finding: x, Topic: rec.Topic, First: rec.EventID()}
		a.found[k] = f
	}
	f.Records++
}

// Found reports what was found, most records first.
func (a *Auto) Found() []Found {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make([]Found, 0, len(a.found))
	for _, f := range a.found {
		out = append(out, *f)
	}
	slices.SortFunc(out, func(x, y Found) int {
		if x.Records != y.Records {
			return int(min(1, max(-1, y.Records-x.Records)))
		}
		if x.Topic != y.Topic {
			return strings.Compare(x.Topic, y.Topic)
		}
		return strings.Compare(x.Format, y.Format)
	})
	return out
}

// Rebuild implements connectors.Rebuilder by the main format: changes of others are never Complete.
func (a *Auto) Rebuild(dst []byte, opText string, captureTsNs int64, raw connectors.Raw) []byte {
	if r, ok := a.main.(connectors.Rebuilder); ok {
		return r.Rebuild(dst, opText, captureTsNs, raw)
	}
	return dst
}
