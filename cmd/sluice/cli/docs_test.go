package cli

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/config"
)

var update = flag.Bool("update", false, "write the generated parts of docs/ anew")

const docs = "../../../docs"

// TestGeneratedDocs keeps the tables of docs/ equal to the definitions that the binary itself uses.
func TestGeneratedDocs(t *testing.T) {
	for name, text := range map[string]string{
		"settings":   settingsTable(),
		"connectors": connectorTables(),
	} {
		replaceBlock(t, filepath.Join(docs, "configuration.md"), name, text)
	}
	replaceBlock(t, filepath.Join(docs, "commands.md"), "commands", commandTable(t))
}

// replaceBlock compares what lies between <!-- name: begin --> and <!-- name: end --> of a file with text.
func replaceBlock(t *testing.T, path, name, text string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile(`(?s)(<!-- ` + name + `: begin[^>]*-->\n).*?(<!-- ` + name + `: end -->)`)
	m := block.FindSubmatchIndex(page)
	if m == nil {
		t.Fatalf("%s has no block %s", path, name)
	}
	now := string(page[:m[3]]) + text + string(page[m[4]:])
	if now == string(page) {
		return
	}
	if !*update {
		t.Fatalf("%s is not current: go test ./cmd/sluice/cli -run TestGeneratedDocs -update", path)
	}
	if err := os.WriteFile(path, []byte(now), 0o644); err != nil {
		t.Fatal(err)
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func settingsTable() string {
	var b strings.Builder
	b.WriteString("| setting | default | meaning |\n| --- | --- | --- |\n")
	for _, d := range settings.Definitions() {
		def := "`" + d.Default + "`"
		switch {
		case d.DefaultText != "":
			def = d.DefaultText
		case d.Default == "":
			def = "–"
		}
		help := d.Help
		if len(d.Choices) > 0 {
			help += ": `" + strings.Join(d.Choices, "` `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, def, cell(help))
	}
	for _, p := range settings.Prefixes {
		fmt.Fprintf(&b, "| `%s*` | – | %s |\n", p.Name, cell(p.Help))
	}
	return b.String()
}

func connectorTables() string {
	var b strings.Builder
	r := config.NewRegistry("")
	group := "-"
	for _, d := range r.Definitions(r.Connector(config.LakehouseClass), config.Defaults{}) {
		if d.Group != group {
			group = d.Group
			fmt.Fprintf(&b, "\n### %s\n\n| key | type | default | meaning |\n| --- | --- | --- | --- |\n", group)
		}
		def := "–"
		switch {
		case d.Required:
			def = "required"
		case d.Default != nil && *d.Default != "":
			def = "`" + cell(*d.Default) + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", d.Name, strings.ToLower(string(d.Type)), def, cell(d.Doc))
	}
	return b.String() + "\n"
}

func commandTable(t *testing.T) string {
	t.Helper()
	a := &app{}
	var b strings.Builder
	b.WriteString("| command | what it does |\n| --- | --- |\n")
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" || c.Name() == "completion" {
			return
		}
		if c.HasParent() && c.RunE != nil && !c.HasSubCommands() {
			fmt.Fprintf(&b, "| `%s` | %s |\n", cell(c.UseLine()), cell(c.Short))
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(a.root())
	return strings.ReplaceAll(b.String(), " [flags]", "")
}

// TestDocsNameWhatExists looks whether every command line in docs/ and README.md is one that the binary takes: its command and
// its flags.
func TestDocsNameWhatExists(t *testing.T) {
	pages, err := filepath.Glob(filepath.Join(docs, "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	pages = append(pages, filepath.Join(docs, "..", "README.md"))
	line := regexp.MustCompile("(?m)(?:^|`|\\$ |\\./bin/)sluice ([a-z][^`\n|#]*)")
	n := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(m[1]), "\\"))
			root := (&app{}).root()
			c, rest, err := root.Find(words)
			if err != nil || c == root || c.HasSubCommands() && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") && !strings.HasPrefix(rest[0], "…") && !strings.HasPrefix(rest[0], "{") {
				t.Errorf("%s: `sluice %s` is no command: %v", filepath.Base(page), m[1], err)
				continue
			}
			n++
			for _, w := range rest {
				name, ok := strings.CutPrefix(w, "--")
				if !ok {
					continue
				}
				name, _, _ = strings.Cut(name, "=")
				if c.Flags().Lookup(name) == nil && c.InheritedFlags().Lookup(name) == nil {
					t.Errorf("%s: `sluice %s`: no flag --%s", filepath.Base(page), m[1], name)
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d command lines were found", n)
	}
}

// TestJourneyNamesFunctions looks whether the functions and types that docs/how-a-record-travels.md names are there.
func TestJourneyNamesFunctions(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(docs, "how-a-record-travels.md"))
	if err != nil {
		t.Fatal(err)
	}
	declared := map[string]bool{}
	decl := regexp.MustCompile(`(?m)^(?:func (?:\([^)]*\) )?|type )([A-Za-z_]\w*)`)
	for _, room := range []string{"cmd", "worker", "coordinator", "connectors"} {
		err := filepath.WalkDir(filepath.Join(docs, "..", room), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
				return err
			}
			source, err := os.ReadFile(path)
			for _, m := range decl.FindAllStringSubmatch(string(source), -1) {
				declared[m[1]] = true
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, m := range regexp.MustCompile("`([A-Za-z]+(?:\\.[A-Za-z]+)*)`").FindAllStringSubmatch(string(text), -1) {
		name := m[1][strings.LastIndexByte(m[1], '.')+1:]
		if name == "txn" || name == "coordinator" {
			continue
		}
		if n++; !declared[name] {
			t.Errorf("`%s` is named, and there is no function or type %s", m[1], name)
		}
	}
	if n < 25 {
		t.Errorf("only %d names were found", n)
	}
}
