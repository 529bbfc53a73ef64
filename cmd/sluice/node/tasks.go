package node

import (
	"maps"
	"slices"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

// tasksOf lists the tasks of a connector over the topics that it reads: first its partition tasks, at most tasks.max
// groups, then one table task for each silver table (or each path that only events can resolve). The ids depend on
// the topics and their partitions alone, so they are stable while the set is.
func tasksOf(s *config.Sink, topics []ownership.Topic) []ownership.Task {
	var out []ownership.Task
	groups := groupsOf(s.TasksMax, topics)
	tables := map[string][]string{}
	for i, t := range topics {
		for g := range groups[i] {
			task := ownership.Task{ID: ownership.TaskID{Connector: s.Name, Kind: ownership.PartitionTask, Topic: t.Name, Group: g}}
			// Partition p is in group p modulo the number of groups: what is added later leaves the rest where it is.
			for p := g; p < t.Partitions; p += groups[i] {
				task.Partitions = append(task.Partitions, p)
			}
			out = append(out, task)
		}
		path := config.ResolvePath(s.SilverPath, s.SilverTopic(t.Name), nil, s.Name)
		tables[path] = append(tables[path], t.Name)
	}
	if s.SilverEnabled {
		for _, path := range slices.Sorted(maps.Keys(tables)) {
			slices.Sort(tables[path])
			out = append(out, ownership.Task{
				ID:     ownership.TaskID{Connector: s.Name, Kind: ownership.TableTask, Table: path},
				Topics: tables[path],
			})
		}
	}
	slices.SortFunc(out, func(a, b ownership.Task) int { return a.ID.Compare(b.ID) })
	return out
}

// groupsOf says into how many groups the partitions of each topic form: one for each partition where most is 0 or
// large enough, else most in all (but one for each topic at least), dealt out so that groups are of a size.
func groupsOf(most int, topics []ownership.Topic) []int32 {
	groups := make([]int32, len(topics))
	total := 0
	for i, t := range topics {
		groups[i] = t.Partitions
		total += int(t.Partitions)
	}
	if most <= 0 || total <= most {
		return groups
	}
	left := most
	for i, t := range topics {
		groups[i] = min(1, t.Partitions)
		left -= int(groups[i])
	}
	for ; left > 0; left-- {
		best := -1
		for i, t := range topics {
			if groups[i] >= t.Partitions {
				continue
			}
			// The topic with the largest groups: partitions/groups, compared without division.
			if best < 0 || int64(t.Partitions)*int64(groups[best]) > int64(topics[best].Partitions)*int64(groups[i]) {
				best = i
			}
		}
		if best < 0 {
			break
		}
		groups[best]++
	}
	return groups
}
