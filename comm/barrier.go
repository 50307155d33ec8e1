package comm

import (
	"context"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// barrierTimeout bounds [Group.Barrier].
const barrierTimeout = time.Second

// barrier is a wait for what peers had when it began.
type barrier struct {
	asked    map[string]bool // peers that have not answered yet
	question uint64
	want     crdt.VC       // what those that did answer had
	done     chan struct{} // closed when it is over
}

// Barrier returns when everything is applied here that the peers in reach had
// when it was called, after a second at the latest, or with ctx's error. It is
// for sessions that come from another replica (crdt.md 4.3): what they have seen
// there should be here when they begin. Peers to which there is no stream are
// not asked, and one that left a question unanswered is not waited for until it
// has answered it. It reports whether all that were asked are caught up with.
func (g *Group) Barrier(ctx context.Context) (bool, error) {
	b := g.ask()
	if b == nil {
		return true, nil
	}
	defer g.leave(b)
	timer := time.NewTimer(barrierTimeout)
	defer timer.Stop()
	select {
	case <-b.done:
		return true, nil
	case <-timer.C:
		return false, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// ask begins a barrier; nil if there is nobody to ask.
func (g *Group) ask() *barrier {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := &barrier{asked: make(map[string]bool), done: make(chan struct{})}
	for name, s := range g.senders {
		if s.up && !s.mute.Load() {
			b.asked[name] = true
		}
	}
	if len(b.asked) == 0 || !g.running {
		return nil
	}
	g.question++
	b.question = g.question
	g.barriers[b] = struct{}{}
	for name := range b.asked {
		g.senders[name].asked.Store(b.question)
		notify(g.senders[name].wake)
	}
	return b
}

// leave ends a barrier. Who has not answered is not waited for again.
func (g *Group) leave(b *barrier) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.barriers, b)
	for name := range b.asked {
		g.senders[name].mute.Store(true)
	}
}

// answered takes the answer of a peer to all questions up to n: what it had when
// it was asked the last of them.
func (g *Group) answered(name string, n uint64, logged crdt.VC) {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := g.senders[name]
	if n >= s.asked.Load() {
		s.mute.Store(false)
	}
	for b := range g.barriers {
		if n >= b.question && b.asked[name] {
			delete(b.asked, name)
			b.want.Merge(logged)
		}
	}
	g.passBarriers()
}

// passBarriers ends the barriers that have what they want. Under g.mu.
func (g *Group) passBarriers() {
	if len(g.barriers) == 0 {
		return
	}
	here := g.core.Logged()
	for b := range g.barriers {
		if len(b.asked) == 0 && b.want.LessEqual(here) {
			delete(g.barriers, b)
			close(b.done)
		}
	}
}
