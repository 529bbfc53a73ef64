package cli

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
)

func (a *app) tableFsck() *cobra.Command {
	var v versionFlags
	var quick bool
	c := &cobra.Command{
		Use: "fsck TABLE", Short: "Check that a table is whole: log, files, deletion vectors, row counts", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			s, err := v.snapshot(ctx, t)
			if err != nil {
				return tableError(args[0], err)
			}
			report := struct {
				Table    string   `json:"table"`
				Version  int64    `json:"version"`
				Files    int      `json:"files"`
				Rows     int64    `json:"rows"`
				Problems []string `json:"problems"`
			}{Table: t.URL(), Version: s.Version, Problems: []string{}}
			for f := range s.Files() {
				report.Files++
				n, problems := checkFile(ctx, s, f, quick)
				report.Rows += n
				report.Problems = append(report.Problems, problems...)
				if ctx.Err() != nil {
					return ctx.Err()
				}
			}
			if a.output == "json" {
				if err := a.json(report); err != nil {
					return err
				}
			} else {
				for _, p := range report.Problems {
					fmt.Fprintln(a.Out, p)
				}
				fmt.Fprintf(a.Out, "version %d: %s files, %s rows, %d problems\n", report.Version, countText(int64(report.Files)), countText(report.Rows), len(report.Problems))
			}
			if len(report.Problems) > 0 {
				return foundError{errors.New("the table is not whole")}
			}
			return nil
		},
	}
	v.add(c)
	c.Flags().BoolVar(&quick, "quick", false, "look at files and footers only, do not decode the rows")
	return c
}

// checkFile reads one file with its deletion vector, and gives its live rows and what is wrong with it.
func checkFile(ctx context.Context, s *delta.Snapshot, f *delta.Add, quick bool) (live int64, problems []string) {
	bad := func(format string, args ...any) {
		problems = append(problems, f.Path+": "+fmt.Sprintf(format, args...))
	}
	t := s.Table()
	key, err := t.ObjectKey(f.Path)
	if err != nil {
		bad("%v", err)
		return 0, problems
	}
	info, err := t.Bucket().Stat(ctx, key)
	if err != nil {
		bad("%v", err)
		return 0, problems
	}
	if info.Size != f.Size {
		bad("it has %d bytes, and the log says %d", info.Size, f.Size)
	}
	file, err := rows.OpenFile(ctx, t, f)
	if err != nil {
		bad("%v", err)
		return 0, problems
	}
	live = file.NumRows()
	if n, ok := f.NumRecords(); ok && n != live {
		bad("it has %d rows, and its statistics say %d", live, n)
	}
	gone, err := rows.DeletedRows(ctx, t, f)
	if err != nil {
		bad("%v", err)
		return 0, problems
	}
	if gone != nil {
		if n := gone.GetCardinality(); f.DeletionVector != nil && int64(n) != f.DeletionVector.Cardinality {
			bad("its deletion vector has %d rows, and the log says %d", n, f.DeletionVector.Cardinality)
		}
		if !gone.IsEmpty() && int64(gone.Maximum()) >= live {
			bad("its deletion vector deletes row %d, and the file has %d", gone.Maximum(), live)
		}
		live -= int64(gone.GetCardinality())
	}
	if quick {
		return live, problems
	}
	n := int64(0)
	for batch, err := range rows.Scan(ctx, s, rows.Options{Files: []*delta.Add{f}, Parallel: 1}) {
		if err != nil {
			bad("%v", err)
			return live, problems
		}
		n += batch.Record.NumRows()
	}
	if n != live {
		bad("%d rows can be read, and there should be %d", n, live)
	}
	return live, problems
}

func (a *app) tableDiff() *cobra.Command {
	var one, two versionFlags
	var columns []string
	var show int
	var where string
	c := &cobra.Command{
		Use: "diff TABLE [OTHER]", Short: "Compare the rows of two tables, or of two versions of one", Args: cobra.RangeArgs(1, 2),
		Example: "  sluice table diff lake/silver/orders --version 10 --other-version 12\n" +
			"  sluice table diff lake/silver/orders s3://backup/silver/orders --columns id,status,total",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			other := args[len(args)-1]
			left, err := a.hashRows(ctx, args[0], rowFlags{versionFlags: one, columns: columns, where: where})
			if err != nil {
				return err
			}
			right, err := a.hashRows(ctx, other, rowFlags{versionFlags: two, columns: columns, where: where})
			if err != nil {
				return err
			}
			report := struct {
				Same      bool     `json:"same"`
				Rows      int64    `json:"rows"`
				OtherRows int64    `json:"other_rows"`
				Only      int64    `json:"only_in_table"`
				OnlyOther int64    `json:"only_in_other"`
				Examples  []string `json:"examples"`
			}{Rows: left.rows, OtherRows: right.rows, Examples: []string{}}
			for h, n := range left.count {
				if m := right.count[h]; n > m {
					report.Only += n - m
				}
			}
			for h, n := range right.count {
				if m := left.count[h]; n > m {
					report.OnlyOther += n - m
				}
			}
			report.Same = report.Only == 0 && report.OnlyOther == 0
			for _, side := range []struct {
				sign    string
				in, not *rowSet
			}{{"-", left, right}, {"+", right, left}} {
				if report.Same || show == 0 {
					break
				}
				shown := 0
				_, err := side.in.flags.scan(ctx, side.in.snapshot, func(line []byte) (bool, error) {
					h := side.in.hash(line)
					if side.in.count[h] > side.not.count[h] {
						report.Examples = append(report.Examples, side.sign+" "+string(line))
						shown++
					}
					return shown < show, nil
				})
				if err != nil {
					return err
				}
			}
			if a.output == "json" {
				if err := a.json(report); err != nil {
					return err
				}
			} else if report.Same {
				_, err := fmt.Fprintf(a.Out, "the same %s rows\n", countText(report.Rows))
				return err
			} else {
				for _, e := range report.Examples {
					fmt.Fprintln(a.Out, e)
				}
				fmt.Fprintf(a.Out, "%s and %s rows; %s only in the first (-), %s only in the second (+)\n",
					countText(report.Rows), countText(report.OtherRows), countText(report.Only), countText(report.OnlyOther))
			}
			if !report.Same {
				return foundError{errors.New("the tables differ")}
			}
			return nil
		},
	}
	one.add(c)
	c.Flags().Int64Var(&two.version, "other-version", -1, "version of the second table (default: the newest)")
	c.Flags().StringSliceVar(&columns, "columns", nil, "columns to compare, separated by commas (default: all)")
	c.Flags().StringVar(&where, "where", "", "compare these rows only")
	c.Flags().IntVar(&show, "show", 10, "how many differences of each side to print")
	return c
}

// rowSet is a multiset of rows, by hash: tables that differ are told apart but for one case in 2^64 a pair of rows.
type rowSet struct {
	flags    rowFlags
	snapshot *delta.Snapshot
	count    map[uint64]int64
	rows     int64
}

var seed = maphash.MakeSeed()

func (r *rowSet) hash(line []byte) uint64 { return maphash.Bytes(seed, line) }

func (a *app) hashRows(ctx context.Context, target string, f rowFlags) (*rowSet, error) {
	t, err := openTable(ctx, target)
	if err != nil {
		return nil, err
	}
	s, err := f.snapshot(ctx, t)
	if err != nil {
		return nil, tableError(target, err)
	}
	set := &rowSet{flags: f, snapshot: s, count: map[uint64]int64{}}
	_, err = f.scan(ctx, s, func(line []byte) (bool, error) {
		set.count[set.hash(line)]++
		set.rows++
		return true, nil
	})
	return set, err
}
