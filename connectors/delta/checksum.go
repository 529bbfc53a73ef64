package delta

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors/store"
)

// Checksum is what a version checksum file (<v>.crc) says of a version (delta.md §1.11).
type Checksum struct {
	Version            int64
	TxnID              string
	TableSizeBytes     int64
	NumFiles           int64
	NumDeletedRecords  *int64
	NumDeletionVectors *int64
	InCommitTimestamp  *int64
	SetTransactions    []*Txn // nil: not said
	Domains            []*DomainMetadata
	Protocol           *Protocol // nil: not said, as by writers from before the protocol asked for it
	Metadata           *Metadata // likewise
}

// WriteChecksum writes the checksum of a snapshot beside its commit, unless there is one. It costs the same for any size of
// table: all it needs is kept while replaying. Wrong would be worse than absent, so that it is only written for a version
// that the log has.
func (t *Table) WriteChecksum(ctx context.Context, s *Snapshot, txnID string) error {
	e := enc{b: make([]byte, 0, 2048)}
	e.raw("{")
	e.strOpt("txnId", txnID)
	e.int("tableSizeBytes", s.sums.bytes)
	e.int("numFiles", int64(s.NumFiles()))
	if s.Protocol.Has(FeatureDeletionVectors) {
		e.int("numDeletedRecordsOpt", s.sums.deleted)
		e.int("numDeletionVectorsOpt", s.sums.dvs)
	}
	e.int("numMetadata", 1)
	e.int("numProtocol", 1)
	if s.ict != 0 {
		e.int("inCommitTimestampOpt", s.ict)
	}
	const most = 1000 // an optional list: not for tables with progress of thousands of partitions
	if s.txns.len() <= most {
		e.key("setTransactions")
		e.raw("[")
		for i, x := range slices.SortedFunc(s.Txns(), func(a, b *Txn) int { return strings.Compare(a.AppID, b.AppID) }) {
			if i > 0 {
				e.raw(",")
			}
			e.raw("{")
			e.txnFields(x)
			e.raw("}")
		}
		e.raw("]")
	}
	e.key("domainMetadata")
	e.raw("[")
	for i, d := range slices.Sorted(maps.Keys(s.domains)) {
		if i > 0 {
			e.raw(",")
		}
		e.raw("{")
		e.domainFields(&DomainMetadata{Domain: d, Configuration: s.domains[d]})
		e.raw("}")
	}
	e.raw("]")
	e.key("metadata")
	e.raw("{")
	e.metadataFields(s.Metadata)
	e.raw("}")
	e.key("protocol")
	e.raw("{")
	e.protocolFields(s.Protocol)
	e.raw("}}\n")
	err := t.bucket.PutIfAbsent(ctx, t.key(logDir+versionName(s.Version)+".crc"), e.b)
	if err != nil && !errors.Is(err, store.ErrExists) {
		return fmt.Errorf("checksum of version %d of %s: %w", s.Version, t.URL(), err)
	}
	return nil
}

// ReadChecksum reads the checksum of a version. ErrVersionNotFound: it has none.
func (t *Table) ReadChecksum(ctx context.Context, version int64) (*Checksum, error) {
	name := logDir + versionName(version) + ".crc"
	data, err := t.bucket.Get(ctx, t.key(name))
	if errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("checksum of version %d of %s: %w", version, t.URL(), ErrVersionNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("checksum of version %d of %s: %w", version, t.URL(), err)
	}
	c, err := parseChecksum(data)
	if err != nil {
		return nil, corrupt(t.URL(), version, name, err)
	}
	c.Version = version
	return c, nil
}

func parseChecksum(data []byte) (*Checksum, error) {
	var p fastjson.Parser
	v, err := p.ParseBytes(data)
	if err != nil {
		return nil, shorten(err)
	}
	f := fields{v: v}
	c := &Checksum{TxnID: f.str("txnId"), TableSizeBytes: f.int("tableSizeBytes"), NumFiles: f.int("numFiles"),
		NumDeletedRecords: f.intPtr("numDeletedRecordsOpt"), NumDeletionVectors: f.intPtr("numDeletionVectorsOpt"),
		InCommitTimestamp: f.intPtr("inCommitTimestampOpt")}
	for _, name := range []string{"tableSizeBytes", "numFiles"} {
		if f.get(name) == nil && f.err == nil {
			f.err = errors.New(name + " is missing")
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	if v := f.get("metadata"); v != nil {
		m := fields{v: v}
		c.Metadata, f.err = readMetadata(&m), m.err
	}
	if v := f.get("protocol"); v != nil {
		p := fields{v: v}
		c.Protocol, f.err = readProtocol(&p), errors.Join(f.err, p.err)
	}
	if f.err != nil {
		return nil, f.err
	}
	if v := f.get("setTransactions"); v != nil {
		c.SetTransactions = []*Txn{}
		for _, x := range v.GetArray() {
			g := fields{v: x}
			c.SetTransactions = append(c.SetTransactions, &Txn{AppID: g.need("appId"), Version: g.int("version"), LastUpdated: g.int("lastUpdated")})
			f.err = errors.Join(f.err, g.err)
		}
	}
	if v := f.get("domainMetadata"); v != nil {
		c.Domains = []*DomainMetadata{}
		for _, x := range v.GetArray() {
			g := fields{v: x}
			c.Domains = append(c.Domains, &DomainMetadata{Domain: g.need("domain"), Configuration: g.str("configuration"), Removed: g.bool("removed")})
			f.err = errors.Join(f.err, g.err)
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return c, nil
}

// Compare gives, in words, where the checksum and a snapshot of its version differ: a sign that one of them was damaged.
func (c *Checksum) Compare(s *Snapshot) []string {
	var out []string
	differ := func(what string, crc, got any) {
		if fmt.Sprint(crc) != fmt.Sprint(got) {
			out = append(out, fmt.Sprintf("%s: %v by the checksum, %v by the log", what, crc, got))
		}
	}
	differ("files", c.NumFiles, s.NumFiles())
	differ("bytes", c.TableSizeBytes, s.SizeBytes())
	if c.NumDeletionVectors != nil {
		differ("deletion vectors", *c.NumDeletionVectors, s.sums.dvs)
	}
	if c.NumDeletedRecords != nil {
		differ("deleted rows", *c.NumDeletedRecords, s.sums.deleted)
	}
	if c.Protocol != nil && !c.Protocol.equal(s.Protocol) {
		differ("protocol", *c.Protocol, *s.Protocol)
	}
	if c.Metadata != nil {
		differ("metaData.id", c.Metadata.ID, s.Metadata.ID)
		if c.Metadata.SchemaString != s.Metadata.SchemaString {
			out = append(out, "the schemas differ")
		}
	}
	if c.SetTransactions != nil {
		for _, x := range c.SetTransactions {
			got, _ := s.Txn(x.AppID)
			differ("txn "+x.AppID, x.Version, got)
		}
		differ("number of txns", len(c.SetTransactions), s.txns.len())
	}
	for _, d := range c.Domains {
		if !d.Removed {
			got, _ := s.Domain(d.Domain)
			differ("domain "+d.Domain, d.Configuration, got)
		}
	}
	sort.Strings(out)
	return out
}
