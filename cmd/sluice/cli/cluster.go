package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

type memberInfo struct {
	ID          string `json:"id"`
	PeerAddress string `json:"peer_address"`
	RESTAddress string `json:"rest_address"`
	Voter       bool   `json:"voter"`
	Alive       bool   `json:"alive"`
	Draining    bool   `json:"draining"`
	Leader      bool   `json:"leader"`
	Version     string `json:"version"`
	Tasks       int    `json:"tasks"`
}

// condition is what a node says of itself.
type condition struct {
	Node           string `json:"node"`
	Problem        string `json:"problem,omitempty"`
	AppliedIndex   uint64 `json:"applied_index"`
	Term           uint64 `json:"term"`
	HoldsLease     bool   `json:"holds_lease"`
	LeasesLost     int64  `json:"leases_lost"`
	LeaseLostMs    int64  `json:"lease_lost_ms"`
	RefusedCommits int64  `json:"refused_commits"`
	ClockAheadMs   int64  `json:"clock_ahead_ms"`
	Binary         string `json:"binary"`
	CommandVersion uint32 `json:"command_version"`
	PeerVersion    uint32 `json:"peer_version"`
	SnapshotFormat uint32 `json:"snapshot_format"`
}

// remarks are what somebody who looks after the cluster should know; none of a node that is well.
func (c condition) remarks(now time.Time) []string {
	if c.Problem != "" {
		return []string{"does not answer: " + c.Problem}
	}
	var out []string
	if !c.HoldsLease {
		out = append(out, "is out of touch with the leader and runs no tasks")
	}
	if c.LeasesLost > 0 {
		out = append(out, fmt.Sprintf("has lost touch with the leader %d times since it started, last %s ago; its tasks stopped meanwhile", c.LeasesLost,
			now.Sub(time.UnixMilli(c.LeaseLostMs)).Round(time.Second)))
	}
	if c.RefusedCommits > 0 {
		out = append(out, fmt.Sprintf("%d of its commits were refused by tables' logs: others had taken its tasks over", c.RefusedCommits))
	}
	if d := time.Duration(c.ClockAheadMs) * time.Millisecond; d.Abs() > clockRemark {
		out = append(out, fmt.Sprintf("its clock is %s off that of the node asked", d.Abs().Round(100*time.Millisecond)))
	}
	return out
}

// clockRemark is how far two clocks may be apart before the status says so: requests take time, too.
const clockRemark = 2 * time.Second

func (m memberInfo) role() string {
	switch {
	case m.Leader:
		return "leader"
	case m.Voter:
		return "voter"
	}
	return "follower"
}

func (m memberInfo) state() string {
	switch {
	case !m.Alive:
		return "dead"
	case m.Draining:
		return "draining"
	}
	return "alive"
}

func (a *app) clusterCommand() *cobra.Command {
	c := &cobra.Command{Use: "cluster", Short: "Look at and steer the cluster over REST"}
	client := a.restFlag(c)
	c.AddCommand(a.clusterStatus(client), a.clusterMembers(client), a.clusterDrain(client),
		a.clusterDo(client, "undrain NODE", "Let a drained node have tasks again", cobra.ExactArgs(1), func(args []string) (string, string) {
			return "DELETE", "/sluice/v1/cluster/members/" + url.PathEscape(args[0]) + "/drain"
		}),
		a.clusterDo(client, "remove NODE", "Take a node out of the cluster for good", cobra.ExactArgs(1), func(args []string) (string, string) {
			return "DELETE", "/sluice/v1/cluster/members/" + url.PathEscape(args[0])
		}),
		a.clusterDo(client, "transfer-leader [NODE]", "Hand leadership to a node, or to the most current one", cobra.MaximumNArgs(1), func(args []string) (string, string) {
			path := "/sluice/v1/cluster/leader"
			if len(args) > 0 {
				path += "/" + url.PathEscape(args[0])
			}
			return "PUT", path
		}),
		a.clusterSnapshot(client), a.clusterRestore(client), a.clusterRecover())
	return c
}

func (a *app) clusterStatus(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "Say how the cluster is", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			var st struct {
				ClusterID  string       `json:"cluster_id"`
				Node       string       `json:"node"`
				Leader     string       `json:"leader"`
				Members    []memberInfo `json:"members"`
				Connectors int          `json:"connectors"`
				Conditions []condition  `json:"conditions"`
			}
			if _, err := r.do(cmd.Context(), "GET", "/sluice/v1/cluster", nil, &st); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(st)
			}
			alive, voters := 0, 0
			for _, m := range st.Members {
				if m.Alive {
					alive++
				}
				if m.Voter {
					voters++
				}
			}
			leader := st.Leader
			if leader == "" {
				leader = "none: writes wait until one is elected"
			}
			rows := [][]string{
				{"cluster", st.ClusterID}, {"leader", leader}, {"asked", st.Node},
				{"nodes", fmt.Sprintf("%d of %d alive, %d voters", alive, len(st.Members), voters)},
				{"connectors", strconv.Itoa(st.Connectors)},
			}
			for _, c := range st.Conditions {
				for _, text := range c.remarks(time.Now()) {
					rows = append(rows, []string{"node " + c.Node, text})
				}
			}
			return a.columns(nil, rows)
		},
	}
}

func (r *restClient) members(ctx context.Context) ([]memberInfo, error) {
	var ms []memberInfo
	_, err := r.do(ctx, "GET", "/sluice/v1/cluster/members", nil, &ms)
	return ms, err
}

func (a *app) clusterMembers(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "members", Short: "List the nodes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			ms, err := r.members(cmd.Context())
			if err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(ms)
			}
			var rows [][]string
			for _, m := range ms {
				rows = append(rows, []string{m.ID, m.role(), m.state(), strconv.Itoa(m.Tasks), m.RESTAddress, m.PeerAddress, m.Version})
			}
			return a.columns([]string{"NODE", "ROLE", "STATE", "TASKS", "REST", "PEER", "VERSION"}, rows)
		},
	}
}

// self is the node that is asked.
func (r *restClient) self(ctx context.Context) (string, error) {
	var st struct {
		Node string `json:"node"`
	}
	_, err := r.do(ctx, "GET", "/sluice/v1/cluster", nil, &st)
	return st.Node, err
}

func (a *app) clusterDrain(client clientFunc) *cobra.Command {
	var wait time.Duration
	var restart bool
	c := &cobra.Command{
		Use: "drain [NODE]", Short: "Move a node's tasks to the others, and wait until it has none", Args: cobra.MaximumNArgs(1),
		Long: "Move a node's tasks to the others, and wait until it has none. Without NODE it is the one at --url. It gets none until `undrain`,\n" +
			"or, with --until-restart, until it starts again.",
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			var node string
			if len(args) > 0 && args[0] == "" { // a variable of a script that is not set, say: not the node at --url
				return usagef("NODE is empty; `sluice cluster members` lists the nodes")
			} else if len(args) > 0 {
				node = args[0]
			} else if node, err = r.self(ctx); err != nil {
				return err
			}
			if wait > 0 {
				if err := r.canDrain(ctx, node); err != nil {
					return err
				}
			}
			path := "/sluice/v1/cluster/members/" + url.PathEscape(node) + "/drain"
			if restart {
				path += "?until=restart"
			}
			if _, err := r.do(ctx, "PUT", path, nil, nil); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeout(ctx, wait)
			defer cancel()
			began := time.Now()
			for left := -1; wait > 0; {
				ms, err := r.members(ctx)
				if err != nil {
					return err
				}
				now := 0
				for _, m := range ms {
					if m.ID == node {
						now = m.Tasks
					}
				}
				if now == 0 {
					break
				}
				if now != left && a.output == "text" {
					fmt.Fprintf(a.Out, "%d tasks left\n", now)
				}
				left = now
				select {
				case <-ctx.Done():
					return fmt.Errorf("%s still has %d tasks after %s; it goes on giving them away, and `sluice cluster undrain %s` takes that back",
						node, now, time.Since(began).Round(time.Second), node)
				case <-time.After(200 * time.Millisecond):
				}
			}
			if a.output == "json" {
				return a.json(map[string]string{"node": node, "done": "drain"})
			}
			if wait <= 0 {
				_, err = fmt.Fprintf(a.Out, "%s gives its tasks away; `sluice cluster members` says how many are left\n", node)
				return err
			}
			_, err = fmt.Fprintf(a.Out, "%s is drained; it can be stopped\n", node)
			return err
		},
	}
	c.Flags().BoolVar(&restart, "until-restart", false, "let it have tasks again when it has started anew")
	c.Flags().DurationVar(&wait, "wait", 2*time.Minute, "how long to wait; 0: only ask for it")
	return c
}

// canDrain wants another node that could take tasks: without one the drain would wait for it in vain.
func (r *restClient) canDrain(ctx context.Context, node string) error {
	ms, err := r.members(ctx)
	if err != nil {
		return err
	}
	known := false
	for _, m := range ms {
		known = known || m.ID == node
		if m.ID != node && m.Alive && !m.Draining {
			return nil
		}
	}
	if !known {
		return nil // the request says so
	}
	return fmt.Errorf("no other node could take the tasks of %s: all are dead or draining, or there is none; with --wait 0 it is drained as soon as one comes", node)
}

func (a *app) clusterDo(client clientFunc, use, short string, args cobra.PositionalArgs, request func([]string) (string, string)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			if len(args) > 0 && args[0] == "" {
				return usagef("NODE is empty; `sluice cluster members` lists the nodes")
			}
			method, path := request(args)
			if _, err := r.do(cmd.Context(), method, path, nil, nil); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]string{"done": cmd.Name()})
			}
			_, err = fmt.Fprintln(a.Out, "done")
			return err
		},
	}
}

func (a *app) clusterSnapshot(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "snapshot FILE", Short: "Save connectors and their states to a file", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			var body json.RawMessage
			if _, err := r.do(cmd.Context(), "GET", "/sluice/v1/cluster/snapshot", nil, &body); err != nil {
				return err
			}
			if err := os.WriteFile(args[0], append(body, '\n'), 0o600); err != nil {
				return fmt.Errorf("write the snapshot: %w", err)
			}
			if a.output == "json" {
				return a.json(map[string]string{"file": args[0]})
			}
			_, err = fmt.Fprintf(a.Out, "saved to %s; it holds the connectors' configurations as submitted, so keep it as you keep them\n", args[0])
			return err
		},
	}
}

func (a *app) clusterRestore(client clientFunc) *cobra.Command {
	return &cobra.Command{
		Use: "restore FILE", Short: "Replace all connectors by those of a snapshot", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := client()
			if err != nil {
				return err
			}
			text, err := os.ReadFile(args[0])
			if err != nil {
				return fmt.Errorf("read the snapshot: %w", err)
			}
			if !json.Valid(text) {
				return fmt.Errorf("%s is no snapshot; `sluice cluster snapshot` makes one", args[0])
			}
			if _, err := r.do(cmd.Context(), "PUT", "/sluice/v1/cluster/snapshot", json.RawMessage(text), nil); err != nil {
				return err
			}
			if a.output == "json" {
				return a.json(map[string]string{"restored": args[0]})
			}
			_, err = fmt.Fprintln(a.Out, "restored; tasks start again where their tables are")
			return err
		},
	}
}
