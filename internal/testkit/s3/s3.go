// Package s3 runs servers that speak S3 for tests: MinIO and versitygw, as processes over a folder of the test.
package s3

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
)

// Kinds are the servers that Start knows.
var Kinds = []string{"minio", "versitygw"}

// binaries are the variables that name their programs; .ci/stack/install builds them and .ci/real sets the variables.
var binaries = map[string]string{"minio": "SLUICE_MINIO", "versitygw": "SLUICE_VERSITYGW"}

// Bucket is the one bucket that there is.
const Bucket = "lake"

const (
	user   = "sluice"
	secret = "sluice-secret"
)

// Server is a running server.
type Server struct {
	*proc.Process
	// Endpoint is http://127.0.0.1:port.
	Endpoint string
}

// Start runs a server with an empty bucket. Without the variable that names its program the test is skipped, or fails in the
// real-systems suite (SLUICE_REAL).
func Start(tb testing.TB, kind string) *Server {
	tb.Helper()
	bin := os.Getenv(binaries[kind])
	if bin == "" && os.Getenv("SLUICE_REAL") != "" {
		tb.Fatalf("SLUICE_REAL is set and %s is not: .ci/stack/install %s", binaries[kind], kind)
	}
	if bin == "" {
		tb.Skipf("SKIPPED: %s names no program; `.ci/stack/install %s` builds it, .ci/real sets it", binaries[kind], kind)
	}
	dir := tb.TempDir()
	// A folder below the root is a bucket to both.
	if err := os.Mkdir(filepath.Join(dir, Bucket), 0o755); err != nil {
		tb.Fatal(err)
	}
	addr := ports.Address(tb)
	s := &Server{Endpoint: "http://" + addr}
	switch kind {
	case "minio":
		s.Process = proc.Start(tb, kind, []string{"MINIO_ROOT_USER=" + user, "MINIO_ROOT_PASSWORD=" + secret, "MINIO_BROWSER=off", "MINIO_UPDATE=off", "CI=true"}, bin,
			"server", "--quiet", "--address", addr, dir)
	case "versitygw":
		s.Process = proc.Start(tb, kind, []string{"ROOT_ACCESS_KEY=" + user, "ROOT_SECRET_KEY=" + secret}, bin, "--port", addr, "--quiet", "posix", dir)
	default:
		tb.Fatalf("no server %q", kind)
	}
	proc.Eventually(tb, time.Minute, kind+" listens", func() (bool, string) {
		select {
		case <-s.Done():
			tb.Fatalf("%s ended by itself:\n%s", kind, s.Output())
		default:
		}
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false, err.Error()
		}
		c.Close()
		return true, ""
	})
	return s
}

// Env gives the variables that all tools of lakes read.
func (s *Server) Env() map[string]string {
	return map[string]string{"AWS_ENDPOINT_URL": s.Endpoint, "AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true"}
}

// URL names a place in the bucket; Env says the rest.
func (s *Server) URL(prefix string) string { return "s3://" + Bucket + "/" + prefix }
