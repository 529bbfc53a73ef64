// Package api is the REST face of a node: Kafka Connect's API, so that the clients, consoles and operators that
// people have drive Sluice unchanged, and a few endpoints of our own under /sluice/v1.
//
// A request goes: Server.ServeHTTP (deadline, request log, path clean-up) → mux (which resource) → endpoint (method,
// Content-Type, Accept) → handler → the ports. Each handler returns an answer or an error; errors.go is the one place
// that turns errors into statuses. What is answered is Kafka Connect 4.3's contract with its known faults left out:
// reads never answer 409 or 500 for a rebalance, malformed bodies are 400, names may hold any character.
//
// Ports: Cluster (the coordinator: what is agreed), Lake (the tables: offsets), config.Reach (a look at lake and broker
// during validation). Nothing here knows Raft, Kafka or Parquet.
//
// Goroutines: those of net/http, none of its own. Reads are answered from the node's own copy of the state; writes wait
// for the cluster's log, for as long as the request's deadline allows. Failure modes: without a leader writes end in
// 503 with Retry-After and reads go on; a lake that hangs costs the one request that asked for offsets.
//
// What it is not: it decides nothing about ownership, and keeps no state but the levels of loggers (package loggers).
package api
