package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/store"
	"sluice.io/sluice/connectors/store/stores"
)

func (a *app) tableCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "table", Aliases: []string{"tables"}, Short: "Look at and look after Delta tables, by path or URL",
		Long: "Look at and look after Delta tables, wherever they were written and by whom.\n\n" +
			"A table is named by its path or URL: data/lake/silver/orders, file:///srv/lake/silver/orders, s3://bucket/lake/silver/orders.",
	}
	c.AddCommand(a.tableList(), a.tableInfo(), a.tableCat(), a.tableHistory(), a.tableDiff(), a.tableFsck(), a.tableVerify(),
		a.tableOptimize(), a.tableVacuum(), a.tableRebuild())
	return c
}

// location splits the path or URL of a table into its bucket and the table's place in it. A local table is opened in the root of the file system, so
// that absolute paths of the log (those of a shallow clone) mean something wherever they point.
func location(target string) (bucket, path string) {
	if scheme, rest, ok := strings.Cut(target, "://"); ok && scheme != "file" {
		rest, query, found := strings.Cut(rest, "?")
		name, key, _ := strings.Cut(strings.TrimRight(rest, "/"), "/")
		bucket = scheme + "://" + name
		if found {
			bucket += "?" + query
		}
		return bucket, key
	}
	local := strings.TrimPrefix(target, "file://")
	if abs, err := filepath.Abs(local); err == nil {
		local = abs
	}
	root := filepath.VolumeName(local) + string(filepath.Separator)
	return root, filepath.ToSlash(strings.TrimPrefix(local, root))
}

// openTable opens a table by path or URL, with errors that say what is there instead.
func openTable(ctx context.Context, target string) (*delta.Table, error) {
	_, path, b, err := openLake(ctx, target)
	if err != nil {
		return nil, err
	}
	t, err := delta.Open(ctx, b, path)
	if err != nil {
		return nil, tableError(target, err)
	}
	return t, nil
}

// openLake opens the bucket that a table lies in, and says where in it.
func openLake(ctx context.Context, target string) (lake, path string, b store.Bucket, err error) {
	if err := checkLocal(target); err != nil {
		return "", "", nil, err
	}
	if scheme, rest, ok := strings.Cut(target, "://"); ok && scheme != "file" {
		if bucket, _, _ := strings.Cut(rest, "?"); strings.Trim(bucket, "/") == "" || strings.HasPrefix(bucket, "/") {
			return "", "", nil, usagef("%s names no bucket: %s://bucket/path/of/table", target, scheme)
		}
	}
	lake, path = location(target)
	b, err = stores.Open(ctx, lake)
	return lake, path, b, err
}

// checkLocal finds what is wrong with a path before the store does, in words about paths.
func checkLocal(target string) error {
	if strings.Contains(target, "://") && !strings.HasPrefix(target, "file://") {
		return nil
	}
	local := strings.TrimPrefix(target, "file://")
	info, err := os.Stat(local)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR): // or below a file
		return fmt.Errorf("there is nothing at %s", local)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to look at %s", local)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is a file; a table is a folder with _delta_log in it", local)
	}
	if _, err := os.ReadDir(local); errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("no permission to read the folder %s", local)
	}
	return nil
}

func tableError(target string, err error) error {
	switch {
	case errors.Is(err, delta.ErrNotTable):
		return fmt.Errorf("there is no Delta table at %s (`sluice table list %s` looks for tables below it)", target, target)
	case errors.Is(err, store.ErrPermission), errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("no permission to read %s: %w", target, err)
	}
	return err
}

// changeError is tableError for commands that write.
func changeError(target string, err error) error {
	if errors.Is(err, store.ErrPermission) || errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("no permission to change %s: %w", target, err)
	}
	return tableError(target, err)
}

// versionFlags are --version and --as-of.
type versionFlags struct {
	version int64
	asOf    string
}

func (v *versionFlags) add(c *cobra.Command) {
	versionFlag(c, &v.version, "version", "version to show (default: the newest)")
	c.Flags().StringVar(&v.asOf, "as-of", "", "time to show the table at: 2026-01-31T12:00:00Z")
}

// versionFlag adds a flag for a version; -1 where it is not given, which nobody can give.
func versionFlag(c *cobra.Command, p *int64, name, usage string) {
	*p = -1
	c.Flags().Var((*tableVersion)(p), name, usage)
}

type tableVersion int64

// Set implements pflag.Value.
func (v *tableVersion) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return errors.New("versions count from 0")
	}
	*v = tableVersion(n)
	return nil
}

// String implements pflag.Value.
func (v *tableVersion) String() string {
	if *v < 0 {
		return ""
	}
	return strconv.FormatInt(int64(*v), 10)
}

// Type implements pflag.Value.
func (v *tableVersion) Type() string { return "int" }

// open reads the table at the version that is asked for. Of one that is named no other is looked at: the newest may be damaged.
func (v *versionFlags) open(ctx context.Context, target string) (*delta.Snapshot, error) {
	_, path, b, err := openLake(ctx, target)
	if err != nil {
		return nil, err
	}
	s, err := v.snapshotIn(ctx, b, path)
	if err != nil {
		return nil, tableError(target, err)
	}
	return s, nil
}

func (v *versionFlags) snapshotIn(ctx context.Context, b store.Bucket, path string) (*delta.Snapshot, error) {
	if v.version >= 0 && v.asOf == "" {
		return delta.OpenAt(ctx, b, path, v.version)
	}
	t, err := delta.Open(ctx, b, path)
	if err != nil {
		return nil, err
	}
	return v.snapshot(ctx, t)
}

func (v *versionFlags) snapshot(ctx context.Context, t *delta.Table) (*delta.Snapshot, error) {
	switch {
	case v.asOf != "" && v.version >= 0:
		return nil, usagef("--version and --as-of say the same thing; give one")
	case v.asOf != "":
		at, err := time.Parse(time.RFC3339Nano, v.asOf)
		if err != nil {
			if at, err = time.Parse("2006-01-02", v.asOf); err != nil {
				return nil, usagef("--as-of is %q: give a time such as 2026-01-31T12:00:00Z", v.asOf)
			}
		}
		return t.SnapshotAsOf(ctx, at)
	case v.version >= 0:
		return t.SnapshotAt(ctx, v.version)
	}
	return t.Snapshot(ctx)
}

func (a *app) tableInfo() *cobra.Command {
	var v versionFlags
	var txns bool
	c := &cobra.Command{
		Use: "info TABLE", Short: "Describe a table: schema, size, features, progress", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := v.open(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printInfo(s.Table(), s, txns)
		},
	}
	v.add(c)
	c.Flags().BoolVar(&txns, "progress", true, "show the progress that writers have recorded (txn)")
	return c
}

type columnInfo struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

type tableInfo struct {
	URL              string            `json:"url"`
	ID               string            `json:"id"`
	Name             string            `json:"name,omitempty"`
	Version          int64             `json:"version"`
	Committed        time.Time         `json:"committed"`
	Rows             int64             `json:"rows"`
	RowsExact        bool              `json:"rows_exact"`
	Files            int               `json:"files"`
	Bytes            int64             `json:"bytes"`
	DeletionVectors  int64             `json:"deletion_vectors"`
	Tombstones       int               `json:"tombstones"`
	MinReader        int               `json:"min_reader_version"`
	MinWriter        int               `json:"min_writer_version"`
	ReaderFeatures   []string          `json:"reader_features"`
	WriterFeatures   []string          `json:"writer_features"`
	PartitionColumns []string          `json:"partition_columns"`
	Configuration    map[string]string `json:"configuration"`
	Columns          []columnInfo      `json:"columns"`
	Progress         map[string]int64  `json:"progress,omitempty"`
}

func (a *app) printInfo(t *delta.Table, s *delta.Snapshot, txns bool) error {
	rows, exact := s.NumRecords()
	info := tableInfo{
		URL: t.URL(), ID: s.Metadata.ID, Name: s.Metadata.Name, Version: s.Version, Committed: s.Timestamp, Rows: rows, RowsExact: exact,
		Files: s.NumFiles(), Bytes: s.SizeBytes(), DeletionVectors: s.NumDeletionVectors(), Tombstones: s.NumTombstones(),
		MinReader: s.Protocol.MinReaderVersion, MinWriter: s.Protocol.MinWriterVersion,
		ReaderFeatures: s.Protocol.ReaderFeatures, WriterFeatures: s.Protocol.WriterFeatures,
		PartitionColumns: s.Metadata.PartitionColumns, Configuration: s.Metadata.Configuration,
	}
	for _, f := range s.Schema().Fields {
		info.Columns = append(info.Columns, columnInfo{f.Name, f.Type.String(), f.Nullable})
	}
	if txns {
		info.Progress = map[string]int64{}
		for x := range s.Txns() {
			info.Progress[x.AppID] = x.Version
		}
	}
	if a.output == "json" {
		return a.json(info)
	}
	lines := [][]string{
		{"table", info.URL},
		{"version", fmt.Sprintf("%d, committed %s", info.Version, timeText(info.Committed))},
		{"rows", rowsText(info.Rows, info.RowsExact)},
		{"files", fmt.Sprintf("%s, %s, %s of them with deletion vectors", countText(int64(info.Files)), bytesText(info.Bytes), countText(info.DeletionVectors))},
		{"protocol", fmt.Sprintf("reader %d, writer %d%s", info.MinReader, info.MinWriter, featureText(info.WriterFeatures))},
	}
	if len(info.PartitionColumns) > 0 {
		lines = append(lines, []string{"partitions", strings.Join(info.PartitionColumns, ", ")})
	}
	for _, k := range sortedKeys(info.Configuration) {
		lines = append(lines, []string{"property", k + " = " + info.Configuration[k]})
	}
	if err := a.columns(nil, lines); err != nil {
		return err
	}
	fmt.Fprintln(a.Out)
	var cols [][]string
	for _, c := range info.Columns {
		null := ""
		if !c.Nullable {
			null = "not null"
		}
		cols = append(cols, []string{c.Name, c.Type, null})
	}
	if err := a.columns([]string{"COLUMN", "TYPE", ""}, cols); err != nil {
		return err
	}
	if len(info.Progress) > 0 {
		fmt.Fprintln(a.Out)
		var p [][]string
		for _, k := range sortedKeys(info.Progress) {
			p = append(p, []string{k, strconv.FormatInt(info.Progress[k], 10)})
		}
		return a.columns([]string{"PROGRESS OF", "NEXT"}, p)
	}
	return nil
}

func featureText(f []string) string {
	if len(f) == 0 {
		return ""
	}
	return " (" + strings.Join(f, ", ") + ")"
}

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// commitRow is one line of table history.
type commitRow struct {
	Version    int64             `json:"version"`
	Committed  time.Time         `json:"committed"`
	Operation  string            `json:"operation"`
	Parameters map[string]string `json:"parameters,omitempty"`
	Metrics    map[string]string `json:"metrics,omitempty"`
	Engine     string            `json:"engine,omitempty"`
	Added      int               `json:"files_added"`
	Removed    int               `json:"files_removed"`
	Rows       int64             `json:"rows_added"`
	Progress   map[string]int64  `json:"progress,omitempty"`
}

func (a *app) tableHistory() *cobra.Command {
	var limit int
	c := &cobra.Command{
		Use: "history TABLE", Short: "List the commits of a table, newest first", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			t, err := openTable(ctx, args[0])
			if err != nil {
				return err
			}
			list, err := t.History(ctx, limit)
			if err != nil {
				return tableError(args[0], err)
			}
			rows := make([]commitRow, 0, len(list))
			for _, h := range list {
				rows = append(rows, commitOf(h))
			}
			if a.output == "json" {
				return a.json(rows)
			}
			var lines [][]string
			for _, r := range rows {
				lines = append(lines, []string{strconv.FormatInt(r.Version, 10), timeText(r.Committed), r.Operation,
					fmt.Sprintf("+%d", r.Added), fmt.Sprintf("-%d", r.Removed), countText(r.Rows), r.Engine})
			}
			return a.columns([]string{"VERSION", "COMMITTED", "OPERATION", "FILES", "", "ROWS", "WRITTEN BY"}, lines)
		},
	}
	c.Flags().IntVarP(&limit, "limit", "n", 20, "how many commits; 0: all")
	return c
}

func commitOf(c delta.HistoryEntry) commitRow {
	r := commitRow{Version: c.Version, Committed: c.Timestamp, Added: c.Adds, Removed: c.Removes, Rows: c.Rows}
	if i := c.Info; i != nil {
		r.Operation, r.Parameters, r.Metrics, r.Engine = i.Operation, i.OperationParameters, i.OperationMetrics, i.EngineInfo
	}
	for _, x := range c.Txns {
		if r.Progress == nil {
			r.Progress = map[string]int64{}
		}
		r.Progress[x.AppID] = x.Version
	}
	return r
}
