package config

import (
	"errors"
	"strings"

	"sluice.io/sluice/connectors/smt"
)

// canRun refuses what is known by name and has no code behind it here. Of a transformation that is written wrongly, that is what there is to say first.
func (e *evaluation) canRun() {
	can := e.defaults.CanRun
	if can == nil {
		can = BuiltIn
	}
	refuse := func(key, stage string, kind PluginKind) {
		v := e.get(key)
		if v.null || v.text == "" || e.props[key] == nil || stage != "" && e.wrong(stage) {
			return
		}
		if p := e.registry.find(v.text, kind); p != nil && !can(kind, p.Class) {
			e.fail(key, "this "+string(kind)+" is known by name and not built into this version of Sluice; "+e.wayOut(kind, can))
		}
	}
	for _, k := range []string{"key.converter", "value.converter"} {
		refuse(k, "", KindConverter)
	}
	for _, a := range e.get("transforms").list {
		refuse("transforms."+a+".type", "transforms."+a+".", KindTransformation)
	}
	for _, a := range e.get("predicates").list {
		refuse("predicates."+a+".type", "predicates."+a+".", KindPredicate)
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

// programs compiles the transformations, silver.filter and the masks. It tells all that is wrong and does not follow from what was said.
func (e *evaluation) programs() {
	var err error
	if e.chain, err = smt.New(e.stageProps()); err == nil {
		return
	}
	stages := e.wrong("transforms") || e.wrong("predicates")
	for _, err := range joined(err) {
		key, reason := "transforms", err.Error()
		if c, ok := errors.AsType[*smt.ConfigError](err); ok {
			key, reason = c.Key, c.Err.Error()
		}
		if own := strings.HasPrefix(key, "silver."); own && !e.wrong(key) || !own && !stages {
			e.fail(key, reason)
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
