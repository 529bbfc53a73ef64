package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// source is one parsed Go file.
type source struct {
	path      string // relative to the root, with slashes
	pkg       string // folder of path, "" for the root
	test      bool
	generated bool
	lines     int
	file      *ast.File
}

func root(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		if filepath.Dir(dir) == dir {
			t.Fatal("no go.mod above the test's folder")
		}
		dir = filepath.Dir(dir)
	}
}

func sources(t *testing.T) []source {
	t.Helper()
	top := root(t)
	var out []source
	fset := token.NewFileSet()
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != top && (strings.HasPrefix(n, ".") || n == "testdata" || n == "data" || n == "bin" || n == "dist") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(fset, p, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		if err != nil {
			return err
		}
		rel = filepath.ToSlash(rel)
		pkg := ""
		if i := strings.LastIndexByte(rel, '/'); i >= 0 {
			pkg = rel[:i]
		}
		out = append(out, source{
			path: rel, pkg: pkg, test: strings.HasSuffix(rel, "_test.go"),
			generated: ast.IsGenerated(f), lines: bytes.Count(text, []byte("\n")), file: f,
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func imports(s source) []string {
	var out []string
	for _, i := range s.file.Imports {
		if p, err := strconv.Unquote(i.Path.Value); err == nil {
			out = append(out, p)
		}
	}
	return out
}

func TestImportsGoDown(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range imports(s) {
			to, ours := strings.CutPrefix(imp, module+"/")
			if !ours || to == s.pkg {
				continue
			}
			if msg := directionFault(s.pkg, to); msg != "" {
				t.Errorf("%s: %s", s.path, msg)
			}
			if !s.test && forTests(to) && !forTests(s.pkg) {
				t.Errorf("%s: %s imports %s: production code never imports what is there for tests.", s.path, s.pkg, to)
			}
		}
	}
}

func TestLibrariesHaveKeepers(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || forTests(s.pkg) {
			continue // tests may hold any library beside the code, to check it from outside
		}
		for _, imp := range imports(s) {
			if msg := keeperFault(s.pkg, imp); msg != "" {
				t.Errorf("%s: %s", s.path, msg)
			}
			for _, f := range forbiddenImports {
				if imp == f.pkg && under(s.pkg, f.in) {
					t.Errorf("%s: %s imports %s: %s.", s.path, s.pkg, imp, f.why)
				}
			}
		}
	}
}

func TestForbiddenCalls(t *testing.T) {
	for _, s := range sources(t) {
		if s.test || s.file.Name.Name == "main" && under(s.pkg, "internal/tools") {
			continue // a developer's tool is a binary of its own
		}
		local := map[string]string{} // name in this file → import path
		for _, i := range s.file.Imports {
			p, _ := strconv.Unquote(i.Path.Value)
			name := p[strings.LastIndexByte(p, '/')+1:]
			if i.Name != nil {
				name = i.Name.Name
			}
			local[name] = p
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			id, ok := sel.X.(*ast.Ident)
			if !ok || local[id.Name] == "" {
				return true
			}
			for _, f := range forbiddenCalls {
				if f.pkg != local[id.Name] || !under(s.pkg, f.in) {
					continue
				}
				excepted := false
				for _, e := range f.except {
					excepted = excepted || under(s.pkg, e)
				}
				for _, name := range f.names {
					if !excepted && sel.Sel.Name == name {
						t.Errorf("%s uses %s.%s: %s.", s.path, f.pkg, name, f.why)
					}
				}
			}
			return true
		})
	}
}

func TestFilesStaySmall(t *testing.T) {
	for _, s := range sources(t) {
		if !s.generated && s.lines > maxFileLines {
			t.Errorf("%s has %d lines: a file of more than %d holds two things; split it where they part.", s.path, s.lines, maxFileLines)
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	documented, seen := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if s.test || s.pkg == "" {
			continue
		}
		seen[s.pkg] = true
		documented[s.pkg] = documented[s.pkg] || s.file.Doc != nil || s.generated
	}
	for pkg := range seen {
		if !documented[pkg] {
			t.Errorf("%s has no package comment: say in a sentence which question it answers.", pkg)
		}
	}
}

// TestRulesBite proves the rules on made-up imports, so that a rule that has gone slack is found.
func TestRulesBite(t *testing.T) {
	for _, c := range []struct {
		from, to string
		bad      bool
	}{
		{"worker/silver", "coordinator/state", true},
		{"coordinator", "worker", true},
		{"api", "worker", true},
		{"api/connect", "connectors/config", false},
		{"connectors/kafka", "proto/raft", true},
		{"connectors/delta/rows", "connectors/columnar", false},
		{"connectors/columnar", "connectors/delta", true},
		{"coordinator/state", "coordinator/raftnode", true},
		{"coordinator/raftnode", "coordinator/state", false},
		{"coordinator", "connectors/kafka", true},
		{"internal/shop", "connectors", true},
		{"cmd/sluice/node", "worker", false},
		{"misc", "worker", true},
	} {
		if got := directionFault(c.from, c.to) != ""; got != c.bad {
			t.Errorf("directionFault(%s, %s) = %q", c.from, c.to, directionFault(c.from, c.to))
		}
	}
	for _, c := range []struct {
		from, lib string
		bad       bool
	}{
		{"worker/bronze", "github.com/IBM/sarama", true},
		{"connectors/kafka", "github.com/IBM/sarama", false},
		{"coordinator", "github.com/hashicorp/raft", true},
		{"coordinator/raftnode", "github.com/hashicorp/raft-boltdb/v2", false},
		{"worker", "github.com/apache/arrow/go/v17/arrow", true},
		{"worker", "github.com/twmb/franz-go/pkg/kfake", true},
	} {
		if got := keeperFault(c.from, c.lib) != ""; got != c.bad {
			t.Errorf("keeperFault(%s, %s) = %q", c.from, c.lib, keeperFault(c.from, c.lib))
		}
	}
}
