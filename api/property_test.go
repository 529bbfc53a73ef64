package api

import (
	"encoding/json"
	"testing"

	"pgregory.net/rapid"
)

// TestNoBodyIsAServerError sends odd bodies everywhere: what a client sends is the client's fault, and every error has a
// body.
func TestNoBodyIsAServerError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	w.run([]step{{do: "POST /connectors", body: create("a"), status: 201}, {do: "PUT /connectors/a/stop", status: 204}})
	targets := [][2]string{{"POST", "/connectors"}, {"PUT", "/connectors/a/config"}, {"PATCH", "/connectors/a/config"}, {"PATCH", "/connectors/a/offsets"},
		{"PUT", "/connector-plugins/LakehouseSink/config/validate"}, {"PUT", "/admin/loggers/x"}, {"PUT", "/connectors/a/pause"}, {"POST", "/connectors/a/restart"}}
	value := rapid.SampledFrom([]string{`null`, `1`, `1.5`, `true`, `"x"`, `""`, `[]`, `{}`, `[1]`, `{"a":1}`, `"LakehouseSink"`, `"orders"`, `[{"partition":null}]`,
		`[{"partition":{"kafka_topic":"orders","kafka_partition":0},"offset":{"kafka_offset":"7"}}]`, `[{"partition":7}]`, `[null]`, `"\ud800"`, `{`, `nul`, `"`})
	member := rapid.SampledFrom([]string{"name", "config", "initial_state", "offsets", "connector.class", "topics", "tasks.max", "level", "transforms", "lake.url", ""})
	rapid.Check(t, func(rt *rapid.T) {
		body := "{"
		for i := range rapid.IntRange(0, 4).Draw(rt, "n") {
			if i > 0 {
				body += ","
			}
			k, err := json.Marshal(member.Draw(rt, "member"))
			if err != nil {
				rt.Fatal(err)
			}
			body += string(k) + ":" + value.Draw(rt, "value")
		}
		body += "}"
		if rapid.IntRange(0, 9).Draw(rt, "bare") == 0 {
			body = value.Draw(rt, "body")
		}
		to := rapid.SampledFrom(targets).Draw(rt, "target")
		got := w.send(to[0], to[1], body, "")
		if got.Code >= 500 {
			rt.Fatalf("%s %s %s: %d %s", to[0], to[1], body, got.Code, got.Body)
		}
		var e struct {
			Code int `json:"error_code"`
		}
		if got.Code >= 400 && (json.Unmarshal(got.Body.Bytes(), &e) != nil || e.Code != got.Code) {
			rt.Fatalf("%s %s %s: %s", to[0], to[1], body, got.Body)
		}
	})
}
