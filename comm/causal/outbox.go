package causal

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// peer is what a replica keeps of another one.
type peer struct {
	name      string
	origin    crdt.Origin // of the incarnation connected last; 0 before
	connected bool
	has       crdt.VC // durable there, as it told last
	routes    map[crdt.Origin]*route
	next      int // index into origins where Next begins, for fairness

	// behind: it is not waited for, because it let a wait run out or has not
	// caught up since it connected.
	behind bool

	seen presence // see stable.go

	// See behind.go and join.go.
	stands  *Standing // nil until it has told on this stream
	failed  int       // how often loading from it has failed
	greeted bool      // goal is what it had when it was met first
	goal    crdt.VC
}

// route is the cursor of one origin's operations at one peer.
//
// Invariant: flight holds the operations after has[origin] up to sent, in order.
type route struct {
	sent   uint64
	flight []inFlight
	bytes  int  // of flight
	full   bool // the next operation does not fit the window

	// For third origins: forward tells that this replica sends them; stalled
	// since when the peer's vector stood at mark.
	forward bool
	mark    uint64
	stalled time.Time
}

type inFlight struct {
	n    uint64
	size int
}

// Connected tells that a stream to the peer is up, which has the given
// incarnation and has logged the operations of has.
func (m *Machine) Connected(now time.Time, name string, origin crdt.Origin, has crdt.VC) error {
	p := m.peer(name)
	if p == nil {
		return fmt.Errorf("%w: %q is not a configured peer", ErrProtocol, name)
	}
	if n := has.Get(m.cfg.Self); n > m.Own() {
		return fmt.Errorf("%w: %q has operation %d of this replica, the last one here is %d", ErrStale, name, n, m.Own())
	}
	p.origin, p.connected, p.has, p.stands = origin, true, has.Clone(), nil
	p.routes = make(map[crdt.Origin]*route)
	for o := range has.All() {
		m.hear(o)
	}
	p.behind = !m.caughtUp(now, p)
	m.release()
	return nil
}

// hear notes an origin that a peer knows, unless there are too many.
func (m *Machine) hear(o crdt.Origin) {
	if len(m.origins) < MaxOrigins {
		m.know(o)
	}
}

// Lost tells that the stream to the peer broke.
func (m *Machine) Lost(name string) {
	if p := m.peer(name); p != nil {
		p.connected, p.stands = false, nil
		p.routes = make(map[crdt.Origin]*route)
		m.release()
	}
}

// Acked tells that the peer has durably logged the operations of has, which is
// never less than it told before.
func (m *Machine) Acked(now time.Time, name string, has crdt.VC) error {
	p := m.peer(name)
	if p == nil || !p.connected {
		return nil
	}
	if n := has.Get(m.cfg.Self); n > m.Own() {
		return fmt.Errorf("%w: %q acknowledged operation %d of this replica, the last one here is %d", ErrStale, name, n, m.Own())
	}
	if !p.has.LessEqual(has) {
		return fmt.Errorf("%w: %q acknowledged less than before: %v, then %v", ErrProtocol, name, p.has, has)
	}
	p.has = has.Clone()
	for o, r := range p.routes {
		r.acked(p.has.Get(o))
	}
	if p.behind {
		p.behind = !m.caughtUp(now, p)
	}
	m.release()
	return nil
}

func (r *route) acked(n uint64) {
	done := 0
	for done < len(r.flight) && r.flight[done].n <= n {
		r.bytes -= r.flight[done].size
		done++
	}
	if done > 0 {
		r.flight = r.flight[done:]
		r.full = false
	}
	r.sent = max(r.sent, n)
}

// Read says what to read from the log for a peer: operations of Origin from
// number From to To, about Bytes bytes of them, but at least one.
type Read struct {
	Origin   crdt.Origin
	From, To uint64
	Bytes    int
}

// Next says what to send to a connected peer next; false if there is nothing, the
// peer has not acknowledged enough, or what it lacks is no longer in the log: then
// it takes a snapshot. The caller reads it and passes what
// it got to [Machine.Sending].
func (m *Machine) Next(name string) (Read, bool) {
	p := m.peer(name)
	if p == nil || !p.connected {
		return Read{}, false
	}
	for i := range m.origins {
		at := (p.next + i) % len(m.origins)
		o := m.origins[at]
		r := m.routeTo(p, o)
		if r == nil || r.full {
			continue
		}
		if to := m.logged.Get(o); r.sent < to && !m.beyond(o, r.sent+1) {
			p.next = at + 1
			return Read{Origin: o, From: r.sent + 1, To: to, Bytes: min(m.cfg.SendBytes, max(m.cfg.Window-r.bytes, 1))}, true
		}
	}
	return Read{}, false
}

// Pending reports whether [Machine.Next] would say something.
func (m *Machine) Pending(name string) bool {
	p := m.peer(name)
	if p == nil || !p.connected {
		return false
	}
	for _, o := range m.origins {
		if r := m.routeTo(p, o); r != nil && !r.full && r.sent < m.logged.Get(o) && !m.beyond(o, r.sent+1) {
			return true
		}
	}
	return false
}

// routeTo returns the cursor by which this replica sends operations of o to p,
// nil if it does not.
func (m *Machine) routeTo(p *peer, o crdt.Origin) *route {
	r := p.routes[o]
	switch {
	case o == p.origin:
		return nil
	case r == nil && o == m.cfg.Self:
		r = &route{sent: p.durableAt(o)}
		p.routes[o] = r
	case o != m.cfg.Self && (r == nil || !r.forward):
		if !m.isLost(p, o) || p.durableAt(o) >= m.logged.Get(o) {
			return nil
		}
		r = &route{forward: true, sent: p.durableAt(o)}
		p.routes[o] = r
	}
	return r
}

// isLost reports whether a peer cannot get an origin's operations from the origin
// itself, because its stream broke or it was evicted: there is no sense in holding
// them back.
func (m *Machine) isLost(p *peer, o crdt.Origin) bool {
	return m.cfg.ForwardDelay >= 0 && (m.evicted[o] || p.stands != nil && slices.Contains(p.stands.Lost, o))
}

// Sending is given what was read for [Machine.Next], in order, and returns the
// part of it that may be sent now; the caller must send it or end the stream.
func (m *Machine) Sending(name string, list []Entry) []Entry {
	p := m.peer(name)
	if p == nil || !p.connected || len(list) == 0 {
		return nil
	}
	o := list[0].Dot.Origin
	r := m.routeTo(p, o)
	if r == nil {
		return nil
	}
	to := m.logged.Get(o)
	for i := range list {
		n, size := list[i].Dot.N, list[i].Size()
		if list[i].Dot.Origin != o || n != r.sent+1 || n > to {
			return list[:i]
		}
		if r.bytes > 0 && r.bytes+size > m.cfg.Window {
			r.full = true
			return list[:i]
		}
		r.sent = n
		r.bytes += size
		r.flight = append(r.flight, inFlight{n, size})
	}
	return list
}

// forward decides which third origins' operations this replica sends to which
// peers: those that a peer lacks and has not come nearer to for ForwardDelay.
// Those of an origin whose stream the peer has lost are sent without that delay
// (routeTo).
// Once begun it goes on until the peer has all that is here.
func (m *Machine) forward(now time.Time) {
	if m.cfg.ForwardDelay < 0 {
		return
	}
	for _, p := range m.peers {
		if !p.connected {
			continue
		}
		for _, o := range m.origins {
			if o != m.cfg.Self && o != p.origin {
				m.forwardOrigin(now, p, o)
			}
		}
	}
}

func (m *Machine) forwardOrigin(now time.Time, p *peer, o crdt.Origin) {
	has, r := p.durableAt(o), p.routes[o]
	switch {
	case has >= m.logged.Get(o) || m.beyond(o, has+1):
		delete(p.routes, o)
	case r == nil:
		p.routes[o] = &route{mark: has, stalled: now}
	case r.forward:
	case r.mark != has:
		r.mark, r.stalled = has, now
	case now.Sub(r.stalled) >= m.cfg.ForwardDelay:
		*r = route{forward: true, sent: has}
	}
}

// PeerState is what is known of a peer.
type PeerState struct {
	Name      string
	Origin    crdt.Origin
	Connected bool
	Behind    bool          // not waited for
	Beyond    bool          // lacks what is no longer in the log here: needs a snapshot
	Has       crdt.VC       // durable there
	Lag       uint64        // own operations that it lacks
	Age       time.Duration // how long ago the first of them was committed
	Forwards  int           // third origins that are sent to it from here
}

// Peers describes all configured peers.
func (m *Machine) Peers(now time.Time) []PeerState {
	list := make([]PeerState, 0, len(m.peers))
	for _, p := range m.peers {
		s := PeerState{Name: p.name, Origin: p.origin, Connected: p.connected, Behind: p.behind, Has: p.has.Clone()}
		if acked := p.has.Get(m.cfg.Self); acked < m.Own() {
			s.Lag = m.Own() - acked
			s.Age = now.Sub(m.commits.at(acked + 1))
		}
		for _, r := range p.routes {
			if r.forward {
				s.Forwards++
			}
		}
		s.Beyond = p.origin != 0 && m.isBeyond(p.durable(), p.origin)
		list = append(list, s)
	}
	return list
}
