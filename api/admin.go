package api

import (
	"net/http"
	"strings"
	"time"

	"sluice.io/sluice/api/loggers"
)

type levelBody struct {
	Level    string `json:"level"`
	Modified *int64 `json:"last_modified"`
}

func level(s loggers.State) levelBody {
	out := levelBody{Level: loggers.LevelName(s.Level)}
	if !s.Modified.IsZero() {
		ms := s.Modified.UnixMilli()
		out.Modified = &ms
	}
	return out
}

func (s *Server) listLoggers(request) (answer, error) {
	out := map[string]levelBody{}
	for name, state := range s.Loggers.All() {
		out[name] = level(state)
	}
	return ok(out)
}

func (s *Server) getLogger(r request) (answer, error) {
	state, there := s.Loggers.Get(r.vars["logger"])
	if !there {
		return answer{}, fail(http.StatusNotFound, "Logger %s not found.", r.vars["logger"])
	}
	return ok(level(state))
}

func (s *Server) putLogger(r request) (answer, error) {
	in, err := readObject(r.Request)
	if err != nil {
		return answer{}, err
	}
	raw, there := in["level"]
	var text *string
	if there {
		if text, err = scalar("level", raw); err != nil {
			return answer{}, err
		}
	}
	if text == nil {
		return answer{}, fail(http.StatusBadRequest, "Desired 'level' parameter was not specified in request.")
	}
	to, err := loggers.ParseLevel(*text)
	if err != nil {
		return answer{}, fail(http.StatusNotFound, "%v.", err) // yes, 404
	}
	name := r.vars["logger"]
	scope := strings.ToLower(r.URL.Query().Get("scope"))
	affected := s.Loggers.Set(name, to, time.Now())
	if scope == "cluster" {
		if s.BroadcastLevel != nil {
			doing(r.Context(), "setting the level of logger %s on all nodes", name)
			if err := s.BroadcastLevel(r.Context(), name, to); err != nil {
				return answer{}, err
			}
		}
		return empty(http.StatusNoContent)
	}
	if scope != "" && scope != "worker" && s.Logger != nil {
		s.Logger.Warn("unknown scope of a logger's level; it is set on this node only", "scope", scope)
	}
	return ok(affected)
}
