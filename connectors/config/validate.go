package config

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sluice.io/sluice/connectors/smt"
)

// Defaults are what a node's settings give to connectors that say nothing.
type Defaults struct {
	// LakeURL is the worker's lake.url; empty: connectors must give theirs.
	LakeURL string
	// KeyConverter, ValueConverter and HeaderConverter apply to connectors that name no class; empty: JSON without a
	// say about schemas for keys and values, simple headers for headers.
	KeyConverter, ValueConverter, HeaderConverter Converter
	// Secrets bounds what references may read.
	Secrets Secrets
	// OverridePolicy is Kafka Connect's connector.client.config.override.policy: All (also when empty), None,
	// Principal, or Allowlist with OverrideAllow.
	OverridePolicy string
	OverrideAllow  []string
	// ClientProperty says why a property of a Kafka client (consumer, producer, admin) does nothing here; empty: it does something. nil: all do.
	ClientProperty func(client, property string) string
	// CanRun tells whether this binary has code behind a plugin that is known by name; nil: BuiltIn. What has no code
	// is refused, not left out silently.
	CanRun func(PluginKind, string) bool
	// Registry holds the plugins; nil: NewRegistry("").
	Registry *Registry
}

func (d Defaults) key() Converter    { return orElse(d.KeyConverter, JSONConverter) }
func (d Defaults) value() Converter  { return orElse(d.ValueConverter, JSONConverter) }
func (d Defaults) header() Converter { return orElse(d.HeaderConverter, SimpleHeaders) }

func (d Defaults) registry() *Registry {
	if d.Registry != nil {
		return d.Registry
	}
	return NewRegistry("")
}

func orElse(c Converter, class string) Converter {
	if c.Class == "" {
		c.Class = class
	}
	return c
}

// Problem is an error found for a key by a check that looks outside: the store, the broker, other connectors.
type Problem struct {
	Key    string
	Reason string // a sentence with the way out; without secrets
}

// Reach tries what a configuration points at: the lake and the broker. It must honour ctx.
type Reach func(ctx context.Context, s *Sink) []Problem

// ReachTimeout bounds a Reach.
const ReachTimeout = 5 * time.Second

// Report is the answer of a validation, in the shape and order of Kafka Connect's ConfigInfos.
type Report struct {
	// Name is connector.class as submitted.
	Name string
	// ErrorCount counts the messages of the connector's own keys and, of prefixed converter and override keys, the
	// entries that have any.
	ErrorCount int
	Groups     []string
	Entries    []Entry
	// Warnings are sentences about what is allowed and probably not meant.
	Warnings []string
}

// Entry is one key with its value.
type Entry struct {
	// Definition is never nil: keys without one get an ad-hoc STRING definition.
	Definition Definition
	// Value is the value as submitted or defaulted, references left as they are, passwords hidden; nil is a null.
	Value       *string
	Recommended []string
	Errors      []string
}

// Errors gives all messages in order.
func (r Report) Errors() []string {
	var out []string
	for _, e := range r.Entries {
		out = append(out, e.Errors...)
	}
	return out
}

// Validate checks a configuration against the definitions of this binary, without looking outside.
func Validate(props map[string]string) Report {
	m := make(map[string]*string, len(props))
	for k, v := range props {
		m[k] = &v
	}
	d := Defaults{}
	p := d.registry().Connector(props["connector.class"])
	if p == nil {
		p = d.registry().Connector(LakehouseClass)
	}
	return Check(context.Background(), p, m, d, nil)
}

// Check checks the configuration of a connector of class p. A nil value is a JSON null. reach, where not nil, is asked
// last, when all else is well, with ReachTimeout.
func Check(ctx context.Context, p *Plugin, props map[string]*string, d Defaults, reach Reach) Report {
	e := evaluate(p, props, d)
	if p.lakehouse && reach != nil && e.report.ErrorCount == 0 {
		s, err := e.sink()
		if err != nil {
			e.fail("connector.class", err.Error())
			return e.report
		}
		ctx, cancel := context.WithTimeout(ctx, ReachTimeout)
		defer cancel()
		for _, problem := range reach(ctx, s) {
			e.fail(problem.Key, problem.Reason)
		}
	}
	return e.report
}

// evaluation is one pass over a configuration: what is shown and what it means.
type evaluation struct {
	plugin   *Plugin
	defaults Defaults
	registry *Registry
	// props are as submitted; resolved has the references replaced, and is never shown.
	props    map[string]*string
	resolved map[string]*string
	bad      map[string]string // key → why its reference cannot be resolved
	secrets  map[string]string // what a reference stands for → the reference
	report   Report
	values   map[string]value
	known    []string
	chain    *smt.Chain // what programs compiled
}

func evaluate(p *Plugin, props map[string]*string, d Defaults) *evaluation {
	e := &evaluation{
		plugin: p, defaults: d, registry: d.registry(), props: props,
		resolved: make(map[string]*string, len(props)), bad: map[string]string{}, secrets: map[string]string{}, values: map[string]value{},
	}
	for k, v := range props {
		e.resolved[k] = v
		if v != nil && HasReference(*v) {
			r, err := d.Secrets.resolve(*v, e.secrets)
			if err != nil {
				e.bad[k] = err.Error()
			}
			e.resolved[k] = &r
		}
	}
	if c := props["connector.class"]; c != nil {
		e.report.Name = *c
	}

	framework := e.registry.framework(p, d)
	own := defs(p.Definitions)
	if p.lakehouse {
		own = lakehouseDefs(d)
	}
	e.defs(framework, "")
	e.stages()
	e.defs(own, "")
	e.report.Groups = append(e.report.Groups, own.groups()...)
	e.topics()
	if p.lakehouse {
		acrossKeys(e.get, e.shown, e.fail)
	}
	e.overrides()
	e.converter("header.converter", KindHeaderConverter)
	e.converter("key.converter", KindConverter)
	e.converter("value.converter", KindConverter)
	e.rest()
	if p.lakehouse {
		e.canRun()
		e.programs()
	}
	return e
}

// topics are the rules over topics, topics.regex and the dead-letter topic.
func (e *evaluation) topics() {
	topics, regex := e.get("topics"), e.get("topics.regex")
	both := func(msg string) {
		e.message("topics", msg)
		e.message("topics.regex", msg)
	}
	switch has := len(topics.list) > 0; {
	case has && regex.text != "":
		both("topics and topics.regex are mutually exclusive options, but both are set.")
	case !has && !topics.null && regex.text == "" && !regex.null:
		both("Must configure one of topics or topics.regex")
	}
	dlq, dlqShown := e.get("errors.deadletterqueue.topic.name").text, e.shown("errors.deadletterqueue.topic.name")
	if dlq == "" {
		return
	}
	if slices.Contains(topics.list, dlq) {
		e.message("topics", fmt.Sprintf("The DLQ topic '%s' may not be included in the list of topics ('topics'=[%s]) consumed by the connector", dlqShown, strings.ReplaceAll(e.shown("topics"), ",", ", ")))
	}
	if regex.text != "" {
		if re, err := compileFull(regex.text); err == nil && re.MatchString(dlq) {
			e.message("topics.regex", fmt.Sprintf("The DLQ topic '%s' may not be included in the regex matching the topics ('topics.regex'=%s) consumed by the connector", dlqShown, e.shown("topics.regex")))
		}
	}
}

// rest looks at the keys that nothing has defined.
func (e *evaluation) rest() {
	for _, k := range slices.Sorted(maps.Keys(e.props)) {
		if slices.Contains(e.known, k) {
			continue
		}
		switch v := e.props[k]; {
		case v == nil:
			e.message(k, nullValue)
		case !e.plugin.lakehouse || strings.HasPrefix(k, "key.converter.") || strings.HasPrefix(k, "value.converter.") || strings.HasPrefix(k, "header.converter."):
		case e.bad[k] != "":
			e.fail(k, e.bad[k])
		default:
			if why := unknownKey(k, e.known); why != "" {
				e.message(k, invalid(*e.shownRaw(k), k, why))
			} else {
				e.report.Warnings = append(e.report.Warnings, k+" is not a key of "+LakehouseClass+" and is ignored")
			}
		}
	}
}
