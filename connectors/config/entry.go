package config

import (
	"fmt"
	"slices"
	"strings"
)

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

// wrong tells whether something was said of a key that begins so.
func (e *evaluation) wrong(prefix string) bool {
	return slices.ContainsFunc(e.report.Entries, func(x Entry) bool { return len(x.Errors) > 0 && strings.HasPrefix(x.Definition.Name, prefix) })
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
