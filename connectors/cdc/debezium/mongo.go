package debezium

import (
	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/cdc/internal/js"
)

// documents fills the images of a MongoDB change: its before and after are texts of extended JSON.
func (d *Decoder) documents(c *connectors.Change) error {
	e := &d.e
	var err error
	switch {
	case c.Op == connectors.Delete:
		if c.Key.IsZero() && e.text[envBefore] == "" {
			return connectors.Poison(connectors.ClassIncomplete, "a delete with neither key nor before")
		}
	case e.text[envAfter] == "" && c.Op == connectors.Update:
		// deleted before it was looked up, or a partial update: the image is unavailable, and this is no delete (1.3)
	case e.text[envAfter] == "":
		return connectors.Poison(connectors.ClassIncomplete, "op is %s and after is null", c.OpText)
	default:
		if c.After, err = d.document(e.text[envAfter]); err != nil {
			return err
		}
	}
	if e.text[envBefore] != "" {
		c.BeforeQuality = connectors.BeforeFull
		c.Before, err = d.document(e.text[envBefore])
	}
	return err
}

// document reads the text of a document (a JSON string holding extended JSON) as a row of its fields.
func (d *Decoder) document(text string) (connectors.Row, error) {
	if text[0] == '"' {
		t, _, next := d.r.Str(text, 0)
		if next < 0 {
			return connectors.Row{}, d.r.Err
		}
		text = t
	}
	if d.opts.Flatten {
		if js.Skip(text, js.Space(text, 0)) > 0 { // what is no JSON is told below
			text = js.Flatten(text)
		}
	}
	i := js.Space(text, 0)
	if i >= len(text) || text[i] != '{' {
		return connectors.Row{}, connectors.Poison(connectors.ClassMalformed, "a document is not an object: %q", js.Excerpt(text, 0))
	}
	row, next := d.r.DocumentRow(text, i, &d.docSlot)
	if next < 0 || js.Space(text, next) != len(text) {
		if d.r.Err == nil {
			d.r.Malformed(text, next)
		}
		return connectors.Row{}, d.r.Err
	}
	return row, nil
}

var idShape = &connectors.Shape{Names: []string{"_id"}}

// mongoKey turns {"id": "<extended JSON>"} into the column _id.
func (d *Decoder) mongoKey(row connectors.Row) connectors.Row {
	v := row.Get("id")
	if len(row.Values) != 1 || v.State != connectors.Present || v.Str == "" {
		return row
	}
	vals := d.r.Values(1)
	vals[0] = connectors.Text(d.r.DocumentID(v.Str))
	return connectors.Row{Shape: idShape, Values: vals}
}
