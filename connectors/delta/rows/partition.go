package rows

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
)

// ErrPartitionValue is wrapped where a partition value is not of its column's type, or has no form in the log.
var ErrPartitionValue = fmt.Errorf("bad partition value")

// ParsePartitionValue reads a serialised partition value (PROTOCOL.md, "Partition Value Serialization"). The empty string is
// null. A timestamp without zone is a wall clock reading where its writer was; it is read as one of zone (nil: UTC, as all
// engines do).
func ParsePartitionValue(text string, t schema.Type, zone *time.Location) (connectors.Value, error) {
	if text == "" {
		return connectors.NullValue(), nil
	}
	if zone != nil && t.Kind == schema.Timestamp {
		if v, ok := wallClock(text, zone); ok {
			return v, nil
		}
	}
	v, ok := parseLiteral(text, t)
	if !ok {
		return connectors.Value{}, fmt.Errorf("%w: %q is no %s", ErrPartitionValue, text, t)
	}
	return v, nil
}

// wallClock reads a time without zone as one of a zone.
func wallClock(text string, zone *time.Location) (v connectors.Value, ok bool) {
	us, ok := columnar.ParseTimestamp(text, false)
	if !ok {
		return v, false
	}
	wall := time.UnixMicro(us).UTC()
	at := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), wall.Nanosecond(), zone)
	return connectors.Int(schema.Timestamp, at.UnixMicro()), true
}

// parseLiteral reads a value in the form that partition values, and with it predicates, have.
func parseLiteral(text string, t schema.Type) (v connectors.Value, ok bool) {
	switch t.Kind {
	case schema.Boolean:
		switch strings.ToLower(text) {
		case "true":
			return connectors.Bool(true), true
		case "false":
			return connectors.Bool(false), true
		}
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		bits := map[schema.Kind]int{schema.Byte: 8, schema.Short: 16, schema.Integer: 32, schema.Long: 64}[t.Kind]
		if n, err := strconv.ParseInt(text, 10, bits); err == nil {
			return connectors.Int(t.Kind, n), true
		}
	case schema.Float, schema.Double:
		bits := 64
		if t.Kind == schema.Float {
			bits = 32
		}
		if f, err := strconv.ParseFloat(text, bits); err == nil {
			return connectors.Value{State: connectors.Present, Kind: t.Kind, Int: int64(math.Float64bits(f))}, true
		}
	case schema.Decimal:
		return parseDecimal(text, t)
	case schema.String:
		return connectors.Text(text), true
	case schema.Binary:
		return connectors.Bytes(text), true
	case schema.Date:
		if days, ok := columnar.ParseDate(text); ok {
			return connectors.Int(schema.Date, days), true
		}
	case schema.Timestamp, schema.TimestampNTZ:
		if us, ok := columnar.ParseTimestamp(text, t.Kind == schema.Timestamp); ok {
			return connectors.Int(t.Kind, us), true
		}
		// No writer is known to put a zone's name behind a time, but Spark reads one.
		if at := strings.LastIndexByte(text, ' '); t.Kind == schema.Timestamp && at > 0 && at < len(text)-1 && text[at+1:] != "Local" {
			if zone, err := time.LoadLocation(text[at+1:]); err == nil {
				return wallClock(text[:at], zone)
			}
		}
	case schema.Void:
		return connectors.NullValue(), true
	}
	return v, false
}

func parseDecimal(text string, t schema.Type) (v connectors.Value, ok bool) {
	mantissa, exponent := text, 0
	if i := strings.IndexAny(text, "eE"); i >= 0 {
		n, err := strconv.Atoi(text[i+1:])
		if err != nil || n < -100 || n > 100 {
			return v, false
		}
		mantissa, exponent = text[:i], n
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	if len(whole)+len(frac) > 200 {
		return v, false
	}
	n, good := new(big.Int).SetString(whole+frac, 10)
	if !good {
		return v, false
	}
	ten := big.NewInt(10)
	scale := len(frac) - exponent
	for ; scale < t.Scale; scale++ {
		n.Mul(n, ten)
	}
	for ; scale > t.Scale; scale-- {
		var r big.Int
		if n.QuoRem(n, ten, &r); r.Sign() != 0 {
			return v, false
		}
	}
	if new(big.Int).Abs(n).Cmp(new(big.Int).Exp(ten, big.NewInt(int64(t.Precision)), nil)) >= 0 {
		return v, false
	}
	return connectors.Dec(string(connectors.AppendUnscaled(nil, n)), t.Scale), true
}

// FormatPartitionValue serialises a value for an add action. null is true for a null, and for an empty string or binary,
// which a partition can't hold.
func FormatPartitionValue(v connectors.Value, t schema.Type) (text string, null bool, err error) {
	if v.State != connectors.Present {
		return "", true, nil
	}
	switch t.Kind {
	case schema.Boolean:
		text = strconv.FormatBool(v.Int != 0)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		text = strconv.FormatInt(v.Int, 10)
	case schema.Float:
		text = strconv.FormatFloat(v.Float64(), 'g', -1, 32)
	case schema.Double:
		text = strconv.FormatFloat(v.Float64(), 'g', -1, 64)
	case schema.String, schema.Binary:
		// The log is UTF-8, and engines take a binary's bytes from the text's.
		if text = v.Str; !utf8.ValidString(text) {
			return "", false, fmt.Errorf("%w: bytes that are no UTF-8 have no form in the log", ErrPartitionValue)
		}
	case schema.Decimal, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		text = columnar.FormatValue(v, t)
		if t.Kind == schema.TimestampNTZ {
			text = strings.Replace(text, "T", " ", 1)
		}
	default:
		return "", false, fmt.Errorf("%w: a column of %s can't partition a table", ErrPartitionValue, t)
	}
	return text, text == "", nil
}

// partitionValues gives the typed values of a file's partition columns, by index into the table's schema.
func partitionValues(a *delta.Add, l *layout, zone *time.Location) (map[int]connectors.Value, error) {
	out := make(map[int]connectors.Value, len(l.partition))
	for _, i := range l.partition {
		f := &l.schema.Fields[i]
		name := columnar.PhysicalName(f, l.mapping)
		text, null, ok := a.PartitionValues.Get(name)
		if !ok { // some writers used the logical name
			text, null, ok = a.PartitionValues.Get(f.Name)
		}
		if !ok || null {
			out[i] = connectors.NullValue()
			continue
		}
		v, err := ParsePartitionValue(text, f.Type, zone)
		if err != nil {
			return nil, fmt.Errorf("file %s, column %s: %w", a.Path, f.Name, err)
		}
		out[i] = v
	}
	return out, nil
}
