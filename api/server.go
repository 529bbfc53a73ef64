package api

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"sluice.io/sluice/api/loggers"
	"sluice.io/sluice/connectors/config"
)

// Server answers REST requests. It is an http.Handler, safe for concurrent use.
type Server struct {
	Options
	router  *mux.Router
	headers []headerRule
}

// New makes a Server. It fails on settings that cannot be read.
func New(o Options) (*Server, error) {
	s := &Server{Options: o}
	if s.Registry == nil {
		s.Registry = config.NewRegistry(o.Version)
	}
	s.Defaults.Registry = s.Registry
	if s.Loggers == nil {
		s.Loggers = loggers.New(nil)
	}
	s.Timeout = cmp.Or(s.Timeout, 90*time.Second)
	s.HealthTimeout = cmp.Or(s.HealthTimeout, 10*time.Second)
	s.Commit = cmp.Or(s.Commit, "0000000000000000")
	var err error
	if s.headers, err = parseHeaderRules(o.ResponseHeaders); err != nil {
		return nil, err
	}
	// Names are percent-encoded path segments and may hold slashes (T4), so paths are matched in their encoded form.
	s.router = mux.NewRouter().UseEncodedPath().SkipClean(true)
	s.router.NotFoundHandler = endpoint{server: s}
	s.routes()
	return s, nil
}

// routes lists all resources. A method that reads a body says so, for its Content-Type is checked then (T13).
func (s *Server) routes() {
	on := func(path string, methods ...method) {
		s.router.Handle(path, endpoint{server: s, methods: methods})
	}
	on("/", get(s.getRoot))
	on("/health", get(s.getHealth))
	on("/connectors", get(s.listConnectors), reads(http.MethodPost, s.createConnector))
	on("/connectors/{connector}", get(s.getConnector), does(http.MethodDelete, s.deleteConnector))
	on("/connectors/{connector}/config", get(s.getConfig), reads(http.MethodPut, s.putConfig), reads(http.MethodPatch, s.patchConfig))
	on("/connectors/{connector}/status", get(s.getStatus))
	on("/connectors/{connector}/tasks", get(s.getTasks), does(http.MethodPost, s.internal))
	on("/connectors/{connector}/fence", does(http.MethodPut, s.internal))
	on("/connectors/{connector}/tasks-config", get(s.getTasksConfig))
	on("/connectors/{connector}/tasks/{task}/status", get(s.getTaskStatus))
	on("/connectors/{connector}/tasks/{task}/restart", does(http.MethodPost, s.restartTask))
	on("/connectors/{connector}/pause", does(http.MethodPut, s.pause))
	on("/connectors/{connector}/resume", does(http.MethodPut, s.resume))
	on("/connectors/{connector}/stop", does(http.MethodPut, s.stop))
	on("/connectors/{connector}/restart", does(http.MethodPost, s.restart))
	on("/connectors/{connector}/topics", get(s.getTopics))
	on("/connectors/{connector}/topics/reset", does(http.MethodPut, s.resetTopics))
	on("/connectors/{connector}/offsets", get(s.getOffsets), reads(http.MethodPatch, s.patchOffsets), does(http.MethodDelete, s.deleteOffsets))
	on("/connector-plugins", get(s.listPlugins))
	on("/connector-plugins/{plugin}/config", get(s.pluginConfig))
	on("/connector-plugins/{plugin}/config/validate", reads(http.MethodPut, s.validate))
	on("/admin/loggers", get(s.listLoggers))
	on("/admin/loggers/{logger}", get(s.getLogger), reads(http.MethodPut, s.putLogger))
	s.ownRoutes(on)
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	rec := &recorder{ResponseWriter: w}
	defer s.logRequest(rec, r, began)
	s.addHeaders(rec, r)
	if s.preflight(rec, r) {
		return
	}
	limit := s.Timeout
	if strings.TrimRight(r.URL.Path, "/") == "/health" {
		limit = s.HealthTimeout
	}
	ctx, cancel := context.WithTimeout(withStage(r.Context()), limit)
	defer cancel()
	s.router.ServeHTTP(rec, cleanPath(r.WithContext(ctx)))
}

// cleanPath takes trailing slashes (T3) and matrix parameters (T4) from the path.
func cleanPath(r *http.Request) *http.Request {
	raw := r.URL.EscapedPath()
	parts := strings.Split(raw, "/")
	for i, p := range parts {
		parts[i], _, _ = strings.Cut(p, ";")
	}
	clean := strings.TrimRight(strings.Join(parts, "/"), "/")
	if clean == "" {
		clean = "/"
	}
	path, err := url.PathUnescape(clean)
	if err != nil {
		return r
	}
	u := *r.URL
	u.Path, u.RawPath = path, clean
	r.URL = &u
	return r
}

// request is a request with its parts taken out.
type request struct {
	*http.Request
	vars map[string]string
}

func (r request) connector() string { return r.vars["connector"] }

// task gives the task's number; what is no number of 32 bits is no resource (T14).
func (r request) task() (int, error) {
	n, err := strconv.ParseInt(r.vars["task"], 10, 32)
	if err != nil {
		return 0, statusError(http.StatusNotFound)
	}
	return int(n), nil
}

// flag reads a boolean query parameter (T16): "true" in any case is true, all else false.
func (r request) flag(name string, absent bool) bool {
	q := r.URL.Query()
	if !q.Has(name) {
		return absent
	}
	return strings.EqualFold(q.Get(name), "true")
}

// variables decodes the path's variables.
func variables(r *http.Request) (map[string]string, error) {
	vars := mux.Vars(r)
	out := make(map[string]string, len(vars))
	for k, v := range vars {
		d, err := url.PathUnescape(v)
		if err != nil || !utf8.ValidString(d) {
			return nil, fail(http.StatusBadRequest, "the %s in the path is not percent-encoded UTF-8: %q", k, v)
		}
		out[k] = d
	}
	return out, nil
}

// answer is what a handler gives back. A nil body is an empty one.
type answer struct {
	status   int
	body     any
	location string
	allow    string
	// raw answers are written as they are, with their type.
	raw         []byte
	contentType string
}

func ok(body any) (answer, error) { return answer{status: http.StatusOK, body: body}, nil }

func empty(status int) (answer, error) { return answer{status: status}, nil }

// write sends an answer.
func (a answer) write(w http.ResponseWriter) {
	b, kind := a.raw, a.contentType
	if a.body != nil {
		var err error
		if b, err = marshal(a.body); err != nil {
			writeError(w, &restError{status: http.StatusInternalServerError, message: err.Error()})
			return
		}
		kind = "application/json"
	}
	h := w.Header()
	if kind != "" {
		h.Set("Content-Type", kind)
	}
	if a.location != "" {
		h.Set("Location", a.location)
	}
	if a.allow != "" {
		h.Set("Allow", a.allow)
	}
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(b)))
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(b) // the client is gone: nothing to do
}

func writeError(w http.ResponseWriter, e *restError) {
	b, err := marshal(errorBody{Code: e.status, Message: e.message})
	if err != nil {
		b = []byte(`{"error_code":500,"message":null}`)
	}
	h := w.Header()
	if e.bare {
		h["Content-Type"] = nil // T2
	} else {
		h.Set("Content-Type", "application/json")
	}
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(max(1, e.retryAfter.Seconds()))))
	}
	h.Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(e.status)
	_, _ = w.Write(b)
}

// errorBody is the body of every answer of status 400 and above.
type errorBody struct {
	Code    int    `json:"error_code"`
	Message string `json:"message"`
}

// marshal writes JSON as Jackson does: nothing escaped for HTML, no newline at the end.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}
