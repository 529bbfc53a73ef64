package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

type connectorStatus struct {
	Name      string `json:"name"`
	Connector struct {
		State    string `json:"state"`
		WorkerID string `json:"worker_id"`
		Trace    string `json:"trace,omitempty"`
	} `json:"connector"`
	Tasks []struct {
		ID       int    `json:"id"`
		State    string `json:"state"`
		WorkerID string `json:"worker_id"`
		Trace    string `json:"trace,omitempty"`
	} `json:"tasks"`
	Type string `json:"type"`
}

func (a *app) connectorCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "connector", Aliases: []string{"connectors"}, Short: "Create, inspect and steer connectors over REST",
	}
	client := a.restFlag(c)
	c.AddCommand(
		a.connectorList(client), a.connectorCreate(client), a.connectorGet(client), a.connectorPut(client), a.connectorStatus(client),
		a.connectorVerb(client, "pause", "PUT", "/pause", "Stop reading, keep the tasks"),
		a.connectorVerb(client, "resume", "PUT", "/resume", "Read again after pause or stop"),
		a.connectorVerb(client, "stop", "PUT", "/stop", "Stop reading and give the tasks up"),
		a.connectorRestart(client),
		a.connectorVerb(client, "delete", "DELETE", "", "Forget a connector; its tables stay, and a new one of this name goes on"),
		a.connectorValidate(client),
	)
	return c
}

type clientFunc = func() (*restClient, error)

func (a *app) connectorList(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "List connectors with their states", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			var all map[string]struct {
				Status connectorStatus `json:"status"`
			}
			if _, err := r.do(cmd.Context(), "GET", "/connectors?expand=status", nil, &all); err != nil {
				return err
			}
			names := slices.Sorted(maps.Keys(all))
			if a.output == "json" {
				out := make([]connectorStatus, 0, len(names))
				for _, n := range names {
					out = append(out, all[n].Status)
				}
				return a.json(out)
			}
			if len(names) == 0 {
				_, err := fmt.Fprintln(a.Out, "no connectors; `sluice connector create NAME topics=… lake.url=…` makes one")
				return err
			}
			var rows [][]string
			for _, n := range names {
				st := all[n].Status
				running, failed := 0, 0
				for _, t := range st.Tasks {
					switch t.State {
					case "RUNNING":
						running++
					case "FAILED":
						failed++
					}
				}
				rows = append(rows, []string{n, st.Connector.State, fmt.Sprintf("%d of %d running, %d failed", running, len(st.Tasks), failed)})
			}
			return a.columns([]string{"NAME", "STATE", "TASKS"}, rows)
		},
	}
}

func (a *app) connectorCreate(client clientFunc) *cobra.Command {
	var file, state string
	c := &cobra.Command{
		Use: "create NAME [key=value …]", Short: "Create a connector", Args: cobra.MinimumNArgs(1),
		Example: "  sluice connector create shop topics.regex='shop\\.public\\..*' lake.url=file:///srv/lake\n" +
			"  sluice connector create shop --file shop.json",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			config, err := a.readConfig(file, args[1:])
			if err != nil {
				return err
			}
			if config["connector.class"] == "" {
				config["connector.class"] = "LakehouseSink"
			}
			body := map[string]any{"name": args[0], "config": config}
			if state != "" {
				body["initial_state"] = strings.ToUpper(state)
			}
			var made json.RawMessage
			if _, err := r.do(cmd.Context(), "POST", "/connectors", body, &made); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(made)
			}
			_, err = fmt.Fprintf(a.Out, "%s is made; `sluice connector status %s` shows what it does\n", args[0], args[0])
			return err
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "JSON or properties file with the configuration; - reads the input")
	c.Flags().StringVar(&state, "initial-state", "", "running, paused or stopped")
	return c
}

func (a *app) connectorGet(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "get NAME", Short: "Print a connector's configuration as submitted", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			var config map[string]string
			if _, err := r.do(cmd.Context(), "GET", connectorPath(args[0], "/config"), nil, &config); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(config)
			}
			for _, k := range slices.Sorted(maps.Keys(config)) {
				fmt.Fprintf(a.Out, "%s=%s\n", k, config[k])
			}
			return nil
		},
	}
}

func (a *app) connectorPut(client clientFunc) *cobra.Command {
	var file string
	var patch bool
	c := &cobra.Command{
		Use: "put NAME [key=value …]", Short: "Replace a connector's configuration (or, with --patch, change keys of it)", Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			config, err := a.readConfig(file, args[1:])
			if err != nil {
				return err
			}
			method, body := "PUT", any(config)
			if patch {
				method = "PATCH"
				m := map[string]*string{}
				for k, v := range config {
					if m[k] = &v; v == "" {
						m[k] = nil
					}
				}
				body = m
			} else if config["connector.class"] == "" {
				config["connector.class"] = "LakehouseSink"
			}
			var info json.RawMessage
			status, err := r.do(cmd.Context(), method, connectorPath(args[0], "/config"), body, &info)
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(info)
			}
			done := "changed"
			if status == 201 {
				done = "made"
			}
			_, err = fmt.Fprintf(a.Out, "%s is %s\n", args[0], done)
			return err
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "JSON or properties file with the configuration; - reads the input")
	c.Flags().BoolVar(&patch, "patch", false, "change only the keys given; key= takes one away")
	return c
}

func (a *app) connectorStatus(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "status NAME", Short: "Print the states of a connector and its tasks, with the traces of what failed", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			var st connectorStatus
			if _, err := r.do(cmd.Context(), "GET", connectorPath(args[0], "/status"), nil, &st); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(st)
			}
			fmt.Fprintf(a.Out, "%s: %s on %s\n", st.Name, st.Connector.State, st.Connector.WorkerID)
			if st.Connector.Trace != "" {
				fmt.Fprintf(a.Out, "  %s\n", strings.ReplaceAll(st.Connector.Trace, "\n", "\n  "))
			}
			var rows [][]string
			for _, t := range st.Tasks {
				first, _, _ := strings.Cut(t.Trace, "\n")
				rows = append(rows, []string{strconv.Itoa(t.ID), t.State, t.WorkerID, first})
			}
			if len(rows) == 0 {
				_, err := fmt.Fprintln(a.Out, "no tasks")
				return err
			}
			return a.columns([]string{"TASK", "STATE", "NODE", "TRACE"}, rows)
		},
	}
}

func (a *app) connectorVerb(client clientFunc, verb, method, tail, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb + " NAME", Short: short, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			if _, err := r.do(cmd.Context(), method, connectorPath(args[0], tail), nil, nil); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]string{"name": args[0], "done": verb})
			}
			_, err = fmt.Fprintf(a.Out, "%s: %s accepted\n", args[0], verb)
			return err
		},
	}
}

func (a *app) connectorRestart(client clientFunc) *cobra.Command {
	var tasks, failed bool
	var task int
	c := &cobra.Command{
		Use: "restart NAME", Short: "Restart a connector, its tasks, or one task", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			tail := fmt.Sprintf("/restart?includeTasks=%t&onlyFailed=%t", tasks, failed)
			if task >= 0 {
				tail = fmt.Sprintf("/tasks/%d/restart", task)
			}
			if _, err := r.do(cmd.Context(), "POST", connectorPath(args[0], tail), nil, nil); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]string{"name": args[0], "done": "restart"})
			}
			_, err = fmt.Fprintf(a.Out, "%s: restart accepted\n", args[0])
			return err
		},
	}
	c.Flags().BoolVar(&tasks, "tasks", false, "restart the tasks as well")
	c.Flags().BoolVar(&failed, "failed", false, "only what has failed")
	c.Flags().IntVar(&task, "task", -1, "restart this task only")
	return c
}

func (a *app) connectorValidate(client clientFunc) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "validate [key=value …]", Short: "Check a configuration without creating anything",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			config, err := a.readConfig(file, args)
			if err != nil {
				return err
			}
			if config["connector.class"] == "" {
				config["connector.class"] = "LakehouseSink"
			}
			if config["name"] == "" {
				config["name"] = "unnamed" // a configuration is valid under any name
			}
			var report struct {
				Errors  int `json:"error_count"`
				Configs []struct {
					Value struct {
						Name   string   `json:"name"`
						Value  *string  `json:"value"`
						Errors []string `json:"errors"`
					} `json:"value"`
				} `json:"configs"`
			}
			if _, err := r.do(cmd.Context(), "PUT", "/connector-plugins/"+config["connector.class"]+"/config/validate", config, &report); err != nil {
				return err
			}
			if a.output == "json" {
				if err := a.json(report); err != nil {
					return err
				}
			} else if report.Errors == 0 {
				_, err := fmt.Fprintln(a.Out, "valid")
				return err
			} else {
				for _, c := range report.Configs {
					for _, e := range c.Value.Errors {
						fmt.Fprintf(a.Out, "%s: %s\n", c.Value.Name, e)
					}
				}
			}
			if report.Errors > 0 {
				return foundError{errors.New("the configuration is invalid")}
			}
			return nil
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "JSON or properties file with the configuration; - reads the input")
	return c
}
