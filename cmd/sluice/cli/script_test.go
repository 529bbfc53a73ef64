package cli

import (
	"context"
	"fmt"
	"iter"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/rogpeppe/go-internal/testscript"

	"sluice.io/sluice/connectors/columnar"
	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/connectors/store/file"
)

// TestMain lets the test's binary be the command `sluice` of the scripts.
func TestMain(m *testing.M) {
	if os.Getenv("SLUICE_TEST_AS_NOBODY") != "" {
		os.Exit(asNobody())
	}
	testscript.Main(m, map[string]func(){
		"sluice": func() {
			os.Exit(Main(Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}, os.Environ(), os.Args[1:], "v0.0.0-test"))
		},
	})
}

// TestScripts runs the sessions of testdata/script: what a user types, and what must come back.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			// A port that is taken for as long as the script runs, and one that nobody listens on.
			taken, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			env.Defer(func() { taken.Close() })
			free, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			free.Close()
			env.Setenv("TAKEN", taken.Addr().String())
			env.Setenv("NOBODY", free.Addr().String())
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"mktable": mktable},
	})
}

// mktable makes a small table with three versions: mktable FOLDER.
func mktable(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: mktable FOLDER")
	}
	ts.Check(makeTable(context.Background(), ts.MkAbs(args[0])))
}

func makeTable(ctx context.Context, dir string) error {
	b, err := file.Open(filepath.Dir(dir))
	if err != nil {
		return err
	}
	sc := schema.Schema{Fields: []schema.Field{
		{Name: "id", Type: schema.Of(schema.Long), Nullable: true},
		{Name: "name", Type: schema.Of(schema.String), Nullable: true},
		{Name: "total", Type: schema.DecimalOf(10, 2), Nullable: true},
	}}
	t, err := delta.Create(ctx, b, filepath.Base(dir), delta.CreateOptions{Schema: sc, Name: "sample",
		Configuration: map[string]string{delta.PropEnableCDF: "true"}})
	if err != nil {
		return err
	}
	for v := range 2 {
		s, err := t.Snapshot(ctx)
		if err != nil {
			return err
		}
		recs := func(yield func(arrow.Record, error) bool) {
			bld := columnar.NewBuilder(sc)
			defer bld.Release()
			for i := range 3 {
				id := int64(v*3 + i)
				bld.AppendInt(0, id)
				if id == 4 {
					bld.AppendNull(1)
				} else {
					bld.AppendString(1, fmt.Sprintf("row %d", id))
				}
				bld.AppendNull(2)
			}
			yield(bld.NewRecord(), nil)
		}
		add, err := rows.WriteFile(ctx, s, fmt.Sprintf("part-%d.parquet", v), sc, iter.Seq2[arrow.Record, error](recs), rows.WriteOptions{})
		if err != nil {
			return err
		}
		c := t.NewCommit(s)
		c.Append(add)
		c.Progress("sluice/c/t/0", int64(v*3-1), int64(v*3+2))
		c.Info(delta.CommitInfo{Operation: "WRITE"})
		if out := c.Do(ctx); out.Kind != delta.Committed {
			return out.Err
		}
	}
	return b.Close()
}
