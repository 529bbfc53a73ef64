package config

import (
	"context"
	"errors"
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
	if p.lakehouse && e.report.ErrorCount == 0 {
		e.canRun() // last: of a transformation that is written wrongly, that is what there is to say first
	}
	if p.lakehouse && e.report.ErrorCount == 0 {
		e.programs()
	}
	return e
}

func (e *evaluation) get(key string) value {
	v, ok := e.values[key]
	if !ok {
		return value{null: true}
	}
	return v
}

// defs evaluates keys in order; prefix is cut from the names in messages, as Kafka Connect does for converters.
func (e *evaluation) defs(set defs, prefix string) {
	if prefix == "" {
		for _, g := range set.groups() {
			if !slices.Contains(e.report.Groups, g) && slices.Contains([]string{groupCommon, groupTransforms, groupPredicates, groupErrors}, g) {
				e.report.Groups = append(e.report.Groups, g)
			}
		}
	}
	for i := range set {
		d := set[i]
		entry := e.one(&d, strings.TrimPrefix(d.Name, prefix))
		if prefix == "" {
			e.report.ErrorCount += len(entry.Errors)
		} else if len(entry.Errors) > 0 {
			e.report.ErrorCount++
		}
		e.report.Entries = append(e.report.Entries, entry)
		e.known = append(e.known, d.Name)
	}
}

// one evaluates one key. Secrets stay secret: where a reference stands, messages and values show the reference.
func (e *evaluation) one(d *Definition, shownName string) Entry {
	entry := Entry{Definition: *d, Recommended: d.recommend}
	raw, given := e.props[d.Name]
	var v value
	ref := given && raw != nil && HasReference(*raw)
	show := func(v value) string {
		switch {
		case v.null:
			return "null"
		case d.Type == Password:
			return hidden
		case ref:
			return *raw
		case d.Type == List:
			return "[" + strings.Join(v.list, ", ") + "]"
		default:
			return v.text
		}
	}
	judge := func(v value) {
		if d.check == nil {
			return
		}
		if reason := d.check(v); reason != "" {
			entry.Errors = append(entry.Errors, invalid(show(v), shownName, e.discreet(d, ref, reason)))
		}
	}
	switch {
	case ref && slices.Contains(plainKeys, d.Name):
		entry.Errors = append(entry.Errors, invalid(*raw, shownName, "this cannot be a reference to a secret, since it is shown in many places; write it out"))
		v = value{null: true}
		entry.Value = raw
	case given && raw != nil:
		if why := e.bad[d.Name]; why != "" {
			entry.Errors = append(entry.Errors, invalid(*raw, shownName, why))
			v = value{null: true}
			entry.Value = raw
			break
		}
		var problem string
		v, problem = d.parse(*e.resolved[d.Name])
		if problem != "" {
			shown := *raw
			if d.Type == Password {
				shown = hidden
			}
			entry.Errors = append(entry.Errors, invalid(shown, shownName, e.discreet(d, ref, problem)))
			if d.Type == Class {
				break // one message is enough: nothing follows from a class that is not there
			}
		}
		judge(v)
	case given: // a JSON null
		v = value{null: true}
		judge(v)
		entry.Errors = append(entry.Errors, nullValue)
	case d.Required:
		v = value{null: true}
		entry.Errors = append(entry.Errors, fmt.Sprintf("Missing required configuration %q which has no default value.", shownName))
	case d.Default == nil:
		v = value{null: true}
	default:
		v, _ = d.parse(*d.Default)
	}
	e.values[d.Name] = v
	if entry.Value == nil {
		entry.Value = d.shown(v)
		if ref && !v.null && d.Type != Password {
			entry.Value = raw
		}
	}
	return entry
}

// plainKeys name the connector and parts of it, so what they hold is in logs, paths and names of keys.
var plainKeys = []string{"name", "connector.class", "transforms", "predicates"}

const nullValue = "Null value can not be supplied as the configuration value."

// discreet keeps what a reference stands for out of a reason.
func (e *evaluation) discreet(d *Definition, ref bool, reason string) string {
	if !ref {
		return reason
	}
	switch d.Type {
	case Boolean, Int, Short, Long, Double:
		return "what the reference stands for is wrong: " + reason
	default:
		return "what the reference stands for is not allowed here"
	}
}

// fail adds a message to a key.
func (e *evaluation) fail(key, reason string) {
	shown := "null"
	if raw := e.props[key]; raw != nil {
		shown = *raw
	} else if v := e.get(key); !v.null {
		shown = v.text
	}
	e.message(key, invalid(shown, key, reason))
}

// scrub puts references back where a message has what they stand for. It is the second line of defence: messages are
// made of values as submitted.
func (e *evaluation) scrub(msg string) string {
	for secret, ref := range e.secrets {
		if len(secret) >= 4 {
			msg = strings.ReplaceAll(msg, secret, ref)
		}
	}
	return msg
}

// shown gives the text of a key for messages, never what a reference stands for.
func (e *evaluation) shown(key string) string {
	if raw := e.props[key]; raw != nil && HasReference(*raw) {
		return *raw
	}
	return e.get(key).text
}

// message adds a message to the entry of a key, making one where there is none.
func (e *evaluation) message(key, msg string) {
	msg = e.scrub(msg)
	e.report.ErrorCount++
	for i := range e.report.Entries {
		if e.report.Entries[i].Definition.Name == key {
			e.report.Entries[i].Errors = append(e.report.Entries[i].Errors, msg)
			return
		}
	}
	e.report.Entries = append(e.report.Entries, Entry{
		Definition: plain(optional(key, String, Low, nil, "A key that is not defined.")),
		Value:      e.shownRaw(key), Errors: []string{msg},
	})
}

func (e *evaluation) shownRaw(key string) *string {
	if SecretName(key) {
		return text(hidden)
	}
	return e.props[key]
}

// SecretName tells whether a free key is one whose value is not to be shown.
func SecretName(key string) bool {
	k := strings.ToLower(key)
	return slices.ContainsFunc([]string{"password", "secret", "token", "jaas", "credential", "user.info", "private.key", "keystore.key"}, func(s string) bool {
		return strings.Contains(k, s)
	})
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

// canRun refuses what is known by name and has no code behind it here.
func (e *evaluation) canRun() {
	can := e.defaults.CanRun
	if can == nil {
		can = BuiltIn
	}
	refuse := func(key string, kind PluginKind) {
		v := e.get(key)
		if v.null || v.text == "" || e.props[key] == nil {
			return
		}
		if p := e.registry.find(v.text, kind); p != nil && !can(kind, p.Class) {
			e.fail(key, "this "+string(kind)+" is known by name and not built into this version of Sluice; "+e.wayOut(kind, can))
		}
	}
	for _, k := range []string{"key.converter", "value.converter"} {
		refuse(k, KindConverter)
	}
	for _, a := range e.get("transforms").list {
		refuse("transforms."+a+".type", KindTransformation)
	}
	for _, a := range e.get("predicates").list {
		refuse("predicates."+a+".type", KindPredicate)
	}
}

// BuiltIn tells which plugins have code behind them where nobody says otherwise: change events are read from bytes that
// are text, so these converters; headers are kept as bytes whatever their converter; transformations are those of connectors/smt.
func BuiltIn(kind PluginKind, class string) bool {
	switch kind {
	case KindConverter:
		return class == JSONConverter || class == StringConverter || class == ByteArrayConverter
	case KindTransformation, KindPredicate:
		return smt.CanRun(class)
	default:
		return true
	}
}

// wayOut lists what can be used instead.
func (e *evaluation) wayOut(kind PluginKind, can func(PluginKind, string) bool) string {
	if kind == KindConverter {
		return "use " + JSONConverter + ", which reads JSON with and without schemas"
	}
	var names []string
	for _, class := range e.registry.classes(kind) {
		if can(kind, class) {
			names = append(names, class[strings.LastIndexByte(class, '.')+1:])
		}
	}
	return "there are " + strings.Join(names, ", ") + " (columns are chosen by silver.columns.include and .exclude as well, rows by silver.filter, names by silver.path)"
}

// programs compiles the transformations, silver.filter and the masks. It tells all that is wrong.
func (e *evaluation) programs() {
	var err error
	if e.chain, err = smt.New(e.stageProps()); err == nil {
		return
	}
	for _, err := range joined(err) {
		if c, ok := errors.AsType[*smt.ConfigError](err); ok {
			e.fail(c.Key, c.Err.Error())
		} else {
			e.fail("transforms", err.Error())
		}
	}
}

func joined(err error) []error {
	if j, ok := err.(interface{ Unwrap() []error }); ok {
		return j.Unwrap()
	}
	return []error{err}
}

// stageProps are the resolved properties that connectors/smt reads.
func (e *evaluation) stageProps() map[string]string {
	out := map[string]string{}
	for k, v := range e.resolved {
		if v != nil && (strings.HasPrefix(k, "transforms.") || strings.HasPrefix(k, "predicates.") || strings.HasPrefix(k, "silver.")) {
			out[k] = *v
		}
	}
	for _, k := range []string{"silver.columns.mask", "silver.columns.mask.salt", "silver.columns.computed", "silver.filter", "silver.keys", "predicates", "transforms"} {
		if v := e.get(k); !v.null {
			out[k] = v.text
		}
	}
	return out
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
