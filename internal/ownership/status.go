package ownership

// ConnectorStatus is what the cluster has agreed on about a connector's life: its own state and that of its tasks,
// in the order in which REST numbers them (a task's id is its place in Tasks).
type ConnectorStatus struct {
	Name  string
	State State
	// Node runs the connector itself (finds its topics and tasks): the leader, empty before it has.
	Node string
	// Trace says why it has FAILED, or what it is waiting for.
	Trace string
	Tasks []TaskStatus
}

// RestartOptions are the two flags of POST /connectors/{c}/restart.
type RestartOptions struct {
	// IncludeTasks restarts the connector's tasks as well.
	IncludeTasks bool
	// OnlyFailed restarts only what has FAILED.
	OnlyFailed bool
}

// LeaderInfo says who leads, as far as this node knows.
type LeaderInfo struct {
	// ID and the addresses are empty while no leader is known.
	ID, PeerAddress, RESTAddress string
	Term                         uint64
	// Self is true on the leader.
	Self bool
}
