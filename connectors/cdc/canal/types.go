package canal

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/cdc/internal/typed"
	"sluice.io/sluice/connectors/schema"
)

// columns are the declared types of a table's columns.
type columns struct {
	id    int
	types map[string]schema.Type
}

// shapeKey names a row shape: the members of an untyped row under a set of types.
type shapeKey struct {
	plain *connectors.Shape
	types int
}

const maxTypes = 512

// columns reads mysqlType: {"id":"int(11)", …}.
func (d *Decoder) columns(text string) (*columns, error) {
	if c, ok := d.types[text]; ok {
		return c, nil
	}
	c := &columns{id: len(d.types), types: map[string]schema.Type{}}
	if text != "" {
		f, err := d.Split(text)
		if err != nil {
			return nil, err
		}
		for _, m := range f {
			c.types[strings.Clone(m.Name)] = typeOf(d.Str(m.Text))
		}
	}
	if len(d.types) >= maxTypes {
		clear(d.types)
		clear(d.shapes)
	}
	d.types[strings.Clone(text)] = c
	return c, nil
}

func typeOf(mysqlType string) schema.Type {
	base, args, unsigned := typeName(mysqlType)
	switch base {
	case "tinyint", "smallint", "mediumint", "int", "integer", "year":
		return schema.Of(schema.Long)
	case "bigint":
		if unsigned {
			return schema.DecimalOf(20, 0)
		}
		return schema.Of(schema.Long)
	case "decimal", "numeric":
		p, s := 10, 0
		if n, err := strconv.Atoi(args[0]); err == nil {
			p = n
		}
		if len(args) > 1 {
			s, _ = strconv.Atoi(args[1])
		}
		if p >= 1 && p <= 38 && s >= 0 && s <= p {
			return schema.DecimalOf(p, s)
		}
	case "float", "double", "real":
		return schema.Of(schema.Double)
	case "date":
		return schema.Of(schema.Date)
	case "datetime", "timestamp": // without zone: the text is in the zone of Canal's session
		return schema.Of(schema.TimestampNTZ)
	case "binary", "varbinary", "blob", "tinyblob", "mediumblob", "longblob":
		return schema.Of(schema.Binary)
	}
	return schema.Of(schema.String)
}

// row reads a row and gives its texts the declared types.
func (d *Decoder) row(text string, cols *columns) (connectors.Row, error) {
	row, err := d.Row(text, "row")
	if err != nil {
		return row, err
	}
	k := shapeKey{row.Shape, cols.id}
	sh := d.shapes[k]
	if sh == nil {
		sh = &connectors.Shape{Names: row.Shape.Names, Types: make([]schema.Type, len(row.Shape.Names))}
		for i, n := range sh.Names {
			t, ok := cols.types[n]
			if !ok {
				t = schema.Of(schema.String)
			}
			sh.Types[i] = t
		}
		d.shapes[k] = sh
	}
	row.Shape = sh
	for i := range row.Values {
		v := &row.Values[i]
		if v.State != connectors.Present {
			continue
		}
		if v.Kind != schema.String { // some clones send numbers
			v.Str = number(*v)
		}
		out, rescued, err := convert(v.Str, sh.Types[i], &d.R)
		if err != nil {
			return row, connectors.Poison(connectors.ClassBadValue, "column %s: %v", sh.Names[i], err)
		}
		if rescued {
			row.Rescue(connectors.Rescued{Column: i, Text: v.Str})
		}
		*v = out
	}
	return row, nil
}

func number(v connectors.Value) string {
	if v.Kind == schema.Double {
		return strconv.FormatFloat(v.Float64(), 'g', -1, 64)
	}
	return strconv.FormatInt(v.Int, 10)
}

// convert gives a text its type. rescued: the type cannot hold it (a zero date), it is NULL.
func convert(s string, t schema.Type, r *js.Reader) (v connectors.Value, rescued bool, err error) {
	switch t.Kind {
	case schema.Long:
		n, err := strconv.ParseInt(s, 10, 64)
		return connectors.Int(schema.Long, n), false, err
	case schema.Double:
		f, err := strconv.ParseFloat(s, 64)
		return connectors.Float(f), false, err
	case schema.Decimal:
		n, scale, ok := js.ParseDecimal(s)
		var exact *big.Int
		if ok {
			exact, ok = js.Rescale(n, scale, t.Scale)
		}
		if !ok {
			return v, false, fmt.Errorf("%q is no %s", s, t)
		}
		b := r.Keep(connectors.AppendUnscaled(nil, exact))
		if !typed.Fits(b, t.Precision) {
			return connectors.NullValue(), true, nil
		}
		return connectors.Dec(b, t.Scale), false, nil
	case schema.Date:
		days, next := typed.ParseDate(s)
		if next != len(s) || days < typed.MinDay || days > typed.MaxDay {
			return connectors.NullValue(), true, nil // zero dates and halves of dates
		}
		return connectors.Int(schema.Date, days), false, nil
	case schema.TimestampNTZ:
		micros, _, ok, _ := typed.ParseStamp(s)
		if !ok {
			return connectors.NullValue(), true, nil
		}
		return connectors.Int(schema.TimestampNTZ, micros), false, nil
	case schema.Binary: // each byte is the character of its number (ISO-8859-1)
		b := r.Bytes(utf8.RuneCountInString(s))
		i := 0
		for _, c := range s {
			if c > 0xff {
				return v, false, fmt.Errorf("a binary value holds the character %q", c)
			}
			b[i] = byte(c)
			i++
		}
		return connectors.Bytes(js.Text(b)), false, nil
	}
	return connectors.Text(s), false, nil
}
