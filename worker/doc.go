// Package worker is what one node does now, and in which order: it turns what the cluster has given to the node into
// running tasks.
//
// The Runtime reads the Ownership port, feeds each task's life (package task) and carries out what that says. A
// partition task reads its partitions (connectors/kafka) and appends them to the topic's bronze table (package bronze), all
// partition tasks of a topic through one Appender. A table task follows the versions of the bronze tables that feed it and
// merges them (package silver). What was appended on this node reaches the table task in memory, through a feed; everything
// else is read from the bronze files. Bronze never waits for silver.
//
// # The way of a record
//
//	kafka.Reader.Next ─▶ bronze.Partition.Add ─▶ (decoder) ─▶ rows ─▶ Appender.cut ─▶ write ─▶ commit
//	                                                     └─ changes ─▶ feed.Offer ─▶ follower.collect ─▶ Merger.Merge
//
// # Goroutines
//
// The Runtime's loop owns all task states. Each run of a task has one goroutine, and one per partition (its pump). Each
// Appender has two, each Kafka client has one per leader. A reporter sends statuses, a mirror moves group offsets. Run
// returns when all of them have ended.
//
// # What it is not
//
// It agrees on nothing and serves nothing: it knows neither coordinator nor api. Whether a task may be written is decided by
// the table at commit (D2), not by this room's opinion of who owns it.
package worker
