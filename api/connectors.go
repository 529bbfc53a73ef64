package api

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

// info is Connect's ConnectorInfo.
type info struct {
	Name   string            `json:"name"`
	Config map[string]string `json:"config"`
	Tasks  []taskID          `json:"tasks"`
	Type   string            `json:"type"`
}

type taskID struct {
	Connector string `json:"connector"`
	Task      int    `json:"task"`
}

func (s *Server) info(c ownership.Connector) info {
	out := info{Name: c.Name, Config: c.Config, Tasks: []taskID{}, Type: s.kind(c)}
	for i := range s.tasksOf(c) {
		out.Tasks = append(out.Tasks, taskID{c.Name, i})
	}
	return out
}

// tasksOf gives a connector's tasks in the order of their numbers. A stopped connector has none.
func (s *Server) tasksOf(c ownership.Connector) []ownership.Task {
	if c.Target == ownership.TargetStopped {
		return nil
	}
	tasks, err := s.Cluster.Tasks(c.Name)
	if err != nil {
		return nil // it was deleted meanwhile
	}
	return tasks
}

func (s *Server) plugin(c ownership.Connector) *config.Plugin {
	return s.Registry.Connector(c.Config["connector.class"])
}

func (s *Server) kind(c ownership.Connector) string {
	if p := s.plugin(c); p != nil {
		return string(p.Kind)
	}
	return "unknown"
}

// current makes sure that this node knows what the cluster has agreed, for a read from its own copy. A node that has joined
// does, but for what is on its way. One that is still starting may know nothing, or what was long ago: it asks the leader.
func (s *Server) current(ctx context.Context) error {
	if s.Health == nil || s.Health(ctx) == nil {
		return nil
	}
	doing(ctx, "waiting for the cluster to take this node in")
	return s.Cluster.Sync(ctx)
}

// found gives the connector of the path, or the 404 with the text that its endpoint has.
func (s *Server) found(r request, text string) (ownership.Connector, error) {
	if err := s.current(r.Context()); err != nil {
		return ownership.Connector{}, err
	}
	c, err := s.Cluster.Connector(r.connector())
	if errors.Is(err, ownership.ErrNotFound) {
		// This node may lag behind: it says no only after it has caught up with the leader. Clients take a 404 for "deleted".
		if err := s.Cluster.Sync(r.Context()); err != nil {
			return c, err
		}
		c, err = s.Cluster.Connector(r.connector())
	}
	if errors.Is(err, ownership.ErrNotFound) {
		return c, fail(http.StatusNotFound, text, r.connector())
	}
	return c, err
}

const notFound = "Connector %s not found"

func (s *Server) listConnectors(r request) (answer, error) {
	if err := s.current(r.Context()); err != nil {
		return answer{}, err
	}
	connectors := s.Cluster.Connectors()
	expand, asked := r.URL.Query()["expand"]
	if !asked {
		names := make([]string, 0, len(connectors))
		for _, c := range connectors {
			names = append(names, c.Name)
		}
		return ok(names)
	}
	out := make(map[string]map[string]any, len(connectors))
	for _, c := range connectors {
		members := map[string]any{}
		for _, what := range expand {
			switch what {
			case "status":
				members[what] = s.status(c)
			case "info":
				members[what] = s.info(c)
			}
		}
		out[c.Name] = members
	}
	return ok(out)
}

func (s *Server) createConnector(r request) (answer, error) {
	req, err := readCreate(r.Request)
	if err != nil {
		return answer{}, err
	}
	props, err := named(req.config, req.name)
	if err != nil {
		return answer{}, err
	}
	doing(r.Context(), "validating the configuration of connector %s", req.name)
	accepted, err := s.acceptable(r.Context(), props, true)
	if err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree on connector %s", req.name)
	c, err := s.Cluster.Create(r.Context(), req.name, accepted, req.initial)
	if errors.Is(err, ownership.ErrExists) {
		return answer{}, fail(http.StatusConflict, "Connector %s already exists", req.name)
	}
	if err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusCreated, body: s.info(c), location: location(r, c.Name)}, nil
}

// named puts the connector's name into its configuration; a name that is there must be the same.
func named(props map[string]*string, name string) (map[string]*string, error) {
	out := maps.Clone(props)
	if out == nil {
		out = map[string]*string{}
	}
	if own, there := out["name"]; there && own != nil && *own != name {
		return nil, fail(http.StatusBadRequest, "Connector name configuration (%s) doesn't match connector name in the URL (%s)", *own, name)
	} else if !there {
		out["name"] = &name
	}
	return out, nil
}

// location is the absolute URL of a connector, by the name under which the client reached us (T5).
func location(r request, name string) string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + "/connectors/" + escapeSegment(name)
}

// escapeSegment percent-encodes a path segment as RFC 3986 has it, and the semicolon besides.
func escapeSegment(s string) string {
	const plain = "-._~!$&'()*+,=:@"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte(plain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func (s *Server) getConnector(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	return ok(s.info(c))
}

// getConfig gives the configuration as submitted: operators compare it with what they want, so nothing is added,
// resolved or masked.
func (s *Server) getConfig(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	return ok(c.Config)
}

func (s *Server) putConfig(r request) (answer, error) {
	in, err := readObject(r.Request)
	if err != nil {
		return answer{}, err
	}
	props, err := configMap(in)
	if err != nil {
		return answer{}, err
	}
	if props, err = named(props, r.connector()); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "validating the configuration of connector %s", r.connector())
	old, missing := s.Cluster.Connector(r.connector())
	accepted, err := s.acceptable(r.Context(), props, missing != nil || pointsElsewhere(old.Config, props))
	if err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree on connector %s", r.connector())
	c, created, err := s.Cluster.Put(r.Context(), r.connector(), accepted)
	if err != nil {
		return answer{}, err
	}
	if created {
		return answer{status: http.StatusCreated, body: s.info(c), location: location(r, c.Name)}, nil
	}
	return ok(s.info(c))
}

// pointsElsewhere tells whether a change of configuration changes what a Reach would look at. Where it does not, a
// broker that is down must not keep people from changing the rest.
func pointsElsewhere(old map[string]string, to map[string]*string) bool {
	watched := func(k string) bool { return k == "lake.url" || strings.Contains(k, ".override.") }
	for k, v := range to {
		if o, there := old[k]; watched(k) && (v == nil || !there || o != *v) {
			return true
		}
	}
	for k := range old {
		if _, there := to[k]; watched(k) && !there {
			return true
		}
	}
	return false
}

// patchConfig merges into the configuration. What it will be is judged here, for the messages; the leader merges and
// judges again, so that of two patches at once both are kept.
func (s *Server) patchConfig(r request) (answer, error) {
	in, err := readObject(r.Request)
	if err != nil {
		return answer{}, err
	}
	patch, err := configMap(in)
	if err != nil {
		return answer{}, err
	}
	old, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	props := map[string]*string{}
	for k, v := range old.Config {
		props[k] = &v
	}
	for k, v := range patch {
		if v == nil {
			delete(props, k)
		} else {
			props[k] = v
		}
	}
	if _, kept := props["name"]; !kept {
		delete(patch, "name") // the name cannot be taken away
	}
	if props, err = named(props, old.Name); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "validating the configuration of connector %s", old.Name)
	if _, err := s.acceptable(r.Context(), props, pointsElsewhere(old.Config, props)); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree on connector %s", old.Name)
	c, err := s.Cluster.Patch(r.Context(), old.Name, patch)
	if errors.Is(err, ownership.ErrNotFound) {
		return answer{}, fail(http.StatusNotFound, notFound, old.Name)
	}
	if err != nil {
		return answer{}, err
	}
	return ok(s.info(c))
}

func (s *Server) deleteConnector(r request) (answer, error) {
	if _, err := s.found(r, notFound); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "waiting for the cluster to agree that connector %s is deleted", r.connector())
	err := s.Cluster.Delete(r.Context(), r.connector())
	if errors.Is(err, ownership.ErrNotFound) {
		return answer{}, fail(http.StatusNotFound, notFound, r.connector())
	}
	if err != nil {
		return answer{}, err
	}
	return empty(http.StatusNoContent)
}

// acceptable validates a configuration for a write. reach says whether lake and broker are tried too.
func (s *Server) acceptable(ctx context.Context, props map[string]*string, reach bool) (map[string]string, error) {
	report, err := s.check(ctx, props, reach)
	if err != nil {
		return nil, err
	}
	if report.ErrorCount > 0 {
		return nil, fail(http.StatusBadRequest, "Connector configuration is invalid and contains the following %d error(s):\n%s\n"+
			"You can also find the above list of errors at the endpoint `/connector-plugins/{connectorType}/config/validate`",
			report.ErrorCount, strings.Join(report.Errors(), "\n"))
	}
	for _, w := range report.Warnings {
		if s.Logger != nil {
			s.Logger.WarnContext(ctx, w, "connector", *props["name"])
		}
	}
	out := make(map[string]string, len(props))
	for k, v := range props {
		out[k] = *v
	}
	return out, nil
}
