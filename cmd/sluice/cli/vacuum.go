package cli

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/optimize"
	"sluice.io/sluice/connectors/delta/vacuum"
)

func (a *app) tableVacuum() *cobra.Command {
	o := vacuum.Options{}
	var dry bool
	c := &cobra.Command{
		Use: "vacuum TABLE", Short: "Delete the files that no version within the retention needs", Args: cobra.ExactArgs(1),
		Long: "Delete the files of a table that its newest version does not use and that are older than the retention. Readers of older\n" +
			"versions need them: what is deleted ends time travel to those versions. Files and folders that begin with _ or . are left alone,\n" +
			"except for change data.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if cmd.Flags().Changed("retention") {
				if o.Retention < 0 {
					return usagef("--retention is %s: no file is as young as that", o.Retention)
				}
				o.Retention = max(o.Retention, 1) // 0 would mean the table's
			}
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			s, err := t.Snapshot(ctx)
			if err != nil {
				return tableError(args[0], err)
			}
			if isBronze(s) && !dry && !o.Unsafe {
				return usagef("%s is a bronze table: after an optimize, vacuum takes the files from which a silver table that is behind or made anew reads; "+
					"add --force if all silver tables are up to date and none shall ever be rebuilt", args[0])
			}
			look := a.progress("looking at files", countText)
			o.Progress = func(done, total int) { look.set(int64(done), int64(total)) }
			plan, err := vacuum.Make(ctx, s, o)
			look.done()
			if errors.Is(err, vacuum.ErrRetention) {
				return usagef("%w; add --force if nothing reads or writes this table", err)
			}
			if err != nil {
				return tableError(args[0], err)
			}
			plan.Retention = plan.Retention.Truncate(time.Microsecond)
			n, bytes := len(plan.Files), plan.Bytes
			if !dry {
				bar := a.progress("deleting", countText)
				o.Progress = func(done, total int) { bar.set(int64(done), int64(total)) }
				res, err := vacuum.Execute(ctx, t, plan, o)
				bar.done()
				if err != nil {
					return changeError(args[0], err)
				}
				n, bytes = res.Deleted, res.Bytes
			}
			files := []string{} // as they lie below the table's folder
			for _, f := range plan.Files {
				files = append(files, strings.TrimPrefix(f.Key, t.Path()+"/"))
			}
			if a.output == "json" {
				return a.json(map[string]any{"files": files, "deleted": n, "bytes": bytes, "dry_run": dry, "retention": plan.Retention.String(), "too_young": plan.Young})
			}
			done := "deleted"
			if dry {
				done = "would be deleted"
				for _, f := range files {
					fmt.Fprintln(a.Out, f)
				}
			}
			_, err = fmt.Fprintf(a.Out, "%d files, %s, %s; %d unused ones are younger than %s\n", n, bytesText(bytes), done, plan.Young, plan.Retention)
			return err
		},
	}
	c.Flags().DurationVar(&o.Retention, "retention", 0, "how old an unused file must be (default: the table's delta.deletedFileRetentionDuration, else 168h)")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would be deleted")
	c.Flags().BoolVar(&o.Unsafe, "force", false, "allow a retention shorter than the table's, and the vacuum of a bronze table")
	return c
}

// isBronze tells whether a table is a bronze table of Sluice.
func isBronze(s *delta.Snapshot) bool {
	for _, col := range []string{"topic", "partition", "offset", "event_id"} {
		if s.Schema().Index(col) < 0 {
			return false
		}
	}
	return true
}

func (a *app) tableOptimize() *cobra.Command {
	o := optimize.Options{}
	var target int64
	c := &cobra.Command{
		Use: "optimize TABLE", Short: "Make large files of small ones, and leave deleted rows out for good", Args: cobra.ExactArgs(1),
		Long: "Rewrite the files of a table without changing its rows. It may run beside the owner of a silver table and beside other writers: rows that\n" +
			"they delete meanwhile are deleted in the new files too. The owner does the same by itself, in small steps.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			o.TargetSize = target << 20
			run := optimize.Run
			if o.Purge {
				run = optimize.Purge
			}
			began := time.Now()
			bar := a.progress("rewriting", bytesText)
			o.Progress = bar.set
			res, err := run(ctx, t, o)
			bar.done()
			if err != nil {
				return changeError(args[0], err)
			}
			if a.output == "json" {
				return a.json(map[string]any{"files_removed": res.FilesRemoved, "files_added": res.FilesAdded, "bytes_removed": res.BytesRemoved,
					"bytes_added": res.BytesAdded, "rows_purged": res.RowsPurged, "commits": res.Bins, "lost": res.Lost, "version": res.Version})
			}
			if res.Bins+res.Lost == 0 {
				_, err := fmt.Fprintln(a.Out, "nothing to do")
				return err
			}
			if res.Lost > 0 {
				fmt.Fprintf(a.Out, "%d new files were dropped: other writers changed what they were made of meanwhile; run it again\n", res.Lost)
			}
			_, err = fmt.Fprintf(a.Out, "%d files (%s) became %d (%s), %s deleted rows left out, in %d commits and %s\n", res.FilesRemoved, bytesText(res.BytesRemoved),
				res.FilesAdded, bytesText(res.BytesAdded), countText(res.RowsPurged), res.Bins, time.Since(began).Round(time.Millisecond))
			return err
		},
	}
	c.Flags().Int64Var(&target, "target", 256, "size that new files aim at, in MiB")
	c.Flags().BoolVar(&o.Purge, "purge", false, "rewrite every file that has a deletion vector, and no others")
	return c
}
