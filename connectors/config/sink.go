package config

import (
	"regexp"
	"time"

	"sluice.io/sluice/connectors/smt"
)

// Sink is the configuration of one LakehouseSink connector, parsed and checked. It is immutable.
type Sink struct {
	Name string
	// Raw is the configuration as submitted, with ${…} references left as they are.
	Raw map[string]string
	// Warnings are sentences about keys that are ignored.
	Warnings []string

	// TasksMax bounds the groups that the partitions form; 0, when tasks.max is not given: one for each partition.
	TasksMax    int
	Topics      []string // of "topics"
	TopicsRegex string   // of "topics.regex"; one of the two is set

	KeyConverter, ValueConverter, HeaderConverter Converter
	// Transforms are applied in this order; Predicates are what they refer to.
	Transforms []Transform
	Predicates []Predicate

	LakeURL string
	Format  string // cdc.format

	CommitInterval time.Duration // commit.interval.ms
	CommitMaxBytes int64         // commit.max.bytes

	BronzePath, SilverPath string // templates

	SilverEnabled            bool
	SilverMergeMode          string   // deletion-vectors, copy-on-write
	SilverSCDType            int      // 1, 2
	SilverKeys               []string // empty: the event's key
	SilverSequenceBy         []string // empty: the format's
	SilverDeleteMode         string   // hard, soft, ignore
	SilverTruncateMode       string   // apply, ignore, dead-letter
	SilverIgnoreNullUpdates  bool
	SilverSnapshotSweep      bool
	SilverColumnsInclude     []string
	SilverColumnsExclude     []string
	SilverColumnsMask        []string
	SilverTombstoneRetention time.Duration
	SilverVacuumInterval     time.Duration // 0: never
	SilverCompatibility      string        // widest, full
	SilverPartitionBy        []string
	SilverCDF                bool   // silver.change.data.feed
	SilverMongoFlatten       bool   // silver.mongo.flatten
	SilverFilter             string // silver.filter
	SilverColumnsComputed    string // silver.columns.computed

	EvolveAdd, EvolveWiden, EvolveDrop, EvolveType string // evolve, ignore, reject

	UnavailablePlaceholder string // unavailable.value.placeholder, default __debezium_unavailable_value
	CDCAbsent              string // cdc.absent: null, unchanged, or empty for the format's default

	ErrorsTolerance  string // all, none
	ErrorsLog        bool   // errors.log.enable
	ErrorsLogDetails bool   // errors.log.include.messages
	DLQReplication   int16
	DLQTopic         string // errors.deadletterqueue.topic.name
	DLQHeaders       bool   // errors.deadletterqueue.context.headers.enable

	// ConsumerOverride holds the consumer.override.* properties without the prefix.
	ConsumerOverride map[string]string
	// ProducerOverride and AdminOverride likewise: the clients of the dead-letter topic.
	ProducerOverride, AdminOverride map[string]string
	// GroupID is consumer.override.group.id or connect-<name>: where the offset mirror goes.
	GroupID string

	topics *regexp.Regexp    // of TopicsRegex, for whole names
	stages map[string]string // what Chain compiles, references resolved
	router smt.Router
}

// Chain compiles the transforms, silver.filter and the masks. A Chain belongs to one goroutine, so each decoder gets its own.
func (s *Sink) Chain() (*smt.Chain, error) { return smt.New(s.stages) }

// SilverTopic is the name under which the changes of a topic go to silver: RegexRouters change it. It stands for ${topic} in SilverPath.
func (s *Sink) SilverTopic(topic string) string { return s.router.Route(topic) }

// Transform is one transformation of transforms.
type Transform struct {
	Alias, Class string
	// Options are the properties behind the prefix, without type, predicate and negate.
	Options map[string]string
	// Predicate is the alias of the condition under which it applies (or not, with Negate); empty: always.
	Predicate string
	Negate    bool
}

// Predicate is one predicate of predicates.
type Predicate struct {
	Alias, Class string
	Options      map[string]string
}

// Converter is a key.converter or value.converter with its options.
type Converter struct {
	// Class is the full name of the submitted class, or the worker's default.
	Class string
	// Options are the properties behind the converter's prefix: schemas.enable, schema.registry.url …
	Options map[string]string
}
