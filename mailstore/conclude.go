package mailstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// synced waits until a commit is durable here and tells whom it concerns.
func (r *Replica) synced(c *commit) error {
	if c.before != nil {
		if err := r.synced(c.before); err != nil {
			c.account.settle(c, err)
			return err
		}
	}
	if c.batch == nil {
		return nil // it changes nothing
	}
	began := time.Now()
	err := errors.Join(c.batch.SyncWait(), c.batch.Close())
	c.batch = nil
	r.store.opts.Metrics.sync.Observe(time.Since(began).Seconds())
	if err != nil {
		err = r.store.fail(err)
		c.account.settle(c, err)
		return err
	}
	r.durable.Lock()
	for _, d := range c.dots {
		r.durable.vector.Add(d)
	}
	// What was written before is synced as well. Own operations must be told of
	// before a peer hears that an operation which they do not know is here: it
	// concludes that nothing concurrent with that will come (crdt.md 6.2).
	r.durable.vector.Add(crdt.Dot{Origin: r.self.Origin, N: c.behind})
	n := r.durable.vector.Get(r.self.Origin)
	r.durable.Unlock()
	r.told.tell(r.replicator.Load(), n)
	return nil
}

// teller tells the replicator of durable operations, in order.
type teller struct {
	mu sync.Mutex // held while the replicator is told, and for nothing else
	n  uint64
}

func (t *teller) tell(p *Replicator, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p == nil || n <= t.n {
		return
	}
	t.n = n
	(*p).Committed(n)
}

// conclude takes a durable commit to the eyes of the sessions, and returns when
// its OK may be given. When ctx ends first, the rest happens without the caller.
func (r *Replica) conclude(ctx context.Context, c *commit) error {
	err := r.acknowledged(ctx, c)
	if err != nil && ctx.Err() != nil {
		r.concludeLater(c)
		return ctx.Err()
	}
	c.account.settle(c, nil)
	if err := errors.Join(err, c.wait(ctx)); err != nil {
		return err
	}
	if len(c.dots) > 0 {
		r.store.opts.Metrics.commit.Observe(time.Since(c.began).Seconds())
	}
	return nil
}

// concludeLater shows a commit whose session has gone, when it may be shown.
func (r *Replica) concludeLater(c *commit) {
	// The account stays in memory until then: read from the disk, it would show
	// the change too early.
	c.hold()
	later := func() {
		defer r.release(c.account)
		if err := r.acknowledged(r.ctx, c); err != nil && r.ctx.Err() == nil {
			r.warn("change of a session that has gone is not acknowledged by peers", err)
		}
		c.account.settle(c, nil)
	}
	if !r.task(later) {
		c.account.settle(c, nil)
		r.release(c.account)
	}
}

// acknowledged waits until peers have a commit.
func (r *Replica) acknowledged(ctx context.Context, c *commit) error {
	if c.own == 0 {
		return nil
	}
	return r.onPeers(ctx, crdt.Dot{Origin: r.self.Origin, N: c.own})
}

// onPeers waits until peers have an operation that is durable here.
func (r *Replica) onPeers(ctx context.Context, d crdt.Dot) error {
	p := r.replicator.Load()
	if p == nil {
		return nil
	}
	if err := (*p).Wait(ctx, d); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}
