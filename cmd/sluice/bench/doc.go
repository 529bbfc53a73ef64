// Package bench measures what DESIGN §9 and the README state: bronze alone, a backlog into bronze and silver, and
// freshness. It prints figures; it judges none.
//
// Three processes take part, so that nobody's time is counted as somebody else's: the parent, which starts the others and
// prints; a broker (kfake, filled with the events beforehand), whose CPU is told apart; and for each run a worker of its own, whose
// CPU time and peak memory are what the system says of the process when it has ended. Each run begins with an empty lake.
package bench
