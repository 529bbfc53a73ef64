package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/connectors"
)

func base(kv ...string) map[string]string {
	m := map[string]string{"name": "a", "connector.class": "LakehouseSink", "topics": "orders", "lake.url": "file:///data/lake"}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == "-" {
			delete(m, kv[i])
		} else {
			m[kv[i]] = kv[i+1]
		}
	}
	return m
}

func TestMessages(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		set  []string
		want []string // each contained in one message, in order; empty: valid
	}{
		{"fine", nil, nil},
		{"alias of the class", []string{"connector.class", "io.sluice.LakehouseSinkConnector"}, nil},
		{"no name", []string{"name", "-"}, []string{`Missing required configuration "name" which has no default value.`}},
		{"empty name", []string{"name", ""}, []string{"Invalid value  for configuration name: String may not be empty"}},
		{"no topics", []string{"topics", "-"}, []string{"Must configure one of topics or topics.regex", "Must configure one of topics or topics.regex"}},
		{"both topics", []string{"topics.regex", "a.*"}, []string{"mutually exclusive", "mutually exclusive"}},
		{"regex", []string{"topics", "-", "topics.regex", "(?=x)a"}, []string{"Invalid value (?=x)a for configuration topics.regex: Invalid regular expression", "Must"}[:1]},
		{"no name of a topic", []string{"topics", "orders,or ders"}, []string{`"or ders" cannot be the name of a Kafka topic`}},
		{"dots for a topic", []string{"topics", ".."}, []string{`".." cannot be the name of a Kafka topic`}},
		{"long topic", []string{"topics", strings.Repeat("a", 250)}, []string{"up to 249 letters"}},
		{"a pattern in topics", []string{"topics", "orders.*"}, []string{"patterns go to topics.regex"}},
		{"tasks", []string{"tasks.max", "0"}, []string{"Invalid value 0 for configuration tasks.max: Value must be at least 1"}},
		{"tasks no number", []string{"tasks.max", "1.5"}, []string{"Invalid value 1.5 for configuration tasks.max: Not a number of type INT", "Invalid value null for configuration tasks.max: Value must be non-null"}},
		{"trimmed number", []string{"tasks.max", " 3 "}, nil},
		{"boolean in any case", []string{"silver.enabled", "TRUE"}, nil},
		{"no boolean", []string{"silver.enabled", "yes"}, []string{"Invalid value yes for configuration silver.enabled: Expected value to be either true or false"}},
		{"enumerations are case-sensitive", []string{"errors.tolerance", "ALL"}, []string{"Invalid value ALL for configuration errors.tolerance: String must be one of: none, all"}},
		{"dlq in topics", []string{"errors.deadletterqueue.topic.name", "orders"}, []string{"The DLQ topic 'orders' may not be included in the list of topics ('topics'=[orders]) consumed by the connector"}},
		{"dlq in regex", []string{"topics", "-", "topics.regex", "o.*", "errors.deadletterqueue.topic.name", "orders", "bronze.path", "b/${topic}"}, []string{"may not be included in the regex"}},
		{"converter", []string{"value.converter", "com.acme.Converter"}, []string{"Invalid value com.acme.Converter for configuration value.converter: Class com.acme.Converter could not be found."}},
		{"converter's key without prefix", []string{"value.converter", JSONConverter, "value.converter.schemas.enable", "maybe"}, []string{"Invalid value maybe for configuration schemas.enable: Expected value"}},
		{"doubled alias", []string{"transforms", "x,x", "transforms.x.type", "Filter"}, []string{"Invalid value [x, x] for configuration transforms: Duplicate alias provided."}},
		{"no transform class", []string{"transforms", "x", "transforms.x.type", "com.acme.X"}, []string{"Class com.acme.X could not be found."}},
		{"debezium's unwrap", []string{"transforms", "x", "transforms.x.type", "io.debezium.transforms.ExtractNewRecordState"}, []string{"remove it"}},
		{"transform type missing", []string{"transforms", "x"}, []string{`Missing required configuration "transforms.x.type" which has no default value.`}},
		{"a converter is no transform", []string{"transforms", "x", "transforms.x.type", JSONConverter}, []string{"is not a transformation"}},
		{"negate alone", []string{"transforms", "x", "transforms.x.type", "Filter", "transforms.x.negate", "true"}, []string{"Config 'transforms.x.negate' was provided but there is no config 'transforms.x.predicate'"}},
		{"predicate not there", []string{"transforms", "x", "transforms.x.type", "Filter", "transforms.x.predicate", "p"}, []string{"no predicate of this name"}},
		{"version", []string{"connector.plugin.version", "9.9.9"}, []string{"Plugin LakehouseSink not found that matches the version range [9.9.9,9.9.9], available versions: [0.0.0]"}},
		{"version range", []string{"value.converter.plugin.version", "[4.0,5.0)"}, nil},
		{"lake missing", []string{"lake.url", "-"}, []string{`Missing required configuration "lake.url"`}},
		{"lake scheme", []string{"lake.url", "hdfs://x/y"}, []string{"Invalid value hdfs://x/y for configuration lake.url: unknown scheme hdfs"}},
		{"lake two slashes", []string{"lake.url", "file://data/lake"}, []string{"file:///data/lake"}},
		{"typo", []string{"silver.scd.typ", "2"}, []string{"Invalid value 2 for configuration silver.scd.typ: no such key; did you mean silver.scd.type?"}},
		{"word left out", []string{"commit.interval", "2"}, []string{"did you mean commit.interval.ms?"}},
		{"namespace left out", []string{"delete.mode", "soft"}, []string{"did you mean silver.delete.mode?"}},
		{"underscores", []string{"cdc_format", "dms"}, []string{"did you mean cdc.format?"}},
		{"a rename", []string{"schema.evolution.rename", "reject"}, []string{"schema.evolution.rename: no such key; events tell a rename as a column that goes and one that comes: set schema.evolution.drop and schema.evolution.add"}},
		{"unknown of ours", []string{"silver.magic", "2"}, []string{"no such key; GET /connector-plugins/LakehouseSink/config"}},
		{"a note is no error", []string{"owner", "team-a", "note", "x", "flag", "true"}, nil},
		{"path variable", []string{"silver.path", "s/${tabel}"}, []string{"unknown variable ${tabel}"}},
		{"path dots", []string{"silver.path", "../x"}, []string{". or .."}},
		{"bronze by row", []string{"bronze.path", "b/${table}"}, []string{"bronze has a row for every record"}},
		{"one bronze for two", []string{"topics", "a,b", "bronze.path", "b"}, []string{"put ${topic} into the path"}},
		{"bronze is silver", []string{"bronze.path", "x/${topic}", "silver.path", "x/${topic}"}, []string{"cannot be the same table"}},
		{"include and exclude", []string{"silver.columns.include", "a", "silver.columns.exclude", "b"}, []string{"only one of"}},
		{"partitioned twice", []string{"silver.partition.by", "a,b,a"}, []string{"column a is listed twice"}},
		{"key excluded", []string{"silver.keys", "id", "silver.columns.exclude", "id"}, []string{"a column of silver.keys (id) is among them"}},
		{"history", []string{"silver.scd.type", "3"}, []string{"Value must be 1 or 2"}},
		{"a filter beside other errors", []string{"silver.filter", "a ==", "silver.scd.type", "3"}, []string{"Value must be 1 or 2", "configuration silver.filter: "}},
		{"no code for a converter beside other errors", []string{"value.converter", "AvroConverter", "silver.scd.type", "3"}, []string{
			"not built into this version", "Value must be 1 or 2", "schema.registry.url"}},
		{"generic without mapping", []string{"cdc.format", "generic"}, []string{"cdc.format=generic needs it"}},
		{"mapping", []string{"cdc.format", "generic", "format.generic.mapping", `{"op":{"path":"o","map":{"I":"insert"}},"table":{"const":"t"},"after":"new"}`}, nil},
		{"mapping with another member", []string{"cdc.format", "generic", "format.generic.mapping", `{"ops":{}}`}, []string{`unknown field "ops"`}},
		{"mapping without table", []string{"cdc.format", "generic", "format.generic.mapping", `{"after":""}`}, []string{`"table" needs "path" or "const"`}},
		{"mapping misspelt", []string{"format.generic.maping", "{}"}, []string{"did you mean format.generic.mapping?"}},
		{"cloudevents", []string{"cdc.format", "cloudevents"}, nil},
		{"evolution", []string{"schema.evolution.widen", "maybe"}, []string{"String must be one of: evolve, ignore, reject"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := Validate(base(c.set...))
			got := r.Errors()
			if len(got) != len(c.want) || r.ErrorCount != len(got) {
				t.Fatalf("got %d errors %q, count %d, want %d", len(got), got, r.ErrorCount, len(c.want))
			}
			for i, w := range c.want {
				if !strings.Contains(got[i], w) {
					t.Errorf("message %d is %q, want it to contain %q", i, got[i], w)
				}
			}
			_, err := Parse(base(c.set...), Defaults{})
			if (err == nil) != (len(c.want) == 0) {
				t.Errorf("Parse and Validate disagree: %v", err)
			}
			for _, m := range got {
				if !strings.Contains(err.Error(), m) {
					t.Errorf("Parse leaves out %q", m)
				}
			}
		})
	}
}

// A property of a Kafka client that does nothing says so, where validation shows it and in the log.
func TestOverrideWithoutEffectSaysSo(t *testing.T) {
	t.Parallel()
	d := Defaults{ClientProperty: func(client, property string) string {
		if client == "producer" && property == "retries" {
			return "It has no effect."
		}
		return ""
	}}
	props := map[string]*string{}
	for k, v := range base("producer.override.retries", "3", "producer.override.acks", "all") {
		props[k] = &v
	}
	r := Check(t.Context(), d.registry().Connector(LakehouseClass), props, d, nil)
	told := 0
	for _, e := range r.Entries {
		if strings.Contains(e.Definition.Doc, "no effect") {
			told++
			if e.Definition.Name != "producer.override.retries" {
				t.Error(e.Definition.Name)
			}
		}
	}
	if want := []string{"producer.override.retries: It has no effect."}; told != 1 || !slices.Equal(r.Warnings, want) || r.ErrorCount != 0 {
		t.Errorf("%d entries, warnings %q, %d errors", told, r.Warnings, r.ErrorCount)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	s, err := Parse(base("commit.interval.ms", "250", "silver.keys", "a, b", "schema.evolution", "ignore", "schema.evolution.drop", "reject",
		"consumer.override.group.id", "g", "value.converter", "JsonConverter", "value.converter.schemas.enable", "false",
		"transforms", "t", "transforms.t.type", "org.apache.kafka.connect.transforms.RegexRouter", "transforms.t.regex", "a(.*)", "transforms.t.replacement", "$1",
		"owner", "me"), Defaults{CanRun: anything, KeyConverter: Converter{Class: StringConverter, Options: map[string]string{"converter.encoding": "UTF-8"}}})
	if err != nil {
		t.Fatal(err)
	}
	switch {
	case s.CommitInterval != 250*time.Millisecond, s.CommitMaxBytes != 64<<20, s.TasksMax != 0, s.ErrorsTolerance != "all", s.GroupID != "g":
		t.Errorf("%+v", s)
	case !slices.Equal(s.SilverKeys, []string{"a", "b"}), s.EvolveAdd != "ignore", s.EvolveDrop != "reject":
		t.Errorf("%+v", s)
	case s.ValueConverter.Class != JSONConverter, s.ValueConverter.Options["schemas.enable"] != "false":
		t.Errorf("%+v", s.ValueConverter)
	case s.KeyConverter.Class != StringConverter, s.KeyConverter.Options["converter.encoding"] != "UTF-8":
		t.Errorf("%+v", s.KeyConverter)
	case len(s.Transforms) != 1, s.Transforms[0].Options["replacement"] != "$1", len(s.Transforms[0].Options) != 2:
		t.Errorf("%+v", s.Transforms)
	case len(s.Warnings) != 1, !s.Reads("orders"), s.Reads("order"), s.UnavailablePlaceholder != DefaultUnavailable:
		t.Errorf("%+v", s)
	case s.SilverTombstoneRetention != 7*24*time.Hour, s.SilverCompatibility != "widest", s.SilverMergeMode != "deletion-vectors":
		t.Errorf("%+v", s)
	}
	s, err = Parse(base("topics", "-", "topics.regex", "shop\\..*|x"), Defaults{LakeURL: "s3://b"})
	if err != nil || !s.Reads("shop.a") || s.Reads("xy") || s.Reads("ashop.a") || s.GroupID != "connect-a" {
		t.Errorf("%+v %v", s, err)
	}
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "s.properties")
	if err := os.WriteFile(file, []byte("# x\nlake = file:///hush\npass: top\\\n  hush\nn=many-hush\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := Defaults{Secrets: Secrets{Lookup: func(k string) (string, bool) { return "hush", k == "V" }}}
	in := base("lake.url", "${file:"+file+":lake}/x", "consumer.override.sasl.jaas.config", "user ${env:V}", "note", "${vault:a}",
		"consumer.override.ssl.key.password", "${file:"+file+":pass}")
	s, err := Parse(in, d)
	if err != nil {
		t.Fatal(err)
	}
	if s.LakeURL != "file:///hush/x" || s.ConsumerOverride["sasl.jaas.config"] != "user hush" || s.ConsumerOverride["ssl.key.password"] != "tophush" {
		t.Errorf("%+v", s)
	}
	if s.Raw["lake.url"] != in["lake.url"] {
		t.Error("Raw must keep the reference")
	}
	in["tasks.max"], in["commit.max.bytes"], in["cdc.format"] = "${file:"+file+":n}", "${env:NOPE}", "${env:V}"
	in["topics"] = "${file:/nowhere/at-all:x}"
	m := map[string]*string{}
	for k, v := range in {
		m[k] = &v
	}
	r := Check(context.Background(), d.registry().Connector(LakehouseClass), m, d, nil)
	if r.ErrorCount != 5 {
		t.Errorf("%d errors: %q", r.ErrorCount, r.Errors())
	}
	for _, e := range r.Entries {
		all := strings.Join(e.Errors, " ")
		if e.Value != nil {
			all += *e.Value
		}
		if strings.Contains(all, "hush") {
			t.Errorf("%s shows a secret: %s", e.Definition.Name, all)
		}
		if strings.Contains(e.Definition.Name, "jaas") && *e.Value != hidden {
			t.Errorf("%s is shown as %s", e.Definition.Name, *e.Value)
		}
	}
	_, err = Parse(in, d)
	if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "NOPE is not set on this node") {
		t.Errorf("%v", err)
	}
	d.Secrets.Paths = []string{"/etc/allowed"}
	if _, err := d.Secrets.resolve("${file:"+file+":pass}", map[string]string{}); err == nil {
		t.Error("a file outside of the allowed folders was read")
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	m := map[string]*string{}
	for k, v := range base() {
		m[k] = &v
	}
	d := Defaults{}
	reach := func(ctx context.Context, s *Sink) []Problem {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("no deadline")
		}
		return []Problem{{"lake.url", "the folder cannot be written: create it or give another"}, {"kafka.bootstrap.servers", "no broker answers at b:9092"}}
	}
	r := Check(context.Background(), d.registry().Connector(LakehouseClass), m, d, reach)
	if r.ErrorCount != 2 || !strings.HasPrefix(r.Errors()[0], "Invalid value file:///data/lake for configuration lake.url: the folder") {
		t.Errorf("%q", r.Errors())
	}
}

func TestPolicyAndCode(t *testing.T) {
	t.Parallel()
	_, err := Parse(base("consumer.override.fetch.min.bytes", "1"), Defaults{OverridePolicy: "None"})
	if err == nil || !strings.Contains(err.Error(), "The 'None' policy does not allow 'fetch.min.bytes' to be overridden in the connector configuration.") {
		t.Error(err)
	}
	if _, err = Parse(base("consumer.override.sasl.mechanism", "PLAIN"), Defaults{OverridePolicy: "Principal"}); err != nil {
		t.Error(err)
	}
	avro := base("value.converter", AvroConverter, "value.converter.schema.registry.url", "http://r")
	_, err = Parse(avro, Defaults{})
	if err == nil || !strings.Contains(err.Error(), "not built into this version") {
		t.Error(err)
	}
	if _, err = Parse(avro, Defaults{CanRun: anything}); err != nil {
		t.Error(err)
	}
}

const apache = "org.apache.kafka.connect.transforms."

func TestTransformsThatRun(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set  []string
		want []string // texts in the messages, one each; none: it is accepted
	}{
		{[]string{"transforms", "x", "transforms.x.type", "Filter"}, nil},
		{[]string{"transforms", "x", "transforms.x.type", apache + "ReplaceField$Value", "transforms.x.renames", "a:b"}, nil},
		{[]string{"transforms", "x", "transforms.x.type", "RegexRouter", "transforms.x.regex", "a", "transforms.x.replacement", "b",
			"transforms.x.predicate", "p", "predicates", "p", "predicates.p.type", "TopicNameMatches", "predicates.p.pattern", "a.*"}, nil},
		{[]string{"transforms", "x", "transforms.x.type", apache + "Flatten$Value"},
			[]string{"transforms.x.type: this transformation is known by name and not built into this version of Sluice; there are Filter, InsertField$Key, InsertField$Value, MaskField$Key"}},
		{[]string{"transforms", "x", "transforms.x.type", "RegexRouter", "transforms.x.regex", "a", "transforms.x.replacement", "b",
			"transforms.x.predicate", "p", "predicates", "p", "predicates.p.type", "HasHeaderKey", "predicates.p.name", "h"},
			[]string{"Invalid value p for configuration transforms.x.predicate: a RegexRouter decides into which table a whole topic goes"}},
		{[]string{"transforms", "x", "transforms.x.type", "ReplaceField$Value", "transforms.x.renames", "ab"},
			[]string{"Invalid value ab for configuration transforms.x.renames: renames has \"ab\", which is not old:new"}},
		{[]string{"silver.filter", "after.total > 10 && table == 'orders'"}, nil},
		{[]string{"silver.filter", "after.total >\n  10 && tabel == 'orders'"}, []string{"for configuration silver.filter: line 2, column 9: undeclared reference to 'tabel'"}},
		{[]string{"silver.filter", "after.total >"}, []string{"line 1, column 14: Syntax error"}},
		{[]string{"silver.filter", "table"}, []string{"the expression gives string, and is to give true or false"}},
		{[]string{"silver.filter", "table ==", "silver.columns.mask", "card"}, []string{"silver.columns.mask.salt: silver.columns.mask needs a salt", "line 1, column 9"}},
		{[]string{"silver.columns.mask", "card", "silver.columns.mask.salt", "pepper"}, nil},
		{[]string{"silver.columns.computed", "{'total_eur': after.total * 0.92, 'day': string(after.placed_at).substring(0, 10)}"}, nil},
		{[]string{"silver.columns.computed", "{'a': after.total}"}, []string{"for configuration silver.columns.computed: line 1, column 2: the type of column a is dyn"}},
	} {
		r := Validate(base(c.set...))
		got := r.Errors()
		if len(got) != len(c.want) || r.ErrorCount != len(got) {
			t.Errorf("%q: %q, count %d", c.set, got, r.ErrorCount)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(got[i], w) {
				t.Errorf("%q: %q, want %q", c.set, got[i], w)
			}
		}
	}
}

func TestSilverTopic(t *testing.T) {
	t.Parallel()
	s, err := Parse(base("transforms", "x, y", "transforms.x.type", "RegexRouter", "transforms.x.regex", `shard\d\.(.*)`, "transforms.x.replacement", "$1",
		"transforms.y.type", "RegexRouter", "transforms.y.regex", "(.*)", "transforms.y.replacement", "all_$1", "transforms.y.predicate", "p",
		"predicates", "p", "predicates.p.type", "TopicNameMatches", "predicates.p.pattern", "orders"), Defaults{})
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]string{"shard1.orders": "all_orders", "shard2.orders": "all_orders", "shard1.users": "users", "other": "other"} {
		if got := s.SilverTopic(topic); got != want {
			t.Errorf("%s goes to %s, want %s", topic, got, want)
		}
	}
}

func anything(PluginKind, string) bool { return true }

func TestResolvePath(t *testing.T) {
	t.Parallel()
	src := &connectors.Source{DB: "shop", Schema: "public", Table: "orders"}
	noSchema := &connectors.Source{DB: "shop", Table: "a/b c~"}
	for _, c := range []struct {
		template string
		src      *connectors.Source
		want     string
	}{
		{"bronze/${topic}", nil, "bronze/t.o"},
		{"${connector}/${topic}", nil, "c/t.o"},
		{"silver/${database}/${schema}/${table}", src, "silver/shop/public/orders"},
		{"silver/${database}/${schema}/${table}", noSchema, "silver/shop/a~2Fb~20c~7E"},
		{"silver/${database}_${schema}_${table}", noSchema, "silver/shop_a~2Fb~20c~7E"},
		{"silver/${schema}.${database}", noSchema, "silver/shop"},
		{"silver/${schema}", noSchema, "silver"},
		{"silver/${database}.${schema}", noSchema, "silver/shop"},
		{"silver/x${schema}y", noSchema, "silver/xy"},
		{"silver/${topic}/${table}", nil, "silver/t.o/${table}"},
		{"silver/${table}", &connectors.Source{Table: ".."}, "silver/~2E~2E"},
		{"silver/${table}", &connectors.Source{Table: "Bestellübersicht"}, "silver/Bestellübersicht"},
		{"silver/${table}", &connectors.Source{Table: "a\xffb"}, "silver/a~FFb"},
		{"plain", src, "plain"},
	} {
		if got := ResolvePath(c.template, "t.o", c.src, "c"); got != c.want {
			t.Errorf("%s gives %s, want %s", c.template, got, c.want)
		}
	}
	if PathNeedsRow("a/${topic}${connector}") || !PathNeedsRow("a/${schema}") {
		t.Error("PathNeedsRow")
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	sink := func(kv ...string) *Sink {
		s, err := Parse(base(kv...), Defaults{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	a := sink()
	for _, c := range []struct {
		b    *Sink
		want string
	}{
		{sink("name", "b"), "bronze/orders"},
		{sink(), ""},
		{sink("name", "b", "topics", "x"), ""},
		{sink("name", "b", "lake.url", "s3://other"), ""},
		{sink("name", "b", "bronze.path", "b2/${topic}"), "silver/orders"},
		{sink("name", "b", "bronze.path", "b2/${topic}", "silver.enabled", "false"), ""},
		{sink("name", "b", "topics", "-", "topics.regex", "ord.*"), "bronze/orders"},
		{sink("name", "b", "topics", "-", "topics.regex", "x.*"), ""},
		{sink("name", "b", "topics", "x", "silver.path", "silver/orders"), "silver/orders"},
	} {
		if got, _ := Conflict(a, c.b); got != c.want {
			t.Errorf("%v: %q, want %q", c.b.Raw, got, c.want)
		}
		if got, _ := Conflict(c.b, a); got != c.want {
			t.Errorf("%v the other way: %q, want %q", c.b.Raw, got, c.want)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		spec       string
		in, formed bool
	}{
		{"4.3.1", true, true}, {"4.3.10", false, true}, {"[4.3,4.4)", true, true}, {"(4.3.1,]", false, true}, {"(,4.3.1]", true, true},
		{"[1.0", false, false}, {"[4.3.1]", true, true}, {"[5,6]", false, true},
	} {
		if in, ok := inRange(c.spec, "4.3.1"); in != c.in || ok != c.formed {
			t.Errorf("%s: %v %v", c.spec, in, ok)
		}
	}
}

func TestDefinitionsAreWhole(t *testing.T) {
	t.Parallel()
	r := NewRegistry("1.2.3")
	for _, p := range r.Plugins(false) {
		for _, d := range r.Definitions(p, Defaults{}) {
			if d.Type == "" || d.Importance == "" || d.Width == "" || d.DisplayName == "" || d.Doc == "" || (d.Group == "") != (d.Order == -1) {
				t.Errorf("%s: %+v", p.Class, d)
			}
		}
	}
	if p := r.Connector("LakehouseSinkConnector"); p == nil || p.Version != "1.2.3" {
		t.Error(p)
	}
	if r.Connector("lakehousesink") != nil {
		t.Error("names are case-sensitive")
	}
}
