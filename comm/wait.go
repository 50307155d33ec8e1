package comm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// ErrShortfall is returned by [Group.Wait] with AckStrict when fewer peers than
// configured have the operation on disk. The change stays, on this replica and
// wherever it arrives.
var ErrShortfall = errors.New("fewer peers than configured have the change on disk")

var errClosed = errors.New("replication is not running here")

var waiterPool = sync.Pool{New: func() any { return &causal.Waiter{Done: make(chan struct{}, 1)} }}

// Wait returns when an operation that is durable here is so on AckPeers peers, or that is
// not to be waited for: no connected peer that keeps up is left that does not
// have it, or AckTimeout has passed. The peers that let a wait run out are not
// waited for again until they have caught up. A shortfall is counted and, with
// AckStrict, is an error ([ErrShortfall]). Any error means that the OK must not
// be given; it is ctx's, or that of a replica that fenced itself.
//
// An own operation must have been passed to Committed, or be about to be.
func (g *Group) Wait(ctx context.Context, d crdt.Dot) error {
	if p := g.fault.Load(); p != nil {
		return *p
	}
	if g.cfg.AckPeers <= 0 || len(g.cfg.Peers) == 0 || d.Origin == g.store.Origin() && g.satisfied.Load() >= d.N {
		return nil
	}
	began := time.Now()
	w := waiterPool.Get().(*causal.Waiter)
	if !g.enqueue(w, d) {
		select {
		case <-w.Done:
		case <-ctx.Done():
			g.abandon(w)
			return ctx.Err()
		}
	}
	have, need := w.Have, w.Need
	waiterPool.Put(w)
	g.ackWait.Observe(time.Since(began).Seconds())
	if p := g.fault.Load(); p != nil {
		return *p
	}
	if have >= need {
		return nil
	}
	g.shortfalls.Inc()
	if g.cfg.AckStrict {
		return fmt.Errorf("%w: %d of %d", ErrShortfall, have, need)
	}
	return nil
}

// enqueue begins a wait and reports whether it is over already.
func (g *Group) enqueue(w *causal.Waiter, d crdt.Dot) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.core.Wait(time.Now(), w, d) {
		return true
	}
	if !g.timed {
		g.timed = true
		notify(g.timeWake)
	}
	return false
}

// abandon takes back a wait; if it ended meanwhile, its signal is drained.
func (g *Group) abandon(w *causal.Waiter) {
	g.mu.Lock()
	g.core.Cancel(w)
	g.mu.Unlock()
	select {
	case <-w.Done:
	default:
	}
	waiterPool.Put(w)
}
