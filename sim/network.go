package sim

import (
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// stream is what one replica opened to another one: operations go to it,
// acknowledgements come back. Both directions are first in, first out.
type stream struct {
	from, to *node
	open     bool
	up       []frame   // under way
	down     []crdt.VC // under way back
	has      crdt.VC   // told last
}

// frame is an operation under way, with the contents that it brings, or a
// heartbeat.
type frame struct {
	chunks    []chunk
	entry     causal.Entry
	heartbeat crdt.VC // what the sender has applied; no operation is in the frame then
	clock     crdt.Time
}

type chunk struct {
	root  crdt.Root
	index int
	last  bool
	data  []byte
}

// passes reports whether messages get from one replica to another.
func (w *World) passes(from, to *node) bool { return !w.blocked[[2]int{from.id, to.id}] }

// connect opens the stream: the handshake takes both directions.
func (s *stream) connect() error {
	s.open, s.up, s.down = true, nil, nil
	from := s.from
	from.changed = true
	has := s.to.machine.Logged()
	s.has, s.to.acked = has, has
	if err := from.machine.Connected(from.w.wall(), s.to.name, s.to.replica.Origin(), has); err != nil {
		from.w.fail("protocol", "%s connects to %s: %v", from.name, s.to.name, err)
	}
	return nil
}

// cut ends a stream with all that is under way.
func (s *stream) cut() {
	if s.open && s.from.up {
		s.from.machine.Lost(s.to.name)
	}
	s.open, s.up, s.down = false, nil, nil
}

// unplug ends the streams of a replica that has stopped. What it has sent may
// still arrive.
func (n *node) unplug() {
	for _, peer := range n.w.nodes {
		if peer == n {
			continue
		}
		out := n.streams[peer.id]
		out.open, out.down = false, nil
		peer.streams[n.id].cut()
	}
}

// pump puts on the streams what the state machine wants to send.
func (n *node) pump() error {
	for _, peer := range n.w.nodes {
		s := n.streams[peer.id]
		if s == nil || !s.open {
			continue
		}
		for {
			more, err := n.send(s)
			if err != nil {
				return err
			}
			if !more {
				break
			}
		}
	}
	return nil
}

// send sends one range of operations, as comm's sender does.
func (n *node) send(s *stream) (more bool, err error) {
	next, ok := n.machine.Next(s.to.name)
	if !ok {
		return false, nil
	}
	list, err := n.replica.Read(next.Origin, next.From, next.Bytes)
	if errors.Is(err, mailstore.ErrCut) {
		// The peer has it by another way, which a new stream will find out.
		n.w.stats.Done["(cut)"]++
		s.cut()
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s reads its log: %w", n.name, err)
	}
	for i := range list {
		if list[i].Dot.N > next.To {
			list = list[:i]
			break
		}
	}
	if len(list) == 0 || list[0].Dot.N != next.From {
		n.w.fail("log", "%s: operation %d of %v is not in the log, which should go to %d", n.name, next.From, next.Origin, next.To)
		return false, nil
	}
	list = n.machine.Sending(s.to.name, list)
	for i := range list {
		chunks, err := n.chunks(&list[i])
		if err != nil {
			return false, err
		}
		s.up = append(s.up, frame{chunks: chunks, entry: list[i]})
	}
	return len(list) > 0, nil
}

// chunks reads the contents that an operation brings.
func (n *node) chunks(e *causal.Entry) ([]chunk, error) {
	var out []chunk
	for _, root := range e.Bodies {
		for i := 0; ; i++ {
			data, last, err := n.replica.BodyChunk(root, i)
			if err != nil {
				return nil, fmt.Errorf("%s reads a body: %w", n.name, err)
			}
			if data == nil && !last {
				break
			}
			out = append(out, chunk{root, i, last, data})
			if last {
				break
			}
		}
	}
	return out, nil
}

// arrives reports whether a message of the stream can reach its end now.
func (s *stream) arrives() bool { return len(s.up) > 0 && s.to.up && s.to.w.passes(s.from, s.to) }

// deliver brings up to count messages of a stream to its end.
func (s *stream) deliver(count int) error {
	n := s.to
	n.changed = true
	for ; count > 0 && len(s.up) > 0; count-- {
		f := s.up[0]
		s.up = s.up[1:]
		if f.heartbeat != nil {
			n.machine.Heard(s.from.name, s.from.origin, f.heartbeat)
			n.replica.Heard(s.from.origin, f.clock, f.heartbeat)
			continue
		}
		for _, c := range f.chunks {
			if err := n.replica.PutBodyChunk(c.root, c.index, c.data, c.last); err != nil {
				return fmt.Errorf("%s takes a body: %w", n.name, err)
			}
		}
		if _, err := n.machine.Receive(f.entry); err != nil {
			n.w.fail("protocol", "%s from %s: %v", n.name, s.from.name, err)
			return nil
		}
	}
	return nil
}

// apply applies what has arrived and acknowledges it.
func (n *node) apply() error {
	var store comm.Store = n.replica
	for {
		batch := n.machine.Batch()
		if len(batch) == 0 {
			break
		}
		if n.w.plant != nil {
			n.w.plant(n, batch)
		}
		if err := store.Apply(background, batch); err != nil {
			return fmt.Errorf("%s applies: %w", n.name, err)
		}
		n.changed = true
		if n.died() {
			return nil
		}
		n.machine.Applied()
		n.w.stats.Applied += len(batch)
	}
	n.acknowledge()
	return nil
}

// acknowledge tells the peers what is durable here.
func (n *node) acknowledge() {
	logged := n.machine.Logged()
	for _, peer := range n.w.nodes {
		if peer == n {
			continue
		}
		s := peer.streams[n.id]
		if !s.open || s.has.Equal(logged) {
			continue
		}
		s.down, s.has = append(s.down, logged), logged
		n.acked = logged
	}
}

// beat sends heartbeats, as comm does every second or so, unless there is one
// under way already.
func (n *node) beat() {
	logged := n.machine.Logged()
	for _, peer := range n.w.nodes {
		s := n.streams[peer.id]
		if s == nil || !s.open || len(logged) == 0 || len(s.up) > 0 && s.up[len(s.up)-1].heartbeat != nil {
			continue
		}
		s.up = append(s.up, frame{heartbeat: logged, clock: n.replica.Clock()}) // read after logged
	}
}

// stabilize tells the replica what is stable, and checks that it is (6.2).
func (n *node) stabilize() {
	n.machine.SetCut(n.replica.Cut())
	stable := n.machine.Stable()
	for _, peer := range n.w.nodes {
		if peer.serves() && !stable.LessEqual(peer.replica.Logged()) {
			n.w.fail("stable", "%s takes %v for stable, %s has %v", n.name, stable, peer.name, peer.replica.Logged())
		}
	}
	n.replica.Stable(stable, n.machine.Expendable())
}

// remember keeps of the peers what a new process is told: comm's peer records.
func (n *node) remember() {
	for _, peer := range n.w.nodes {
		if peer != n {
			origin, v := n.machine.Sure(peer.name)
			n.sure[peer.id] = sure{origin, v, n.machine.Epoch()}
		}
	}
}

// sure is what counts of a peer for stability.
type sure struct {
	origin crdt.Origin
	vector crdt.VC
	epoch  int
}

// recall tells a new state machine what was remembered.
func (n *node) recall() {
	for _, e := range n.w.evicted {
		n.machine.Evicted(e.name, e.origin)
	}
	for _, peer := range n.w.nodes {
		if s := n.sure[peer.id]; s.origin != 0 && s.epoch == n.machine.Epoch() {
			n.machine.Remember(peer.name, s.origin, s.vector)
		}
	}
}

// answer brings the acknowledgements of a stream back.
func (s *stream) answer() {
	for _, has := range s.down {
		if err := s.from.machine.Acked(s.from.w.wall(), s.to.name, has); err != nil {
			s.from.w.fail("protocol", "%s acknowledges to %s: %v", s.to.name, s.from.name, err)
		}
		s.from.machine.Heard(s.to.name, s.to.origin, has)
	}
	s.down = nil
	s.from.changed = true
}
