package delta

import (
	"maps"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/parquet"
	pqschema "github.com/apache/arrow/go/v17/parquet/schema"

	"sluice.io/sluice/connectors/delta/dv"
)

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// cpKind is what a checkpoint file holds.
type cpKind uint8

const (
	cpClassic cpKind = iota // V1
	cpTop                   // V2, top-level file in Parquet
	cpSidecar               // V2, sidecar: file actions only
)

// checkpointSchema builds the schema of a checkpoint file. All nodes are optional whatever the table says, keys of maps apart,
// and the names are those that Spark writes (delta.md §1.10): the nodes are made one by one because pqarrow would make other
// choices (delta.md §0.5).
func checkpointSchema(kind cpKind, s *Snapshot) (*pqschema.GroupNode, []*cpColumn, error) {
	b := &cpBuilder{}
	var kids []pqschema.Node
	top := func(name string, fields ...pqschema.Node) {
		kids = append(kids, b.group(name, optional, noType, fields...))
	}
	if kind != cpSidecar {
		t := cpAction(b, "txn", func(r *cpRow) *Txn { return r.txn })
		top("txn",
			t.str("appId", func(x *Txn) string { return x.AppID }),
			t.long("version", func(x *Txn) int64 { return x.Version }),
			t.longOpt("lastUpdated", func(x *Txn) *int64 { return nonZero(x.LastUpdated) }))
	}
	a := cpAction(b, "add", func(r *cpRow) *Add { return r.add })
	asStruct := s.PropertyIs(PropStatsAsStruct)
	asJSON := !asStruct || !strings.EqualFold(s.Metadata.Configuration[PropStatsAsJSON], "false")
	adds := []pqschema.Node{
		a.str("path", func(x *Add) string { return x.Path }),
		a.dict("partitionValues", func(x *Add) entries { return partitionEntries(x.PartitionValues) }),
		a.long("size", func(x *Add) int64 { return x.Size }),
		a.long("modificationTime", func(x *Add) int64 { return x.ModificationTime }),
		a.bool("dataChange", func(*Add) bool { return false }),
		a.dict("tags", func(x *Add) entries { return sortedEntries(x.Tags, true) }),
		vectorNode(b, "add", func(r *cpRow) (*dv.Descriptor, int16) {
			if r.add == nil {
				return nil, 0
			}
			return r.add.DeletionVector, 1
		}),
		a.longOpt("baseRowId", func(x *Add) *int64 { return x.BaseRowID }),
		a.longOpt("defaultRowCommitVersion", func(x *Add) *int64 { return x.DefaultRowCommitVersion }),
		a.strOpt("clusteringProvider", func(x *Add) string { return x.ClusteringProvider }),
	}
	if asJSON {
		adds = append(adds, a.strOpt("stats", func(x *Add) string { return x.Stats }))
	}
	if asStruct {
		adds = append(adds, parsedNodes(b, s.Protocol, s.Metadata, s.schema)...)
	}
	top("add", adds...)
	m := cpAction(b, "remove", func(r *cpRow) *Remove { return r.remove })
	top("remove",
		m.str("path", func(x *Remove) string { return x.Path }),
		m.longOpt("deletionTimestamp", func(x *Remove) *int64 { return nonZero(x.DeletionTimestamp) }),
		m.bool("dataChange", func(*Remove) bool { return false }),
		m.bool("extendedFileMetadata", func(x *Remove) bool { return x.ExtendedFileMetadata }),
		m.dict("partitionValues", func(x *Remove) entries { return partitionEntries(x.PartitionValues) }),
		m.longOpt("size", func(x *Remove) *int64 {
			if x.Size < 0 {
				return nil
			}
			return &x.Size
		}),
		vectorNode(b, "remove", func(r *cpRow) (*dv.Descriptor, int16) {
			if r.remove == nil {
				return nil, 0
			}
			return r.remove.DeletionVector, 1
		}),
		m.longOpt("baseRowId", func(x *Remove) *int64 { return x.BaseRowID }),
		m.longOpt("defaultRowCommitVersion", func(x *Remove) *int64 { return x.DefaultRowCommitVersion }))
	if kind != cpSidecar {
		tableNodes(b, top)
	}
	if kind == cpTop {
		c := cpAction(b, "checkpointMetadata", func(r *cpRow) *CheckpointMetadata { return r.meta })
		top("checkpointMetadata",
			c.long("version", func(x *CheckpointMetadata) int64 { return x.Version }),
			c.dict("tags", func(x *CheckpointMetadata) entries { return sortedEntries(x.Tags, true) }))
		s := cpAction(b, "sidecar", func(r *cpRow) *Sidecar { return r.sidecar })
		top("sidecar",
			s.str("path", func(x *Sidecar) string { return x.Path }),
			s.long("sizeInBytes", func(x *Sidecar) int64 { return x.SizeInBytes }),
			s.long("modificationTime", func(x *Sidecar) int64 { return x.ModificationTime }),
			s.dict("tags", func(x *Sidecar) entries { return sortedEntries(x.Tags, true) }))
	}
	if b.err != nil {
		return nil, nil, b.err
	}
	root, err := pqschema.NewGroupNode("spark_schema", required, kids, -1)
	return root, b.cols, err
}

func nonZero(v int64) *int64 {
	if v == 0 {
		return nil
	}
	return &v
}

func vectorNode(b *cpBuilder, action string, of func(*cpRow) (*dv.Descriptor, int16)) pqschema.Node {
	d := cpStruct[dv.Descriptor]{b, action + ".deletionVector", 2, of}
	return b.group("deletionVector", optional, noType,
		d.str("storageType", func(x *dv.Descriptor) string { return x.StorageType }),
		d.str("pathOrInlineDv", func(x *dv.Descriptor) string { return x.PathOrInlineDv }),
		d.value("offset", parquet.Types.Int32, noType, func(c *colBuf, x *dv.Descriptor) bool {
			if x.Offset != nil {
				c.i32 = append(c.i32, *x.Offset)
			}
			return x.Offset != nil
		}),
		d.int("sizeInBytes", func(x *dv.Descriptor) int32 { return x.SizeInBytes }),
		d.long("cardinality", func(x *dv.Descriptor) int64 { return x.Cardinality }))
}

// tableNodes are the actions about the table as a whole.
func tableNodes(b *cpBuilder, top func(string, ...pqschema.Node)) {
	d := cpAction(b, "metaData", func(r *cpRow) *Metadata { return r.metadata })
	id := d.str("id", func(x *Metadata) string { return x.ID })
	name := d.strOpt("name", func(x *Metadata) string { return x.Name })
	description := d.strOpt("description", func(x *Metadata) string { return x.Description })
	f := cpStruct[Format]{b, "metaData.format", 2, func(r *cpRow) (*Format, int16) {
		if r.metadata == nil {
			return nil, 0
		}
		return &r.metadata.Format, 1
	}}
	top("metaData", id, name, description,
		b.group("format", optional, noType,
			f.str("provider", func(x *Format) string { return x.Provider }),
			f.dict("options", func(x *Format) entries { return sortedEntries(x.Options, false) })),
		d.str("schemaString", func(x *Metadata) string { return x.SchemaString }),
		d.list("partitionColumns", func(x *Metadata) []string {
			if x.PartitionColumns == nil {
				return []string{}
			}
			return x.PartitionColumns
		}),
		d.dict("configuration", func(x *Metadata) entries { return sortedEntries(x.Configuration, false) }),
		d.longOpt("createdTime", func(x *Metadata) *int64 { return nonZero(x.CreatedTime) }))
	p := cpAction(b, "protocol", func(r *cpRow) *Protocol { return r.protocol })
	features := func(names []string, there bool) []string {
		if there && names == nil {
			return []string{}
		}
		if !there {
			return nil
		}
		return names
	}
	top("protocol",
		p.int("minReaderVersion", func(x *Protocol) int32 { return int32(x.MinReaderVersion) }),
		p.int("minWriterVersion", func(x *Protocol) int32 { return int32(x.MinWriterVersion) }),
		p.list("readerFeatures", func(x *Protocol) []string { return features(x.ReaderFeatures, x.MinReaderVersion >= 3) }),
		p.list("writerFeatures", func(x *Protocol) []string { return features(x.WriterFeatures, x.MinWriterVersion >= 7) }))
	m := cpAction(b, "domainMetadata", func(r *cpRow) *DomainMetadata { return r.domain })
	top("domainMetadata",
		m.str("domain", func(x *DomainMetadata) string { return x.Domain }),
		m.str("configuration", func(x *DomainMetadata) string { return x.Configuration }),
		m.bool("removed", func(*DomainMetadata) bool { return false }))
}
