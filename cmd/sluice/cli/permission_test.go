package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// nobody is the user that the container image runs as, too.
const nobody = 65532

// asNobody gives up the rights of root, then is the command `sluice`.
func asNobody() int {
	if os.Getuid() == 0 {
		for _, err := range []error{syscall.Setgroups(nil), syscall.Setgid(nobody), syscall.Setuid(nobody)} {
			if err != nil {
				os.Stderr.WriteString(err.Error())
				return 99
			}
		}
	}
	return Main(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Environ(), os.Args[1:], "v0.0.0-test")
}

// openDir makes a folder that every user gets to: below /tmp where the one of the test is out of reach.
func openDir(t *testing.T) string {
	dir := t.TempDir()
	for d := dir; d != "/"; d = filepath.Dir(d) {
		info, err := os.Stat(d)
		if err == nil && info.Mode()&1 == 0 && strings.HasPrefix(d, os.TempDir()+"/") {
			err = os.Chmod(d, 0o755) // it is the test's own
		} else if err == nil && info.Mode()&1 == 0 {
			if dir, err = os.MkdirTemp("/tmp", "open"); err == nil {
				t.Cleanup(func() { _ = os.RemoveAll(dir) })
				err = os.Chmod(dir, 0o755)
			}
			d = "/tmp"
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestListOfClosedFolders: what can be read of a lake is listed, what can't is named, and the exit code tells.
func TestListOfClosedFolders(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	for _, name := range []string{"a", "b/closed/t", "b/d", "log", "listed", "z"} {
		if err := makeTable(context.Background(), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]os.FileMode{"b/closed": 0, "log/_delta_log": 0, "listed": 0o644} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(filepath.Join(dir, name), 0o755)
	}
	stdout, stderr, code := runAsNobody(t, "table", "list", dir, "--output", "json")
	var got []tableRow
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	var lines []string
	for _, r := range got {
		lines = append(lines, r.Path+" "+r.Error)
	}
	const no = "no permission to read the folder"
	if want := []string{"a ", "b/closed " + no, "b/d ", "listed " + no, "log " + no, "z "}; !slices.Equal(lines, want) {
		t.Errorf("got  %q\nwant %q", lines, want)
	}
	if want := "sluice: 3 of 6 below " + dir + " can't be read\n"; code != 1 || stderr != want {
		t.Errorf("exit code %d, %q; want 1 and %q", code, stderr, want)
	}
}

// runAsNobody runs the command as a user without rights.
func runAsNobody(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), "SLUICE_TEST_AS_NOBODY=1")
	var out, words bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &words
	if err := cmd.Run(); cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return out.String(), words.String(), cmd.ProcessState.ExitCode()
}

// TestNoPermission runs commands on tables that a user may not read, or not write, whoever runs the tests.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	tables := map[string]func(table string) error{
		"table": func(table string) error { return os.Chmod(table, 0) },
		"log":   func(table string) error { return os.Chmod(filepath.Join(table, "_delta_log"), 0) },
		"commit": func(table string) error {
			return os.Chmod(filepath.Join(table, "_delta_log", "00000000000000000001.json"), 0)
		},
		"data":   func(table string) error { return os.Chmod(filepath.Join(table, "part-1.parquet"), 0) },
		"locked": func(table string) error { return os.Chmod(table, 0o555) },
	}
	for name, lock := range tables {
		table := filepath.Join(dir, name)
		if err := makeTable(context.Background(), table); err != nil {
			t.Fatal(err)
		}
		if err := lock(table); err != nil {
			t.Fatal(err)
		}
		defer os.Chmod(table, 0o755)
		defer os.Chmod(filepath.Join(table, "_delta_log"), 0o755)
	}
	for _, c := range []struct{ args, want string }{
		{"info table", "no permission to read the folder"},
		{"cat table", "no permission to read the folder"},
		{"list table", "no permission to read the folder"},
		{"diff locked table", "no permission to read the folder"},
		{"info log", "no permission to read"},
		{"history log", "no permission to read"},
		{"fsck log", "no permission to read"},
		{"cat commit", "no permission to read"},
		{"cat data", "no permission to read"},
		{"fsck data", "no permission to read"},
		{"diff data locked", "no permission to read"},
		{"optimize locked", "no permission to change"},
		{"vacuum table", "no permission to read the folder"},
	} {
		args := strings.Fields(c.args)
		for i, a := range args[1:] {
			args[i+1] = filepath.Join(dir, a)
		}
		stdout, text, code := runAsNobody(t, append([]string{"table"}, args...)...)
		if code != 1 {
			t.Errorf("%s: exit code %d, want 1", c.args, code)
		}
		if !strings.HasPrefix(text, "sluice: "+c.want+" "+dir) {
			t.Errorf("%s says %q, want %q and the place", c.args, text, c.want)
		}
		if strings.Count(text, "\n") != 1 || stdout != "" {
			t.Errorf("%s: more than a line: %q %q", c.args, text, stdout)
		}
	}
}
