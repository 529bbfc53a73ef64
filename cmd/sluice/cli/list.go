package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/stores"
)

// tableRow is one line of table list.
type tableRow struct {
	Path      string    `json:"path"`
	Version   int64     `json:"version"`
	Files     int       `json:"files"`
	Rows      int64     `json:"rows"`
	RowsExact bool      `json:"rows_exact"`
	Bytes     int64     `json:"bytes"`
	Committed time.Time `json:"committed"`
	Error     string    `json:"error,omitempty"`
}

func (a *app) tableList() *cobra.Command {
	return &cobra.Command{
		Use: "list LAKE", Short: "Find the tables below a path or URL", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if err := checkLocal(args[0]); err != nil {
				return err
			}
			b, err := stores.Open(ctx, args[0])
			if err != nil {
				return err
			}
			defer b.Close()
			paths, closed, err := findTables(ctx, b)
			if err != nil {
				return tableError(args[0], err)
			}
			rows := make([]tableRow, 0, len(paths)+len(closed))
			for _, p := range closed {
				rows = append(rows, tableRow{Path: p, Error: "no permission to read the folder"})
			}
			failed := len(closed)
			for _, p := range paths {
				row := tableRow{Path: p}
				t, err := delta.Open(ctx, b, p)
				var s *delta.Snapshot
				if err == nil {
					s, err = t.Snapshot(ctx)
				}
				if err != nil {
					row.Error = err.Error()
					failed++
				} else {
					row.Version, row.Files, row.Bytes, row.Committed = s.Version, s.NumFiles(), s.SizeBytes(), s.Timestamp
					row.Rows, row.RowsExact = s.NumRecords()
				}
				rows = append(rows, row)
			}
			slices.SortStableFunc(rows, func(x, y tableRow) int { return strings.Compare(x.Path, y.Path) })
			if err := a.printList(args[0], rows); err != nil {
				return err
			}
			if failed > 0 {
				return fmt.Errorf("%d of %d below %s can't be read", failed, len(rows), args[0])
			}
			return nil
		},
	}
}

func (a *app) printList(lake string, rows []tableRow) error {
	if a.output == "json" {
		return a.json(rows)
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintf(a.Out, "no tables below %s\n", lake)
		return err
	}
	var lines [][]string
	for _, r := range rows {
		if r.Error != "" {
			lines = append(lines, []string{orDot(r.Path), "-", "-", "-", "-", r.Error})
			continue
		}
		lines = append(lines, []string{orDot(r.Path), strconv.FormatInt(r.Version, 10), rowsText(r.Rows, r.RowsExact),
			countText(int64(r.Files)), bytesText(r.Bytes), timeText(r.Committed)})
	}
	return a.columns([]string{"TABLE", "VERSION", "ROWS", "FILES", "SIZE", "LAST COMMIT"}, lines)
}

func orDot(p string) string {
	if p == "" {
		return "."
	}
	return p
}

func rowsText(n int64, exact bool) string {
	if !exact {
		return "≥ " + countText(n)
	}
	return countText(n)
}

// findTables lists the folders that hold a log, and those on disk that may not be read. The log of a table that was found is skipped over, so
// that it is not listed file by file.
func findTables(ctx context.Context, b store.Bucket) (found, closed []string, err error) {
	const marker = "_delta_log/"
	after := ""
	for {
		skipTo := ""
		for info, err := range b.List(ctx, "", after) {
			if err != nil {
				folder, ok := closedFolder(b, err)
				if !ok {
					return nil, nil, err
				}
				skipTo = folder + "0" // '0' comes after '/': behind all that is in it
				if table, isLog := strings.CutSuffix("/"+folder, "/_delta_log"); isLog {
					folder = strings.TrimPrefix(table, "/")
				}
				if !slices.Contains(closed, folder) {
					closed = append(closed, folder)
				}
				break
			}
			i := strings.Index(info.Key, marker)
			if i > 0 && info.Key[i-1] != '/' {
				i = -1
			}
			if i < 0 {
				continue
			}
			path := strings.TrimSuffix(info.Key[:i], "/")
			if !slices.Contains(found, path) {
				found = append(found, path)
			}
			skipTo = info.Key[:i] + "_delta_log0"
			break
		}
		if skipTo == "" {
			slices.Sort(found)
			return found, closed, nil
		}
		after = skipTo
	}
}

// closedFolder gives the folder, below the top one, that the user may not read, where that ended a listing.
func closedFolder(b store.Bucket, err error) (string, bool) {
	var at *fs.PathError
	root, local := strings.CutPrefix(b.URL(), "file://")
	if !local || !errors.As(err, &at) || !errors.Is(err, fs.ErrPermission) {
		return "", false
	}
	folder := at.Path
	if at.Op != "open" { // it can be listed, and what is in it can't be looked at
		folder = filepath.Dir(folder)
	}
	rel, relErr := filepath.Rel(filepath.FromSlash(root), folder)
	if relErr != nil || !filepath.IsLocal(rel) || rel == "." {
		return "", false
	}
	return filepath.ToSlash(rel), true
}
