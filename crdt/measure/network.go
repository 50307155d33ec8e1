package measure

import (
	"container/heap"
	"math/rand/v2"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// event is something that happens at a moment of virtual time.
type event struct {
	at  time.Duration // since the begin of the run
	seq int           // order of those of one moment
	do  func()
}

type schedule []event

func (s schedule) Len() int { return len(s) }
func (s schedule) Less(i, j int) bool {
	return s[i].at < s[j].at || s[i].at == s[j].at && s[i].seq < s[j].seq
}
func (s schedule) Swap(i, j int) { s[i], s[j] = s[j], s[i] }
func (s *schedule) Push(e any)   { *s = append(*s, e.(event)) }
func (s *schedule) Pop() any {
	old := *s
	e := old[len(old)-1]
	*s = old[:len(old)-1]
	return e
}

// network is virtual time and the links between the replicas: each keeps the
// order of what it carries and takes a time that varies.
type network struct {
	config   Config
	random   *rand.Rand
	now      time.Duration
	next     int // number of the next event
	schedule schedule
	replicas []*replica
	busy     [][]time.Duration // [from][to]: arrival of the last operation
	healed   time.Duration     // nothing arrives before
}

// at makes something happen at a moment.
func (n *network) at(when time.Duration, do func()) {
	n.next++
	heap.Push(&n.schedule, event{max(when, n.now), n.next, do})
}

// run lets things happen until nothing is left to happen, or to a moment.
func (n *network) run(until time.Duration) {
	for len(n.schedule) > 0 && n.schedule[0].at < until {
		e := heap.Pop(&n.schedule).(event)
		n.now = e.at
		e.do()
	}
}

// broadcast sends an operation to all other replicas. While the network is cut
// it waits at its origin, as it does in a log.
func (n *network) broadcast(from int, op *crdt.Op) {
	for to, r := range n.replicas {
		if to == from {
			continue
		}
		arrival := max(n.busy[from][to], max(n.now, n.healed)+n.delay())
		n.busy[from][to] = arrival
		n.at(arrival, func() { r.receive(from, op) })
	}
}

// delay draws a one-way delay.
func (n *network) delay() time.Duration {
	spread := 1 + n.config.Jitter*(2*n.random.Float64()-1)
	return time.Duration(float64(n.config.RTT) / 2 * spread)
}

// after draws the time to the next of things that happen by chance.
func (n *network) after(mean time.Duration) time.Duration {
	return time.Duration(n.random.ExpFloat64()*float64(mean)) + 1
}
