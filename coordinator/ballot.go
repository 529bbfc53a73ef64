package coordinator

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	peerv1 "sluice.io/sluice/proto/peer/v1"
)

// ballot is this node's one consent to the forming of a cluster. It is on disk, so that a node which restarts between
// two questions does not consent twice.
type ballot struct {
	mu    sync.Mutex
	path  string // empty: in memory, for tests
	voted string
}

const ballotFile = "consent" // in data.dir/raft; holds the candidate's node.id

func (b *ballot) open(dir string) error {
	if dir == "" {
		return nil
	}
	b.path = filepath.Join(dir, ballotFile)
	data, err := os.ReadFile(b.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read consent: %w", err)
	}
	b.voted = strings.TrimSpace(string(data))
	return nil
}

// grant consents to a candidate unless another one has the consent, and says who has it.
func (b *ballot) grant(candidate string) (ok bool, has string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.voted == "" {
		if err := b.write(candidate); err != nil {
			return false, "", err
		}
	}
	return b.voted == candidate, b.voted, nil
}

// withdraw takes a candidate's word that it will not use the consent.
func (b *ballot) withdraw(candidate string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.voted != candidate {
		return nil
	}
	return b.write("")
}

func (b *ballot) write(candidate string) error {
	if b.path != "" {
		if err := writeSmall(b.path, candidate); err != nil {
			return fmt.Errorf("write consent: %w", err)
		}
	}
	b.voted = candidate
	return nil
}

// serveVote answers a candidate.
func (c *Coordinator) serveVote(req *peerv1.VoteRequest) *peerv1.Response {
	if req.GetWithdraw() {
		if err := c.vote.withdraw(req.GetCandidateId()); err != nil {
			return refuse("internal", err)
		}
		return &peerv1.Response{Body: &peerv1.Response_Vote{Vote: &peerv1.VoteResponse{}}}
	}
	if formed, err := c.node.Formed(); err != nil || formed {
		return &peerv1.Response{Body: &peerv1.Response_Vote{Vote: &peerv1.VoteResponse{VotedFor: "a cluster that exists"}}}
	}
	ok, has, err := c.vote.grant(req.GetCandidateId())
	if err != nil {
		return refuse("internal", err)
	}
	return &peerv1.Response{Body: &peerv1.Response_Vote{Vote: &peerv1.VoteResponse{Granted: ok, VotedFor: has}}}
}
