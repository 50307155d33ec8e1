package causal

import (
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// presence is what is known of how far a peer has come, for causal stability
// (crdt.md 6.1, 6.2).
//
// That a peer has an operation says that nothing which it prepares from now on
// is concurrent with it. What the peer prepared before may still be on its way
// here: a vector counts only when all that it names is here as well.
type presence struct {
	origin  crdt.Origin   // the incarnation that these are of; 0: never heard of
	former  []crdt.Origin // those whose place it took
	newest  crdt.VC       // the last vector heard
	pending crdt.VC       // one heard earlier that is not all here yet
	sure    crdt.VC       // one that is all here
	live    bool          // newest was heard in this life: the peer is not further
}

// Heard tells that a peer, which has the given incarnation, has logged and
// applied the operations of applied: from acknowledgements and heartbeats. An
// incarnation that another one has replaced is not listened to any more.
func (m *Machine) Heard(name string, origin crdt.Origin, applied crdt.VC) {
	p := m.peer(name)
	if p == nil || origin == 0 || slices.Contains(p.seen.former, origin) {
		return
	}
	s := &p.seen
	if s.origin != origin {
		former := s.former
		if s.origin != 0 {
			former = append(former, s.origin)
		}
		*s = presence{origin: origin, former: former}
	}
	if !s.newest.LessEqual(applied) {
		return // an older one, which another stream has overtaken
	}
	s.newest, s.live = applied.Clone(), true
	if p.connected && p.origin == origin {
		// What it has by another way need not be sent, and may be cut from the
		// log before it would be.
		for o, r := range p.routes {
			r.acked(applied.Get(o))
		}
	}
}

// Told returns the incarnation of a peer that was heard last and what it told to
// have, in this life of this replica, or what is remembered of that from earlier
// ones. What it has on its disk is never less.
func (m *Machine) Told(name string) (crdt.Origin, crdt.VC) {
	p := m.peer(name)
	if p == nil {
		return 0, nil
	}
	return p.seen.origin, p.seen.newest.Clone()
}

// durableAt returns up to where the peer is known to have an origin's operations.
func (p *peer) durableAt(o crdt.Origin) uint64 {
	if p.seen.origin != p.origin {
		return p.has.Get(o)
	}
	return max(p.has.Get(o), p.seen.newest.Get(o))
}

// Evicted tells that a peer's incarnation is gone for ever. It is not listened to
// any more, and nothing becomes stable until its place is taken or nobody's.
//
// Nor does what other peers told until now count any more: they may have got
// operations of it later, which are concurrent with what all have. A peer that
// knows of the eviction gets none from elsewhere, so what it tells from now on
// names them all.
//
// What was received of it and cannot be applied yet is dropped: its contents may
// be lost before it can, and nobody could send them again. Whoever has applied it
// forwards it with them, on new streams.
func (m *Machine) Evicted(name string, o crdt.Origin) {
	m.drop(o)
	if m.evicted[o] {
		return
	}
	m.evicted[o] = true
	for _, p := range m.peers {
		p.seen = presence{origin: p.seen.origin, former: p.seen.former}
		if p.name != name {
			continue
		}
		if p.seen.former = append(p.seen.former, o); p.seen.origin == o {
			p.seen.origin = 0
		}
	}
}

// HasEvicted reports whether an incarnation is gone for ever.
func (m *Machine) HasEvicted(o crdt.Origin) bool { return m.evicted[o] }

// Epoch returns how many evictions were told.
func (m *Machine) Epoch() int { return len(m.evicted) }

// Remember tells, before the first input but [Machine.Evicted], what
// [Machine.Sure] returned in an earlier life of this replica and the same epoch.
func (m *Machine) Remember(name string, origin crdt.Origin, sure crdt.VC) {
	p := m.peer(name)
	if p == nil || origin == 0 || m.evicted[origin] {
		return
	}
	p.seen = presence{origin: origin, former: p.seen.former, sure: sure.Clone(), pending: sure.Clone(), newest: sure.Clone()}
}

// RememberBeyond tells, after Remember, that the peer was [Machine.IsBeyond] in the
// earlier life. The cut has not gone down since; so it is, unless it has got from
// others what it lacked, and then it is heard of before it matters.
func (m *Machine) RememberBeyond(name string) {
	if p := m.peer(name); p != nil && p.seen.origin != 0 {
		p.seen.live = true
	}
}

// IsBeyond reports whether a peer was heard to lack what is no longer in the log
// here.
func (m *Machine) IsBeyond(name string) bool {
	p := m.peer(name)
	return p != nil && p.seen.live && m.isBeyond(p.seen.newest, p.seen.origin)
}

// Sure returns what counts of a peer for stability, and the incarnation that it
// is of. It is to be remembered over restarts: less than it makes the stable
// vector lower than it is, never wrong.
func (m *Machine) Sure(name string) (crdt.Origin, crdt.VC) {
	p := m.peer(name)
	if p == nil {
		return 0, nil
	}
	return p.seen.origin, p.seen.sure.Clone()
}

// SetCut tells where the log begins here. A peer that has less cannot get what
// it lacks as operations.
func (m *Machine) SetCut(cut crdt.VC) { m.cut = cut.Clone() }

// Stable returns the operations that are causally stable: every member has
// logged and applied them, and what members made before that is here. What is
// prepared anywhere from now on comes after all of them. It never goes down.
func (m *Machine) Stable() crdt.VC {
	m.stable.Merge(m.applied(func(*peer) bool { return true }))
	return m.stable.Clone()
}

// Expendable returns the operations whose place in the log, and the contents that
// they have removed, nobody needs: as Stable, but without the members that are
// behind the cut. Those take a snapshot, and what they made meanwhile brings the
// contents that it refers to. So will whoever takes the place of a member that was
// evicted. It never goes down.
//
// That a peer is behind must have been heard, now or in an earlier life: what is
// remembered of it otherwise may be older than the cut.
func (m *Machine) Expendable() crdt.VC {
	m.expendable.Merge(m.applied(func(p *peer) bool {
		vacant := p.seen.origin == 0 && len(p.seen.former) > 0
		return !vacant && (!p.seen.live || !m.isBeyond(p.seen.newest, p.seen.origin))
	}))
	return m.expendable.Clone()
}

// applied returns what all members have applied that count.
func (m *Machine) applied(counts func(*peer) bool) crdt.VC {
	v := m.logged.Clone()
	for _, p := range m.peers {
		p.seen.settle(m.logged)
		if counts(p) {
			v = v.Min(p.seen.sure)
		}
	}
	return v
}

// settle takes over what has become sure since it was called last. A peer that
// never stops writing is always a little ahead of what is here of it; so one
// vector of it is kept until it is all here.
func (s *presence) settle(here crdt.VC) {
	if s.newest.LessEqual(here) {
		s.pending = s.newest.Clone()
	}
	if !s.pending.LessEqual(here) {
		return
	}
	s.sure.Merge(s.pending)
	s.pending = s.newest.Clone()
}
