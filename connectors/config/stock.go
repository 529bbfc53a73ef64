package config

import "strings"

// What ships with Kafka Connect: names that users have in their configurations, and the keys behind them.
const (
	JSONConverter      = "org.apache.kafka.connect.json.JsonConverter"
	StringConverter    = "org.apache.kafka.connect.storage.StringConverter"
	ByteArrayConverter = "org.apache.kafka.connect.converters.ByteArrayConverter"
	SimpleHeaders      = "org.apache.kafka.connect.storage.SimpleHeaderConverter"
	AvroConverter      = "io.confluent.connect.avro.AvroConverter"

	transformsPackage = "org.apache.kafka.connect.transforms."
)

func key(name string, t Type, imp Importance, doc string) Definition {
	return Definition{Name: name, Type: t, Importance: imp, Doc: doc, Required: true}
}

func optional(name string, t Type, imp Importance, dflt *string, doc string) Definition {
	return Definition{Name: name, Type: t, Importance: imp, Doc: doc, Default: dflt}
}

func (d Definition) in(group string, order int, display string) Definition {
	d.Group, d.Order, d.Width, d.DisplayName = group, order, WidthMedium, display
	return d
}

func (d Definition) checked(c check) Definition { d.check = c; return d }

func stockPlugins() []Plugin {
	return append(stockConverters(), stockTransforms()...)
}

func stockConverters() []Plugin {
	kind := key("converter.type", String, Low, "How this converter will be used.").checked(oneOf("key", "value", "header"))
	json := []Definition{
		kind,
		optional("schemas.enable", Boolean, High, text("true"), "Whether each key or value is an object of schema and payload.").in("Schemas", 0, "Enable Schemas"),
		optional("schemas.cache.size", Int, High, text("1000"), "How many schemas are kept in memory.").in("Schemas", 1, "Schema Cache Size").checked(atLeast(0)),
		optional("schema.content", String, High, nil, "A schema for all messages; those inside of messages are ignored then.").in("Schemas", 2, "Schema Content"),
		optional("decimal.format", String, Low, text("BASE64"), "How decimals are written: BASE64 or NUMERIC.").in("Serialization", 0, "Decimal Format").checked(oneOfAnyCase("BASE64", "NUMERIC")),
		optional("replace.null.with.default", Boolean, Low, text("true"), "Whether a null of a field that has a default becomes the default.").in("Serialization", 1, "Replace null with default"),
	}
	avro := []Definition{
		kind,
		key("schema.registry.url", List, High, "Comma list of URLs of the schema registry."),
		optional("basic.auth.credentials.source", String, Medium, text("URL"), "Where the credentials for the registry come from: URL, USER_INFO, SASL_INHERIT."),
		optional("basic.auth.user.info", Password, Medium, text(""), "user:password for the registry."),
		optional("bearer.auth.token", Password, Medium, text(""), "Bearer token for the registry."),
	}
	both := func(class string, defs []Definition) []Plugin {
		return []Plugin{{Class: class, Kind: KindConverter, Definitions: defs}, {Class: class, Kind: KindHeaderConverter, Definitions: defs}}
	}
	var out []Plugin
	for _, n := range []string{"Boolean", "ByteArray", "Double", "Float", "Integer", "Long", "Short"} {
		out = append(out, both("org.apache.kafka.connect.converters."+n+"Converter", []Definition{kind})...)
	}
	out = append(out, both(JSONConverter, json)...)
	out = append(out, both(StringConverter, []Definition{
		kind, optional("converter.encoding", String, High, text("UTF-8"), "The character set of the bytes."),
	})...)
	out = append(out, Plugin{Class: SimpleHeaders, Kind: KindHeaderConverter})
	return append(out, Plugin{Class: AvroConverter, Kind: KindConverter, Definitions: avro})
}

func stockTransforms() []Plugin {
	nulls := optional("replace.null.with.default", Boolean, Medium, text("true"), "Whether to replace fields that have a default value and that are null to the default value.")
	field := func(what string) string {
		return "Field name for " + what + ". Suffix with ! to make it a required field, or ? to keep it optional (the default)."
	}
	var out []Plugin
	add := func(class string, defs ...Definition) {
		names := []string{class}
		if base, ok := strings.CutSuffix(class, "*"); ok {
			names = []string{base + "$Key", base + "$Value"}
		}
		for _, n := range names {
			out = append(out, Plugin{Class: transformsPackage + n, Kind: KindTransformation, Definitions: defs})
		}
	}
	add("Cast*", key("spec", List, High, "Comma list of field:type pairs; a bare type casts the whole value."), nulls)
	add("DropHeaders", key("headers", List, High, "The names of the headers to be removed."))
	add("ExtractField*", key("field", String, Medium, "Field name to extract."),
		optional("field.syntax.version", String, High, text("V1"), "V1: plain names. V2: dotted paths.").checked(oneOfAnyCase("V1", "V2")), nulls)
	add("Filter")
	add("Flatten*", optional("delimiter", String, Medium, text("."), "What stands between field names of different levels."))
	add("HeaderFrom*", key("fields", List, High, "Fields whose values go to headers."), key("headers", List, High, "Names of these headers, in the same order."),
		key("operation", String, High, "move or copy.").checked(oneOf("move", "copy")), nulls)
	add("HoistField*", key("field", String, Medium, "Name of the field that will hold the value."))
	add("InsertField*",
		optional("topic.field", String, Medium, nil, field("Kafka topic")), optional("partition.field", String, Medium, nil, field("Kafka partition")),
		optional("offset.field", String, Medium, nil, field("Kafka offset")), optional("timestamp.field", String, Medium, nil, field("record timestamp")),
		optional("static.field", String, Medium, nil, field("static data field")), optional("static.value", String, Medium, nil, "Static field value, if field name configured."), nulls)
	add("InsertHeader", key("header", String, High, "The name of the header."), key("value.literal", String, High, "The literal value of the header."))
	add("MaskField*", key("fields", List, High, "Names of fields to mask."), optional("replacement", String, Low, nil, "What they get; empty: a value of their type that means nothing."), nulls)
	add("RegexRouter", key("regex", String, High, "Regular expression to use for matching.").checked(goRegex), key("replacement", String, High, "Replacement string."))
	add("ReplaceField*", optional("exclude", List, Medium, text(""), "Fields to leave out."), optional("include", List, Medium, text(""), "Fields to keep; all others go."),
		optional("renames", List, Medium, text(""), "Comma list of old:new names."), nulls)
	add("SetSchemaMetadata*", optional("schema.name", String, High, nil, "Schema name to set."), optional("schema.version", Int, High, nil, "Schema version to set."), nulls)
	add("TimestampConverter*", optional("field", String, High, text(""), "The field; empty: the whole value."),
		key("target.type", String, High, "string, unix, Date, Time or Timestamp.").checked(oneOf("string", "unix", "Date", "Time", "Timestamp")),
		optional("format", String, Medium, text(""), "A SimpleDateFormat pattern."),
		optional("unix.precision", String, Low, text("milliseconds"), "Unit of unix times.").checked(oneOf("nanoseconds", "microseconds", "milliseconds", "seconds")), nulls)
	add("TimestampRouter", optional("topic.format", String, High, text("${topic}-${timestamp}"), "Format with ${topic} and ${timestamp}."),
		optional("timestamp.format", String, High, text("yyyyMMdd"), "A SimpleDateFormat pattern."))
	add("ValueToKey", key("fields", List, High, "Fields of the value that make the key."), nulls)

	predicate := func(class string, defs ...Definition) {
		out = append(out, Plugin{Class: transformsPackage + "predicates." + class, Kind: KindPredicate, Definitions: defs})
	}
	predicate("HasHeaderKey", key("name", String, Medium, "The header name."))
	predicate("RecordIsTombstone")
	predicate("TopicNameMatches", key("pattern", String, Medium, "A regular expression that the whole topic name must match.").checked(goRegex))
	return out
}

// transformStage are the keys that every transformation has beside its own.
func transformStage() []Definition {
	return []Definition{
		optional("predicate", String, Medium, nil, "The alias of a predicate used to determine whether to apply this transformation."),
		optional("negate", Boolean, Medium, text("false"), "Whether the configured predicate should be negated."),
	}
}

// classHint says what to do instead of classes that people bring along and that are not needed here.
func classHint(class string) string {
	simple := class[strings.LastIndexByte(class, '.')+1:]
	switch {
	case simple == "ExtractNewRecordState" || simple == "ExtractNewDocumentState":
		return " LakehouseSink reads Debezium's envelope itself and keeps what this transformation throws away: remove it."
	case strings.HasSuffix(simple, "ByLogicalTableRouter"), strings.HasPrefix(class, "io.debezium."):
		return " Transformations of Debezium are not built in."
	case strings.HasSuffix(simple, "ProtobufConverter"), strings.HasSuffix(simple, "JsonSchemaConverter"):
		return " Converters that are built in are listed by GET /connector-plugins?connectorsOnly=false."
	}
	return ""
}
