package foreign

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2/roaring64"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/cdf"
	"sluice.io/sluice/connectors/delta/dv"
	"sluice.io/sluice/connectors/delta/optimize"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/delta/vacuum"
	"sluice.io/sluice/connectors/schema"
)

// table is one table that we write for others.
type table struct {
	name  string
	sc    schema.Schema
	parts []string
	conf  map[string]string
	// features are those that neither schema nor configuration bring.
	features []string
	fill     func(k *kit)
	// versions are read besides the newest; all asks for every one.
	versions []int64
	all      bool
	// cdf asks for the change feed of these ranges.
	cdf [][2]int64
	// where are conditions that our predicates and SQL both understand.
	where []string
	// refused are the engines that refuse the table, by a part of what they say (readers.md §2).
	refused map[string]string
	// wrong are the engines that are known to give wrong rows without a word, and how.
	wrong map[string]string
	// wrongFeed are the engines that read the change feed wrongly: delta-rs 1.6.6 takes the rows that the vector of a removed file deletes for
	// those that the removal deleted.
	wrongFeed []string
}

func conf(kv ...string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i]] = kv[i+1]
	}
	return m
}

func withDVs(kv ...string) map[string]string { return conf(append(kv, delta.PropEnableDVs, "true")...) }

var (
	polarsNoV2      = map[string]string{"polars": ""}
	polarsNoMapping = map[string]string{"polars": ""}
	noWidening      = map[string]string{"polars": "", "delta-rs": ""}
)

// smallSchema is enough where the feature is not about types.
func smallSchema() schema.Schema {
	return schemaOf(col("s", of(schema.String)), col("d", schema.DecimalOf(12, 2)), col("at", of(schema.Timestamp)), col("n", of(schema.Long)))
}

func ntzSchema() schema.Schema {
	sc := smallSchema()
	sc.Fields = append(sc.Fields, col("local", of(schema.TimestampNTZ)))
	return sc
}

func tables() []table {
	return slices.Concat(plainTables(), partitionedTables(), vectorTables(), schemaTables(), feedTables(), upkeepTables())
}

func plainTables() []table {
	list := []table{
		{name: "append", sc: smallSchema(), all: true, fill: func(k *kit) {
			for range 5 {
				k.add(9)
			}
		}},
		{name: "empty", sc: smallSchema(), fill: func(*kit) {}},
		{name: "append-only", sc: smallSchema(), conf: conf(delta.PropAppendOnly, "true"), fill: func(k *kit) { k.add(20).add(3) }},
		{name: "all-types", sc: schemaOf(flat()...), fill: func(k *kit) { k.add(60).add(1).add(25) }},
		{name: "nested", sc: schemaOf(nested()...), conf: withDVs(), fill: func(k *kit) { k.add(60).add(40).del(5, 1, 2) }},
		{name: "not-null", sc: schemaOf(must("s", of(schema.String)), must("st", schema.StructOf(must("a", of(schema.Long)), col("b", of(schema.String))))),
			fill: func(k *kit) { k.add(30) }},
		{name: "odd-names", sc: schemaOf(col("a.b", of(schema.String)), col("ünï", of(schema.Long)), col("SELECT", of(schema.Date)), col("back`tick", of(schema.Double)),
			col("_cdc_sequence", of(schema.Binary)), col("__START_AT", of(schema.Timestamp)), col("quo\"te", of(schema.Boolean))), fill: func(k *kit) { k.add(30) }},
		{name: "row-groups", sc: ntzSchema(), conf: withDVs(), fill: func(k *kit) {
			c := k.tab.NewCommit(k.s)
			c.Append(k.write(9000, 0, rows.WriteOptions{RowGroupRows: 1000}))
			k.do(c, "WRITE")
			k.del(3, 1, 1).del(7, 0, 1)
		}},
		// A row group for each width that differences of numbers can have.
		{name: "packed", sc: schemaOf(col("byte", of(schema.Byte)), col("short", of(schema.Short)), col("int", of(schema.Integer)), must("long", of(schema.Long)),
			col("date", of(schema.Date)), col("ts", of(schema.Timestamp)), col("dec", schema.DecimalOf(9, 2)), col("list", schema.ArrayOf(of(schema.Long)))), conf: withDVs(), fill: func(k *kit) {
			k.values = walk
			c := k.tab.NewCommit(k.s)
			c.Append(k.write(66*walkRows, 0, rows.WriteOptions{RowGroupRows: walkRows, NoDictionary: true}))
			c.Append(k.write(5000, 0, rows.WriteOptions{}))
			k.do(c, "WRITE")
			k.del(3, 1, 1)
		}, where: []string{"id = 4711", "long < 0"}},
		{name: "not-packed", sc: smallSchema(), conf: conf(delta.PropParquetVersion, "1.0.0"), fill: func(k *kit) { k.add(500) }},
		{name: "stats", sc: schemaOf(append(flat(), nested()[0])...), fill: func(k *kit) {
			for range 40 { // one row a file: every odd value is a bound
				k.add(1)
			}
		}, where: statsWhere},
		{name: "stats-checkpointed", sc: schemaOf(append(flat(), nested()[0])...), conf: conf(delta.PropStatsAsStruct, "true"), fill: func(k *kit) {
			for range 40 {
				k.add(1)
			}
			k.checkpoint(delta.CheckpointV1)
		}, where: statsWhere},
		{name: "few-stats", sc: smallSchema(), conf: conf(delta.PropStatsColumns, "2"), fill: func(k *kit) { k.add(5).add(5) }, where: []string{"n = 42", "id = 7"}},
	}
	for _, codec := range []string{"zstd", "gzip", "lz4_raw", "uncompressed"} {
		list = append(list, table{name: "codec-" + codec, sc: ntzSchema(), conf: conf(delta.PropCompressionCodec, codec), fill: func(k *kit) { k.add(500) }})
	}
	return list
}

// statsWhere are conditions at and around the odd values.
var statsWhere = []string{
	"id = 7", "id >= 38", "string = 'plain'", "string = '" + strings.Repeat("z", 40) + "'", "string > '" + strings.Repeat("z", 33) + "'",
	"string >= '" + strings.Repeat("\U0010FFFF", 33) + "'", "string = '" + strings.Repeat("a", 31) + "é and more'", "string = ''", "string = '😀 smile'", "string < 'b'",
	"long = 9223372036854775807", "long = 9007199254740993", "long < -2147483648", "short = -32768", "byte = 127",
	"dec9_2 = '9999999.99'", "dec9_2 < '-9999999.98'", "dec18_6 = '-999999999999.999999'", "dec5_5 = 0.33333", "double > 1e300", "double < -0.05", "float = 1.5",
	"string IS NULL", "dec18_6 IS NOT NULL", "date = '9999-12-31'", "date < '0100-01-01'", "date = '1969-12-31'",
	"id IN (3, 7) OR NOT (string IS NULL OR id < 38)", "id NOT IN (1, 2, 3) AND string NOT IN ('plain', 'x') AND string NOT LIKE 'p%'", "string LIKE '%é and _ore'", "string LIKE '_ smile'",
	"long NOT BETWEEN -2147483648 AND 9223372036854775806", "NOT (dec9_2 > 0 AND string > 'a')", "string LIKE 'zzz%' OR date BETWEEN '0001-01-01' AND '1969-12-31'",
	"ts = '2023-11-14T22:13:20.123456Z'", "ts > '2023-11-14T22:13:20.123998Z'", "ts < '1970-01-01T00:00:00Z'", "ts > '2200-01-01T00:00:00Z'", "ts = '1969-12-31T23:59:59.999999Z'",
}

func partitionedTables() []table {
	var list []table
	for _, t := range []schema.Type{of(schema.String), of(schema.Long), of(schema.Byte), of(schema.Date), of(schema.Timestamp), of(schema.TimestampNTZ), schema.DecimalOf(12, 3),
		schema.DecimalOf(38, 10), of(schema.Boolean), of(schema.Binary)} {
		name := strings.NewReplacer("(", "-", ")", "", ",", "-").Replace("partition-" + t.String())
		e := table{name: name, sc: schemaOf(col("p", t), col("v", of(schema.String))), parts: []string{"p"}, fill: func(k *kit) {
			all := make([]int, 16)
			for i := range all {
				all[i] = i
			}
			k.add(2, all...).checkpoint(delta.CheckpointV1).add(1, 3, 5)
		}}
		if t.Kind == schema.Binary {
			e.refused = map[string]string{"polars": ""}
		}
		if t.Kind == schema.String {
			e.where = []string{"p = '日本語'", "p = 'a/b=c%25:d?#&+'", "p IS NULL", "p > 'u'"}
		}
		list = append(list, e)
	}
	return append(list,
		table{name: "partition-many", sc: schemaOf(col("year", of(schema.Integer)), col("v", of(schema.String)), col("Name", of(schema.String)), col("day", of(schema.Date))),
			parts: []string{"day", "Name", "year"}, conf: withDVs(), fill: func(k *kit) { k.plain = true; k.add(7, 0, 1, 2, 3, 4, 5, 6).del(3, 1, 2) },
			where: []string{"Name = 'v0' AND id < 5"}},
	)
}

func vectorTables() []table {
	fill := func(f delta.CheckpointFormat) func(k *kit) {
		return func(k *kit) {
			k.plain = true
			k.add(11, 0, 1, 2, 3, 4).del(4, 1, 2).add(8, 3, 5, 6).checkpoint(f).del(5, 0, 1).add(3, 2)
			k.do(removed(k, 2), "DELETE")
			k.checkpoint(f)
			k.add(2, 1)
		}
	}
	sc := func() schema.Schema {
		s := ntzSchema()
		s.Fields = append(s.Fields, col("p", of(schema.String)))
		return s
	}
	v2 := withDVs(delta.PropCheckpointPolicy, "v2")
	return []table{
		{name: "dv", sc: smallSchema(), conf: withDVs(), all: true, fill: func(k *kit) { k.add(50).add(30).del(7, 3, 1).del(5, 0, 2).add(4) },
			where: []string{"id > 40", "id = 3", "id = 4"}},
		{name: "dv-checkpoint-v1", sc: ntzSchema(), conf: withDVs(), all: true, fill: fill(delta.CheckpointV1)},
		{name: "dv-partition-checkpoint-v1", sc: sc(), parts: []string{"p"}, conf: withDVs(), all: true, fill: fill(delta.CheckpointV1)},
		{name: "dv-partition-struct-stats", sc: sc(), parts: []string{"p"}, conf: withDVs(delta.PropStatsAsStruct, "true", delta.PropStatsAsJSON, "false"), fill: fill(delta.CheckpointV1),
			where: []string{"id > 40", "p = 'v0'"}},
		// Polars shows the deleted rows of a file whose path has escapes.
		{name: "dv-partition-escaped", sc: sc(), parts: []string{"p"}, conf: withDVs(), fill: func(k *kit) { k.add(10, 2, 11).del(3, 0, 1) }, wrong: map[string]string{"polars": ""}},
		{name: "dv-partition-checkpoint-v2-json", sc: sc(), parts: []string{"p"}, conf: v2, fill: fill(delta.CheckpointV2JSON), refused: polarsNoV2},
		{name: "dv-partition-checkpoint-v2-parquet", sc: sc(), parts: []string{"p"}, conf: v2, fill: fill(delta.CheckpointV2Parquet), refused: polarsNoV2},
		{name: "dv-all-rows-of-a-file", sc: smallSchema(), conf: withDVs(), fill: func(k *kit) { k.add(5).add(6).del(1, 0, 2) }},
		{name: "dv-inline", sc: smallSchema(), conf: withDVs(), fill: func(k *kit) {
			k.add(40)
			d, err := dv.Inline(roaring64.BitmapOf(0, 3, 39))
			k.must(err)
			c := k.tab.NewCommit(k.s)
			c.SetDV(k.files()[0], d)
			k.do(c, "DELETE")
		}},
		{name: "silver-mix", sc: silver(), parts: []string{"region"}, conf: withDVs(), features: []string{delta.FeatureDomainMetadata}, all: true, fill: func(k *kit) {
			k.plain = true
			c := k.tab.NewCommit(k.s)
			c.SetDomain("sluice.state", `{"epoch":3}`)
			k.do(c, "WRITE")
			k.add(20, 0, 1, 5).del(6, 2, 1).add(20, 1, 2).checkpoint(delta.CheckpointV1).del(6, 3, 2)
			_, err := optimize.Run(k.ctx, k.tab, optimize.Options{})
			k.must(err)
			k.s = k.tab.Cached()
			k.add(5, 2).del(4, 1, 1)
		}},
	}
}

// silver are the columns of a silver table of ours, with history.
func silver() schema.Schema {
	return schemaOf(col("region", of(schema.String)), col("name", of(schema.String)), col("price", schema.DecimalOf(10, 2)), col("local", of(schema.TimestampNTZ)),
		col("tags", schema.ArrayOf(of(schema.String))), must("_cdc_operation", of(schema.String)), col("_cdc_timestamp", of(schema.Timestamp)),
		col("_event_id", of(schema.String)), col("_cdc_sequence", of(schema.Binary)), col("_rescued_data", of(schema.String)),
		col("__START_AT", of(schema.Timestamp)), col("__END_AT", of(schema.Timestamp)))
}

// removed is a commit that removes every n-th file.
func removed(k *kit, n int) *delta.Commit {
	c := k.tab.NewCommit(k.s)
	for i, a := range k.files() {
		if i%n == n-1 {
			c.Remove(a)
		}
	}
	return c
}

func schemaTables() []table {
	nameMode := func() map[string]string { return withDVs(delta.PropColumnMappingMode, "name") }
	spaced := func() schema.Schema {
		return schemaOf(col("a b", of(schema.String)), col("c,d;e", schema.StructOf(col("in ner", of(schema.Long)), col("x", of(schema.String)))), col("p p", of(schema.String)),
			col("m", schema.MapOf(of(schema.String), schema.StructOf(col("k k", of(schema.Date))))))
	}
	rename := func(k *kit) {
		k.add(10, 0, 1).del(4, 1, 2)
		k.metadata(func(_ *delta.Metadata, sc *schema.Schema) { sc.Fields[1].Name = "renamed (now)" })
		k.add(5, 2)
		k.metadata(func(_ *delta.Metadata, sc *schema.Schema) { sc.Fields = slices.Delete(sc.Fields, 2, 3) })
		k.add(5, 1).checkpoint(delta.CheckpointV1).add(2, 2)
	}
	widen := func(to schema.Type, from, name string) func(m *delta.Metadata, sc *schema.Schema) {
		return func(_ *delta.Metadata, sc *schema.Schema) {
			f := &sc.Fields[sc.Index(name)]
			text, err := json.Marshal([]map[string]string{{"fromType": from, "toType": to.String()}})
			if err != nil {
				panic(err)
			}
			f.Type, f.Metadata = to, map[string]json.RawMessage{"delta.typeChanges": text}
		}
	}
	return []table{
		{name: "timestamp-ntz", sc: schemaOf(col("local", of(schema.TimestampNTZ)), col("st", schema.StructOf(col("l", schema.ArrayOf(of(schema.TimestampNTZ)))))), fill: func(k *kit) { k.add(40) },
			where: []string{"local = '2023-11-14T22:13:20.123456'", "local < '1970-01-01T00:00:00'"}},
		{name: "mapping-name", sc: spaced(), conf: nameMode(), all: true, fill: rename, refused: polarsNoMapping},
		{name: "mapping-name-partitioned", sc: spaced(), parts: []string{"p p"}, conf: nameMode(), fill: rename, refused: polarsNoMapping,
			wrong: map[string]string{"duckdb": `"p p":null`}},
		{name: "mapping-id", sc: spaced(), conf: withDVs(delta.PropColumnMappingMode, "id"), fill: rename, refused: polarsNoMapping},
		{name: "added-columns", sc: smallSchema(), all: true, fill: func(k *kit) {
			k.add(10)
			k.metadata(func(_ *delta.Metadata, sc *schema.Schema) {
				sc.Fields = append(sc.Fields, col("new", of(schema.String)), nested()[3])
			})
			k.add(10)
			k.metadata(func(_ *delta.Metadata, sc *schema.Schema) {
				sc.Fields = slices.Insert(sc.Fields, 1, col("first", of(schema.Double)))
			})
			k.add(10).checkpoint(delta.CheckpointV1).add(1)
		}, where: []string{"new IS NULL", "new = 'plain'", "first > 1"}},
		{name: "widened", sc: schemaOf(col("b", of(schema.Byte)), col("i", of(schema.Integer)), col("f", of(schema.Float)), col("d", schema.DecimalOf(10, 2)), col("day", of(schema.Date))),
			conf: withDVs(delta.PropEnableTypeWidening, "true"), refused: noWidening, fill: func(k *kit) {
				k.add(20).del(6, 2, 1)
				k.metadata(widen(of(schema.Short), "byte", "b")).metadata(widen(of(schema.Long), "integer", "i")).metadata(widen(of(schema.Double), "float", "f"))
				k.metadata(widen(schema.DecimalOf(14, 4), "decimal(10,2)", "d")).metadata(widen(of(schema.TimestampNTZ), "date", "day"), delta.FeatureTimestampNTZ)
				k.add(20).checkpoint(delta.CheckpointV1).del(5, 1, 2)
			}, where: []string{"i = 2147483647", "d < -9999"}},
		{name: "in-commit-timestamps", sc: smallSchema(), conf: withDVs(delta.PropEnableICT, "true"), all: true, fill: func(k *kit) { k.add(5).add(5).del(3, 0, 1).checkpoint(delta.CheckpointV1).add(1) }},
		{name: "in-commit-timestamps-later", sc: smallSchema(), conf: withDVs(), all: true, fill: func(k *kit) {
			k.add(5).add(5)
			k.metadata(func(m *delta.Metadata, _ *schema.Schema) { m.Configuration[delta.PropEnableICT] = "true" })
			k.add(5).checkpoint(delta.CheckpointV1).add(1)
		}},
		{name: "everything", sc: func() schema.Schema { s := spaced(); s.Fields = append(s.Fields, ntzSchema().Fields...); return s }(),
			conf: withDVs(delta.PropColumnMappingMode, "name", delta.PropEnableICT, "true", delta.PropEnableCDF, "true", delta.PropCheckpointPolicy, "v2"),
			fill: func(k *kit) { k.add(10, 0).del(4, 1, 1).checkpoint(delta.CheckpointAuto).add(5, 0).del(7, 2, 1) }, refused: polarsNoMapping},
	}
}

func feedTables() []table {
	update := func(k *kit) {
		// An update of the first file's rows 0 and 2 with change rows, as silver writes one.
		a := k.files()[0]
		sc, err := rows.DataSchema(k.s)
		k.must(err)
		old := []int{0, 2}
		var list []changeRow
		d, _, err := dv.Write(k.ctx, k.tab.Bucket(), k.tab.Path(), []*roaring64.Bitmap{roaring64.BitmapOf(0, 2)})
		k.must(err)
		from := k.next
		b := k.write(len(old), 0, rows.WriteOptions{})
		row := func(id, seed int) []connectors.Value {
			out := []connectors.Value{connectors.Int(schema.Long, int64(id))}
			for c := 1; c < len(sc.Fields); c++ {
				out = append(out, value(sc.Fields[c].Type, sc.Fields[c].Nullable, seed+c))
			}
			return out
		}
		for i, id := range old {
			list = append(list, changeRow{row(id, id), cdf.PreUpdate}, changeRow{row(from+i, from+i), cdf.PostUpdate})
		}
		c := k.tab.NewCommit(k.s)
		c.SetDV(a, d[0])
		c.Append(b)
		c.AppendCDC(k.changes(sc, k.partition(0), list...))
		k.do(c, "UPDATE")
	}
	sc := func() schema.Schema {
		s := ntzSchema()
		s.Fields = append(s.Fields, col("p", of(schema.Long)))
		return s
	}
	return []table{
		{name: "feed", sc: ntzSchema(), conf: withDVs(delta.PropEnableCDF, "true"), fill: func(k *kit) {
			k.add(10) // 1
			update(k) // 2
			k.add(5)  // 3
			k.del(3, 1, 1)
			c := k.tab.NewCommit(k.s)
			c.Append(k.write(4, 0, rows.WriteOptions{}))
			k.do(c, "WRITE")
			c = k.tab.NewCommit(k.s)
			c.Remove(k.files()[len(k.files())-1])
			k.do(c, "DELETE")
		}, cdf: [][2]int64{{0, 6}, {2, 2}, {4, 6}}},
		{name: "feed-of-a-removed-file-with-vector", sc: ntzSchema(), conf: withDVs(delta.PropEnableCDF, "true"), fill: func(k *kit) {
			k.add(10).del(3, 1, 1)
			k.do(removed(k, 1), "DELETE")
		}, cdf: [][2]int64{{1, 3}}, wrongFeed: []string{"delta-rs"}},
		{name: "feed-partitioned", sc: sc(), parts: []string{"p"}, conf: withDVs(delta.PropEnableCDF, "true"), fill: func(k *kit) {
			k.add(10, 0)
			update(k)
			k.add(5, 1, 5).checkpoint(delta.CheckpointV1)
			k.del(3, 1, 1)
			_, err := optimize.Run(k.ctx, k.tab, optimize.Options{})
			k.must(err)
			k.s = k.tab.Cached()
			k.add(1, 2)
		}, cdf: [][2]int64{{0, 4}, {1, 2}}},
	}
}

func upkeepTables() []table {
	fill := func(k *kit) {
		k.plain = true
		for i := range 6 {
			k.add(10, i%3)
		}
		k.del(4, 1, 2)
	}
	sc := func() schema.Schema {
		s := ntzSchema()
		s.Fields = append(s.Fields, col("p", of(schema.String)))
		return s
	}
	later := func() time.Time { return time.Now().Add(30 * 24 * time.Hour) }
	return []table{
		{name: "optimized", sc: sc(), parts: []string{"p"}, conf: withDVs(), all: true, fill: func(k *kit) {
			fill(k)
			r, err := optimize.Run(k.ctx, k.tab, optimize.Options{})
			k.must(err)
			if r.Bins == 0 {
				k.Fatal("optimize did nothing")
			}
			k.s = k.tab.Cached()
			k.add(3, 1).del(5, 2, 1)
		}},
		{name: "purged", sc: sc(), parts: []string{"p"}, conf: withDVs(), all: true, fill: func(k *kit) {
			fill(k)
			r, err := optimize.Purge(k.ctx, k.tab, optimize.Options{})
			k.must(err)
			if r.RowsPurged == 0 {
				k.Fatal("purge did nothing")
			}
			k.s = k.tab.Cached()
		}},
		{name: "vacuumed", sc: sc(), parts: []string{"p"}, conf: withDVs(), fill: func(k *kit) {
			fill(k)
			_, err := optimize.Run(k.ctx, k.tab, optimize.Options{})
			k.must(err)
			k.s = k.tab.Cached()
			k.del(3, 0, 1)
			o := vacuum.Options{Now: later}
			plan, err := vacuum.Make(k.ctx, k.s, o)
			k.must(err)
			r, err := vacuum.Execute(k.ctx, k.tab, plan, o)
			k.must(err)
			if r.Deleted == 0 {
				k.Fatal("vacuum deleted nothing")
			}
		}},
		{name: "cleaned-log", sc: sc(), parts: []string{"p"}, conf: withDVs(), fill: func(k *kit) {
			fill(k)
			k.checkpoint(delta.CheckpointV1).add(2, 1)
			plan, err := k.tab.PlanCleanup(k.ctx, k.s, time.Now().Add(60*24*time.Hour))
			k.must(err)
			n, err := k.tab.Cleanup(k.ctx, plan)
			k.must(err)
			if n == 0 {
				k.Fatal("nothing was cleaned up")
			}
		}},
		{name: "replaced", sc: sc(), parts: []string{"p"}, conf: withDVs(), all: true, fill: func(k *kit) {
			fill(k)
			c := k.tab.NewCommit(k.s)
			for _, a := range k.files() {
				c.Remove(a)
			}
			c.Append(k.write(7, 1, rows.WriteOptions{}))
			k.do(c, "WRITE")
		}},
	}
}
