package config

import (
	"context"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
)

// TestParseAndCheckAgree tries odd configurations: neither panics, they agree on what is valid, counts are right, and
// what a reference stands for is shown nowhere.
func TestParseAndCheckAgree(t *testing.T) {
	t.Parallel()
	reg := NewRegistry("1.0.0")
	p := reg.Connector(LakehouseClass)
	const hush = "hu5h-hu5h"
	d := Defaults{Registry: reg, CanRun: anything, LakeURL: "file:///lake", Secrets: Secrets{Lookup: func(k string) (string, bool) { return hush, k == "S" }}}
	keys := []string{"transforms", "transforms.a.type", "transforms.a.predicate", "transforms.a.negate", "predicates", "predicates.a.type", "value.converter.schemas.enable",
		"consumer.override.x", "consumer.override.sasl.jaas.config", "owner", "silver.scd", "topcis"}
	for _, def := range reg.Definitions(p, d) {
		keys = append(keys, def.Name)
	}
	values := []string{"", "a", "a,b", "a,,b", "true", "1", "-1", "99999999999999999999", "${env:S}", "x${env:S}y", "${env:NOPE}", "${file:/no:x}", "${topic}", "s/${topic}", "Filter",
		"org.apache.kafka.connect.transforms.Filter", JSONConverter, "RecordIsTombstone", "[", "s3://b", "soft", "reject", "\x00", "ü"}
	rapid.Check(t, func(t *rapid.T) {
		in := map[string]string{"name": "n", "connector.class": LakehouseClass, "topics": "t"}
		for range rapid.IntRange(0, 6).Draw(t, "n") {
			in[rapid.SampledFrom(keys).Draw(t, "key")] = rapid.SampledFrom(values).Draw(t, "value")
		}
		m := map[string]*string{}
		for k, v := range in {
			m[k] = &v
		}
		in["connector.class"] = LakehouseClass
		cls := LakehouseClass
		m["connector.class"] = &cls
		r := Check(context.Background(), p, m, d, nil)
		_, err := Parse(in, d)
		if (err == nil) != (r.ErrorCount == 0) {
			t.Fatalf("Parse says %v, Check counts %d: %q", err, r.ErrorCount, r.Errors())
		}
		if (r.ErrorCount == 0) != (len(r.Errors()) == 0) {
			t.Fatalf("%d, %q", r.ErrorCount, r.Errors())
		}
		shown := strings.Join(append(r.Errors(), r.Warnings...), " ")
		if err != nil {
			shown += err.Error()
		}
		seen := map[string]bool{}
		for _, e := range r.Entries {
			if seen[e.Definition.Name] {
				t.Fatalf("%s is listed twice", e.Definition.Name)
			}
			seen[e.Definition.Name] = true
			if e.Value != nil {
				shown += *e.Value
			}
		}
		if strings.Contains(shown, hush) {
			t.Fatalf("a secret is shown: %s", shown)
		}
	})
}

// TestPathsAreKeys: whatever the names, a resolved path is a key that every store takes, and two tables never share one.
func TestPathsAreKeys(t *testing.T) {
	t.Parallel()
	name := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{".", "..", "a/b", "~2E", "~", "a b", "", "\xff", "é"}))
	rapid.Check(t, func(t *rapid.T) {
		a := connectors.Source{DB: name.Draw(t, "db"), Table: name.Draw(t, "table")}
		b := connectors.Source{DB: name.Draw(t, "db2"), Table: name.Draw(t, "table2")}
		x := ResolvePath("silver/${database}/${table}", "t", &a, "c")
		for part := range strings.SplitSeq(x, "/") {
			if part == "" || part == "." || part == ".." || strings.ContainsAny(part, " %#?:\\\x00") {
				t.Fatalf("%q gives %q", a, x)
			}
		}
		topic := rapid.StringMatching(`[._-]{1,2}[aA]?`) // topics differ in what others replace
		one, two := topic.Draw(t, "topic"), topic.Draw(t, "topic2")
		if got := ResolvePath("bronze/${topic}", one, nil, "c"); one != two && got == ResolvePath("bronze/${topic}", two, nil, "c") {
			t.Fatalf("topics %q and %q both give %q", one, two, got)
		}
		if a.DB != "" && a.Table != "" && b.DB != "" && b.Table != "" && a != b && x == ResolvePath("silver/${database}/${table}", "t", &b, "c") {
			t.Fatalf("%q and %q both give %q", a, b, x)
		}
	})
}
