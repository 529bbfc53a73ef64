package smt

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

const (
	maskKey = "silver.columns.mask"
	saltKey = "silver.columns.mask.salt"
)

// newHash makes the masks of silver.columns.mask: a value becomes hex(SHA-256(salt ‖ text)), in images and keys alike, so that
// equal values stay equal and a masked key is a key. NULL and what the event does not tell stay.
func newHash(columns []string, salt string) (editor, error) {
	if salt == "" {
		return nil, wrong(saltKey, "silver.columns.mask needs a salt: without one, values that can be guessed are as good as written out")
	}
	type plan struct {
		shape *connectors.Shape
		at    []int
	}
	derive := func(old *connectors.Shape) (plan, error) {
		p := plan{shape: old}
		for i, n := range old.Names {
			if slices.Contains(columns, n) {
				p.at = append(p.at, i)
			}
		}
		if len(p.at) > 0 && old.Types != nil {
			p.shape = &connectors.Shape{Names: old.Names, Types: slices.Clone(old.Types)}
			for _, i := range p.at {
				p.shape.Types[i] = schema.Of(schema.String)
			}
		}
		return p, nil
	}
	var known plans[plan]
	var buf []byte
	return func(_ *connectors.Change, r connectors.Row) (connectors.Row, error) {
		p, err := known.get(r.Shape, derive)
		if err != nil || len(p.at) == 0 {
			return r, err
		}
		out := connectors.Row{Shape: p.shape, Values: slices.Clone(r.Values)}
		rescued := map[int]string{}
		for _, x := range r.Rescued() {
			if slices.Contains(p.at, x.Column) {
				rescued[x.Column] = x.Text // the event's text, which says more than the value
			} else {
				out.Rescue(x)
			}
		}
		for _, i := range p.at {
			buf = append(buf[:0], salt...)
			if text, ok := rescued[i]; ok {
				buf = append(buf, text...)
			} else if v := &r.Values[i]; v.State == connectors.Present {
				buf = appendText(buf, v)
			} else {
				continue
			}
			sum := sha256.Sum256(buf)
			out.Values[i] = connectors.Text(hex.EncodeToString(sum[:]))
		}
		return out, nil
	}, nil
}

// appendText writes a value as people and SQL do. Parts of nested values are set apart by their lengths.
func appendText(dst []byte, v *connectors.Value) []byte {
	if v.State != connectors.Present {
		return append(dst, "null"...)
	}
	switch v.Kind {
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Int != 0)
	case schema.Float, schema.Double:
		return strconv.AppendFloat(dst, v.Float64(), 'g', -1, 64)
	case schema.Decimal:
		return append(dst, decimalText(v)...)
	case schema.String, schema.Binary:
		return append(dst, v.Str...)
	case schema.Date:
		return time.Unix(v.Int*86400, 0).UTC().AppendFormat(dst, time.DateOnly)
	case schema.Timestamp, schema.TimestampNTZ:
		return time.UnixMicro(v.Int).UTC().AppendFormat(dst, "2006-01-02 15:04:05.000000")
	case schema.Array, schema.Map, schema.Struct:
		for _, k := range v.Kids() {
			part := appendText(nil, &k)
			dst = strconv.AppendInt(dst, int64(len(part)), 10)
			dst = append(append(dst, ':'), part...)
		}
		return dst
	}
	return strconv.AppendInt(dst, v.Int, 10)
}
