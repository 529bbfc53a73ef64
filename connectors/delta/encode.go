package delta

import (
	"slices"
	"strconv"
	"unicode/utf8"

	"sluice.io/sluice/connectors/delta/dv"
)

// enc writes the JSON of actions: members in the order of delta.md §1.2, integers exact, no HTML escapes, every
// required member written whatever its value (delta.md §8.4).
type enc struct{ b []byte }

// key begins a member: the comma, the name and the colon. Names are plain ASCII.
func (e *enc) key(name string) {
	if c := e.b[len(e.b)-1]; c != '{' && c != '[' {
		e.b = append(e.b, ',')
	}
	e.b = append(e.b, '"')
	e.b = append(e.b, name...)
	e.b = append(e.b, '"', ':')
}

func (e *enc) raw(s string) { e.b = append(e.b, s...) }

func (e *enc) str(name, v string) { e.key(name); e.b = appendJSONString(e.b, v) }

func (e *enc) strOpt(name, v string) {
	if v != "" {
		e.str(name, v)
	}
}

func (e *enc) int(name string, v int64) { e.key(name); e.b = strconv.AppendInt(e.b, v, 10) }

func (e *enc) intOpt(name string, v *int64) {
	if v != nil {
		e.int(name, *v)
	}
}

func (e *enc) bool(name string, v bool) { e.key(name); e.b = strconv.AppendBool(e.b, v) }

func (e *enc) list(name string, v []string) {
	e.key(name)
	e.raw("[")
	for i, s := range v {
		if i > 0 {
			e.raw(",")
		}
		e.b = appendJSONString(e.b, s)
	}
	e.raw("]")
}

// strings writes a map, its members sorted so that equal commits have equal bytes.
func (e *enc) strings(name string, m map[string]string) {
	e.key(name)
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	e.raw("{")
	for i, k := range keys {
		if i > 0 {
			e.raw(",")
		}
		e.b = appendJSONString(e.b, k)
		e.raw(":")
		e.b = appendJSONString(e.b, m[k])
	}
	e.raw("}")
}

func (e *enc) stringsOpt(name string, m map[string]string) {
	if len(m) > 0 {
		e.strings(name, m)
	}
}

func (e *enc) partition(p Partition) {
	e.key("partitionValues")
	e.raw("{")
	first := true
	for v := range p.All() {
		if !first {
			e.raw(",")
		}
		first = false
		e.b = appendJSONString(e.b, v.Name)
		e.raw(":")
		if v.Null {
			e.raw("null")
		} else {
			e.b = appendJSONString(e.b, v.Value)
		}
	}
	e.raw("}")
}

func (e *enc) dv(d *dv.Descriptor) {
	if d == nil {
		return
	}
	e.key("deletionVector")
	e.raw("{")
	e.str("storageType", d.StorageType)
	e.str("pathOrInlineDv", d.PathOrInlineDv)
	if d.Offset != nil {
		e.int("offset", int64(*d.Offset))
	}
	e.int("sizeInBytes", int64(d.SizeInBytes))
	e.int("cardinality", d.Cardinality)
	e.raw("}")
}

func (e *enc) begin(kind string) {
	e.raw(`{"`)
	e.raw(kind)
	e.raw(`":{`)
}

func (e *enc) end() { e.raw("}}\n") }

func (e *enc) addFields(a *Add) {
	e.str("path", a.Path)
	e.partition(a.PartitionValues)
	e.int("size", a.Size)
	e.int("modificationTime", a.ModificationTime)
	e.bool("dataChange", a.DataChange)
	e.strOpt("stats", a.Stats)
	e.stringsOpt("tags", a.Tags)
	e.dv(a.DeletionVector)
	e.intOpt("baseRowId", a.BaseRowID)
	e.intOpt("defaultRowCommitVersion", a.DefaultRowCommitVersion)
	e.strOpt("clusteringProvider", a.ClusteringProvider)
}

func (e *enc) add(a *Add) { e.begin("add"); e.addFields(a); e.end() }

func (e *enc) remove(r *Remove, stats bool) {
	e.begin("remove")
	e.str("path", r.Path)
	if r.DeletionTimestamp != 0 {
		e.int("deletionTimestamp", r.DeletionTimestamp)
	}
	e.bool("dataChange", r.DataChange)
	e.bool("extendedFileMetadata", r.ExtendedFileMetadata)
	e.partition(r.PartitionValues)
	if r.Size >= 0 {
		e.int("size", r.Size)
	}
	if stats {
		e.strOpt("stats", r.Stats)
		e.stringsOpt("tags", r.Tags)
	}
	e.dv(r.DeletionVector)
	e.intOpt("baseRowId", r.BaseRowID)
	e.intOpt("defaultRowCommitVersion", r.DefaultRowCommitVersion)
	e.end()
}

func (e *enc) cdc(c *AddCDC) {
	e.begin("cdc")
	e.str("path", c.Path)
	e.partition(c.PartitionValues)
	e.int("size", c.Size)
	e.bool("dataChange", false)
	e.stringsOpt("tags", c.Tags)
	e.end()
}

func (e *enc) txnFields(t *Txn) {
	e.str("appId", t.AppID)
	e.int("version", t.Version)
	if t.LastUpdated != 0 {
		e.int("lastUpdated", t.LastUpdated)
	}
}

func (e *enc) txn(t *Txn) { e.begin("txn"); e.txnFields(t); e.end() }

func (e *enc) domainFields(d *DomainMetadata) {
	e.str("domain", d.Domain)
	e.str("configuration", d.Configuration)
	e.bool("removed", d.Removed)
}

func (e *enc) domain(d *DomainMetadata) { e.begin("domainMetadata"); e.domainFields(d); e.end() }

func (e *enc) protocolFields(p *Protocol) {
	e.int("minReaderVersion", int64(p.MinReaderVersion))
	e.int("minWriterVersion", int64(p.MinWriterVersion))
	if p.MinReaderVersion >= 3 {
		e.list("readerFeatures", p.ReaderFeatures)
	}
	if p.MinWriterVersion >= 7 {
		e.list("writerFeatures", p.WriterFeatures)
	}
}

func (e *enc) protocol(p *Protocol) { e.begin("protocol"); e.protocolFields(p); e.end() }

func (e *enc) metadataFields(m *Metadata) {
	e.str("id", m.ID)
	e.strOpt("name", m.Name)
	e.strOpt("description", m.Description)
	e.key("format")
	e.raw("{")
	e.str("provider", m.Format.Provider)
	e.strings("options", m.Format.Options)
	e.raw("}")
	e.str("schemaString", m.SchemaString)
	e.list("partitionColumns", m.PartitionColumns)
	e.strings("configuration", m.Configuration)
	if m.CreatedTime != 0 {
		e.int("createdTime", m.CreatedTime)
	}
}

func (e *enc) metadata(m *Metadata) { e.begin("metaData"); e.metadataFields(m); e.end() }

func (e *enc) commitInfo(c *CommitInfo) {
	e.begin("commitInfo")
	if c.InCommitTimestamp != nil {
		e.int("inCommitTimestamp", *c.InCommitTimestamp)
	}
	e.int("timestamp", c.Timestamp)
	e.str("operation", c.Operation)
	e.strings("operationParameters", c.OperationParameters)
	e.intOpt("readVersion", c.ReadVersion)
	e.strOpt("isolationLevel", c.IsolationLevel)
	if c.IsBlindAppend != nil {
		e.bool("isBlindAppend", *c.IsBlindAppend)
	}
	e.stringsOpt("operationMetrics", c.OperationMetrics)
	e.strOpt("userMetadata", c.UserMetadata)
	e.stringsOpt("tags", c.Tags)
	e.strOpt("engineInfo", c.EngineInfo)
	e.strOpt("txnId", c.TxnID)
	e.end()
}

func (e *enc) sidecar(s *Sidecar) {
	e.begin("sidecar")
	e.str("path", s.Path)
	e.int("sizeInBytes", s.SizeInBytes)
	e.int("modificationTime", s.ModificationTime)
	e.stringsOpt("tags", s.Tags)
	e.end()
}

func (e *enc) checkpointMetadata(c *CheckpointMetadata) {
	e.begin("checkpointMetadata")
	e.int("version", c.Version)
	e.stringsOpt("tags", c.Tags)
	e.end()
}

// actions writes a commit: commitInfo first (in-commit timestamps want it so, Spark does it always).
func (e *enc) actions(a *Actions) {
	if a.CommitInfo != nil {
		e.commitInfo(a.CommitInfo)
	}
	if a.Protocol != nil {
		e.protocol(a.Protocol)
	}
	if a.Metadata != nil {
		e.metadata(a.Metadata)
	}
	for _, t := range a.Txns {
		e.txn(t)
	}
	for _, d := range a.Domains {
		e.domain(d)
	}
	for _, r := range a.Removes {
		e.remove(r, true)
	}
	for _, x := range a.Adds {
		e.add(x)
	}
	for _, c := range a.CDC {
		e.cdc(c)
	}
}

const hexDigits = "0123456789abcdef"

// appendJSONString appends s quoted. Bytes that are no UTF-8 become U+FFFD, as in encoding/json.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[start:i]...)
			switch c {
			case '"', '\\':
				dst = append(dst, '\\', c)
			case '\n':
				dst = append(dst, '\\', 'n')
			case '\r':
				dst = append(dst, '\\', 'r')
			case '\t':
				dst = append(dst, '\\', 't')
			default:
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 {
			dst = append(dst, s[start:i]...)
			dst = append(dst, "\ufffd"...)
			i++
			start = i
			continue
		}
		i += n
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
