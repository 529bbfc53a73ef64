package cli

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store/file"
	"sluice.io/sluice/worker/bronze"
)

// Silver reads the files that each version of bronze brought: they are vacuumed by those only who say that they mean it.
func TestVacuumOfBronzeNeedsForce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b, err := file.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := delta.Create(context.Background(), b, "bronze/t", bronze.TableOptions("t")); err != nil {
		t.Fatal(err)
	}
	for flag, want := range map[string]string{"": "is a bronze table", "--dry-run": "would be deleted", "--force": "deleted"} {
		var out bytes.Buffer
		args := strings.Fields("table vacuum " + filepath.Join(dir, "bronze/t") + " " + flag)
		code := Main(Streams{In: strings.NewReader(""), Out: &out, Err: &out}, nil, args, "v0.0.0-test")
		if (code == 0) != (flag != "") || !strings.Contains(out.String(), want) {
			t.Errorf("vacuum %s: code %d, %s", flag, code, out.String())
		}
	}
}
