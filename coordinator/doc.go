// Package coordinator answers one question: what has the cluster agreed? It forms the cluster, keeps the connectors
// and who owns which task in a Raft log, moves tasks when nodes come, go or die, and gives the rest of the node two
// faces: the port of the worker (Owned, Release, Report) and the verbs of REST (Create, Put, Patch, …).
//
// What it is not: it knows neither Kafka nor Delta. What a connector consists of comes through Discovery, whether a
// configuration is valid through Options.Validate; both are wired in cmd.
//
// Rooms: state (the pure state machine), placement (the pure plan), raftnode (keeper of hashicorp/raft), peer (one
// port between nodes), sim (all of it under a simulated clock and network). DESIGN.md says how the parts act together,
// lists every goroutine and every failure that was thought of.
package coordinator
