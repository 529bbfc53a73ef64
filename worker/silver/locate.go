package silver

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
	"sluice.io/sluice/worker/silver/fold"
	"sluice.io/sluice/worker/silver/index"
)

// loadBases reads the rows of the complex groups from some index on, file by file.
func (w *work) loadBases(ctx context.Context, from int) error {
	type spot struct {
		row int64
		i   int
		e   index.Entry
	}
	byFile := map[uint32][]spot{}
	for i := from; i < len(w.complex); i++ {
		c := &w.complex[i]
		if c.has && c.entry.File == index.Dead {
			c.base = &fold.Base{Stamp: w.m.idx.Grave(c.entry).Stamp}
			continue
		}
		if c.locate {
			byFile[c.entry.File] = append(byFile[c.entry.File], spot{c.entry.Position(), i, c.entry})
		}
		for _, e := range c.more {
			if e.File != index.Dead {
				byFile[e.File] = append(byFile[e.File], spot{e.Position(), i, e})
			}
		}
	}
	for _, file := range sortedKeys(byFile) {
		spots := byFile[file]
		slices.SortFunc(spots, func(a, b spot) int { return int(a.row - b.row) })
		rows := make([]int64, 0, len(spots))
		for _, s := range spots {
			if n := len(rows); n == 0 || rows[n-1] != s.row {
				rows = append(rows, s.row)
			}
		}
		images, err := w.images(ctx, file, rows)
		if err != nil {
			return err
		}
		k := 0
		for _, s := range spots {
			for rows[k] != s.row {
				k++
			}
			c := &w.complex[s.i]
			b := &fold.Base{Stamp: images[k].Stamp, Image: images[k]}
			if c.base == nil {
				c.base = b
				continue
			}
			// A duplicate of the key: the newest row is the base, the others go.
			if fold.Compare(c.base.Stamp, b.Stamp) < 0 {
				c.base = b
			}
			if s.e != c.entry && c.base == b {
				for j := range c.more {
					if c.more[j] == s.e {
						c.more[j], c.entry = c.entry, s.e
					}
				}
			}
		}
	}
	return nil
}

// images reads whole rows of a file. The table's columns are those before this merge; columns that it adds are NULL.
func (w *work) images(ctx context.Context, file uint32, rows []int64) ([]*fold.Image, error) {
	f := w.m.idx.File(file)
	sch := w.m.cols.Schema
	rec, err := w.m.readRows(ctx, f.Path, f.Size, nil, sch, rows)
	if err != nil {
		return nil, err
	}
	out := make([]*fold.Image, len(rows))
	r := w.m.imageReader(rec, sch)
	for i := range out {
		if out[i], err = r.at(i); err != nil {
			return nil, fmt.Errorf("row %d of %s: %w", rows[i], f.Path, err)
		}
	}
	return out, nil
}

// versions reads rows of a history.
func (w *work) versions(ctx context.Context, file uint32, rows []int64) ([]fold.Version, error) {
	f := w.m.idx.File(file)
	sch := w.m.cols.Schema
	rec, err := w.m.readRows(ctx, f.Path, f.Size, nil, sch, rows)
	if err != nil {
		return nil, err
	}
	out := make([]fold.Version, len(rows))
	r := w.m.imageReader(rec, sch)
	for i := range out {
		v := &out[i]
		if v.Image, err = r.at(i); err != nil {
			return nil, fmt.Errorf("row %d of %s: %w", rows[i], f.Path, err)
		}
		v.FromUs = columnar.ValueAt(rec.Column(r.start), sch.Fields[r.start].Type, i).Int
		if q := r.text(r.endSeq, i); q != "" {
			v.Ended, v.EndUs = true, columnar.ValueAt(rec.Column(r.end), sch.Fields[r.end].Type, i).Int
			if v.End, err = fold.Parse(q); err != nil {
				return nil, fmt.Errorf("row %d of %s: %s: %w", rows[i], f.Path, evolve.ColEndSequence, err)
			}
		}
	}
	return out, nil
}

// imageReader makes images of the rows of a record of the table.
type imageReader struct {
	m                                                      *Merger
	rec                                                    arrow.Record
	sch                                                    schema.Schema
	op, ts, event, source, seq, rescued, carried, deletedC int
	start, end, endSeq                                     int
}

func (m *Merger) imageReader(rec arrow.Record, sch schema.Schema) *imageReader {
	return &imageReader{m: m, rec: rec, sch: sch, op: sch.Index(evolve.ColOperation), ts: sch.Index(evolve.ColTimestamp),
		event: sch.Index(evolve.ColEventID), source: sch.Index(evolve.ColSource), seq: sch.Index(evolve.ColSequence), rescued: sch.Index(evolve.ColRescued),
		carried: sch.Index(evolve.ColCarried), deletedC: sch.Index(evolve.ColDeleted),
		start: sch.Index(evolve.ColStart), end: sch.Index(evolve.ColEnd), endSeq: sch.Index(evolve.ColEndSequence)}
}

func (r *imageReader) text(col, row int) string {
	if col < 0 {
		return ""
	}
	return columnar.ValueAt(r.rec.Column(col), r.sch.Fields[col].Type, row).Str
}

func (r *imageReader) at(row int) (*fold.Image, error) {
	src := r.m.cols.Source
	img := &fold.Image{}
	img.Vals = append(img.Vals, make([]value, len(src))...)
	for i := range src {
		at := src[i].At
		if at >= int(r.rec.NumCols()) {
			img.Vals[i] = nullValue
			continue
		}
		img.Vals[i] = columnar.ValueAt(r.rec.Column(at), r.sch.Fields[at].Type, row)
	}
	var err error
	if img.Stamp, err = fold.Parse(r.text(r.seq, row)); err != nil {
		return nil, fmt.Errorf("%s: %w", evolve.ColSequence, err)
	}
	if op := r.text(r.op, row); op != "" {
		img.Meta.Op = op[0]
	}
	img.Meta.EventID = r.text(r.event, row)
	img.Table = r.m.tableOfRow(eventTopic(img.Meta.EventID), sourceKey(r.text(r.source, row)))
	if r.ts >= 0 {
		img.Meta.TsUs = columnar.ValueAt(r.rec.Column(r.ts), r.sch.Fields[r.ts].Type, row).Int
	}
	if r.deletedC >= 0 {
		img.Deleted = columnar.ValueAt(r.rec.Column(r.deletedC), r.sch.Fields[r.deletedC].Type, row).Int == 1
	}
	for name, raw := range evolve.ParseRescue(r.text(r.rescued, row)) {
		if i := r.m.column(name); i >= 0 {
			rescue(img, i, raw)
		}
	}
	if t := r.text(r.carried, row); t != "" {
		if err := r.m.parseCarried(img, t); err != nil {
			return nil, err
		}
	}
	return img, nil
}

// carried is the JSON of column _cdc_carried.
type carried struct {
	// Origin names the key change by which the row came here.
	Origin []byte `json:"origin,omitempty"`
	// Guess tells that the row of the old key may have been another one.
	Guess bool `json:"guess,omitempty"`
	// Took is fold.Image.Took.
	Took []byte `json:"took,omitempty"`
	// Columns are the sequences of the events that told the columns' values.
	Columns map[string][]byte `json:"columns"`
}

func (m *Merger) carriedJSON(img *fold.Image) string {
	x := carried{Columns: map[string][]byte{}, Guess: img.Guess}
	if img.Origin != "" {
		x.Origin = []byte(img.Origin)
	}
	if img.Took != (fold.Stamp{}) {
		x.Took = img.Took.Append(nil)
	}
	for c, s := range img.From {
		x.Columns[m.cols.Source[c].Name] = s.Append(nil)
	}
	b, err := json.Marshal(x)
	if err != nil {
		return ""
	}
	return string(b)
}

func (m *Merger) parseCarried(img *fold.Image, text string) error {
	var x carried
	if err := json.Unmarshal([]byte(text), &x); err != nil {
		return fmt.Errorf("%s: %w", evolve.ColCarried, err)
	}
	img.Origin, img.Guess = string(x.Origin), x.Guess
	if len(x.Took) > 0 {
		s, err := fold.Parse(string(x.Took))
		if err != nil {
			return fmt.Errorf("%s: %w", evolve.ColCarried, err)
		}
		img.Took = s
	}
	for name, seq := range x.Columns {
		i := m.column(name)
		if i < 0 {
			continue
		}
		s, err := fold.Parse(string(seq))
		if err != nil {
			return fmt.Errorf("%s: %w", evolve.ColCarried, err)
		}
		if img.From == nil {
			img.From = map[int]fold.Stamp{}
		}
		img.From[i] = s
	}
	return nil
}
