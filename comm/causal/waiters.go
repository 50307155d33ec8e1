package causal

import (
	"iter"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Waiter is one wait for acknowledgements of an operation. It may be used again when
// it was released or cancelled.
type Waiter struct {
	dot      crdt.Dot
	deadline time.Time

	// Have is the number of peers that had the operation on disk when the wait
	// ended, Need how many were wanted.
	Have, Need int
	// Done is signalled by the caller of [Machine.Released]; the machine does
	// not touch it.
	Done chan struct{}
}

// waiters holds who waits. Those for own operations are ascending: whether a wait is
// over depends on the operation alone and, if it is over for n, it is so for all before
// n; so it is always a prefix of their list that is released. Few wait for others'.
type waiters struct {
	list     []*Waiter // for own operations
	others   []*Waiter
	released []*Waiter
}

// Satisfied returns the number of the last own operation that AckPeers peers
// have on disk.
func (m *Machine) Satisfied() uint64 {
	if m.cfg.AckPeers == 0 {
		return m.Own()
	}
	acked := make([]uint64, 0, 16)
	for _, p := range m.peers {
		acked = append(acked, p.has.Get(m.cfg.Self))
	}
	slices.Sort(acked)
	return acked[len(acked)-m.cfg.AckPeers]
}

// Wait begins to wait until AckPeers peers have an operation on disk, which is durable
// here. It reports whether that is decided already; if not, w comes out of
// [Machine.Released] when
//   - as many peers have it, whoever of them made it, or
//   - every connected peer that keeps up has it: the others are not waited for, or
//   - AckTimeout has passed. Then the peers that let it run out are not waited
//     for again until they have caught up.
//
// An operation of another member is waited for where its command is answered here,
// because that member was lost before it could. One that came here by other ways than
// its log is not.
func (m *Machine) Wait(now time.Time, w *Waiter, d crdt.Dot) bool {
	w.dot, w.deadline, w.Need = d, now.Add(m.cfg.AckTimeout), m.cfg.AckPeers
	if d.Origin != m.cfg.Self && m.logged.Get(d.Origin) < d.N {
		w.Need = 0
	}
	if m.decide(w) {
		return true
	}
	if d.Origin != m.cfg.Self {
		m.waiters.others = append(m.waiters.others, w)
		return false
	}
	list := m.waiters.list
	at := len(list)
	for at > 0 && list[at-1].dot.N > d.N {
		at--
	}
	m.waiters.list = slices.Insert(list, at, w)
	return false
}

// Cancel takes back a wait that was not released.
func (m *Machine) Cancel(w *Waiter) {
	for _, list := range []*[]*Waiter{&m.waiters.list, &m.waiters.others} {
		if i := slices.Index(*list, w); i >= 0 {
			*list = slices.Delete(*list, i, i+1)
		}
	}
}

// Waiting returns how many waits are under way.
func (m *Machine) Waiting() int { return len(m.waiters.list) + len(m.waiters.others) }

// all returns those for own operations, then the others.
func (ws *waiters) all() iter.Seq[*Waiter] {
	return func(yield func(*Waiter) bool) {
		for _, list := range [][]*Waiter{ws.list, ws.others} {
			for _, w := range list {
				if !yield(w) {
					return
				}
			}
		}
	}
}

// Released returns the waits that have ended since it was called last. The
// slice is valid until the next call of a method.
func (m *Machine) Released() []*Waiter {
	r := m.waiters.released
	m.waiters.released = r[:0]
	return r
}

// Deadline returns when the first wait runs out; false if nobody waits.
func (m *Machine) Deadline() (time.Time, bool) {
	first, found := time.Time{}, false
	for w := range m.waiters.all() {
		if !found || w.deadline.Before(first) {
			first, found = w.deadline, true
		}
	}
	return first, found
}

// decide reports whether w is over, and fills in how it ended.
func (m *Machine) decide(w *Waiter) bool {
	w.Have = 0
	hope := false
	for _, p := range m.peers {
		switch {
		case p.keeps(w.dot):
			w.Have++
		case p.connected && !p.behind:
			hope = true
		}
	}
	return w.Have >= w.Need || !hope
}

// keeps reports whether a peer is known to have an operation on its disk. Whoever made
// it has it.
func (p *peer) keeps(d crdt.Dot) bool {
	return p.has.Get(d.Origin) >= d.N || p.origin == d.Origin
}

// release moves those whose wait is over to the released ones.
func (m *Machine) release() {
	list, done := m.waiters.list, 0
	for done < len(list) && m.decide(list[done]) {
		done++
	}
	m.waiters.released = append(m.waiters.released, list[:done]...)
	m.waiters.list = slices.Delete(list, 0, done)
	m.waiters.others = slices.DeleteFunc(m.waiters.others, func(w *Waiter) bool {
		over := m.decide(w)
		if over {
			m.waiters.released = append(m.waiters.released, w)
		}
		return over
	})
}

// expire ends the waits whose time is over.
func (m *Machine) expire(now time.Time) {
	late := false
	for w := range m.waiters.all() {
		if now.Before(w.deadline) {
			continue
		}
		late = true
		for _, p := range m.peers {
			if p.connected && !p.keeps(w.dot) {
				p.behind = true
			}
		}
	}
	if late {
		m.release()
	}
}

// KeepsUp reports whether a peer is connected and has all own operations but the
// youngest.
func (m *Machine) KeepsUp(now time.Time, name string) bool {
	p := m.peer(name)
	return p != nil && p.connected && !p.behind && m.caughtUp(now, p)
}

// caughtUp reports whether a peer has all own operations but the youngest:
// under steady writes it never has quite all.
func (m *Machine) caughtUp(now time.Time, p *peer) bool {
	acked := p.has.Get(m.cfg.Self)
	return acked >= m.Own() || now.Sub(m.commits.at(acked+1)) < m.cfg.AckTimeout/2
}
