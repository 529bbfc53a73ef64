package smt

import "sluice.io/sluice/connectors"

// Wrap gives a Decoder that runs the chain on what inner decodes. It is the one place where transforms run, on the way from Kafka and on
// that from bronze, so that silver does not depend on the way (D7). What bronze keeps (Raw, OpText, source and times) is
// inner's: bronze has the row of every record as it came (D6).
//
// A change that the chain takes out becomes a Control, which silver passes over. A change that it refuses makes its record a dead
// letter of stage transform, and all changes of the record Controls: nothing of it is applied.
//
// It is a Rebuilder where inner is one, and inner itself where the chain is empty. Like the chain it belongs to one goroutine.
func Wrap(inner connectors.Decoder, chain *Chain) connectors.Decoder {
	if chain.Empty() {
		return inner
	}
	d := &decoder{inner: inner, chain: chain}
	if r, ok := inner.(connectors.Rebuilder); ok {
		return &rebuilder{decoder: d, Rebuilder: r}
	}
	return d
}

type decoder struct {
	inner connectors.Decoder
	chain *Chain
}

type rebuilder struct {
	*decoder
	connectors.Rebuilder
}

// Decode implements connectors.Decoder.
func (d *decoder) Decode(dst []connectors.Change, rec *connectors.Record) ([]connectors.Change, error) {
	out, err := d.inner.Decode(dst, rec)
	if err != nil {
		return out, err
	}
	made := out[len(dst):]
	for i := range made {
		keep, err := d.chain.Apply(&made[i])
		if err != nil {
			for k := range made {
				silence(&made[k])
			}
			return out, err
		}
		if !keep {
			silence(&made[i])
		}
	}
	return out, nil
}

// silence makes a change one that changes nothing.
func silence(c *connectors.Change) {
	if c.Kind == connectors.Control {
		return
	}
	c.Kind, c.ControlKind, c.Op = connectors.Control, connectors.OtherControl, connectors.NoOp
}
