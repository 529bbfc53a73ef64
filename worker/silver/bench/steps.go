package bench

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sluice.io/sluice/connectors"
	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/worker/silver"
)

// The table is one of ten columns, whose Debezium event is about 600 bytes.
var (
	rowShape = &connectors.Shape{
		Names: []string{"id", "customer_id", "status", "amount", "quantity", "note", "created_at", "updated_at", "flag", "ratio"},
		Types: []schema.Type{schema.Of(schema.Long), schema.Of(schema.Long), schema.Of(schema.String), schema.DecimalOf(12, 2), schema.Of(schema.Integer),
			schema.Of(schema.String), schema.Of(schema.TimestampNTZ), schema.Of(schema.Timestamp), schema.Of(schema.Boolean), schema.Of(schema.Double)},
	}
	keyShape  = &connectors.Shape{Names: []string{"id"}, Types: []schema.Type{schema.Of(schema.Long)}}
	rowSource = &connectors.Source{Connector: "postgresql", Name: "shop", DB: "shop", Schema: "public", Table: "orders"}
)

const (
	feed    = "bronze/orders"
	started = int64(1_790_000_000_000)
)

// change makes the n-th event of the stream, for a key.
func change(n, key int64, op connectors.Op) connectors.Change {
	pos := binary.BigEndian.AppendUint64(make([]byte, 0, 25), uint64(34359738368+n/4*96))
	pos = binary.BigEndian.AppendUint64(pos, uint64(34359738368+n*64))
	pos = binary.BigEndian.AppendUint64(pos, 0)
	x := uint64(n) * 0x9E3779B97F4A7C15
	return connectors.Change{Kind: connectors.RowChange, Op: op, Source: rowSource, PosQuality: connectors.Exact, Position: connectors.Position(append(pos, 2)),
		Record:     &connectors.Record{Topic: "shop.public.orders", Partition: int32(key & 3), Offset: n, TimestampMs: started + n/1000},
		Key:        connectors.Row{Shape: keyShape, Values: []connectors.Value{connectors.Int(schema.Long, key)}},
		SourceTsNs: started*1e6 + n*1000,
		After: connectors.Row{Shape: rowShape, Values: []connectors.Value{
			connectors.Int(schema.Long, key), connectors.Int(schema.Long, int64(x>>50)), connectors.Text([]string{"NEW", "PAID", "SENT"}[n%3]),
			connectors.Dec(string([]byte{byte(x >> 33 & 0x7f), byte(x >> 40)}), 2), connectors.Int(schema.Integer, n%50),
			connectors.Text("note of order " + strconv.FormatInt(n, 10) + ", delivered to the back door"), connectors.Int(schema.TimestampNTZ, started*1000+n),
			connectors.Int(schema.Timestamp, started*1000+n), connectors.Bool(n%2 == 0), connectors.Float(float64(x>>40) / 7),
		}}}
}

// counted counts the bytes that are written.
type counted struct {
	store.Bucket
	n atomic.Int64
}

func (c *counted) Put(ctx context.Context, key string, data []byte) error {
	c.n.Add(int64(len(data)))
	return c.Bucket.Put(ctx, key, data)
}

func (c *counted) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	c.n.Add(int64(len(data)))
	return c.Bucket.PutIfAbsent(ctx, key, data)
}

func (c *counted) Create(ctx context.Context, key string) (io.WriteCloser, error) {
	w, err := c.Bucket.Create(ctx, key)
	return &countedWriter{w, &c.n}, err
}

type countedWriter struct {
	io.WriteCloser
	n *atomic.Int64
}

func (w *countedWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return w.WriteCloser.Write(p)
}

func open(ctx context.Context, dir string) (*silver.Merger, *counted, error) {
	return openWith(ctx, dir, silver.Upkeep{Manual: true})
}

func openWith(ctx context.Context, dir string, upkeep silver.Upkeep) (*silver.Merger, *counted, error) {
	return openAs(ctx, dir, upkeep, func(*config.Sink) {})
}

func openAs(ctx context.Context, dir string, upkeep silver.Upkeep, set func(*config.Sink)) (*silver.Merger, *counted, error) {
	b, err := file.Open(dir)
	if err != nil {
		return nil, nil, err
	}
	c := &counted{Bucket: b}
	conf := &config.Sink{Name: "bench", Format: "debezium", SilverMergeMode: "deletion-vectors", SilverSCDType: 1, SilverDeleteMode: "hard",
		SilverTruncateMode: "apply", SilverCompatibility: "widest", SilverTombstoneRetention: 7 * 24 * time.Hour,
		EvolveAdd: "evolve", EvolveWiden: "evolve", EvolveDrop: "evolve", EvolveType: "evolve"}
	set(conf)
	m, err := silver.Open(ctx, silver.Options{Bucket: c, Path: "ours", Connector: "bench", DataDir: filepath.Join(dir, "cache"), IndexMemory: indexMemory(), Upkeep: upkeep,
		Config: conf,
		DeadLetters: func(_ context.Context, l []connectors.DeadLetter) error {
			return fmt.Errorf("%d dead letters: %s", len(l), l[0].Reason)
		}})
	return m, c, err
}

// indexMemory is the bound of SLUICE_BENCH_INDEX_BYTES, to measure an index that does not fit into memory.
func indexMemory() func() int64 {
	n, err := strconv.ParseInt(os.Getenv("SLUICE_BENCH_INDEX_BYTES"), 10, 64)
	if err != nil {
		return nil
	}
	return func() int64 { return n }
}

// usage gives CPU seconds and the peak of resident memory in MB.
func usage() (cpu, rss float64) {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0, 0
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, float64(u.Maxrss) / 1024
}

func runStep(ctx context.Context, args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("%s needs a folder and a number of rows", args[0])
	}
	var nums [3]int
	for i, s := range args[2:min(len(args), 5)] {
		n, err := strconv.Atoi(s)
		if err != nil {
			return err
		}
		nums[i] = n
	}
	if err := os.MkdirAll(args[1], 0o755); err != nil {
		return err
	}
	var out Ours
	var err error
	switch args[0] {
	case "step=load":
		return load(ctx, args[1], nums[0])
	case "step=load-lines":
		return loadLines(ctx, args[1], int64(nums[0]))
	case "step=lines":
		out, err := lineMerges(ctx, args[1], int64(nums[0]), nums[1], nums[2])
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(out)
	case "step=ours":
		profile := ""
		if len(args) > 5 {
			profile = args[5]
		}
		out, err = rounds(ctx, args[1], nums[0], nums[1], nums[2], profile)
	case "step=takeover":
		profile := ""
		if len(args) > 5 {
			profile = args[5]
		}
		out, err = takeOver(ctx, args[1], nums[0], nums[1], nums[2], profile)
	case "step=skew":
		profile := ""
		if len(args) > 5 {
			profile = args[5]
		}
		out, err := skewStep(ctx, args[1], nums, profile)
		if err != nil {
			return err
		}
		return json.NewEncoder(os.Stdout).Encode(out)
	case "step=sustained":
		return sustainedStep(ctx, args[1], nums, args[5:])
	default:
		err = fmt.Errorf("%s is no step", args[0])
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// load makes the table, in batches as a snapshot of the source would bring them, and a copy of it without deletion vectors.
func load(ctx context.Context, dir string, rows int) error {
	m, _, err := open(ctx, dir)
	if err != nil {
		return err
	}
	const batch = 200_000
	version := int64(0)
	in := make([]connectors.Change, 0, batch)
	for at := 0; at < rows; {
		in = in[:0]
		for ; at < rows && len(in) < batch; at++ {
			in = append(in, change(int64(at), int64(at)+1, connectors.Insert))
		}
		if _, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Version: version, Changes: in}}); err != nil {
			return err
		}
		version++
	}
	if _, err := maintain(ctx, m); err != nil {
		return err
	}
	if err := m.Close(ctx); err != nil {
		return err
	}
	return plain(ctx, dir)
}

func maintain(ctx context.Context, m *silver.Merger) (time.Duration, error) {
	began := time.Now()
	for {
		did, err := m.Maintain(ctx)
		if err != nil || !did {
			return time.Since(began), err
		}
	}
}

// plain copies the table into one without deletion vectors, of the same files.
func plain(ctx context.Context, dir string) error {
	b, err := file.Open(dir)
	if err != nil {
		return err
	}
	from, err := delta.Open(ctx, b, "ours")
	if err != nil {
		return err
	}
	to, err := delta.Create(ctx, b, "theirs", delta.CreateOptions{Schema: from.Cached().Schema()})
	if err != nil {
		return err
	}
	snap, err := to.Snapshot(ctx)
	if err != nil {
		return err
	}
	c := to.NewCommit(snap)
	for a := range from.Cached().Files() {
		if a.DeletionVector != nil {
			return errors.New("the loaded table has deletion vectors")
		}
		if err := os.Link(filepath.Join(dir, "ours", a.Path), filepath.Join(dir, "theirs", a.Path)); err != nil {
			return err
		}
		x := *a
		c.Append(x)
	}
	return c.Do(ctx).Err
}

// updates are those of a round.
func updates(rows, n, round int) []connectors.Change {
	rng := rand.New(rand.NewPCG(uint64(round), 11))
	seen := make(map[int64]bool, n)
	out := make([]connectors.Change, 0, n)
	for len(out) < min(n, rows) {
		key := rng.Int64N(int64(rows)) + 1
		if !seen[key] {
			seen[key] = true
			out = append(out, change(int64(rows)+int64(round)*int64(n)+int64(len(out)), key, connectors.Update))
		}
	}
	return out
}

// rounds opens the table and merges.
func rounds(ctx context.Context, dir string, rows, n, count int, profile string) (Ours, error) {
	var out Ours
	cpu0, _ := usage()
	began := time.Now()
	m, c, err := open(ctx, dir)
	if err != nil {
		return out, err
	}
	cpu1, _ := usage()
	out.OpenSeconds, out.OpenCPU = time.Since(began).Seconds(), cpu1-cpu0
	version := m.Progress(feed)
	stop, err := profileTo(profile)
	if err != nil {
		return out, err
	}
	defer stop()
	known := map[string]bool{}
	for round := range count {
		in := updates(rows, n, round)
		version++
		bytes := c.n.Load()
		cpu, _ := usage()
		began := time.Now()
		res, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Version: version, Changes: in}})
		if err != nil {
			return out, err
		}
		after, _ := usage()
		out.Seconds, out.CPU, out.Bytes = append(out.Seconds, time.Since(began).Seconds()), append(out.CPU, after-cpu), append(out.Bytes, c.n.Load()-bytes)
		if !res.Committed || res.Upserted != len(in) {
			return out, fmt.Errorf("round %d: %+v, want %d rows in a commit", round, res, len(in))
		}
		out.Versions = append(out.Versions, res.Version)
		parts, err := filepath.Glob(filepath.Join(dir, "ours", "part-*.parquet"))
		if err != nil {
			return out, err
		}
		for _, p := range parts {
			if !known[p] && strings.HasPrefix(filepath.Base(p), fmt.Sprintf("part-%020d-", res.Version)) {
				known[p] = true
				out.Parts = append(out.Parts, p)
			}
		}
		took, err := maintain(ctx, m)
		if err != nil {
			return out, err
		}
		out.UpkeepSeconds += took.Seconds()
	}
	if len(out.Parts) != count {
		return out, fmt.Errorf("%d data files of %d rounds", len(out.Parts), count)
	}
	s := m.Stats()
	out.Rows, out.IndexBytes, out.IndexDisk, out.Files = s.Rows, s.IndexBytes, s.IndexDisk, s.Files
	_, out.RSS = usage()
	return out, m.Close(ctx)
}

// profileTo writes a CPU profile until stop is called; an empty name writes none.
func profileTo(name string) (stop func(), err error) {
	if name == "" {
		return func() {}, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close()
	}, nil
}

// takeOver opens the table as a new owner and merges one more round.
func takeOver(ctx context.Context, dir string, rows, n, round int, profile string) (Ours, error) {
	var out Ours
	stop, err := profileTo(profile)
	if err != nil {
		return out, err
	}
	defer stop()
	in := updates(rows, n, round)
	cpu0, _ := usage()
	began := time.Now()
	m, _, err := open(ctx, dir)
	if err != nil {
		return out, err
	}
	cpu1, _ := usage()
	out.OpenSeconds, out.OpenCPU = time.Since(began).Seconds(), cpu1-cpu0
	if _, err := m.Merge(ctx, []silver.Batch{{Feed: feed, Version: m.Progress(feed) + 1, Changes: in}}); err != nil {
		return out, err
	}
	cpu2, rss := usage()
	out.FirstSeconds, out.FirstCPU, out.RSS = time.Since(began).Seconds(), cpu2-cpu0, rss
	s := m.Stats()
	out.Rows, out.IndexBytes, out.IndexDisk, out.Files = s.Rows, s.IndexBytes, s.IndexDisk, s.Files
	return out, m.Close(ctx)
}
