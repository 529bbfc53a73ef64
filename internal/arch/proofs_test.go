package arch

import (
	"fmt"
	"go/ast"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestProofsExist: docs/proofs.md has all forty edge cases, eighteen lessons and eighteen details, and each test that it names is there.
func TestProofsExist(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root(t), "docs", "proofs.md"))
	if err != nil {
		t.Fatal(err)
	}
	tests, literals := map[string]bool{}, map[string]bool{}
	for _, s := range sources(t) {
		if !s.test {
			continue
		}
		for _, d := range s.file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				tests[s.pkg+"."+f.Name.Name] = true
			}
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if v, err := strconv.Unquote(l.Value); err == nil && len(v) < 200 {
					literals[s.pkg+"/"+v] = true
				}
			}
			return true
		})
	}
	name := regexp.MustCompile("`([a-z0-9/]+)\\.(Test[A-Za-z0-9_]+)(?:/([^`]+))?`")
	rows := map[string]int{}
	for _, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || strings.Trim(cells[1], " -") == "" {
			continue
		}
		found := name.FindAllStringSubmatch(cells[3], -1)
		rows[strings.TrimSpace(cells[1])] = len(found)
		for _, f := range found {
			if !tests[f[1]+"."+f[2]] {
				t.Errorf("docs/proofs.md names %s of %s, and there is no such test", f[2], f[1])
			} else if f[3] != "" && !literals[f[1]+"/"+f[3]] {
				t.Errorf("docs/proofs.md names %s/%s of %s, and there is no such case", f[2], f[3], f[1])
			}
		}
		if strings.Count(cells[3], "`") != 2*len(found) {
			t.Errorf("docs/proofs.md, line %q: not all that it names is a test", strings.TrimSpace(cells[1]))
		}
	}
	for i := range 40 {
		if k := strconv.Itoa(i + 1); rows[k] == 0 {
			t.Errorf("docs/proofs.md names no test for edge case %s", k)
		}
	}
	for i := range 18 {
		if k := fmt.Sprintf("E%d", i+1); rows[k] == 0 {
			t.Errorf("docs/proofs.md names no test for lesson %s", k)
		}
	}
	for i := range 18 {
		if k := fmt.Sprintf("D%d", i+1); rows[k] == 0 {
			t.Errorf("docs/proofs.md names no test for detail %s", k)
		}
	}

}
