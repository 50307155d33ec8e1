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
// session with the large message that waits for a thin line, and nobody else.
//
// What did not go ahead (for a peer that was away, or after AheadTimeout) travels
// with its operation.

const (
	// maxAhead bounds the contents that a group sends ahead, aheadLines how many
	// of them share the line to one peer at a time; the others wait their turn.
	maxAhead   = 64
	aheadLines = 4
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

	mu      sync.Mutex
	pieces  int // on this disk
	whole   bool
	left    int           // peers that are being sent it
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
// those pieces, for AheadTimeout at most, or until ctx ends. Then the operation
// that brings the content is to be committed.
func (g *Group) BodyWhole(ctx context.Context, root crdt.Root) {
	a := g.aheadOf(root)
	if a == nil {
		return
	}
	defer g.endAhead(a)
	a.grow(0, true)
	began := time.Now()
	timer := time.NewTimer(g.cfg.AheadTimeout)
	defer timer.Stop()
	select {
	case <-a.done:
	case <-ctx.Done():
	case <-timer.C:
		level.Warn(g.logger).Log("msg", "a large message is committed before all peers that keep up have its content; what is committed after it will wait for that",
			"body", fmt.Sprintf("%x", root), "waited", g.cfg.AheadTimeout)
	}
	g.aheadWait.Observe(time.Since(began).Seconds())
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
	a := &ahead{root: root, done: make(chan struct{}), left: len(to), changed: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(g.ctx)
	g.aheads[root] = a
	for _, s := range to {
		g.wg.Go(func() {
			defer a.ended()
			if err := s.sendAhead(a); err != nil && a.ctx.Err() == nil {
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

func (a *ahead) ended() {
	a.mu.Lock()
	defer a.mu.Unlock()
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
