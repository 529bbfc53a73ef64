// Package bench measures the merge beside delta-rs' MERGE, in one run, on the same table and with the same updates, and compares the
// results row by row: 10 000 updates spread uniformly over 10^5, 10^6 and 10^7 rows. `make bench-merge` runs it.
//
// For each size the table is made once (by the merge itself), and copied without deletion vectors for delta-rs, which cannot write
// tables that have them. Ours then opens the table in a process of its own (cold: the time until the key index is there),
// merges round after round, and the upkeep that falls due is done between the rounds and counted apart. The rows of each
// round, as our commit wrote them, are what delta-rs merges with matched-update-all and not-matched-insert-all. At the end a third process
// opens our table as a new owner does and merges one more round: the take-over.
//
// CPU seconds are user and system time of the process over the step: on a shared machine they say more than the clock.
// delta-rs is that of READERS_HOME (.ci/stack/install readers); without it our figures stand alone.
package bench
