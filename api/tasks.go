package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

type taskInfo struct {
	ID     taskID            `json:"id"`
	Config map[string]string `json:"config"`
}

// taskConfig is what a task works with: the connector's configuration as submitted, what Connect's framework adds, and
// which part of the connector the task is.
func taskConfig(c ownership.Connector, p *config.Plugin, t ownership.Task) map[string]string {
	out := maps.Clone(c.Config)
	if p != nil && p.TaskClass != "" {
		out["task.class"] = p.TaskClass
	}
	switch t.ID.Kind {
	case ownership.PartitionTask:
		parts := make([]string, 0, len(t.Partitions))
		for _, n := range t.Partitions {
			parts = append(parts, strconv.Itoa(int(n)))
		}
		out["sluice.task.kind"] = "partitions"
		out["sluice.task.topic"] = t.ID.Topic
		out["sluice.task.partitions"] = strings.Join(parts, ",")
	case ownership.TableTask:
		out["sluice.task.kind"] = "table"
		out["sluice.task.table"] = t.ID.Table
		out["sluice.task.topics"] = strings.Join(t.Topics, ",")
	}
	return out
}

func (s *Server) getTasks(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	out := []taskInfo{}
	for i, t := range s.tasksOf(c) {
		out = append(out, taskInfo{ID: taskID{c.Name, i}, Config: taskConfig(c, s.plugin(c), t)})
	}
	return ok(out)
}

// getTasksConfig is the form of getTasks that Connect had up to 3.9.
func (s *Server) getTasksConfig(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	out := map[string]map[string]string{}
	for i, t := range s.tasksOf(c) {
		out[c.Name+"-"+strconv.Itoa(i)] = taskConfig(c, s.plugin(c), t)
	}
	return ok(out)
}

// internal answers the two endpoints by which Connect's workers speak with each other. Ours have a channel of their own,
// so no signature is right.
func (s *Server) internal(r request) (answer, error) {
	signature := r.Header.Get("X-Connect-Authorization")
	algorithm := r.Header.Get("X-Connect-Request-Signature-Algorithm")
	switch {
	case signature == "" || algorithm == "":
		return answer{}, fail(http.StatusBadRequest, "Internal request missing required signature")
	case algorithm != "HmacSHA256" && algorithm != "HmacSHA1" && algorithm != "HmacSHA512":
		return answer{}, fail(http.StatusBadRequest, "Algorithm %s not available", algorithm)
	}
	return answer{}, &restError{status: http.StatusForbidden, message: "Internal request contained invalid signature."}
}

// ownTask is one task of GET /sluice/v1/connectors/{connector}/tasks.
type ownTask struct {
	ID         int      `json:"id"`
	Name       string   `json:"name"`
	Kind       string   `json:"kind"`
	Topic      string   `json:"topic,omitempty"`
	Partitions []int32  `json:"partitions,omitempty"`
	Table      string   `json:"table,omitempty"`
	Topics     []string `json:"topics,omitempty"`
	Node       string   `json:"node"`
	Epoch      uint64   `json:"epoch"`
	State      string   `json:"state"`
	Trace      string   `json:"trace,omitempty"`
}

func (s *Server) ownTasks(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	st, err := s.Cluster.Status(c.Name)
	if err != nil {
		return answer{}, err
	}
	out := []ownTask{}
	for i, t := range s.tasksOf(c) {
		o := ownTask{ID: i, Name: t.ID.String(), Kind: "partitions", Topic: t.ID.Topic, Partitions: t.Partitions, Table: t.ID.Table, Topics: t.Topics, State: string(ownership.Unassigned)}
		if t.ID.Kind == ownership.TableTask {
			o.Kind = "table"
		}
		for _, x := range st.Tasks {
			if x.ID == t.ID {
				o.Node, o.Epoch, o.State, o.Trace = x.Node, x.Epoch, string(x.State), x.Trace
			}
		}
		out = append(out, o)
	}
	return ok(out)
}

func (s *Server) ownRoutes(on func(path string, methods ...method)) {
	on("/sluice/v1", get(s.ownVersion))
	on("/sluice/v1/cluster", get(s.ownCluster))
	on("/sluice/v1/cluster/members", get(s.ownMembers))
	on("/sluice/v1/cluster/members/{member}/drain", does(http.MethodPut, s.drain(true)), does(http.MethodDelete, s.drain(false)))
	s.adminRoutes(on)
	on("/sluice/v1/connectors/{connector}/tasks", get(s.ownTasks))
	on("/sluice/v1/connectors/{connector}/epoch", does(http.MethodPost, s.raiseEpoch))
	on("/sluice/v1/tables", get(s.ownTables))
	on("/sluice/v1/stats", get(s.ownStats))
	anyType := func(h handler) method { return method{name: http.MethodGet, handle: h, any: true} }
	on("/healthz", anyType(func(request) (answer, error) { return plainText(http.StatusOK, "ok\n") }))
	on("/readyz", anyType(func(r request) (answer, error) {
		if err := s.healthy(r.Context()); err != nil {
			return plainText(http.StatusServiceUnavailable, err.Error()+"\n")
		}
		return plainText(http.StatusOK, "ok\n")
	}))
	if s.Metrics != nil {
		s.router.Handle("/metrics", s.Metrics)
	}
}

func plainText(status int, text string) (answer, error) {
	return answer{status: status, raw: []byte(text), contentType: "text/plain; charset=utf-8"}, nil
}

func (s *Server) ownVersion(request) (answer, error) {
	return ok(map[string]string{"version": s.Version, "commit": s.Commit, "connect_version": config.ConnectVersion, "node": s.Node})
}

// memberBody is one node of GET /sluice/v1/cluster/members.
type memberBody struct {
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

func (s *Server) members() []memberBody {
	tasks := map[string]int{}
	for _, c := range s.Cluster.Connectors() {
		st, err := s.Cluster.Status(c.Name)
		if err != nil {
			continue // it was deleted meanwhile
		}
		for _, t := range st.Tasks {
			tasks[t.Node]++
		}
	}
	out := []memberBody{}
	for _, m := range s.Cluster.Members() {
		out = append(out, memberBody{m.ID, m.PeerAddress, m.RESTAddress, m.Voter, m.Alive, m.Draining, m.Leader, m.Version, tasks[m.ID]})
	}
	return out
}

func (s *Server) ownMembers(request) (answer, error) { return ok(s.members()) }

// ownCluster says how the cluster is: what it has agreed, as this node knows, and what each node says of itself when it is asked.
func (s *Server) ownCluster(r request) (answer, error) {
	leader := ""
	members := s.members()
	for _, m := range members {
		if m.Leader {
			leader = m.ID
		}
	}
	conditions := []ownership.Condition{}
	if s.Conditions != nil {
		doing(r.Context(), "asking all nodes how they are")
		conditions = append(conditions, s.Conditions(r.Context())...)
	}
	return ok(map[string]any{"cluster_id": s.Cluster.ClusterID(), "node": s.Node, "leader": leader, "members": members,
		"connectors": len(s.Cluster.Connectors()), "conditions": conditions})
}

func (s *Server) drain(on bool) handler {
	return func(r request) (answer, error) {
		if s.Drain == nil {
			return answer{}, statusError(http.StatusNotFound)
		}
		doing(r.Context(), "waiting for the cluster to agree on node %s", r.vars["member"])
		do := func(ctx context.Context, member string) error { return s.Drain(ctx, member, on) }
		switch until := r.URL.Query().Get("until"); {
		case until == "restart" && on && s.Leave != nil:
			do = s.Leave
		case until != "":
			return answer{}, fail(http.StatusBadRequest, "until is %q; the only value is restart, of a PUT", until)
		}
		if err := do(r.Context(), r.vars["member"]); err != nil {
			what := "drain"
			if !on {
				what = "undrain"
			}
			return answer{}, fmt.Errorf("%s %s: %w", what, r.vars["member"], err)
		}
		return empty(http.StatusAccepted)
	}
}

// raiseEpoch makes what is merged from now on newer than all rows: for a source whose positions have begun anew without a sign.
// Query: table and source restrict it to one.
func (s *Server) raiseEpoch(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	if s.RaiseEpoch == nil {
		return answer{}, statusError(http.StatusNotFound)
	}
	doing(r.Context(), "beginning a new epoch in the tables of %s", c.Name)
	q := r.URL.Query()
	out, err := s.RaiseEpoch(r.Context(), c, q.Get("table"), q.Get("source"))
	if err != nil {
		return answer{}, err
	}
	return ok(out)
}

func (s *Server) ownTables(r request) (answer, error) {
	if s.Lake == nil {
		return answer{}, statusError(http.StatusNotFound)
	}
	doing(r.Context(), "listing the tables of the lake")
	tables, err := s.Lake.Tables(r.Context())
	if err != nil {
		return answer{}, fmt.Errorf("list tables: %w", err)
	}
	if tables == nil {
		tables = []Table{}
	}
	return ok(tables)
}

func (s *Server) ownStats(request) (answer, error) {
	if s.Stats == nil {
		return answer{}, statusError(http.StatusNotFound)
	}
	return ok(s.Stats())
}

func (s *Server) getRoot(request) (answer, error) {
	body := rootBody{Version: config.ConnectVersion, Commit: s.Commit}
	if s.KafkaClusterID != nil {
		body.ClusterID = s.KafkaClusterID()
	}
	return ok(body)
}
