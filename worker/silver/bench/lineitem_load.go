package bench

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/internal/guard"
	"sluice.io/sluice/worker/silver"
	"sluice.io/sluice/worker/silver/fold"
)

const (
	firstLines   = 1000      // rows that the merge itself writes, with the table
	linesOfFile  = 2_000_000 // rows of a file
	linesOfBlock = 1 << 15
)

// loadLines makes the table: its first rows by the merge, the others as files whose columns are filled one by one, in the schema that the merge chose.
func loadLines(ctx context.Context, dir string, rows int64) error {
	m, _, err := open(ctx, dir)
	if err != nil {
		return err
	}
	in := make([]connectors.Change, 0, firstLines)
	for n := range min(rows, firstLines) {
		in = append(in, lineChange(n, n, 0))
	}
	if _, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Changes: in}}); err != nil {
		return err
	}
	if err := m.Close(ctx); err != nil {
		return err
	}
	b, err := file.Open(dir)
	if err != nil {
		return err
	}
	t, err := delta.Open(ctx, b, "ours")
	if err != nil {
		return err
	}
	s, err := t.Snapshot(ctx)
	if err != nil {
		return err
	}
	adds := make([]delta.Add, (max(rows-firstLines, 0)+linesOfFile-1)/linesOfFile)
	g, gctx := guard.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range adds {
		from := firstLines + int64(i)*linesOfFile
		g.Go(func() error {
			key, err := t.ObjectKey(fmt.Sprintf("load-%05d.parquet", i))
			if err != nil {
				return err
			}
			out, err := b.Create(gctx, key)
			if err != nil {
				return err
			}
			a := &adds[i]
			a.Path, a.DataChange = fmt.Sprintf("load-%05d.parquet", i), true
			stats, err := writeLines(out, s.Schema(), from, min(rows, from+linesOfFile), &a.Size)
			if err != nil {
				return fmt.Errorf("write %s: %w", key, err)
			}
			a.Stats, a.Written = stats.JSON(true), &delta.Written{Size: a.Size, Rows: stats.NumRecords}
			return out.Close()
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	c := t.NewCommit(s)
	for _, a := range adds {
		c.Append(a)
	}
	return c.Do(ctx).Err
}

// sized counts what passes.
type sized struct {
	io.Writer
	n *int64
}

func (s sized) Write(p []byte) (int, error) {
	*s.n += int64(len(p))
	return s.Writer.Write(p)
}

func writeLines(out io.Writer, sch schema.Schema, from, to int64, size *int64) (columnar.FileStats, error) {
	w, err := columnar.NewWriter(sized{out, size}, sch, columnar.WriterOptions{})
	if err != nil {
		return columnar.FileStats{}, err
	}
	b := columnar.NewBuilder(sch)
	lines := make([]line, 0, linesOfBlock)
	for from < to {
		lines = lines[:0]
		for n := from; n < min(to, from+linesOfBlock); n++ {
			lines = append(lines, lineOf(n, 0))
		}
		for at, f := range sch.Fields {
			if !fillLines(b, at, f.Name, lines, from) {
				return columnar.FileStats{}, fmt.Errorf("no values for column %s", f.Name)
			}
		}
		from += int64(len(lines))
		rec := b.View()
		err := w.Write(rec)
		rec.Release()
		b.Reset()
		if err != nil {
			return columnar.FileStats{}, err
		}
	}
	return w.Close()
}

// fillLines appends one column of rows, the first of which is row n. It gives false for a column that it does not know.
func fillLines(b *columnar.Builder, at int, name string, lines []line, n int64) bool {
	ints := func(f func(l *line) int64) {
		for i := range lines {
			b.AppendInt(at, f(&lines[i]))
		}
	}
	decimals := func(f func(l *line) int64) {
		for i := range lines {
			b.AppendDecimal(at, decimal128.FromI64(f(&lines[i])))
		}
	}
	texts := func(f func(l *line) string) {
		for i := range lines {
			b.AppendString(at, f(&lines[i]))
		}
	}
	var buf []byte
	switch name {
	case "l_orderkey":
		ints(func(l *line) int64 { return l.order })
	case "l_linenumber":
		ints(func(l *line) int64 { return int64(l.number) })
	case "l_partkey":
		ints(func(l *line) int64 { return l.part })
	case "l_suppkey":
		ints(func(l *line) int64 { return l.supp })
	case "l_quantity":
		decimals(func(l *line) int64 { return l.quantity * 100 })
	case "l_extendedprice":
		decimals(func(l *line) int64 { return l.price })
	case "l_discount":
		decimals(func(l *line) int64 { return l.discount })
	case "l_tax":
		decimals(func(l *line) int64 { return l.tax })
	case "l_returnflag":
		texts(func(l *line) string { return lineFlags[l.flag] })
	case "l_linestatus":
		texts(func(l *line) string { return lineStatus[l.status] })
	case "l_shipdate":
		ints(func(l *line) int64 { return int64(l.shipped) })
	case "l_commitdate":
		ints(func(l *line) int64 { return int64(l.committed) })
	case "l_receiptdate":
		ints(func(l *line) int64 { return int64(l.came) })
	case "l_shipinstruct":
		texts(func(l *line) string { return lineInstruct[l.how] })
	case "l_shipmode":
		texts(func(l *line) string { return lineModes[l.mode] })
	case "l_comment":
		for i := range lines {
			buf = lines[i].appendComment(buf[:0])
			b.AppendBytes(at, buf)
		}
	case "_cdc_operation":
		texts(func(*line) string { return "c" })
	case "_cdc_timestamp":
		for i := range lines {
			b.AppendInt(at, started*1000+n+int64(i))
		}
	case "_event_id":
		for i := range lines {
			buf = append(append(buf[:0], lineTopic...), '-', byte('0'+lines[i].order&3), '-')
			b.AppendBytes(at, strconv.AppendInt(buf, n+int64(i), 10))
		}
	case "_cdc_sequence":
		for i := range lines {
			st := fold.Stamp{Epoch: fold.FirstEpoch, Pos: string(linePosition(buf[:0], n+int64(i))), Part: uint32(lines[i].order & 3), Off: n + int64(i)}
			b.AppendBytes(at, st.Append(nil))
		}
	default:
		return false
	}
	return true
}
