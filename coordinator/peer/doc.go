// Package peer carries what nodes say to one another: one port for Raft's own streams and for requests, so that an
// operator opens and secures one port. The first byte of a connection says which (streamRaft, streamRPC); a request is
// a protobuf message with its length before it (proto/peer/v1).
//
// What it is not: it does not know what a request means (the handler does), and does not retry what may have acted:
// a request is repeated only over a new connection when the old one, kept from an earlier request, turned out dead
// before a byte of an answer, and every request that must not act twice carries an id.
//
// With a TLS configuration both sides present certificates of one authority; without, the network is trusted.
//
// Goroutines: one that accepts, one for each connection; Listener.Close ends and waits for all.
package peer
