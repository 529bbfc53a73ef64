// Package cloud runs emulators of Google Cloud Storage (fake-gcs-server) and Azure Blob Storage (Azurite) for tests, as processes that keep
// what they are given in memory.
package cloud

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
)

// Kinds are the emulators that Start knows.
var Kinds = []string{"gcs", "azure"}

// programs are the variables that name them; .ci/stack/install puts them on disk and .ci/real sets the variables.
var programs = map[string][2]string{"gcs": {"SLUICE_FAKE_GCS", "fake-gcs"}, "azure": {"SLUICE_AZURITE", "azurite"}}

// The account that every Azurite has; its key is no secret.
const (
	account = "devstoreaccount1"
	key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

const bucket = "lake"

// Server is a running emulator with one empty bucket.
type Server struct {
	*proc.Process
	kind, addr string
}

// Start runs an emulator. Without the variable that names it the test is skipped, or fails in the real-systems suite (SLUICE_REAL).
func Start(tb testing.TB, kind string) *Server {
	tb.Helper()
	at := os.Getenv(programs[kind][0])
	if at == "" && os.Getenv("SLUICE_REAL") != "" {
		tb.Fatalf("SLUICE_REAL is set and %s is not: .ci/stack/install %s", programs[kind][0], programs[kind][1])
	}
	if at == "" {
		tb.Skipf("SKIPPED: %s names no program; `.ci/stack/install %s` installs it, .ci/real sets it", programs[kind][0], programs[kind][1])
	}
	port := fmt.Sprint(ports.Free(tb))
	s := &Server{kind: kind, addr: "127.0.0.1:" + port}
	make := s.makeGCS
	if kind == "gcs" {
		s.Process = proc.Start(tb, kind, nil, at, "-scheme", "http", "-host", "127.0.0.1", "-port", port, "-public-host", s.addr, "-backend", "memory",
			"-log-level", "error")
	} else {
		make = s.makeAzure
		s.Process = proc.Start(tb, kind, nil, "node", at, "--blobHost", "127.0.0.1", "--blobPort", port, "--inMemoryPersistence", "--silent", "--skipApiVersionCheck",
			"--disableTelemetry")
	}
	proc.Eventually(tb, time.Minute, kind+" has a bucket", func() (bool, string) {
		select {
		case <-s.Done():
			tb.Fatalf("%s ended by itself:\n%s", kind, s.Output())
		default:
		}
		if err := make(); err != nil {
			return false, err.Error()
		}
		return true, ""
	})
	return s
}

func (s *Server) makeGCS() error {
	r, err := http.Post("http://"+s.addr+"/storage/v1/b?project=test", "application/json", strings.NewReader(`{"name":"`+bucket+`"}`))
	return answer(r, err)
}

// makeAzure makes a container, signed with the shared key.
func (s *Server) makeAzure() error {
	r, err := http.NewRequest(http.MethodPut, "http://"+s.addr+"/"+account+"/"+bucket+"?restype=container", nil)
	if err != nil {
		return err
	}
	date := time.Now().UTC().Format(http.TimeFormat)
	const version = "2021-08-06"
	r.Header.Set("x-ms-date", date)
	r.Header.Set("x-ms-version", version)
	text := "PUT" + strings.Repeat("\n", 12) + "x-ms-date:" + date + "\nx-ms-version:" + version + "\n/" + account + "/" + account + "/" + bucket + "\nrestype:container"
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	r.Header.Set("Authorization", "SharedKey "+account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	return answer(http.DefaultClient.Do(r))
}

func answer(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(io.LimitReader(r.Body, 1000))
	if err == nil && r.StatusCode >= 300 {
		err = fmt.Errorf("%s: %s", r.Status, text)
	}
	return err
}

// Env gives the variables that tools of this cloud read.
func (s *Server) Env() map[string]string {
	if s.kind == "gcs" {
		return map[string]string{"STORAGE_EMULATOR_HOST": s.addr}
	}
	return map[string]string{"AZURE_STORAGE_ACCOUNT": account, "AZURE_STORAGE_KEY": key}
}

// URL names a place in the bucket; Env says the rest.
func (s *Server) URL(prefix string) string {
	if s.kind == "gcs" {
		return "gs://" + bucket + "/" + prefix
	}
	return "azblob://" + bucket + "/" + prefix + "?protocol=http&localemu=true&domain=" + s.addr
}
