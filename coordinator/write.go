package coordinator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"google.golang.org/protobuf/proto"

	"sluice.io/sluice/coordinator/raftnode"
	"sluice.io/sluice/coordinator/state"
	"sluice.io/sluice/internal/ownership"
	peerv1 "sluice.io/sluice/proto/peer/v1"
	raftv1 "sluice.io/sluice/proto/raft/v1"
)

// apply proposes a command on this node, which has to lead.
func (c *Coordinator) apply(ctx context.Context, cmd *raftv1.Command) (state.Result, error) {
	cmd.MinVersion = max(cmd.MinVersion, 1)
	// D10: a command is proposed only when every member is new enough. Version 1 is what all have ever known.
	if feature := view(c.m, (*state.State).FeatureVersion); cmd.MinVersion > max(feature, 1) {
		return state.Result{}, ownership.Errorf(ownership.ErrConflict, "this needs command version %d and the cluster is at %d, since not every node is new enough: upgrade all of them",
			cmd.MinVersion, feature)
	}
	data, err := proto.Marshal(cmd)
	if err != nil {
		return state.Result{}, fmt.Errorf("marshal command: %w", err)
	}
	_, v, err := c.node.Apply(ctx, data)
	if err != nil {
		return state.Result{}, err
	}
	res, ok := v.(state.Result)
	if !ok {
		return state.Result{}, fmt.Errorf("the state machine answered %T", v)
	}
	return res, nil
}

// command writes a command through whoever leads and waits until this node has applied it.
func (c *Coordinator) command(ctx context.Context, cmd *raftv1.Command) (*peerv1.ForwardResponse, error) {
	return c.write(ctx, &peerv1.ForwardRequest{Op: &peerv1.ForwardRequest_Command{Command: cmd}})
}

// write brings a request to the leader, waiting for one within bounds, and then until this node has applied what came
// of it: the caller reads its own write here. A request with an id may be sent again after an unknown outcome.
func (c *Coordinator) write(ctx context.Context, req *peerv1.ForwardRequest) (*peerv1.ForwardResponse, error) {
	resp, err := c.toLeader(ctx, &peerv1.Request{Body: &peerv1.Request_Forward{Forward: req}}, func(ctx context.Context) *peerv1.Response {
		return c.serveForward(ctx, req)
	})
	if err != nil {
		return nil, err
	}
	fwd := resp.GetForward()
	wctx, cancel := context.WithTimeout(ctx, c.timing.Write)
	defer cancel()
	if err := c.m.waitIndex(wctx, fwd.GetIndex()); err != nil {
		return nil, fmt.Errorf("the write is agreed on (raft index %d), but this node has not followed in time: %w",
			fwd.GetIndex(), errors.Join(ownership.ErrTimeout, err))
	}
	return fwd, nil
}

// toLeader gets a request answered by the leader, here or elsewhere.
func (c *Coordinator) toLeader(ctx context.Context, req *peerv1.Request, local func(context.Context) *peerv1.Response) (*peerv1.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, c.timing.Write)
	defer cancel()
	var last error
	unknown := false
	for first := true; ; first = false {
		if !first && !sleep(ctx, 20*time.Millisecond) {
			kind := ownership.ErrNoLeader
			if unknown {
				kind = errors.Join(ownership.ErrNoLeader, ownership.ErrTimeout)
			}
			if last == nil {
				return nil, fmt.Errorf("waited %s for a leader: %w", c.timing.Write, kind)
			}
			return nil, fmt.Errorf("waited %s for a leader (%v): %w", c.timing.Write, last, kind)
		}
		var resp *peerv1.Response
		if c.leading() != nil {
			resp = local(ctx)
		} else {
			_, addr := c.node.Leader()
			if addr == "" || addr == c.opts.PeerAdvertised {
				continue
			}
			var err error
			// One attempt gets a part of the time: the node that led may be gone without a trace.
			actx, acancel := context.WithTimeout(ctx, max(c.timing.Write/4, time.Second))
			resp, err = c.call(actx, addr, req)
			acancel()
			if err != nil {
				last, unknown = err, true
				continue
			}
		}
		switch resp.GetCode() {
		case "":
			return resp, nil
		case codeNotLeader, codeStarting, codeNoLeader:
			last = errors.New(resp.GetMessage())
		case codeUnknown:
			last, unknown = errors.New(resp.GetMessage()), true
		case codeWrongCluster:
			return nil, errors.New(resp.GetMessage())
		default:
			return nil, state.FromCode(resp.GetCode(), resp.GetMessage())
		}
	}
}

// call sends a request to a peer.
func (c *Coordinator) call(ctx context.Context, addr string, req *peerv1.Request) (*peerv1.Response, error) {
	req = &peerv1.Request{ClusterId: c.ClusterID(), Body: req.GetBody()}
	return c.client.Call(ctx, addr, req)
}

// serveForward executes a write on the leader.
func (c *Coordinator) serveForward(ctx context.Context, req *peerv1.ForwardRequest) *peerv1.Response {
	if c.leading() == nil {
		return c.notLeader()
	}
	var res state.Result
	var err error
	switch op := req.GetOp().(type) {
	case *peerv1.ForwardRequest_Command:
		if put := op.Command.GetPutConnector(); put != nil {
			res, err = c.putOnLeader(ctx, op.Command, put)
		} else {
			res, err = c.apply(ctx, op.Command)
		}
	case *peerv1.ForwardRequest_Patch:
		res, err = c.patchOnLeader(ctx, op.Patch)
	case *peerv1.ForwardRequest_Read:
		if err = c.node.Verify(ctx); err == nil {
			res.Index = view(c.m, (*state.State).Index)
		}
	default:
		return refuse("unimplemented", errors.New("the leader does not know this request; upgrade it"))
	}
	if err == nil {
		err = res.Err
	}
	if err != nil {
		return c.failure(err)
	}
	fwd := &peerv1.ForwardResponse{Index: res.Index, Created: res.Created, RestartedConnector: res.RestartedConnector}
	if k := res.Connector; k != nil {
		fwd.Connector = &peerv1.Connector{
			Name: k.Name, Config: state.ConfigToProto(k.Config), Target: state.TargetToProto(k.Target), Version: k.Version, Generation: k.Generation,
		}
	}
	for _, id := range res.RestartedTasks {
		fwd.RestartedTasks = append(fwd.RestartedTasks, state.TaskIDToProto(id))
	}
	return &peerv1.Response{Body: &peerv1.Response_Forward{Forward: fwd}}
}

// failure maps an error of the leader to an answer.
func (c *Coordinator) failure(err error) *peerv1.Response {
	switch {
	case errors.Is(err, raftnode.ErrUnknown):
		return refuse(codeUnknown, err)
	case errors.Is(err, raftnode.ErrNotLeader), errors.Is(err, raftnode.ErrClosed):
		return c.notLeader()
	default:
		return refuse(state.Code(err), err)
	}
}

// answered gives the outcome of a request that was answered before, by this leader or a former one.
func (c *Coordinator) answered(id string) (state.Result, bool) {
	if id == "" {
		return state.Result{}, false
	}
	o, ok := view2(c.m, func(s *state.State) (state.Outcome, bool) { return s.Request(id) })
	return state.Result{Err: state.FromCode(o.Code, o.Message), Index: o.Index, Created: o.Created}, ok
}

// putOnLeader judges and writes a configuration. Configurations are written one at a time, so that what is judged is
// what will be.
func (c *Coordinator) putOnLeader(ctx context.Context, cmd *raftv1.Command, put *raftv1.PutConnector) (state.Result, error) {
	c.configs.Lock()
	defer c.configs.Unlock()
	if res, ok := c.answered(cmd.GetRequestId()); ok {
		return res, nil
	}
	candidate := ownership.Connector{
		Name: put.GetName(), Config: state.ConfigFromProto(put.GetConfig()), Target: state.TargetFromProto(put.GetInitial()),
	}
	old, exists := view2(c.m, func(s *state.State) (ownership.Connector, bool) { return s.Connector(candidate.Name) })
	if exists {
		candidate.Target = old.Target
	}
	// A name that is taken is refused as such, whatever the configuration; the log decides in the end.
	if put.GetMode() != raftv1.PutConnector_MODE_CREATE || !exists {
		if err := c.validate(ctx, candidate); err != nil {
			return state.Result{}, err
		}
	}
	return c.apply(ctx, cmd)
}

func (c *Coordinator) validate(ctx context.Context, candidate ownership.Connector) error {
	if c.opts.Validate == nil {
		return nil
	}
	var others []ownership.Connector
	for _, o := range view(c.m, (*state.State).Connectors) {
		if o.Name != candidate.Name {
			others = append(others, o)
		}
	}
	return c.opts.Validate(ctx, candidate, others)
}

// patchOnLeader merges on the leader, so that of two patches at once none is lost.
func (c *Coordinator) patchOnLeader(ctx context.Context, p *peerv1.PatchConnector) (state.Result, error) {
	c.configs.Lock()
	defer c.configs.Unlock()
	if res, ok := c.answered(p.GetRequestId()); ok {
		return res, nil
	}
	old, ok := view2(c.m, func(s *state.State) (ownership.Connector, bool) { return s.Connector(p.GetName()) })
	if !ok {
		return state.Result{Err: fmt.Errorf("connector %s: %w", p.GetName(), ownership.ErrNotFound)}, nil
	}
	next := old
	next.Config = maps.Clone(old.Config)
	for _, kv := range p.GetSet() {
		next.Config[kv.GetKey()] = kv.GetValue()
	}
	for _, k := range p.GetRemove() {
		delete(next.Config, k)
	}
	if err := c.validate(ctx, next); err != nil {
		return state.Result{}, err
	}
	return c.apply(ctx, &raftv1.Command{RequestId: p.GetRequestId(), Body: &raftv1.Command_PutConnector{PutConnector: &raftv1.PutConnector{
		Name: p.GetName(), Config: state.ConfigToProto(next.Config), Mode: raftv1.PutConnector_MODE_REPLACE, IfVersion: old.Version,
	}}})
}
