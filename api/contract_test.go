package api

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// step is one request and what is wanted of the answer. want: "=" in front means the whole body, else each line must be
// contained.
type step struct {
	do     string // METHOD path
	body   string
	header string // "Name: value", several with newlines; "-" in front of a name sends no such header
	status int
	want   string
	// before changes the world.
	before func(*world)
}

type world struct {
	t       *testing.T
	server  *Server
	cluster *fakeCluster
	lake    *fakeLake
}

func newWorld(t *testing.T, change func(*Options)) *world {
	s, c, l := newTestServer(t, change)
	return &world{t, s, c, l}
}

func (w *world) send(method, path, body, header string) *httptest.ResponseRecorder {
	var rd io.Reader = http.NoBody
	if body != "" {
		rd = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, rd)
	r.Host = "HOST:8083"
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for l := range strings.SplitSeq(header, "\n") {
		name, value, ok := strings.Cut(l, ": ")
		if strings.HasPrefix(l, "-") {
			r.Header.Del(l[1:])
		} else if ok {
			r.Header.Set(name, value)
		}
	}
	rec := httptest.NewRecorder()
	w.server.ServeHTTP(rec, r)
	return rec
}

func (w *world) run(steps []step) {
	w.t.Helper()
	for i, s := range steps {
		w.cluster.settle()
		if s.before != nil {
			s.before(w)
		}
		method, path, _ := strings.Cut(s.do, " ")
		got := w.send(method, path, s.body, s.header)
		at := fmt.Sprintf("step %d, %s %s", i+1, s.do, s.body)
		if got.Code != s.status {
			w.t.Errorf("%s: status %d, want %d: %s", at, got.Code, s.status, got.Body)
			continue
		}
		if got.Code >= 300 && got.Code < 400 {
			w.t.Errorf("%s: a redirect", at)
		}
		if got.Code >= 400 && method != http.MethodHead {
			var e struct {
				Code    int     `json:"error_code"`
				Message *string `json:"message"`
			}
			if err := json.Unmarshal(got.Body.Bytes(), &e); err != nil || e.Code != got.Code || e.Message == nil {
				w.t.Errorf("%s: no error body: %s", at, got.Body)
			}
		}
		if whole, ok := strings.CutPrefix(s.want, "="); ok {
			if b := got.Body.String(); b != whole {
				w.t.Errorf("%s: body\n  %s\nwant\n  %s", at, b, whole)
			}
			continue
		}
		for l := range strings.SplitSeq(s.want, "\n") {
			if !strings.Contains(got.Body.String(), strings.TrimSpace(l)) {
				w.t.Errorf("%s: the body lacks %q: %s", at, strings.TrimSpace(l), got.Body)
			}
		}
	}
}

// sinkConfig is a valid configuration, with changes.
func sinkConfig(kv ...string) string {
	m := map[string]string{"connector.class": "LakehouseSink", "topics": "orders", "tasks.max": "2"}
	for i := 0; i < len(kv); i += 2 {
		if kv[i+1] == "-" {
			delete(m, kv[i])
		} else {
			m[kv[i]] = kv[i+1]
		}
	}
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // strings marshal
	}
	return string(b)
}

func create(name string, kv ...string) string {
	return `{"name":"` + name + `","config":` + sinkConfig(kv...) + `}`
}

func errorOf(code int, message string) string {
	return fmt.Sprintf(`={"error_code":%d,"message":%q}`, code, message)
}

func TestGoldenCreateAndUpdate(t *testing.T) {
	t.Parallel()
	newWorld(t, nil).run([]step{
		{do: "POST /connectors", body: "{\"name\":\"a\xff\"}", status: 400, want: errorOf(400, "Malformed JSON at line 1, column 11: byte 0xff is not UTF-8")},
		{do: "POST /connectors", body: create("a"), status: 201, want: `={"name":"a","config":{"connector.class":"LakehouseSink","name":"a","tasks.max":"2","topics":"orders"},"tasks":[],"type":"sink"}`},
		{do: "POST /connectors/", body: create("slash", "topics", "s"), status: 201},
		{do: "POST /connectors", body: create("a"), status: 409, want: errorOf(409, "Connector a already exists")},
		{do: "POST /connectors", body: create(" b ", "topics", "payments"), status: 201, want: `"name":"b"`},
		{do: "POST /connectors", body: create("a", "name", "z"), status: 400, want: "Connector name configuration (z) doesn't match connector name in the URL (a)"},
		{do: "POST /connectors", body: create("c", "tasks.max", "0"), status: 400, want: "contains the following 1 error(s):\nValue must be at least 1\nconfig/validate`"},
		{do: "POST /connectors", body: `{"name":"num","config":{"connector.class":"LakehouseSink","topics":"n","tasks.max":2,"x":1.50,"y":1e3,"z":true}}`, status: 201},
		{do: "GET /connectors/num/config", status: 200, want: `={"connector.class":"LakehouseSink","name":"num","tasks.max":"2","topics":"n","x":"1.50","y":"1e3","z":"true"}`},
		{do: "POST /connectors", body: create("c", "topics", "-"), status: 400, want: "2 error(s)"},
		{do: "POST /connectors", body: `{"name":"p","config":` + sinkConfig("topics", "p") + `,"initial_state":"paused"}`, status: 201},
		{do: "GET /connectors/p/status", status: 200, want: `"connector":{"state":"PAUSED"`},
		{do: "GET /connectors/p/tasks", status: 200, want: "=[]"},
		{do: "POST /connectors", body: `{"name":"q","config":` + sinkConfig() + `,"initialState":"x"}`, status: 400, want: `Unrecognized field \"initialState\"`},
		{do: "POST /connectors", body: `{"name":"q","config":` + sinkConfig() + `,"initial_state":"DEAD"}`, status: 400, want: "RUNNING, PAUSED and STOPPED"},
		{do: "PUT /connectors/new/config", body: sinkConfig("topics", "new"), status: 201},
		{do: "PUT /connectors/a/config", body: sinkConfig(), status: 200, want: `"tasks":[{"connector":"a","task":0},{"connector":"a","task":1}]`},
		{do: "PUT /connectors/a/config", body: sinkConfig("name", "b"), status: 400, want: "doesn't match"},
		{do: "PUT /connectors/a/config", body: `{"connector.class":"LakehouseSink","topics":"orders","k":null}`, status: 400, want: "Null value can not be supplied as the configuration value."},
		{do: "PUT /connectors/a/config", body: sinkConfig("k", "v"), status: 200},
		{do: "PATCH /connectors/a/config", body: `{"tasks.max":3,"k":null}`, status: 200},
		{do: "GET /connectors/a/config", status: 200, want: `={"connector.class":"LakehouseSink","name":"a","tasks.max":"3","topics":"orders"}`},
		{do: "PATCH /connectors/a/config", body: `{"name":"b"}`, status: 400, want: "doesn't match"},
		{do: "PATCH /connectors/a/config", body: `{"name":null}`, status: 200, want: `"name":"a"`},
		{do: "PATCH /connectors/a/config", body: `{"tasks.max":"-1"}`, status: 400, want: "Value must be at least 1"},
		{do: "PATCH /connectors/none/config", body: `{}`, status: 404, want: errorOf(404, "Connector none not found")},
		{do: "POST /connectors", body: create("a b"), status: 400, want: "connector a writes the table bronze/orders already"},
		{do: "POST /connectors", body: create("a b", "topics", "t1"), status: 201},
		{do: "GET /connectors/a%20b/config", status: 200},
		{do: "POST /connectors", body: create("a/b", "topics", "t2"), status: 201},
		{do: "GET /connectors/a%2Fb", status: 200, want: `"name":"a/b"`},
		{do: "POST /connectors", body: create("z", "topics", "t3") + "x", status: 400, want: "Malformed JSON"},
		{do: "POST /connectors", body: create("z", "topics", "t3"), header: "-Content-Type", status: 415},
		{do: "POST /connectors", body: `{"config":` + sinkConfig() + `}`, status: 400, want: "Invalid value  for configuration name: String may not be empty"},
		{do: "POST /connectors", body: `{"name":"z"}`, status: 400, want: "config"},
		{do: "POST /connectors", body: `null`, status: 400},
		{do: "POST /connectors", body: `[]`, status: 400},
		{do: "POST /connectors", body: `{"name":"z","config":{"topics":["a"]}}`, status: 400, want: "Cannot deserialize value of type `java.lang.String` from Array value"},
		{do: "POST /connectors", body: `{"name":"z","config":{"topics":{}}}`, status: 400, want: "Cannot deserialize value of type `java.lang.String` from Object value"},
		{do: "POST /connectors", body: create("z", "connector.class", "-", "aws.secret.key", "hush"), status: 400, want: "contains no connector type\naws.secret.key=[hidden]"},
		{do: "POST /connectors", body: create("z", "connector.class", "com.acme.X"), status: 400, want: "Failed to find any class that implements Connector and which name matches com.acme.X"},
		{do: "POST /connectors", body: "\xef\xbb\xbf" + `{"name":7,"config":` + sinkConfig("topics", "t4") + `,"name":8}`, status: 201, want: `"name":"8"`},
		{do: "POST /connectors", body: create("ver", "topics", "t5", "connector.plugin.version", "9.9"), status: 400, want: "available versions: [1.0.0]"},
		{do: "POST /connectors", body: create("alias", "topics", "t6", "connector.class", "io.sluice.LakehouseSinkConnector"), status: 201},
		{do: "POST /connectors", status: 400, want: "no body"},
	})
}

func TestNamesRoundTrip(t *testing.T) {
	t.Parallel()
	for i, name := range []string{"a b", "q?x", "h#x", "semi;x", "amp&x", "[b]", `q"u'o`, "Ünï", "🚰", "pl+us", "100%", `back\slash`, "a/b", "{x}", "..", "a//b", "%2F"} {
		w := newWorld(t, nil)
		body, err := json.Marshal(map[string]any{"name": name, "config": map[string]string{"connector.class": "LakehouseSink", "topics": fmt.Sprint("t", i)}})
		if err != nil {
			t.Fatal(err)
		}
		got := w.send("POST", "/connectors", string(body), "")
		if got.Code != 201 {
			t.Errorf("%s: %s", name, got.Body)
			continue
		}
		at, ok := strings.CutPrefix(got.Header().Get("Location"), "http://HOST:8083")
		if !ok {
			t.Errorf("%s: Location %s", name, got.Header().Get("Location"))
		}
		for _, s := range []struct {
			method, path string
			status       int
		}{{"GET", "", 200}, {"GET", "/config", 200}, {"GET", "/status/", 200}, {"PUT", "/pause", 202}, {"GET", "/topics", 200}, {"DELETE", "", 204}} {
			if got := w.send(s.method, at+s.path, "", ""); got.Code != s.status {
				t.Errorf("%s: %s %s gives %d %s", name, s.method, at+s.path, got.Code, got.Body)
			}
		}
	}
	w := newWorld(t, nil)
	w.run([]step{
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "GET /connectors/a;v=1", status: 200},
		{do: "GET /connectors/%ff", status: 400, want: "UTF-8"},
		{do: "PUT /connectors//config", body: sinkConfig(), status: 404},
		{do: "POST /connectors", body: create(`a\u0001`), status: 400, want: "String may not contain control sequences but had the following ASCII chars: 1"},
	})
}

func TestGoldenRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run([]step{
		{do: "GET /connectors", status: 200, want: "=[]"},
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "GET /connectors", status: 200, want: `=["a"]`},
		{do: "GET /connectors?expand=status&expand=info", status: 200, want: "{\"a\":{\"info\":{\"name\":\"a\"\n\"status\":{\"name\":\"a\",\"connector\":{\"state\":\"RUNNING\""},
		{do: "GET /connectors?expand=status,info", status: 200, want: `={"a":{}}`},
		{do: "GET /connectors?expand%5B%5D=status", status: 200, want: `=["a"]`},
		{do: "GET /connectors?search=x", status: 200, want: `=["a"]`},
		{do: "GET /connectors/none", status: 404, want: errorOf(404, "Connector none not found")},
		{do: "GET /connectors/none/config", status: 404, want: errorOf(404, "Connector none not found")},
		{do: "GET /connectors/none/tasks", status: 404, want: errorOf(404, "Connector none not found")},
		{do: "GET /connectors/none/offsets", status: 404, want: errorOf(404, "Connector none not found")},
		{do: "GET /connectors/none/status", status: 404, want: errorOf(404, "No status found for connector none")},
		{do: "GET /connectors/a/tasks/9/status", status: 404, want: errorOf(404, "No status found for task a-9")},
		{do: "GET /connectors/a/tasks/-1/status", status: 404, want: errorOf(404, "No status found for task a--1")},
		{do: "GET /connectors/a/tasks/00/status", status: 200, want: `{"id":0,"state":"RUNNING"`},
		{do: "GET /connectors/a/tasks/x/status", status: 404, want: errorOf(404, "HTTP 404 Not Found")},
		{do: "GET /connectors/a/tasks/2147483648/status", status: 404, want: errorOf(404, "HTTP 404 Not Found")},
		{do: "GET /connectors/a/tasks-config", status: 200, want: `{"a-0":{`},
		{do: "GET /connectors/a/tasks", status: 200, want: "\"task.class\":\"io.sluice.LakehouseSinkTask\"\n\"sluice.task.partitions\":\"1\""},
		{do: "GET /connectors/none/topics", status: 200, want: `={"none":{"topics":[]}}`},
		{do: "PUT /connectors/none/topics/reset", status: 202, want: "="},
		{do: "GET /connectors/a/offsets", status: 200, want: `={"offsets":[]}`},
		{do: "GET /nope", status: 404, want: errorOf(404, "HTTP 404 Not Found")},
		{do: "POST /connectors/a/pause", status: 405, want: errorOf(405, "HTTP 405 Method Not Allowed")},
		{do: "TRACE /connectors", status: 405},
		{do: "GET /health", status: 200, want: `={"status":"healthy","message":"Worker has completed startup and is ready to handle requests."}`},
		{do: "GET /", status: 200, want: `={"version":"4.3.1","commit":"26b251a451ce941d","kafka_cluster_id":"Kafka-Cluster-Id-22chars"}`},
		{do: "HEAD /connectors", status: 200},
		{do: "GET /connectors", header: "Accept: text/html", status: 406},
		{do: "GET /connectors", header: "Accept: application/json;q=0", status: 406},
		{do: "GET /connectors", header: "Accept: text/html, */*;q=0.1", status: 200},
		{do: "POST /connectors", body: create("never"), header: "Accept: text/csv", status: 406},
		{do: "GET /connectors", header: "Accept: ", status: 200},
		{do: "GET /connectors/never", status: 404},
	})
	got := w.send("GET", "/nope", "", "")
	if len(got.Header()["Content-Type"]) > 0 {
		t.Error("an unknown path has no Content-Type")
	}
	got = w.send("OPTIONS", "/connectors", "", "Accept: application/json")
	if got.Code != 200 || got.Header().Get("Allow") != "HEAD,POST,GET,OPTIONS" || got.Body.Len() != 0 {
		t.Errorf("OPTIONS: %d %v %s", got.Code, got.Header(), got.Body)
	}
}

func TestGoldenLifecycle(t *testing.T) {
	t.Parallel()
	newWorld(t, nil).run([]step{
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "GET /connectors/a/status", status: 200, want: `={"name":"a","connector":{"state":"RUNNING","worker_id":"10.0.0.1:8083","version":"1.0.0"},"tasks":[{"id":0,"state":"RUNNING","worker_id":"10.0.0.1:8083","version":"1.0.0"},{"id":1,"state":"RUNNING","worker_id":"10.0.0.2:8083","version":"1.0.0"}],"type":"sink"}`},
		{do: "PUT /connectors/a/pause", status: 202, want: "="},
		{do: "PUT /connectors/a/pause", status: 202, want: "="},
		{do: "PUT /connectors/a/pause", body: `{}`, status: 202, want: "="},
		{do: "PUT /connectors/a/pause", body: `bytes`, header: "-Content-Type", status: 202},
		{do: "PUT /connectors/a/pause", body: `a=b`, header: "Content-Type: application/x-www-form-urlencoded", status: 415},
		{do: "PUT /connectors/a/pause", header: "Content-Type: application/x-www-form-urlencoded", status: 202},
		{do: "GET /connectors/a/status", status: 200, want: `"state":"PAUSED"`},
		{do: "PUT /connectors/a/resume", status: 202, want: "="},
		{do: "POST /connectors/a/restart", status: 204, want: "="},
		{do: "POST /connectors/a/restart", body: `{"params":{"includeTasks":true}}`, status: 204, want: "="},
		{do: "POST /connectors/a/restart?includeTasks=true&onlyFailed=false", status: 202, want: "\"connector\":{\"state\":\"RESTARTING\"\n{\"id\":0,\"state\":\"RESTARTING\"\n{\"id\":1,\"state\":\"RESTARTING\""},
		{do: "POST /connectors/a/restart?onlyFailed=true", status: 202, want: "\"connector\":{\"state\":\"RUNNING\""},
		{do: "POST /connectors/a/restart?includeTasks=TRUE&onlyFailed=x", status: 202},
		{do: "POST /connectors/none/restart", status: 404, want: errorOf(404, "Unknown connector: none")},
		{do: "POST /connectors/none/restart?includeTasks=true", status: 404, want: errorOf(404, "Unknown connector: none")},
		{do: "POST /connectors/none/restart?onlyFailed=true", status: 404, want: errorOf(404, "Unknown connector: none")},
		{do: "POST /connectors/none/restart?onlyFailed=true&includeTasks=true", status: 404, want: errorOf(404, "Unknown connector: none")},
		{do: "POST /connectors/a/tasks/0/restart", status: 204, want: "="},
		{do: "POST /connectors/a/tasks/9/restart", status: 404, want: errorOf(404, "Unknown task: a-9")},
		{do: "POST /connectors/none/tasks/0/restart", status: 404, want: errorOf(404, "Unknown connector: none")},
		{do: "PUT /connectors/none/pause", status: 404, want: errorOf(404, "Unknown connector none")},
		{do: "PUT /connectors/a/stop", status: 204, want: "="},
		{do: "GET /connectors/a/tasks", status: 200, want: "=[]"},
		{do: "GET /connectors/a/status", status: 200, want: "\"state\":\"STOPPED\"\n\"tasks\":[]"},
		{do: "POST /connectors/a/tasks/0/restart", status: 404, want: errorOf(404, "Unknown task: a-0")},
		{do: "PUT /connectors/a/resume", status: 202},
		{do: "POST /connectors/a/tasks", body: "[]", status: 400, want: errorOf(400, "Internal request missing required signature")},
		{do: "PUT /connectors/a/fence", header: "X-Connect-Authorization: x\nX-Connect-Request-Signature-Algorithm: HmacFoo", status: 400, want: "Algorithm HmacFoo not available"},
		{do: "POST /connectors/a/tasks", body: "[]", header: "X-Connect-Authorization: eA==\nX-Connect-Request-Signature-Algorithm: HmacSHA256", status: 403, want: "Internal request contained invalid signature."},
		{do: "DELETE /connectors/a", status: 204, want: "="},
		{do: "DELETE /connectors/a", status: 404, want: errorOf(404, "Connector a not found")},
	})
}

func TestGoldenOffsets(t *testing.T) {
	t.Parallel()
	one := func(partition, offset string) string {
		return `{"offsets":[{"partition":` + partition + `,"offset":` + offset + `}]}`
	}
	t0 := `{"kafka_topic":"orders","kafka_partition":0}`
	stop := step{do: "PUT /connectors/a/stop", status: 204}
	newWorld(t, nil).run([]step{
		{do: "PATCH /connectors/none/offsets", body: one(t0, "null"), status: 404, want: errorOf(404, "Connector none not found")},
		{do: "POST /connectors", body: create("a"), status: 201},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":5}`), status: 400, want: "must be in the STOPPED state before their offsets can be modified"},
		{do: "PUT /connectors/a/pause", status: 202},
		{do: "DELETE /connectors/a/offsets", status: 400, want: "'/connectors/a/stop'"},
		stop,
		{do: "DELETE /connectors/a/offsets", status: 500, want: "zombie sink task", before: func(w *world) { w.cluster.busy = true }},
		{do: "PATCH /connectors/a/offsets", body: `{"offsets":[]}`, status: 400, want: errorOf(400, "Partitions / offsets need to be provided for an alter offsets request"), before: func(w *world) { w.cluster.busy = false }},
		{do: "PATCH /connectors/a/offsets", body: `{}`, status: 400, want: "need to be provided"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":5}`), status: 200, want: `={"message":"The offsets for this connector have been altered successfully"}`},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":"orders","kafka_partition":"0"}`, `{"kafka_offset":"6"}`), status: 200},
		{do: "GET /connectors/a/offsets", status: 200, want: `={"offsets":[{"partition":{"kafka_partition":0,"kafka_topic":"orders"},"offset":{"kafka_offset":6}}]}`},
		{do: "PATCH /connectors/a/offsets", body: one("null", `{"kafka_offset":5}`), status: 400, want: "The partition for a sink connector offset cannot be null or missing"},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":"t"}`, `{"kafka_offset":5}`), status: 400, want: "must contain the keys 'kafka_topic' and 'kafka_partition'"},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":null,"kafka_partition":0}`, `{"kafka_offset":5}`), status: 400, want: "Kafka topic names must be valid strings and may not be null"},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":"t","kafka_partition":null}`, `{"kafka_offset":5}`), status: 400, want: "Kafka partitions must be valid numbers and may not be null"},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":"t","kafka_partition":"x"}`, `{"kafka_offset":5}`), status: 400, want: "Partition values for sink connectors need to be integers"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"offset":5}`), status: 400, want: "The offset for a sink connector should either be null or contain the key 'kafka_offset'"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":"not a number"}`), status: 400, want: "Offset values for sink connectors need to be integers"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":1.5}`), status: 400, want: "need to be integers"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":-5}`), status: 400, want: "negative"},
		{do: "PATCH /connectors/a/offsets", body: `{"offsets":{}}`, status: 400, want: errorOf(400, "Unexpected JSON object in offsets")},
		{do: "PATCH /connectors/a/offsets", body: `{"offsets":[1]}`, status: 400, want: errorOf(400, "Unexpected JSON number in offsets")},
		{do: "PATCH /connectors/a/offsets", body: one(`"x"`, `{"kafka_offset":5}`), status: 400, want: errorOf(400, "Unexpected JSON string in partition")},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `5`), status: 400, want: errorOf(400, "Unexpected JSON number in offset")},
		{do: "PATCH /connectors/a/offsets", body: one(`{"kafka_topic":"orders","kafka_partition":9}`, `{"kafka_offset":5}`), status: 400, want: "no partition 9"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":50}`), status: 400, want: "bronze holds the records below 100 already\nsluice table rebuild",
			before: func(w *world) { w.lake.fill("a", "orders", 0, 100) }},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `null`), status: 400, want: "sluice table rebuild"},
		{do: "DELETE /connectors/a/offsets", status: 400, want: "sluice table rebuild"},
		{do: "PATCH /connectors/a/offsets", body: one(t0, `{"kafka_offset":150}`), status: 200},
		{do: "POST /connectors", body: create("b", "topics", "payments"), status: 201},
		{do: "PUT /connectors/b/stop", status: 204},
		{do: "DELETE /connectors/b/offsets", status: 200, want: `={"message":"The offsets for this connector have been reset successfully"}`},
		{do: "DELETE /connectors/b/offsets", status: 200},
	})
}

func TestGoldenPluginsAndLoggers(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.server.Loggers.Logger("org.x.y")
	w.run([]step{
		{do: "GET /connector-plugins", status: 200, want: `{"class":"LakehouseSink","type":"sink","version":"1.0.0"}`},
		{do: "GET /connector-plugins/", status: 200},
		{do: "GET /connector-plugins?connectorsOnly=false", status: 200, want: "\"type\":\"transformation\"\n\"type\":\"predicate\"\n\"type\":\"converter\"\n\"type\":\"header_converter\""},
		{do: "GET /connector-plugins/Nope/config", status: 404, want: errorOf(404, "Unknown plugin Nope.")},
		{do: "GET /connector-plugins/org.apache.kafka.connect.transforms.Cast$Value/config", status: 200, want: `"name":"spec"`},
		{do: "GET /connector-plugins/org.apache.kafka.connect.transforms.Cast%24Value/config", status: 200},
		{do: "GET /connector-plugins/LakehouseSinkConnector/config?version=%5B0.1,0.2%5D", status: 400, want: "available versions: [1.0.0]"},
		{do: "GET /connector-plugins/LakehouseSinkConnector/config?version=%5B1.0", status: 400, want: "Invalid version specification: [1.0"},
		{do: "GET /connector-plugins/LakehouseSink/config", status: 200, want: `[{"name":"lake.url","type":"STRING","required":false,"default_value":"file:///data/lake"`},
		{do: "PUT /connector-plugins/LakehouseSink/config/validate", body: `{"connector.class":"io.sluice.LakehouseSinkConnector","name":"x"}`, status: 200, want: "\"error_count\":2\n\"groups\":[\"Common\",\"Transforms\",\"Predicates\",\"Error Handling\",\"Lake\"\nMust configure one of topics"},
		{do: "PUT /connector-plugins/LakehouseSinkConnector/config/validate", body: sinkConfig("silver.scdtype", "2"), status: 200, want: "did you mean silver.scd.type?\nMissing required configuration \\\"name\\\""},
		{do: "PUT /connector-plugins/X/config/validate", body: sinkConfig(), status: 400, want: errorOf(400, "Included connector type LakehouseSink does not match request type X")},
		{do: "PUT /connector-plugins/LakehouseSink/config/validate", body: `{"name":"x"}`, status: 400, want: "contains no connector type"},
		{do: "PUT /admin/loggers/org.x", body: `{"level":"debug","extra":1}`, status: 200, want: `=["org.x","org.x.y"]`},
		{do: "GET /admin/loggers/org.x.y", status: 200, want: `{"level":"DEBUG","last_modified":`},
		{do: "GET /admin/loggers/", status: 200, want: `"root":{"level":"INFO","last_modified":null}`},
		{do: "PUT /admin/loggers/org.x?scope=cluster", body: `{"level":"WARN"}`, status: 204, want: "="},
		{do: "PUT /admin/loggers/org.x?scope=galaxy", body: `{"level":"WARN"}`, status: 200, want: `=["org.x","org.x.y"]`},
		{do: "PUT /admin/loggers/org.x", body: `{"level":"LOUD"}`, status: 404, want: errorOf(404, "invalid log level 'LOUD'.")},
		{do: "PUT /admin/loggers/org.x", body: `{}`, status: 400, want: errorOf(400, "Desired 'level' parameter was not specified in request.")},
		{do: "GET /admin/loggers/org.unknown", status: 404, want: errorOf(404, "Logger org.unknown not found.")},
	})
}

// TestStrictClients imitates the decoders that are known to break (connect.md §5).
func TestStrictClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run([]step{{do: "POST /connectors", body: create("a"), status: 201}, {do: "GET /connectors", status: 200}})
	var status struct {
		Connector map[string]string `json:"connector"` // go-kafka-connect
	}
	if err := json.Unmarshal(w.send("GET", "/connectors/a/status", "", "").Body.Bytes(), &status); err != nil {
		t.Error(err)
	}
	var loggers map[string]map[string]string // Strimzi; null is an empty string there
	if err := json.Unmarshal(w.send("GET", "/admin/loggers", "", "").Body.Bytes(), &loggers); err != nil {
		t.Error(err)
	}
	var defs []struct {
		Type       string              `json:"type"`
		Importance string              `json:"importance"`
		Width      string              `json:"width"`
		Order      *int                `json:"order"`
		InGroup    *int                `json:"order_in_group"`
		Dependents []map[string]string `json:"dependents"` // connectctl
	}
	for _, p := range w.server.Registry.Plugins(false) {
		if err := json.Unmarshal(w.send("GET", "/connector-plugins/"+escapeSegment(p.Class)+"/config", "", "").Body.Bytes(), &defs); err != nil {
			t.Fatal(err)
		}
		for _, d := range defs {
			if !strings.Contains(" BOOLEAN STRING INT SHORT LONG DOUBLE LIST CLASS PASSWORD ", " "+d.Type+" ") || !strings.Contains(" HIGH MEDIUM LOW ", " "+d.Importance+" ") ||
				!strings.Contains(" NONE SHORT MEDIUM LONG ", " "+d.Width+" ") || d.Order == nil || d.InGroup == nil || d.Dependents == nil {
				t.Errorf("%s: %+v", p.Class, d)
			}
		}
	}
	// Strimzi compares GET /config with what it put, for equality. References stay references.
	want := map[string]string{"connector.class": "LakehouseSink", "topics": "orders", "name": "a", "note": "${vault:x}", "tasks.max": " 2"}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	w.run([]step{{do: "PUT /connectors/a/config", body: string(b), status: 200}})
	var got map[string]string
	if err := json.Unmarshal(w.send("GET", "/connectors/a/config", "", "").Body.Bytes(), &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("%v %v", got, err)
	}
	w.run([]step{{do: "PATCH /connectors/a/config", body: `{"lake.url":"s3://${env:BUCKET_OF_NOBODY}/x"}`, status: 400, want: "BUCKET_OF_NOBODY is not set on this node"}})
}

// TestNPMClient sends what the npm package kafka-connect-client sends (connect.md §5).
func TestNPMClient(t *testing.T) {
	t.Parallel()
	accept := "Accept: application/json, text/plain, */*"
	form := accept + "\nContent-Type: application/x-www-form-urlencoded\nContent-Length: 0"
	newWorld(t, nil).run([]step{
		{do: "POST /connectors", body: create("npm"), header: accept, status: 201},
		{do: "GET /connectors?expand%5B%5D=status&expand%5B%5D=info", header: accept, status: 200, want: `=["npm"]`},
		{do: "POST /connectors/npm/restart", body: `{"params":{"includeTasks":true,"onlyFailed":true}}`, header: accept, status: 204},
		{do: "PUT /connectors/npm/pause", header: form, status: 202},
		{do: "PUT /connectors/npm/resume", header: form, status: 202},
		{do: "POST /connectors/npm/tasks/0/restart", header: form, status: 204},
		{do: "PUT /connectors/npm/topics/reset", header: form, status: 202},
		{do: "GET /connectors/npm/topics", header: accept, status: 200, want: `={"npm":{"topics":[]}}`},
		{do: "PUT /connectors/npm/stop", header: form, status: 204},
		{do: "PATCH /connectors/npm/offsets", body: `{"offsets":[]}`, header: accept, status: 400},
		{do: "DELETE /connectors/npm/offsets", header: accept, status: 200},
		{do: "DELETE /connectors/npm", header: accept, status: 204},
	})
}

// A node that has just come back may not have heard of a connector yet: it asks the leader before it says no.
func TestNodeThatLagsBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run([]step{{do: "POST /connectors", body: create("a"), status: 201}})
	for _, do := range []string{"GET /connectors/a", "GET /connectors/a/status"} {
		w.cluster.hide()
		w.run([]step{{do: do, status: 200}})
	}
	w.cluster.hide()
	w.run([]step{{do: "PUT /connectors/a/pause", status: 202}, {do: "PUT /connectors/none/pause", status: 404}})
}
