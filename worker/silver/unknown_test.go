package silver_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/mem"
	"sluice.io/sluice/worker/silver"
)

// cutLine loses the answers to the next tries at a commit, of which the first takes effect if landed is set, and to as many looks at what became of it.
type cutLine struct {
	store.Bucket
	mu           sync.Mutex
	tries, looks int
	landed       bool
	key          string
}

var errCut = errors.New("the line is cut")

func (c *cutLine) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tries == 0 || !strings.Contains(key, "/_delta_log/") {
		return c.Bucket.PutIfAbsent(ctx, key, data)
	}
	if c.tries--; c.landed {
		_ = c.Bucket.PutIfAbsent(ctx, key, data) // the second try finds it there
	}
	c.key = key
	return errors.Join(errCut, store.ErrUnknownOutcome)
}

func (c *cutLine) Get(ctx context.Context, key string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if key == c.key && c.looks > 0 {
		c.looks--
		return nil, errCut
	}
	return c.Bucket.Get(ctx, key)
}

// D3: a merge whose commit has an unknown outcome looks at the table: what is there is done, what is not is merged when it is tried again.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for _, landed := range []bool{true, false} {
		b := &cutLine{Bucket: mem.New("lake")}
		x := &bench{t: t, b: b.Bucket.(*mem.Bucket), m: openSilver(t, b, sinkConfig(), "silver/t")}
		x.merge(rec(cOp, 1, 1, "a", text("x")))
		b.mu.Lock()
		b.tries, b.looks, b.landed = 6, 6, landed // as often as a commit is tried
		b.mu.Unlock()
		second := []silver.Batch{{Feed: "bronze/t", Version: 1, Changes: []connectors.Change{rec(uOp, 2, 1, "a", text("y")), rec(cOp, 3, 2, "a", text("z"))}}}
		res, err := x.m.Merge(context.Background(), second)
		if landed != (err == nil) || landed && !res.Committed || !landed && !errors.Is(err, store.ErrUnknownOutcome) {
			t.Fatalf("landed %t: %+v, %v", landed, res, err)
		}
		if _, err := x.m.Merge(context.Background(), second); err != nil {
			t.Fatal(err)
		}
		x.version = 2
		x.merge(rec(uOp, 4, 2, "a", text("w")))
		x.want(`{"a":"w","id":2}`, `{"a":"y","id":1}`)
	}
}
