package debezium

import (
	"strconv"

	"sluice.io/sluice/connectors"
)

// Rebuild implements connectors.Rebuilder: it writes the value of a change whose Raw is Complete. The members' texts
// are those sent; their order, white space and the precision of the capture time may differ.
func (d *Decoder) Rebuild(dst []byte, opText string, captureTsNs int64, raw connectors.Raw) []byte {
	if opText == "tombstone" {
		return append(dst, "null"...)
	}
	if raw.Schema != "" {
		dst = append(dst, `{"schema":`...)
		dst = append(dst, raw.Schema...)
		dst = append(dst, `,"payload":`...)
	}
	dst = member(append(dst, '{'), "before", raw.Before)
	dst = member(append(dst, ','), "after", raw.After)
	dst = member(append(dst, ','), "source", raw.Source)
	dst = member(append(dst, ','), "transaction", raw.Transaction)
	dst = append(dst, `,"op":"`...)
	dst = append(dst, opText...)
	dst = append(dst, '"')
	if captureTsNs != 0 {
		dst = append(dst, `,"ts_ms":`...)
		dst = strconv.AppendInt(dst, captureTsNs/1000000, 10)
		dst = append(dst, `,"ts_us":`...)
		dst = strconv.AppendInt(dst, captureTsNs/1000, 10)
		dst = append(dst, `,"ts_ns":`...)
		dst = strconv.AppendInt(dst, captureTsNs, 10)
	}
	dst = append(dst, '}')
	if raw.Schema != "" {
		dst = append(dst, '}')
	}
	return dst
}

func member(dst []byte, name, text string) []byte {
	dst = append(dst, '"')
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	if text == "" {
		return append(dst, "null"...)
	}
	return append(dst, text...)
}
