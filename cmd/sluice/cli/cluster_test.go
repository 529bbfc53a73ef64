package cli

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// A drain for which nobody could take the tasks is refused before it begins; one that takes too long says how to take it back.
func TestDrainThatCannotEnd(t *testing.T) {
	members, drains := "", 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/drain"):
			drains++
			w.WriteHeader(http.StatusAccepted)
		case strings.HasSuffix(r.URL.Path, "/members"):
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, members)
		default:
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"node":"n1"}`)
		}
	}))
	defer srv.Close()
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := Main(Streams{In: strings.NewReader(""), Out: &out, Err: &out}, nil, append([]string{"cluster", "drain", "--url", srv.URL}, args...), "test")
		return code, out.String()
	}
	for _, alone := range []string{
		`[{"id":"n1","alive":true,"tasks":3}]`,
		`[{"id":"n1","alive":true,"tasks":3},{"id":"n2","alive":false},{"id":"n3","alive":true,"draining":true}]`,
	} {
		members = alone
		if code, out := run(); code == 0 || drains != 0 || !strings.Contains(out, "no other node could take the tasks of n1") {
			t.Errorf("exit %d, %d drains: %s", code, drains, out)
		}
	}
	if code, out := run("--wait", "0"); code != 0 || drains != 1 || !strings.Contains(out, "gives its tasks away") {
		t.Errorf("exit %d, %d drains: %s", code, drains, out)
	}
	members = `[{"id":"n1","alive":true,"tasks":3},{"id":"n2","alive":true}]`
	if code, out := run("--wait", "100ms"); code == 0 || !strings.Contains(out, "n1 still has 3 tasks") || !strings.Contains(out, "undrain n1") {
		t.Errorf("exit %d: %s", code, out)
	}
}
