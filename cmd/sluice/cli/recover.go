package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"sluice.io/sluice/cmd/sluice/node"
)

// clusterRecover is the one verb of `sluice cluster` that works on a stopped node's files rather than over REST.
func (a *app) clusterRecover() *cobra.Command {
	var dry bool
	c := &cobra.Command{
		Use: "recover", Short: "Make a stopped node the only member of its cluster, after a majority is lost for good", Args: cobra.NoArgs,
		Long: "Make the node of these settings the only member of its cluster, with all that it knows.\n\n" +
			"For when a majority of the voters is lost for good: what only they knew is lost, the tables are not affected.\n" +
			"The node must be stopped, and so must all others that are left; they join anew with an empty raft folder.\n" +
			"With --dry-run it says how far the node's log goes and changes nothing: recover the one that has the highest term, and of\n" +
			"those the one with the highest index.",
		Example: "  sluice cluster recover --config sluice.yaml --dry-run",
	}
	load := a.settingFlags(c, nil)
	c.Flags().BoolVar(&dry, "dry-run", false, "only say how far the node's log goes")
	c.RunE = func(*cobra.Command, []string) error {
		s, err := load()
		if err != nil {
			return err
		}
		x, err := node.Recover(s, dry)
		if err != nil {
			return err
		}
		if a.output == "json" {
			return a.json(map[string]any{"node": s.NodeID, "last_term": x.LastTerm, "last_index": x.LastIndex, "recovered": !dry})
		}
		fmt.Fprintf(a.Out, "%s: the log ends at term %d, index %d\n", s.NodeID, x.LastTerm, x.LastIndex)
		if dry {
			return nil
		}
		_, err = fmt.Fprintf(a.Out, "%s is the only member of its cluster now; start it, then the others with an empty raft folder in their data.dir\n", s.NodeID)
		return err
	}
	return c
}
