package coordinator

import (
	"context"
	"time"

	"sluice.io/sluice/coordinator/state"
)

// maxVoters bounds the nodes that vote: more would make every write wait for more disks without surviving more than
// anybody needs.
const maxVoters = 5

// nearLog is how far behind the commit index a follower may be when it gets a vote.
const nearLog = 256

// voter is what the choice of voters depends on, for one node.
type voter struct {
	id, address string
	votes       bool
	alive       bool
	stable      bool // alive long enough and near the end of the log: fit to vote
	deadFor     time.Duration
	leader      bool
}

// change is one step towards the right voters.
type change struct {
	promote, demote string
}

// nextVoter decides on one step: votes for fit followers up to an odd number of at most five, and no vote for the dead
// once there is somebody to take it or the rest is better off without it.
func nextVoter(all []voter, deadVoter time.Duration) (change, bool) {
	var votes, living, fit int
	for _, v := range all {
		if v.votes {
			votes++
			if v.alive {
				living++
			}
		} else if v.stable {
			fit++
		}
	}
	want := min(maxVoters, living+fit)
	if want%2 == 0 && want > 2 {
		want--
	}
	dead := -1
	for i, v := range all {
		if v.votes && !v.alive && v.deadFor >= deadVoter && (dead < 0 || v.deadFor > all[dead].deadFor) {
			dead = i
		}
	}
	// First the new voter, then the end of the dead one, so that there are never fewer living votes.
	if living < want && fit > 0 && (votes < maxVoters || dead >= 0) {
		for _, v := range all {
			if !v.votes && v.stable {
				if votes >= maxVoters {
					return change{demote: all[dead].id}, living > (votes-1)/2
				}
				return change{promote: v.id}, true
			}
		}
	}
	if dead >= 0 && living >= 3 && votes > living {
		return change{demote: all[dead].id}, true
	}
	return change{}, false
}

// voters takes one step a round towards the right set of voters.
func (l *leadership) voters(ctx context.Context) error {
	if time.Since(l.voted) < l.c.timing.Heartbeat {
		return nil
	}
	l.voted = time.Now()
	members := map[string]state.Member{}
	for _, m := range view(l.c.m, (*state.State).Members) {
		members[m.ID] = m
	}
	commit := l.c.node.CommitIndex()
	var all []voter
	for _, s := range l.c.node.Servers() {
		v := voter{id: s.ID, address: s.Address, votes: s.Voter, leader: s.ID == l.c.opts.NodeID}
		m, ok := members[s.ID]
		if ok {
			j := l.pulses.judge(ctx, m)
			v.alive = m.Alive && j.alive
			v.deadFor = j.silent
			fit := j.request != nil && time.Since(j.well) >= l.c.timing.Stable && j.request.GetAppliedIndex()+nearLog >= commit
			v.stable = v.alive && fit && !m.Leaving
		}
		all = append(all, v)
	}
	step, ok := nextVoter(all, l.c.timing.DeadVoter)
	if !ok {
		return nil
	}
	if step.promote != "" {
		for _, v := range all {
			if v.id == step.promote {
				l.c.log.Info("gives a vote", "member", v.id)
				return l.c.node.AddVoter(ctx, v.id, v.address)
			}
		}
	}
	l.c.log.Warn("takes the vote of a node that is gone", "member", step.demote)
	return l.c.node.Demote(ctx, step.demote)
}
