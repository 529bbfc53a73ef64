package settings

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"
	"go.yaml.in/yaml/v3"

	"sluice.io/sluice/internal/near"
)

// said is one setting as one source says it.
type said struct {
	name, value string
	where       string // sluice.yaml:12, SLUICE_REST_LISTEN, --rest-listen
}

// layer is all that one source says: a koanf.Provider.
type layer []said

// ReadBytes implements koanf.Provider; it is never called, since no parser is given.
func (layer) ReadBytes() ([]byte, error) { return nil, errors.New("a layer of settings has no bytes") }

// Read implements koanf.Provider. Names stay flat: the delimiter never occurs in them.
func (l layer) Read() (map[string]any, error) {
	out := make(map[string]any, len(l))
	for _, s := range l {
		out[s.name] = s.value
	}
	return out, nil
}

// Sources are where settings come from, in rising order.
type Sources struct {
	// Defaults of the command that overrule those of the definitions (sluice dev has its own data.dir).
	Defaults map[string]string
	// File is the path of a YAML file; empty: none.
	File string
	// Environ are KEY=value pairs, as os.Environ gives them.
	Environ []string
	// Flags are the flags that were set on the command line, by setting name.
	Flags map[string]string
}

// delimiter can't occur in a name, so koanf keeps names as they are.
const delimiter = "\x00"

// merge gives what counts, by name, and warnings that are no errors.
func (src Sources) merge() (map[string]said, []string, error) {
	var problems []error
	var warnings []string
	k := koanf.New(delimiter)
	where := map[string]string{} // of the value that counts
	load := func(l layer) {
		for _, s := range l {
			where[s.name] = s.where
		}
		if err := k.Load(l, nil); err != nil {
			problems = append(problems, err)
		}
	}
	var defaults layer
	for _, d := range definitions {
		if v, ok := src.Defaults[d.Name]; ok {
			defaults = append(defaults, said{d.Name, v, "default"})
		} else if d.Default != "" {
			defaults = append(defaults, said{d.Name, d.Default, "default"})
		}
	}
	load(defaults)
	if src.File != "" {
		l, err := fileLayer(src.File)
		if err != nil {
			problems = append(problems, err)
		}
		load(l)
	}
	l, warn := envLayer(src.Environ)
	warnings = append(warnings, warn...)
	load(l)
	var flags layer
	for name, v := range src.Flags {
		flags = append(flags, said{name, v, "--" + Definition{Name: name}.Flag()})
	}
	load(flags)

	out := map[string]said{}
	for name := range k.All() {
		s := said{name, k.String(name), where[name]}
		if _, ok := find(name); !ok {
			problems = append(problems, unknown(s))
			continue
		}
		out[name] = s
	}
	return out, warnings, errors.Join(sorted(problems)...)
}

func sorted(errs []error) []error {
	slices.SortStableFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errs
}

func unknown(s said) error {
	if meant := Nearest(s.name, names()); meant != "" {
		return fmt.Errorf("%s: unknown setting %q; did you mean %s?", s.where, s.name, meant)
	}
	return fmt.Errorf("%s: unknown setting %q; `sluice serve --help` lists all of them (the configuration of connectors goes to the REST API, not here)", s.where, s.name)
}

// fileLayer reads a YAML file, nested or dotted.
func fileLayer(path string) (layer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the settings file: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, fmt.Errorf("%s is not YAML: %w", path, err)
	}
	if len(doc.Content) == 0 {
		return nil, nil
	}
	var l layer
	var problems []error
	seen := map[string]int{}
	var walk func(prefix string, n *yaml.Node)
	walk = func(prefix string, n *yaml.Node) {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		at := fmt.Sprintf("%s:%d", path, n.Line)
		add := func(value string) {
			if line, twice := seen[prefix]; twice {
				problems = append(problems, fmt.Errorf("%s: %s is set twice, first in line %d", at, prefix, line))
				return
			}
			seen[prefix] = n.Line
			l = append(l, said{prefix, value, at})
		}
		switch n.Kind {
		case yaml.MappingNode:
			for i := 0; i+1 < len(n.Content); i += 2 {
				name := n.Content[i].Value
				if prefix != "" {
					name = prefix + "." + name
				}
				walk(name, n.Content[i+1])
			}
		case yaml.SequenceNode:
			var items []string
			for _, item := range n.Content {
				if item.Kind != yaml.ScalarNode {
					problems = append(problems, fmt.Errorf("%s: %s holds something nested in its list; give plain values", at, prefix))
					return
				}
				items = append(items, item.Value)
			}
			add(strings.Join(items, ","))
		case yaml.ScalarNode:
			if n.Tag == "!!null" {
				return // a name without value says nothing
			}
			add(n.Value)
		}
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: settings are `name: value` lines, and this is none", path, root.Line)
	}
	walk("", root)
	return l, errors.Join(problems...)
}

// envLayer reads SLUICE_*. A name that is unknown is only warned of when it looks like a setting: Kubernetes and others
// put variables with our prefix into the environment.
func envLayer(environ []string) (layer, []string) {
	var l layer
	var warnings []string
	byEnv := map[string]string{}
	var envs []string
	for _, d := range definitions {
		byEnv[d.Env()] = d.Name
		envs = append(envs, d.Env())
	}
	for _, kv := range environ {
		key, value, _ := strings.Cut(kv, "=")
		rest, ours := strings.CutPrefix(key, "SLUICE_")
		if !ours {
			continue
		}
		if name, ok := byEnv[key]; ok {
			l = append(l, said{name, value, key})
			continue
		}
		open := false
		for _, p := range Prefixes {
			if tail, ok := strings.CutPrefix(rest, strings.TrimPrefix(p.Env(), "SLUICE_")); ok && tail != "" {
				l = append(l, said{p.Name + strings.ReplaceAll(strings.ToLower(tail), "_", "."), value, key})
				open = true
				break
			}
		}
		if meant := near.Nearest(key, envs, 2); !open && meant != "" {
			warnings = append(warnings, fmt.Sprintf("%s in the environment is no setting; did you mean %s?", key, meant))
		}
	}
	slices.Sort(warnings)
	return l, warnings
}
