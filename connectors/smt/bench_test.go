package smt

import (
	"testing"

	"sluice.io/sluice/connectors"
)

// BenchmarkApply measures what a chain costs per change: transforms, filter and mask.
func BenchmarkApply(b *testing.B) {
	for name, config := range map[string]map[string]string{
		"replace": {"transforms": "a", "transforms.a.type": pkg + "ReplaceField$Value", "transforms.a.exclude": "pin"},
		"filter":  {"silver.filter": "after.id > 5 && after.name == 'Ann'"},
		"mask":    {"silver.columns.mask": "name", "silver.columns.mask.salt": "pepper"},
	} {
		ch, err := New(config)
		if err != nil {
			b.Fatal(err)
		}
		c := change()
		c.Op = connectors.Update
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for range b.N {
				x := *c
				if keep, err := ch.Apply(&x); !keep || err != nil {
					b.Fatal(keep, err)
				}
			}
		})
	}
}

func BenchmarkNewFilter(b *testing.B) {
	for range b.N {
		if _, err := New(map[string]string{"silver.filter": "after.id > 5 && after.name == 'Ann'"}); err != nil {
			b.Fatal(err)
		}
	}
}
