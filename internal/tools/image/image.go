// Image builds the container image without a container daemon and without a base image: one layer with the static binary, the
// authorities of TLS and a user that is not root. It writes an archive that holds an OCI layout and can be loaded as it is
// (docker load, podman load, skopeo copy oci-archive:…), and whose bytes depend on nothing but what goes in.
//
//	go run ./internal/tools/image -binary bin/sluice -version 0.1.0 -out dist/sluice.tar
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

func main() {
	var o options
	flag.StringVar(&o.binary, "binary", "bin/sluice", "the static binary")
	flag.StringVar(&o.version, "version", "devel", "version, for the label and the tag")
	flag.StringVar(&o.arch, "arch", runtime.GOARCH, "architecture of the binary, as Go names it")
	flag.StringVar(&o.certs, "certs", "", "file with the authorities of TLS (default: this machine's)")
	flag.StringVar(&o.out, "out", "dist/sluice.tar", "the archive")
	flag.Parse()
	if err := build(o); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

type options struct{ binary, version, arch, certs, out string }

// user is that of distroless images: clusters have rules that know the number.
const user = 65532

// certFiles are where systems keep the authorities of TLS.
var certFiles = []string{"/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"}

// built is the time of everything in the image, so that the same input gives the same bytes.
var built = time.Unix(0, 0).UTC()

func build(o options) error {
	if err := static(o.binary); err != nil {
		return err
	}
	binary, err := os.ReadFile(o.binary)
	if err != nil {
		return fmt.Errorf("read the binary: %w", err)
	}
	certs, err := authorities(o.certs)
	if err != nil {
		return err
	}
	plain, zipped, err := layer(binary, certs)
	if err != nil {
		return err
	}
	config, err := json.Marshal(map[string]any{
		"architecture": o.arch, "os": "linux", "created": built,
		"config": map[string]any{
			"User": fmt.Sprint(user), "Entrypoint": []string{"/usr/local/bin/sluice"}, "Cmd": []string{"serve"}, "WorkingDir": "/var/lib/sluice",
			"Env":          []string{"PATH=/usr/local/bin", "SLUICE_DATA_DIR=/var/lib/sluice", "SLUICE_LOG_FORMAT=json"},
			"ExposedPorts": map[string]any{"8083/tcp": struct{}{}, "8093/tcp": struct{}{}},
			"Volumes":      map[string]any{"/var/lib/sluice": struct{}{}},
			"StopSignal":   "SIGTERM", // drains
			"Healthcheck": map[string]any{
				"Test":     []string{"CMD", "/usr/local/bin/sluice", "doctor", "--health"},
				"Interval": 10 * time.Second, "Timeout": 3 * time.Second, "StartPeriod": 20 * time.Second,
			},
			"Labels": map[string]string{"org.opencontainers.image.title": "sluice", "org.opencontainers.image.version": o.version, "org.opencontainers.image.licenses": "Apache-2.0"},
		},
		"rootfs":  map[string]any{"type": "layers", "diff_ids": []string{digest(plain)}},
		"history": []map[string]any{{"created": built, "created_by": "internal/tools/image"}},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": descriptor("application/vnd.oci.image.config.v1+json", config),
		"layers": []any{descriptor("application/vnd.oci.image.layer.v1.tar+gzip", zipped)},
	})
	if err != nil {
		return err
	}
	tag := "sluice:" + o.version
	entry := descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
	entry["platform"] = map[string]string{"architecture": o.arch, "os": "linux"}
	entry["annotations"] = map[string]string{"org.opencontainers.image.ref.name": o.version, "io.containerd.image.name": "docker.io/library/" + tag}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []any{entry}})
	if err != nil {
		return err
	}
	// What older daemons read.
	legacy, err := json.Marshal([]any{map[string]any{"Config": blob(config), "RepoTags": []string{tag}, "Layers": []string{blob(zipped)}}})
	if err != nil {
		return err
	}
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, f := range []struct {
		name string
		data []byte
	}{
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)}, {"index.json", index}, {"manifest.json", legacy},
		{blob(config), config}, {blob(manifest), manifest}, {blob(zipped), zipped},
	} {
		if err := add(w, tar.Header{Name: f.name, Mode: 0o644}, f.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(o.out), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(o.out, b.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the image: %w", err)
	}
	fmt.Printf("%s: %s, %.1f MB, %s\n", o.out, tag, float64(b.Len())/1e6, digest(manifest))
	return nil
}

// static makes sure that the binary needs nothing of the system but its kernel.
func static(name string) error {
	f, err := elf.Open(name)
	if err != nil {
		return fmt.Errorf("%s is no Linux program: %w", name, err)
	}
	defer f.Close()
	libs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(libs) > 0 || slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
		return fmt.Errorf("%s is not static (it wants %s): build it with CGO_ENABLED=0", name, strings.Join(libs, ", "))
	}
	return nil
}

func authorities(name string) ([]byte, error) {
	names := certFiles
	if name != "" {
		names = []string{name}
	}
	for _, n := range names {
		if b, err := os.ReadFile(n); err == nil && bytes.Contains(b, []byte("BEGIN CERTIFICATE")) {
			return b, nil
		}
	}
	return nil, fmt.Errorf("no authorities of TLS at %s; name a file with -certs", strings.Join(names, ", "))
}

// layer packs the root file system, plain and compressed.
func layer(binary, certs []byte) (plain, zipped []byte, err error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	dirs := map[string]bool{}
	var mkdir func(name string, h tar.Header) error
	mkdir = func(name string, h tar.Header) error {
		if name == "." || dirs[name] {
			return nil
		}
		if err := mkdir(path.Dir(name), tar.Header{Mode: 0o755}); err != nil {
			return err
		}
		dirs[name] = true
		h.Name, h.Typeflag = name+"/", tar.TypeDir
		return add(w, h, nil)
	}
	own := tar.Header{Mode: 0o750, Uid: user, Gid: user}
	for _, d := range []struct {
		name string
		h    tar.Header
	}{{"var/lib/sluice", own}, {"tmp", tar.Header{Mode: 0o1777}}, {"home/nonroot", own}} {
		if err := mkdir(d.name, d.h); err != nil {
			return nil, nil, err
		}
	}
	for _, f := range []struct {
		name string
		mode int64
		data []byte
	}{
		{"etc/passwd", 0o644, fmt.Appendf(nil, "root:x:0:0:root:/:/sbin/nologin\nnonroot:x:%d:%d:nonroot:/home/nonroot:/sbin/nologin\n", user, user)},
		{"etc/group", 0o644, fmt.Appendf(nil, "root:x:0:\nnonroot:x:%d:\n", user)},
		{"etc/nsswitch.conf", 0o644, []byte("hosts: files dns\n")},
		{"etc/ssl/certs/ca-certificates.crt", 0o644, certs},
		{"usr/local/bin/sluice", 0o755, binary},
	} {
		if err := mkdir(path.Dir(f.name), tar.Header{Mode: 0o755}); err != nil {
			return nil, nil, err
		}
		if err := add(w, tar.Header{Name: f.name, Mode: f.mode}, f.data); err != nil {
			return nil, nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, nil, err
	}
	var z bytes.Buffer
	zw, err := gzip.NewWriterLevel(&z, gzip.BestSpeed)
	if err != nil {
		return nil, nil, err
	}
	if _, err := io.Copy(zw, bytes.NewReader(b.Bytes())); err != nil {
		return nil, nil, err
	}
	if err := zw.Close(); err != nil {
		return nil, nil, err
	}
	return b.Bytes(), z.Bytes(), nil
}

// add writes a member of an archive.
func add(w *tar.Writer, h tar.Header, data []byte) error {
	h.Size, h.ModTime, h.Format = int64(len(data)), built, tar.FormatUSTAR
	if err := w.WriteHeader(&h); err != nil {
		return fmt.Errorf("pack %s: %w", h.Name, err)
	}
	if _, err := w.Write(data); err != nil {
		return fmt.Errorf("pack %s: %w", h.Name, err)
	}
	return nil
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// blob is where the layout keeps data.
func blob(b []byte) string { return "blobs/sha256/" + strings.TrimPrefix(digest(b), "sha256:") }

func descriptor(mediaType string, b []byte) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest(b), "size": len(b)}
}
