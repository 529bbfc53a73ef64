package smt

import (
	"regexp"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
)

// Router is what the RegexRouters of a chain do to names of topics: a function of the name alone, so that it can be told without a
// record which topics feed a table. It is immutable.
type Router []route

// route is one RegexRouter.
type route struct {
	re          *regexp.Regexp
	replacement string
	when        func(topic string) bool // nil: always
}

// Route gives the name under which the changes of a topic go on.
func (r Router) Route(topic string) string {
	for _, x := range r {
		if x.when == nil || x.when(topic) {
			topic = x.to(topic)
		}
	}
	return topic
}

// newRoute makes a RegexRouter: where the whole topic name matches, the change goes on under the replacement ($1 …).
func newRoute(s settings) (route, error) {
	re, err := whole(s.get("regex"))
	if err != nil {
		return route{}, wrong("regex", "%w", err)
	}
	return route{re: re, replacement: javaReplacement(s.get("replacement"))}, nil
}

// to routes a name, which stays as it is where nothing would be left of it.
func (r *route) to(topic string) string {
	m := r.re.FindStringSubmatchIndex(topic)
	if m == nil {
		return topic
	}
	if to := string(r.re.ExpandString(nil, r.replacement, topic, m)); to != "" {
		return to
	}
	return topic
}

// step is the route as a step of a chain, which remembers what it found out.
func (r route) step() func(*connectors.Change) (bool, error) {
	cache := map[string]string{}
	return func(c *connectors.Change) (bool, error) {
		from := c.Topic()
		to, ok := cache[from]
		if !ok {
			to = r.to(from)
			if len(cache) > 4096 {
				clear(cache)
			}
			cache[strings.Clone(from)] = to
		}
		if to != from {
			c.Route = to
		}
		return true, nil
	}
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
