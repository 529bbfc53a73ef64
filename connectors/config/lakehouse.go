package config

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors/cdc/generic/mapping"
)

// LakehouseClass is the name of the one connector of Sluice.
const LakehouseClass = "LakehouseSink"

// The formats of cdc.format.
var formats = []string{"auto", "debezium", "debezium-flat", "cloudevents", "dms", "goldengate", "maxwell", "canal", "outbox", "generic"}

// lakeSchemes are what lake.url may begin with.
var lakeSchemes = []string{"file", "s3", "gs", "azblob", "mem"}

// DefaultUnavailable is Debezium's placeholder for a value that did not change and was not sent.
const DefaultUnavailable = "__debezium_unavailable_value"

func lakehousePlugin(version string) Plugin {
	return Plugin{
		Class: LakehouseClass, Kind: KindSink, Version: cmp.Or(version, "0.0.0"),
		Names:       []string{"LakehouseSinkConnector", "io.sluice.LakehouseSinkConnector", "io.sluice.LakehouseSink"},
		Definitions: lakehouseDefs(Defaults{}),
		// A bad record is kept here, not skipped; and tables want as many readers as there are partitions.
		Defaults:  map[string]string{"errors.tolerance": "all"},
		TaskClass: "io.sluice.LakehouseSinkTask",
		lakehouse: true,
	}
}

// lakehouseDefs are the keys of LakehouseSink (DESIGN §7 and §6 "Decisions on detail").
func lakehouseDefs(d Defaults) defs {
	var out defs
	group, order := "", 0
	add := func(name string, t Type, imp Importance, dflt *string, display, doc string, c check, recommend ...string) {
		order++
		out = append(out, Definition{Name: name, Type: t, Importance: imp, Default: dflt, Group: group, Order: order, Width: WidthMedium,
			DisplayName: display, Doc: doc, check: c, recommend: recommend})
	}
	enum := func(name string, imp Importance, dflt, display, doc string, values ...string) {
		add(name, String, imp, text(dflt), display, doc, oneOf(values...), values...)
	}
	start := func(g string) { group, order = g, 0 }

	start("Lake")
	lake := (*string)(nil)
	if d.LakeURL != "" {
		lake = text(d.LakeURL)
	}
	add("lake.url", String, High, lake, "Lake", "Where the tables are: file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix. The worker's lake.url where not given.", lakeURL)
	out[len(out)-1].Required, out[len(out)-1].Width = lake == nil, WidthLong
	add("bronze.path", String, Medium, text("bronze/${topic}"), "Bronze path", "Path of the table of raw events, one per topic. ${topic} and ${connector} stand for their values.", pathTemplate(true))
	add("silver.path", String, Medium, text("silver/${topic}"), "Silver path", "Path of the table of current rows. ${topic} ${database} ${schema} ${table} ${connector} stand for their values; an empty one takes its separator away.", pathTemplate(false))

	start("Change Events")
	enum("cdc.format", High, "auto", "Format", "How change events are written. auto finds out from the first records of a topic.", formats...)
	add("cdc.absent", String, Low, nil, "Absent columns", "What a column that an event leaves out means: null, or unchanged. Each format has its own default (DMS null, GoldenGate unchanged).", optionalOneOf("null", "unchanged"), "null", "unchanged")
	add("unavailable.value.placeholder", String, Low, text(DefaultUnavailable), "Unavailable placeholder", "The text that the source sends for a value that did not change and was not sent.", notBlank)
	add(mapping.Key, String, Low, nil, "Mapping", "With cdc.format=generic: where the parts of an event lie, a JSON object (docs/formats.md).", genericMapping)
	add("format.flat.prefix", String, Low, text("__"), "Prefix of flattened metadata", "With cdc.format=debezium-flat: add.fields.prefix and add.headers.prefix of the transform.", notBlank)
	add("format.flat.connector", String, Low, nil, "Connector of flattened events", "With cdc.format=debezium-flat: the source's connector, such as mongodb or postgresql, where neither events nor headers name it.", nil)
	add("format.dms.before.field", String, Low, text("before-image"), "Before images of DMS", "With cdc.format=dms: FieldName of the task's BeforeImageSettings.", notBlank)
	add("format.dms.before.prefix", String, Low, text("BI_"), "Prefix of before columns of DMS", "With cdc.format=dms: what the task's transformation rule puts in front of columns that hold the value before.", notBlank)
	for _, op := range []string{"insert", "update", "delete", "truncate"} {
		add("format.goldengate.op."+op, String, Low, nil, "Word for "+op, "With cdc.format=goldengate: the handler's "+op+"OpKey, where it is not the usual letter.", nil)
	}

	start("Commits")
	add("commit.interval.ms", Long, Medium, text("1000"), "Commit interval", "The longest time in milliseconds that a change waits for its bronze commit.", between(1, 24*3600*1000))
	add("commit.max.bytes", Long, Medium, text("67108864"), "Commit size", "Commit sooner when this many bytes wait.", between(1024, 1<<40))

	start("Silver")
	add("silver.enabled", Boolean, Medium, text("true"), "Silver", "Whether tables of current rows are kept, beside bronze.", nil)
	enum("silver.merge.mode", Medium, "deletion-vectors", "Merge mode", "deletion-vectors marks old rows; copy-on-write rewrites their files, for readers that do not know deletion vectors.", "deletion-vectors", "copy-on-write")
	add("silver.scd.type", Int, Medium, text("1"), "SCD type", "1: one row per key. 2: the history, with __START_AT and __END_AT.", func(v value) string {
		if v.null || v.num < 1 || v.num > 2 {
			return "Value must be 1 or 2"
		}
		return ""
	}, "1", "2")
	add("silver.keys", List, Medium, text(""), "Keys", "Columns that make the primary key, instead of the event's key.", names)
	add("silver.sequence.by", List, Low, text(""), "Sequence columns", "Columns whose values say which of two changes is newer, instead of the source's log position.", names)
	enum("silver.delete.mode", Medium, "hard", "Deletes", "hard removes the row, soft keeps it with _cdc_deleted, ignore does nothing.", "hard", "soft", "ignore")
	enum("silver.truncate.mode", Low, "apply", "Truncates", "apply empties the table, ignore does nothing, dead-letter puts the event aside.", "apply", "ignore", "dead-letter")
	add("silver.snapshot.sweep", Boolean, Low, text("true"), "Sweep after snapshots", "Whether rows that are older than a complete snapshot of their table, and not in it, are deleted: their deletes were never told. Rows of other source tables in the same table stay. In a table without key a complete snapshot takes the place of all older rows; not of PostgreSQL's, whose positions do not say what was committed before it: there it adds its rows once more. Set it to false where snapshots are of a part of a table only (ad hoc ones with a condition, select overrides).", nil)
	add("silver.ignore.null.updates", Boolean, Low, text("false"), "Ignore null updates", "Whether a NULL in an update leaves the column as it was.", nil)
	add("silver.columns.include", List, Low, text(""), "Columns to keep", "Only these columns, and the key, go to silver.", names)
	add("silver.columns.exclude", List, Low, text(""), "Columns to leave out", "These columns do not go to silver. In a table that has them already new rows have NULL there; one without a key goes on having them, since all columns tell its rows.", names)
	add("silver.columns.mask", List, Low, text(""), "Columns to mask", "Values of these columns go to silver as hex(SHA-256(salt followed by the value's text)). Bronze keeps what was sent.", names)
	add("silver.columns.mask.salt", Password, Low, nil, "Salt of masks", "The salt of silver.columns.mask. Another one gives other values.", nil)
	add("silver.columns.computed", String, Low, text(""), "Computed columns", "A map of CEL from column to the expression that gives its value, such as: {'total_eur': after.total * 0.92, 'day': string(after.placed_at).substring(0, 10)}.", nil)
	add("silver.partition.by", List, Low, text(""), "Partition columns", "Columns by whose values the files of the table are laid out. Each table of the connector needs them, and keeps them. Binary and nested columns cannot be.", names)
	add("silver.filter", String, Low, text(""), "Row filter", "Only rows for which this expression of CEL holds are in silver, such as: after.status == 'paid' && after.total > 10.", nil)
	add("silver.change.data.feed", Boolean, Low, text("false"), "Change data feed", "Whether the table records its row changes for readers of Delta's change data feed.", nil)
	add("silver.mongo.flatten", Boolean, Low, text("false"), "Flatten MongoDB documents", "Whether members of nested documents become columns, address.city as address_city, instead of relaxed extended-JSON text. Arrays stay text.", nil)
	add("silver.tombstone.retention.ms", Long, Low, text("604800000"), "Tombstone retention", "How late in milliseconds an older event of a deleted row may come without bringing it back.", atLeast(0))
	add("silver.vacuum.interval.ms", Long, Low, text("86400000"), "Vacuum interval", "How often in milliseconds the owner of a table deletes the files that no version within the retention needs (the table's delta.deletedFileRetentionDuration; seven days where it has none), and the part of its log that is older than delta.logRetentionDuration (30 days). 0: never.", atLeast(0))
	enum("silver.compatibility", Medium, "widest", "Table features", "widest: only features that delta-rs, DuckDB, Polars and Spark all read rightly; a column that grows has its files written anew. full: also column mapping, with which columns keep the source's names whatever they are and can be renamed and dropped, and which Polars refuses and DuckDB misreads in partitioned tables; and, once a column grows, type widening, which needs no rewrite, and which delta-rs refuses.", "widest", "full")

	start("Schema Evolution")
	evolve := []string{"evolve", "ignore", "reject"}
	enum("schema.evolution", Medium, "evolve", "Evolution", "What a change of the source's columns does: evolve follows it, ignore keeps the table as it is, reject makes the record a dead letter.", evolve...)
	for _, k := range []struct{ kind, display, doc string }{
		{"add", "New columns", "A column that the table does not have."},
		{"widen", "Wider types", "A type that holds more than the column's."},
		{"drop", "Dropped columns", "A column that the source has no longer. The table's column stays."},
		{"type", "Other types", "A type that the column's cannot be widened to."},
	} {
		add("schema.evolution."+k.kind, String, Low, nil, k.display, k.doc+" As schema.evolution where not given.", optionalOneOf(evolve...), evolve...)
	}
	return out
}

// between is Kafka's Range.between.
func between(low, high int64) check {
	return func(v value) string {
		if reason := atLeast(low)(v); reason != "" {
			return reason
		}
		if v.num > high {
			return "Value must be no more than " + strconv.FormatInt(high, 10)
		}
		return ""
	}
}

// optionalOneOf is oneOf for a key whose absence means something.
func optionalOneOf(allowed ...string) check {
	return func(v value) string {
		if v.null || v.text == "" {
			return ""
		}
		return oneOf(allowed...)(v)
	}
}

func notBlank(v value) string {
	if v.null || v.text == "" {
		return "String must be non-empty"
	}
	return ""
}

// genericMapping checks format.generic.mapping.
func genericMapping(v value) string {
	if v.null || v.text == "" {
		return ""
	}
	if _, err := mapping.Parse(v.text); err != nil {
		return err.Error()
	}
	return ""
}

// names refuses empty and doubled members of a list of columns.
func names(v value) string {
	if reason := noEmptyMembers(v); reason != "" {
		return reason
	}
	for i, n := range v.list {
		if slices.Contains(v.list[:i], n) {
			return "column " + n + " is listed twice"
		}
	}
	return ""
}

func lakeURL(v value) string {
	if v.null || v.text == "" {
		return "a lake is needed: give file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix here or in the worker's settings"
	}
	u, err := url.Parse(v.text)
	if err != nil || u.Scheme == "" {
		return "not a URL; write file:///path, s3://bucket/prefix, gs://bucket/prefix or azblob://container/prefix"
	}
	switch {
	case !slices.Contains(lakeSchemes, u.Scheme):
		return "unknown scheme " + u.Scheme + "; known are file, s3, gs and azblob"
	case u.Scheme == "file" && u.Host != "" && u.Host != "localhost":
		return "a file URL has three slashes and an absolute path: file:///" + strings.TrimPrefix(u.Host+u.Path, "/")
	case u.Scheme == "file" && (u.Path == "" || !strings.HasPrefix(u.Path, "/")):
		return "the path must be absolute: file:///path"
	case u.Scheme != "file" && u.Scheme != "mem" && u.Host == "":
		return "the bucket is missing: " + u.Scheme + "://bucket/prefix"
	}
	return ""
}

// pathTemplate checks a path: relative, without "." and "..", with known variables only.
func pathTemplate(bronze bool) check {
	return func(v value) string {
		if v.null || v.text == "" {
			return "String must be non-empty"
		}
		for _, seg := range splitTemplate(v.text) {
			if seg.variable && !slices.Contains(pathVariables, seg.text) {
				return "unknown variable ${" + seg.text + "}; known are ${" + strings.Join(pathVariables, "} ${") + "}"
			}
			if !seg.variable && strings.ContainsAny(seg.text, `$\{}:*?"<>|#%`) {
				return "a path may not contain any of $ \\ { } : * ? \" < > | # %"
			}
		}
		if strings.HasPrefix(v.text, "/") || strings.HasSuffix(v.text, "/") || strings.Contains(v.text, "//") {
			return "a path is relative to lake.url, without slashes at its ends and without empty parts"
		}
		for part := range strings.SplitSeq(v.text, "/") {
			if part == "." || part == ".." {
				return "a path may not contain . or .. as a part"
			}
			if part == "_delta_log" {
				return "_delta_log is the name of a table's log and cannot be part of a table's path"
			}
		}
		if bronze && PathNeedsRow(v.text) {
			return "bronze has a row for every record of a topic, also for those that name no table, so its path can depend on ${topic} and ${connector} only"
		}
		return ""
	}
}

// acrossKeys checks what no key alone can tell. It reports by key, with the way out.
func acrossKeys(get func(string) value, shown func(string) string, fail func(key, reason string)) {
	oneTopic := get("topics.regex").text == "" && len(get("topics").list) <= 1
	bronze, silver := get("bronze.path"), get("silver.path")
	if !oneTopic && !bronze.null && !strings.Contains(bronze.text, "${topic}") {
		fail("bronze.path", "bronze is one table per topic, and this connector reads several: put ${topic} into the path")
	}
	if get("silver.enabled").num == 1 && !silver.null && silver.text == bronze.text {
		fail("silver.path", "bronze and silver cannot be the same table; give one of them another path")
	}
	include, exclude := get("silver.columns.include").list, get("silver.columns.exclude").list
	if len(include) > 0 && len(exclude) > 0 {
		fail("silver.columns.exclude", "only one of silver.columns.include and silver.columns.exclude can be given")
	}
	for _, k := range []string{"silver.keys", "silver.partition.by", "silver.sequence.by"} {
		for _, c := range get(k).list {
			if slices.Contains(exclude, c) {
				fail("silver.columns.exclude", "a column of "+k+" ("+shown(k)+") is among them; it is needed and cannot be left out")
				break
			}
		}
	}
	if m := get(mapping.Key); get("cdc.format").text == "generic" && (m.null || m.text == "") {
		fail(mapping.Key, "cdc.format=generic needs it: where in an event operation, table, row and order lie (docs/formats.md)")
	}
	if get("silver.scd.type").num == 2 && get("silver.delete.mode").text == "soft" {
		fail("silver.delete.mode", "a history (silver.scd.type=2) keeps deleted rows by itself; use hard or ignore")
	}
}
