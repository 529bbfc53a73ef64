package worker

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/internal/testkit/broker"

	"github.com/twmb/franz-go/pkg/kgo"
)

// texts gives some columns of a table as text, one string for each row, counted.
func texts(t *testing.T, lake store.Bucket, path string, names ...string) map[string]int {
	t.Helper()
	ctx := context.Background()
	table, err := delta.Open(ctx, lake, path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := table.Snapshot(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int{}
	for b, err := range rows.Scan(ctx, s, rows.Options{Columns: names}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(b.Record.NumRows()) {
			row := ""
			for col, f := range b.Record.Schema().Fields() {
				typ, err := columnar.FromArrow(f.Type)
				if err != nil {
					t.Fatal(err)
				}
				v := columnar.ValueAt(b.Record.Column(col), typ, i)
				row += fmt.Sprintf("%s=%s%d ", f.Name, v.Str, v.Int)
			}
			out[row]++
		}
	}
	return out
}

// sale is an event of a row of shop.public.orders; a delete has no total.
func sale(op byte, id int, total string, lsn int) *kgo.Record {
	row := fmt.Sprintf(`{"id":%d,"total":%s,"card":"c%d","note":"n%d"}`, id, total, id, lsn)
	before, after := "null", row
	if op == 'd' {
		before, after = fmt.Sprintf(`{"id":%d,"total":0,"card":"","note":""}`, id), "null"
	}
	v := fmt.Sprintf(`{"before":%s,"after":%s,"source":{"version":"3.0","connector":"postgresql","name":"shop","ts_ms":1790000000000,"snapshot":"false",`+
		`"db":"d","sequence":"[\"%d\",\"%d\"]","schema":"public","table":"orders","txId":%d,"lsn":%d,"xmin":null},"transaction":null,"op":"%c","ts_ms":1790000000123}`,
		before, after, lsn, lsn, lsn, lsn, op)
	return broker.Rec(topic, 0, fmt.Sprintf(`{"id":%d}`, id), v)
}

const apache = "org.apache.kafka.connect.transforms."

// transforming is a connector with transforms, a filter and masks, whose table is silver/orders.
func transforming(extra ...string) ownership.Connector {
	return connector("c", append([]string{
		"transforms", "route,drop,stamp,skip", "predicates", "marked",
		"transforms.route.type", apache + "RegexRouter", "transforms.route.regex", `shop\.public\.(.*)`, "transforms.route.replacement", "$1",
		"transforms.drop.type", apache + "ReplaceField$Value", "transforms.drop.exclude", "note", "transforms.drop.renames", "total:amount",
		"transforms.stamp.type", apache + "InsertField$Value", "transforms.stamp.topic.field", "via",
		"transforms.skip.type", apache + "Filter", "transforms.skip.predicate", "marked",
		"predicates.marked.type", apache + "predicates.HasHeaderKey", "predicates.marked.name", "skip",
		"silver.columns.computed", "{'size': after.amount >= 100 ? 'large' : 'small', 'twice': double(after.amount) * 2.0}",
		"silver.filter", "after.amount >= 10 && table == 'orders' && after.twice >= 20.0",
		"silver.columns.mask", "card", "silver.columns.mask.salt", "pepper",
	}, extra...)...)
}

// sales are the records of the tests, in the order of one partition.
func sales() []*kgo.Record {
	skipped := sale('c', 8, "80", 108)
	skipped.Headers = []kgo.RecordHeader{{Key: "skip", Value: []byte("1")}}
	return []*kgo.Record{
		sale('c', 1, "10", 101), // stays
		sale('c', 2, "20", 102), // leaves
		sale('c', 3, "3", 103),  // comes
		sale('c', 4, "4", 104),  // never in
		sale('c', 5, "50", 105), // is deleted
		sale('u', 2, "2", 110),
		sale('u', 3, "30", 111),
		sale('d', 5, "", 112), broker.Rec(topic, 0, `{"id":5}`, ""),
		sale('d', 4, "", 113),
		skipped,
		sale('c', 9, `"many"`, 120), // refused
		sale('c', 10, "100", 121),
		sale('u', 6, "60", 130), sale('u', 6, "6", 129), // an older change that had left the filter does not delete
		sale('u', 7, "7", 132), sale('u', 7, "70", 131), // an older change does not bring back what has left
	}
}

// masked are the texts of masked ids, sorted.
func masked(ids ...string) string {
	for i, id := range ids {
		ids[i] = fmt.Sprintf("%x0", sha256.Sum256([]byte("pepper"+id)))
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// Transforms, filter and masks give the same rows whether silver is fed from memory or from bronze (D7), and bronze keeps what was sent (D6).
func TestTransformsAndFilterBothWays(t *testing.T) {
	for _, c := range []struct {
		name, task, path string
		set              []string
		ids              string
	}{
		{name: "hard", task: "silver/orders", path: "silver/orders", ids: "1 10 3 6"},
		{name: "cow", task: "silver/orders", path: "silver/orders", set: []string{"silver.merge.mode", "copy-on-write"}, ids: "1 10 3 6"},
		{name: "many", task: "silver/orders/${table}", path: "silver/orders/orders", set: []string{"silver.path", "silver/${topic}/${table}"}, ids: "1 10 3 6"},
		// Deletes are ignored; what has left the filter is not in silver all the same.
		{name: "ignore", task: "silver/orders", path: "silver/orders", set: []string{"silver.delete.mode", "ignore"}, ids: "1 10 3 5 6"},
		{name: "keys", task: "silver/orders", path: "silver/orders", set: []string{"silver.columns.mask", "id,card"}, ids: masked("1", "3", "10", "6")},
		{name: "soft", task: "silver/orders", path: "silver/orders", set: []string{"silver.delete.mode", "soft"}, ids: "1 10 2- 3 5- 6 7-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			task := ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: c.task}, Topics: []string{topic}}
			columns := []string{"id", "amount", "card", "via", "size", "twice"}
			if c.name == "soft" {
				columns = append(columns, "_cdc_deleted")
			}
			run := func(cold bool) (store.Bucket, map[string]int) {
				w := newWorld(t, mem.New("lake"))
				w.b.Topic(topic, 1)
				w.start()
				records, all := sales(), int64(len(sales()))
				w.b.Put(records[0])
				w.c.set(func() {
					w.c.conns = []ownership.Connector{transforming(c.set...)}
					w.c.mine = own(5, partitionTask(0, 0))
				})
				if cold {
					w.b.Put(records[1:]...)
					until(t, "bronze", func() bool { return w.rows() == all })
				}
				w.c.set(func() { w.c.mine = append(own(5, partitionTask(0, 0)), own(6, task)...) })
				if !cold {
					until(t, "the first row", func() bool { return w.tableRows(c.path) == 1 })
					read := w.rt.stats.cold.Load()
					w.b.Put(records[1:]...)
					until(t, "bronze", func() bool { return w.rows() == all })
					defer func() {
						if n := w.rt.stats.cold.Load() - read; n != 0 {
							t.Errorf("%d versions were read from files", n)
						}
					}()
				}
				until(t, "silver is up to date", func() bool {
					st := w.rt.Stats()
					return len(st.Tables) == 1 && st.Tables[0].Lag == 0 && w.tableRows(c.path) >= 4
				})
				until(t, "one dead letter", func() bool { return w.tableRows("bronze/_dead_letters") == 1 })
				w.end()
				return w.lake, texts(t, w.lake, c.path, columns...)
			}
			lake, hot := run(false)
			if _, fromFiles := run(true); !maps.Equal(hot, fromFiles) {
				t.Errorf("from memory %v\nfrom files  %v", hot, fromFiles)
			}
			var ids []string
			for row := range hot {
				id := strings.TrimPrefix(strings.Fields(row)[0], "id=")
				if strings.Contains(row, "_cdc_deleted=1") {
					id += "-"
				}
				ids = append(ids, id)
				if !strings.Contains(row, " via=orders0") || !regexp.MustCompile(` card=[0-9a-f]{64}0 `).MatchString(row) && !strings.Contains(row, "_cdc_deleted=1") {
					t.Error(row)
				}
			}
			slices.Sort(ids)
			if got := strings.Join(ids, " "); got != c.ids {
				t.Errorf("silver has %s, want %s", got, c.ids)
			}
			if l := texts(t, lake, "bronze/_dead_letters", "stage", "error_class", "offset"); l["stage=transform0 error_class=transform0 offset=11 "] != 1 {
				t.Errorf("dead letters %v", l)
			}
			raw := texts(t, lake, "bronze/"+topic, "offset", "operation", "after", "kafka_value")
			for _, want := range []string{
				`offset=5 operation=u0 after={"id":2,"total":2,"card":"c2","note":"n110"}0 kafka_value=0 `,
				`offset=11 operation=c0 after={"id":9,"total":"many","card":"c9","note":"n120"}0 kafka_value=0 `,
			} {
				if raw[want] != 1 {
					t.Errorf("bronze has no row %s, it has %v", want, raw)
				}
			}
		})
	}
}

// Bronze rows that the transforms of today refuse are dead letters when they are read again, once, and in nobody's way.
func TestNewTransformsOverOldBronze(t *testing.T) {
	w := newWorld(t, mem.New("lake"))
	w.b.Topic(topic, 1)
	w.b.Put(sales()...)
	w.start()
	w.c.set(func() { w.c.conns = []ownership.Connector{connector("c")}; w.c.mine = own(5, partitionTask(0, 0)) })
	until(t, "bronze", func() bool { return w.rows() == int64(len(sales())) })
	conn := transforming()
	conn.Version = 2
	task := ownership.Task{ID: ownership.TaskID{Connector: "c", Kind: ownership.TableTask, Table: "silver/orders"}, Topics: []string{topic}}
	w.c.set(func() {
		w.c.conns = []ownership.Connector{conn}
		w.c.mine = append(own(6, partitionTask(0, 0)), own(6, task)...)
	})
	until(t, "silver", func() bool { return w.tableRows("silver/orders") == 4 })
	w.b.Put(sale('c', 20, `"few"`, 500), sale('c', 21, "21", 501))
	until(t, "one row more", func() bool { return w.tableRows("silver/orders") == 5 })
	w.end()
	want := map[string]int{"stage=transform0 offset=11 ": 1, fmt.Sprintf("stage=transform0 offset=%d ", len(sales())): 1}
	if l := texts(t, w.lake, "bronze/_dead_letters", "stage", "offset"); !maps.Equal(l, want) {
		t.Errorf("dead letters %v", l)
	}
}
