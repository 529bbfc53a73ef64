package state

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"slices"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/internal/ownership"
	raftv1 "sluice.io/sluice/proto/raft/v1"
	snapshotv1 "sluice.io/sluice/proto/snapshot/v1"
)

// maxRecord bounds one record when reading, so that a damaged length does not ask for all memory. A connector with
// its tasks is one record: some 100 bytes a task.
const maxRecord = 256 << 20

// ErrCorrupt marks a snapshot whose bytes are not what was written.
var ErrCorrupt = errors.New("snapshot is damaged")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

type recordWriter struct {
	w     io.Writer
	crc   uint32
	count uint64
	buf   []byte
}

func (w *recordWriter) write(r *snapshotv1.Record) error {
	w.buf = w.buf[:0]
	w.buf = binary.AppendUvarint(w.buf, uint64(proto.Size(r)))
	var err error
	// D10: the same state has the same bytes on every node. The records have no maps.
	w.buf, err = proto.MarshalOptions{Deterministic: true}.MarshalAppend(w.buf, r)
	if err != nil {
		return fmt.Errorf("marshal snapshot record: %w", err)
	}
	if _, err := w.w.Write(w.buf); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	w.crc = crc32.Update(w.crc, castagnoli, w.buf)
	w.count++
	return nil
}

// Save writes the state as snapshot records, the same bytes for the same state.
func (s *State) Save(out io.Writer) error {
	w := &recordWriter{w: out}
	if err := w.write(&snapshotv1.Record{Body: &snapshotv1.Record_Header{Header: &snapshotv1.Header{
		Format: SnapshotFormat, FeatureVersion: s.feature, Index: s.index, ClusterId: s.clusterID,
	}}}); err != nil {
		return err
	}
	for _, m := range s.Members() {
		if err := w.write(&snapshotv1.Record{Body: &snapshotv1.Record_Member{Member: &snapshotv1.Member{
			Id: m.ID, PeerAddress: m.PeerAddress, RestAddress: m.RESTAddress, Incarnation: m.Incarnation, Versions: m.Versions,
			Alive: m.Alive, Draining: m.Draining, Leaving: m.Leaving,
		}}}); err != nil {
			return err
		}
	}
	for _, c := range sorted(s.connectors) {
		if err := w.write(&snapshotv1.Record{Body: &snapshotv1.Record_Connector{Connector: c.record()}}); err != nil {
			return err
		}
	}
	for _, a := range s.Assignments() {
		if err := w.write(&snapshotv1.Record{Body: &snapshotv1.Record_Assignment{Assignment: &snapshotv1.Assignment{
			Task: TaskToProto(a.Task), Node: a.Node, Epoch: a.Epoch, Revoked: a.Revoked, Next: a.Next,
		}}}); err != nil {
			return err
		}
	}
	for _, id := range s.order {
		o := s.requests[id]
		if err := w.write(&snapshotv1.Record{Body: &snapshotv1.Record_Request{Request: &snapshotv1.Request{
			Id: id, Index: o.Index, Code: o.Code, Message: o.Message, Created: o.Created,
		}}}); err != nil {
			return err
		}
	}
	return w.write(&snapshotv1.Record{Body: &snapshotv1.Record_End{End: &snapshotv1.End{Records: w.count, Crc32C: w.crc}}})
}

func (c *connector) record() *snapshotv1.Connector {
	r := &snapshotv1.Connector{
		Name: c.Name, Config: ConfigToProto(c.Config), Target: TargetToProto(c.Target), Version: c.Version, Generation: c.Generation,
		Run: c.run, State: StateToProto(c.state), Node: c.node, Trace: c.trace,
	}
	for _, t := range sorted(c.topics) {
		r.Topics = append(r.Topics, TopicToProto(t))
	}
	for _, name := range slices.Sorted(maps.Keys(c.gone)) {
		r.GoneTopics = append(r.GoneTopics, &raftv1.Topic{Name: name, Id: c.gone[name]})
	}
	for _, t := range c.sortedTasks() {
		r.Tasks = append(r.Tasks, &snapshotv1.Task{Task: TaskToProto(t.Task), Status: StatusToProto(t.status), Parked: t.parked})
	}
	for t := range c.active {
		r.ActiveTopics = append(r.ActiveTopics, t)
	}
	slices.Sort(r.ActiveTopics)
	return r
}

// Load reads what Save has written. A newer format or feature version is refused with ErrTooNew, damage with
// ErrCorrupt.
func Load(in io.Reader) (*State, error) {
	r := bufio.NewReaderSize(in, 1<<16)
	s := New()
	var crc uint32
	var count uint64
	for {
		size, err := binary.ReadUvarint(r)
		if err != nil || size > maxRecord {
			return nil, fmt.Errorf("read snapshot after %d records: %w", count, errors.Join(ErrCorrupt, err))
		}
		buf := binary.AppendUvarint(nil, size)
		head := len(buf)
		buf = append(buf, make([]byte, size)...)
		if _, err := io.ReadFull(r, buf[head:]); err != nil {
			return nil, fmt.Errorf("read snapshot after %d records: %w", count, errors.Join(ErrCorrupt, err))
		}
		rec := new(snapshotv1.Record)
		if err := proto.Unmarshal(buf[head:], rec); err != nil {
			return nil, fmt.Errorf("decode snapshot record %d: %w", count, errors.Join(ErrCorrupt, err))
		}
		if (count == 0) != (rec.GetHeader() != nil) {
			return nil, fmt.Errorf("snapshot record %d is out of place: %w", count, ErrCorrupt)
		}
		if end := rec.GetEnd(); end != nil {
			if end.GetRecords() != count || end.GetCrc32C() != crc {
				return nil, fmt.Errorf("snapshot has %d records with checksum %08x, wanted %d with %08x: %w",
					count, crc, end.GetRecords(), end.GetCrc32C(), ErrCorrupt)
			}
			return s, nil
		}
		if err := s.load(rec); err != nil {
			return nil, err
		}
		crc = crc32.Update(crc, castagnoli, buf)
		count++
	}
}

func (s *State) load(rec *snapshotv1.Record) error {
	switch b := rec.GetBody().(type) {
	case *snapshotv1.Record_Header:
		h := b.Header
		if h.GetFormat() > SnapshotFormat {
			return fmt.Errorf("snapshot has format %d, this binary reads up to %d: %w", h.GetFormat(), SnapshotFormat, ownership.ErrTooNew)
		}
		if h.GetFeatureVersion() > CommandVersion {
			return fmt.Errorf("the cluster is at command version %d, this binary knows up to %d: %w",
				h.GetFeatureVersion(), CommandVersion, ownership.ErrTooNew)
		}
		s.feature, s.index, s.clusterID = h.GetFeatureVersion(), h.GetIndex(), h.GetClusterId()
	case *snapshotv1.Record_Member:
		m := b.Member
		v := m.GetVersions()
		if v == nil {
			v = &raftv1.Versions{}
		}
		s.members[m.GetId()] = &Member{
			Member: ownership.Member{
				ID: m.GetId(), PeerAddress: m.GetPeerAddress(), RESTAddress: m.GetRestAddress(), Alive: m.GetAlive(),
				Draining: m.GetDraining(), Version: v.GetBinary(),
			},
			Incarnation: m.GetIncarnation(), Leaving: m.GetLeaving(), Versions: v,
		}
	case *snapshotv1.Record_Connector:
		s.loadConnector(b.Connector)
	case *snapshotv1.Record_Assignment:
		a := b.Assignment
		s.enter(&ownership.Assignment{
			Task: TaskFromProto(a.GetTask()), Node: a.GetNode(), Epoch: a.GetEpoch(), Revoked: a.GetRevoked(), Next: a.GetNext(),
		})
	case *snapshotv1.Record_Request:
		q := b.Request
		s.requests[q.GetId()] = Outcome{Index: q.GetIndex(), Code: q.GetCode(), Message: q.GetMessage(), Created: q.GetCreated()}
		s.order = append(s.order, q.GetId())
	default:
		return fmt.Errorf("snapshot has a record of a kind that this binary does not know: %w", ownership.ErrTooNew)
	}
	return nil
}

func (s *State) loadConnector(r *snapshotv1.Connector) {
	c := &connector{
		Connector: ownership.Connector{
			Name: r.GetName(), Config: ConfigFromProto(r.GetConfig()), Target: TargetFromProto(r.GetTarget()),
			Version: r.GetVersion(), Generation: r.GetGeneration(),
		},
		run: r.GetRun(), state: StateFromProto(r.GetState()), node: r.GetNode(), trace: r.GetTrace(),
		topics: map[string]ownership.Topic{}, gone: map[string]string{}, tasks: map[ownership.TaskID]*task{}, active: map[string]struct{}{},
	}
	for _, t := range r.GetTopics() {
		c.topics[t.GetName()] = TopicFromProto(t)
	}
	for _, t := range r.GetGoneTopics() {
		c.gone[t.GetName()] = t.GetId()
	}
	for _, t := range r.GetTasks() {
		def := TaskFromProto(t.GetTask())
		c.tasks[def.ID] = &task{Task: def, status: StatusFromProto(t.GetStatus()), parked: t.GetParked()}
	}
	for _, t := range r.GetActiveTopics() {
		c.active[t] = struct{}{}
	}
	s.connectors[c.Name] = c
}

// Adopt makes a state that was read from a backup fit for the cluster whose present state is live: its members and its
// name stay, nobody owns anything, and every connector starts again.
func (s *State) Adopt(live *State) {
	s.clusterID = live.clusterID
	s.feature = max(s.feature, live.feature)
	s.index = live.index
	s.members = map[string]*Member{}
	for _, m := range live.Members() {
		s.members[m.ID] = &m
	}
	s.requests, s.order = map[string]Outcome{}, nil
	for id, o := range live.requests {
		s.requests[id] = o
	}
	s.order = append(s.order, live.order...)
	s.assigned = map[ownership.TaskID]*ownership.Assignment{}
	s.byNode = map[string]map[ownership.TaskID]*ownership.Assignment{}
	s.held = map[partition]ownership.TaskID{}
	for _, c := range s.connectors {
		c.Version, c.Generation = s.index, s.index
		c.node = ""
		c.start(s.index)
		for _, t := range c.tasks {
			if !t.parked {
				t.status = ownership.TaskStatus{ID: t.ID, State: ownership.Unassigned}
			}
		}
	}
}
