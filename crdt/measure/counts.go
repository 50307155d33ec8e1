package measure

import (
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// counts is what is written down during a run.
type counts struct {
	config     Config
	born       map[crdt.Tag]time.Duration
	moved      map[crdt.Tag]time.Duration // when a replica last changed its UID
	depth      map[crdt.Tag]int
	clients    [][]*client // by replica
	lastChange time.Duration
	result     Result
}

func newCounts(c Config) *counts {
	n := &counts{
		config: c,
		born:   make(map[crdt.Tag]time.Duration), moved: make(map[crdt.Tag]time.Duration),
		depth: make(map[crdt.Tag]int), clients: make([][]*client, c.Replicas),
	}
	for i := range n.clients {
		if c.watched(i) {
			n.clients[i] = []*client{newClient(), newClient()}
			n.result.Clients++
		}
	}
	return n
}

// The two clients of a replica: the one is told each change at once (IDLE), the
// other asks now and then (NOOP).
const (
	idling = iota
	asking
)

// client remembers messages and the UIDs under which it has them.
type client struct {
	has   map[crdt.Tag]crdt.UID
	news  []crdt.Tag // changed since it asked
	again int        // messages downloaded that it had under another UID
}

func newClient() *client { return &client{has: make(map[crdt.Tag]crdt.UID)} }

// look tells the client how a message is shown.
func (c *client) look(m *crdt.Message) {
	old, known := c.has[m.Tag]
	if m.Exp == 0 || known && old == m.Exp {
		return
	}
	if known {
		c.again++
	}
	c.has[m.Tag] = m.Exp
}

// issued notes a new message.
func (n *counts) issued(tag crdt.Tag, at time.Duration) {
	n.result.Messages++
	n.born[tag] = at
}

// operation notes an operation that was broadcast.
func (n *counts) operation(op *crdt.Op, at time.Duration) {
	switch p := op.Payload.(type) {
	case *crdt.Append:
		return
	case *crdt.Reissue:
		n.result.Reissues += len(p.List)
		for _, x := range p.List {
			n.depth[x.Tag]++
			n.result.Depth = max(n.result.Depth, n.depth[x.Tag])
		}
		slot := int(at / Interval)
		for len(n.result.Timeline) <= slot {
			n.result.Timeline = append(n.result.Timeline, 0)
		}
		n.result.Timeline[slot] += len(p.List)
	}
	n.result.Operations++
	if data, err := crdt.EncodeOp(op); err == nil {
		n.result.Bytes += len(data)
	}
}

// shown notes what a replica's transaction changed for those who look.
func (n *counts) shown(r *replica) {
	for _, tag := range r.state.changed {
		m, err := r.state.Message(crdt.Inbox, tag)
		if r.fail("look", err) || m == nil {
			continue
		}
		if m.Exp == m.Reg { // also where nobody looks: all have it then
			n.moved[tag] = max(n.moved[tag], r.network.now)
		}
		for i, c := range n.clients[r.index] {
			if i == idling {
				c.look(m)
			} else {
				c.news = append(c.news, tag)
			}
		}
	}
}

// ask is the NOOP of a replica's second client.
func (n *counts) ask(r *replica) {
	c := n.clients[r.index][asking]
	for _, tag := range c.news {
		m, err := r.state.Message(crdt.Inbox, tag)
		if r.fail("look", err) || m == nil {
			continue
		}
		c.look(m)
	}
	c.news = c.news[:0]
}

// finish computes what is known only at the end.
func (n *counts) finish(end time.Duration) Result {
	for _, list := range n.clients {
		for i, c := range list {
			if i == idling {
				n.result.Idle += c.again
			} else {
				n.result.Polling += c.again
			}
		}
	}
	n.result.Settled = max(0, n.lastChange-end)
	for tag, born := range n.born {
		if n.config.Cut {
			born = end
		}
		n.result.Agreed = append(n.result.Agreed, n.moved[tag]-born)
	}
	slices.Sort(n.result.Agreed)
	return n.result
}
