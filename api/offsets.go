package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"sluice.io/sluice/internal/ownership"
)

type offsetsBody struct {
	Offsets []offsetEntry `json:"offsets"`
}

type offsetEntry struct {
	Partition partitionKey `json:"partition"`
	Offset    offsetValue  `json:"offset"`
}

type partitionKey struct {
	Partition int32  `json:"kafka_partition"`
	Topic     string `json:"kafka_topic"`
}

type offsetValue struct {
	Offset int64 `json:"kafka_offset"`
}

func (s *Server) lake() error {
	if s.Lake == nil {
		return fail(http.StatusServiceUnavailable, "This node has no access to the lake")
	}
	return nil
}

func (s *Server) getOffsets(r request) (answer, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return answer{}, err
	}
	if err := s.lake(); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "reading the progress of connector %s from its tables", c.Name)
	offsets, err := s.Lake.Offsets(r.Context(), c)
	if err != nil {
		return answer{}, fmt.Errorf("read the offsets of connector %s: %w", c.Name, err)
	}
	out := offsetsBody{Offsets: []offsetEntry{}}
	for _, o := range offsets {
		out.Offsets = append(out.Offsets, offsetEntry{partitionKey{o.Partition, o.Topic}, offsetValue{o.Next}})
	}
	return ok(out)
}

// patchOffsets moves progress forward. Backward is refused: bronze holds those records (DESIGN §6).
func (s *Server) patchOffsets(r request) (answer, error) {
	in, err := readObject(r.Request)
	if err != nil {
		return answer{}, err
	}
	var entries []map[string]json.RawMessage
	if raw, there := in["offsets"]; there {
		if err := member(raw, "offsets", &entries); err != nil {
			return answer{}, err
		}
	}
	if len(entries) == 0 {
		return answer{}, fail(http.StatusBadRequest, "Partitions / offsets need to be provided for an alter offsets request")
	}
	c, err := s.stopped(r)
	if err != nil {
		return answer{}, err
	}
	to := make([]Offset, 0, len(entries))
	for _, e := range entries {
		o, err := readOffset(e)
		if err != nil {
			return answer{}, err
		}
		to = append(to, o)
	}
	return s.move(r, c, to, "altered")
}

// deleteOffsets forgets progress, as far as there is none that counts: a second time is as good as the first.
func (s *Server) deleteOffsets(r request) (answer, error) {
	c, err := s.stopped(r)
	if err != nil {
		return answer{}, err
	}
	if err := s.lake(); err != nil {
		return answer{}, err
	}
	doing(r.Context(), "reading the progress of connector %s from its tables", c.Name)
	now, err := s.Lake.Offsets(r.Context(), c)
	if err != nil {
		return answer{}, fmt.Errorf("read the offsets of connector %s: %w", c.Name, err)
	}
	for i := range now {
		now[i].Next = -1
	}
	return s.move(r, c, now, "reset")
}

func (s *Server) move(r request, c ownership.Connector, to []Offset, done string) (answer, error) {
	if err := s.lake(); err != nil {
		return answer{}, err
	}
	if len(to) > 0 {
		doing(r.Context(), "moving the progress of connector %s", c.Name)
		if err := s.Lake.Move(r.Context(), c, to); err != nil {
			return answer{}, err
		}
	}
	return ok(map[string]string{"message": "The offsets for this connector have been " + done + " successfully"})
}

// stopped gives the connector of the path if its tasks are out of the way.
func (s *Server) stopped(r request) (ownership.Connector, error) {
	c, err := s.found(r, notFound)
	if err != nil {
		return c, err
	}
	if c.Target != ownership.TargetStopped {
		return c, fail(http.StatusBadRequest, "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified connector "+
			"by issuing a 'PUT' request to the '/connectors/%s/stop' endpoint", c.Name)
	}
	if !s.Cluster.Idle(c.Name) {
		return c, fail(http.StatusInternalServerError, "Failed to modify offsets for connector %s: a zombie sink task has not given up its partitions yet; it is safe to retry", c.Name)
	}
	return c, nil
}

// readOffset reads one member of the list, with Connect's messages. Numbers may be written as strings.
func readOffset(e map[string]json.RawMessage) (Offset, error) {
	bad := func(format string, args ...any) (Offset, error) {
		return Offset{}, fail(http.StatusBadRequest, format, args...)
	}
	null := func(raw json.RawMessage) bool {
		raw = bytes.TrimSpace(raw)
		return len(raw) == 0 || string(raw) == "null"
	}
	if null(e["partition"]) {
		return bad("The partition for a sink connector offset cannot be null or missing")
	}
	var partition, offset map[string]json.RawMessage
	if err := member(e["partition"], "partition", &partition); err != nil {
		return Offset{}, err
	}
	topicRaw, hasTopic := partition["kafka_topic"]
	numberRaw, hasNumber := partition["kafka_partition"]
	if !hasTopic || !hasNumber {
		return bad("The partition for a sink connector offset must contain the keys 'kafka_topic' and 'kafka_partition'")
	}
	if null(topicRaw) {
		return bad("Kafka topic names must be valid strings and may not be null")
	}
	if null(numberRaw) {
		return bad("Kafka partitions must be valid numbers and may not be null")
	}
	topic, err := scalar("kafka_topic", topicRaw)
	if err != nil {
		return Offset{}, err
	}
	number, err := scalar("kafka_partition", numberRaw)
	if err != nil {
		return Offset{}, err
	}
	n, err := strconv.ParseInt(*number, 10, 32)
	if err != nil {
		return bad("Failed to parse the following Kafka partition value in the provided offsets: '%s'. Partition values for sink connectors need to be integers.", *number)
	}
	if n < 0 {
		return bad("Kafka partitions must be valid numbers, not %d", n)
	}
	out := Offset{Topic: *topic, Partition: int32(n), Next: -1}
	if null(e["offset"]) {
		return out, nil
	}
	if err := member(e["offset"], "offset", &offset); err != nil {
		return Offset{}, err
	}
	raw, there := offset["kafka_offset"]
	if !there {
		return bad("The offset for a sink connector should either be null or contain the key 'kafka_offset'")
	}
	text, err := scalar("kafka_offset", raw)
	if err != nil {
		return Offset{}, err
	}
	shown := "null"
	if text != nil {
		shown = *text
	}
	if out.Next, err = strconv.ParseInt(shown, 10, 64); err != nil {
		return bad("Failed to parse the following Kafka offset value in the provided offsets: '%s'. Offset values for sink connectors need to be integers.", shown)
	}
	if out.Next < 0 {
		return bad("The offset %d of %s partition %d is negative; offsets begin at 0, and null forgets the progress", out.Next, out.Topic, out.Partition)
	}
	return out, nil
}
