package silver

import (
	"context"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
)

type value = connectors.Value

var nullValue = connectors.NullValue()

// emitRows bounds the rows of one record on the way to Parquet; emitBlock is how many rows are turned into columns at once, few
// enough that they stay in the processor's cache from column to column.
const (
	emitRows  = 1 << 12
	emitBlock = 1 << 9
)

// ensureColumns adds those of our own columns that the winners need.
func (w *work) ensureColumns() {
	for i := range w.winners {
		x := &w.winners[i]
		if x.img == nil {
			continue
		}
		if len(x.img.Rescue) > 0 {
			w.m.cols.Ensure(evolve.ColRescued, schema.Of(schema.String))
		}
		if x.img.Noted() {
			w.m.cols.Ensure(evolve.ColCarried, schema.Of(schema.String))
		}
	}
	w.ensureSource()
}

// emit builds the columns of winners and gives them to write, record by record.
func (w *work) emit(ctx context.Context, winners []winner, write func(arrow.Record) error) error {
	cols := w.m.cols
	b := w.m.builder()
	defer b.Reset()
	src := make([]int, len(cols.Schema.Fields)) // table column → source column
	for i := range src {
		src[i] = -1
	}
	for i := range cols.Source {
		src[cols.Source[i].At] = i
	}
	rows := make([]*value, 0, min(len(winners), emitBlock))
	plans := make([]*evolve.Plan, 0, cap(rows))
	for from := 0; from < len(winners); {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := winners[from:min(from+emitBlock, len(winners))]
		from += len(part)
		plans = plans[:0]
		for i := range part {
			var p *evolve.Plan
			if part[i].img == nil {
				p = w.plan(w.events[part[i].ev].c.After)
			}
			plans = append(plans, p)
		}
		for at := range cols.Schema.Fields {
			if s := src[at]; s >= 0 {
				rows = rows[:0]
				for i := range part {
					rows = append(rows, w.cell(&part[i], plans[i], s))
				}
				if err := appendColumn(b, at, cols.Schema.Fields[at].Type, rows); err != nil {
					return err
				}
				continue
			}
			w.appendOwn(b, at, cols.Schema.Fields[at].Name, part)
		}
		if from < len(winners) && from%emitRows != 0 {
			continue
		}
		rec := b.View()
		err := write(rec)
		rec.Release()
		b.Reset()
		if err != nil {
			return err
		}
	}
	return nil
}

// builder gives a builder of the table's columns, that of the last merge where they are the same.
func (m *Merger) builder() *columnar.Builder {
	if m.build == nil || !m.build.Schema().Equal(m.cols.Schema) {
		sch := m.cols.Schema
		sch.Fields = slices.Clone(sch.Fields) // columns that grow are changed in place
		m.build = columnar.NewBuilder(sch)
	}
	return m.build
}

// cell gives a winner's value of a source column.
func (w *work) cell(x *winner, p *evolve.Plan, col int) *value {
	if x.img != nil {
		if col < len(x.img.Vals) {
			return &x.img.Vals[col]
		}
		return &nullValue
	}
	if s := p.Src[col]; s >= 0 {
		return &w.events[x.ev].c.After.Values[s]
	}
	return &nullValue
}

// appendColumn appends one column of many rows. The values fit the column: the plan or the fold has seen to that.
func appendColumn(b *columnar.Builder, at int, t schema.Type, rows []*value) error {
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		for _, v := range rows {
			if v.State != connectors.Present {
				b.AppendNull(at)
			} else {
				b.AppendInt(at, v.Int)
			}
		}
	case schema.String, schema.Binary:
		for _, v := range rows {
			if v.State != connectors.Present {
				b.AppendNull(at)
			} else {
				b.AppendString(at, v.Str)
			}
		}
	case schema.Double, schema.Float:
		for _, v := range rows {
			if v.State != connectors.Present {
				b.AppendNull(at)
			} else {
				b.AppendFloat(at, v.Float64())
			}
		}
	case schema.Boolean:
		for _, v := range rows {
			if v.State != connectors.Present {
				b.AppendNull(at)
			} else {
				b.AppendBool(at, v.Int != 0)
			}
		}
	default:
		for _, v := range rows {
			if err := b.Append(at, *v); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendOwn appends one of the columns that silver adds.
func (w *work) appendOwn(b *columnar.Builder, at int, name string, part []winner) {
	var buf []byte
	for i := range part {
		x := &part[i]
		switch name {
		case evolve.ColOperation:
			op := byte(0)
			if x.img != nil {
				op = x.img.Meta.Op
			} else {
				op = opLetter(w.events[x.ev].op)
			}
			b.AppendString(at, letters[op])
		case evolve.ColTimestamp:
			if x.img != nil {
				b.AppendInt(at, x.img.Meta.TsUs)
			} else {
				b.AppendInt(at, changeMicros(w.events[x.ev].c))
			}
		case evolve.ColEventID:
			if x.img != nil {
				b.AppendString(at, x.img.Meta.EventID)
			} else {
				buf = w.events[x.ev].c.Record.AppendEventID(buf[:0])
				b.AppendBytes(at, buf)
			}
		case evolve.ColSequence:
			buf = x.st.Append(buf[:0])
			b.AppendBytes(at, buf)
		case evolve.ColRescued:
			if x.img == nil || len(x.img.Rescue) == 0 {
				b.AppendNull(at)
			} else {
				b.AppendString(at, w.m.rescueJSON(x.img))
			}
		case evolve.ColCarried:
			if x.img == nil || !x.img.Noted() {
				b.AppendNull(at)
			} else {
				b.AppendString(at, w.m.carriedJSON(x.img))
			}
		case evolve.ColSource:
			if told := w.toldSource(x); told != "" {
				b.AppendString(at, told)
			} else {
				b.AppendNull(at)
			}
		case evolve.ColStart:
			if x.life != nil {
				b.AppendInt(at, x.life.fromUs)
			} else {
				b.AppendInt(at, changeMicros(w.events[x.ev].c))
			}
		case evolve.ColEnd:
			if x.life != nil && x.life.ended {
				b.AppendInt(at, x.life.endUs)
			} else {
				b.AppendNull(at)
			}
		case evolve.ColEndSequence:
			if x.life != nil && x.life.ended {
				buf = x.life.end.Append(buf[:0])
				b.AppendBytes(at, buf)
			} else {
				b.AppendNull(at)
			}
		case evolve.ColDeleted:
			b.AppendBool(at, x.img != nil && x.img.Deleted)
		default:
			b.AppendNull(at)
		}
	}
}

var letters = [256]string{'c': "c", 'u': "u", 'r': "r", 'd': "d"}

func (m *Merger) rescueJSON(img *fold.Image) string {
	var r evolve.Rescue
	for c, raw := range img.Rescue {
		r.PutRaw(m.cols.Source[c].Name, raw)
	}
	return r.JSON()
}
