package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
)

// CreateOptions describe a new table.
type CreateOptions struct {
	Schema           schema.Schema
	PartitionColumns []string
	// Configuration are table properties. Those that need a feature (delta.enableDeletionVectors and the like) bring it.
	Configuration map[string]string
	// Features are further features by name; FeatureTimestampNTZ is added where the schema needs it.
	Features          []string
	Name, Description string
	// Info is the commitInfo of version 0; its Operation is CREATE TABLE where it says none.
	Info CommitInfo
	// Progress are txns that version 0 holds.
	Progress []Txn
}

// propFeatures are the properties that need a feature when they are true.
var propFeatures = map[string]string{
	PropEnableDVs: FeatureDeletionVectors, PropEnableCDF: FeatureChangeDataFeed, PropEnableICT: FeatureInCommitTimestamp,
	PropEnableRowTracking: FeatureRowTracking, PropEnableTypeWidening: FeatureTypeWidening,
}

// neededFeatures gives the features that a table of this schema and configuration uses.
func neededFeatures(s schema.Schema, conf map[string]string, extra []string) []string {
	set := map[string]bool{}
	for _, f := range extra {
		set[f] = true
	}
	for prop, f := range propFeatures {
		if strings.EqualFold(conf[prop], "true") {
			set[f] = true
		}
	}
	if m := conf[PropColumnMappingMode]; m != "" && m != columnMappingNone {
		set[FeatureColumnMapping] = true
	}
	if strings.EqualFold(conf[PropAppendOnly], "true") {
		set[FeatureAppendOnly] = true
	}
	if strings.EqualFold(conf[PropCheckpointPolicy], "v2") {
		set[FeatureV2Checkpoint] = true
	}
	var scan func(t schema.Type)
	scan = func(t schema.Type) {
		switch t.Kind {
		case schema.TimestampNTZ:
			set[FeatureTimestampNTZ] = true
		case schema.Array:
			scan(*t.Elem)
		case schema.Map:
			scan(*t.Key)
			scan(*t.Elem)
		case schema.Struct:
			for _, f := range t.Fields {
				scan(f.Type)
			}
		}
	}
	scan(schema.StructOf(s.Fields...))
	if notNull(s.Fields) { // Spark refuses the table else
		set[FeatureInvariants] = true
	}
	if set[FeatureRowTracking] || set[FeatureClustering] {
		set[FeatureDomainMetadata] = true
	}
	out := make([]string, 0, len(set))
	for f := range set {
		out = append(out, f)
	}
	slices.Sort(out)
	return out
}

// notNull tells whether a column, or a member of a struct column, may not be null.
func notNull(fields []schema.Field) bool {
	return slices.ContainsFunc(fields, func(f schema.Field) bool {
		return !f.Nullable || f.Type.Kind == schema.Struct && notNull(f.Type.Fields)
	})
}

// ProtocolFor gives the protocol that a table with these features needs, and no more: {1,2} without features that came
// later, else {3,7} or {1,7} with the features used, and only these.
func ProtocolFor(features []string) (*Protocol, error) {
	onlyAppend := true
	for _, f := range features {
		onlyAppend = onlyAppend && (f == FeatureAppendOnly || f == FeatureInvariants)
	}
	if onlyAppend {
		return &Protocol{MinReaderVersion: 1, MinWriterVersion: 2}, nil
	}
	// Not an upgrade of {1,2}: nothing is implied that is not used.
	p := &Protocol{MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{}}
	return p.WithFeatures(features...)
}

// Create makes a table: version 0 with protocol and metaData. ErrTableExists: there is one, which then can be opened.
func Create(ctx context.Context, b store.Bucket, tablePath string, o CreateOptions, opts ...Option) (*Table, error) {
	t := newTable(b, tablePath, opts)
	fail := func(err error) (*Table, error) { return nil, fmt.Errorf("create delta table %s: %w", t.URL(), err) }
	proto, err := ProtocolFor(neededFeatures(o.Schema, o.Configuration, o.Features))
	if err != nil {
		return fail(err)
	}
	now := t.now().UnixMilli()
	meta := &Metadata{ID: uuid.NewString(), Name: o.Name, Description: o.Description, Format: Format{Provider: "parquet"},
		SchemaString: o.Schema.String(), PartitionColumns: slices.Clone(o.PartitionColumns), Configuration: o.Configuration,
		CreatedTime: now}
	meta = meta.Clone()
	if err := checkMetadata(proto, meta, o.Schema); err != nil {
		return fail(err)
	}
	info := o.Info
	if info.Operation == "" {
		info.Operation = "CREATE TABLE"
	}
	fillInfo(&info, now)
	if strings.EqualFold(meta.Configuration[PropEnableICT], "true") {
		info.InCommitTimestamp = &now
	}
	a := &Actions{CommitInfo: &info, Protocol: proto, Metadata: meta}
	for _, p := range o.Progress {
		if p.LastUpdated == 0 {
			p.LastUpdated = now
		}
		a.Txns = append(a.Txns, &p)
	}
	e := enc{b: make([]byte, 0, 4096)}
	e.actions(a)
	// A folder with a checkpoint and without commit 0 is a table too.
	if _, err := t.Snapshot(ctx); err == nil {
		return fail(ErrTableExists)
	} else if !errors.Is(err, ErrNotTable) {
		return fail(err)
	}
	switch out := t.put(ctx, 0, e.b, info.TxnID); out.kind {
	case putDone:
	case putLost:
		return fail(ErrTableExists)
	default:
		return fail(out.err)
	}
	r := newReplay(t, nil)
	r.commit(0, a, timeOfMs(now))
	s, err := r.done(nil)
	if err != nil {
		return fail(err)
	}
	t.remember(0, a)
	t.publish(s, t.now())
	return t, nil
}
