package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"strconv"
	"time"

	"sluice.io/sluice/connectors/cdc/formats"
	"sluice.io/sluice/connectors/kafka"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/internal/ownership"
	"sluice.io/sluice/worker"
)

// measured is what a worker's process tells of its run.
type measured struct {
	Events         int64
	Seconds        float64
	CPU            float64 // seconds of this process in the measured time
	Commits        int64   // of bronze
	Merges         int64   // of silver
	P50, P99, P999 float64 // freshness, ms
	Rows           int64
}

// static is an Ownership that never changes.
type static struct {
	conns []ownership.Connector
	mine  []ownership.Assignment
	never chan struct{}
}

func (s *static) Owned() ([]ownership.Connector, []ownership.Assignment, <-chan struct{}) {
	return s.conns, s.mine, s.never
}
func (s *static) Release(context.Context, ownership.TaskID, uint64) error  { return nil }
func (s *static) Report(context.Context, []ownership.TaskStatus) error     { return nil }
func (s *static) AddActiveTopics(context.Context, string, ...string) error { return nil }

// job is what a worker's process is to do.
type job struct {
	What       string // bronze, backlog, fresh
	Broker     string
	Lake       string
	Events     int64
	Partitions int32
	Memory     int64
	// Interval is commit.interval.ms, MaxBytes commit.max.bytes; 0: the defaults.
	Interval int64
	MaxBytes int64
	Profile  string // file for a CPU profile; a heap profile goes beside it
}

func (j job) topic() string {
	if j.What == "bronze" {
		return smallTopic
	}
	return ordersTopic
}

// workerMain is the process of one run. It says "up", runs until all events are in the lake (or its input ends, for fresh), and prints
// what it measured.
func workerMain(ctx context.Context, args []string, in io.Reader, out io.Writer) (err error) {
	if len(args) != 1 {
		return errors.New("bench worker: a job is needed")
	}
	var j job
	if err := json.Unmarshal([]byte(args[0]), &j); err != nil {
		return err
	}
	debug.SetMemoryLimit(j.Memory - j.Memory/10) // as sluice serve does
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(300)
	}
	conf := map[string]string{
		"connector.class": "LakehouseSink", "topics": j.topic(), "lake.url": "file://" + j.Lake, "cdc.format": "debezium",
		"silver.enabled": strconv.FormatBool(j.What != "bronze"),
	}
	if j.Interval > 0 {
		conf["commit.interval.ms"] = strconv.FormatInt(j.Interval, 10)
	}
	if j.MaxBytes > 0 {
		conf["commit.max.bytes"] = strconv.FormatInt(j.MaxBytes, 10)
	}
	own := &static{never: make(chan struct{}), conns: []ownership.Connector{{Name: "bench", Config: conf, Target: ownership.TargetRunning, Version: 1}}}
	for p := range j.Partitions {
		own.mine = append(own.mine, ownership.Assignment{Epoch: 1, Task: ownership.Task{
			ID: ownership.TaskID{Connector: "bench", Kind: ownership.PartitionTask, Topic: j.topic(), Group: p}, Partitions: []int32{p}}})
	}
	table := "silver/" + j.topic()
	if j.What != "bronze" {
		own.mine = append(own.mine, ownership.Assignment{Epoch: 1, Task: ownership.Task{
			ID: ownership.TaskID{Connector: "bench", Kind: ownership.TableTask, Table: table}, Topics: []string{j.topic()}}})
	}
	rt, err := worker.New(worker.Options{
		Node: "bench", Ownership: own, Kafka: kafka.Properties{"bootstrap.servers": j.Broker}, OpenLake: stores.Open,
		Formats: formats.Default(), DataDir: j.Lake, MemoryLimit: j.Memory,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	if err != nil {
		return err
	}
	if j.Profile != "" {
		f, err := os.Create(j.Profile)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
		defer func() { err = errors.Join(err, heapProfile(j.Profile+".heap")) }()
	}
	runCtx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	start, cpu := time.Now(), cpuSeconds()
	go func() { ended <- rt.Run(runCtx) }()
	if j.What == "fresh" {
		if err := untilCaughtUp(ctx, rt, j); err != nil {
			stop()
			return errors.Join(err, <-ended)
		}
		rt.ResetFreshness()
		start, cpu = time.Now(), cpuSeconds()
		j.Events = rt.Stats().Tables[0].Events
		fmt.Fprintln(out, "up")
		_, _ = io.Copy(io.Discard, in) // until the parent has produced all
	} else if err := untilCaughtUp(ctx, rt, j); err != nil {
		stop()
		return errors.Join(err, <-ended)
	}
	m := measured{Events: j.Events, Seconds: time.Since(start).Seconds(), CPU: cpuSeconds() - cpu}
	st := rt.Stats()
	m.Commits, m.Rows = st.Topics[0].Commits, st.Topics[0].Rows
	if len(st.Tables) > 0 {
		m.Merges = st.Tables[0].Merges
		ms := func(q float64) float64 { return float64(rt.Freshness("bench", table, q).Milliseconds()) }
		m.P50, m.P99, m.P999 = ms(0.5), ms(0.99), ms(0.999)
		m.Rows = st.Tables[0].Rows
		if j.What == "fresh" {
			m.Events = st.Tables[0].Events - j.Events
		}
	}
	stop()
	if err := <-ended; err != nil {
		return err
	}
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "measured", string(text))
	return nil
}

// heapProfile writes what was allocated since the start.
func heapProfile(name string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(f, 0), f.Close())
}

// untilCaughtUp waits until all events are where they belong.
func untilCaughtUp(ctx context.Context, rt *worker.Runtime, j job) error {
	deadline := time.Now().Add(10 * time.Minute)
	for {
		st := rt.Stats()
		for _, t := range st.Tasks {
			if t.State == ownership.Failed {
				return fmt.Errorf("task %s: %s", t.Task, t.Trace)
			}
		}
		if len(st.Topics) == 1 && st.Topics[0].Appended >= j.Events {
			if j.What == "bronze" || len(st.Tables) == 1 && st.Tables[0].Events >= j.Events {
				return nil
			}
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not done after ten minutes: %+v", st)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
}
