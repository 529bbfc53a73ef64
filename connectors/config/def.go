package config

import (
	"cmp"
	"slices"
)

// Type is the type of a configuration value, with the names that Kafka Connect shows. Clients decode it as a closed
// list.
type Type string

// The types of Kafka Connect's ConfigDef.
const (
	Boolean  Type = "BOOLEAN"
	String   Type = "STRING"
	Int      Type = "INT"
	Short    Type = "SHORT"
	Long     Type = "LONG"
	Double   Type = "DOUBLE"
	List     Type = "LIST"
	Class    Type = "CLASS"
	Password Type = "PASSWORD"
)

// Importance says how likely a user is to need a key.
type Importance string

// The importances of Kafka Connect, in falling order.
const (
	High   Importance = "HIGH"
	Medium Importance = "MEDIUM"
	Low    Importance = "LOW"
)

func (i Importance) rank() int {
	switch i {
	case High:
		return 0
	case Medium:
		return 1
	default:
		return 2
	}
}

// Width tells a form how wide the field is.
type Width string

// The widths of Kafka Connect.
const (
	WidthNone   Width = "NONE"
	WidthShort  Width = "SHORT"
	WidthMedium Width = "MEDIUM"
	WidthLong   Width = "LONG"
)

// The groups of the framework's keys, in the order in which forms show them.
const (
	groupCommon     = "Common"
	groupTransforms = "Transforms"
	groupPredicates = "Predicates"
	groupErrors     = "Error Handling"
)

// Definition describes one configuration key, as GET /connector-plugins/{p}/config shows it. It is immutable.
type Definition struct {
	Name string
	Type Type
	// Required tells that there is no default: the key must be given.
	Required bool
	// Default is the value of an absent key, in its text form; nil is a null. Meaningless where Required.
	Default     *string
	Importance  Importance
	Doc         string
	Group       string // empty: none, shown as null
	Order       int    // in the group; -1 where Group is empty
	Width       Width
	DisplayName string
	// Dependents are always empty: clients exist that cannot decode anything else.
	Dependents []string

	// check says why a parsed value is wrong, or "".
	check check
	// recommend are the values that a form offers.
	recommend []string
	// resolve finds the class behind a CLASS value; nil: any text is fine.
	resolve func(string) bool
}

// check judges a value that has its type's syntax. null tells that there is no value (a parse error, a JSON null,
// or a null default). It returns the reason of the refusal, "" when all is well.
type check func(v value) string

// text makes a default.
func text(s string) *string { return &s }

// defs is an ordered set of definitions: the order is that in which they are shown.
type defs []Definition

func (d defs) find(name string) *Definition {
	for i := range d {
		if d[i].Name == name {
			return &d[i]
		}
	}
	return nil
}

// groups gives the groups in the order of their first definition.
func (d defs) groups() []string {
	var out []string
	for _, def := range d {
		if def.Group != "" && !slices.Contains(out, def.Group) {
			out = append(out, def.Group)
		}
	}
	return out
}

// sorted gives the order in which Kafka Connect embeds the keys of a plugin: by group and order in it, required
// keys first, then by importance and name.
func (d defs) sorted() defs {
	out := slices.Clone(d)
	slices.SortStableFunc(out, func(a, b Definition) int {
		return cmp.Or(
			cmp.Compare(a.Group, b.Group),
			cmp.Compare(orderOf(a), orderOf(b)),
			boolCompare(a.Required, b.Required),
			cmp.Compare(a.Importance.rank(), b.Importance.rank()),
			cmp.Compare(a.Name, b.Name),
		)
	})
	return out
}

func orderOf(d Definition) int {
	if d.Group == "" {
		return -1
	}
	return d.Order
}

// boolCompare puts true first.
func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	default:
		return 1
	}
}

// embed gives the definitions under a prefix, numbered in a group of their own.
func (d defs) embed(prefix, group string, from int) defs {
	out := make(defs, 0, len(d))
	for _, def := range d.sorted() {
		def.DisplayName = cmp.Or(def.DisplayName, def.Name)
		def.Name = prefix + def.Name
		def.Group, def.Order = group, from
		from++
		out = append(out, def)
	}
	return out
}

// plain fills in what a definition without group has.
func plain(d Definition) Definition {
	d.DisplayName = cmp.Or(d.DisplayName, d.Name)
	d.Width = cmp.Or(d.Width, WidthNone)
	if d.Group == "" {
		d.Order = -1
	}
	return d
}
