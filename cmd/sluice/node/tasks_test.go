package node

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"sluice.io/sluice/connectors/config"
	"sluice.io/sluice/internal/ownership"
)

func describe(tasks []ownership.Task) []string {
	var out []string
	for _, t := range tasks {
		line := t.ID.String()
		if t.ID.Kind == ownership.TableTask {
			line += " from " + strings.Join(t.Topics, ",")
		} else {
			for _, p := range t.Partitions {
				line += " " + string(rune('0'+p))
			}
		}
		out = append(out, line)
	}
	return out
}

func TestTasksOf(t *testing.T) {
	two := []ownership.Topic{{Name: "a", Partitions: 4}, {Name: "b", Partitions: 1}}
	for _, c := range []struct {
		name string
		sink config.Sink
		want []string
	}{
		{"one for each partition", config.Sink{SilverEnabled: true, SilverPath: "silver/${topic}"},
			[]string{"c/p/a/0 0", "c/p/a/1 1", "c/p/a/2 2", "c/p/a/3 3", "c/p/b/0 0", "c/t/silver/a from a", "c/t/silver/b from b"}},
		{"tasks.max", config.Sink{TasksMax: 3, SilverPath: "silver/${topic}"},
			[]string{"c/p/a/0 0 2", "c/p/a/1 1 3", "c/p/b/0 0"}},
		{"fewer than topics", config.Sink{TasksMax: 1, SilverPath: "silver/${topic}"},
			[]string{"c/p/a/0 0 1 2 3", "c/p/b/0 0"}},
		{"tables by row", config.Sink{TasksMax: 2, SilverEnabled: true, SilverPath: "silver/${schema}.${table}"},
			[]string{"c/p/a/0 0 1 2 3", "c/p/b/0 0", "c/t/silver/${schema}.${table} from a,b"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.sink.Name = "c"
			if d := cmp.Diff(c.want, describe(tasksOf(&c.sink, two))); d != "" {
				t.Fatal(d)
			}
		})
	}
}

func TestEveryPartitionHasOneTask(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "topics")
		var topics []ownership.Topic
		for i := range n {
			topics = append(topics, ownership.Topic{Name: string(rune('a' + i)), Partitions: rapid.Int32Range(1, 30).Draw(t, "partitions")})
		}
		most := rapid.IntRange(0, 40).Draw(t, "tasks.max")
		tasks := tasksOf(&config.Sink{Name: "c", TasksMax: most, SilverPath: "s"}, topics)
		if most > 0 && len(tasks) > max(most, n) {
			t.Fatalf("%d tasks with tasks.max %d over %d topics", len(tasks), most, n)
		}
		seen := map[string]map[int32]int{}
		for _, task := range tasks {
			if task.Partitions[0] != task.ID.Group {
				t.Fatalf("%s begins with partition %d", task.ID, task.Partitions[0])
			}
			if seen[task.ID.Topic] == nil {
				seen[task.ID.Topic] = map[int32]int{}
			}
			for _, p := range task.Partitions {
				seen[task.ID.Topic][p]++
			}
		}
		for _, topic := range topics {
			for p := range topic.Partitions {
				if seen[topic.Name][p] != 1 {
					t.Fatalf("%s-%d has %d tasks", topic.Name, p, seen[topic.Name][p])
				}
			}
		}
	})
}
