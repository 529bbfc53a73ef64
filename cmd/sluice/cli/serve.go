package cli

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"sluice.io/sluice/cmd/sluice/node"
	"sluice.io/sluice/cmd/sluice/settings"
)

// settingFlags adds a flag for every setting, and gives a function that loads them all.
func (a *app) settingFlags(c *cobra.Command, defaults map[string]string, skip ...string) func() (*settings.Settings, error) {
	var file string
	var sets []string
	values := map[string]*string{}
	c.Flags().StringVarP(&file, "config", "c", "", "settings file (YAML, nested or dotted names); default $SLUICE_CONFIG")
	c.Flags().StringArrayVar(&sets, "set", nil, "any setting as name=value, such as kafka.security.protocol=SSL; may be repeated")
	for _, d := range settings.Definitions() {
		if contains(skip, d.Name) {
			continue
		}
		v := new(string)
		values[d.Name] = v
		def := d.Default
		if x, ok := defaults[d.Name]; ok {
			def = x
		}
		if d.DefaultText != "" {
			def = d.DefaultText
		}
		help := d.Help
		if def != "" {
			help += " (default " + def + ")"
		}
		if len(d.Choices) > 0 {
			help += "; one of " + strings.Join(d.Choices, ", ")
		}
		c.Flags().StringVar(v, d.Flag(), "", help)
		c.Flags().Lookup(d.Flag()).DefValue = ""
	}
	return func() (*settings.Settings, error) {
		src := settings.Sources{Defaults: defaults, File: file, Environ: a.environ, Flags: map[string]string{}}
		if src.File == "" {
			src.File = lookup(a.environ, "SLUICE_CONFIG")
		}
		for name, v := range values {
			if c.Flags().Changed(settings.Definition{Name: name}.Flag()) {
				src.Flags[name] = *v
			}
		}
		for _, s := range sets {
			k, v, ok := strings.Cut(s, "=")
			if !ok {
				return nil, usagef("--set is %q: give name=value", s)
			}
			src.Flags[k] = v
		}
		s, err := settings.Load(src)
		if err != nil {
			return nil, usageError{err}
		}
		return s, nil
	}
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// logHandler writes lines as log.format says. It lets every level through: the loggers decide.
func logHandler(w io.Writer, format string) slog.Handler {
	o := &slog.HandlerOptions{Level: slog.Level(-100)}
	if format == "json" || format == "auto" && !isTerminal(w) {
		return slog.NewJSONHandler(w, o)
	}
	return slog.NewTextHandler(w, o)
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

func (a *app) serveCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "serve", Short: "Run a node against your own Kafka", Args: cobra.NoArgs,
		Long: "Run a node: a whole pipeline by itself, or a member of a cluster (cluster.join).\n\n" +
			"Every setting may be given in the file, as SLUICE_… in the environment, or as a flag, in rising order.\n" +
			"SIGTERM and Ctrl-C drain: batches are finished and tasks handed over. A second one ends the process at once.",
		Example: "  sluice serve --kafka-bootstrap-servers localhost:9092 --lake-url file:///srv/lake\n" +
			"  sluice serve --config sluice.yaml",
	}
	load := a.settingFlags(c, nil)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		s, err := load()
		if err != nil {
			return err
		}
		crash, err := crashAt(lookup(a.environ, "SLUICE_CRASH_AT"), syscall.SIGKILL)
		if crash == nil && err == nil {
			crash, err = crashAt(lookup(a.environ, "SLUICE_STOP_AT"), syscall.SIGSTOP)
		}
		if err != nil {
			return err
		}
		limitMemory(s.MemoryLimit)
		n, err := node.Start(cmd.Context(), node.Options{Settings: s, Version: a.version, Log: logHandler(a.Err, s.LogFormat), Crash: crash})
		if err != nil {
			return err
		}
		return n.Run(cmd.Context())
	}
	return c
}

// crashAt gives a hook that sends this process a signal when a commit gets to a phase for the n-th time. Only the kill tests
// set it: SLUICE_CRASH_AT=phase:n ends the process with SIGKILL; SLUICE_STOP_AT=phase:n makes a zombie of it with SIGSTOP, once.
func crashAt(spec string, signal syscall.Signal) (func(string), error) {
	if spec == "" {
		return nil, nil
	}
	phase, times, _ := strings.Cut(spec, ":")
	n := 1
	if times != "" {
		var err error
		if n, err = strconv.Atoi(times); err != nil {
			return nil, fmt.Errorf("SLUICE_CRASH_AT or SLUICE_STOP_AT is %q: give phase:times", spec)
		}
	}
	var mu sync.Mutex
	return func(at string) {
		mu.Lock()
		defer mu.Unlock()
		if at != phase {
			return
		}
		switch n--; {
		case n > 0:
		case signal == syscall.SIGKILL:
			_ = syscall.Kill(syscall.Getpid(), signal)
			select {}
		case n == 0:
			_ = syscall.Kill(syscall.Getpid(), signal)
			time.Sleep(100 * time.Millisecond) // the stop takes effect on all threads within this; SIGCONT ends it
		}
	}, nil
}
