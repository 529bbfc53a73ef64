package api

import (
	"context"
	"net/http"
	"strings"

	"sluice.io/sluice/connectors/config"
)

type pluginBody struct {
	Class   string `json:"class"`
	Type    string `json:"type"`
	Version string `json:"version,omitempty"`
}

// definitionBody is Connect's ConfigKeyInfo. Newer clients read order_in_group, older ones order: both are given.
type definitionBody struct {
	Name          string   `json:"name"`
	Type          string   `json:"type"`
	Required      bool     `json:"required"`
	Default       *string  `json:"default_value"`
	Importance    string   `json:"importance"`
	Documentation string   `json:"documentation"`
	Group         *string  `json:"group"`
	OrderInGroup  int      `json:"order_in_group"`
	Order         int      `json:"order"`
	Width         string   `json:"width"`
	DisplayName   string   `json:"display_name"`
	Dependents    []string `json:"dependents"`
}

func definition(d config.Definition) definitionBody {
	out := definitionBody{
		Name: d.Name, Type: string(d.Type), Required: d.Required, Default: d.Default, Importance: string(d.Importance),
		Documentation: d.Doc, OrderInGroup: -1, Order: -1, Width: string(d.Width), DisplayName: d.DisplayName, Dependents: []string{},
	}
	if d.Required {
		out.Default = nil
	}
	if d.Group != "" {
		out.Group, out.Order, out.OrderInGroup = &d.Group, d.Order, d.Order
	}
	return out
}

// reportBody is Connect's ConfigInfos.
type reportBody struct {
	Name       string       `json:"name"`
	ErrorCount int          `json:"error_count"`
	Groups     []string     `json:"groups"`
	Configs    []configBody `json:"configs"`
}

type configBody struct {
	Definition definitionBody `json:"definition"`
	Value      valueBody      `json:"value"`
}

type valueBody struct {
	Name        string   `json:"name"`
	Value       *string  `json:"value"`
	Recommended []string `json:"recommended_values"`
	Errors      []string `json:"errors"`
	Visible     bool     `json:"visible"`
}

func report(r config.Report) reportBody {
	out := reportBody{Name: r.Name, ErrorCount: r.ErrorCount, Groups: list(r.Groups), Configs: []configBody{}}
	for _, e := range r.Entries {
		out.Configs = append(out.Configs, configBody{
			Definition: definition(e.Definition),
			Value:      valueBody{Name: e.Definition.Name, Value: e.Value, Recommended: list(e.Recommended), Errors: list(e.Errors), Visible: true},
		})
	}
	return out
}

// list is never null in JSON.
func list(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}

func (s *Server) listPlugins(r request) (answer, error) {
	out := []pluginBody{}
	for _, p := range s.Registry.Plugins(r.flag("connectorsOnly", true)) {
		out = append(out, pluginBody{p.Class, string(p.Kind), p.Version})
	}
	return ok(out)
}

func (s *Server) pluginConfig(r request) (answer, error) {
	p := s.Registry.Plugin(r.vars["plugin"])
	if p == nil {
		return answer{}, fail(http.StatusNotFound, "Unknown plugin %s.", r.vars["plugin"])
	}
	if v := r.URL.Query().Get("version"); v != "" {
		if why := s.Registry.CheckVersion(p, v); why != "" {
			return answer{}, fail(http.StatusBadRequest, "%s", why)
		}
	}
	out := []definitionBody{}
	for _, d := range s.Registry.Definitions(p, s.Defaults) {
		out = append(out, definition(d))
	}
	return ok(out)
}

// validate answers 200 with the errors in the body. What is no configuration at all is 400, as on create.
func (s *Server) validate(r request) (answer, error) {
	in, err := readObject(r.Request)
	if err != nil {
		return answer{}, err
	}
	props, err := configMap(in)
	if err != nil {
		return answer{}, err
	}
	if class := props["connector.class"]; class != nil && !s.samePlugin(*class, r.vars["plugin"]) {
		return answer{}, fail(http.StatusBadRequest, "Included connector type %s does not match request type %s", *class, r.vars["plugin"])
	}
	doing(r.Context(), "validating a configuration")
	rep, err := s.check(r.Context(), props, true)
	if err != nil {
		return answer{}, err
	}
	return ok(report(rep))
}

// samePlugin is Connect's rule: the one is the end of the other, a trailing "Connector" apart; names of one plugin are
// the same too.
func (s *Server) samePlugin(included, requested string) bool {
	norm := func(n string) string {
		if t := strings.TrimSuffix(n, "Connector"); t != "" {
			return t
		}
		return n
	}
	if strings.HasSuffix(norm(included), norm(requested)) {
		return true
	}
	p := s.Registry.Connector(included)
	return p != nil && p == s.Registry.Connector(requested)
}

// check validates a configuration. The error is for what has no connector class that could judge it.
func (s *Server) check(ctx context.Context, props map[string]*string, reach bool) (config.Report, error) {
	class := props["connector.class"]
	if class == nil || strings.TrimSpace(*class) == "" {
		return config.Report{}, fail(http.StatusBadRequest, "Connector config %s contains no connector type", printConfig(props, config.SecretName))
	}
	p := s.Registry.Connector(*class)
	if p == nil {
		var have []string
		for _, p := range s.Registry.Plugins(true) {
			have = append(have, p.Class+" ("+string(p.Kind)+", version "+p.Version+")")
		}
		return config.Report{}, fail(http.StatusBadRequest, "Failed to find any class that implements Connector and which name matches %s, available connectors are: %s",
			*class, strings.Join(have, ", "))
	}
	return config.Check(ctx, p, props, s.Defaults, func(ctx context.Context, sink *config.Sink) []config.Problem {
		problems := s.taken(sink)
		if reach && s.Reach != nil && len(problems) == 0 {
			doing(ctx, "trying to reach the lake and the broker of connector %s", sink.Name)
			problems = s.Reach(ctx, sink)
		}
		return problems
	}), nil
}

// taken finds the tables that another connector writes already: a table has one writing connector (DESIGN §5).
func (s *Server) taken(sink *config.Sink) []config.Problem {
	for _, c := range s.Cluster.Connectors() {
		if c.Name == sink.Name {
			continue
		}
		other, err := config.Parse(c.Config, s.Defaults)
		if err != nil {
			continue // it cannot run, so it writes nothing
		}
		if table, found := config.Conflict(sink, other); found {
			key := "topics"
			if sink.TopicsRegex != "" {
				key = "topics.regex"
			}
			return []config.Problem{{Key: key, Reason: "connector " + c.Name + " writes the table " + table + " already, and a table has one writer; give another topic, bronze.path or silver.path (${connector} in a path keeps connectors apart)"}}
		}
	}
	return nil
}
