package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
)

// Admin are the verbs of operators on the cluster as a whole.
type Admin interface {
	// Remove takes a member out of the cluster for good.
	Remove(ctx context.Context, member string) error
	// TransferLeader hands leadership to a member, to the most current one where it is empty.
	TransferLeader(ctx context.Context, member string) error
	// Snapshot writes what the cluster has agreed on; Restore replaces the connectors by those of a snapshot.
	Snapshot(ctx context.Context, w io.Writer) error
	Restore(ctx context.Context, r io.Reader) error
}

// snapshotBody is the body of GET and PUT /sluice/v1/cluster/snapshot; the bytes are base64 in JSON.
type snapshotBody struct {
	Snapshot []byte `json:"snapshot"`
}

func (s *Server) adminRoutes(on func(path string, methods ...method)) {
	if s.Admin == nil {
		return
	}
	on("/sluice/v1/cluster/members/{member}", does(http.MethodDelete, s.removeMember))
	on("/sluice/v1/cluster/leader", does(http.MethodPut, s.transferLeader))
	on("/sluice/v1/cluster/leader/{member}", does(http.MethodPut, s.transferLeader))
	on("/sluice/v1/cluster/snapshot", get(s.takeSnapshot), reads(http.MethodPut, s.restoreSnapshot))
}

func (s *Server) removeMember(r request) (answer, error) {
	doing(r.Context(), "waiting for the cluster to agree on node %s", r.vars["member"])
	if err := s.Admin.Remove(r.Context(), r.vars["member"]); err != nil {
		return answer{}, fmt.Errorf("remove %s: %w", r.vars["member"], err)
	}
	return empty(http.StatusNoContent)
}

func (s *Server) transferLeader(r request) (answer, error) {
	doing(r.Context(), "waiting for an election")
	if err := s.Admin.TransferLeader(r.Context(), r.vars["member"]); err != nil {
		return answer{}, fmt.Errorf("hand over leadership: %w", err)
	}
	return empty(http.StatusNoContent)
}

func (s *Server) takeSnapshot(r request) (answer, error) {
	var b bytes.Buffer
	if err := s.Admin.Snapshot(r.Context(), &b); err != nil {
		return answer{}, fmt.Errorf("take a snapshot: %w", err)
	}
	return ok(snapshotBody{b.Bytes()})
}

func (s *Server) restoreSnapshot(r request) (answer, error) {
	text, err := readBody(r.Request)
	if err != nil {
		return answer{}, err
	}
	var body snapshotBody
	if err := decode(text, &body); err != nil {
		return answer{}, err
	}
	if len(body.Snapshot) == 0 {
		return answer{}, fail(http.StatusBadRequest, "The body has no snapshot; send what GET /sluice/v1/cluster/snapshot gave")
	}
	doing(r.Context(), "waiting for the cluster to agree on the snapshot")
	if err := s.Admin.Restore(r.Context(), bytes.NewReader(body.Snapshot)); err != nil {
		return answer{}, fmt.Errorf("restore: %w", err)
	}
	return empty(http.StatusNoContent)
}
