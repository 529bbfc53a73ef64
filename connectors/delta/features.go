package delta

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"sluice.io/sluice/connectors/schema"
)

// Table features by their exact spelling in the protocol.
const (
	FeatureAppendOnly           = "appendOnly"
	FeatureInvariants           = "invariants"
	FeatureCheckConstraints     = "checkConstraints"
	FeatureChangeDataFeed       = "changeDataFeed"
	FeatureGeneratedColumns     = "generatedColumns"
	FeatureColumnMapping        = "columnMapping"
	FeatureIdentityColumns      = "identityColumns"
	FeatureDeletionVectors      = "deletionVectors"
	FeatureTimestampNTZ         = "timestampNtz"
	FeatureTypeWidening         = "typeWidening"
	FeatureTypeWideningPreview  = "typeWidening-preview"
	FeatureV2Checkpoint         = "v2Checkpoint"
	FeatureVacuumProtocolCheck  = "vacuumProtocolCheck"
	FeatureDomainMetadata       = "domainMetadata"
	FeatureRowTracking          = "rowTracking"
	FeatureClustering           = "clustering"
	FeatureInCommitTimestamp    = "inCommitTimestamp"
	FeatureAllowColumnDefaults  = "allowColumnDefaults"
	FeatureCheckpointProtection = "checkpointProtection"
)

// Table properties that the log itself obeys.
const (
	PropAppendOnly            = "delta.appendOnly"
	PropIsolationLevel        = "delta.isolationLevel"
	PropEnableDVs             = "delta.enableDeletionVectors"
	PropEnableCDF             = "delta.enableChangeDataFeed"
	PropEnableICT             = "delta.enableInCommitTimestamps"
	PropICTEnablementVersion  = "delta.inCommitTimestampEnablementVersion"
	PropICTEnablementTime     = "delta.inCommitTimestampEnablementTimestamp"
	PropEnableRowTracking     = "delta.enableRowTracking"
	PropRowIDColumn           = "delta.rowTracking.materializedRowIdColumnName"
	PropRowVersionColumn      = "delta.rowTracking.materializedRowCommitVersionColumnName"
	PropCheckpointInterval    = "delta.checkpointInterval"
	PropCheckpointPolicy      = "delta.checkpointPolicy"
	PropProtectedBefore       = "delta.requireCheckpointProtectionBeforeVersion"
	PropStatsAsJSON           = "delta.checkpoint.writeStatsAsJson"
	PropStatsAsStruct         = "delta.checkpoint.writeStatsAsStruct"
	PropDeletedFileRetention  = "delta.deletedFileRetentionDuration"
	PropLogRetention          = "delta.logRetentionDuration"
	PropEnableLogCleanup      = "delta.enableExpiredLogCleanup"
	PropColumnMappingMode     = "delta.columnMapping.mode"
	PropMaxColumnID           = "delta.columnMapping.maxColumnId"
	PropEnableTypeWidening    = "delta.enableTypeWidening"
	PropStatsColumns          = "delta.dataSkippingNumIndexedCols"
	PropStatsColumnNames      = "delta.dataSkippingStatsColumns"
	PropCompressionCodec      = "delta.parquet.compression.codec"
	PropParquetVersion        = "delta.parquet.format.version" // 1.…: files with the encodings of version 1 only
	metaKeyInvariants         = "delta.invariants"
	metaKeyGenerated          = "delta.generationExpression"
	metaKeyIdentity           = "delta.identity."
	propConstraintPrefix      = "delta.constraints."
	domainRowTracking         = "delta.rowTracking"
	columnMappingNone         = "none"
	columnMappingPhysicalName = "delta.columnMapping.physicalName"
	columnMappingID           = "delta.columnMapping.id"
)

// feature is a row of the table in delta.md §1.12.
type feature struct {
	reader bool // readers must know it too
	read   bool // we read tables that have it
	write  bool // we write tables that have it, as far as writable() agrees
	// legacyReader and legacyWriter are the versions that imply it; 0: none did.
	legacyReader, legacyWriter int
	who                        string // who can open a table with it where we can't
}

var features = map[string]feature{
	FeatureAppendOnly:              {read: true, write: true, legacyWriter: 2},
	FeatureInvariants:              {read: true, write: true, legacyWriter: 2},
	FeatureCheckConstraints:        {read: true, write: true, legacyWriter: 3},
	FeatureChangeDataFeed:          {read: true, write: true, legacyWriter: 4},
	FeatureGeneratedColumns:        {read: true, write: true, legacyWriter: 4},
	FeatureColumnMapping:           {reader: true, read: true, write: true, legacyReader: 2, legacyWriter: 5},
	FeatureIdentityColumns:         {read: true, write: true, legacyWriter: 6},
	FeatureDeletionVectors:         {reader: true, read: true, write: true},
	FeatureTimestampNTZ:            {reader: true, read: true, write: true},
	FeatureTypeWidening:            {reader: true, read: true, write: true},
	FeatureTypeWideningPreview:     {reader: true, read: true, write: true},
	FeatureV2Checkpoint:            {reader: true, read: true, write: true},
	FeatureVacuumProtocolCheck:     {reader: true, read: true, write: true},
	FeatureDomainMetadata:          {read: true, write: true},
	FeatureRowTracking:             {read: true, write: true},
	FeatureClustering:              {read: true, write: true},
	FeatureInCommitTimestamp:       {read: true, write: true},
	FeatureAllowColumnDefaults:     {read: true, write: true},
	FeatureCheckpointProtection:    {read: true, write: true},
	"icebergCompatV1":              {read: true, who: "Spark with Delta 3.0 or newer"},
	"icebergCompatV2":              {read: true, who: "Spark with Delta 3.1 or newer"},
	"icebergCompatV3":              {read: true, who: "Spark with Delta 4.1 or newer"},
	"icebergWriterCompatV1":        {read: true, who: "Delta Kernel (Java)"},
	"icebergWriterCompatV3":        {read: true, who: "Delta Kernel (Java)"},
	"coordinatedCommits-preview":   {read: true, who: "the catalog that coordinates its commits"},
	"materializePartitionColumns":  {read: true, who: "Spark with Delta 4.1 or newer"},
	"collations-preview":           {read: true, who: "Spark with Delta 4.0 or newer"},
	"collations":                   {read: true, who: "Spark with Delta 4.0 or newer"},
	"redirectWriterOnly-preview":   {read: true, who: "Spark with Delta 4.0 or newer, which writes the table that this one points to"},
	"variantType":                  {reader: true, read: true, who: "Spark with Delta 4.0 or newer, delta-kernel-rs"},
	"variantType-preview":          {reader: true, read: true, who: "Spark with Delta 4.0 or newer, delta-kernel-rs"},
	"variantShredding-preview":     {reader: true, who: "Spark with Delta 4.0 or newer"},
	"variantShredding":             {reader: true, who: "Spark with Delta 4.0 or newer"},
	"redirectReaderWriter-preview": {reader: true, who: "Spark with Delta 4.0 or newer, which reads the table that this one points to"},
	"catalogManaged":               {reader: true, who: "engines that go through the table's catalog"},
	"catalogOwned":                 {reader: true, who: "engines that go through the table's catalog"},
	"catalogOwned-preview":         {reader: true, who: "engines that go through the table's catalog"},
	"geospatial":                   {reader: true, who: "Spark with Delta 4.2 or newer"},
	"adaptiveMetadata-preview":     {reader: true, who: "Spark with Delta 4.2 or newer"},
}

// ErrUnsupported is wrapped by every UnsupportedError.
var ErrUnsupported = errors.New("the table needs what this software does not have")

// UnsupportedError says which features of a table keep us from reading or writing it.
type UnsupportedError struct {
	Write    bool     // it can be read, not written
	Features []string // by name; empty where a version or a property is the reason
	Reason   string
	Protocol *Protocol
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	verb := "read"
	if e.Write {
		verb = "written"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "the table can't be %s here: ", verb)
	if len(e.Features) == 0 {
		b.WriteString(e.Reason)
		return b.String()
	}
	for i, f := range e.Features {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "feature %s is not supported", f)
		if who := features[f].who; who != "" {
			fmt.Fprintf(&b, " (%s could)", who)
		} else {
			b.WriteString(" (a newer release, or the engine that wrote the table, could)")
		}
	}
	return b.String()
}

// Unwrap gives ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }

// Has tells whether a feature is in use by the protocol, by name or by a legacy version.
func (p *Protocol) Has(name string) bool {
	if p.MinWriterVersion >= 7 {
		return p.HasWriterFeature(name)
	}
	f, ok := features[name]
	return ok && f.legacyWriter > 0 && p.MinWriterVersion >= f.legacyWriter
}

// readable tells whether we know all that readers must know.
func readable(p *Protocol) error {
	if p.MinReaderVersion > 3 {
		return &UnsupportedError{Protocol: p, Reason: fmt.Sprintf(
			"it wants readers of protocol version %d, this software reads up to 3 (a newer release could)", p.MinReaderVersion)}
	}
	if p.MinReaderVersion < 3 {
		return nil
	}
	if p.MinWriterVersion < 7 {
		return &UnsupportedError{Protocol: p, Reason: fmt.Sprintf(
			"its protocol is not valid: reader version 3 with writer version %d", p.MinWriterVersion)}
	}
	var bad []string
	for _, name := range p.ReaderFeatures {
		if !features[name].read {
			bad = append(bad, name)
		}
	}
	if len(bad) > 0 {
		return &UnsupportedError{Features: bad, Protocol: p}
	}
	return nil
}

// maintainable tells whether we may look after a table of this protocol: rewrite its files, delete what it does not use.
func maintainable(p *Protocol) error {
	if err := readable(p); err != nil {
		return err
	}
	if p.MinWriterVersion > 7 {
		return &UnsupportedError{Write: true, Protocol: p, Reason: fmt.Sprintf("it wants writers of protocol version %d, this software writes up to 7 (a newer release could)",
			p.MinWriterVersion)}
	}
	var bad []string
	if p.MinWriterVersion == 7 {
		for _, name := range p.WriterFeatures {
			if !features[name].write {
				bad = append(bad, name)
			}
		}
	}
	if len(bad) > 0 {
		return &UnsupportedError{Write: true, Features: bad, Protocol: p}
	}
	return nil
}

// writable tells whether we may write new rows into a table of this protocol, metadata and schema.
func writable(p *Protocol, m *Metadata, s schema.Schema) error {
	if err := maintainable(p); err != nil {
		return err
	}
	refuse := func(format string, args ...any) error {
		return &UnsupportedError{Write: true, Protocol: p, Reason: fmt.Sprintf(format, args...)}
	}
	// Features that are harmless until they are used, and need SQL when they are.
	if p.Has(FeatureCheckConstraints) {
		for k := range m.Configuration {
			if strings.HasPrefix(k, propConstraintPrefix) {
				return refuse("it has the check constraint %s, which needs SQL (Spark could)",
					strings.TrimPrefix(k, propConstraintPrefix))
			}
		}
	}
	var reason error
	walkFields(s.Fields, func(path string, f *schema.Field) {
		if reason != nil {
			return
		}
		for k := range f.Metadata {
			switch {
			case k == metaKeyInvariants && p.Has(FeatureInvariants):
				reason = refuse("column %s has an invariant, which needs SQL (Spark could)", path)
			case k == metaKeyGenerated && p.Has(FeatureGeneratedColumns):
				reason = refuse("column %s is generated, which needs SQL (Spark could)", path)
			case strings.HasPrefix(k, metaKeyIdentity) && p.Has(FeatureIdentityColumns):
				reason = refuse("column %s is an identity column (Spark could)", path)
			}
		}
	})
	return reason
}

// walkFields visits all struct members of a schema, those in arrays and maps included.
func walkFields(fields []schema.Field, visit func(path string, f *schema.Field)) {
	var inType func(path string, t *schema.Type)
	inFields := func(prefix string, fs []schema.Field) {
		for i := range fs {
			path := prefix + fs[i].Name
			visit(path, &fs[i])
			inType(path, &fs[i].Type)
		}
	}
	inType = func(path string, t *schema.Type) {
		switch t.Kind {
		case schema.Struct:
			inFields(path+".", t.Fields)
		case schema.Array:
			inType(path+".element", t.Elem)
		case schema.Map:
			inType(path+".key", t.Key)
			inType(path+".value", t.Elem)
		}
	}
	inFields("", fields)
}

// WithFeatures gives the protocol upgraded so that it has the named features: the versions go to 7 (and 3 where a
// feature concerns readers), and the features that the old versions implied are listed, as the protocol wants. The
// receiver is not changed. Unknown names are refused.
func (p *Protocol) WithFeatures(names ...string) (*Protocol, error) {
	up := &Protocol{MinReaderVersion: p.MinReaderVersion, MinWriterVersion: p.MinWriterVersion,
		ReaderFeatures: slices.Clone(p.ReaderFeatures), WriterFeatures: slices.Clone(p.WriterFeatures)}
	for _, name := range names {
		f, ok := features[name]
		if !ok {
			return nil, fmt.Errorf("%q is no table feature that is known here", name)
		}
		if p.Has(name) && (!f.reader || p.MinReaderVersion < 3 || p.HasReaderFeature(name)) {
			continue
		}
		up.toFeatures(f.reader)
		if f.reader && !up.HasReaderFeature(name) {
			up.ReaderFeatures = append(up.ReaderFeatures, name)
		}
		if !up.HasWriterFeature(name) {
			up.WriterFeatures = append(up.WriterFeatures, name)
		}
	}
	return up, nil
}

// toFeatures turns version numbers into lists.
func (p *Protocol) toFeatures(reader bool) {
	oldReader, oldWriter := p.MinReaderVersion, p.MinWriterVersion
	implied := make([]string, 0, 8)
	for name, f := range features {
		if f.legacyWriter > 0 && f.legacyWriter <= oldWriter && oldWriter < 7 {
			implied = append(implied, name)
		}
	}
	slices.Sort(implied)
	if oldWriter < 7 {
		p.MinWriterVersion = 7
		p.WriterFeatures = append([]string{}, implied...)
	}
	if reader && oldReader < 3 {
		p.MinReaderVersion = 3
		p.ReaderFeatures = []string{}
		for _, name := range p.WriterFeatures {
			if f := features[name]; f.reader && f.legacyReader > 0 && f.legacyReader <= oldReader {
				p.ReaderFeatures = append(p.ReaderFeatures, name)
			}
		}
	}
}

func (p *Protocol) equal(o *Protocol) bool {
	return p.MinReaderVersion == o.MinReaderVersion && p.MinWriterVersion == o.MinWriterVersion &&
		sameSet(p.ReaderFeatures, o.ReaderFeatures) && sameSet(p.WriterFeatures, o.WriterFeatures)
}

func sameSet(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.Contains(b, x) {
			return false
		}
	}
	return true
}
