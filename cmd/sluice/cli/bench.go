package cli

import (
	"errors"

	"github.com/spf13/cobra"

	"sluice.io/sluice/cmd/sluice/bench"
)

func (a *app) benchCommand() *cobra.Command {
	o := bench.Options{}
	var events int
	var memory int64
	c := &cobra.Command{
		Use: "bench [all | bronze | backlog | fresh …]", Short: "Measure this binary on this machine",
		Long: "Measure this binary on this machine. Broker and worker run as processes of their own, so that the CPU and memory of each are\n" +
			"known apart; every figure is the median of several runs, and is printed with the size of the machine.\n\n" +
			"  bronze   small JSON events into bronze\n" +
			"  backlog  Debezium events over 200 000 keys into bronze and silver\n" +
			"  fresh    5 000 events a second: from the append in Kafka to the commit in silver",
		ValidArgs: []string{"all", "bronze", "backlog", "fresh"},
		Args:      cobra.OnlyValidArgs,
	}
	f := c.Flags()
	f.IntVar(&o.Runs, "runs", 3, "how many times each figure is measured")
	f.IntVar(&events, "events", 0, "events of bronze and backlog (default 4 and 1 million)")
	f.IntVar(&o.FreshSeconds, "seconds", 30, "how long freshness is measured")
	f.Int64Var(&memory, "memory", 500, "memory limit of the worker in MiB")
	f.Int64Var(&o.Interval, "interval", 0, "commit.interval.ms (default the connector's)")
	f.Int64Var(&o.MaxBytes, "max-bytes", 0, "commit.max.bytes (default the connector's)")
	f.StringVar(&o.Dir, "dir", "", "folder to work in (default the system's temporary folder)")
	f.StringVar(&o.Profile, "profile", "", "write CPU profiles of the worker to files that begin so")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if a.output != "text" {
			return usagef("bench prints text only")
		}
		if o.Runs < 1 {
			return usagef("--runs is %d: one at least", o.Runs)
		}
		o.BronzeEvents, o.BacklogEvents, o.MemoryLimit, o.Out = events, events, memory<<20, a.Out
		for _, name := range args {
			if name != "all" {
				o.Figures = append(o.Figures, name)
			}
		}
		if err := bench.Run(cmd.Context(), o); err != nil && !errors.Is(err, cmd.Context().Err()) {
			return err
		}
		return nil
	}
	return c
}
