package api

import (
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type handler func(request) (answer, error)

// method is one method of a resource.
type method struct {
	name   string
	handle handler
	// body tells that the handler reads a body, which then needs a Content-Type.
	body bool
	// any tells that the answer is not JSON, so that Accept is not held against it.
	any bool
}

func get(h handler) method                { return method{name: http.MethodGet, handle: h} }
func does(name string, h handler) method  { return method{name: name, handle: h} }
func reads(name string, h handler) method { return method{name: name, handle: h, body: true} }

// endpoint is one resource. Its rules are those of JAX-RS: method, then Content-Type, then Accept. Without methods it
// is the answer to unknown paths.
type endpoint struct {
	server  *Server
	methods []method
}

// ServeHTTP implements http.Handler.
func (e endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, err := e.serve(r)
	if err != nil {
		writeError(w, asREST(r.Context(), err))
		return
	}
	a.write(w)
}

func (e endpoint) serve(r *http.Request) (answer, error) {
	if len(e.methods) == 0 {
		return answer{}, statusError(http.StatusNotFound)
	}
	if r.Method == http.MethodOptions {
		return e.options(r), nil
	}
	name := r.Method
	if name == http.MethodHead {
		name = http.MethodGet
	}
	i := slices.IndexFunc(e.methods, func(m method) bool { return m.name == name })
	if i < 0 {
		return answer{}, statusError(http.StatusMethodNotAllowed)
	}
	m := e.methods[i]
	if err := checkContentType(r, m.body); err != nil {
		return answer{}, err
	}
	if !m.any && !accepts(r, "application", "json") {
		return answer{}, statusError(http.StatusNotAcceptable)
	}
	vars, err := variables(r)
	if err != nil {
		return answer{}, err
	}
	return m.handle(request{Request: r, vars: vars})
}

// checkContentType looks at a body's type only where there is a body (connect.md §7.11): clients send a form's type
// with empty ones. Where no body is read, one without a type is let through.
func checkContentType(r *http.Request, reads bool) error {
	if r.ContentLength == 0 || r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	kind := r.Header.Get("Content-Type")
	if kind == "" && !reads {
		return nil
	}
	media, _, err := mime.ParseMediaType(kind)
	if err != nil || media != "application/json" {
		return statusError(http.StatusUnsupportedMediaType)
	}
	return nil
}

// accepts tells whether the client takes a type: no Accept or an empty one, or a range that holds it and is not ruled out by q=0.
func accepts(r *http.Request, kind, sub string) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return true
	}
	best, quality := -1, 0.0
	for _, part := range strings.Split(accept, ",") {
		media, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		rank := slices.Index([]string{"*/*", kind + "/*", kind + "/" + sub}, media)
		if rank < 0 || rank < best {
			continue
		}
		q := 1.0
		if t, ok := params["q"]; ok {
			if f, err := strconv.ParseFloat(t, 64); err == nil {
				q = f
			}
		}
		if rank > best || q > quality {
			best, quality = rank, q
		}
	}
	return best >= 0 && quality > 0
}

// options answers with the methods (T19), as text where the client takes text.
func (e endpoint) options(r *http.Request) answer {
	var names []string
	for _, n := range []string{http.MethodHead, http.MethodPost, http.MethodGet, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions} {
		is := n
		if n == http.MethodHead {
			is = http.MethodGet
		}
		if n == http.MethodOptions || slices.ContainsFunc(e.methods, func(m method) bool { return m.name == is }) {
			names = append(names, n)
		}
	}
	a := answer{status: http.StatusOK, allow: strings.Join(names, ",")}
	if accepts(r, "text", "plain") {
		a.raw, a.contentType = []byte(strings.Join(names, ", ")), "text/plain"
	}
	return a
}
