package config

import (
	"slices"
	"strings"
)

// Conflict finds a table that two connectors would both write: a table has one writing connector. It sees what can
// be seen without a broker; a pair of regular expressions conflicts only where they are equal.
func Conflict(a, b *Sink) (table string, found bool) {
	if a.Name == b.Name || strings.TrimRight(a.LakeURL, "/") != strings.TrimRight(b.LakeURL, "/") {
		return "", false
	}
	for _, pair := range topicPairs(a, b) {
		for _, x := range paths(a, pair[0]) {
			if slices.Contains(paths(b, pair[1]), x) {
				return x, true
			}
		}
	}
	return "", false
}

// paths are the tables that a connector writes for a topic, with row variables left in.
func paths(s *Sink, topic string) []string {
	out := []string{ResolvePath(s.BronzePath, topic, nil, s.Name)}
	if s.SilverEnabled {
		out = append(out, ResolvePath(s.SilverPath, s.SilverTopic(topic), nil, s.Name))
	}
	return out
}

// anyTopic stands for the topics of a regular expression: no topic can have this name.
const anyTopic = "*"

// topicPairs gives the pairs of topics whose tables are to be compared.
func topicPairs(a, b *Sink) [][2]string {
	switch {
	case a.topics == nil && b.topics == nil:
		var out [][2]string
		for _, t := range a.Topics {
			for _, u := range b.Topics {
				out = append(out, [2]string{t, u})
			}
		}
		return out
	case a.topics != nil && b.topics != nil:
		if a.TopicsRegex == b.TopicsRegex {
			return [][2]string{{anyTopic, anyTopic}}
		}
		return [][2]string{{anyTopic + "a", anyTopic + "b"}}
	case a.topics != nil:
		out := topicPairs(b, a)
		for i := range out {
			out[i][0], out[i][1] = out[i][1], out[i][0]
		}
		return out
	default:
		var out [][2]string
		for _, t := range a.Topics {
			if b.topics.MatchString(t) {
				out = append(out, [2]string{t, t})
			} else {
				out = append(out, [2]string{t, anyTopic})
			}
		}
		return out
	}
}
