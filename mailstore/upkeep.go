package mailstore

import (
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// How often things are done that no client waits for.
const (
	upkeepEvery = 10 * time.Second // checkpoints, a step of the sweep
	writeEvery  = time.Minute      // checkpoints to the disk
	forgetEvery = 6 * time.Hour    // the search for what vanished long ago
)

// sweepStep is how many mailboxes one step of that search looks at.
const sweepStep = 2000

// upkeep is what a replica does for itself, now and then.
type upkeep struct {
	mu    sync.Mutex
	prune map[boxOf]struct{} // mailboxes with too many vanished UIDs

	// Of Upkeep, held while it runs and around nothing else; taken first of all.
	doing             sync.Mutex
	cursor            []byte // where the sweep goes on, nil: it is done
	did, wrote, swept time.Time
}

// pruneSoon asks for a mailbox's vanished UIDs to be looked at.
func (u *upkeep) pruneSoon(i boxOf) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.prune == nil {
		u.prune = make(map[boxOf]struct{})
	}
	u.prune[i] = struct{}{}
}

func (u *upkeep) take() map[boxOf]struct{} {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.prune
	u.prune = nil
	return p
}

func (r *Replica) upkeepLoop() {
	tick := time.NewTicker(upkeepEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			r.Upkeep()
		}
	}
}

// Upkeep does what is due of the work that no client waits for: it keeps
// checkpoints (crdt.md 4.2) and forgets what vanished long ago (4.4). The replica
// does it by itself every ten seconds, and with ManualTicks in the first Tick
// after them; tests may do it more often.
func (r *Replica) Upkeep() {
	if r.store.enter() != nil {
		return
	}
	defer r.store.leave()
	r.upkeep.doing.Lock()
	defer r.upkeep.doing.Unlock()
	r.doUpkeep(r.opts.Now())
}

func (r *Replica) doUpkeep(now time.Time) {
	u := &r.upkeep
	u.did = now
	r.noteTokens()
	if now.Sub(u.wrote) >= writeEvery || now.Before(u.wrote) {
		u.wrote = now
		if err := r.writeTokens(); err != nil {
			r.warn("write checkpoints", err)
		}
	}
	if err := r.dropRecords(); err != nil {
		r.warn("upkeep", err)
	}
	if err := r.sweepVanished(now); err != nil {
		r.warn("look for vanished UIDs", err)
	}
	for i := range u.take() {
		if err := r.pruneAll(i); err != nil {
			r.warn("forget vanished UIDs", err)
		}
	}
}

// upkeepIfDue is Upkeep where no goroutine does it.
func (r *Replica) upkeepIfDue() {
	r.upkeep.doing.Lock()
	did := r.upkeep.did
	r.upkeep.doing.Unlock()
	if now := r.opts.Now(); now.Sub(did) >= upkeepEvery || now.Before(did) {
		r.Upkeep()
	}
}

// sweepVanished does a step of the search for what vanished long ago.
func (r *Replica) sweepVanished(now time.Time) error {
	u := &r.upkeep
	if u.cursor == nil {
		if now.Sub(u.swept) < forgetEvery && !now.Before(u.swept) {
			return nil
		}
		u.swept = now
	}
	found, next, err := r.oldVanished(u.cursor, sweepStep)
	u.cursor = next
	for _, i := range found {
		u.pruneSoon(i)
	}
	return err
}

// pruneAll forgets in steps, between which sessions have their turn.
func (r *Replica) pruneAll(i boxOf) error {
	for more := true; more && r.ctx.Err() == nil && r.store.Err() == nil; {
		var err error
		if more, err = r.pruneMailbox(i); err != nil {
			return err
		}
	}
	return nil
}

func iterBounds(lower, upper []byte) *pebble.IterOptions {
	return &pebble.IterOptions{LowerBound: lower, UpperBound: upper}
}
