package mailstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// BodySource gets contents that are missing here from other members.
type BodySource interface {
	// PullBody stores a content, by [Replica.PutBodyChunk], and returns when all
	// of it is there. It may be called concurrently.
	PullBody(ctx context.Context, root crdt.Root) error
}

const (
	// pullWait is how long a session waits for a content that is missing here.
	pullWait = 10 * time.Second
	// pullTimeout is how long it is tried to get one.
	pullTimeout = 2 * time.Minute
	// maxPullsAhead bounds the contents that are being got without a session
	// that waits for them.
	maxPullsAhead = 64
)

// errMissing says that a content, or a piece of it, is not on this replica.
var errMissing = errors.New("content is not here")

// puller gets missing contents; all who want the same one share the work.
type puller struct {
	source atomic.Pointer[BodySource]

	mu    sync.Mutex
	under map[crdt.Root]*pull
}

// pull is a content being got. err is set before done is closed.
type pull struct {
	done chan struct{}
	err  error
}

// SetBodySource names who gets contents that are missing here. It is called once,
// before the first session; without one they stay missing.
func (r *Replica) SetBodySource(s BodySource) { r.puller.source.Store(&s) }

// begin returns the work on a content, and whether it is new.
func (p *puller) begin(root crdt.Root, limit int) (work *pull, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if work := p.under[root]; work != nil {
		return work, false
	}
	if limit > 0 && len(p.under) >= limit {
		return nil, false
	}
	work = &pull{done: make(chan struct{})}
	p.under[root] = work
	return work, true
}

func (p *puller) end(root crdt.Root, work *pull, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.under, root)
	work.err = err
	close(work.done)
}

// busy reports whether a content is being got.
func (p *puller) busy(root crdt.Root) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.under[root] != nil
}

// start begins to get a content unless somebody does already, or limit (0: none)
// are being got. It returns nil if nothing can be done.
func (r *Replica) start(root crdt.Root, limit int) *pull {
	source := r.puller.source.Load()
	if source == nil {
		return nil
	}
	work, fresh := r.puller.begin(root, limit)
	if !fresh {
		return work
	}
	get := func() {
		ctx, cancel := context.WithTimeout(r.ctx, pullTimeout)
		defer cancel()
		r.puller.end(root, work, (*source).PullBody(ctx, root))
	}
	if !r.task(get) {
		r.puller.end(root, work, errClosed)
	}
	return work
}

// pull gets a content that is missing here. It waits for pullWait at most; the
// work goes on for those who come later.
func (r *Replica) pull(ctx context.Context, root crdt.Root) error {
	work := r.start(root, 0)
	if work == nil {
		return errMissing
	}
	patience := time.NewTimer(pullWait)
	defer patience.Stop()
	select {
	case <-work.done:
		return work.err
	case <-patience.C:
		return fmt.Errorf("not got from other members within %v", pullWait)
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ctx.Done():
		return errClosed
	}
}

// pullAhead gets what operations of peers should have brought and did not, so
// that this replica has it when others no longer do.
func (r *Replica) pullAhead(roots []crdt.Root) {
	if r.puller.source.Load() == nil {
		return
	}
	for _, root := range roots {
		if have, err := r.store.get(r.keys.content(nil, kindStructure, root)); have != nil || err != nil {
			continue
		}
		if live, err := r.isLive(root); live && err == nil {
			r.start(root, maxPullsAhead)
		}
	}
}

// whole calls f, which needs a content, and if something of the content is
// missing here gets it and calls f once more. An error that wraps errMissing
// wraps ErrUnavailable too.
func (r *Replica) whole(ctx context.Context, root crdt.Root, f func() error) error {
	err := r.inStore(f)
	if !errors.Is(err, errMissing) {
		return err
	}
	if damaged(err) {
		r.warn("content of a message is damaged and comes from a peer", fmt.Errorf("%x: %w", root, err))
	}
	if e := r.mendContent(ctx, root, err); e != nil {
		return fmt.Errorf("%w: %w", err, e)
	}
	return r.inStore(f)
}

// inStore calls f with the database open.
func (r *Replica) inStore(f func() error) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	return f()
}
