package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
	"sluice.io/sluice/connectors/store"
)

func (a *app) tableFsck() *cobra.Command {
	var v versionFlags
	var quick, repair bool
	c := &cobra.Command{
		Use: "fsck TABLE", Short: "Check that a table is whole: log, files, deletion vectors, statistics", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			r := fsckReport{Problems: []fsckProblem{}}
			lake, path, b, err := openLake(ctx, args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			logFound, err := delta.CheckLog(ctx, b, path)
			if err != nil {
				return tableError(args[0], err)
			}
			r.log(logFound)
			s, err := v.snapshotIn(ctx, b, path)
			if err != nil {
				var damaged *delta.CorruptError
				if len(r.Problems) == 0 && errors.As(err, &damaged) {
					r.Problems = append(r.Problems, fsckProblem{"unreadable", damaged.File, err.Error()})
				}
				if len(r.Problems) == 0 {
					return tableError(args[0], err)
				}
				r.Table, r.Version = strings.TrimSuffix(lake, "/")+"/"+path, -1
				if err := a.printFsck(&r); err != nil {
					return err
				}
				return foundError{fmt.Errorf("the table can't be read: %w", err)}
			}
			bad := len(r.Problems)
			r.Table, r.Version, r.Files = s.Table().URL(), s.Version, s.NumFiles()
			r.Rows, _ = s.NumRecords()
			bar := a.progress("checking", countText)
			found, err := r.files(ctx, s, rows.FsckOptions{Deep: !quick, Progress: func(done, total int) { bar.set(int64(done), int64(total)) }})
			bar.done()
			if err != nil {
				return tableError(args[0], err)
			}
			bad += len(found)
			if repair && bad > 0 {
				done, err := r.repair(ctx, b, path, s, found, logFound)
				if err != nil {
					return changeError(args[0], err)
				}
				bad -= done
			}
			if err := a.printFsck(&r); err != nil {
				return err
			}
			if bad > 0 {
				return foundError{errors.New("the table is not whole")}
			}
			return nil
		},
	}
	v.add(c)
	c.Flags().BoolVar(&quick, "quick", false, "look at files and footers only, do not read the rows")
	c.Flags().BoolVar(&repair, "repair", false, "delete checkpoints, hints and checksums that are wrong, and take files out of the table that are not there any more: "+
		"their rows are lost, and readers work again")
	return c
}

// fsckReport is what fsck prints.
type fsckReport struct {
	Table    string        `json:"table"`
	Version  int64         `json:"version"` // -1: the table can't be read
	Files    int           `json:"files"`
	Rows     int64         `json:"rows"`
	Problems []fsckProblem `json:"problems"`
	Removed  []string      `json:"removed,omitempty"`
}

type fsckProblem struct {
	Kind string `json:"kind"`
	File string `json:"file"`
	Text string `json:"text"`
}

func (r *fsckReport) log(found []delta.LogFinding) {
	for _, f := range found {
		r.Problems = append(r.Problems, fsckProblem{string(f.Trouble), f.File, f.Text})
	}
}

func (r *fsckReport) files(ctx context.Context, s *delta.Snapshot, o rows.FsckOptions) ([]rows.Finding, error) {
	var found []rows.Finding
	for f, err := range rows.Fsck(ctx, s, o) {
		if err != nil {
			return nil, err
		}
		found = append(found, f)
		r.Problems = append(r.Problems, fsckProblem{string(f.Trouble), f.File, f.Text})
	}
	return found, nil
}

// repair does what is safe and gives how many problems it solved.
func (r *fsckReport) repair(ctx context.Context, b store.Bucket, path string, s *delta.Snapshot, found []rows.Finding, logFound []delta.LogFinding) (int, error) {
	logDone, err := delta.RepairLog(ctx, b, path, logFound)
	if err != nil {
		return 0, err
	}
	for _, f := range logDone {
		r.Removed = append(r.Removed, f.File)
	}
	out, done := rows.Repair(ctx, s, found)
	if out.Kind != delta.Committed {
		return 0, fmt.Errorf("repair: %w", out.Err)
	}
	for _, f := range done {
		r.Removed = append(r.Removed, f.File)
	}
	return len(logDone) + len(done), nil
}

func (a *app) printFsck(r *fsckReport) error {
	if a.output == "json" {
		return a.json(r)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(a.Out, "%s: %s: %s\n", p.File, p.Kind, p.Text)
	}
	for _, f := range r.Removed {
		fmt.Fprintf(a.Out, "%s: taken out of the table\n", f)
	}
	if r.Version < 0 {
		_, err := fmt.Fprintf(a.Out, "%d problems in the log\n", len(r.Problems))
		return err
	}
	_, err := fmt.Fprintf(a.Out, "version %d: %s files, %s rows, %d problems\n", r.Version, countText(int64(r.Files)), countText(r.Rows), len(r.Problems))
	return err
}

func (a *app) tableDiff() *cobra.Command {
	var one, two versionFlags
	o := rows.DiffOptions{}
	c := &cobra.Command{
		Use: "diff TABLE [OTHER]", Short: "Compare the rows of two tables, or of two versions of one", Args: cobra.RangeArgs(1, 2),
		Long: "Tell which rows two tables do not have in common, or two versions of one: the newest and the one before it where no version is given.",
		Example: "  sluice table diff lake/silver/orders\n  sluice table diff lake/silver/orders --version 10 --other-version 12\n" +
			"  sluice table diff lake/silver/orders s3://backup/silver/orders --columns id,status,total",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 1 && one.version < 0 && one.asOf == "" && two.version < 0 {
				s, err := two.open(ctx, args[0])
				if err != nil {
					return err
				}
				if s.Version == 0 {
					return usagef("%s has no version before 0; name another table to compare it with", args[0])
				}
				one.version, two.version = s.Version-1, s.Version
			}
			var sides [2]*delta.Snapshot
			for i, v := range []*versionFlags{&one, &two} {
				target := args[i*(len(args)-1)]
				var err error
				if sides[i], err = v.open(ctx, target); err != nil {
					return err
				}
			}
			bar := a.progress("comparing rows", countText)
			o.Progress = bar.set
			d, err := rows.Diff(ctx, sides[0], sides[1], o)
			bar.done()
			if err != nil {
				return tableError(strings.Join(args, ", "), err)
			}
			if a.output == "json" {
				err = a.json(map[string]any{"same": d.Equal(), "version": sides[0].Version, "other_version": sides[1].Version, "rows": d.RowsA, "other_rows": d.RowsB, "only_in_table": d.OnlyA, "only_in_other": d.OnlyB,
					"sample": nonNil(d.SampleA), "other_sample": nonNil(d.SampleB)})
			} else if d.Equal() {
				_, err = fmt.Fprintf(a.Out, "version %d and version %d have the same %s rows\n", sides[0].Version, sides[1].Version, countText(d.RowsA))
			} else {
				for _, l := range d.SampleA {
					fmt.Fprintf(a.Out, "- %s\n", l)
				}
				for _, l := range d.SampleB {
					fmt.Fprintf(a.Out, "+ %s\n", l)
				}
				_, err = fmt.Fprintf(a.Out, "version %d has %s rows and version %d %s; %s only in the first (-), %s only in the second (+)\n",
					sides[0].Version, countText(d.RowsA), sides[1].Version, countText(d.RowsB), countText(d.OnlyA), countText(d.OnlyB))
			}
			if err == nil && !d.Equal() {
				return foundError{errors.New("the tables differ")}
			}
			return err
		},
	}
	one.add(c)
	versionFlag(c, &two.version, "other-version", "version of the second table (default: the newest)")
	c.Flags().StringSliceVar(&o.Columns, "columns", nil, "columns to compare, separated by commas (default: all)")
	c.Flags().IntVar(&o.Sample, "show", 10, "how many differences of each side to print")
	return c
}

func nonNil(s []string) []string {
	if s == nil {
		return []string{}
	}
	return s
}
