package node

import (
	"sluice.io/sluice/api"
	"sluice.io/sluice/coordinator"
	"sluice.io/sluice/worker"
)

// The peers meet here: each declares what it needs, and the coordinator gives it.
var (
	_ api.Cluster           = (*coordinator.Coordinator)(nil)
	_ worker.Ownership      = (*coordinator.Coordinator)(nil)
	_ coordinator.Discovery = (*discovery)(nil)
)
