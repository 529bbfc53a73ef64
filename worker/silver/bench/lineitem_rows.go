package bench

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/schema"
)

// Row n of lineitem is line n%4+1 of order n/4; its other columns follow from n and how often it was written. Orders have numbers with
// gaps, eight of each 32, as in TPC-H.
const linesOfOrder = 4

var (
	lineShape = &connectors.Shape{
		Names: []string{"l_orderkey", "l_linenumber", "l_partkey", "l_suppkey", "l_quantity", "l_extendedprice", "l_discount", "l_tax", "l_returnflag",
			"l_linestatus", "l_shipdate", "l_commitdate", "l_receiptdate", "l_shipinstruct", "l_shipmode", "l_comment"},
		Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.Integer), schema.Of(schema.Long), schema.Of(schema.Long), schema.DecimalOf(15, 2),
			schema.DecimalOf(15, 2), schema.DecimalOf(15, 2), schema.DecimalOf(15, 2), schema.Of(schema.String), schema.Of(schema.String),
			schema.Of(schema.Date), schema.Of(schema.Date), schema.Of(schema.Date), schema.Of(schema.String), schema.Of(schema.String), schema.Of(schema.String)},
	}
	lineKey    = &connectors.Shape{Names: lineShape.Names[:2], Types: lineShape.Types[:2]}
	lineSource = &connectors.Source{Connector: "postgresql", Name: "tpch", DB: "tpch", Schema: "public", Table: "lineitem"}

	lineFlags    = []string{"A", "N", "R"}
	lineStatus   = []string{"F", "O"}
	lineInstruct = []string{"COLLECT COD", "DELIVER IN PERSON", "NONE", "TAKE BACK RETURN"}
	lineModes    = []string{"AIR", "FOB", "MAIL", "RAIL", "REG AIR", "SHIP", "TRUCK"}
	lineWords    = []string{"furiously ", "carefully ", "ironic ", "regular ", "final ", "special ", "deposits ", "packages ", "requests ", "accounts ",
		"sleep ", "nag ", "haggle ", "among ", "across ", "the "}
)

// line is a row of lineitem, apart from its texts.
type line struct {
	order, part, supp        int64
	number                   int32
	quantity                 int64 // whole pieces
	price                    int64 // cents
	discount, tax            int64 // percent
	flag, status, how, mode  uint8
	shipped, committed, came int32 // days since 1970
	comment                  uint64
}

// lineOf gives row n as its write-th write (0: as loaded) left it.
func lineOf(n int64, write int) line {
	hi, lo := bits.Mul64(uint64(n)*0x9E3779B97F4A7C15+uint64(write)*0xD1B54A32D192ED03+1, 0xA0761D6478BD642F)
	x := hi ^ lo
	hi, lo = bits.Mul64(x^0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3)
	y := hi ^ lo
	o := n / linesOfOrder
	l := line{order: o/8*32 + o%8 + 1, number: int32(n%linesOfOrder) + 1, part: int64(x % 2_000_000), supp: int64(x >> 40 % 100_000),
		quantity: int64(x>>33%50) + 1, discount: int64(x >> 21 % 11), tax: int64(x >> 25 % 9), flag: uint8(y % 3), status: uint8(y >> 8 & 1),
		how: uint8(y >> 9 & 3), mode: uint8(y >> 11 % 7), shipped: 8036 + int32(y>>16%2526), comment: y >> 14}
	l.price = l.quantity * (90_000 + l.part%110_001)
	l.committed, l.came = l.shipped+int32(y>>40%61)-30, l.shipped+int32(y>>46%30)+1
	return l
}

// appendComment appends the row's comment: two to five words, and a piece of one, about 27 bytes.
func (l *line) appendComment(dst []byte) []byte {
	c := l.comment
	for range c%4 + 2 {
		c >>= 4
		dst = append(dst, lineWords[c&15]...)
	}
	return strconv.AppendUint(dst, c>>8&0xfff, 36)
}

// linePosition is the place of the n-th event in the source's log, as the PostgreSQL connector tells it.
func linePosition(dst []byte, n int64) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(34359738368+n/4*96))
	dst = binary.BigEndian.AppendUint64(dst, uint64(34359738368+n*64))
	dst = binary.BigEndian.AppendUint64(dst, 0)
	return append(dst, 2)
}

const lineTopic = "tpch.public.lineitem"

// cents gives a decimal of scale 2.
func cents(n int64) connectors.Value {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(n))
	return connectors.Dec(string(b[3:]), 2) // all are below 2^39
}

// lineChange makes the event that writes row n: the event-th of the source.
func lineChange(event, n int64, write int) connectors.Change {
	l := lineOf(n, write)
	op := connectors.Update
	if write == 0 {
		op = connectors.Insert
	}
	k, line := connectors.Int(schema.Long, l.order), connectors.Int(schema.Integer, int64(l.number))
	day := func(d int32) connectors.Value { return connectors.Int(schema.Date, int64(d)) }
	return connectors.Change{Kind: connectors.RowChange, Op: op, Source: lineSource, PosQuality: connectors.Exact,
		Position:   connectors.Position(linePosition(make([]byte, 0, 25), event)),
		Record:     &connectors.Record{Topic: lineTopic, Partition: int32(l.order & 3), Offset: event, TimestampMs: started + event/1000},
		Key:        connectors.Row{Shape: lineKey, Values: []connectors.Value{k, line}},
		SourceTsNs: started*1e6 + event*1000,
		After: connectors.Row{Shape: lineShape, Values: []connectors.Value{k, line, connectors.Int(schema.Long, l.part), connectors.Int(schema.Long, l.supp),
			cents(l.quantity * 100), cents(l.price), cents(l.discount), cents(l.tax), connectors.Text(lineFlags[l.flag]), connectors.Text(lineStatus[l.status]),
			day(l.shipped), day(l.committed), day(l.came), connectors.Text(lineInstruct[l.how]), connectors.Text(lineModes[l.mode]),
			connectors.Text(string(l.appendComment(make([]byte, 0, 48))))}},
	}
}

// sums are what the rows of lineitem come to: enough that a row too much, too few or with an older image shows.
type sums struct {
	Rows, Order, Line, Part, Supp, Price, Shipped int64
}

func (s *sums) add(l *line, times int64) {
	s.Rows += times
	s.Order += times * l.order
	s.Line += times * int64(l.number)
	s.Part += times * l.part
	s.Supp += times * l.supp
	s.Price += times * l.price
	s.Shipped += times * int64(l.shipped)
}
