package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/kafka"
)

// partitionReport is what verify finds of one partition.
type partitionReport struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Next      int64  `json:"next"`
	Rows      int64  `json:"rows"`
	First     int64  `json:"first"`
	// Doubled are offsets with more than one row, Beyond rows at or behind Next.
	Doubled int64 `json:"doubled"`
	Beyond  int64 `json:"beyond_progress"`
	// Missing are ranges without a row between First and Next; Lost is how many offsets of them the broker still has
	// records of; -1: nobody has asked the broker.
	Missing []offsetRange `json:"missing"`
	Lost    int64         `json:"lost"`
}

type offsetRange struct {
	From int64 `json:"from"`
	To   int64 `json:"to"` // not included
}

func (a *app) tableVerify() *cobra.Command {
	var brokers string
	var sets []string
	c := &cobra.Command{
		Use: "verify TABLE", Short: "Prove that a bronze table has every offset once", Args: cobra.ExactArgs(1),
		Long: "Read every (topic, partition, offset) of a bronze table and compare them with the progress in the table's log: each offset\n" +
			"below the progress must have one row. Kafka has no record at some offsets (compaction, aborted transactions, control\n" +
			"markers); with --kafka the broker is asked about each gap, so that such a gap is told from a lost record.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			s, err := t.Snapshot(ctx)
			if err != nil {
				return tableError(args[0], err)
			}
			for _, col := range []string{"topic", "partition", "offset"} {
				if s.Schema().Index(col) < 0 {
					return fmt.Errorf("%s has no column %q, so it is no bronze table; `sluice table fsck` checks tables of any kind", args[0], col)
				}
			}
			bar := a.progress("reading rows", countText)
			report, err := verifyOffsets(ctx, s, bar)
			bar.done()
			if err != nil {
				return tableError(args[0], err)
			}
			if brokers != "" {
				props := kafka.Properties{"bootstrap.servers": brokers}
				for _, kv := range sets {
					k, v, ok := strings.Cut(kv, "=")
					if !ok {
						return usagef("--kafka-property is %q: give name=value", kv)
					}
					props[k] = v
				}
				if err := askBroker(ctx, props, report); err != nil {
					return err
				}
			}
			return a.printVerify(report, brokers != "")
		},
	}
	c.Flags().StringVar(&brokers, "kafka", "", "brokers to ask about gaps, host:port")
	c.Flags().StringArrayVar(&sets, "kafka-property", nil, "Kafka client property as name=value, such as security.protocol=SSL; may be repeated")
	return c
}

func (a *app) printVerify(report []*partitionReport, asked bool) error {
	bad := 0
	var rows [][]string
	for _, p := range report {
		gaps := int64(0)
		for _, m := range p.Missing {
			gaps += m.To - m.From
		}
		verdict := "every offset once"
		switch {
		case p.Doubled > 0:
			verdict = fmt.Sprintf("%d offsets are doubled", p.Doubled)
		case p.Beyond > 0:
			verdict = fmt.Sprintf("%d rows lie beyond the progress", p.Beyond)
		case p.Lost > 0:
			verdict = fmt.Sprintf("%d RECORDS ARE LOST", p.Lost)
		case gaps > 0 && !asked:
			verdict = "gaps; --kafka tells whether the broker has records there"
		case gaps > 0:
			verdict = "every record once; the broker has none in the gaps"
		}
		if p.Doubled+p.Beyond > 0 || p.Lost > 0 {
			bad++
		}
		rows = append(rows, []string{p.Topic, strconv.Itoa(int(p.Partition)), countText(p.Next), countText(p.Rows), countText(gaps), verdict})
	}
	if a.output == "json" {
		if report == nil {
			report = []*partitionReport{}
		}
		if err := a.json(report); err != nil {
			return err
		}
	} else if err := a.columns([]string{"TOPIC", "PARTITION", "NEXT", "ROWS", "GAPS", ""}, rows); err != nil {
		return err
	}
	if bad > 0 {
		return foundError{errors.New("the table does not have every record once")}
	}
	return nil
}

// verifyOffsets compares the rows of a bronze table with its progress.
func verifyOffsets(ctx context.Context, s *delta.Snapshot, bar *progress) ([]*partitionReport, error) {
	type key struct {
		topic     string
		partition int32
	}
	offsets := map[key]*offsetSet{}
	of := func(k key) *offsetSet {
		set := offsets[k]
		if set == nil {
			set = &offsetSet{}
			offsets[k] = set
		}
		return set
	}
	f := rowFlags{columns: []string{"topic", "partition", "offset"}, bar: bar}
	err := f.scan(ctx, s, func([]string) {}, func(line []byte) error {
		var r struct {
			Topic     string `json:"topic"`
			Partition int32  `json:"partition"`
			Offset    int64  `json:"offset"`
		}
		if err := json.Unmarshal(line, &r); err != nil {
			return err
		}
		if r.Offset < 0 {
			return fmt.Errorf("a row of %s-%d has the offset %d", r.Topic, r.Partition, r.Offset)
		}
		of(key{r.Topic, r.Partition}).add(r.Offset)
		return nil
	})
	if err != nil {
		return nil, err
	}
	next := map[key]int64{}
	for x := range s.Txns() {
		// sluice/<connector>/<topic>/<partition>
		parts := strings.Split(x.AppID, "/")
		if len(parts) != 4 || parts[0] != "sluice" {
			continue
		}
		p, err := strconv.ParseInt(parts[3], 10, 32)
		if err != nil {
			continue
		}
		k := key{parts[2], int32(p)}
		next[k] = max(next[k], x.Version)
		of(k)
	}
	var out []*partitionReport
	for k, set := range offsets {
		p := set.report(next[k])
		p.Topic, p.Partition = k.topic, k.partition
		out = append(out, &p)
	}
	slices.SortFunc(out, func(a, b *partitionReport) int {
		if c := strings.Compare(a.Topic, b.Topic); c != 0 {
			return c
		}
		return int(a.Partition - b.Partition)
	})
	return out, nil
}

// askBroker looks which of the missing offsets have records.
func askBroker(ctx context.Context, props kafka.Properties, report []*partitionReport) error {
	cl, err := kafka.Dial(ctx, props, kafka.Options{})
	if err != nil {
		return fmt.Errorf("--kafka: %w", err)
	}
	defer cl.Close()
	for _, p := range report {
		p.Lost = 0
		if len(p.Missing) == 0 {
			continue
		}
		ends, err := cl.Offsets(ctx, p.Topic, p.Partition)
		if err != nil {
			return err
		}
		start := ends[p.Partition].Start
		for _, m := range p.Missing {
			from := max(m.From, start) // what retention has deleted can't be told any more
			if from >= min(m.To, ends[p.Partition].End) {
				continue
			}
			n, err := recordsIn(ctx, cl, p.Topic, p.Partition, from, m.To)
			if err != nil {
				return err
			}
			p.Lost += n
		}
	}
	return nil
}

// recordsIn counts the records that the broker has in a range of offsets.
func recordsIn(ctx context.Context, cl *kafka.Client, topic string, partition int32, from, to int64) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r := cl.Read(topic, partition, from, "")
	defer r.Close()
	n := int64(0)
	for {
		b, err := r.Next(ctx)
		if err != nil {
			return n, fmt.Errorf("read %s-%d from %d: %w", topic, partition, from, err)
		}
		for _, rec := range b.Records {
			if rec.Offset >= from && rec.Offset < to {
				n++
			}
		}
		if b.Next >= to || b.Next >= b.HighWater {
			return n, nil
		}
	}
}
