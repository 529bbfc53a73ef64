package cdc

import "sluice.io/sluice/connectors/config"

// BeforeMode says for which changes a decoder fills Change.Before. Raw.Before has its text always.
type BeforeMode uint8

const (
	// BeforeNeeded fills it where a merge needs it: deletes, tables without key, and halves of key changes.
	BeforeNeeded BeforeMode = iota
	// BeforeAlways fills it wherever the event has it.
	BeforeAlways
)

// Options say how decoders read. The zero value is right for the formats' own defaults.
type Options struct {
	// Placeholder is unavailable.value.placeholder of the source: a text or "hex:…"; empty: Debezium's default.
	Placeholder string
	// Absent says what a column means that an event leaves out: "null", "unchanged", or "" for the format's default.
	Absent string
	// Flatten makes members of documents inside of documents columns of their own (MongoDB).
	Flatten bool
	// Before says which before images are decoded.
	Before BeforeMode
	// EmptyValueIsPoison makes a value of length 0 (not null) a dead letter; else it is a tombstone, as some clients
	// write it.
	EmptyValueIsPoison bool
	// SignalTables are names of tables that steer the connector rather than hold data. nil: Debezium's usual names.
	SignalTables []string
	// Config is the connector's whole configuration, for what only one format knows.
	Config map[string]string
}

// OptionsOf takes the options from a connector's configuration.
func OptionsOf(c *config.Sink) Options {
	o := Options{Placeholder: c.UnavailablePlaceholder, Absent: c.CDCAbsent, Flatten: c.SilverMongoFlatten, Config: c.Raw}
	if len(c.SilverKeys) > 0 { // an update may change columns of it
		o.Before = BeforeAlways
	}
	return o
}
