package config

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// ParseError lists everything that is wrong with a configuration. Each message names the key, the value and, where
// it is not plain, the way out.
type ParseError struct {
	Connector string
	Messages  []string
}

// Error implements error.
func (p *ParseError) Error() string {
	return "configuration of connector " + p.Connector + " is invalid:\n  " + strings.Join(p.Messages, "\n  ")
}

// Parse reads the configuration of a LakehouseSink, with its references resolved on this node. The error, a
// *ParseError, lists all problems.
func Parse(props map[string]string, d Defaults) (*Sink, error) {
	m := make(map[string]*string, len(props))
	for k, v := range props {
		m[k] = &v
	}
	e := evaluate(d.registry().Connector(LakehouseClass), m, d)
	if class := props["connector.class"]; class != "" {
		if p := d.registry().Connector(class); p == nil || !p.lakehouse {
			e.fail("connector.class", "the worker runs "+LakehouseClass+" only")
		}
	}
	return e.sink()
}

func (e *evaluation) sink() (*Sink, error) {
	if e.report.ErrorCount > 0 {
		return nil, &ParseError{Connector: e.get("name").text, Messages: e.report.Errors()}
	}
	raw := make(map[string]string, len(e.props))
	for k, v := range e.props {
		raw[k] = *v
	}
	get := e.get
	ms := func(key string) time.Duration { return time.Duration(get(key).num) * time.Millisecond }
	yes := func(key string) bool { return get(key).num == 1 }
	evolve := func(kind string) string {
		if v := get("schema.evolution." + kind); v.text != "" {
			return v.text
		}
		return get("schema.evolution").text
	}
	s := &Sink{
		Name: get("name").text, Raw: raw, Warnings: e.report.Warnings,
		TasksMax: int(get("tasks.max").num), Topics: get("topics").list, TopicsRegex: get("topics.regex").text,
		KeyConverter:    e.converterOf("key.converter", KindConverter, e.defaults.key()),
		ValueConverter:  e.converterOf("value.converter", KindConverter, e.defaults.value()),
		HeaderConverter: e.converterOf("header.converter", KindHeaderConverter, e.defaults.header()),

		LakeURL: get("lake.url").text, Format: get("cdc.format").text,
		CommitInterval: ms("commit.interval.ms"), CommitMaxBytes: get("commit.max.bytes").num,
		BronzePath: get("bronze.path").text, SilverPath: get("silver.path").text,

		SilverEnabled: yes("silver.enabled"), SilverMergeMode: get("silver.merge.mode").text, SilverSCDType: int(get("silver.scd.type").num),
		SilverKeys: get("silver.keys").list, SilverSequenceBy: get("silver.sequence.by").list,
		SilverDeleteMode: get("silver.delete.mode").text, SilverTruncateMode: get("silver.truncate.mode").text,
		SilverSnapshotSweep: yes("silver.snapshot.sweep"), SilverIgnoreNullUpdates: yes("silver.ignore.null.updates"),
		SilverColumnsInclude: get("silver.columns.include").list, SilverColumnsExclude: get("silver.columns.exclude").list,
		SilverColumnsMask:        get("silver.columns.mask").list,
		SilverTombstoneRetention: ms("silver.tombstone.retention.ms"), SilverVacuumInterval: ms("silver.vacuum.interval.ms"),
		SilverCompatibility: get("silver.compatibility").text,
		SilverPartitionBy:   get("silver.partition.by").list, SilverCDF: yes("silver.change.data.feed"),
		SilverMongoFlatten: yes("silver.mongo.flatten"), SilverFilter: get("silver.filter").text, SilverColumnsComputed: get("silver.columns.computed").text,

		EvolveAdd: evolve("add"), EvolveWiden: evolve("widen"), EvolveDrop: evolve("drop"), EvolveType: evolve("type"),
		UnavailablePlaceholder: get("unavailable.value.placeholder").text, CDCAbsent: get("cdc.absent").text,

		ErrorsTolerance: get("errors.tolerance").text,
		ErrorsLog:       yes("errors.log.enable"), ErrorsLogDetails: yes("errors.log.include.messages"),
		DLQTopic: get("errors.deadletterqueue.topic.name").text, DLQReplication: int16(get("errors.deadletterqueue.topic.replication.factor").num),
		DLQHeaders: yes("errors.deadletterqueue.context.headers.enable"),

		ConsumerOverride: e.under("consumer.override."), ProducerOverride: e.under("producer.override."), AdminOverride: e.under("admin.override."),
	}
	s.GroupID = s.ConsumerOverride["group.id"]
	if s.GroupID == "" {
		s.GroupID = "connect-" + s.Name
	}
	s.Transforms, s.Predicates = e.transforms(), e.predicates()
	s.stages, s.router = e.stageProps(), e.chain.Router()
	if s.TopicsRegex != "" {
		re, err := compileFull(s.TopicsRegex)
		if err != nil { // checked above
			return nil, &ParseError{Connector: s.Name, Messages: []string{invalid(s.TopicsRegex, "topics.regex", err.Error())}}
		}
		s.topics = re
	}
	return s, nil
}

// under gives the resolved properties behind a prefix.
func (e *evaluation) under(prefix string) map[string]string {
	out := map[string]string{}
	for k, v := range e.resolved {
		if n, ok := strings.CutPrefix(k, prefix); ok && v != nil {
			out[n] = *v
		}
	}
	return out
}

// converterOf gives a converter with its options. A connector that names a class leaves the worker's options behind,
// as in Kafka Connect; one that only gives options adds them to the worker's.
func (e *evaluation) converterOf(name string, kind PluginKind, worker Converter) Converter {
	own := e.under(name + ".")
	delete(own, "plugin.version")
	if e.props[name] == nil {
		c := Converter{Class: worker.Class, Options: maps.Clone(worker.Options)}
		if c.Options == nil {
			c.Options = map[string]string{}
		}
		maps.Copy(c.Options, own)
		return c
	}
	c := Converter{Class: e.get(name).text, Options: own}
	if p := e.registry.find(c.Class, kind); p != nil {
		c.Class = p.Class
	}
	return c
}

func (e *evaluation) transforms() []Transform {
	var out []Transform
	for _, alias := range e.get("transforms").list {
		prefix := "transforms." + alias + "."
		t := Transform{Alias: alias, Predicate: e.get(prefix + "predicate").text, Negate: e.get(prefix+"negate").num == 1}
		t.Class, t.Options = e.stage(prefix, KindTransformation)
		out = append(out, t)
	}
	return out
}

func (e *evaluation) predicates() []Predicate {
	var out []Predicate
	for _, alias := range e.get("predicates").list {
		p := Predicate{Alias: alias}
		p.Class, p.Options = e.stage("predicates."+alias+".", KindPredicate)
		out = append(out, p)
	}
	return out
}

func (e *evaluation) stage(prefix string, kind PluginKind) (class string, options map[string]string) {
	options = e.under(prefix)
	for _, k := range []string{"type", "predicate", "negate", "plugin.version"} {
		delete(options, k)
	}
	class = e.get(prefix + "type").text
	if p := e.registry.find(class, kind); p != nil {
		class = p.Class
	}
	return class, options
}

// Reads tells whether the connector consumes a topic.
func (s *Sink) Reads(topic string) bool {
	if s.topics != nil {
		return s.topics.MatchString(topic)
	}
	return slices.Contains(s.Topics, topic)
}
