package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sluice.io/sluice/cmd/sluice/bench"
)

// Streams are where a command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
	// exitFound: the command worked and what it looked for is not as it should be (verify, diff, doctor).
	exitFound = 3
)

// usageError is an error of the one who typed.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// foundError says that a check came out badly; its findings are printed already.
type foundError struct{ error }

// app is what all commands share.
type app struct {
	Streams
	environ []string
	version string
	output  string
}

// Main runs the command line and gives the exit code. It never ends the process.
func Main(s Streams, environ, args []string, version string) int {
	a := &app{Streams: s, environ: environ, version: buildVersion(version)}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)

	// The first signal asks for an orderly end; after it the default is back, so the second one is hard.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)

	if mine, err := bench.Child(ctx, args, s.In, s.Out); mine {
		if err != nil {
			fmt.Fprintf(s.Err, "sluice: %v\n", err)
			return exitFailure
		}
		return exitOK
	}
	err := root.ExecuteContext(ctx)
	var found foundError
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &found):
		return exitFound
	case errors.Is(err, syscall.EPIPE):
		return exitOK // whoever read us has seen enough
	}
	text := err.Error()
	if strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, "\n", "\n  ")
	}
	fmt.Fprintf(s.Err, "sluice: %s\n", text)
	if errors.As(err, &usage) || strings.HasPrefix(text, "unknown command") {
		return exitUsage
	}
	return exitFailure
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "sluice",
		Short:         "Keep a Delta Lake lakehouse current from change topics in Kafka",
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.NoArgs,
	}
	root.PersistentFlags().StringVarP(&a.output, "output", "o", "text", "text or json")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		// --rest.listen is --rest-listen: a setting has one name.
		return pflag.NormalizedName(strings.NewReplacer(".", "-", "_", "-").Replace(name))
	})
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if a.output != "text" && a.output != "json" {
			return usagef("--output is %q: give text or json", a.output)
		}
		return nil
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return usagef("%w; `%s --help` lists the flags", err, c.CommandPath())
	})
	root.AddCommand(a.devCommand(), a.serveCommand(), a.connectorCommand(), a.tableCommand(), a.clusterCommand(),
		a.doctorCommand(), a.benchCommand(), a.versionCommand())
	usageOfArgs(root)
	return root
}

// usageOfArgs makes wrong arguments an error of usage.
func usageOfArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usagef("%w; `%s --help` says what it takes", err, c.CommandPath())
			}
			return nil
		}
	}
	if c.HasSubCommands() && c.Run == nil && c.RunE == nil {
		c.Args = nil
		c.RunE = func(c *cobra.Command, args []string) error {
			if len(args) > 0 {
				if near := c.SuggestionsFor(args[0]); len(near) > 0 {
					return usagef("%s has no command %q; did you mean %s?", c.CommandPath(), args[0], strings.Join(near, ", "))
				}
				return usagef("%s has no command %q; `%s --help` lists them", c.CommandPath(), args[0], c.CommandPath())
			}
			return c.Help()
		}
		c.SuggestionsMinimumDistance = 2
	}
	for _, sub := range c.Commands() {
		usageOfArgs(sub)
	}
}

func buildVersion(linked string) string {
	if linked != "" {
		return linked
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel-" + s.Value[:12]
		}
	}
	return "devel"
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			goVersion := ""
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
			}
			if a.output == "json" {
				return a.json(map[string]string{"version": a.version, "go": goVersion})
			}
			_, err := fmt.Fprintf(a.Out, "sluice %s (%s)\n", a.version, goVersion)
			return err
		},
	}
}
