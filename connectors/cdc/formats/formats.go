// Package formats is the list of the change formats that Sluice reads. A new format is added here and nowhere else.
package formats

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
	"sluice.io/sluice/connectors/cdc/canal"
	"sluice.io/sluice/connectors/cdc/cloudevents"
	"sluice.io/sluice/connectors/cdc/debezium"
	"sluice.io/sluice/connectors/cdc/dms"
	"sluice.io/sluice/connectors/cdc/flat"
	"sluice.io/sluice/connectors/cdc/generic"
	"sluice.io/sluice/connectors/cdc/goldengate"
	"sluice.io/sluice/connectors/cdc/maxwell"
	"sluice.io/sluice/connectors/cdc/outbox"
)

// Default gives a registry with all formats, and "auto", which detects them.
func Default() *cdc.Registry {
	r := cdc.NewRegistry()
	all := []cdc.Format{
		debezium.Format(), flat.Format(), cloudevents.Format(), dms.Format(), goldengate.Format(), maxwell.Format(), canal.Format(),
		outbox.Format(), generic.Format(),
	}
	all = append(all, cdc.Format{
		Name: cdc.AutoName,
		Doc:  "Finds out the format of each record",
		New: func(o cdc.Options) (connectors.Decoder, error) {
			return cdc.NewAuto(r, debezium.Name, o)
		},
	})
	for _, f := range all {
		if err := r.Register(f); err != nil {
			panic(err) // two formats of this list have one name
		}
	}
	return r
}
