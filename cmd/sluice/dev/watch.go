package dev

import (
	"context"
	"errors"
	"time"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/worker"
	"sluice.io/sluice/worker/deadletter"
)

// watch turns the worker's figures into what the view shows.
type watch struct {
	bucket  store.Bucket
	topics  []string
	rates   map[string]*rate
	letters map[string]int64 // by topic
	dead    *delta.Table
	seen    int64 // version of the dead-letter table
}

// rate is how fast a counter grows, over the last second or two.
type rate struct {
	at    time.Time
	count int64
	value float64
}

func newWatch(b store.Bucket, topics []string) *watch {
	w := &watch{bucket: b, topics: topics, rates: map[string]*rate{}, letters: map[string]int64{}, seen: -1}
	for _, t := range topics {
		w.rates[t] = &rate{at: time.Now()}
	}
	return w
}

func (r *rate) update(count int64, now time.Time) float64 {
	if d := now.Sub(r.at); d >= time.Second {
		r.value = max(0, float64(count-r.count)/d.Seconds())
		r.at, r.count = now, count
	}
	return r.value
}

// tables gives one line for each topic, in the order of the topics. ends are those of the shop: what is written and not
// in silver is the lag.
func (w *watch) tables(s worker.Stats, ends map[string][]int64, now time.Time) []tableView {
	out := make([]tableView, 0, len(w.topics))
	for _, topic := range w.topics {
		v := tableView{Name: topic, Silver: -1, DeadLetters: w.letters[topic]}
		merged := make([]int64, len(ends[topic]))
		for _, t := range s.Topics {
			if t.Topic != topic {
				continue
			}
			v.Bronze, v.Trouble = t.Rows, t.Trouble
			v.PerSecond = w.rates[topic].update(t.Appended, now)
			for _, p := range t.Partitions {
				if int(p.Partition) < len(merged) {
					merged[p.Partition] = max(0, p.Merged)
				}
			}
		}
		for p, end := range ends[topic] {
			v.Lag += max(0, end-merged[p])
		}
		for _, t := range s.Tables {
			if len(t.Topics) == 1 && t.Topics[0] == topic {
				v.Silver, v.P50, v.P99, v.LastCommit = t.Rows, t.P50, t.P99, t.LastCommit
				if t.Trouble != "" {
					v.Trouble = t.Trouble
				}
			}
		}
		out = append(out, v)
	}
	for _, t := range s.Tasks {
		if t.Trace == "" {
			continue
		}
		for i := range out {
			if out[i].Trouble == "" && (t.Task.Topic == out[i].Name || t.Task.Table == "silver/"+out[i].Name) {
				out[i].Trouble = t.Trace
			}
		}
	}
	return out
}

// lookLetters counts the dead letters by topic when there are new ones.
func (w *watch) lookLetters(ctx context.Context) error {
	if w.dead == nil {
		t, err := delta.Open(ctx, w.bucket, deadletter.Path)
		if errors.Is(err, delta.ErrNotTable) {
			return nil
		}
		if err != nil {
			return err
		}
		w.dead = t
	}
	s, err := w.dead.Snapshot(ctx)
	if err != nil || s.Version == w.seen {
		return err
	}
	o := rows.Options{Columns: []string{"topic"}}
	sc, err := o.Schema(s)
	if err != nil {
		return err
	}
	counts := map[string]int64{}
	for batch, err := range rows.Scan(ctx, s, o) {
		if err != nil {
			return err
		}
		for i := range int(batch.Record.NumRows()) {
			counts[columnar.ValueAt(batch.Record.Column(0), sc.Fields[0].Type, i).Str]++
		}
	}
	w.letters, w.seen = counts, s.Version
	return nil
}
