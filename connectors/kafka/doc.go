// Package kafka is what Sluice knows of a Kafka broker, and the only keeper of the Sarama library.
//
// Purpose: a Client made of the client properties that operators know (bootstrap.servers, sasl.jaas.config …),
// which describes topics, looks up offsets, reads partitions from an offset, mirrors progress to a group's offsets
// and produces dead letters.
//
// What it is not: it joins no consumer group and keeps no progress. Who reads which partition is agreed by Raft; where
// a partition goes on is the txn of its bronze table (D1). The group offset is a mirror for lag tools.
//
// # Reading
//
// A Reader hands out one partition's records in batches, from an offset that the caller names, to one caller. Behind
// the Readers of a Client stands one fetcher per leader: a goroutine with a connection of its own, which asks the broker
// for all partitions whose Reader has room. Sarama's PartitionConsumer is not used: it hands over messages one by one
// on a channel (records of 142 bytes cost half as much CPU again that way as by whole record batches), its memory is
// bounded by messages rather than bytes, and it cannot tell a gap from waiting.
//
// What a Reader jumps over, and reports by Batch.Next being beyond the last record: offsets that compaction removed,
// control records, records of aborted transactions.
//
// # Failure modes
//
// A broker that goes away, a leader that moves, an unknown topic in the metadata of a broker that has just started: ridden
// out inside, for as long as it takes, and visible in Reader.Trouble. What waiting cannot mend ends the Reader:
// ErrRetentionLoss, ErrEndBelow, ErrTopicRecreated, ErrAuthorization.
//
// # Goroutines
//
// One fetcher per leader, one watcher of topic ids per Client; both end with Client.Close, which closes the connections
// under them rather than waiting for a long poll to end.
package kafka
