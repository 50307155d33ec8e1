package comm

import (
	"fmt"
	"time"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// Status is what a group knows of itself at one moment.
type Status struct {
	Subnet string
	Name   string
	Origin crdt.Origin
	Slot   crdt.Slot
	Logged crdt.VC // operations that are durable here
	Stable crdt.VC // those of them that every member has applied (crdt.md 6.2)

	Confirmed bool  // writes may be taken, see [Group.Confirmed]
	Joined    bool  // it has caught up with the subnet once
	Fault     error // why the replica has fenced itself; nil if it has not
	Isolated  error // why it takes no writes for want of peers; nil if it takes them
	Apply     error // why the last batch of received operations could not be applied

	QueuedOperations int // received, waiting for others
	QueuedBytes      int // received, not durable yet
	Queues           []causal.Queue
	Waiting          int // commits that wait for acknowledgements
	Peers            []PeerStatus

	Evicted []Eviction // incarnations that were

	Cut     crdt.VC     // where the log begins
	Loading bool        // accounts are being loaded
	Load    LoadStatus  // what of them, and which contents are missing
	Holds   []HoldState // for whom the log is kept
}

// HoldState is a member for which the log is kept: it loads accounts from here.
type HoldState struct {
	Peer   string
	Vector crdt.VC // behind which it is kept
	Until  time.Time
}

// PeerStatus is what a group knows of one peer.
type PeerStatus struct {
	Member
	Origin    crdt.Origin // 0 before the first connection
	Sending   bool        // the stream to it is up
	Receiving bool        // the stream from it is up
	Error     string      // why there is no stream to it
	Acked     crdt.VC     // what it has durably logged

	LagOperations uint64        // own operations that it lacks
	Lag           time.Duration // how long ago the first of them was committed
	Slot          crdt.Slot     // 0 before the first connection
	Behind        bool          // OKs do not wait for it until it has caught up
	Beyond        bool          // it lacks what is no longer in the log: it takes a snapshot
	Missing       uint64        // operations of its own that it told of and that are not here
	ClockSkew     time.Duration // its clock minus ours, one-way delay included
	Forwards      int           // third origins that are sent to it from here
}

// Status returns the present state.
func (g *Group) Status() Status {
	s := Status{Subnet: g.cfg.Subnet, Name: g.cfg.Name, Origin: g.origin, Slot: g.slot, Fault: g.Fault(),
		Cut: g.store.Cut(), Holds: g.giver.list()}
	s.Load, s.Loading = g.load.state()
	s.Isolated = g.Isolated()
	s.Evicted = g.evictions()
	select {
	case <-g.confirmed:
		s.Confirmed = true
	default:
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	s.Joined = g.joined
	s.Logged, s.Stable, s.Apply = g.core.Logged(), g.core.Stable(), g.applied
	s.QueuedOperations, s.QueuedBytes = g.core.Queued()
	s.Queues, s.Waiting = g.core.Queues(), g.core.Waiting()
	for i, p := range g.core.Peers(time.Now()) {
		ps := PeerStatus{
			Member: g.cfg.Peers[i], Origin: p.Origin, Sending: p.Connected, Acked: p.Has,
			LagOperations: p.Lag, Lag: p.Age, Behind: p.Behind, Beyond: p.Beyond, Forwards: p.Forwards,
		}
		rec := g.roster.record(p.Name)
		ps.Slot = crdt.Slot(rec.GetSlot())
		if ps.Origin == 0 {
			ps.Origin = crdt.Origin(rec.GetOrigin())
		}
		if why := g.senders[p.Name].trying.Load(); why != nil {
			ps.Error = *why
		}
		if in := g.inbound[p.Name]; in != nil {
			ps.Receiving = in.accepted.Load()
			ps.ClockSkew = time.Duration(in.skew.Load()) * time.Millisecond
			if told, have := in.announced.Load(), s.Logged.Get(in.origin); told > have {
				ps.Missing = told - have
			}
		}
		s.Peers = append(s.Peers, ps)
	}
	return s
}

// Ready reports whether the replica may serve: its slot is confirmed, it has what
// the subnet had when it came, and it has not fenced itself. It says nothing of
// peers: a replica serves without any.
func (s Status) Ready() bool { return s.Confirmed && s.Joined && s.Fault == nil }

// Degraded returns, one sentence each, what is not as it should be; nothing if
// all is well.
func (s Status) Degraded() []string {
	var list []string
	say := func(format string, args ...any) {
		list = append(list, fmt.Sprintf("subnet %s: ", s.Subnet)+fmt.Sprintf(format, args...))
	}
	if s.Fault != nil {
		say("fenced: %v", s.Fault)
	}
	if s.Isolated != nil {
		say("%v", s.Isolated)
	}
	if !s.Confirmed {
		say("slot %d is not confirmed by any peer yet", s.Slot)
	}
	if !s.Joined {
		say("it is new and has not caught up yet")
	}
	if s.Loading {
		say("%s", s.Load)
	}
	if s.Load.LeftOut > 0 {
		say("%d accounts were not given by any member and are not served here", s.Load.LeftOut)
	}
	if s.Load.Missing > 0 {
		say("%d contents are missing and are being got from peers", s.Load.Missing)
	}
	if s.Apply != nil {
		say("operations of peers cannot be applied: %v", s.Apply)
	}
	for _, p := range s.Peers {
		switch {
		case !p.Sending:
			say("no stream to %s: %s", p.Name, p.Error)
		case p.Beyond:
			say("%s lacks what is no longer in the log, it needs a snapshot", p.Name)
		case p.Behind:
			say("%s lacks %d operations, the first one for %v", p.Name, p.LagOperations, p.Lag.Round(time.Millisecond))
		}
		if !p.Receiving {
			say("no stream from %s", p.Name)
		}
	}
	return list
}

// publish updates the gauges.
func (g *Group) publish() {
	load, under := g.load.state()
	if !under {
		load.Accounts, load.Loaded = 0, 0
	}
	m := g.cfg.Metrics
	m.loadAccounts.WithLabelValues(g.cfg.Subnet).Set(float64(load.Accounts))
	m.loadLeft.WithLabelValues(g.cfg.Subnet).Set(float64(load.Accounts - load.Loaded))
	m.loadMissing.WithLabelValues(g.cfg.Subnet).Set(float64(load.Missing))
	g.mu.Lock()
	defer g.mu.Unlock()
	ops, bytes := g.core.Queued()
	g.queueOps.Set(float64(ops))
	g.queueBytes.Set(float64(bytes))
	for _, p := range g.core.Peers(time.Now()) {
		s := g.senders[p.Name]
		s.lagOps.Set(float64(p.Lag))
		s.lagSeconds.Set(p.Age.Seconds())
	}
}
