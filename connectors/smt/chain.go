package smt

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
)

const classPrefix = "org.apache.kafka.connect.transforms."

// Chain is a compiled list of transforms.
type Chain struct {
	steps []step
}

type step struct {
	alias string
	when  func(*connectors.Change) bool // nil: always
	do    func(*connectors.Change) (keep bool, err error)
}

// Supported lists the classes that New takes, without Kafka Connect's package.
func Supported() []string {
	return []string{"Filter", "InsertField$Key", "InsertField$Value", "MaskField$Key", "MaskField$Value", "RegexRouter", "ReplaceField$Key", "ReplaceField$Value"}
}

// New compiles the transforms.* and predicates.* of a connector's configuration. A configuration without transforms
// gives an empty chain.
func New(config map[string]string) (*Chain, error) {
	predicates := map[string]func(*connectors.Change) bool{}
	for _, alias := range list(config["predicates"]) {
		p, err := newPredicate(settings{config, "predicates." + alias + "."})
		if err != nil {
			return nil, fmt.Errorf("predicates.%s: %w", alias, err)
		}
		predicates[alias] = p
	}
	c := &Chain{}
	for _, alias := range list(config["transforms"]) {
		s := settings{config, "transforms." + alias + "."}
		do, err := newTransform(s)
		if err != nil {
			return nil, fmt.Errorf("transforms.%s: %w", alias, err)
		}
		st := step{alias: alias, do: do}
		negate := strings.EqualFold(s.get("negate"), "true")
		if name := s.get("predicate"); name != "" {
			p, ok := predicates[name]
			if !ok {
				return nil, fmt.Errorf("transforms.%s.predicate: there is no predicate %q", alias, name)
			}
			st.when = p
			if negate {
				st.when = func(c *connectors.Change) bool { return !p(c) }
			}
		} else if negate {
			return nil, fmt.Errorf("transforms.%s.negate is set and no predicate", alias)
		}
		c.steps = append(c.steps, st)
	}
	return c, nil
}

// Empty tells that the chain changes nothing.
func (c *Chain) Empty() bool { return c == nil || len(c.steps) == 0 }

// Apply runs the chain on a change. keep is false where a Filter took it out. An error is a *connectors.DecodeError of
// class transform: the record is a dead letter.
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
			return false, &connectors.DecodeError{Class: connectors.ClassTransform, Reason: "transforms." + s.alias, Err: err}
		}
		if !keep {
			return false, nil
		}
	}
	return true, nil
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

func newPredicate(s settings) (func(*connectors.Change) bool, error) {
	class := strings.TrimPrefix(s.get("type"), classPrefix+"predicates.")
	switch class {
	case "TopicNameMatches":
		re, err := whole(s.get("pattern"))
		if err != nil {
			return nil, fmt.Errorf("pattern: %w", err)
		}
		return func(c *connectors.Change) bool { return re.MatchString(c.Topic()) }, nil
	case "HasHeaderKey":
		name := s.get("name")
		if name == "" {
			return nil, fmt.Errorf("name is missing")
		}
		return func(c *connectors.Change) bool {
			_, ok := c.Record.Header(name)
			return ok
		}, nil
	case "RecordIsTombstone":
		return func(c *connectors.Change) bool { return c.Record.Value == nil }, nil
	}
	return nil, fmt.Errorf("type %q is not built in; there are TopicNameMatches, HasHeaderKey, RecordIsTombstone", class)
}

func newTransform(s settings) (func(*connectors.Change) (bool, error), error) {
	class, target, _ := strings.Cut(strings.TrimPrefix(s.get("type"), classPrefix), "$")
	var edit editor
	var err error
	switch class {
	case "Filter":
		return func(*connectors.Change) (bool, error) { return false, nil }, nil
	case "RegexRouter":
		return newRouter(s)
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
		rows := [...]*connectors.Row{&c.Before, &c.After, nil}
		if target == "Key" {
			rows = [...]*connectors.Row{&c.Key, &c.OldKey, &c.NewKey}
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
		return true, nil
	}, nil
}

// newRouter makes a RegexRouter: where the whole topic name matches, the change goes on under the replacement ($1 …).
func newRouter(s settings) (func(*connectors.Change) (bool, error), error) {
	re, err := whole(s.get("regex"))
	if err != nil {
		return nil, fmt.Errorf("regex: %w", err)
	}
	replacement := javaReplacement(s.get("replacement"))
	cache := map[string]string{}
	return func(c *connectors.Change) (bool, error) {
		from := c.Topic()
		to, ok := cache[from]
		if !ok {
			if m := re.FindStringSubmatchIndex(from); m != nil {
				to = string(re.ExpandString(nil, replacement, from, m))
			}
			if len(cache) > 4096 {
				clear(cache)
			}
			cache[strings.Clone(from)] = to
		}
		if to != "" {
			c.Route = to
		}
		return true, nil
	}, nil
}

var group = regexp.MustCompile(`\\.|\$(\d)|\$`)

// javaReplacement turns Java's $1 and \$ into Go's ${1} and $$.
func javaReplacement(s string) string {
	return group.ReplaceAllStringFunc(s, func(m string) string {
		switch {
		case m == `\$` || m == "$":
			return "$$"
		case m[0] == '\\':
			return m[1:]
		}
		n, _ := strconv.Atoi(m[1:])
		return "${" + strconv.Itoa(n) + "}"
	})
}
