package cli

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sluice.io/sluice/cmd/sluice/dev"
)

func (a *app) devCommand() *cobra.Command {
	o := dev.Options{Program: os.Args[0]}
	var data string
	var fast bool
	c := &cobra.Command{
		Use: "dev", Short: "Run the whole pipeline on a sample shop; nothing else is needed", Args: cobra.NoArgs,
		Long: "Run the whole pipeline in one process: an embedded Kafka broker, a sample shop whose change events it gets, a node, and a view\n" +
			"of the bronze and silver tables as they grow. Everything is kept in the folder --data, and goes on when started again.",
	}
	load := a.settingFlags(c, map[string]string{"rest.listen": "127.0.0.1:8083", "peer.listen": "127.0.0.1:8093", "node.id": "dev", "log.level": "warn"},
		"data.dir", "lake.url", "kafka.bootstrap.servers", "cluster.join")
	c.Flags().StringVar(&data, "data", filepath.Join(".", "data", "dev"), "folder that keeps everything")
	c.Flags().Float64Var(&o.Rate, "rate", 200, "events that the shop writes a second")
	c.Flags().BoolVar(&fast, "fast", false, "as fast as the broker takes them (same as --rate 0)")
	c.Flags().BoolVar(&o.Calm, "calm", false, "nothing goes wrong in the shop: no truncates, repeats, late or malformed events")
	c.Flags().Uint64Var(&o.Seed, "seed", 1, "seed of a shop that begins anew")
	c.Flags().StringVar(&o.BrokerListen, "broker-listen", "127.0.0.1:0", "where the embedded broker listens; port 0 takes a free one")
	c.Flags().DurationVar(&o.For, "for", 0, "stop after this time")
	c.Flags().DurationVar(&o.Every, "every", 5*time.Second, "time between two lines of a table when the output is no terminal")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if fast {
			if cmd.Flags().Changed("rate") && o.Rate != 0 {
				return usagef("--fast and --rate say different things; give one")
			}
			o.Rate = 0
		}
		if o.Rate < 0 {
			return usagef("--rate is %v: give the number of events a second, 0 for as many as go", o.Rate)
		}
		s, err := load()
		if err != nil {
			return err
		}
		if o.Data, err = filepath.Abs(data); err != nil {
			return err
		}
		o.Settings, o.Version, o.Out = s, a.version, a.Out
		var closer io.Closer
		if o.Log, closer, err = a.devLog(o.Data, s.LogFormat); err != nil {
			return err
		}
		defer closer.Close()
		if f, ok := a.Out.(*os.File); ok && isTerminal(f) {
			o.Width = func() int {
				w, _, err := term.GetSize(int(f.Fd()))
				if err != nil {
					return 0
				}
				return w
			}
		}
		limitMemory(s.MemoryLimit)
		return dev.Run(cmd.Context(), o)
	}
	return c
}

// devLog writes the node's lines to a file where the view has the terminal, else to the error stream.
func (a *app) devLog(data, format string) (slog.Handler, io.Closer, error) {
	if !isTerminal(a.Out) {
		return logHandler(a.Err, format), io.NopCloser(nil), nil
	}
	if err := os.MkdirAll(data, 0o755); err != nil {
		return nil, nil, err
	}
	f, err := os.OpenFile(filepath.Join(data, "sluice.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, nil, err
	}
	return logHandler(f, "text"), f, nil
}
