package comm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// An operation is applied after all earlier ones of its origin: whatever is
// committed behind one that brings a large content would wait until that has gone
// through. So a large content goes ahead. Its pieces are sent while they still
// come in from the client, each content to each peer by a call of its own, which
// shares the connection with the operations piece by piece; and its operation is
// committed when the peers that keep up have it, or after AheadTimeout. It is the
// session with the large message that waits for a thin line, and nobody else; and
// it does not wait for the thinnest: when AckPeers peers have the content, the
// others get as much time again.
//
// What did not go ahead (for a peer that was away, or that was not waited for)
// travels with its operation.

const (
	// maxAhead bounds the contents that a group sends ahead, aheadLines how many
	// of them share the line to one peer at a time; the others wait their turn.
	maxAhead   = 64
	aheadLines = 4
	// aheadGrace is the least time that peers get which are slower than those that
	// are needed.
	aheadGrace = time.Second
	// maxUnanswered is how many pieces of a content may be under way to a peer.
	maxUnanswered = 16
	// maxRemembered bounds what is remembered to be at a peer already.
	maxRemembered = 1024
)

// ahead is a content that is sent ahead.
type ahead struct {
	root   crdt.Root
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when no peer is being sent it any more
	enough chan struct{} // closed when as many peers as are needed have it

	mu      sync.Mutex
	pieces  int // on this disk
	whole   bool
	left    int           // peers that are being sent it
	need    int           // peers that are still needed
	changed chan struct{} // closed and replaced when pieces or whole changes
}

// BodyGrows tells that the first pieces of a content that is still coming in are
// on this disk (StagedChunk). It begins to send them to the peers that keep up.
func (g *Group) BodyGrows(root crdt.Root, pieces int) {
	a := g.aheadOf(root)
	if a == nil {
		a = g.beginAhead(root)
	}
	if a != nil {
		a.grow(pieces, false)
	}
}

// BodyWhole tells that a content will have no more pieces than those that
// BodyGrows told of and the last one, and waits until the peers that keep up have
// those pieces, or AckPeers of them (one at least) have them and the others had as
// much time again; for AheadTimeout at most, or until ctx ends. Then the operation
// that brings the content is to be committed.
func (g *Group) BodyWhole(ctx context.Context, root crdt.Root) {
	a := g.aheadOf(root)
	if a == nil {
		return
	}
	defer g.endAhead(a)
	a.grow(0, true)
	began := time.Now()
	if !a.settle(ctx, began, g.cfg.AheadTimeout) {
		level.Warn(g.logger).Log("msg", "a large message is committed before a peer that keeps up has its content; what is committed after it will get there later",
			"body", fmt.Sprintf("%x", root), "waited", time.Since(began))
	}
	g.aheadWait.Observe(time.Since(began).Seconds())
}

// settle waits as BodyWhole says. It reports false if a peer goes without.
func (a *ahead) settle(ctx context.Context, began time.Time, timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for enough := a.enough; ; {
		select {
		case <-a.done:
			return true
		case <-enough:
			enough = nil
			timer.Reset(min(max(time.Since(began), aheadGrace), timeout-time.Since(began)))
		case <-ctx.Done():
			return true
		case <-timer.C:
			return false
		}
	}
}

// BodyDropped tells that there will be no operation that brings a content.
func (g *Group) BodyDropped(root crdt.Root) {
	if a := g.aheadOf(root); a != nil {
		g.endAhead(a)
	}
	for _, s := range g.senders {
		s.takeAhead(root)
	}
}

func (g *Group) aheadOf(root crdt.Root) *ahead {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.aheads[root]
}

// beginAhead has a content sent to every peer that keeps up; nil if there is none
// or enough is being sent already. To one that lacks older operations it does not
// help: the next ones wait for those anyway.
func (g *Group) beginAhead(root crdt.Root) *ahead {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running || g.cfg.AheadTimeout < 0 || len(g.aheads) >= maxAhead {
		return nil
	}
	var to []*sender
	for name, s := range g.senders {
		if g.core.KeepsUp(time.Now(), name) && s.conn.Load() != nil {
			to = append(to, s)
		}
	}
	if len(to) == 0 {
		return nil
	}
	a := &ahead{root: root, done: make(chan struct{}), enough: make(chan struct{}), left: len(to), changed: make(chan struct{})}
	a.need = min(max(g.cfg.AckPeers, 1), len(to))
	a.ctx, a.cancel = context.WithCancel(g.ctx)
	g.aheads[root] = a
	for _, s := range to {
		g.wg.Go(func() {
			err := s.sendAhead(a)
			a.ended(err == nil)
			if err != nil && a.ctx.Err() == nil {
				level.Debug(s.logger).Log("msg", "body does not go ahead", "body", fmt.Sprintf("%x", root), "err", err)
			}
		})
	}
	return a
}

func (g *Group) endAhead(a *ahead) {
	a.cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.aheads, a.root)
}

// grow tells the calls what there is to send.
func (a *ahead) grow(pieces int, whole bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pieces, a.whole = max(a.pieces, pieces), a.whole || whole
	close(a.changed)
	a.changed = make(chan struct{})
}

// ended notes that a call is over, and whether the peer has the content.
func (a *ahead) ended(there bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if there {
		if a.need--; a.need == 0 {
			close(a.enough)
		}
	}
	if a.left--; a.left == 0 {
		close(a.done)
	}
}

// await returns whether there is a piece with that index, when that is known.
func (a *ahead) await(index int) bool {
	for {
		a.mu.Lock()
		pieces, whole, changed := a.pieces, a.whole, a.changed
		a.mu.Unlock()
		if index < pieces || whole {
			return index < pieces
		}
		select {
		case <-changed:
		case <-a.ctx.Done():
			return false
		}
	}
}

// remember notes how many pieces of a content the peer has. Under aheadMu.
func (s *sender) remember(root crdt.Root, pieces int) {
	if len(s.taken) >= maxRemembered {
		clear(s.taken) // they go once more, with their operations
	}
	s.taken[root] = pieces
}

// takeAhead returns how many pieces of a content went ahead to the peer, and
// forgets it.
func (s *sender) takeAhead(root crdt.Root) int {
	s.aheadMu.Lock()
	defer s.aheadMu.Unlock()
	n := s.taken[root]
	delete(s.taken, root)
	return n
}

// forget forgets all that went ahead: after a break it may be lost.
func (s *sender) forget() {
	s.aheadMu.Lock()
	defer s.aheadMu.Unlock()
	clear(s.taken)
}
