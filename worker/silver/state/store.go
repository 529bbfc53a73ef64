package state

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice.io/sluice/connectors/store"
)

const (
	folder      = "_sluice/"
	stateFolder = folder + "state/"
	tombFolder  = folder + "tombstones/"

	// inlineTombs is how many tombstones a state object may hold before they go to a segment.
	inlineTombs = 2048
	// fanIn is how many segments of about one size are merged.
	fanIn = 8
	// largest is the number of tombstones from which on a segment is not merged any more: a merge waits for it, and they expire
	// together.
	largest = inlineTombs * fanIn * fanIn
)

// Store reads and writes the state of one table. It belongs to the goroutine that merges the table.
type Store struct {
	bucket store.Bucket
	root   string // the table's folder with a slash, or ""
}

// NewStore makes the store of the table under path.
func NewStore(b store.Bucket, path string) *Store {
	if path = strings.Trim(path, "/"); path != "" {
		path += "/"
	}
	return &Store{bucket: b, root: path}
}

func name(m int64) string { return fmt.Sprintf("%s%020d", stateFolder, m) }

// Load reads the state that merge m made valid. m < 0: none was.
func (s *Store) Load(ctx context.Context, m int64) (*State, error) {
	if m < 0 {
		return New(), nil
	}
	data, err := s.bucket.Get(ctx, s.root+name(m))
	if err != nil {
		return nil, fmt.Errorf("read merge state %d: %w", m, err)
	}
	st, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("read merge state %d: %w", m, err)
	}
	return st, nil
}

// Tombs reads the tombstones of a state, segment by segment, inline ones last.
func (s *Store) Tombs(ctx context.Context, st *State, f func([]Tomb) error) error {
	for _, g := range st.Segments {
		t, err := s.segment(ctx, g)
		if err != nil {
			return err
		}
		if err := f(t); err != nil {
			return err
		}
	}
	return f(st.Tombs)
}

func (s *Store) segment(ctx context.Context, g Segment) ([]Tomb, error) {
	data, err := s.bucket.Get(ctx, s.root+folder+g.Name)
	if err != nil {
		return nil, fmt.Errorf("read tombstones %s: %w", g.Name, err)
	}
	t, err := DecodeTombs(data)
	if err != nil {
		return nil, fmt.Errorf("read tombstones %s: %w", g.Name, err)
	}
	return t, nil
}

// Save writes a state as that of merge m or of the first number after it that is free, and gives the number. keep tells of
// each tombstone whether it is still needed; what is not is left out where tombstones are written anew. A repeat of a merge
// that was cut off meets its own object: equal bytes under the number are taken for it.
func (s *Store) Save(ctx context.Context, m int64, st *State, keep func(*Tomb) bool, expired int64) (int64, error) {
	if err := s.compact(ctx, m, st, keep, expired); err != nil {
		return 0, err
	}
	data := st.Encode()
	for ; ; m++ {
		err := s.putOnce(ctx, s.root+name(m), data)
		if errors.Is(err, store.ErrExists) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("write merge state %d: %w", m, err)
		}
		return m, nil
	}
}

// putOnce is PutIfAbsent that is content with an object of the same bytes.
func (s *Store) putOnce(ctx context.Context, key string, data []byte) error {
	err := s.bucket.PutIfAbsent(ctx, key, data)
	if err == nil {
		return nil
	}
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrUnknownOutcome) {
		got, gerr := s.bucket.Get(ctx, key)
		if gerr == nil && bytes.Equal(got, data) {
			return nil // D3
		}
		if gerr == nil {
			return store.ErrExists
		}
	}
	return err
}

// compact moves inline tombstones to a segment when they are many, merges segments of about one size, and drops
// segments whose tombstones have all expired.
func (s *Store) compact(ctx context.Context, m int64, st *State, keep func(*Tomb) bool, expired int64) error {
	st.Segments = slices.DeleteFunc(st.Segments, func(g Segment) bool { return g.NewestMs < expired })
	if len(st.Tombs) <= inlineTombs {
		return nil
	}
	tombs := filter(slices.Clone(st.Tombs), keep)
	if len(tombs) <= inlineTombs/2 {
		st.Tombs = tombs
		return nil
	}
	n := 0
	write := func(tombs []Tomb) error {
		if len(tombs) == 0 {
			return nil
		}
		data := EncodeTombs(tombs)
		for {
			g := Segment{Name: fmt.Sprintf("tombstones/%020d-%d", m, n), Count: int64(len(tombs)), Size: int64(len(data))}
			n++
			for i := range tombs {
				g.NewestMs = max(g.NewestMs, tombs[i].AtMs)
			}
			err := s.putOnce(ctx, s.root+folder+g.Name, data)
			if errors.Is(err, store.ErrExists) {
				continue
			}
			if err != nil {
				return fmt.Errorf("write tombstones %s: %w", g.Name, err)
			}
			st.Segments = append(st.Segments, g)
			return nil
		}
	}
	if err := write(tombs); err != nil {
		return err
	}
	st.Tombs = nil
	for {
		run := mergeable(st.Segments)
		if run == nil {
			return nil
		}
		var all []Tomb
		for _, i := range run {
			t, err := s.segment(ctx, st.Segments[i])
			if err != nil {
				return err
			}
			all = append(all, filter(t, keep)...)
		}
		rest := make([]Segment, 0, len(st.Segments))
		for i, g := range st.Segments {
			if !slices.Contains(run, i) {
				rest = append(rest, g)
			}
		}
		st.Segments = rest
		if err := write(all); err != nil {
			return err
		}
	}
}

func filter(t []Tomb, keep func(*Tomb) bool) []Tomb {
	return slices.DeleteFunc(t, func(t Tomb) bool { return keep != nil && !keep(&t) })
}

// mergeable gives the indexes of fanIn segments in one size class, none of which is of the largest size.
func mergeable(g []Segment) []int {
	class := map[int][]int{}
	for i := range g {
		if g[i].Count >= largest {
			continue
		}
		c := 0
		for n := g[i].Count; n >= inlineTombs*fanIn; n /= fanIn {
			c++
		}
		class[c] = append(class[c], i)
		if len(class[c]) >= fanIn {
			return class[c]
		}
	}
	return nil
}

// Clean deletes objects that neither the valid state m nor the few before it refer to and that are older than safe. It
// lists, so it is to be called now and then.
func (s *Store) Clean(ctx context.Context, m int64, st *State, safe time.Time) error {
	used := map[string]bool{}
	for _, g := range st.Segments {
		used[g.Name] = true
	}
	for v := m - 3; v < m; v++ {
		if old, err := s.Load(ctx, v); err == nil && v >= 0 {
			for _, g := range old.Segments {
				used[g.Name] = true
			}
		}
	}
	var drop []string
	for info, err := range s.bucket.List(ctx, s.root+stateFolder, "") {
		if err != nil {
			return fmt.Errorf("list merge states: %w", err)
		}
		v, err := strconv.ParseInt(strings.TrimPrefix(info.Key, s.root+stateFolder), 10, 64)
		if err == nil && v < m-3 && info.ModTime.Before(safe) {
			drop = append(drop, info.Key)
		}
	}
	for info, err := range s.bucket.List(ctx, s.root+tombFolder, "") {
		if err != nil {
			return fmt.Errorf("list tombstones: %w", err)
		}
		if !used[strings.TrimPrefix(info.Key, s.root+folder)] && info.ModTime.Before(safe) {
			drop = append(drop, info.Key)
		}
	}
	for _, k := range drop {
		if err := s.bucket.Delete(ctx, k); err != nil {
			return fmt.Errorf("delete %s: %w", k, err)
		}
	}
	return nil
}
