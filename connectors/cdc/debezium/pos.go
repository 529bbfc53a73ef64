package debezium

import (
	"strconv"
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
	"sluice.io/sluice/connectors/cdc/internal/pos"
)

// lineageCache keeps the last lineage made of a server and a name, so that events share one text.
type lineageCache struct {
	server, base string
	made         connectors.Lineage
}

func (l *lineageCache) get(prefix, server, base string) connectors.Lineage {
	if l.made == "" || l.server != server || l.base != base {
		l.server, l.base = strings.Clone(server), strings.Clone(base)
		l.made = connectors.Lineage(prefix + l.server)
		if base != "" {
			l.made += connectors.Lineage("/" + l.base)
		}
	}
	return l.made
}

func subOrder(op connectors.Op) byte {
	switch op {
	case connectors.Delete:
		return pos.SubDelete
	case connectors.Truncate:
		return pos.SubTruncate
	case connectors.Read:
		return pos.SubRead
	}
	return pos.SubUpsert
}

func badPosition(format string, args ...any) error {
	return connectors.Poison(connectors.ClassBadPosition, format, args...)
}

// position fills Position, PosQuality and Lineage from the source block. Layouts, each followed by total_order u64 and
// sub u8:
//
//	MySQL       file number u64, pos u64, row u32
//	MariaDB     GTID sequence u64, file number u64, pos u64, row u32
//	PostgreSQL  last commit LSN u64, LSN u64
//	SQL Server  commit LSN 10 bytes (inside a commit total_order or the offset decide; change_lsn is no order)
//	Oracle      commit SCN 16 bytes, txSeq u64, SCN 16 bytes, rs_id 10 bytes
//	            XStream: SCN 16 bytes, length of the LCR position u16, LCR position
//	others      none
func (d *Decoder) position(c *connectors.Change, e engine) error {
	var buf [96]byte
	b := buf[:0]
	var err error
	quality := connectors.Exact
	switch e {
	case engineMySQL, engineMariaDB:
		b, quality, err = d.binlogPosition(b, c, e)
	case enginePostgres:
		b, err = d.postgresPosition(b)
		if c.Key.IsZero() && c.Tx().TotalOrder == 0 { // rows of one COPY share their LSN
			quality = connectors.TieMayHappen
		}
	case engineSQLServer:
		lsn := d.s.text[srcCommitLSN]
		if lsn == "" {
			break
		}
		var ok bool
		if b, ok = pos.LSN(b, lsn); !ok {
			return badPosition("source.commit_lsn is %q", lsn)
		}
		if t := d.s.text[srcChangeLSN]; t != "" {
			if _, ok = pos.LSN(nil, t); !ok {
				return badPosition("source.change_lsn is %q", t)
			}
		}
		if _, ok = integer(d.s.text[srcSerial]); !ok {
			return badPosition("source.event_serial_no is %q", d.s.text[srcSerial])
		}
		if c.Tx().TotalOrder == 0 && c.Snapshot == connectors.NotSnapshot {
			quality = connectors.TieMayHappen
		}
		c.Lineage = d.lineages.get("sqlserver/", c.Source.DB, "")
	case engineOracle:
		b, quality, err = d.oraclePosition(b, c)
	}
	if err != nil {
		return err
	}
	if c.Key.IsZero() && c.Snapshot != connectors.NotSnapshot { // all rows of a snapshot have its position
		quality = connectors.TieMayHappen
	}
	if len(b) == 0 { // absent: below every position
		c.PosQuality, c.Position = connectors.OffsetOnly, ""
		return nil
	}
	b = pos.U64(b, uint64(c.Tx().TotalOrder))
	sub := subOrder(c.Op)
	if quality == connectors.TieMayHappen {
		sub = pos.SubRead // equal for all, so that the offset decides
	}
	b = append(b, sub)
	c.PosQuality, c.Position = quality, connectors.Position(d.r.Keep(b))
	return nil
}

func (d *Decoder) binlogPosition(b []byte, c *connectors.Change, e engine) ([]byte, connectors.PosQuality, error) {
	t := &d.s.text
	file := d.str(srcFile)
	if file == "" && t[srcPos] == "" {
		return b, connectors.OffsetOnly, nil
	}
	base, n, ok := pos.Binlog(file)
	if !ok {
		return b, 0, badPosition("source.file %q has no number", file)
	}
	at, ok1 := integer(t[srcPos])
	row, ok2 := integer(t[srcRow])
	if !ok1 || !ok2 || t[srcPos] == "" || at < 0 || row < 0 || row > 1<<32-1 {
		return b, 0, badPosition("source.pos is %q, source.row is %q", t[srcPos], t[srcRow])
	}
	server := t[srcServerID]
	quality := connectors.Exact
	if e == engineMariaDB {
		var seq uint64
		if gtid := t[srcGTID]; gtid != "" { // domain-server-sequence
			domain, rest, ok1 := strings.Cut(gtid, "-")
			_, num, ok2 := strings.Cut(rest, "-")
			v, err := strconv.ParseUint(num, 10, 64)
			if !ok1 || !ok2 || err != nil {
				return b, 0, badPosition("source.gtid is %q", gtid)
			}
			seq = v
			c.Lineage = d.lineages.get("mariadb/", domain, "")
		}
		b = pos.U64(b, seq)
	} else {
		if server != "" && server != "0" {
			c.Lineage = d.lineages.get("mysql/", server, base)
		}
		// With binlog_transaction_compression all rows of a transaction share pos, and row starts anew (1.10.1).
		if c.Tx().TotalOrder == 0 && c.Snapshot == connectors.NotSnapshot && c.Op != connectors.Truncate {
			quality = connectors.TieMayHappen
		}
	}
	b = pos.U64(pos.U64(b, n), uint64(at))
	return pos.U32(b, uint32(row)), quality, nil
}

func (d *Decoder) postgresPosition(b []byte) ([]byte, error) {
	t := &d.s.text
	var first, second uint64
	var ok1, ok2 bool
	if seq := t[srcSequence]; seq != "" {
		var valid bool
		if first, second, ok1, ok2, valid = pos.Pair(seq); !valid {
			return b, badPosition("source.sequence is %q", seq)
		}
	}
	if !ok2 && t[srcLSN] != "" {
		if second, ok2 = pos.Unsigned(t[srcLSN]); !ok2 {
			return b, badPosition("source.lsn is %q", t[srcLSN])
		}
	}
	if !ok2 {
		if !ok1 {
			return b, nil
		}
		second = first
	}
	if !ok1 {
		first = second
	}
	return pos.U64(pos.U64(b, first), second), nil
}

func (d *Decoder) oraclePosition(b []byte, c *connectors.Change) ([]byte, connectors.PosQuality, error) {
	t := &d.s.text
	scn, commit := t[srcSCN], t[srcCommitSCN]
	if scn == "" && !d.s.isString(srcSCN) && commit == "" && t[srcLCR] == "" {
		return b, connectors.OffsetOnly, nil
	}
	var ok bool
	if lcr := t[srcLCR]; lcr != "" { // XStream: the change's SCN rises per key, inside it the LCR position orders
		if b, ok = pos.Big(b, scn); !ok {
			return b, 0, badPosition("source.scn is %q", scn)
		}
		if len(lcr) > 96 {
			return b, 0, badPosition("source.lcr_position is %q", lcr)
		}
		b = append(b, 0, byte(len(lcr)/2))
		if b, ok = pos.Hex(b, lcr); !ok {
			return b, 0, badPosition("source.lcr_position is %q", lcr)
		}
		c.Lineage = "oracle/xstream"
		return b, connectors.Exact, nil
	}
	if commit == "" && !d.s.isString(srcCommitSCN) { // snapshots and some truncates have none
		commit = scn
	}
	if b, ok = pos.Big(b, commit); !ok {
		return b, 0, badPosition("source.commit_scn is %q", commit)
	}
	seq, ok := integer(t[srcTxSeq])
	if !ok || seq < 0 {
		return b, 0, badPosition("source.txSeq is %q", t[srcTxSeq])
	}
	b = pos.U64(b, uint64(seq))
	if b, ok = pos.Big(b, scn); !ok {
		return b, 0, badPosition("source.scn is %q", scn)
	}
	quality := connectors.Exact
	if t[srcTxSeq] == "" && c.Snapshot == connectors.NotSnapshot && c.Op != connectors.Truncate { // before 3.2: array DML shares scn and rs_id
		quality = connectors.TieMayHappen
		b = appendRSID(b, d.str(srcRSID))
	} else {
		b = append(b, make([]byte, 10)...)
	}
	if c.Snapshot == connectors.NotSnapshot {
		c.Lineage = "oracle/logminer"
	}
	return b, quality, nil
}

// appendRSID appends 0x0000f4.00012a3c.0010 as 10 bytes, zeros where it is absent or of another form.
func appendRSID(b []byte, t string) []byte {
	t = strings.TrimPrefix(strings.TrimSpace(t), "0x")
	var out [10]byte
	at := 0
	for i, width := range [...]int{4, 4, 2} {
		part, rest, _ := strings.Cut(t, ".")
		t = rest
		n, err := strconv.ParseUint(strings.TrimSpace(part), 16, width*8)
		if err != nil {
			return append(b, make([]byte, 10)...)
		}
		for k := width - 1; k >= 0; k-- {
			out[at+k] = byte(n)
			n >>= 8
		}
		at += [...]int{4, 4, 2}[i]
	}
	return append(b, out[:]...)
}

// transaction reads the transaction block.
func (d *Decoder) transaction(text string, e engine) (*connectors.Tx, error) {
	if len(d.txs) == 0 {
		d.txs = make([]connectors.Tx, 64)
	}
	tx := &d.txs[0]
	d.txs = d.txs[1:]
	if text[0] != '{' {
		return tx, connectors.Poison(connectors.ClassMalformed, "transaction is not an object")
	}
	i, more := js.Open(text, 0, '}')
	for k := 0; more; k++ {
		id, at := d.tx.Read(text, i, k)
		if at < 0 {
			d.r.Malformed(text, i)
			return tx, d.r.Err
		}
		if i = js.Skip(text, at); i < 0 {
			d.r.Malformed(text, at)
			return tx, d.r.Err
		}
		v, ok := text[at:i], true
		if v != "null" {
			switch id {
			case 1:
				if v[0] == '"' {
					tx.ID, _, _ = d.r.Str(v, 0)
				}
			case 2:
				tx.TotalOrder, ok = integer(v)
			case 3:
				tx.CollectionOrder, ok = integer(v)
			}
		}
		if !ok || tx.TotalOrder < 0 {
			return tx, badPosition("transaction has %s", v)
		}
		at = i
		if i, more = js.Next(text, i, '}'); i < 0 {
			d.r.Malformed(text, at)
			return tx, d.r.Err
		}
	}
	tx.Group = txGroup(tx.ID, e)
	return tx, nil
}

// txGroup gives the part of a transaction id that is equal over the transaction: PostgreSQL's is txId:lsn, and each
// event has its own lsn.
func txGroup(id string, e engine) string {
	if e != enginePostgres && e != engineOther {
		return id
	}
	head, tail, ok := strings.Cut(id, ":")
	if ok && digitsOnly(head) && digitsOnly(tail) {
		return head
	}
	return id
}

func digitsOnly(s string) bool {
	for i := range len(s) {
		if s[i]-'0' > 9 {
			return false
		}
	}
	return s != ""
}
