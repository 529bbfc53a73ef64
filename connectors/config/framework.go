package config

// framework gives the keys that every sink connector has, in Kafka Connect's order with its groups, orders and
// widths (connect.md §1.3): forms are drawn from them.
func (r *Registry) framework(p *Plugin, d Defaults) defs {
	def := func(key, fallback string) *string {
		if v, ok := p.Defaults[key]; ok {
			return text(v)
		}
		return text(fallback)
	}
	kc, vc, hc := d.key(), d.value(), d.header()
	converters := r.classes(KindConverter)
	headerConverters := r.classes(KindHeaderConverter)
	isConverter := func(c string) bool { return r.find(c, KindConverter) != nil }
	isHeader := func(c string) bool { return r.find(c, KindHeaderConverter) != nil }
	version := p.Version

	common := func(name string, t Type, order int, w Width, imp Importance, display, doc string) Definition {
		return Definition{Name: name, Type: t, Group: groupCommon, Order: order, Width: w, Importance: imp, DisplayName: display, Doc: doc}
	}
	with := func(x Definition, f func(*Definition)) Definition { f(&x); return x }
	dflt := func(v *string) func(*Definition) { return func(x *Definition) { x.Default = v } }
	pluginVersion := func(name string, order int, display, doc string, w Width, imp Importance, class string) Definition {
		v := r.versionOf(class, version)
		x := common(name, String, order, w, imp, display, doc)
		x.Default, x.recommend = text(v), []string{v}
		x.check = r.versionCheck(class, v)
		return x
	}
	return defs{
		with(common("name", String, 1, WidthMedium, High, "Connector name", "Globally unique name to use for this connector."), func(x *Definition) {
			x.Required, x.check = true, connectorName
		}),
		with(common("connector.class", String, 2, WidthLong, High, "Connector class", "Name or alias of the class for this connector. "+aliasSentence(p)), func(x *Definition) {
			x.Required = true
		}),
		pluginVersion("connector.plugin.version", 3, "Connector version", "Version of the connector.", WidthMedium, Medium, p.Class),
		with(common("tasks.max", Int, 4, WidthShort, High, "Tasks max", "Into how many groups the partitions of the topics may be formed at most. "+
			"Tables have a task of their own each, which does not count."), func(x *Definition) {
			x.Default, x.check = text("1"), atLeast(1)
			if p.lakehouse {
				x.Default = nil // none: one group for each partition
			}
		}),
		with(common("tasks.max.enforce", Boolean, 5, WidthShort, Low, "Enforce tasks max", "(Deprecated) Accepted for compatibility: tasks.max always bounds the partition tasks."), dflt(text("true"))),
		with(common("key.converter", Class, 6, WidthShort, Low, "Key converter class", "How the bytes of record keys are to be read. Java class names of the stock converters are accepted as names."), func(x *Definition) {
			x.Default, x.recommend, x.resolve = text(kc.Class), converters, isConverter
		}),
		pluginVersion("key.converter.plugin.version", 7, "Key converter version", "Version of the key converter.", WidthShort, Low, kc.Class),
		with(common("value.converter", Class, 8, WidthShort, Low, "Value converter class", "How the bytes of record values are to be read. Java class names of the stock converters are accepted as names."), func(x *Definition) {
			x.Default, x.recommend, x.resolve = text(vc.Class), converters, isConverter
		}),
		pluginVersion("value.converter.plugin.version", 9, "Value converter version", "Version of the value converter.", WidthShort, Low, vc.Class),
		with(common("header.converter", Class, 10, WidthShort, Low, "Header converter class", "How the bytes of record headers are to be read. Headers are kept as bytes in any case."), func(x *Definition) {
			x.Default, x.recommend, x.resolve = text(hc.Class), headerConverters, isHeader
		}),
		pluginVersion("header.converter.plugin.version", 11, "Header converter version", "Version of the header converter.", WidthShort, Low, hc.Class),
		{Name: "transforms", Type: List, Group: groupTransforms, Order: 12, Width: WidthLong, Importance: Low, DisplayName: "Transforms",
			Doc: "Aliases for the transformations to be applied to records.", Default: text(""), check: uniqueAliases},
		{Name: "predicates", Type: List, Group: groupPredicates, Order: 13, Width: WidthLong, Importance: Low, DisplayName: "Predicates",
			Doc: "Aliases for the predicates used by transformations.", Default: text(""), check: uniqueAliases},
		with(common("config.action.reload", String, 14, WidthMedium, Low, "Reload Action", "Accepted for compatibility: what ${file:…} and ${env:…} stand for is read when a task starts. Restart the connector after a change."), func(x *Definition) {
			x.Default, x.check = text("restart"), oneOf("none", "restart")
		}),
		errorsKey("errors.retry.timeout", Long, 1, WidthMedium, "Retry Timeout for Errors", "Accepted for compatibility: what fails for a moment, in the broker or the lake, is tried again for as long as it takes.", text("0"), nil),
		errorsKey("errors.retry.delay.max.ms", Long, 2, WidthMedium, "Maximum Delay Between Retries for Errors", "Accepted for compatibility: pauses between tries grow to ten seconds at most.", text("60000"), nil),
		errorsKey("errors.tolerance", String, 3, WidthShort, "Error Tolerance", "What a record that cannot be used does. 'all': it is kept, with its reason, in the dead letters, and the stream goes on. "+
			"'none': it is kept there too, and its task fails.", def("errors.tolerance", "none"), oneOf("none", "all")),
		errorsKey("errors.log.enable", Boolean, 4, WidthShort, "Log Errors", "Write the stage and the reason of each dead letter to the log. A reason may quote some bytes of the record.", text("false"), nil),
		errorsKey("errors.log.include.messages", Boolean, 5, WidthShort, "Log Error Details", "Add topic, partition, offset and timestamp to that line.", text("false"), nil),
		with(common("topics", List, 4, WidthLong, High, "Topics", "List of topics to consume, separated by commas"), func(x *Definition) {
			x.Default, x.check = text(""), topicNames
		}),
		with(common("topics.regex", String, 4, WidthLong, High, "Topics regex", "Regular expression that whole topic names must match. Only one of topics or topics.regex should be specified."), func(x *Definition) {
			x.Default, x.check = text(""), goRegex
		}),
		errorsKey("errors.deadletterqueue.topic.name", String, 6, WidthMedium, "Dead Letter Queue Topic Name", "A Kafka topic that gets a copy of each dead letter. Empty: none; the dead-letter table has them in any case.", text(""), nil),
		errorsKey("errors.deadletterqueue.topic.replication.factor", Short, 7, WidthMedium, "Dead Letter Queue Topic Replication Factor", "Replication factor with which that topic is made when it does not exist.", text("3"), nil),
		errorsKey("errors.deadletterqueue.context.headers.enable", Boolean, 8, WidthMedium, "Enable Error Context Headers", "Add headers that begin with __connect.errors. and say what went wrong.", text("false"), nil),
	}
}

func errorsKey(name string, t Type, order int, w Width, display, doc string, dflt *string, c check) Definition {
	return Definition{Name: name, Type: t, Group: groupErrors, Order: order, Width: w, Importance: Medium, DisplayName: display, Doc: doc, Default: dflt, check: c}
}

// aliasSentence says by which names a connector goes.
func aliasSentence(p *Plugin) string {
	s := "It is " + p.Class
	for i, a := range p.aliases() {
		if i == 0 {
			s += "; you can also write " + a
		} else {
			s += " or " + a
		}
	}
	return s + "."
}
