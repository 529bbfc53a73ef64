package config

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// reference is ${provider:key} or ${provider:path:key}, of the providers that are built in.
var reference = regexp.MustCompile(`\$\{(env|file|directory):([^}]*)\}`)

// Secrets says where ${env:VAR}, ${file:path:key} and ${directory:path:file} may look. The zero value allows all.
type Secrets struct {
	// EnvAllow must match the whole name of a variable; nil: any.
	EnvAllow *regexp.Regexp
	// Paths are the folders in which files may lie; empty: any.
	Paths []string
	// Lookup replaces os.LookupEnv, in tests.
	Lookup func(string) (string, bool)
}

// HasReference tells whether a value holds a reference to a secret.
func HasReference(v string) bool { return reference.MatchString(v) }

// resolve puts the values of references in their places, and notes them in seen, from value to reference. What is no
// reference of a known provider stays. The error never holds a value.
func (s Secrets) resolve(v string, seen map[string]string) (string, error) {
	var first error
	out := reference.ReplaceAllStringFunc(v, func(ref string) string {
		m := reference.FindStringSubmatch(ref)
		got, err := s.lookup(m[1], m[2])
		if err != nil && first == nil {
			first = fmt.Errorf("%s: %w", ref, err)
		}
		if err == nil {
			seen[got] = ref
		}
		return got
	})
	return out, first
}

func (s Secrets) lookup(provider, arg string) (string, error) {
	if provider == "env" {
		lookup := s.Lookup
		if lookup == nil {
			lookup = os.LookupEnv
		}
		switch v, ok := lookup(arg); {
		case s.EnvAllow != nil && s.EnvAllow.FindString(arg) != arg:
			return "", fmt.Errorf("the node's settings do not allow the environment variable %s to be read", arg)
		case !ok:
			return "", fmt.Errorf("the environment variable %s is not set on this node", arg)
		default:
			return v, nil
		}
	}
	i := strings.LastIndexByte(arg, ':')
	if i <= 0 || i == len(arg)-1 {
		return "", fmt.Errorf("a path and a key are needed: ${%s:/path:key}", provider)
	}
	path, key := filepath.Clean(arg[:i]), arg[i+1:]
	if provider == "directory" {
		if strings.ContainsAny(key, `/\`) || key == ".." {
			return "", fmt.Errorf("the key must be the name of a file in %s", path)
		}
		path = filepath.Join(path, key)
	}
	if !s.allowed(path) {
		return "", fmt.Errorf("the node's settings do not allow %s to be read", path)
	}
	if provider == "directory" {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("the file %s cannot be read on this node", path)
		}
		return string(b), nil
	}
	return property(path, key)
}

func (s Secrets) allowed(path string) bool {
	if len(s.Paths) == 0 {
		return true
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	for _, p := range s.Paths {
		if rel, err := filepath.Rel(p, path); err == nil && rel != ".." && !strings.HasPrefix(rel, "../") {
			return true
		}
	}
	return false
}

// property reads one key of a Java properties file: key=value or key: value, # and ! begin comments, a backslash at the
// end of a line continues it.
func property(path, key string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("the file %s cannot be read on this node", path)
	}
	defer f.Close()
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	value, found := "", false
	for sc.Scan() {
		line := strings.TrimLeft(sc.Text(), " \t\f")
		for strings.HasSuffix(line, `\`) && !strings.HasSuffix(line, `\\`) && sc.Scan() {
			line = line[:len(line)-1] + strings.TrimLeft(sc.Text(), " \t\f")
		}
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		k, v := splitProperty(line)
		if k == key {
			value, found = v, true
		}
	}
	switch {
	case sc.Err() != nil:
		return "", fmt.Errorf("the file %s cannot be read on this node", path)
	case !found:
		return "", fmt.Errorf("the file %s has no key %s", path, key)
	}
	return value, nil
}

// splitProperty cuts a line at the first =, : or blank that is not escaped.
func splitProperty(line string) (k, v string) {
	var b strings.Builder
	i := 0
	for ; i < len(line); i++ {
		c := line[i]
		if c == '\\' && i+1 < len(line) {
			i++
			b.WriteByte(line[i])
			continue
		}
		if c == '=' || c == ':' || c == ' ' || c == '\t' {
			break
		}
		b.WriteByte(c)
	}
	rest := strings.TrimLeft(line[i:], " \t")
	if rest != "" && (rest[0] == '=' || rest[0] == ':') {
		rest = strings.TrimLeft(rest[1:], " \t")
	}
	return b.String(), unescapeProperty(rest)
}

func unescapeProperty(s string) string {
	if !strings.ContainsRune(s, '\\') {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		case 'r':
			b.WriteByte('\r')
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}
