// Package state is what the cluster has agreed on, as a pure state machine (D10): Apply turns a command and its Raft
// index into changes and events, and nothing else enters. No clock, no randomness, no map order, no I/O; a test
// forbids the imports. Every node that has applied the same log holds the same state, byte for byte in a snapshot.
//
// What it is not: it does not decide who should own what (placement), does not talk (peer), does not validate
// configurations (they are maps of text here; whoever proposes has validated), and has no locks: its owner, the
// adapter in coordinator, guards it.
//
// Life of a task:
//
//	            SetTasks              Place                     Place elsewhere / task gone
//	(unknown) ───────────▶ unassigned ───────▶ assigned, epoch e ─────────────────────────▶ revoked, epoch e
//	                           ▲                  │    ▲                                         │ Release by owner,
//	                           │  Release, death  │    │ Restart, new config, new incarnation:   │ or owner dead
//	                           ◀──────────────────┘    │ new epoch on the same node              ▼
//	                           ▲                       └──────────────────  to Next with a new epoch, else unassigned
//	                           └──────────────────────────────────────────────────┘
//
// Invariants, checked by the property tests after every command:
//
//   - a task has at most one assignment, and a partition of a topic is held through at most one assignment of a
//     connector, revoked ones included: nobody gets what has not been released;
//   - epochs of a task grow, and an epoch is the Raft index of the command that made it;
//   - only live, known members own anything; Next is never the owner;
//   - a status names the present epoch and node of its task, or none.
package state
