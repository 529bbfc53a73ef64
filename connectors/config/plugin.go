package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PluginKind is the kind of a plugin, in the text of GET /connector-plugins.
type PluginKind string

// The kinds of plugins, in the order in which they are listed.
const (
	KindSink            PluginKind = "sink"
	KindSource          PluginKind = "source"
	KindTransformation  PluginKind = "transformation"
	KindPredicate       PluginKind = "predicate"
	KindConverter       PluginKind = "converter"
	KindHeaderConverter PluginKind = "header_converter"
)

var kindOrder = []PluginKind{KindSink, KindSource, KindTransformation, KindPredicate, KindConverter, KindHeaderConverter}

// ConnectVersion is the version of Kafka Connect whose REST API is spoken. Clients switch features by it.
const ConnectVersion = "4.3.1"

// Plugin is something that a configuration can name by class.
type Plugin struct {
	// Class is the name that is shown; for what Kafka Connect has too it is the Java class.
	Class   string
	Kind    PluginKind
	Version string
	// Names are further names. Simple names and those without a trailing "Connector" need not be listed.
	Names []string
	// Definitions are the plugin's own keys.
	Definitions []Definition
	// Defaults replace defaults of the framework's keys.
	Defaults map[string]string
	// TaskClass is what GET /connectors/{c}/tasks shows as task.class.
	TaskClass string

	// lakehouse marks the one connector that Parse understands: only it gets the lint and the checks over keys.
	lakehouse bool
}

// aliases gives the short names of a class as Kafka Connect forms them, with the listed ones.
func (p *Plugin) aliases() []string {
	simple := p.Class[strings.LastIndexByte(p.Class, '.')+1:]
	out := slices.Clone(p.Names)
	pruned := simple
	switch p.Kind {
	case KindSink, KindSource:
		pruned = strings.TrimSuffix(simple, "Connector")
	case KindConverter, KindHeaderConverter:
		pruned = strings.TrimSuffix(simple, "Converter")
	}
	for _, n := range []string{pruned, simple} {
		if n != p.Class && n != "" && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func (p *Plugin) is(name string) bool { return name == p.Class || slices.Contains(p.aliases(), name) }

// Registry holds the plugins of a node. It is filled before it is used and then only read: safe for concurrent use.
type Registry struct {
	plugins []*Plugin
}

// NewRegistry gives the registry of this binary: LakehouseSink with the given version, and the converters,
// transformations and predicates that ship with Kafka Connect, under their Java class names.
func NewRegistry(version string) *Registry {
	r := &Registry{}
	r.Add(lakehousePlugin(version))
	for _, p := range stockPlugins() {
		r.Add(p)
	}
	return r
}

// Add registers a plugin.
func (r *Registry) Add(p Plugin) {
	p.Definitions = slices.Clone(p.Definitions)
	for i := range p.Definitions {
		p.Definitions[i] = plain(p.Definitions[i])
	}
	p.Version = cmp.Or(p.Version, ConnectVersion)
	r.plugins = append(r.plugins, &p)
	slices.SortStableFunc(r.plugins, func(a, b *Plugin) int {
		return cmp.Or(
			cmp.Compare(slices.Index(kindOrder, a.Kind), slices.Index(kindOrder, b.Kind)),
			strings.Compare(a.Class, b.Class),
		)
	})
}

// Plugins lists connectors, or all plugins, in Kafka Connect's order.
func (r *Registry) Plugins(connectorsOnly bool) []*Plugin {
	var out []*Plugin
	for _, p := range r.plugins {
		if connectorsOnly && p.Kind != KindSink && p.Kind != KindSource {
			continue
		}
		out = append(out, p)
	}
	return out
}

// Connector finds a connector by its class or alias; nil: there is none.
func (r *Registry) Connector(class string) *Plugin {
	class = strings.TrimSpace(class)
	if p := r.find(class, KindSink); p != nil {
		return p
	}
	return r.find(class, KindSource)
}

// Plugin finds any plugin by its class or alias; nil: there is none. Names are case-sensitive.
func (r *Registry) Plugin(class string) *Plugin {
	for _, k := range kindOrder {
		if p := r.find(class, k); p != nil {
			return p
		}
	}
	return nil
}

func (r *Registry) find(class string, kind PluginKind) *Plugin {
	for _, p := range r.plugins {
		if p.Kind == kind && p.is(class) {
			return p
		}
	}
	return nil
}

func (r *Registry) classes(kind PluginKind) []string {
	var out []string
	for _, p := range r.plugins {
		if p.Kind == kind {
			out = append(out, p.Class)
		}
	}
	return out
}

func (r *Registry) versionOf(class, fallback string) string {
	if p := r.Plugin(class); p != nil {
		return p.Version
	}
	return fallback
}

// versionCheck accepts the installed version, and Maven ranges that hold it.
func (r *Registry) versionCheck(class, installed string) check {
	return func(v value) string {
		if v.null || v.text == "" || v.text == installed || strings.EqualFold(v.text, "latest") {
			return ""
		}
		ok, wellFormed := inRange(v.text, installed)
		switch {
		case !wellFormed:
			return "Invalid version specification: " + v.text
		case !ok:
			return fmt.Sprintf("Plugin %s not found that matches the version range %s, available versions: [%s]", class, asRange(v.text), installed)
		}
		return ""
	}
}

// CheckVersion says why a plugin cannot be had in a version or version range, "" when it can.
func (r *Registry) CheckVersion(p *Plugin, spec string) string {
	return r.versionCheck(p.Class, p.Version)(value{text: strings.TrimSpace(spec)})
}

// Definitions gives the keys of a plugin as GET /connector-plugins/{p}/config shows them: a connector's own keys
// first, then the framework's.
func (r *Registry) Definitions(p *Plugin, d Defaults) []Definition {
	own := slices.Clone(p.Definitions)
	if p.Kind != KindSink && p.Kind != KindSource {
		return own
	}
	if p.lakehouse {
		own = lakehouseDefs(d)
	}
	all := append(defs(own), r.framework(p, d)...)
	for _, k := range []string{"key.converter", "value.converter", "header.converter"} {
		all.find(k).Default = nil // null: the worker's, which validate shows
	}
	return all
}

// asRange shows a bare version as the range that it means.
func asRange(s string) string {
	if strings.ContainsAny(s, "[](),") {
		return s
	}
	return "[" + s + "," + s + "]"
}

// inRange tells whether a version lies in a Maven range such as [1.0,2.0) or (,3.0].
func inRange(spec, version string) (in, wellFormed bool) {
	s := strings.TrimSpace(asRange(spec))
	if len(s) < 3 || !strings.ContainsRune("[(", rune(s[0])) || !strings.ContainsRune("])", rune(s[len(s)-1])) {
		return false, false
	}
	low, high, found := strings.Cut(s[1:len(s)-1], ",")
	low, high = strings.TrimSpace(low), strings.TrimSpace(high)
	if !found {
		high = low
	}
	if strings.ContainsAny(low+high, "[](),") || (low == "" && high == "" && !found) {
		return false, false
	}
	if low != "" {
		if c := compareVersions(version, low); c < 0 || c == 0 && s[0] == '(' {
			return false, true
		}
	}
	if high != "" {
		if c := compareVersions(version, high); c > 0 || c == 0 && s[len(s)-1] == ')' {
			return false, true
		}
	}
	return true, true
}

// compareVersions compares dotted versions number by number; a part that is no number compares as text.
func compareVersions(a, b string) int {
	split := func(s string) []string {
		return strings.FieldsFunc(s, func(r rune) bool { return r == '.' || r == '-' || r == '+' })
	}
	x, y := split(strings.TrimPrefix(a, "v")), split(strings.TrimPrefix(b, "v"))
	for i := range max(len(x), len(y)) {
		p, q := "0", "0"
		if i < len(x) {
			p = x[i]
		}
		if i < len(y) {
			q = y[i]
		}
		if c := cmp.Or(cmp.Compare(len(p), len(q)), strings.Compare(p, q)); isNumber(p) && isNumber(q) && c != 0 {
			return c
		} else if c := strings.Compare(p, q); c != 0 {
			return c
		}
	}
	return 0
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
