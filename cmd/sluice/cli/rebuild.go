package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice.io/sluice/connectors/delta"
	"sluice.io/sluice/connectors/schema"
	"sluice.io/sluice/worker/silver/evolve"
)

func (a *app) tableRebuild() *cobra.Command {
	var connector string
	var yes bool
	c := &cobra.Command{
		Use: "rebuild TABLE", Short: "Delete a silver table and let its connector merge it anew from bronze", Args: cobra.ExactArgs(1),
		Long: "Stop the connector, delete the silver table, and let the connector go on: it merges the table from the first version of bronze.\n" +
			"Readers find no table, or an incomplete one, until it has caught up. Bronze is not touched.",
		Example: "  sluice table rebuild /srv/lake/silver/shop.public.orders --connector shop --yes",
	}
	client := a.restFlag(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := cmd.Context()
		if connector == "" {
			return usagef("--connector is needed: the one that writes the table")
		}
		r, err := client()
		if err != nil {
			return err
		}
		t, err := openTable(ctx, args[0])
		if err != nil {
			return err
		}
		s, err := t.Snapshot(ctx)
		if err != nil {
			return tableError(args[0], err)
		}
		if err := isSilverOf(s, connector); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		var st connectorStatus
		if _, err := r.do(ctx, "GET", connectorPath(connector, "/status"), nil, &st); err != nil {
			return err
		}
		var conf map[string]string
		if _, err := r.do(ctx, "GET", connectorPath(connector, "/config"), nil, &conf); err != nil {
			return err
		}
		if err := hasKeys(s, conf["silver.keys"]); err != nil {
			return fmt.Errorf("%s: %w", args[0], err)
		}
		if !yes {
			n, _ := s.NumRecords()
			return usagef("this deletes the table %s with %s rows, to merge it anew; add --yes if that is meant", t.URL(), countText(n))
		}
		wasRunning := st.Connector.State != "STOPPED"
		if wasRunning {
			if _, err := r.do(ctx, "PUT", connectorPath(connector, "/stop"), nil, nil); err != nil {
				return err
			}
		}
		if err := idle(ctx, r, connector); err != nil {
			return err
		}
		bar := a.progress("deleting", countText)
		n, err := deleteTable(ctx, t, bar)
		bar.done()
		if err != nil {
			return fmt.Errorf("%w; %s is stopped: rebuild again", err, connector)
		}
		if wasRunning {
			if _, err := r.do(ctx, "PUT", connectorPath(connector, "/resume"), nil, nil); err != nil {
				return fmt.Errorf("the table is deleted, and the connector could not be resumed: %w", err)
			}
		}
		if a.output == "json" {
			return a.json(map[string]any{"table": t.URL(), "objects_deleted": n, "connector": connector, "resumed": wasRunning})
		}
		next := "resumed, and merges the table anew"
		if !wasRunning {
			next = "left STOPPED, as it was; resume it to merge the table anew"
		}
		_, err = fmt.Fprintf(a.Out, "%d objects deleted; %s is %s\n", n, connector, next)
		return err
	}
	c.Flags().StringVar(&connector, "connector", "", "the connector that writes the table")
	c.Flags().BoolVar(&yes, "yes", false, "do it without asking")
	return c
}

// isSilverOf tells whether a table is a silver table that the connector writes.
func isSilverOf(s *delta.Snapshot, connector string) error {
	if _, ok := s.Property("sluice.keys"); !ok {
		return errors.New("this is no silver table of Sluice; nothing else can be made anew from bronze")
	}
	writers := map[string]bool{}
	for x := range s.Txns() {
		if parts := strings.Split(x.AppID, "/"); len(parts) > 2 && parts[0] == "sluice" {
			writers[parts[1]] = true
		}
	}
	if len(writers) > 0 && !writers[connector] {
		return fmt.Errorf("it is written by %s, not by %s", strings.Join(sortedKeys(writers), ", "), connector)
	}
	return nil
}

// hasKeys tells whether the table has the columns of silver.keys: else no event that it was merged from has them, and all of them would be dead letters.
func hasKeys(s *delta.Snapshot, keys string) error {
	for _, name := range strings.Split(keys, ",") {
		name = strings.TrimSpace(name)
		if name != "" && !slices.ContainsFunc(s.Schema().Fields, func(f schema.Field) bool { return strings.EqualFold(evolve.SourceName(&f), name) }) {
			return fmt.Errorf("silver.keys is %s, and the table has no column %q: the events that it was merged from don't have it, and would be dead letters; "+
				"correct silver.keys, or take a new snapshot into another silver.path", keys, name)
		}
	}
	return nil
}

// idle waits until no node has a task of a stopped connector.
func idle(ctx context.Context, r *restClient, connector string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		var st connectorStatus
		if _, err := r.do(ctx, "GET", connectorPath(connector, "/status"), nil, &st); err != nil {
			return err
		}
		if st.Connector.State == "STOPPED" && len(st.Tasks) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s has not stopped: %w", connector, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// deleteTable deletes all objects of a table: the newest commit first, so that what is left of a deletion that was
// broken off is an older version or no table, and never a table with files missing.
func deleteTable(ctx context.Context, t *delta.Table, bar *progress) (int, error) {
	prefix := strings.Trim(t.Path(), "/") + "/"
	var log, data []string
	for info, err := range t.Bucket().List(ctx, prefix, "") {
		if err != nil {
			return 0, err
		}
		if strings.HasPrefix(info.Key, prefix+"_delta_log/") {
			log = append(log, info.Key)
		} else {
			data = append(data, info.Key)
		}
	}
	slices.SortFunc(log, func(a, b string) int { return cmp.Compare(b, a) })
	for i, key := range append(log, data...) {
		if err := t.Bucket().Delete(ctx, key); err != nil {
			return i, fmt.Errorf("delete %s: %w", key, err)
		}
		bar.set(int64(i+1), int64(len(log)+len(data)))
	}
	return len(log) + len(data), nil
}
