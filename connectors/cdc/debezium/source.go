package debezium

import (
	"slices"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// Members of source blocks that mean something here; others are left aside.
const (
	srcOther = iota
	srcVersion
	srcConnector
	srcName
	srcTsMs
	srcSnapshot
	srcDB
	srcSequence
	srcTsUs
	srcTsNs
	srcSchema
	srcTable
	srcCollection
	srcServerID
	srcGTID
	srcFile
	srcPos
	srcRow
	srcLSN
	srcChangeLSN
	srcCommitLSN
	srcSerial
	srcSCN
	srcCommitSCN
	srcLCR
	srcRSID
	srcTxSeq
	srcCount
)

var sourceNames = []string{"version", "connector", "name", "ts_ms", "snapshot", "db", "sequence", "ts_us", "ts_ns", "schema", "table",
	"collection", "server_id", "gtid", "file", "pos", "row", "lsn", "change_lsn", "commit_lsn", "event_serial_no", "scn", "commit_scn",
	"lcr_position", "rs_id", "txSeq"}

// sourceBlock is the source member of one event: texts of its values, empty where absent or null; texts of strings
// without their quotes and with their escapes.
type sourceBlock struct {
	text    [srcCount]string
	strings uint32 // members that are strings
	escaped uint32 // strings with escapes
}

// identity are the members that say which table a change is of: those that source looks at.
const identity = 1<<srcVersion | 1<<srcConnector | 1<<srcName | 1<<srcDB | 1<<srcSchema | 1<<srcTable | 1<<srcCollection

// steady are the members that are mostly what they were in the event before.
const steady = identity | 1<<srcSnapshot | 1<<srcFile

// lastMember is a steady member as it was in the event before: "name":"value", with the comma behind it.
type lastMember struct {
	text    []byte
	at, end int // of the value in text
	id      uint8
	escaped bool
}

// engine is the kind of source, as far as positions and images differ.
type engine uint8

const (
	engineOther engine = iota
	engineMySQL
	engineMariaDB
	enginePostgres
	engineSQLServer
	engineOracle
	engineMongo
)

var engines = map[string]engine{"mysql": engineMySQL, "mariadb": engineMariaDB, "postgresql": enginePostgres,
	"sqlserver": engineSQLServer, "oracle": engineOracle, "mongodb": engineMongo}

// placeholders tells whether events of the engine may hold the placeholder for unavailable values.
func (e engine) placeholders() bool {
	return e == enginePostgres || e == engineSQLServer || e == engineOracle || e == engineOther
}

// source is a Source that was seen.
type source struct {
	connectors.Source
	engine engine
	signal bool
}

const maxSources = 4096

// readSource reads the source block at i.
func (d *Decoder) readSource(s string, i int) int {
	b, before, moved := &d.s, d.s.strings&identity, d.moved
	d.moved = true // unless it is read to the end
	*b = sourceBlock{}
	i, more := js.Open(s, i, '}')
	for k := 0; more; k++ {
		if k < len(d.last) {
			if l := &d.last[k]; len(l.text) > 0 && len(s)-i > len(l.text) && s[i:i+len(l.text)] == js.Text(l.text) {
				b.text[l.id] = s[i+l.at : i+l.end]
				b.strings |= 1 << l.id
				if l.escaped {
					b.escaped |= 1 << l.id
				}
				i += len(l.text)
				if s[i] <= ' ' {
					i = js.Space(s, i)
				}
				continue
			}
		}
		from := i
		id, at := d.src.Read(s, i, k)
		if at < 0 || at >= len(s) {
			return d.r.Malformed(s, i)
		}
		bit := uint32(1) << id
		switch c := s[at]; {
		case c == '"':
			end, escaped := js.String(s, at)
			if end < 0 {
				return d.r.Malformed(s, at)
			}
			b.text[id] = s[at+1 : end-1]
			b.strings |= bit
			b.escaped &^= bit
			if escaped {
				b.escaped |= bit
			}
			i = end
		default:
			if i = js.Skip(s, at); i < 0 {
				return d.r.Malformed(s, at)
			}
			b.strings &^= bit
			b.escaped &^= bit
			b.text[id] = s[at:i]
			if c == 'n' {
				b.text[id] = ""
			}
		}
		at = i
		if i, more = js.Next(s, i, '}'); i < 0 {
			return d.r.Malformed(s, at)
		}
		moved = moved || bit&identity != 0
		d.remember(k, id, s[from:at], more)
	}
	d.moved = moved || b.strings&identity != before
	return i
}

// remember keeps the k-th member of a source block, with the comma behind it, to be compared with the next event's.
func (d *Decoder) remember(k int, id uint8, member string, more bool) {
	if k >= 64 {
		return
	}
	for len(d.last) <= k {
		d.last = append(d.last, lastMember{})
	}
	l := &d.last[k]
	l.text = l.text[:0]
	if !more || steady&(1<<id) == 0 || d.s.strings&(1<<id) == 0 || d.s.text[id] == "" || len(member) > 512 {
		return
	}
	l.text = append(append(l.text, member...), ',')
	l.end = len(member) - 1
	l.at = l.end - len(d.s.text[id])
	l.id, l.escaped = id, d.s.escaped&(1<<id) != 0
}

func (b *sourceBlock) isString(id int) bool { return b.strings&(1<<id) != 0 }

// str gives a member's text without escapes.
func (d *Decoder) str(id int) string {
	if d.s.escaped&(1<<id) == 0 {
		return d.s.text[id]
	}
	t, _ := d.r.Unescape(d.s.text[id])
	return t
}

// source gives the shared Source of the block that was read.
func (d *Decoder) source() (*source, error) {
	if d.lastSource != nil && !d.moved {
		return d.lastSource, nil
	}
	if !d.s.isString(srcConnector) || d.s.text[srcConnector] == "" {
		return nil, connectors.Poison(connectors.ClassIncomplete, "source.connector is missing")
	}
	table := srcTable
	if d.s.text[srcTable] == "" && d.s.text[srcCollection] != "" {
		table = srcCollection
	}
	version, conn, name := d.str(srcVersion), d.str(srcConnector), d.str(srcName)
	db, sch, tab := d.str(srcDB), d.str(srcSchema), d.str(table)
	if l := d.lastSource; l != nil && l.Table == tab && l.Schema == sch && l.DB == db && l.Name == name && l.Connector == conn && l.Version == version {
		d.moved = false
		return l, nil
	}
	key := d.scratch[:0]
	for _, t := range [...]string{version, conn, name, db, sch, tab} {
		key = strconv.AppendInt(key, int64(len(t)), 10)
		key = append(key, ':')
		key = append(key, t...)
	}
	d.scratch = key
	l, ok := d.sources[string(key)]
	if !ok {
		if len(d.sources) >= maxSources {
			clear(d.sources)
		}
		c := strings.Clone
		l = &source{Source: connectors.Source{Connector: c(conn), Version: c(version), Name: c(name), DB: c(db), Schema: c(sch), Table: c(tab)}}
		l.engine = engines[strings.ToLower(conn)]
		l.signal = slices.Contains(d.signals, tab)
		d.sources[string(key)] = l
	}
	d.lastSource, d.moved = l, false
	return l, nil
}

// snapshotKind reads source.snapshot: text, boolean or null, by version and converter.
func (d *Decoder) snapshotKind() connectors.SnapshotKind {
	switch t := d.s.text[srcSnapshot]; t {
	case "", "false":
		return connectors.NotSnapshot
	case "true":
		return connectors.SnapshotTrue
	default:
		switch strings.ToLower(t) {
		case "false":
			return connectors.NotSnapshot
		case "first":
			return connectors.SnapshotFirst
		case "first_in_data_collection":
			return connectors.SnapshotFirstInCollection
		case "last_in_data_collection":
			return connectors.SnapshotLastInCollection
		case "last":
			return connectors.SnapshotLast
		case "incremental":
			return connectors.SnapshotIncremental
		}
		return connectors.SnapshotTrue
	}
}

// sourceTime gives the database's time in ns and the digits below the second that it has.
func (d *Decoder) sourceTime(e engine) (ns int64, digits int8, ok bool) {
	most := int8(9)
	switch {
	case d.s.text[srcTsNs] != "":
		ns, ok = integer(d.s.text[srcTsNs])
	case d.s.text[srcTsUs] != "":
		ns, ok = integer(d.s.text[srcTsUs])
		ns, most = times(ns, 1000), 6
	default:
		ns, ok = integer(d.s.text[srcTsMs])
		ns, most = times(ns, 1000000), 3
	}
	switch e {
	case enginePostgres, engineMySQL, engineMariaDB:
		digits = min(6, most)
	case engineSQLServer, engineOracle, engineMongo:
		digits = min(3, most)
	default:
		digits = most
	}
	if e != enginePostgres && ns%1000000000 == 0 { // binary logs and SCNs know whole seconds
		digits = 0
	}
	return ns, digits, ok
}
