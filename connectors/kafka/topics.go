package kafka

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/IBM/sarama"
)

// Topic is what a broker says of a topic.
type Topic struct {
	Name string
	// ID is Kafka's topic id as text, empty where the broker has none (before 2.8).
	ID         string
	Partitions int32
	// Internal topics are those that the broker keeps for itself (__consumer_offsets …).
	Internal bool
}

// Topics describes the topics with these names, sorted by name; a name that the broker does not know is
// left out.
func (c *Client) Topics(ctx context.Context, names ...string) ([]Topic, error) {
	if len(names) == 0 {
		return nil, nil
	}
	resp, err := c.metadata(ctx, names)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	return c.topicsOf(resp)
}

// MatchingTopics describes the topics whose whole name matches the pattern, as Kafka Connect's topics.regex does, sorted
// by name. Topics that the broker keeps for itself are left out; a name that merely looks like theirs (Debezium's
// __debezium-heartbeat.…) is not.
func (c *Client) MatchingTopics(ctx context.Context, pattern string) ([]Topic, error) {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return nil, &ConfigError{Key: "topics.regex", Value: pattern, Problem: "it is not a regular expression: " + err.Error()}
	}
	resp, err := c.metadata(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("list topics: %w", err)
	}
	all, err := c.topicsOf(resp)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(t Topic) bool {
		return t.Internal || !re.MatchString(t.Name)
	}), nil
}

func (c *Client) topicsOf(resp *sarama.MetadataResponse) ([]Topic, error) {
	var out []Topic
	for _, t := range resp.Topics {
		switch {
		case errors.Is(t.Err, sarama.ErrUnknownTopicOrPartition):
			continue
		case authorization(t.Err):
			return nil, fmt.Errorf("topic %s: %w: %w", t.Name, ErrAuthorization, t.Err)
		case errors.Is(t.Err, sarama.ErrInvalidTopic):
			return nil, fmt.Errorf("topic %q: %w", t.Name, t.Err)
		case len(t.Partitions) == 0:
			continue // being created
		}
		out = append(out, Topic{Name: t.Name, ID: topicID(t), Partitions: int32(len(t.Partitions)), Internal: t.IsInternal})
	}
	slices.SortFunc(out, func(a, b Topic) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

func topicID(t *sarama.TopicMetadata) string {
	var zero sarama.Uuid
	if t.Uuid == zero {
		return ""
	}
	return t.Uuid.String()
}

// leaderOf finds the address of a partition's leader in a metadata answer.
func leaderOf(resp *sarama.MetadataResponse, topic string, partition int32) (id int32, addr, topicid string, err error) {
	for _, t := range resp.Topics {
		if t.Name != topic {
			continue
		}
		if !errors.Is(t.Err, sarama.ErrNoError) && len(t.Partitions) == 0 {
			return 0, "", "", t.Err
		}
		for _, p := range t.Partitions {
			if p.ID != partition {
				continue
			}
			if p.Leader < 0 {
				return 0, "", topicID(t), sarama.ErrLeaderNotAvailable
			}
			for _, b := range resp.Brokers {
				if b.ID() == p.Leader {
					return p.Leader, b.Addr(), topicID(t), nil
				}
			}
			return 0, "", topicID(t), sarama.ErrLeaderNotAvailable
		}
		return 0, "", topicID(t), sarama.ErrUnknownTopicOrPartition
	}
	return 0, "", "", sarama.ErrUnknownTopicOrPartition
}

// Offsets are the ends of a partition: Start is the first offset that the broker still has, End the one that the
// next record gets (under isolation.level=read_committed also beyond open transactions).
type Offsets struct{ Start, End int64 }

// Offsets looks up the ends of partitions of one topic.
func (c *Client) Offsets(ctx context.Context, topic string, partitions ...int32) (map[int32]Offsets, error) {
	resp, err := c.metadata(ctx, []string{topic})
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	byLeader := map[string][]int32{}
	for _, p := range partitions {
		_, addr, _, err := leaderOf(resp, topic, p)
		if err != nil {
			return nil, fmt.Errorf("offsets of %s-%d: %w", topic, p, unknownTopic(err))
		}
		byLeader[addr] = append(byLeader[addr], p)
	}
	out := make(map[int32]Offsets, len(partitions))
	for addr, ps := range byLeader {
		starts, err := c.listOffsets(ctx, addr, topic, ps, sarama.OffsetOldest)
		if err != nil {
			return nil, err
		}
		ends, err := c.listOffsets(ctx, addr, topic, ps, sarama.OffsetNewest)
		if err != nil {
			return nil, err
		}
		for _, p := range ps {
			out[p] = Offsets{Start: starts[p], End: ends[p]}
		}
	}
	return out, nil
}

// StartAtEnd tells that auto.offset.reset asks to begin a partition that was never read at its end.
func (c *Client) StartAtEnd() bool { return c.s.startLatest }

func (c *Client) listOffsets(ctx context.Context, addr, topic string, partitions []int32, when int64) (map[int32]int64, error) {
	resp, err := ask(ctx, c, addr, func(b *sarama.Broker) (*sarama.OffsetResponse, error) {
		req := sarama.NewOffsetRequest(c.s.conf.Version)
		for _, p := range partitions {
			req.AddBlock(topic, p, when, 1)
		}
		return b.GetAvailableOffsets(req)
	})
	if err != nil {
		return nil, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	out := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		block := resp.GetBlock(topic, p)
		if block == nil {
			return nil, fmt.Errorf("offsets of %s-%d: %w", topic, p, sarama.ErrIncompleteResponse)
		}
		if !errors.Is(block.Err, sarama.ErrNoError) {
			return nil, fmt.Errorf("offsets of %s-%d: %w", topic, p, unknownTopic(block.Err))
		}
		out[p] = block.Offset
		if len(block.Offsets) > 0 {
			out[p] = block.Offsets[0]
		}
	}
	return out, nil
}

// unknownTopic puts our sentinel around the broker's code.
func unknownTopic(err error) error {
	if errors.Is(err, sarama.ErrUnknownTopicOrPartition) {
		return fmt.Errorf("%w: %w", ErrUnknownTopic, err)
	}
	if authorization(err) {
		return fmt.Errorf("%w: %w", ErrAuthorization, err)
	}
	return err
}

// ErrTopicExists: CreateTopic found it.
var ErrTopicExists = errors.New("the topic exists already")

// CreateTopic makes a topic. A cluster that has fewer brokers than replicas are asked for gets as many as it has.
func (c *Client) CreateTopic(ctx context.Context, name string, partitions int32, replicas int16) error {
	resp, err := c.metadata(ctx, []string{name})
	if err != nil {
		return fmt.Errorf("create topic %s: %w", name, err)
	}
	replicas = int16(max(1, min(int(replicas), len(resp.Brokers))))
	addrs := c.addresses()
	for _, b := range resp.Brokers { // only the controller may
		if b.ID() == resp.ControllerID {
			addrs = append([]string{b.Addr()}, addrs...)
		}
	}
	var last error
	for _, addr := range addrs {
		r, err := ask(ctx, c, addr, func(b *sarama.Broker) (*sarama.CreateTopicsResponse, error) {
			return b.CreateTopics(&sarama.CreateTopicsRequest{
				Version: 4, Timeout: c.s.requestTimeout,
				TopicDetails: map[string]*sarama.TopicDetail{name: {NumPartitions: partitions, ReplicationFactor: replicas}},
			})
		})
		if err != nil {
			last = err
			continue
		}
		e := r.TopicErrors[name]
		switch {
		case e == nil || errors.Is(e.Err, sarama.ErrNoError):
			return nil
		case errors.Is(e.Err, sarama.ErrTopicAlreadyExists):
			return ErrTopicExists
		case errors.Is(e.Err, sarama.ErrNotController):
			last = e.Err
			continue
		case authorization(e.Err):
			return fmt.Errorf("create topic %s: %w: %w", name, ErrAuthorization, e.Err)
		}
		return fmt.Errorf("create topic %s: %w", name, e)
	}
	return fmt.Errorf("create topic %s: %w", name, last)
}
