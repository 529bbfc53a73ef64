package config

import "time"

// Sink is the configuration of one LakehouseSink connector, parsed and checked. It is immutable.
type Sink struct {
	Name string
	// Raw is the configuration as submitted, with ${…} references left as they are.
	Raw map[string]string

	TasksMax    int
	Topics      []string // of "topics"
	TopicsRegex string   // of "topics.regex"; one of the two is set

	KeyConverter, ValueConverter Converter

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
	SilverColumnsInclude     []string
	SilverColumnsExclude     []string
	SilverTombstoneRetention time.Duration
	SilverCompatibility      string // widest, full
	SilverPartitionBy        []string
	SilverCDF                bool   // silver.change.data.feed
	SilverMongoFlatten       bool   // silver.mongo.flatten
	SilverFilter             string // silver.filter

	EvolveAdd, EvolveWiden, EvolveDrop, EvolveType string // evolve, ignore, reject

	UnavailablePlaceholder string // unavailable.value.placeholder, default __debezium_unavailable_value
	CDCAbsent              string // cdc.absent: null, unchanged, or empty for the format's default

	ErrorsTolerance string // all, none
	DLQTopic        string // errors.deadletterqueue.topic.name
	DLQHeaders      bool   // errors.deadletterqueue.context.headers.enable

	// ConsumerOverride holds the consumer.override.* properties without the prefix.
	ConsumerOverride map[string]string
	// GroupID is consumer.override.group.id or connect-<name>: where the offset mirror goes.
	GroupID string
}

// Converter is a key.converter or value.converter with its options.
type Converter struct {
	// Class as submitted, or the worker's default.
	Class string
	// Options are the properties behind the converter's prefix: schemas.enable, schema.registry.url …
	Options map[string]string
}
