package worker

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// Descriptions of the worker's metrics.
var (
	perTopic     = []string{"connector", "topic"}
	perPartition = []string{"connector", "topic", "partition"}
	perTable     = []string{"connector", "table"}

	descAppended    = prometheus.NewDesc("sluice_bronze_rows_total", "Records appended to bronze since the start.", perTopic, nil)
	descBytes       = prometheus.NewDesc("sluice_bronze_bytes_total", "Bytes of bronze files written since the start.", perTopic, nil)
	descCommits     = prometheus.NewDesc("sluice_bronze_commits_total", "Bronze commits since the start.", perTopic, nil)
	descUndecodable = prometheus.NewDesc("sluice_undecodable_records_total", "Records that could not be decoded since the start.", perTopic, nil)
	descBronzeLast  = prometheus.NewDesc("sluice_bronze_last_commit_timestamp_seconds", "Time of the last bronze commit.", perTopic, nil)
	descEnd         = prometheus.NewDesc("sluice_partition_end_offset", "End of the partition in Kafka, as last seen.", perPartition, nil)
	descCommitted   = prometheus.NewDesc("sluice_partition_committed_offset", "Offset up to which the partition is in bronze.", perPartition, nil)
	descRows        = prometheus.NewDesc("sluice_silver_rows", "Rows of the silver table.", perTable, nil)
	descEvents      = prometheus.NewDesc("sluice_silver_events_total", "Changes merged since the start.", perTable, nil)
	descMerges      = prometheus.NewDesc("sluice_silver_merges_total", "Merges since the start.", perTable, nil)
	descRejected    = prometheus.NewDesc("sluice_silver_dead_letters_total", "Changes that could not be applied since the start.", perTable, nil)
	descLag         = prometheus.NewDesc("sluice_silver_lag_records", "Offsets in Kafka that the table does not show yet.", perTable, nil)
	descSilverLast  = prometheus.NewDesc("sluice_silver_last_commit_timestamp_seconds", "Time of the last silver commit.", perTable, nil)
	descIndexBytes  = prometheus.NewDesc("sluice_silver_index_bytes", "Bytes of memory of the table's key index.", perTable, nil)
	descIndexDisk   = prometheus.NewDesc("sluice_silver_index_disk_bytes", "Bytes of the table's key index that are in a file, for want of memory.", perTable, nil)
	descIndexLies   = prometheus.NewDesc("sluice_silver_index_mismatches_total", "Times that the key index did not agree with the table since the start: it was built anew, or the task stopped.", perTable, nil)
	descFresh       = prometheus.NewDesc("sluice_silver_freshness_seconds", "Time from the record in Kafka to the silver commit that shows it.", perTable, nil)
	descCold        = prometheus.NewDesc("sluice_silver_cold_versions_total", "Bronze versions that were read from files rather than from memory.", nil, nil)
	descRefused     = prometheus.NewDesc("sluice_refused_commits_total", "Commits that a table's log refused since another writer had moved its progress: this node was a zombie.", []string{"layer"}, nil)
	descConflicts   = prometheus.NewDesc("sluice_commit_conflicts_total", "Commits that met a version that somebody else had just written; most of them go on top of it.", nil, nil)
	descMemory      = prometheus.NewDesc("sluice_memory_bytes", "Bytes in flight, by what they are.", []string{"what"}, nil)
	descTasks       = prometheus.NewDesc("sluice_tasks", "Tasks of this node, by state.", []string{"connector", "state"}, nil)
)

// Describe implements prometheus.Collector.
func (s *statistics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descAppended, descBytes, descCommits, descUndecodable, descBronzeLast, descEnd, descCommitted, descRows, descEvents, descMerges,
		descRejected, descLag, descSilverLast, descIndexBytes, descIndexDisk, descIndexLies, descFresh, descCold, descRefused, descConflicts, descMemory, descTasks,
	} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (s *statistics) Collect(out chan<- prometheus.Metric) {
	total := func(d *prometheus.Desc, v int64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	st := s.rt.Stats()
	for _, t := range st.Topics {
		total(descAppended, t.Appended, t.Connector, t.Topic)
		total(descBytes, t.Bytes, t.Connector, t.Topic)
		total(descCommits, t.Commits, t.Connector, t.Topic)
		total(descUndecodable, t.Undecodable, t.Connector, t.Topic)
		if !t.LastCommit.IsZero() {
			gauge(descBronzeLast, float64(t.LastCommit.UnixMilli())/1000, t.Connector, t.Topic)
		}
		for _, p := range t.Partitions {
			id := strconv.Itoa(int(p.Partition))
			gauge(descEnd, float64(p.End), t.Connector, t.Topic, id)
			gauge(descCommitted, float64(p.Committed), t.Connector, t.Topic, id)
		}
	}
	for _, t := range st.Tables {
		gauge(descRows, float64(t.Rows), t.Connector, t.Table)
		total(descEvents, t.Events, t.Connector, t.Table)
		total(descMerges, t.Merges, t.Connector, t.Table)
		total(descRejected, t.DeadLetters, t.Connector, t.Table)
		gauge(descLag, float64(t.Lag), t.Connector, t.Table)
		gauge(descIndexBytes, float64(t.IndexBytes), t.Connector, t.Table)
		gauge(descIndexDisk, float64(t.IndexDisk), t.Connector, t.Table)
		total(descIndexLies, t.IndexMismatches, t.Connector, t.Table)
		if !t.LastCommit.IsZero() {
			gauge(descSilverLast, float64(t.LastCommit.UnixMilli())/1000, t.Connector, t.Table)
		}
	}
	s.collectFreshness(out)
	total(descCold, s.cold.Load())
	total(descRefused, s.refusedBronze.Load(), "bronze")
	total(descRefused, s.refusedSilver.Load(), "silver")
	total(descConflicts, s.conflicts.Load())
	gauge(descMemory, float64(st.Memory.Fetched), "fetched")
	gauge(descMemory, float64(st.Memory.Rows), "rows")
	gauge(descMemory, float64(st.Memory.Hot), "hot")
	gauge(descMemory, float64(st.Memory.Cold), "cold")
	byState := map[[2]string]int{}
	for _, t := range st.Tasks {
		byState[[2]string{t.Task.Connector, string(t.State)}]++
	}
	for k, n := range byState {
		gauge(descTasks, float64(n), k[0], k[1])
	}
}

// freshnessBounds are the buckets of the histogram, in milliseconds.
var freshnessBounds = []int64{50, 100, 200, 300, 400, 600, 800, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000, 60_000, 300_000, 3_600_000}

func (s *statistics) collectFreshness(out chan<- prometheus.Metric) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, t := range s.tables {
		n, sum, buckets := t.histogram()
		out <- prometheus.MustNewConstHistogram(descFresh, n, sum, buckets, k.connector, k.name)
	}
}

// histogram gives the count of changes, the sum of their freshness in seconds, and how many were as fresh as each bound.
func (t *tableFigures) histogram() (count uint64, seconds float64, buckets map[float64]uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	buckets = make(map[float64]uint64, len(freshnessBounds))
	for _, bound := range freshnessBounds {
		n := int64(0)
		for i, c := range t.total.buckets {
			if upper(i) <= bound {
				n += c
			}
		}
		buckets[float64(bound)/1000] = uint64(n)
	}
	return uint64(t.total.n), float64(t.total.sum) / 1000, buckets
}
