package smt

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"sluice.io/sluice/connectors"
)

const classPrefix = "org.apache.kafka.connect.transforms."

// Chain is a compiled list of transforms, with silver.columns.computed, silver.filter and the masks of silver.columns.mask behind them.
type Chain struct {
	steps    []step
	router   Router
	computed func(*connectors.Change) error
	filter   *filter
	mask     editor
}

type step struct {
	alias string
	when  func(*connectors.Change) bool // nil: always
	do    func(*connectors.Change) (keep bool, err error)
}

// ConfigError says which key of a configuration can't be compiled, and why.
type ConfigError struct {
	Key string
	Err error
}

// Error implements error.
func (e *ConfigError) Error() string { return e.Key + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

func wrong(key, format string, args ...any) error {
	return &ConfigError{Key: key, Err: fmt.Errorf(format, args...)}
}

// Supported lists the classes of transforms that New takes, without Kafka Connect's package.
func Supported() []string {
	return []string{"Filter", "InsertField$Key", "InsertField$Value", "MaskField$Key", "MaskField$Value", "RegexRouter", "ReplaceField$Key", "ReplaceField$Value"}
}

// SupportedPredicates lists the classes of predicates that New takes, without Kafka Connect's package.
func SupportedPredicates() []string {
	return []string{"HasHeaderKey", "RecordIsTombstone", "TopicNameMatches"}
}

// CanRun tells whether there is code behind a transform or predicate, named with Kafka Connect's package.
func CanRun(class string) bool {
	if name, ok := strings.CutPrefix(class, classPrefix+"predicates."); ok {
		return slices.Contains(SupportedPredicates(), name)
	}
	name, ok := strings.CutPrefix(class, classPrefix)
	return ok && slices.Contains(Supported(), name)
}

// New compiles the transforms.*, predicates.*, silver.columns.computed, silver.filter and silver.columns.mask of a connector's configuration, whose references
// are resolved. A configuration without any gives an empty chain. The error joins a *ConfigError for each key that is wrong.
func New(config map[string]string) (*Chain, error) {
	var errs []error
	// fail puts the prefix in front of the key that an error names; one that names none is about the type.
	fail := func(prefix string, err error) {
		e, ok := errors.AsType[*ConfigError](err)
		if !ok {
			e = &ConfigError{Key: "type", Err: err}
		}
		errs = append(errs, &ConfigError{Key: prefix + e.Key, Err: e.Err})
	}
	predicates := map[string]predicate{}
	for _, alias := range list(config["predicates"]) {
		s := settings{config, "predicates." + alias + "."}
		p, err := newPredicate(s)
		if err != nil {
			fail(s.prefix, err)
		}
		predicates[alias] = p
	}
	c := &Chain{}
	for _, alias := range list(config["transforms"]) {
		s := settings{config, "transforms." + alias + "."}
		if err := c.add(alias, s, predicates); err != nil {
			fail(s.prefix, err)
		}
	}
	var err error
	if text := strings.TrimSpace(config[computedKey]); text != "" {
		if c.computed, err = newComputed(text, len(list(config["silver.keys"])) > 0); err != nil {
			fail("", err)
		}
	}
	if text := strings.TrimSpace(config[filterKey]); text != "" {
		if c.filter, err = newFilter(text, len(list(config["silver.keys"])) > 0); err != nil {
			fail("", err)
		}
	}
	if columns := list(config[maskKey]); len(columns) > 0 {
		if c.mask, err = newHash(columns, config[saltKey]); err != nil {
			fail("", err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

// add compiles one transform.
func (c *Chain) add(alias string, s settings, predicates map[string]predicate) error {
	st := step{alias: alias}
	var when func(topic string) bool
	negate := strings.EqualFold(s.get("negate"), "true")
	router := transformClass(s) == "RegexRouter"
	if name := s.get("predicate"); name != "" {
		p, ok := predicates[name]
		switch {
		case !ok:
			return wrong("predicate", "there is no predicate %q", name)
		case p.of == nil:
			return nil // said already
		case router && p.topic == nil:
			return wrong("predicate", "a RegexRouter decides into which table a whole topic goes, so its predicate can only be TopicNameMatches")
		}
		st.when, when = p.of, p.topic
		if negate {
			st.when = func(c *connectors.Change) bool { return !p.of(c) }
			when = func(topic string) bool { return !p.topic(topic) }
		}
	} else if negate {
		return wrong("negate", "negate is set and no predicate")
	}
	var err error
	if router {
		var r route
		if r, err = newRoute(s); err != nil {
			return err
		}
		st.do = r.step()
		r.when = when
		c.router = append(c.router, r)
	} else if st.do, err = newTransform(s); err != nil {
		return err
	}
	c.steps = append(c.steps, st)
	return nil
}

// Empty tells that the chain changes nothing.
func (c *Chain) Empty() bool {
	return c == nil || len(c.steps) == 0 && c.computed == nil && c.filter == nil && c.mask == nil
}

// NeedsBefore tells that silver.filter looks at before images, which decoders leave out where a merge needs none.
func (c *Chain) NeedsBefore() bool { return c != nil && c.filter != nil && c.filter.before }

// Router gives what the chain does to topics' names. It may be used by many goroutines.
func (c *Chain) Router() Router {
	if c == nil {
		return nil
	}
	return c.router
}

// Apply runs the chain on a change. keep is false where a Filter took it out, or silver.filter a row that silver can't have. An error
// is a *connectors.DecodeError of stage and class transform: the record is a dead letter.
func (c *Chain) Apply(change *connectors.Change) (keep bool, err error) {
	if c == nil {
		return true, nil
	}
	for i := range c.steps {
		s := &c.steps[i]
		if s.when != nil && !s.when(change) {
			continue
		}
		keep, err := s.do(change)
		if err != nil {
			return false, refused("transforms."+s.alias, err)
		}
		if !keep {
			return false, nil
		}
	}
	if c.computed != nil {
		if err := c.computed(change); err != nil {
			return false, refused(computedKey, err)
		}
	}
	if c.filter != nil {
		keep, err := c.filter.apply(change)
		if err != nil {
			return false, refused(filterKey, err)
		}
		if !keep {
			return false, nil
		}
	}
	if c.mask != nil {
		old, to := change.OldKey(), change.NewKey()
		for _, r := range [...]*connectors.Row{&change.Before, &change.After, &change.Key, &old, &to} {
			if r.IsZero() {
				continue
			}
			if *r, err = c.mask(change, *r); err != nil {
				return false, refused(maskKey, err)
			}
		}
		if change.HasHint() {
			change.SetKeyHints(old, to)
		}
	}
	return true, nil
}

func refused(what string, err error) error {
	return &connectors.DecodeError{Stage: connectors.StageTransform, Class: connectors.ClassTransform, Reason: what, Err: err}
}

type settings struct {
	config map[string]string
	prefix string
}

func (s settings) get(key string) string { return strings.TrimSpace(s.config[s.prefix+key]) }

func list(s string) []string {
	var out []string
	for x := range strings.SplitSeq(s, ",") {
		if x = strings.TrimSpace(x); x != "" {
			out = append(out, x)
		}
	}
	return out
}

// whole compiles a regular expression that must match a whole text, as Java's matches does.
func whole(expr string) (*regexp.Regexp, error) { return regexp.Compile(`^(?:` + expr + `)$`) }

// predicate is a compiled predicate. topic judges by the topic's name alone; nil: it takes the record to tell.
type predicate struct {
	of    func(*connectors.Change) bool
	topic func(string) bool
}

func newPredicate(s settings) (predicate, error) {
	class := strings.TrimPrefix(s.get("type"), classPrefix+"predicates.")
	switch class {
	case "TopicNameMatches":
		re, err := whole(s.get("pattern"))
		if err != nil {
			return predicate{}, wrong("pattern", "%w", err)
		}
		return predicate{of: func(c *connectors.Change) bool { return re.MatchString(c.Topic()) }, topic: re.MatchString}, nil
	case "HasHeaderKey":
		name := s.get("name")
		if name == "" {
			return predicate{}, wrong("name", "name is missing")
		}
		return predicate{of: func(c *connectors.Change) bool {
			_, ok := c.Record.Header(name)
			return ok
		}}, nil
	case "RecordIsTombstone":
		return predicate{of: func(c *connectors.Change) bool { return c.Record.Value == nil }}, nil
	}
	return predicate{}, fmt.Errorf("type %q is not built in; there are %s", class, strings.Join(SupportedPredicates(), ", "))
}

func transformClass(s settings) string {
	class, _, _ := strings.Cut(strings.TrimPrefix(s.get("type"), classPrefix), "$")
	return class
}

func newTransform(s settings) (func(*connectors.Change) (bool, error), error) {
	_, target, _ := strings.Cut(s.get("type"), "$")
	var edit editor
	var err error
	switch transformClass(s) {
	case "Filter":
		return func(*connectors.Change) (bool, error) { return false, nil }, nil
	case "ReplaceField":
		edit, err = newReplace(s)
	case "MaskField":
		edit, err = newMask(s)
	case "InsertField":
		edit, err = newInsert(s)
	default:
		return nil, fmt.Errorf("type %q is not built in; there are %s", s.get("type"), strings.Join(Supported(), ", "))
	}
	if err != nil {
		return nil, err
	}
	if target != "Key" && target != "Value" {
		return nil, fmt.Errorf("type %q needs $Key or $Value behind it", s.get("type"))
	}
	return func(c *connectors.Change) (bool, error) {
		rows, old, to := [...]*connectors.Row{&c.Before, &c.After, nil}, c.OldKey(), c.NewKey()
		if target == "Key" {
			rows = [...]*connectors.Row{&c.Key, &old, &to}
		}
		for _, r := range rows {
			if r == nil || r.IsZero() {
				continue
			}
			out, err := edit(c, *r)
			if err != nil {
				return false, err
			}
			*r = out
		}
		if c.HasHint() {
			c.SetKeyHints(old, to)
		}
		return true, nil
	}, nil
}
