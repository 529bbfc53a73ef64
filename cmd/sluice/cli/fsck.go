package cli

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/rows"
)

func (a *app) tableFsck() *cobra.Command {
	var v versionFlags
	var quick, repair bool
	c := &cobra.Command{
		Use: "fsck TABLE", Short: "Check that a table is whole: log, files, deletion vectors, statistics", Args: cobra.ExactArgs(1),
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
			type problem struct {
				Kind string `json:"kind"`
				File string `json:"file"`
				Text string `json:"text"`
			}
			n, _ := s.NumRecords()
			report := struct {
				Table    string    `json:"table"`
				Version  int64     `json:"version"`
				Files    int       `json:"files"`
				Rows     int64     `json:"rows"`
				Problems []problem `json:"problems"`
				Removed  []string  `json:"removed,omitempty"`
			}{Table: t.URL(), Version: s.Version, Files: s.NumFiles(), Rows: n, Problems: []problem{}}
			var found []rows.Finding
			bad := 0
			for f, err := range rows.Fsck(ctx, s, rows.FsckOptions{Deep: !quick}) {
				if err != nil {
					return tableError(args[0], err)
				}
				if f.Trouble == rows.Unreferenced {
					continue // vacuum's work, or a commit under way
				}
				bad++
				found = append(found, f)
				report.Problems = append(report.Problems, problem{string(f.Trouble), f.File, f.Text})
			}
			if repair && bad > 0 {
				out, done := rows.Repair(ctx, s, found)
				if out.Kind != delta.Committed {
					return fmt.Errorf("repair: %w", out.Err)
				}
				for _, f := range done {
					report.Removed = append(report.Removed, f.File)
				}
				bad -= len(done)
			}
			if a.output == "json" {
				if err := a.json(report); err != nil {
					return err
				}
			} else {
				for _, p := range report.Problems {
					fmt.Fprintf(a.Out, "%s: %s: %s\n", p.File, p.Kind, p.Text)
				}
				for _, f := range report.Removed {
					fmt.Fprintf(a.Out, "%s: taken out of the table\n", f)
				}
				fmt.Fprintf(a.Out, "version %d: %s files, %s rows, %d problems\n", report.Version, countText(int64(report.Files)), countText(report.Rows), len(report.Problems))
			}
			if bad > 0 {
				return foundError{errors.New("the table is not whole")}
			}
			return nil
		},
	}
	v.add(c)
	c.Flags().BoolVar(&quick, "quick", false, "look at files and footers only, do not read the rows")
	c.Flags().BoolVar(&repair, "repair", false, "take files out of the table that are not there any more: their rows are lost, and readers work again")
	return c
}

func (a *app) tableDiff() *cobra.Command {
	var one, two versionFlags
	o := rows.DiffOptions{}
	c := &cobra.Command{
		Use: "diff TABLE [OTHER]", Short: "Compare the rows of two tables, or of two versions of one", Args: cobra.RangeArgs(1, 2),
		Example: "  sluice table diff lake/silver/orders --version 10 --other-version 12\n" +
			"  sluice table diff lake/silver/orders s3://backup/silver/orders --columns id,status,total",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var sides [2]*delta.Snapshot
			for i, v := range []*versionFlags{&one, &two} {
				target := args[i*(len(args)-1)]
				t, err := openTable(ctx, target)
				if err != nil {
					return err
				}
				if sides[i], err = v.snapshot(ctx, t); err != nil {
					return tableError(target, err)
				}
			}
			d, err := rows.Diff(ctx, sides[0], sides[1], o)
			if err != nil {
				return err
			}
			if a.output == "json" {
				err = a.json(map[string]any{"same": d.Equal(), "rows": d.RowsA, "other_rows": d.RowsB, "only_in_table": d.OnlyA, "only_in_other": d.OnlyB,
					"sample": nonNil(d.SampleA), "other_sample": nonNil(d.SampleB)})
			} else if d.Equal() {
				_, err = fmt.Fprintf(a.Out, "the same %s rows\n", countText(d.RowsA))
			} else {
				for _, l := range d.SampleA {
					fmt.Fprintf(a.Out, "- %s\n", l)
				}
				for _, l := range d.SampleB {
					fmt.Fprintf(a.Out, "+ %s\n", l)
				}
				_, err = fmt.Fprintf(a.Out, "%s and %s rows; %s only in the first (-), %s only in the second (+)\n",
					countText(d.RowsA), countText(d.RowsB), countText(d.OnlyA), countText(d.OnlyB))
			}
			if err == nil && !d.Equal() {
				return foundError{errors.New("the tables differ")}
			}
			return err
		},
	}
	one.add(c)
	c.Flags().Int64Var(&two.version, "other-version", -1, "version of the second table (default: the newest)")
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
