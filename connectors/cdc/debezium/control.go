package debezium

import (
	"strings"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

const heartbeatPrefix = "__debezium-heartbeat"

// control reads the events that change no row (1.8): known by the schema's name, else by their members and topic.
func (d *Decoder) control(c *connectors.Change, rec *connectors.Record, sch *compiled) error {
	e := &d.e
	c.Kind, c.OpText = connectors.Control, "control"
	name := ""
	if sch != nil {
		name = sch.root.Name
	}
	onlyTime := e.members == 1 && e.text[envTsMs] != ""
	switch {
	case strings.HasSuffix(name, ".Heartbeat"), onlyTime && strings.HasPrefix(rec.Topic, heartbeatPrefix), onlyTime && serverKey(rec):
		c.ControlKind = connectors.Heartbeat
	case strings.HasSuffix(name, ".TransactionMetadataValue"), isTxStatus(e.text[envStatus]) && e.has(envID) && e.only(envStatus, envID, envEventCount, envDataCollections, envTsMs):
		if !isTxStatus(e.text[envStatus]) {
			return connectors.Poison(connectors.ClassUnknown, "a transaction's status is %s", e.text[envStatus])
		}
		c.ControlKind = connectors.TxBegin
		if e.text[envStatus] == `"END"` {
			c.ControlKind = connectors.TxEnd
		}
		if id := e.text[envID]; id != "" && id[0] == '"' {
			text, _, _ := d.r.Str(id, 0)
			c.SetTx(&connectors.Tx{ID: text, Group: txGroup(text, engineOther)})
		}
	case strings.HasSuffix(name, ".SchemaChangeValue"), e.has(envSource) && e.has(envDatabaseName) && (e.has(envTableChanges) || e.has(envDDL)):
		c.ControlKind = connectors.SchemaChange
	case strings.HasSuffix(name, ".Notification"), e.has(envID) && e.has(envAggregateType) && e.has(envType) &&
		e.only(envID, envAggregateType, envType, envAdditionalData, envTimestamp):
		c.ControlKind = connectors.Notification
	case strings.HasSuffix(name, ".MessageValue") && e.has(envMessage):
		c.ControlKind = connectors.LogicalMessage
	case e.has(envOp):
		return connectors.Poison(connectors.ClassIncomplete, "source is missing")
	case e.has(envSource) && (e.has(envAfter) || e.has(envBefore)):
		return connectors.Poison(connectors.ClassIncomplete, "op is missing")
	default:
		return connectors.Poison(connectors.ClassUnknown, "not a Debezium event: no op, no source, and no control event that is known")
	}
	var ok bool
	if c.CaptureTsNs, _, ok = e.captureTime(); !ok {
		return connectors.Poison(connectors.ClassBadValue, "ts_ms is not an integer")
	}
	if t := e.text[envSource]; t != "" && t[0] == '{' {
		src, err := d.source()
		if err != nil {
			return err
		}
		c.Source = &src.Source
		c.Snapshot = d.snapshotKind()
		if c.SourceTsNs, c.SourceTsDigits, ok = d.sourceTime(src.engine); !ok {
			return connectors.Poison(connectors.ClassBadValue, "source.ts_ms is not an integer")
		}
		if err := d.position(c, src.engine); err != nil {
			return err
		}
		c.Raw.Source = t
	}
	return nil
}

func isTxStatus(t string) bool { return t == `"BEGIN"` || t == `"END"` }

func serverKey(rec *connectors.Record) bool {
	return strings.Contains(js.Text(rec.Key), `"serverName"`)
}
