package delta

import (
	"context"
	"errors"
	"fmt"
)

// readCompacted reads a log compaction. One that lists a logical file twice is refused: which entry is the later one
// can't be told from it, and engines disagree (readers.md).
func (t *Table) readCompacted(ctx context.Context, p *parser, seg *segment) (*Actions, error) {
	data, err := t.bucket.Get(ctx, t.key(logDir+seg.name))
	if err != nil {
		return nil, fmt.Errorf("read %s of %s: %w", seg.name, t.URL(), err)
	}
	a, err := p.commit(data)
	if err != nil {
		return nil, corrupt(t.URL(), -1, logDir+seg.name, err)
	}
	seen := make(map[[2]string]struct{}, len(a.Adds)+len(a.Removes))
	once := func(path, id string) error {
		k := [2]string{keyPath(path), id}
		if _, ok := seen[k]; ok {
			return corrupt(t.URL(), -1, logDir+seg.name, errors.New("it lists a logical file twice: "+path))
		}
		seen[k] = struct{}{}
		return nil
	}
	for _, x := range a.Adds {
		if err := once(x.Path, x.DVID()); err != nil {
			return nil, err
		}
	}
	for _, x := range a.Removes {
		if err := once(x.Path, x.DVID()); err != nil {
			return nil, err
		}
	}
	return a, nil
}
