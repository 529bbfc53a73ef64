package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"sluice.io/sluice/internal/ownership"
)

// statusBody is Connect's ConnectorStateInfo. connector holds strings only: clients decode it as a map of them.
type statusBody struct {
	Name      string         `json:"name"`
	Connector connectorState `json:"connector"`
	Tasks     []taskState    `json:"tasks"`
	Type      string         `json:"type"`
}

type connectorState struct {
	State    string `json:"state"`
	WorkerID string `json:"worker_id"`
	Trace    string `json:"trace,omitempty"`
	Version  string `json:"version,omitempty"`
}

type taskState struct {
	ID       int    `json:"id"`
	State    string `json:"state"`
	WorkerID string `json:"worker_id"`
	Trace    string `json:"trace,omitempty"`
	Version  string `json:"version,omitempty"`
}

// status is there from the moment at which the connector is: UNASSIGNED at first (connect.md §7.7).
func (s *Server) status(c ownership.Connector) statusBody {
	st, err := s.Cluster.Status(c.Name)
	if err != nil {
		st = ownership.ConnectorStatus{Name: c.Name, State: ownership.Unassigned}
	}
	return s.statusOf(c, st)
}

func (s *Server) statusOf(c ownership.Connector, st ownership.ConnectorStatus) statusBody {
	workers := s.workers()
	version := ""
	if p := s.plugin(c); p != nil {
		version = p.Version
	}
	out := statusBody{
		Name:      c.Name,
		Connector: connectorState{State: string(st.State), WorkerID: workers(st.Node), Trace: st.Trace, Version: version},
		Tasks:     []taskState{}, Type: s.kind(c),
	}
	if c.Target == ownership.TargetStopped {
		return out
	}
	for i, t := range st.Tasks {
		out.Tasks = append(out.Tasks, taskState{ID: i, State: string(t.State), WorkerID: workers(t.Node), Trace: t.Trace, Version: version})
	}
	return out
}

// workers gives the advertised address of a node; its name where it is not a member any more.
func (s *Server) workers() func(node string) string {
	members := s.Cluster.Members()
	return func(node string) string {
		for _, m := range members {
			if m.ID == node && m.RESTAddress != "" {
				return m.RESTAddress
			}
		}
		return node
	}
}

func (s *Server) getStatus(r request) (answer, error) {
	c, err := s.found(r, "No status found for connector %s")
	if err != nil {
		return answer{}, err
	}
	return ok(s.status(c))
}

func (s *Server) getTaskStatus(r request) (answer, error) {
	n, err := r.task()
	if err != nil {
		return answer{}, err
	}
	c, err := s.found(r, fmt.Sprintf("No status found for task %%s-%d", n))
	if err != nil {
		return answer{}, err
	}
	tasks := s.status(c).Tasks
	if n >= len(tasks) { // this node may not know yet of how many tasks the connector consists
		if err := s.Cluster.Sync(r.Context()); err != nil {
			return answer{}, err
		}
		tasks = s.status(c).Tasks
	}
	if n < 0 || n >= len(tasks) {
		return answer{}, fail(http.StatusNotFound, "No status found for task %s-%d", r.connector(), n)
	}
	return ok(tasks[n])
}

func (s *Server) pause(r request) (answer, error) {
	return s.target(r, ownership.TargetPaused, http.StatusAccepted)
}

func (s *Server) resume(r request) (answer, error) {
	return s.target(r, ownership.TargetRunning, http.StatusAccepted)
}

func (s *Server) stop(r request) (answer, error) {
	return s.target(r, ownership.TargetStopped, http.StatusNoContent)
}

func (s *Server) target(r request, to ownership.TargetState, status int) (answer, error) {
	if _, err := s.found(r, "Unknown connector %s"); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree that connector %s is to be %s", r.connector(), to)
	err := s.Cluster.SetTarget(r.Context(), r.connector(), to)
	if errors.Is(err, ownership.ErrNotFound) {
		return answer{}, fail(http.StatusNotFound, "Unknown connector %s", r.connector())
	}
	if err != nil {
		return answer{}, err
	}
	return empty(status)
}

// restart answers 204 without flags and 202 with the plan where there is a flag.
func (s *Server) restart(r request) (answer, error) {
	o := ownership.RestartOptions{IncludeTasks: r.flag("includeTasks", false), OnlyFailed: r.flag("onlyFailed", false)}
	c, err := s.found(r, "Unknown connector: %s")
	if err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree on the restart of connector %s", c.Name)
	st, err := s.Cluster.Restart(r.Context(), c.Name, o)
	if errors.Is(err, ownership.ErrNotFound) {
		return answer{}, fail(http.StatusNotFound, "Unknown connector: %s", c.Name)
	}
	if err != nil {
		return answer{}, err
	}
	if o == (ownership.RestartOptions{}) {
		return empty(http.StatusNoContent)
	}
	return answer{status: http.StatusAccepted, body: s.statusOf(c, st)}, nil
}

func (s *Server) restartTask(r request) (answer, error) {
	n, err := r.task()
	if err != nil {
		return answer{}, err
	}
	c, err := s.found(r, "Unknown connector: %s")
	if err != nil {
		return answer{}, err
	}
	unknown := fail(http.StatusNotFound, "Unknown task: %s-%d", c.Name, n)
	if n < 0 || n >= len(s.tasksOf(c)) {
		return answer{}, unknown
	}
	doing(r.Context(), "waiting for the cluster to agree on the restart of task %s-%d", c.Name, n)
	err = s.Cluster.RestartTask(r.Context(), c.Name, n)
	if errors.Is(err, ownership.ErrNotFound) {
		return answer{}, unknown
	}
	if err != nil {
		return answer{}, err
	}
	return empty(http.StatusNoContent)
}

func (s *Server) getTopics(r request) (answer, error) {
	if s.NoTopicTracking {
		return answer{}, fail(http.StatusForbidden, "Topic tracking is disabled.")
	}
	if err := s.current(r.Context()); err != nil {
		return answer{}, err
	}
	topics := s.Cluster.ActiveTopics(r.connector()) // none for an unknown connector (connect.md §7.6)
	if topics == nil {
		topics = []string{}
	}
	return ok(map[string]any{r.connector(): map[string]any{"topics": topics}})
}

func (s *Server) resetTopics(r request) (answer, error) {
	if s.NoTopicTracking {
		return answer{}, fail(http.StatusForbidden, "Topic tracking is disabled.")
	}
	if s.NoTopicReset {
		return answer{}, fail(http.StatusForbidden, "Topic tracking reset is disabled.")
	}
	doing(r.Context(), "waiting for the cluster to forget the topics of connector %s", r.connector())
	if err := s.Cluster.ResetActiveTopics(r.Context(), r.connector()); err != nil && !errors.Is(err, ownership.ErrNotFound) {
		return answer{}, err
	}
	return empty(http.StatusAccepted)
}

type rootBody struct {
	Version   string `json:"version"`
	Commit    string `json:"commit"`
	ClusterID string `json:"kafka_cluster_id"`
}

type healthBody struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func (s *Server) healthy(ctx context.Context) error {
	if s.Health == nil {
		return nil
	}
	doing(ctx, "waiting for the control loop")
	return s.Health(ctx)
}

func (s *Server) getHealth(r request) (answer, error) {
	err := s.healthy(r.Context())
	detail := ""
	if err != nil {
		detail = " " + stageOf(r.Context()).text()
		if !errors.Is(err, context.DeadlineExceeded) {
			detail = " " + err.Error()
		}
	}
	switch {
	case err == nil:
		return ok(healthBody{"healthy", "Worker has completed startup and is ready to handle requests."})
	case errors.Is(err, ErrStarting):
		return answer{status: http.StatusServiceUnavailable, body: healthBody{"starting", "Worker is still starting up." + detail}}, nil
	default:
		return answer{status: http.StatusInternalServerError, body: healthBody{"unhealthy", "Worker was unable to handle this request and may be unable to handle other requests." + detail}}, nil
	}
}
