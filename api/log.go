package api

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// recorder remembers what was answered, and drops the body of a HEAD (net/http does that by itself).
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader implements http.ResponseWriter.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// logRequest writes the line that people look for (T20): extended NCSA and milliseconds.
func (s *Server) logRequest(w *recorder, r *http.Request, began time.Time) {
	if s.Logger == nil {
		return
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	user := "-"
	if u, _, ok := r.BasicAuth(); ok && u != "" {
		user = u
	}
	s.Logger.Info(fmt.Sprintf("%s - %s [%s] %q %d %d %s %s %d", orDash(host), oneLine(user), began.Format("02/Jan/2006:15:04:05 -0700"),
		r.Method+" "+r.RequestURI+" "+r.Proto, w.status, w.bytes, quoted(r.Referer()), quoted(r.UserAgent()), time.Since(began).Milliseconds()))
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func quoted(s string) string { return fmt.Sprintf("%q", orDash(s)) }

func oneLine(s string) string { return strings.Map(printable, s) }

func printable(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '_'
	}
	return r
}

// headerRule is one rule of response.http.headers.config.
type headerRule struct {
	add  bool
	date bool
	name string
	text string
}

// parseHeaderRules reads "[set|add|setDate|addDate] name:value" rules with commas between; a rule with commas inside is
// quoted.
func parseHeaderRules(s string) ([]headerRule, error) {
	var out []headerRule
	for _, rule := range splitQuoted(s) {
		action, rest, found := strings.Cut(strings.TrimSpace(rule), " ")
		name, value, colon := strings.Cut(rest, ":")
		name = strings.TrimSpace(name)
		if !found || !colon || name == "" || strings.ContainsAny(name, " \t") || !slices.Contains([]string{"set", "add", "setDate", "addDate"}, action) {
			return nil, fmt.Errorf("response.http.headers.config: %q is not of the form \"[set|add|setDate|addDate] name:value\"", rule)
		}
		out = append(out, headerRule{add: strings.HasPrefix(action, "add"), date: strings.HasSuffix(action, "Date"), name: name, text: strings.TrimSpace(value)})
	}
	return out, nil
}

func splitQuoted(s string) []string {
	var out []string
	var b strings.Builder
	in := false
	flush := func() {
		if t := strings.TrimSpace(b.String()); t != "" {
			out = append(out, t)
		}
		b.Reset()
	}
	for _, r := range s {
		switch {
		case r == '"':
			in = !in
		case r == ',' && !in:
			flush()
		default:
			b.WriteRune(r)
		}
	}
	flush()
	return out
}

// addHeaders sets the configured headers and those of CORS (T18).
func (s *Server) addHeaders(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for _, rule := range s.headers {
		v := rule.text
		if rule.date {
			v = time.Now().UTC().Format(http.TimeFormat)
		}
		if rule.add {
			h.Add(rule.name, v)
		} else {
			h.Set(rule.name, v)
		}
	}
	if origin := r.Header.Get("Origin"); origin != "" && s.allowsOrigin(origin) {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
		h.Add("Vary", "Origin")
	}
}

func (s *Server) allowsOrigin(origin string) bool {
	for allowed := range strings.SplitSeq(s.AllowOrigin, ",") {
		allowed = strings.TrimSpace(allowed)
		if allowed == "*" || allowed != "" && strings.EqualFold(allowed, origin) {
			return true
		}
	}
	return false
}

// preflight answers a browser's question whether it may send a request.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodOptions || r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" || s.AllowOrigin == "" {
		return false
	}
	if s.allowsOrigin(r.Header.Get("Origin")) {
		methods := s.AllowMethods
		if methods == "" {
			methods = "GET,POST,HEAD"
		}
		w.Header().Set("Access-Control-Allow-Methods", methods)
		w.Header().Set("Access-Control-Allow-Headers", "X-Requested-With,Content-Type,Accept,Origin")
		w.Header().Set("Access-Control-Max-Age", "1800")
	}
	w.WriteHeader(http.StatusOK)
	return true
}
