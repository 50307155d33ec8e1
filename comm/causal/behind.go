package causal

import (
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Standing is what a member tells of itself beside what it has.
type Standing struct {
	Cut     crdt.VC // where its log begins: the last numbers that are no longer in it
	Joined  bool    // it has caught up with the subnet once, or was there from the start
	Loading bool    // it takes snapshots itself, and can give none
	// Lost are origins whose own stream to it has broken: what it lacks of them it
	// gets only if somebody else sends it.
	Lost []crdt.Origin
}

// behind is about a replica that lacks operations which nobody in reach has in
// its log any more. It takes a snapshot of a peer instead (crdt.md 6.3).
type behind struct {
	since   time.Time // when that was first so; zero: it is not
	loading bool      // snapshots are being loaded
	from    string    // of whom; "" if that is not known
	gone    time.Time // since when that one is out of reach; zero: it is not
}

// Stands tells what a connected peer says of itself. It holds until the stream
// breaks.
func (m *Machine) Stands(now time.Time, name string, s Standing) {
	p := m.peer(name)
	if p == nil || !p.connected {
		return
	}
	s.Cut, s.Lost = s.Cut.Clone(), slices.Clone(s.Lost)
	for _, o := range p.standing().Lost {
		if !slices.Contains(s.Lost, o) {
			delete(p.routes, o) // it sends by itself again
		}
	}
	p.stands = &s
	m.join(now)
	m.watch(now)
}

// Load returns the peer whose accounts are to be loaded: none while the log of
// somebody in reach has what is missing here, and for LoadDelay after that, for
// others to connect. After [Machine.Loading] it returns one in any case, as long
// as somebody in reach can give: what was begun must be finished.
//
// A peer after whose snapshot nothing is out of reach comes before one that lacks
// more, and who has failed before comes after who has not. But the one of whom the
// load was begun, which keeps its log for it, may fail a few times, and be out of
// reach for LoadDelay.
func (m *Machine) Load(now time.Time) (name string, ok bool) {
	if !m.behind.loading && (m.behind.since.IsZero() || now.Sub(m.behind.since) < m.cfg.LoadDelay) {
		return "", false
	}
	if m.comesBack(now) {
		return "", false
	}
	var best *peer
	rank := 0
	for _, p := range m.peers {
		if !p.gives() || !m.behind.loading && !m.helps(p) {
			continue
		}
		failed := p.failed
		if p.name == m.behind.from {
			failed /= patience
		}
		r := m.leavesOut(p) + len(m.origins)*failed
		if best == nil || r < rank {
			best, rank = p, r
		}
	}
	if best == nil {
		return "", false
	}
	return best.name, true
}

// comesBack reports whether the one of whom a load was begun is out of reach, and
// not for long.
func (m *Machine) comesBack(now time.Time) bool {
	p := m.peer(m.behind.from)
	switch {
	case p == nil || p.gives():
		m.behind.gone = time.Time{}
		return false
	case m.behind.gone.IsZero():
		m.behind.gone = now
	}
	return now.Sub(m.behind.gone) < m.cfg.LoadDelay
}

// patience is how often whom a load was begun of may fail until another one is asked.
const patience = 3

// Loading tells that snapshots are being loaded, of the named peer; "" if an
// earlier life has begun that. [Machine.Loaded] ends it.
func (m *Machine) Loading(name string) { m.behind.loading, m.behind.from = true, name }

// LoadFailed tells that a peer did not give what it should.
func (m *Machine) LoadFailed(name string) {
	if p := m.peer(name); p != nil {
		p.failed++
	}
}

// Loaded tells that all accounts are loaded: the operations of v are durable
// here, though not in the log, which begins behind cut.
func (m *Machine) Loaded(now time.Time, v, cut crdt.VC) {
	m.behind = behind{}
	for _, p := range m.peers {
		p.failed = 0
	}
	for o, n := range v.All() {
		m.know(o)
		if n > m.logged.Get(o) {
			m.logged.Set(o, n)
		}
		m.skip(o)
	}
	m.SetCut(cut)
	m.join(now)
	m.watch(now)
}

// skip drops what waits of an origin and is here by another way. What was handed
// out as a batch stays until it is applied.
func (m *Machine) skip(o crdt.Origin) {
	q := m.in.queues[o]
	if q == nil {
		return
	}
	here, drop := m.logged.Get(o), 0
	for drop < len(q.entries) && q.entries[drop].Dot.N <= here {
		size := q.entries[drop].Size()
		q.bytes -= size
		m.in.bytes -= size
		drop++
	}
	q.entries = q.entries[drop:]
	m.in.count -= drop
	q.tail = max(q.tail, here)
	if q.bytes == 0 && len(q.entries) == 0 {
		delete(m.in.queues, o)
	}
}

// watch notes since when this replica is behind.
func (m *Machine) watch(now time.Time) {
	switch is := m.isBehind(); {
	case !is:
		m.behind.since = time.Time{}
	case m.behind.since.IsZero():
		m.behind.since = now
	}
}

func (m *Machine) isBehind() bool {
	for _, p := range m.peers {
		if m.helps(p) {
			return true
		}
	}
	return false
}

// helps reports whether a peer has operations that are missing here and that
// nobody in reach has in its log.
func (m *Machine) helps(p *peer) bool {
	if !p.connected {
		return false
	}
	for o := range p.durable().All() {
		if o != m.cfg.Self && p.durableAt(o) > m.reached(o) && !m.inSomeLog(o) {
			return true
		}
	}
	return false
}

// inSomeLog reports whether somebody in reach has in its log the operation of an
// origin that is missing here next.
func (m *Machine) inSomeLog(o crdt.Origin) bool {
	next := m.reached(o) + 1
	for _, p := range m.peers {
		if p.connected && p.durableAt(o) >= next && p.standing().Cut.Get(o) < next {
			return true
		}
	}
	return false
}

// leavesOut counts the origins of which operations would be out of reach after a
// snapshot of a peer.
func (m *Machine) leavesOut(p *peer) int {
	count := 0
	for _, q := range m.peers {
		if q == p || !q.connected {
			continue
		}
		for o, cut := range q.standing().Cut.All() {
			if max(m.reached(o), p.durableAt(o)) < cut {
				count++
			}
		}
	}
	return count
}

// reached returns the last operation of an origin that is here, applied or not.
func (m *Machine) reached(o crdt.Origin) uint64 {
	n := m.logged.Get(o)
	if q := m.in.queues[o]; q != nil {
		n = max(n, q.tail)
	}
	return n
}

// gives reports whether snapshots can be had of a peer.
func (p *peer) gives() bool {
	return p.connected && p.standing().Joined && !p.standing().Loading
}

func (p *peer) standing() Standing {
	if p.stands == nil {
		return Standing{}
	}
	return *p.stands
}

// Has returns the operations that a peer is known to have, of the incarnation that
// is or was connected.
func (m *Machine) Has(name string) crdt.VC {
	if p := m.peer(name); p != nil {
		return p.durable()
	}
	return nil
}

// durable returns the operations that the peer is known to have.
func (p *peer) durable() crdt.VC {
	v := p.has.Clone()
	if p.seen.origin == p.origin {
		v.Merge(p.seen.newest)
	}
	return v
}

// isBeyond reports whether a member that told of v lacks what is no longer in the
// log here. What it made itself it has, even if it told of less.
func (m *Machine) isBeyond(v crdt.VC, origin crdt.Origin) bool {
	return !m.cut.LessEqual(v.With(origin, max(v.Get(origin), m.cut.Get(origin))))
}

// beyond reports whether a peer needs operations of an origin from number n on
// that are no longer in the log here.
func (m *Machine) beyond(o crdt.Origin, n uint64) bool { return n <= m.cut.Get(o) }
