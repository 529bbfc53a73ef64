package dev

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice.io/sluice/cmd/sluice/node"
	"sluice.io/sluice/cmd/sluice/settings"
	"sluice.io/sluice/connectors/store/stores"
	"sluice.io/sluice/internal/devbroker"
	"sluice.io/sluice/internal/shop"
	"sluice.io/sluice/internal/shop/feed"
)

// Options of a run.
type Options struct {
	// Data is the folder that keeps everything.
	Data string
	// Rate is how many events a second the shop writes; 0: as many as the broker takes.
	Rate float64
	// Calm leaves out what goes wrong in the shop.
	Calm bool
	// Seed of a shop that begins anew.
	Seed uint64
	// BrokerListen is where the embedded broker listens.
	BrokerListen string
	// Settings of the node; data.dir, lake.url and kafka.* are set here.
	Settings *settings.Settings
	Version  string
	// Program is how the user calls the binary, for the commands that are shown. Default sluice.
	Program string
	// Log gets the node's lines; Out the view.
	Log slog.Handler
	Out io.Writer
	// Width gives the terminal's width; nil: Out is no terminal and gets plain lines.
	Width func() int
	// Every is the time between two plain lines of a table. Default 5 s.
	Every time.Duration
	// For ends the run by itself after this time; 0: never.
	For time.Duration
	// Settle is how long the end waits for silver to show all that the shop has written. Default 5 s.
	Settle time.Duration
}

// connector is the name under which the shop's topics are read.
const connector = "shop"

// Run runs the pipeline until ctx ends.
func Run(ctx context.Context, o Options) error {
	if o.Program == "" {
		o.Program = "sluice"
	}
	if o.Every == 0 {
		o.Every = 5 * time.Second
	}
	if o.Settle == 0 {
		o.Settle = 5 * time.Second
	}
	if o.For > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, o.For)
		defer cancel()
	}
	began := time.Now()
	if err := os.MkdirAll(o.Data, 0o755); err != nil {
		return fmt.Errorf("--data is %s, and the folder can't be made: %w", o.Data, err)
	}
	lock, err := node.LockDir(o.Data, "--data") // before the broker touches its files
	if err != nil {
		return err
	}
	defer lock.Close()
	lake := filepath.Join(o.Data, "lake")
	o.Settings.DataDir = filepath.Join(o.Data, "node")
	o.Settings.LakeURL = "file://" + filepath.ToSlash(lake)

	broker, err := devbroker.Open(devbroker.Options{Dir: filepath.Join(o.Data, "broker"), Listen: o.BrokerListen})
	if err != nil {
		return o.explain(err)
	}
	defer broker.Close()
	o.Settings.Kafka["bootstrap.servers"] = broker.Addr()

	mishaps := shop.Usual
	if o.Calm {
		mishaps = shop.Calm
	}
	bucket, err := stores.Open(ctx, o.Settings.LakeURL)
	if err != nil {
		return err
	}
	defer bucket.Close()
	source, err := feed.Open(ctx, feed.Options{Brokers: []string{broker.Addr()}, State: filepath.Join(o.Data, "shop.json"), Rate: o.Rate,
		Shop: shop.Options{Seed: o.Seed, Schemas: true, Unavailable: true, Mishaps: mishaps, MaxOrders: 5_000, Start: time.Now()}})
	if err != nil {
		return o.explain(err)
	}
	defer source.Close()
	w := newWatch(bucket, source.Shop().Topics())

	n, err := node.Start(ctx, node.Options{Settings: o.Settings, Version: o.Version, Log: o.Log})
	if err != nil {
		return o.explain(err)
	}
	// The shop stops first and the node last, so that a drain brings all events to the tables.
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNode()
	var g errgroup.Group
	ended := make(chan struct{})
	g.Go(func() error {
		defer close(ended)
		return n.Run(nodeCtx)
	})
	life, stopLife := context.WithCancel(ctx)
	defer stopLife()
	go func() { // a node that fails ends the run
		<-ended
		stopLife()
	}()
	err = o.register(life, n, source.Shop())
	if err == nil {
		err = o.live(life, began, n, broker.Addr(), source, w)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if err == nil && ctx.Err() != nil {
		o.say("stopping: the shop is closed, the tables take what is left")
		settle(n, w, source.Ends(), o.Settle)
	}
	stopNode()
	if nodeErr := g.Wait(); nodeErr != nil {
		err = errors.Join(nodeErr, err)
	}
	if err != nil {
		return o.explain(err)
	}
	o.farewell(lake, source.Shop())
	return nil
}

func (o Options) say(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }

// register makes the connector through the REST API, as anybody would.
func (o Options) register(ctx context.Context, n *node.Node, s *shop.Shop) error {
	select {
	case <-n.Ready():
	case <-ctx.Done():
		return ctx.Err()
	}
	topics := ""
	for i, t := range s.Topics() {
		if i > 0 {
			topics += ","
		}
		topics += t
	}
	body, err := json.Marshal(map[string]string{
		"connector.class": "LakehouseSink", "topics": topics, "cdc.format": "debezium", "commit.interval.ms": "250",
	})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, n.URL()+"/connectors/"+connector+"/config", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("register the connector: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return fmt.Errorf("register the connector: %s: %s", resp.Status, text)
	}
	return nil
}

// live runs the shop and shows what happens, until ctx ends.
func (o Options) live(ctx context.Context, began time.Time, n *node.Node, broker string, source *feed.Feed, w *watch) error {
	var g errgroup.Group
	stop := make(chan struct{})
	g.Go(func() error { defer close(stop); return source.Run(ctx) })
	sc := screen{out: o.Out, width: o.Width}
	look := time.NewTicker(200 * time.Millisecond)
	defer look.Stop()
	var printed time.Time
	first, note := false, ""
	for running := true; running; {
		select {
		case <-stop:
			running = false
		case <-look.C:
		}
		if err := w.lookLetters(context.WithoutCancel(ctx)); err != nil {
			note = err.Error()
		} else {
			note = ""
		}
		v := view{REST: n.URL(), Broker: broker, Lake: filepath.Join(o.Data, "lake"), Written: source.Written(), Up: time.Since(began),
			Tables: w.tables(n.Stats(), source.Ends(), time.Now()), Note: note}
		for _, t := range v.Tables {
			if t.Silver > 0 && !first {
				first = true
				if o.Width == nil {
					o.say("first silver rows %.1f s after the start", time.Since(began).Seconds())
				}
				printed = time.Time{}
			}
		}
		switch {
		case o.Width != nil:
			sc.draw(v.lines(time.Now()))
		case time.Since(printed) >= o.Every || !running:
			printed = time.Now()
			for _, l := range v.plain(printed) {
				o.say("%s", l)
			}
		}
	}
	return g.Wait()
}

// settle waits until silver shows all of the shop, or the limit has passed.
func settle(n *node.Node, w *watch, ends map[string][]int64, limit time.Duration) {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		lag := int64(0)
		for _, t := range w.tables(n.Stats(), ends, time.Now()) {
			lag += t.Lag
		}
		if lag == 0 {
			return
		}
	}
}

// farewell says how to look at the tables.
func (o Options) farewell(lake string, s *shop.Shop) {
	orders := s.Topics()[1]
	path := filepath.Join(lake, "silver", orders)
	o.say(`
The tables are in %[1]s. Look at them:

  %[4]s table list %[1]s
  %[4]s table cat %[2]s --limit 10

  DuckDB:  duckdb -c "INSTALL delta; LOAD delta; SELECT status, count(*), sum(total) FROM delta_scan('%[2]s') GROUP BY status"
  Polars:  python -c "import polars as pl; print(pl.scan_delta('%[2]s').group_by('status').len().collect())"

'%[4]s dev' again goes on where this ended; deleting %[3]s begins anew.`, lake, path, o.Data, o.Program)
}

// explain adds the way out to errors that a newcomer can meet.
func (o Options) explain(err error) error {
	var corrupt *devbroker.CorruptError
	switch {
	case errors.Is(err, devbroker.ErrPortTaken):
		return fmt.Errorf("%w; choose another with --broker-listen", err)
	case errors.As(err, &corrupt):
		return fmt.Errorf("%w. It holds the sample's events only: delete %s to begin anew", err, o.Data)
	case errors.Is(err, feed.ErrLost):
		return fmt.Errorf("%w. The broker's files in %s and the shop's state in %s don't fit each other: delete %s to begin anew",
			err, filepath.Join(o.Data, "broker"), filepath.Join(o.Data, "shop.json"), o.Data)
	case errors.Is(err, feed.ErrState):
		return fmt.Errorf("%w. Delete %s to begin anew", err, o.Data)
	}
	return err
}
