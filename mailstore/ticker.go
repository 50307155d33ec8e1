package mailstore

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// tickDelay is how long a refused UID waits for others of its kind, in
// milliseconds, before it is acted upon (crdt.md 2.1).
const tickDelay = 10

// retryDelay is when a tick that failed is tried again, in milliseconds.
const retryDelay = 1000

// ticker lets time pass for the accounts that wait for something: messages
// whose UID was refused here. All others cost nothing.
type ticker struct {
	mu   sync.Mutex
	due  map[crdt.AccountID]int64 // Unix milliseconds
	last int64                    // when what is due was taken last
	wake chan struct{}
}

// soon asks for a tick of an account at a time, or earlier.
func (t *ticker) soon(id crdt.AccountID, at int64) {
	t.mu.Lock()
	if old, ok := t.due[id]; !ok || at < old {
		t.due[id] = at
	}
	t.mu.Unlock()
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// take removes and returns the accounts that are due at now, and says when the
// next one is (0: none waits).
func (t *ticker) take(now int64) (due []crdt.AccountID, next int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	// Where the clock was set back nobody is to wait longer for that.
	back := max(t.last-now, 0)
	t.last = now
	for id, at := range t.due {
		at -= back
		t.due[id] = at
		switch {
		case at <= now:
			due = append(due, id)
			delete(t.due, id)
		case next == 0 || at < next:
			next = at
		}
	}
	slices.Sort(due)
	return due, next
}

// next returns when the next account is due, 0 if none waits.
func (t *ticker) next() (first int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, at := range t.due {
		if first == 0 || at < first {
			first = at
		}
	}
	return first
}

// startTicker finds the accounts that were waiting at the last stop, and starts
// the goroutine that serves them.
func (r *Replica) startTicker() error {
	r.ticker.due = make(map[crdt.AccountID]int64)
	r.ticker.wake = make(chan struct{}, 1)
	prefix := r.keys.kind(nil, spaceState, kindAwait)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	for ok := it.First(); ok; {
		id, err := parseAccount(it.Key()[len(prefix):])
		if err != nil {
			return errors.Join(err, it.Close())
		}
		r.ticker.due[id] = r.now()
		ok = it.SeekGE(after(r.keys.awaits(nil, id)))
	}
	if err := it.Close(); err != nil {
		return fmt.Errorf("list waiting accounts: %w", err)
	}
	if !r.opts.ManualTicks {
		r.task(r.tickLoop)
	}
	return nil
}

// Tick does what is due at this moment, forgets what is stable, and returns when
// something will be due next; the zero time is never. It is called by whoever
// opened the replica with ManualTicks, and by nobody else.
func (r *Replica) Tick() time.Time {
	due, _ := r.ticker.take(r.now())
	r.tick(due)
	if _, err := r.collect(); err != nil {
		r.warn("delete contents", err)
	}
	r.upkeepIfDue()
	if now := r.opts.Now(); now.Sub(r.collector.swept).Abs() >= sweepEvery {
		r.collector.swept = now
		r.sweepOld()
	}
	if next := r.ticker.next(); next != 0 {
		return time.UnixMilli(next)
	}
	return time.Time{}
}

func (r *Replica) tickLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-r.ticker.wake:
		case <-timer.C:
		}
		due, next := r.ticker.take(r.now())
		r.tick(due)
		if next != 0 {
			timer.Reset(time.Duration(max(next-r.now(), 1)) * time.Millisecond)
		}
	}
}

// tick lets time pass for some accounts; what they do about it shares a sync.
func (r *Replica) tick(due []crdt.AccountID) {
	if len(due) == 0 || r.store.enter() != nil {
		return
	}
	defer r.store.leave()
	var commits []*commit
	for _, id := range due {
		for _, step := range []func(crdt.AccountID, bool) (*commit, error){r.revealAccount, r.tickAccount} {
			c, err := step(id, false)
			if err != nil {
				r.warn("tick of an account", err)
				r.ticker.soon(id, r.now()+retryDelay)
			}
			if c != nil {
				commits = append(commits, c)
			}
		}
	}
	for _, c := range commits {
		if err := r.synced(c); err == nil {
			c.account.settle(c, nil)
		}
		r.release(c.account)
	}
}

// tickAccount returns the commit of what an account does now, nil for nothing;
// force makes it do all that waits for a moment to come.
func (r *Replica) tickAccount(id crdt.AccountID, force bool) (*commit, error) {
	if err := r.mayWrite(); err != nil {
		return nil, err
	}
	a := r.acquire(id)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil || a.quarantined != nil || a.left() {
		return nil, err
	}
	t := a.begin()
	defer t.drop()
	site := t.site()
	payloads, next, err := site.Tick(force)
	if err != nil {
		return nil, a.suspect(err)
	}
	if next != 0 {
		r.ticker.soon(id, next)
	}
	var c *commit
	if len(payloads) == 0 {
		c, err = a.keep(t)
	} else {
		c, err = a.commitLocal(t, localChange{payloads: payloads})
	}
	if c == nil || err != nil {
		return nil, err
	}
	return c.hold(), nil
}
