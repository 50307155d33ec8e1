package causal

import (
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// inbox holds what was received and is not applied yet.
//
// Invariant: a queue's entries have consecutive numbers, the last one is tail,
// and the one before the first is logged or in the batch that is being applied.
type inbox struct {
	queues map[crdt.Origin]*queue
	flight []Entry // handed out by Batch, not yet confirmed by Applied
	next   int     // index into origins where the next batch begins, for fairness
	bytes  int     // of all queues, with flight
	count  int     // of all queues, without flight
}

type queue struct {
	entries []Entry
	tail    uint64 // number of the last entry accepted
	bytes   int    // of entries and of this origin's part of flight
}

// Receive takes an operation from a peer. It reports whether it was new. An
// error that wraps [ErrProtocol] means that the peer's stream must end, one
// that wraps [ErrStale] that this replica must stop taking writes as well.
// e belongs to the machine from now on.
func (m *Machine) Receive(e Entry) (bool, error) {
	o, n := e.Dot.Origin, e.Dot.N
	if err := m.check(&e); err != nil {
		return false, err
	}
	q := m.in.queues[o]
	tail := m.logged.Get(o)
	if q != nil {
		tail = max(tail, q.tail)
	}
	if n <= tail {
		return false, nil
	}
	if n != tail+1 {
		return false, fmt.Errorf("%w: operation %d of %s came after %d", ErrProtocol, n, o, tail)
	}
	if q == nil {
		if !m.known(o) && len(m.origins) >= MaxOrigins {
			return false, fmt.Errorf("%w: operation of %s, but %d origins are known already", ErrProtocol, o, len(m.origins))
		}
		q = &queue{tail: tail}
		m.in.queues[o] = q
		m.know(o)
	}
	size := e.Size()
	if q.bytes > 0 && q.bytes+size > m.cfg.Window {
		return false, fmt.Errorf("%w: operation %d of %s exceeds the window of %d bytes", ErrProtocol, n, o, m.cfg.Window)
	}
	q.entries = append(q.entries, e)
	q.tail = n
	q.bytes += size
	m.in.bytes += size
	m.in.count++
	return true, nil
}

// check refuses what cannot be an operation of this subnet.
func (m *Machine) check(e *Entry) error {
	o, n, own := e.Dot.Origin, e.Dot.N, m.Own()
	switch {
	case o == 0 || n == 0:
		return fmt.Errorf("%w: operation %d of origin %s", ErrProtocol, n, o)
	case e.Deps.Get(o) >= n:
		return fmt.Errorf("%w: operation %d of %s depends on its own successor %d", ErrProtocol, n, o, e.Deps.Get(o))
	case o == m.cfg.Self && n > own:
		return fmt.Errorf("%w: a peer sent operation %d, the last one here is %d", ErrStale, n, own)
	case e.Deps.Get(m.cfg.Self) > own:
		return fmt.Errorf("%w: operation %d of %s depends on operation %d of this replica, the last one here is %d",
			ErrStale, n, o, e.Deps.Get(m.cfg.Self), own)
	}
	return nil
}

// Batch hands out everything that can be applied now, within the limits of a
// batch, in causal order; nil if there is nothing or if the batch before was
// not confirmed. The caller makes it durable and calls [Machine.Applied]; if
// it fails it tries the same batch again.
func (m *Machine) Batch() []Entry {
	if len(m.in.flight) > 0 || m.in.count == 0 {
		return nil
	}
	staged := m.logged.Clone()
	batch, bytes, full := []Entry(nil), 0, false
	for progress := true; progress && !full; {
		progress = false
		for i := range m.origins {
			q := m.in.queues[m.origins[(m.in.next+i)%len(m.origins)]]
			for q != nil && len(q.entries) > 0 && !full && q.entries[0].Deps.LessEqual(staged) {
				e := q.entries[0]
				size := e.Size()
				full = len(batch) > 0 && (len(batch) >= m.cfg.BatchEntries || bytes+size > m.cfg.BatchBytes)
				if full {
					break
				}
				q.entries[0] = Entry{}
				q.entries = q.entries[1:]
				staged.Set(e.Dot.Origin, e.Dot.N)
				batch = append(batch, e)
				bytes += size
				progress = true
			}
		}
	}
	m.in.flight = batch
	m.in.count -= len(batch)
	m.in.next++
	return batch
}

// Applied tells that the batch that was handed out is durable.
func (m *Machine) Applied() {
	for i := range m.in.flight {
		e := &m.in.flight[i]
		if e.Dot.N > m.logged.Get(e.Dot.Origin) { // a snapshot may have brought more
			m.logged.Set(e.Dot.Origin, e.Dot.N)
		}
		q := m.in.queues[e.Dot.Origin]
		q.bytes -= e.Size()
		m.in.bytes -= e.Size()
		if q.bytes == 0 && len(q.entries) == 0 {
			delete(m.in.queues, e.Dot.Origin)
		}
	}
	m.in.flight = nil
}

// drop forgets what was received of an origin and is not handed out yet.
func (m *Machine) drop(o crdt.Origin) {
	q := m.in.queues[o]
	if q == nil {
		return
	}
	for i := range q.entries {
		q.bytes -= q.entries[i].Size()
		m.in.bytes -= q.entries[i].Size()
		q.tail--
	}
	m.in.count -= len(q.entries)
	q.entries = nil
	if q.bytes == 0 {
		delete(m.in.queues, o)
	}
}

// Queue describes the operations of one origin that wait for others.
type Queue struct {
	Origin  crdt.Origin
	First   uint64 // number of the first one that waits
	Last    uint64
	Bytes   int
	Missing crdt.Dot // one of those that First waits for; zero if it can be applied
}

// Queues describes what was received and not yet handed out, ascending by origin.
func (m *Machine) Queues() []Queue {
	var list []Queue
	for _, o := range m.origins {
		q := m.in.queues[o]
		if q == nil || len(q.entries) == 0 {
			continue
		}
		head := &q.entries[0]
		d := Queue{Origin: o, First: head.Dot.N, Last: q.tail, Bytes: q.bytes}
		for dep, n := range head.Deps.All() {
			if m.logged.Get(dep) < n {
				d.Missing = crdt.Dot{Origin: dep, N: n}
				break
			}
		}
		list = append(list, d)
	}
	return list
}

// Queued returns how many operations were received and not handed out, and
// how many bytes are held for operations that are not durable yet.
func (m *Machine) Queued() (operations, bytes int) { return m.in.count, m.in.bytes }
