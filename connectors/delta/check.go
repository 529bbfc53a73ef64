package delta

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/valyala/fastjson"

	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/schema"
)

// check asserts what must hold of a commit before it is put (delta.md Appendix B); the error names the rule.
func check(s *Snapshot, a *Actions, p *Protocol, m *Metadata) error {
	sc := s.schema
	if a.Metadata != nil {
		var err error
		if sc, err = parseSchema(m); err != nil {
			return err
		}
		if m.ID != s.Metadata.ID {
			return invalid("metaData.id", "a table's id never changes (%s to %s)", s.Metadata.ID, m.ID)
		}
		if err := checkMetadata(p, m, sc); err != nil {
			return err
		}
		if !slices.Equal(m.PartitionColumns, s.Metadata.PartitionColumns) && s.NumFiles() > len(a.Removes) {
			// With column mapping one may be called otherwise.
			is, err := partitionNames(m, sc)
			was, wasErr := partitionNames(s.Metadata, s.schema)
			if err != nil || wasErr != nil || !slices.Equal(is, was) {
				return invalid("partitioning", "the partition columns of a table with files can't change")
			}
		}
	}
	// B7: the protocol is within what we support. Rows that are only put elsewhere were checked by who wrote them.
	err := maintainable(p)
	if a.Metadata != nil || a.Protocol != nil || slices.ContainsFunc(a.Adds, func(x *Add) bool { return x.DataChange }) {
		err = writable(p, m, sc)
	}
	if err != nil {
		return err
	}
	if err := checkFiles(s, a, p, m, sc); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, t := range a.Txns {
		// B6: progress moves forward. One txn for each application.
		if old, ok := s.Txn(t.AppID); ok && t.Version <= old {
			return invalid("B6 txn", "%s would go from %d to %d", t.AppID, old, t.Version)
		}
		if t.AppID == "" || seen[t.AppID] {
			return invalid("B6 txn", "appId %q is empty or twice in the commit", t.AppID)
		}
		seen[t.AppID] = true
	}
	domains := map[string]bool{}
	for _, d := range a.Domains {
		if d.Domain == "" || domains[d.Domain] {
			return invalid("domainMetadata", "domain %q is empty or twice in the commit", d.Domain)
		}
		domains[d.Domain] = true
	}
	return nil
}

func checkFiles(s *Snapshot, a *Actions, p *Protocol, m *Metadata, sc schema.Schema) error {
	appendOnly := p.Has(FeatureAppendOnly) && strings.EqualFold(m.Configuration[PropAppendOnly], "true")
	removed := make(map[string]*Remove, len(a.Removes))
	for _, r := range a.Removes {
		key := keyPath(r.Path)
		if removed[key] != nil {
			return invalid("B1 paths", "%s is removed twice", r.Path)
		}
		removed[key] = r
		live, ok := s.File(r.Path)
		if !ok {
			return invalid("B1 paths", "%s is removed and not in the table", r.Path)
		}
		if live.DVID() != r.DVID() {
			return invalid("B1 paths", "%s is removed with the deletion vector %q, the table has it with %q", r.Path, r.DVID(),
				live.DVID())
		}
		if appendOnly && r.DataChange {
			return fmt.Errorf("%w: %s can't be removed or changed", ErrAppendOnly, r.Path)
		}
	}
	physical, err := partitionNames(m, sc)
	if err != nil {
		return err
	}
	added := make(map[string]bool, len(a.Adds))
	for _, x := range a.Adds {
		key := keyPath(x.Path)
		if x.Path == "" || added[key] {
			return invalid("B1 paths", "%q is added twice, or is empty", x.Path)
		}
		added[key] = true
		old, exists := s.File(x.Path)
		if exists && removed[key] == nil && old.DVID() != x.DVID() {
			return invalid("B1 paths", "%s is in the table with another deletion vector and is not removed", x.Path)
		}
		if exists && removed[key] == nil && x.DataChange {
			return invalid("B1 paths", "%s is in the table already: the same file was committed before", x.Path)
		}
		if x.Size < 0 {
			return invalid("B3 size", "%s has the size %d", x.Path, x.Size)
		}
		if err := checkDV(x, old, p, m); err != nil {
			return err
		}
		if err := checkPartition(x.Path, x.PartitionValues, physical); err != nil {
			return err
		}
		if exists && old.Stats != "" && len(old.Stats) <= len(x.Stats)+24 && x.DeletionVector != nil {
			continue // the same statistics with wide bounds
		}
		if err := checkStats(x, sc.Fields); err != nil {
			return err
		}
	}
	for _, x := range a.CDC {
		if err := checkPartition(x.Path, x.PartitionValues, physical); err != nil {
			return err
		}
	}
	return nil
}

// checkDV asserts B2.
func checkDV(x, old *Add, p *Protocol, m *Metadata) error {
	d := x.DeletionVector
	if d == nil || old != nil && old.DVID() == x.DVID() {
		return nil
	}
	if !p.Has(FeatureDeletionVectors) || !strings.EqualFold(m.Configuration[PropEnableDVs], "true") {
		return invalid("B2 deletion vectors", "%s has a deletion vector, and %s is not true", x.Path, PropEnableDVs)
	}
	n, ok := x.NumRecords()
	switch {
	case !ok:
		return invalid("B2 deletion vectors", "%s has a deletion vector and no numRecords in its statistics", x.Path)
	case d.Cardinality <= 0 || d.Cardinality >= n:
		return invalid("B2 deletion vectors", "%s: the vector deletes %d of %d rows", x.Path, d.Cardinality, n)
	case d.SizeInBytes <= 0 || d.PathOrInlineDv == "":
		return invalid("B2 deletion vectors", "%s: the vector has %d bytes at %q", x.Path, d.SizeInBytes, d.PathOrInlineDv)
	case d.StorageType != dv.StorageInline && (d.Offset == nil || *d.Offset < 1):
		return invalid("B2 deletion vectors", "%s: the vector has no offset", x.Path)
	case old != nil && old.DeletionVector != nil && d.Cardinality < old.DeletionVector.Cardinality:
		return invalid("B2 deletion vectors", "%s: %d deleted rows would become %d", x.Path, old.DeletionVector.Cardinality,
			d.Cardinality)
	}
	return nil
}

// checkPartition asserts B4.
func checkPartition(path string, pv Partition, physical []string) error {
	if pv.Len() != len(physical) {
		return invalid("B4 partition values", "%s has the values %q, the table is partitioned by %q", path, pv, physical)
	}
	for _, name := range physical {
		if _, _, ok := pv.Get(name); !ok {
			return invalid("B4 partition values", "%s has no value for %q", path, name)
		}
	}
	return nil
}

// partitionNames gives the physical names of the partition columns.
func partitionNames(m *Metadata, sc schema.Schema) ([]string, error) {
	mapped := m.Configuration[PropColumnMappingMode]
	out := make([]string, 0, len(m.PartitionColumns))
	for _, name := range m.PartitionColumns {
		i := sc.IndexFold(name)
		if i < 0 {
			return nil, invalid("partitioning", "the partition column %q is not in the schema", name)
		}
		if mapped != "" && mapped != columnMappingNone {
			name = PhysicalName(&sc.Fields[i])
		}
		out = append(out, name)
	}
	return out, nil
}

// PhysicalName is the name that a column has in files and statistics under column mapping: its own without.
func PhysicalName(f *schema.Field) string {
	raw, ok := f.Metadata[columnMappingPhysicalName]
	if !ok {
		return f.Name
	}
	v, err := fastjson.ParseBytes(raw)
	if err != nil {
		return f.Name
	}
	if s := v.GetStringBytes(); len(s) > 0 {
		return string(s)
	}
	return f.Name
}

// checkStats asserts B8: JSON, numbers, min <= max, no NaN in the bounds of a column of floats (in one of texts it is a text).
func checkStats(x *Add, fields []schema.Field) error {
	if x.Stats == "" {
		return nil
	}
	v, err := fastjson.Parse(x.Stats)
	if err != nil {
		return invalid("B8 statistics", "%s: %v", x.Path, shorten(err))
	}
	if v.Type() != fastjson.TypeObject {
		return invalid("B8 statistics", "%s: not an object", x.Path)
	}
	if n := v.Get("numRecords"); n != nil {
		if i, err := n.Int64(); err != nil || i < 0 {
			return invalid("B8 statistics", "%s: numRecords is %s", x.Path, n)
		}
	}
	if err := checkBounds(v.Get("minValues"), v.Get("maxValues"), "", schema.Type{Kind: schema.Struct, Fields: fields}); err != nil {
		return invalid("B8 statistics", "%s: %v", x.Path, err)
	}
	return nil
}

func checkBounds(lo, hi *fastjson.Value, path string, t schema.Type) error {
	if lo == nil || hi == nil || lo.Type() != hi.Type() {
		return nil
	}
	switch lo.Type() {
	case fastjson.TypeObject:
		var err error
		lo.GetObject().Visit(func(k []byte, v *fastjson.Value) {
			if err == nil {
				err = checkBounds(v, hi.Get(string(k)), path+"."+string(k), member(t, string(k)))
			}
		})
		return err
	case fastjson.TypeNumber:
		if a, err := lo.Int64(); err == nil {
			if b, err := hi.Int64(); err == nil {
				if a > b {
					return fmt.Errorf("min %d is above max %d of %s", a, b, path)
				}
				return nil
			}
		}
		a, ok1 := new(big.Rat).SetString(boundedNumber(lo.String()))
		b, ok2 := new(big.Rat).SetString(boundedNumber(hi.String()))
		if ok1 && ok2 && a.Cmp(b) > 0 {
			return fmt.Errorf("min %s is above max %s of %s", lo, hi, path)
		}
	case fastjson.TypeString:
		a, b := string(lo.GetStringBytes()), string(hi.GetStringBytes())
		if (t.Kind == schema.Float || t.Kind == schema.Double) && (strings.EqualFold(a, "NaN") || strings.EqualFold(b, "NaN")) {
			return errors.New("NaN in the bounds of " + path)
		}
		// Dates before year 0 and after 9999 carry a sign, and do not sort as text.
		signed := func(s string) bool { return len(s) > 10 && (s[0] == '-' || s[0] == '+') }
		if a > b && !signed(a) && !signed(b) {
			return fmt.Errorf("min %q is above max %q of %s", a, b, path)
		}
	}
	return nil
}

// member gives the type of a struct's member by its physical name, the zero type where there is none.
func member(t schema.Type, name string) schema.Type {
	for i := range t.Fields {
		if PhysicalName(&t.Fields[i]) == name {
			return t.Fields[i].Type
		}
	}
	return schema.Type{}
}

// boundedNumber keeps numbers like 1e999999999 from becoming as large as they say.
func boundedNumber(s string) string {
	if i := strings.IndexAny(s, "eE"); i >= 0 && len(s)-i > 5 || len(s) > 400 {
		return ""
	}
	return s
}

// WideBounds says in statistics that bounds are no longer tight, which a deletion vector makes them.
func WideBounds(stats string) string {
	switch {
	case stats == "":
		return ""
	case strings.HasSuffix(stats, `,"tightBounds":true}`):
		return strings.TrimSuffix(stats, `true}`) + `false}`
	case strings.HasSuffix(stats, `,"tightBounds":false}`):
		return stats
	}
	v, err := fastjson.Parse(stats)
	if err != nil || v.Type() != fastjson.TypeObject {
		return stats
	}
	v.Del("tightBounds")
	text := string(v.MarshalTo(nil))
	if text == "{}" {
		return `{"tightBounds":false}`
	}
	return strings.TrimSuffix(text, "}") + `,"tightBounds":false}`
}

func parseSchema(m *Metadata) (schema.Schema, error) {
	sc, err := m.parse()
	if err != nil {
		return sc, invalid("schema", "%v", err)
	}
	return sc, nil
}

// checkMetadata asserts the rules of schemas and configurations.
func checkMetadata(p *Protocol, m *Metadata, sc schema.Schema) error {
	mapped := m.Configuration[PropColumnMappingMode] != "" && m.Configuration[PropColumnMappingMode] != columnMappingNone
	if len(sc.Fields) == 0 && len(m.PartitionColumns) > 0 {
		return invalid("partitioning", "a table without columns has no partition columns")
	}
	if err := checkNames(sc.Fields, mapped, ""); err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, c := range m.PartitionColumns {
		i := sc.IndexFold(c)
		if i < 0 || seen[strings.ToLower(c)] {
			return invalid("partitioning", "the partition column %q is not in the schema, or given twice", c)
		}
		seen[strings.ToLower(c)] = true
		switch sc.Fields[i].Type.Kind {
		case schema.Array, schema.Map, schema.Struct, schema.Variant, schema.Void:
			return invalid("partitioning", "%q is %s: no type to partition by", c, sc.Fields[i].Type)
		}
	}
	if len(sc.Fields) > 0 && len(seen) == len(sc.Fields) {
		return invalid("partitioning", "all columns are partition columns")
	}
	for _, f := range neededFeatures(sc, m.Configuration, nil) {
		if !p.Has(f) {
			return invalid("protocol", "schema or configuration need the feature %s, which the protocol lacks", f)
		}
	}
	for k, v := range m.Configuration {
		switch k {
		case PropDeletedFileRetention, PropLogRetention:
			if _, err := ParseInterval(v); err != nil {
				return invalid("configuration", "%s: %v", k, err)
			}
		}
	}
	return nil
}

// invalidNameChars may not be in a column's name without column mapping (delta.md §1.7).
const invalidNameChars = " ,;{}()\n\t="

func checkNames(fields []schema.Field, mapped bool, prefix string) error {
	seen := make(map[string]bool, len(fields))
	for i := range fields {
		f := &fields[i]
		path := prefix + f.Name
		switch lower := strings.ToLower(f.Name); {
		case f.Name == "":
			return invalid("schema", "a column below %q has no name", prefix)
		case seen[lower]:
			return invalid("schema", "column %q is there twice (case does not count)", path)
		case !mapped && strings.ContainsAny(f.Name, invalidNameChars):
			return invalid("schema", "column %q: without column mapping names can't hold any of %q", path, invalidNameChars)
		case mapped && f.Metadata[columnMappingPhysicalName] == nil:
			return invalid("column mapping", "column %q has no %s", path, columnMappingPhysicalName)
		default:
			seen[lower] = true
		}
		t := &f.Type
		for t.Kind == schema.Array || t.Kind == schema.Map {
			if t.Kind == schema.Map && t.Key.Kind == schema.Struct {
				if err := checkNames(t.Key.Fields, mapped, path+".key."); err != nil {
					return err
				}
			}
			t = t.Elem
		}
		if t.Kind == schema.Struct {
			if err := checkNames(t.Fields, mapped, path+"."); err != nil {
				return err
			}
		}
	}
	return nil
}
