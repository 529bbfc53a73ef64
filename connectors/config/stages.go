package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// stages evaluates the transformations and predicates: those of the aliases in the two lists.
func (e *evaluation) stages() {
	e.aliases("transforms", KindTransformation, "Transforms: ", "Transformation", "transformation", transformStage())
	e.aliases("predicates", KindPredicate, "Predicates: ", "Predicate", "predicate", nil)
	// The condition of a transformation must be there: Kafka Connect finds out when the task starts.
	for _, alias := range e.get("transforms").list {
		key := "transforms." + alias + ".predicate"
		v := e.get(key)
		if v.null || v.text == "" || slices.Contains(e.get("predicates").list, v.text) {
			continue
		}
		e.fail(key, "no predicate of this name; list it in predicates and give its type")
	}
}

func (e *evaluation) aliases(list string, kind PluginKind, group, title, word string, extra []Definition) {
	classes := e.registry.classes(kind)
	seen := map[string]bool{}
	for _, alias := range e.get(list).list {
		if seen[alias] || alias == "" {
			continue // said already
		}
		seen[alias] = true
		prefix := list + "." + alias + "."
		g := group + alias
		e.report.Groups = append(e.report.Groups, g)
		typeKey := Definition{
			Name: prefix + "type", Type: Class, Required: true, Importance: High, Group: g, Order: 0, Width: WidthLong,
			DisplayName: title + " type for " + alias, Doc: fmt.Sprintf("Class for the '%s' %s.", alias, word), recommend: classes,
			resolve: func(c string) bool { return e.registry.Plugin(c) != nil },
			check: func(v value) string {
				if !v.null && e.registry.find(v.text, kind) == nil {
					return "Class " + v.text + " is not a " + word
				}
				_, negate := e.props[prefix+"negate"]
				_, predicate := e.props[prefix+"predicate"]
				if kind == KindTransformation && negate && !predicate {
					return fmt.Sprintf("Config '%snegate' was provided but there is no config '%spredicate' defining a predicate to be negated.", prefix, prefix)
				}
				return ""
			},
		}
		var plugin *Plugin
		if c := e.resolved[prefix+"type"]; c != nil {
			plugin = e.registry.find(strings.TrimSpace(*c), kind)
		}
		e.defs(defs{typeKey}, "")
		version, class := ConnectVersion, ""
		if plugin != nil {
			version, class = plugin.Version, plugin.Class
		}
		e.defs(defs{{
			Name: prefix + "plugin.version", Type: String, Default: text(version), Importance: High, Group: g, Order: 1, Width: WidthLong,
			DisplayName: title + " version for " + alias, Doc: fmt.Sprintf("Version of the '%s' %s.", alias, word), recommend: []string{version},
			check: e.registry.versionCheck(class, version),
		}}, "")
		if plugin == nil {
			for k := range e.props { // its keys cannot be known
				if strings.HasPrefix(k, prefix) && !slices.Contains(e.known, k) {
					e.known = append(e.known, k)
				}
			}
			continue
		}
		own := slices.Concat(plugin.Definitions, extra)
		for i := range own {
			own[i] = plain(own[i])
		}
		e.defs(defs(own).embed(prefix, g, 2), "")
	}
}

// converter evaluates the keys behind a converter's prefix, where the connector names the converter itself.
func (e *evaluation) converter(name string, kind PluginKind) {
	if e.props[name] == nil {
		return
	}
	v := e.get(name)
	plugin := e.registry.find(v.text, kind)
	if v.null || plugin == nil {
		return
	}
	prefix := name + "."
	set := make(defs, 0, len(plugin.Definitions))
	for _, d := range plugin.Definitions {
		if d.Name == "converter.type" { // Kafka Connect fills it in
			d.Required, d.Default = false, text(strings.TrimSuffix(name, ".converter"))
		}
		d.Name = prefix + d.Name
		set = append(set, d)
	}
	e.defs(set, prefix)
	for _, g := range set.groups() {
		if !slices.Contains(e.report.Groups, g) {
			e.report.Groups = append(e.report.Groups, g)
		}
	}
}

// overrides evaluates consumer.override.*, producer.override.* and admin.override.* against the node's policy.
func (e *evaluation) overrides() {
	for _, k := range slices.Sorted(maps.Keys(e.props)) {
		for _, client := range []string{"producer", "consumer", "admin"} {
			name, ok := strings.CutPrefix(k, client+".override.")
			if !ok {
				continue
			}
			d := plain(optional(k, String, Medium, nil, "The property "+name+" of the "+client+"'s Kafka client."))
			if e.defaults.ClientProperty != nil {
				if why := e.defaults.ClientProperty(client, name); why != "" {
					d.Doc += " " + why
					e.report.Warnings = append(e.report.Warnings, k+": "+why)
				}
			}
			if SecretName(name) {
				d.Type = Password
			}
			d.DisplayName = name
			entry := e.one(&d, k)
			if why := e.forbidden(name); why != "" {
				entry.Errors = append(entry.Errors, why)
			}
			if len(entry.Errors) > 0 {
				e.report.ErrorCount++
			}
			e.report.Entries = append(e.report.Entries, entry)
			e.known = append(e.known, k)
		}
	}
}

// forbidden applies connector.client.config.override.policy.
func (e *evaluation) forbidden(name string) string {
	d := e.defaults
	allowed := true
	switch d.OverridePolicy {
	case "None":
		allowed = false
	case "Principal":
		allowed = slices.Contains([]string{"sasl.jaas.config", "sasl.mechanism", "security.protocol"}, name)
	case "Allowlist":
		allowed = slices.Contains(d.OverrideAllow, name)
	}
	if allowed {
		return ""
	}
	return fmt.Sprintf("The '%s' policy does not allow '%s' to be overridden in the connector configuration.", d.OverridePolicy, name)
}
