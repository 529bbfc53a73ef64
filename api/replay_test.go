package api

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sluice.io/sluice/internal/testkit"
)

// line is one pair of the transcripts.
type line struct {
	ID      int    `json:"id"`
	Note    string `json:"note"`
	Worker  int    `json:"worker"`
	Request struct {
		Method  string            `json:"method"`
		Path    string            `json:"path"`
		Headers map[string]string `json:"headers"`
		Body    *string           `json:"body"`
	} `json:"request"`
	Response struct {
		StatusLine string            `json:"status_line"`
		Headers    map[string]string `json:"headers"`
		Body       *string           `json:"body"`
	} `json:"response"`
}

// deviation is a line of the transcripts that we answer otherwise, on purpose.
type deviation struct {
	status int
	reason string
}

// deviations reads the committed list: id, the status that we give, the reason.
func deviations(t *testing.T) map[int]deviation {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "connect-4.3.1.deviations.txt"))
	if err != nil {
		t.Fatal(err)
	}
	out := map[int]deviation{}
	for l := range strings.Lines(string(b)) {
		f := strings.Fields(l)
		if len(f) == 0 || strings.HasPrefix(f[0], "#") {
			continue
		}
		id, err1 := strconv.Atoi(f[0])
		status, err2 := strconv.Atoi(f[1])
		if err1 != nil || err2 != nil || len(f) < 4 {
			t.Fatalf("not id, status, reason: %s", l)
		}
		out[id] = deviation{status, strings.Join(f[2:], " ")}
	}
	return out
}

// TestTranscripts sends what was sent to a real Kafka Connect 4.3.1 and compares the answers.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	f, err := os.Open(testkit.Shared(t, "transcripts/connect-4.3.1.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, cluster, lake := newTestServer(t, nil)
	known := deviations(t)
	equal, deviating := 0, 0
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var l line
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil {
			t.Fatal(err)
		}
		cluster.settle()
		if l.ID == 45 { // the records of the topic have passed meanwhile
			lake.fill("orders-sink", "orders", 0, 4)
			lake.fill("orders-sink", "orders", 1, 3)
		}
		got := replay(s, l)
		d, deviates := known[l.ID]
		if deviates {
			deviating++
			delete(known, l.ID)
			if got.Code != d.status {
				t.Errorf("line %d (%s): status %d, and the list of deviations says %d (%s)", l.ID, l.Note, got.Code, d.status, d.reason)
			}
			continue
		}
		if why := compare(l, got); len(why) > 0 {
			t.Errorf("line %d (%s): %s %s\n  %s", l.ID, l.Note, l.Request.Method, l.Request.Path, strings.Join(why, "\n  "))
			continue
		}
		equal++
	}
	if err := sc.Err(); err != nil {
		t.Fatal(err)
	}
	for id := range known {
		t.Errorf("line %d is in the list of deviations and not in the transcripts", id)
	}
	t.Logf("transcripts of Kafka Connect 4.3.1: %d lines answered alike, %d otherwise on purpose (testdata/connect-4.3.1.deviations.txt), of %d", equal, deviating, equal+deviating)
}

func replay(s *Server, l line) *httptest.ResponseRecorder {
	var body []byte
	if l.Request.Body != nil {
		body = []byte(*l.Request.Body)
	}
	r := httptest.NewRequest(l.Request.Method, l.Request.Path, bytes.NewReader(body))
	r.Host = fmt.Sprintf("10.0.0.%d:8083", l.Worker)
	for k, v := range l.Request.Headers {
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// compare follows the rules of the transcripts' README.
func compare(l line, got *httptest.ResponseRecorder) []string {
	var why []string
	want := strings.Fields(l.Response.StatusLine)[1]
	if strconv.Itoa(got.Code) != want {
		return []string{fmt.Sprintf("status %d, want %s: %s", got.Code, want, got.Body)}
	}
	for _, h := range []string{"Content-Type", "Location", "Allow"} {
		if g := got.Header().Get(h); g != l.Response.Headers[h] {
			why = append(why, fmt.Sprintf("%s is %q, want %q", h, g, l.Response.Headers[h]))
		}
	}
	if l.Response.Body == nil {
		if got.Body.Len() > 0 {
			why = append(why, "a body where none is wanted: "+got.Body.String())
		}
		return why
	}
	var w, g any
	if err := json.Unmarshal([]byte(*l.Response.Body), &w); err != nil {
		if *l.Response.Body != got.Body.String() {
			why = append(why, fmt.Sprintf("body %q, want %q", got.Body, *l.Response.Body))
		}
		return why
	}
	if err := json.Unmarshal(got.Body.Bytes(), &g); err != nil {
		return append(why, "the body is no JSON: "+got.Body.String())
	}
	return append(why, differ("", w, g)...)
}

// differ compares JSON values. Documentation, versions, workers and stack traces past their first line do not count;
// what we say in addition (order beside order_in_group, our own plugins and sluice.* keys) is let through.
func differ(at string, want, got any) []string {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want an object", at, got)}
		}
		var why []string
		for k, x := range w {
			y, there := g[k]
			switch {
			case k == "documentation" || k == "worker_id" || k == "version":
			case (k == "default_value" || k == "value" || k == "recommended_values") && strings.HasSuffix(fmt.Sprint(w["name"]), ".plugin.version"):
			case !there:
				why = append(why, at+"."+k+" is missing")
			case k == "trace":
				why = append(why, differ(at+".trace", firstLine(x), firstLine(y))...)
			default:
				why = append(why, differ(at+"."+k, x, y)...)
			}
		}
		for k := range g {
			if _, there := w[k]; !there && k != "order" && !strings.HasPrefix(k, "sluice.") {
				why = append(why, at+"."+k+" is too much")
			}
		}
		return why
	case []any:
		g, ok := got.([]any)
		if !ok {
			return []string{fmt.Sprintf("%s is %v, want a list", at, got)}
		}
		return differList(at, w, g)
	default:
		if want != got {
			return []string{fmt.Sprintf("%s is %v, want %v", at, got, want)}
		}
		return nil
	}
}

func differList(at string, want, got []any) []string {
	loose := at == "" || strings.HasSuffix(at, "recommended_values") // lists of names: order and our own additions are free
	if !loose && len(want) != len(got) {
		return []string{fmt.Sprintf("%s has %d members, want %d", at, len(got), len(want))}
	}
	var why []string
	for i, w := range want {
		if !loose {
			why = append(why, differ(fmt.Sprintf("%s[%d]", at, i), w, got[i])...)
			continue
		}
		found := false
		for _, g := range got {
			found = found || len(differ("x", w, g)) == 0
		}
		if !found {
			why = append(why, fmt.Sprintf("%s lacks %v", at, w))
		}
	}
	return why
}

func firstLine(v any) any {
	if s, ok := v.(string); ok {
		s, _, _ = strings.Cut(s, "\n")
		return s
	}
	return v
}

var _ http.Handler = (*Server)(nil)
