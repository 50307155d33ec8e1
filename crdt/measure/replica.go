package measure

import (
	"fmt"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

const (
	// begin is the wall clock of all replicas at the begin of a run, in Unix
	// milliseconds. That skew costs nothing here is by design: times decide about flags.
	begin = 1_750_000_000_000
	// tickDelay is how long refused UIDs wait for others of their kind, in
	// milliseconds: the mailstore's.
	tickDelay = 10
)

// replica is one member of the group.
type replica struct {
	network *network
	index   int
	self    crdt.Self
	state   *state
	clock   crdt.Clock
	vector  crdt.VC
	early   [][]*crdt.Op // by sender, in order: what waits for its dependencies
	wake    int64        // when the ticker will look next, Unix ms; 0 for never
	counts  *counts
	err     error // the first; a replica with an error stands still
}

func newReplica(n *network, index int, c *counts) *replica {
	slot := crdt.Slot(index + 1)
	return &replica{
		network: n, index: index, counts: c,
		self: crdt.Self{
			Origin: crdt.Origin(slot), Slot: slot, Separator: '/',
			Leader: n.config.leads(index), Rank: n.config.rank(index), Policy: n.config.policy(),
		},
		state: &state{
			Memory: crdt.NewMemory(), watched: n.config.watched(index),
			awaits: make(map[crdt.Instance]bool),
		},
		clock: crdt.Clock{Slot: slot},
		early: make([][]*crdt.Op, n.config.Replicas),
	}
}

// millis is the wall clock.
func (r *replica) millis() int64 { return begin + r.network.now.Milliseconds() }

// site is the replica at this moment, to prepare something or to look.
func (r *replica) site() *crdt.Site {
	return &crdt.Site{State: r.state, Self: r.self, Now: r.millis(), Mod: r.clock.Last}
}

// fail keeps the first error.
func (r *replica) fail(what string, err error) bool {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("replica %d at %v: %s: %w", r.index, r.network.now, what, err)
	}
	return r.err != nil
}

// open makes the record of the mailbox, as the first SELECT does.
func (r *replica) open() {
	s := r.site()
	s.Mod = r.clock.Bump(s.Now)
	_, _, err := s.Announce(crdt.Inbox)
	r.fail("announce", err)
}

// arrive appends a message that somebody sends to the account.
func (r *replica) arrive(root crdt.Root) {
	r.state.begin()
	add := []crdt.Added{{Root: root, Size: messageSize, Date: r.millis() / 1000}}
	p, err := r.site().PrepareAppend(crdt.Inbox, add, true)
	if r.fail("append", err) {
		return
	}
	tag := crdt.Tag{Origin: r.self.Origin, N: r.vector.Get(r.self.Origin) + 1}
	r.counts.issued(tag, r.network.now)
	r.own([]crdt.Payload{p})
	r.commit()
}

// receive takes an operation from a link.
func (r *replica) receive(from int, op *crdt.Op) {
	r.early[from] = append(r.early[from], op)
	for again := true; again; {
		again = false
		for i := range r.early {
			for len(r.early[i]) > 0 && r.early[i][0].Deps.LessEqual(r.vector) && r.err == nil {
				r.apply(r.early[i][0])
				r.early[i] = r.early[i][1:]
				again = true
			}
		}
	}
}

// apply is one transaction: an operation of a peer with what it brings about.
func (r *replica) apply(op *crdt.Op) {
	r.state.begin()
	r.clock.Observe(op.Time)
	before := r.clock.Last
	followup, err := r.effect(op, r.clock.Bump(r.millis()), before)
	if r.fail("apply", err) {
		return
	}
	r.own(followup)
	r.commit()
}

func (r *replica) effect(op *crdt.Op, mod, before crdt.Time) ([]crdt.Payload, error) {
	site := crdt.Site{State: r.state, Self: r.self, Now: r.millis(), Mod: mod, Before: before}
	followup, err := site.Apply(op)
	r.vector.Add(op.Dot)
	r.counts.lastChange = r.network.now
	return followup, err
}

// own makes payloads own operations, and what they bring about. What another
// payload of the list might contradict is left to the next tick.
func (r *replica) own(payloads []crdt.Payload) {
	for i := 0; i < len(payloads); i++ {
		op := &crdt.Op{
			Dot:     crdt.Dot{Origin: r.self.Origin, N: r.vector.Get(r.self.Origin) + 1},
			Deps:    r.vector.Clone(),
			Account: 1,
			Payload: payloads[i],
		}
		before := r.clock.Last
		op.Time = r.clock.Bump(r.millis())
		followup, err := r.effect(op, op.Time, before)
		if r.fail("own operation", err) {
			return
		}
		r.counts.operation(op, r.network.now)
		r.network.broadcast(r.index, op)
		if i == len(payloads)-1 {
			payloads = append(payloads, followup...)
		} else if len(followup) > 0 {
			r.soon(r.millis() + tickDelay)
		}
	}
}

// commit ends a transaction: clients see it, and the ticker what it left undone.
func (r *replica) commit() {
	r.counts.shown(r)
	switch {
	case !r.state.waits():
	case r.network.config.Rule == ByEverybody:
		r.tick()
	default:
		r.soon(r.millis() + tickDelay)
	}
}

// soon asks for a tick at a time in Unix milliseconds, or earlier.
func (r *replica) soon(at int64) {
	if r.wake != 0 && r.wake <= at {
		return
	}
	r.wake = at
	r.network.at(time.Duration(at-begin)*time.Millisecond, func() {
		if r.wake == at {
			r.wake = 0
			r.tick()
		}
	})
}

// tick is the mailstore's ticker.
func (r *replica) tick() {
	if r.err != nil {
		return
	}
	r.state.begin()
	payloads, next, err := r.site().Tick(false)
	if r.fail("tick", err) {
		return
	}
	if next != 0 {
		r.soon(next)
	}
	r.own(payloads)
	r.commit()
}
