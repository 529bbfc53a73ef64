package settings

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRisingOrder(t *testing.T) {
	file := write(t, "rest:\n  listen: 127.0.0.1:1\npeer.listen: 127.0.0.1:2\nlog: {level: warn}\n")
	s, err := Load(Sources{File: file,
		Environ: []string{"SLUICE_PEER_LISTEN=127.0.0.1:3", "SLUICE_LOG_LEVEL=error", "SLUICE_NODE_ID=env", "PATH=/bin"},
		Flags:   map[string]string{"log.level": "debug"}})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{s.RESTListen, s.PeerListen, s.LogLevel.String(), s.NodeID, s.RESTAdvertised}
	if d := cmp.Diff([]string{"127.0.0.1:1", "127.0.0.1:3", "DEBUG", "env", "127.0.0.1:1"}, got); d != "" {
		t.Fatal(d)
	}
}

func TestKafkaPassesThrough(t *testing.T) {
	file := write(t, "kafka:\n  bootstrap.servers: [a:1, b:2]\n  security:\n    protocol: SASL_SSL\n  sasl.jaas.config: x y z\n")
	s, err := Load(Sources{File: file, Environ: []string{"SLUICE_KAFKA_SASL_MECHANISM=PLAIN"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"bootstrap.servers": "a:1,b:2", "security.protocol": "SASL_SSL", "sasl.jaas.config": "x y z", "sasl.mechanism": "PLAIN"}
	if d := cmp.Diff(want, s.Kafka); d != "" {
		t.Fatal(d)
	}
}

func TestErrorsNameTheWayOut(t *testing.T) {
	for _, c := range []struct{ name, yaml, want string }{
		{"unknown", "rest.lisen: :1", `sluice.yaml:1: unknown setting "rest.lisen"; did you mean rest.listen?`},
		{"nested unknown", "rest:\n  prot: 1", `sluice.yaml:2: unknown setting "rest.prot"`},
		{"far", "topics: a", "goes to the REST API"},
		{"port", "rest.listen: localhost:99999", `rest.listen is "localhost:99999": the port`},
		{"no port", "rest.listen: localhost", "host:port"},
		{"advertised", "rest.advertised: 0.0.0.0:8083", "can't reach"},
		{"size", "memory.limit: lots", `memory.limit is "lots": a size is`},
		{"small", "memory.limit: 1MiB", "at least 64MiB"},
		{"level", "log.level: loud", "give one of debug, info, warn, error"},
		{"lake path", "lake.url: ./lake", "a lake is a URL: file://"},
		{"lake scheme", "lake.url: hdfs://x/y", "hdfs is no kind of store"},
		{"lake slashes", "lake.url: file://srv/lake", "three slashes"},
		{"bucket", "lake.url: s3:///x", "the bucket is missing"},
		{"twice", "rest:\n  listen: :1\nrest.listen: :2", "sluice.yaml:3: rest.listen is set twice, first in line 2"},
		{"not yaml", "a: [", "is not YAML"},
		{"no map", "- a", "`name: value` lines"},
		{"join", "cluster.join: a:1,b", `"b" is no host:port`},
		{"join without a host", "cluster.join: a:1,:8093", `":8093" is no host:port`},
		{"join with a port out of range", "cluster.join: a:99999", "from 1 to 65535"},
		{"duration", "shutdown.timeout: 5", "a number with a unit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Load(Sources{File: write(t, c.yaml)})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	_, err := Load(Sources{File: write(t, "rest.lisen: :1\nlog.level: loud\nmemory.limit: x\n")})
	if err == nil || strings.Count(err.Error(), "\n") != 2 {
		t.Fatalf("want three lines: %v", err)
	}
}

func TestForeignEnvironment(t *testing.T) {
	s, err := Load(Sources{Environ: []string{
		"SLUICE_SERVICE_HOST=10.0.0.1", "SLUICE_PORT_8083_TCP=tcp://10.0.0.1:8083", "SLUICE_REST_LISTN=:1", "SLUICE_TEST_LONG=1"}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"SLUICE_REST_LISTN in the environment is no setting; did you mean SLUICE_REST_LISTEN?"}, s.Warnings); d != "" {
		t.Fatal(d)
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{"512MiB": 512 << 20, "2GB": 2e9, "134217728": 128 << 20, "1.5g": 3 << 29} {
		if got, err := size(text); err != nil || got != want {
			t.Errorf("size(%s) = %d, %v", text, got, err)
		}
	}
	if n, err := size("50%"); err != nil || n < leastMemory {
		t.Errorf("size(50%%) = %d, %v", n, err)
	}
}

func TestNamesAreOneName(t *testing.T) {
	seen := map[string]bool{}
	for _, d := range Definitions() {
		if seen[d.Env()] || seen[d.Flag()] {
			t.Errorf("%s shares its flag or variable with another setting", d.Name)
		}
		seen[d.Env()], seen[d.Flag()] = true, true
		if d.Help == "" {
			t.Errorf("%s has no help", d.Name)
		}
	}
}
