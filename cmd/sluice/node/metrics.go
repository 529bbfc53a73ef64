package node

import (
	"github.com/prometheus/client_golang/prometheus"

	"sluice.io/sluice/coordinator"
)

var (
	descLeader = prometheus.NewDesc("sluice_cluster_leader", "1 on the node that leads the cluster.", nil, nil)
	descLease  = prometheus.NewDesc("sluice_cluster_lease", "1 while the node may run its tasks: it is in touch with the leader.", nil, nil)
	descLost   = prometheus.NewDesc("sluice_cluster_leases_lost_total", "How often the node has lost touch with the leader past its lease, and stopped its tasks.", nil, nil)
	descIndex  = prometheus.NewDesc("sluice_raft_applied_index", "Index of the last Raft entry that the node has applied.", nil, nil)
	descTerm   = prometheus.NewDesc("sluice_raft_term", "Raft's term: it rises with each election.", nil, nil)
	descPeople = prometheus.NewDesc("sluice_cluster_members", "Members of the cluster as this node knows them, by state.", []string{"state"}, nil)
)

// clusterMetrics are the figures of this node's part in the cluster.
type clusterMetrics struct{ c *coordinator.Coordinator }

// Describe implements prometheus.Collector.
func (m clusterMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descLeader, descLease, descLost, descIndex, descTerm, descPeople} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m clusterMetrics) Collect(out chan<- prometheus.Metric) {
	one := func(d *prometheus.Desc, kind prometheus.ValueType, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, kind, v, labels...)
	}
	flag := func(b bool) float64 {
		if b {
			return 1
		}
		return 0
	}
	own := m.c.Condition()
	one(descLeader, prometheus.GaugeValue, flag(m.c.LeaderInfo().Self))
	one(descLease, prometheus.GaugeValue, flag(own.HoldsLease))
	one(descLost, prometheus.CounterValue, float64(own.LeasesLost))
	one(descIndex, prometheus.GaugeValue, float64(own.AppliedIndex))
	one(descTerm, prometheus.GaugeValue, float64(own.Term))
	states := map[string]int{"alive": 0, "draining": 0, "dead": 0}
	for _, p := range m.c.Members() {
		switch {
		case !p.Alive:
			states["dead"]++
		case p.Draining:
			states["draining"]++
		default:
			states["alive"]++
		}
	}
	for s, n := range states {
		one(descPeople, prometheus.GaugeValue, float64(n), s)
	}
}
