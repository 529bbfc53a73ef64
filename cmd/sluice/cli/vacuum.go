package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/delta/dv"
)

// defaultRetention is the protocol's: how long a file stays after it was removed from the table.
const defaultRetention = 7 * 24 * time.Hour

func (a *app) tableVacuum() *cobra.Command {
	var retention time.Duration
	var dry, force bool
	c := &cobra.Command{
		Use: "vacuum TABLE", Short: "Delete the files that no version within the retention needs", Args: cobra.ExactArgs(1),
		Long: "Delete the files of a table that its newest version does not use and that are older than the retention. Readers of older\n" +
			"versions need them: what is deleted ends time travel to those versions. Files and folders that begin with _ or . are left alone,\n" +
			"except for change data.",
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			s, err := t.Snapshot(ctx)
			if err != nil {
				return tableError(args[0], err)
			}
			keep := defaultRetention
			if text, ok := s.Property(delta.PropDeletedFileRetention); ok {
				if keep, err = delta.ParseInterval(text); err != nil {
					return err
				}
			}
			if cmd.Flags().Changed("retention") {
				if retention < keep && !force {
					return usagef("--retention %s is shorter than the table's %s: readers and commits under way may still need the files; add --force if nothing reads or writes this table", retention, keep)
				}
				keep = retention
			}
			plan, err := planVacuum(ctx, s, time.Now().Add(-keep))
			if err != nil {
				return err
			}
			if !dry {
				for _, key := range plan.Delete {
					if err := t.Bucket().Delete(ctx, key); err != nil {
						return fmt.Errorf("delete %s: %w", key, err)
					}
				}
			}
			if a.output == "json" {
				return a.json(map[string]any{"deleted": plan.Delete, "bytes": plan.Bytes, "dry_run": dry, "retention": keep.String()})
			}
			if dry {
				for _, key := range plan.Delete {
					fmt.Fprintln(a.Out, key)
				}
			}
			done := "deleted"
			if dry {
				done = "would be deleted"
			}
			_, err = fmt.Fprintf(a.Out, "%d files, %s, %s\n", len(plan.Delete), bytesText(plan.Bytes), done)
			return err
		},
	}
	c.Flags().DurationVar(&retention, "retention", 0, "how old an unused file must be (default: the table's delta.deletedFileRetentionDuration, else 168h)")
	c.Flags().BoolVar(&dry, "dry-run", false, "print what would be deleted")
	c.Flags().BoolVar(&force, "force", false, "allow a retention shorter than the table's")
	return c
}

type vacuumPlan struct {
	Delete []string
	Bytes  int64
}

// planVacuum lists the objects of a table that neither its newest version nor its young tombstones name, and that were
// last written before cutoff. A file of a commit under way is younger (D3: what may yet be committed stays).
func planVacuum(ctx context.Context, s *delta.Snapshot, cutoff time.Time) (vacuumPlan, error) {
	t := s.Table()
	used := map[string]bool{}
	use := func(path string, d *dv.Descriptor) error {
		key, err := t.ObjectKey(path)
		if err != nil {
			return nil //nolint:nilerr // a path outside of the bucket is none of the objects that are listed
		}
		used[key] = true
		if d == nil || d.StorageType == dv.StorageInline {
			return nil
		}
		file, err := dv.Key(t.Bucket().URL(), t.Path(), *d)
		if err != nil {
			return fmt.Errorf("deletion vector of %s: %w", path, err)
		}
		used[file] = true
		return nil
	}
	for f := range s.Files() {
		if err := use(f.Path, f.DeletionVector); err != nil {
			return vacuumPlan{}, err
		}
	}
	for r := range s.Tombstones() {
		if r.DeletionTimestamp >= cutoff.UnixMilli() {
			if err := use(r.Path, r.DeletionVector); err != nil {
				return vacuumPlan{}, err
			}
		}
	}
	var plan vacuumPlan
	prefix := strings.Trim(t.Path(), "/")
	if prefix != "" {
		prefix += "/"
	}
	for info, err := range t.Bucket().List(ctx, prefix, "") {
		if err != nil {
			return plan, err
		}
		rel := strings.TrimPrefix(info.Key, prefix)
		if used[info.Key] || hidden(rel) || !info.ModTime.Before(cutoff) {
			continue
		}
		plan.Delete = append(plan.Delete, info.Key)
		plan.Bytes += info.Size
	}
	return plan, nil
}

// hidden tells whether a path is none of the table's data: the log, other engines' folders, our own.
func hidden(rel string) bool {
	for i, part := range strings.Split(rel, "/") {
		if i == 0 && part == "_change_data" {
			continue
		}
		// A folder of a partition whose column begins with _ is data: _col=value.
		if strings.HasPrefix(part, ".") || strings.HasPrefix(part, "_") && !strings.Contains(part, "=") {
			return true
		}
	}
	return false
}
