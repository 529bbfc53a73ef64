// Package node puts one node together: settings in, a running member of a cluster out. It is the only place where the
// peers api, worker and coordinator meet, and it holds the adapters that fit their ports to each other and to
// Kafka and the lake.
//
// `sluice serve` and `sluice dev` run the same Node, and so do the in-process tests of clusters.
package node
