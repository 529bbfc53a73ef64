package e2e

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice.io/sluice/internal/testkit/broker"
	"sluice.io/sluice/internal/testkit/ports"
	"sluice.io/sluice/internal/testkit/proc"
)

// imageConfig is what the test looks at in an image.
type imageConfig struct {
	Config struct {
		User            string
		Env             []string
		Entrypoint, Cmd []string
		ExposedPorts    map[string]any
		Volumes         map[string]any
		StopSignal      string
		WorkingDir      string
		Healthcheck     struct{ Test []string }
		Labels          map[string]string
	}
}

// unpack reads the members of an archive.
func unpack(tb testing.TB, r io.Reader) map[string][]byte {
	tb.Helper()
	out := map[string][]byte{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			tb.Fatal(err)
		}
		b, err := io.ReadAll(tr)
		if err != nil {
			tb.Fatal(err)
		}
		out[h.Name] = b
	}
}

// TestImage builds the container image and starts what is in it as a container would: with the image's root file system as its
// own, as its user, and by its entry point and health check. Where the test may not change the root, it starts the binary of it.
func TestImage(t *testing.T) {
	archive := filepath.Join(t.TempDir(), "sluice.tar")
	build := exec.Command("go", "run", "./internal/tools/image", "-binary", proc.Sluice(t), "-version", "1.2.3", "-out", archive)
	build.Dir = proc.Root(t)
	out, err := build.CombinedOutput()
	if err != nil {
		t.Fatalf("build the image: %v\n%s", err, out)
	}
	t.Logf("%s", out)
	f, err := os.Open(archive)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	image := unpack(t, f)
	var legacy []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(image["manifest.json"], &legacy); err != nil {
		t.Fatal(err)
	}
	var conf imageConfig
	if err := json.Unmarshal(image[legacy[0].Config], &conf); err != nil {
		t.Fatal(err)
	}
	c := conf.Config
	if c.User != "65532" || c.StopSignal != "SIGTERM" || c.Labels["org.opencontainers.image.version"] != "1.2.3" || len(c.ExposedPorts) != 2 || legacy[0].RepoTags[0] != "sluice:1.2.3" {
		t.Errorf("the image says %+v of itself", c)
	}
	root := filepath.Join(t.TempDir(), "root")
	layers(t, root, image[legacy[0].Layers[0]])

	br := broker.Start(t)
	rest := ports.Address(t)
	env := append(slices.Clone(c.Env), "SLUICE_KAFKA_BOOTSTRAP_SERVERS="+br.Servers(), "SLUICE_LAKE_URL=file:///var/lib/sluice/lake",
		"SLUICE_REST_LISTEN="+rest, fmt.Sprintf("SLUICE_PEER_LISTEN=127.0.0.1:%d", ports.Free(t)))
	command := func(args ...string) *exec.Cmd {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env, cmd.Dir = env, c.WorkingDir
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if os.Geteuid() == 0 {
			cmd.SysProcAttr.Chroot = root
			cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65532, Gid: 65532}
			return cmd
		}
		cmd.Path, cmd.Dir = filepath.Join(root, args[0]), filepath.Join(root, c.WorkingDir)
		for i, kv := range cmd.Env {
			cmd.Env[i] = strings.ReplaceAll(kv, "/var/lib/sluice", cmd.Dir)
		}
		return cmd
	}
	var log bytes.Buffer
	node := command(append(slices.Clone(c.Entrypoint), c.Cmd...)...)
	node.Stdout, node.Stderr = &log, &log
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- node.Wait() }()
	t.Cleanup(func() { _ = node.Process.Kill() })
	proc.Eventually(t, time.Minute, "the node in the image is ready", func() (bool, string) {
		select {
		case err := <-ended:
			t.Fatalf("it ended: %v\n%s", err, log.String())
		default:
		}
		resp, err := http.Get("http://" + rest + "/readyz")
		if err != nil {
			return false, err.Error()
		}
		resp.Body.Close()
		return resp.StatusCode == 200, resp.Status
	})
	check := func(url string) error {
		cmd := command(append(slices.Clone(c.Healthcheck.Test[1:]), "--url", url)...)
		out, err := cmd.CombinedOutput()
		t.Logf("%s: %s", strings.Join(cmd.Args, " "), out)
		return err
	}
	if err := check("http://" + rest); c.Healthcheck.Test[0] != "CMD" || err != nil {
		t.Errorf("health check: %v", err)
	}
	if err := check("http://127.0.0.1:1"); err == nil {
		t.Error("the health check of nobody is well")
	}
	// It may write where it has to, and nowhere else.
	if os.Geteuid() == 0 {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", node.Process.Pid))
		if err != nil || !strings.Contains(string(status), "Uid:\t65532\t65532") {
			t.Errorf("the node runs as somebody else: %v\n%s", err, status)
		}
	}
	if _, err := os.Stat(filepath.Join(root, "var/lib/sluice/raft")); err != nil {
		t.Errorf("the data are not in the volume: %v", err)
	}
	if err := node.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("SIGTERM: %v\n%s", err, log.String())
		}
	case <-time.After(time.Minute):
		t.Fatalf("SIGTERM does not end it:\n%s", log.String())
	}
}

// layers writes a layer below root, with the owners that it names where the test may do that.
func layers(tb testing.TB, root string, zipped []byte) {
	tb.Helper()
	z, err := gzip.NewReader(bytes.NewReader(zipped))
	if err != nil {
		tb.Fatal(err)
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		tb.Fatal(err)
	}
	tr := tar.NewReader(z)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			tb.Fatal(err)
		}
		path := filepath.Join(root, h.Name)
		mode := h.FileInfo().Mode()
		if h.Typeflag == tar.TypeDir {
			err = os.Mkdir(path, mode.Perm())
		} else {
			var b []byte
			if b, err = io.ReadAll(tr); err == nil {
				err = os.WriteFile(path, b, mode.Perm())
			}
		}
		if err == nil && os.Geteuid() == 0 {
			err = errors.Join(os.Chown(path, h.Uid, h.Gid), os.Chmod(path, mode))
		}
		if err != nil {
			tb.Fatal(err)
		}
	}
}
