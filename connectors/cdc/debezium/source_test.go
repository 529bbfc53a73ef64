package debezium

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc"
)

// A decoder compares a source block with that of the event before. What it has seen must not show in what it says.
func TestSourceAfterAnyOther(t *testing.T) {
	str := func(of ...string) *rapid.Generator[string] { return rapid.SampledFrom(of) }
	members := map[string]*rapid.Generator[string]{
		"version": str(`"3.0"`, `"2.7"`), "connector": str(`"postgresql"`, `"mysql"`, `"mysql"`, `null`, `7`), "name": str(`"a"`, `"b\u0063"`, `"b\\"`, `""`),
		"db": str(`"d"`, `null`, `5`, `"x,\"y"`), "schema": str(`"s"`, `null`), "table": str(`"t"`, `"u"`, `null`, `"v"`), "collection": str(`"t"`, `"c"`),
		"snapshot": str(`"false"`, `false`, `"true"`, `null`, `"last"`), "ts_ms": str(`1`, `1700000000000`, `null`), "lsn": str(`10`, `11`, `null`),
		"sequence": str(`"[\"9\",\"10\"]"`, `null`), "file": str(`"bin.000001"`, `"bin.000002"`), "pos": str(`4`, `5`), "row": str(`0`), "server_id": str(`1`),
		"other": str(`"o"`, `{"a":[1]}`),
	}
	names := make([]string, 0, len(members))
	for _, n := range sourceNames {
		if members[n] != nil {
			names = append(names, n)
		}
	}
	names = append(names, "other")
	block := rapid.Custom(func(t *rapid.T) string {
		order := names
		if rapid.IntRange(0, 3).Draw(t, "shuffled") == 0 {
			order = rapid.Permutation(names).Draw(t, "order")
		}
		sep := rapid.SampledFrom([]string{",", ",", ",", ", ", " ,"}).Draw(t, "separator")
		var ms []string
		for _, n := range order {
			if rapid.IntRange(0, 9).Draw(t, "left out") > 0 {
				ms = append(ms, fmt.Sprintf("%q:%s", n, members[n].Draw(t, n)))
			}
		}
		end := rapid.SampledFrom([]string{"}", "}", "}", "}", ",}", "", ",", " }"}).Draw(t, "end")
		return "{" + strings.Join(ms, sep) + end
	})
	open := func(t *rapid.T) connectors.Decoder {
		d, err := New(cdc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	rapid.Check(t, func(t *rapid.T) {
		all := open(t)
		for i, src := range rapid.SliceOfN(block, 1, 12).Draw(t, "sources") {
			rec := &connectors.Record{Topic: "t", Offset: int64(i), Key: []byte(`{"id":1}`),
				Value: fmt.Appendf(nil, `{"before":null,"after":{"id":1,"v":2},"source":%s,"op":"u","ts_ms":5}`, src)}
			got, err := all.Decode(nil, rec)
			want, wantErr := open(t).Decode(nil, rec)
			if fmt.Sprint(err) != fmt.Sprint(wantErr) {
				t.Fatalf("%s\nsays %v, alone %v", src, err, wantErr)
			}
			if err == nil {
				if diff := difference(&got[0], &want[0]); diff != "" {
					t.Fatalf("%s\nanother %s than alone: %+v %+v", src, diff, got[0], want[0])
				}
			}
		}
	})
}
