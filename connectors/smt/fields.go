package smt

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// editor gives the row that stands for r. It does not change r, whose values may be shared.
type editor func(c *connectors.Change, r connectors.Row) (connectors.Row, error)

const maxPlans = 1024

// plans keeps what an editor derived from a shape.
type plans[T any] struct{ m map[*connectors.Shape]T }

func (p *plans[T]) get(s *connectors.Shape, derive func(*connectors.Shape) (T, error)) (T, error) {
	if x, ok := p.m[s]; ok {
		return x, nil
	}
	x, err := derive(s)
	if err != nil {
		return x, err
	}
	if p.m == nil || len(p.m) >= maxPlans {
		p.m = make(map[*connectors.Shape]T)
	}
	p.m[s] = x
	return x, nil
}

// replacePlan is a new shape and, for each of its columns, the old one.
type replacePlan struct {
	shape *connectors.Shape
	from  []int
}

func newReplace(s settings) (editor, error) {
	exclude, include := list(s.get("exclude")), list(s.get("include"))
	exclude = append(exclude, list(s.get("blacklist"))...) // names until Kafka 3
	include = append(include, list(s.get("whitelist"))...)
	renames := map[string]string{}
	for _, r := range list(s.get("renames")) {
		from, to, ok := strings.Cut(r, ":")
		if !ok || from == "" || to == "" {
			return nil, wrong("renames", "renames has %q, which is not old:new", r)
		}
		renames[from] = to
	}
	derive := func(old *connectors.Shape) (replacePlan, error) {
		p := replacePlan{shape: &connectors.Shape{}}
		for i, n := range old.Names {
			if slices.Contains(exclude, n) || len(include) > 0 && !slices.Contains(include, n) {
				continue
			}
			if to, ok := renames[n]; ok {
				n = to
			}
			if slices.Contains(p.shape.Names, n) {
				return p, fmt.Errorf("two columns would be named %q", n)
			}
			p.shape.Names = append(p.shape.Names, n)
			if old.Types != nil {
				p.shape.Types = append(p.shape.Types, old.Types[i])
			}
			p.from = append(p.from, i)
		}
		return p, nil
	}
	var known plans[replacePlan]
	return func(_ *connectors.Change, r connectors.Row) (connectors.Row, error) {
		p, err := known.get(r.Shape, derive)
		if err != nil {
			return r, err
		}
		out := connectors.Row{Shape: p.shape, Values: make([]connectors.Value, len(p.from))}
		for i, j := range p.from {
			out.Values[i] = r.Values[j]
			for _, x := range r.Rescued() {
				if x.Column == j {
					out.Rescue(connectors.Rescued{Column: i, Text: x.Text})
				}
			}
		}
		return out, nil
	}, nil
}

func newMask(s settings) (editor, error) {
	fields := list(s.get("fields"))
	if len(fields) == 0 {
		return nil, wrong("fields", "fields is missing")
	}
	replacement := s.get("replacement")
	var known plans[[]int]
	derive := func(sh *connectors.Shape) ([]int, error) {
		var at []int
		for _, f := range fields {
			if i := sh.Index(f); i >= 0 {
				at = append(at, i)
			}
		}
		return at, nil
	}
	return func(_ *connectors.Change, r connectors.Row) (connectors.Row, error) {
		at, err := known.get(r.Shape, derive)
		if err != nil || len(at) == 0 {
			return r, err
		}
		out := r
		out.Values = slices.Clone(r.Values)
		out.SetRescued(slices.DeleteFunc(slices.Clone(r.Rescued()), func(x connectors.Rescued) bool { return slices.Contains(at, x.Column) }))
		for _, i := range at {
			if out.Values[i], err = masked(r.Values[i], replacement); err != nil {
				return r, fmt.Errorf("column %s: %w", r.Shape.Names[i], err)
			}
		}
		return out, nil
	}, nil
}

// masked gives a value of the same kind that says nothing, or the replacement.
func masked(v connectors.Value, replacement string) (connectors.Value, error) {
	if v.State != connectors.Present {
		return v, nil
	}
	if replacement == "" {
		switch v.Kind {
		case schema.String, schema.Binary:
			return connectors.Value{State: v.State, Kind: v.Kind}, nil
		case schema.Decimal:
			return connectors.Dec("\x00", int(v.Int)), nil
		case schema.Array, schema.Map:
			return connectors.Nested(v.Kind, nil), nil
		case schema.Struct:
			return connectors.NullValue(), nil
		}
		return connectors.Value{State: v.State, Kind: v.Kind}, nil
	}
	switch v.Kind {
	case schema.String:
		return connectors.Text(replacement), nil
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		n, err := strconv.ParseInt(replacement, 10, map[schema.Kind]int{schema.Byte: 8, schema.Short: 16, schema.Integer: 32, schema.Long: 64}[v.Kind])
		return connectors.Int(v.Kind, n), err
	case schema.Float, schema.Double:
		f, err := strconv.ParseFloat(replacement, 64)
		x := connectors.Float(f)
		x.Kind = v.Kind
		return x, err
	case schema.Decimal:
		r, ok := new(big.Rat).SetString(replacement)
		if ok {
			r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(v.Int), nil)))
		}
		if !ok || !r.IsInt() || r.Num().BitLen() > 63 {
			return v, fmt.Errorf("the replacement %q is no such decimal", replacement)
		}
		n := r.Num().Int64()
		b := make([]byte, 8)
		for i := 7; i >= 0; i-- {
			b[i] = byte(n)
			n >>= 8
		}
		for len(b) > 1 && (b[0] == 0 && b[1] < 0x80 || b[0] == 0xff && b[1] >= 0x80) {
			b = b[1:]
		}
		return connectors.Dec(string(b), int(v.Int)), nil
	}
	return v, fmt.Errorf("a %s cannot be masked with a replacement", v.Kind)
}

type insertion struct {
	name string
	typ  schema.Type
	of   func(*connectors.Change) connectors.Value
}

func newInsert(s settings) (editor, error) {
	var adds []insertion
	add := func(key string, k schema.Kind, of func(*connectors.Change) connectors.Value) {
		if name := strings.TrimRight(s.get(key), "!?"); name != "" {
			adds = append(adds, insertion{name: name, typ: schema.Of(k), of: of})
		}
	}
	add("topic.field", schema.String, func(c *connectors.Change) connectors.Value { return connectors.Text(c.Topic()) })
	add("partition.field", schema.Integer, func(c *connectors.Change) connectors.Value {
		return connectors.Int(schema.Integer, int64(c.Record.Partition))
	})
	add("offset.field", schema.Long, func(c *connectors.Change) connectors.Value { return connectors.Int(schema.Long, c.Record.Offset) })
	add("timestamp.field", schema.Timestamp, func(c *connectors.Change) connectors.Value {
		return connectors.Int(schema.Timestamp, c.Record.TimestampMs*1000)
	})
	if static := s.get("static.field"); static != "" {
		value := s.get("static.value")
		if value == "" {
			return nil, wrong("static.value", "static.value is missing")
		}
		add("static.field", schema.String, func(*connectors.Change) connectors.Value { return connectors.Text(value) })
	}
	if len(adds) == 0 {
		return nil, fmt.Errorf("none of topic.field, partition.field, offset.field, timestamp.field, static.field is set")
	}
	type plan struct {
		shape *connectors.Shape
		at    []int
	}
	var known plans[plan]
	derive := func(old *connectors.Shape) (plan, error) {
		p := plan{shape: &connectors.Shape{Names: slices.Clone(old.Names), Types: slices.Clone(old.Types)}}
		for _, a := range adds {
			i := p.shape.Index(a.name)
			if i < 0 {
				i = len(p.shape.Names)
				p.shape.Names = append(p.shape.Names, a.name)
				if old.Types != nil {
					p.shape.Types = append(p.shape.Types, a.typ)
				}
			} else if old.Types != nil {
				p.shape.Types[i] = a.typ
			}
			p.at = append(p.at, i)
		}
		return p, nil
	}
	return func(c *connectors.Change, r connectors.Row) (connectors.Row, error) {
		p, err := known.get(r.Shape, derive)
		if err != nil {
			return r, err
		}
		out := connectors.NewRow(p.shape, make([]connectors.Value, len(p.shape.Names)), r.Rescued())
		copy(out.Values, r.Values)
		for k, i := range p.at {
			out.Values[i] = adds[k].of(c)
		}
		return out, nil
	}, nil
}
