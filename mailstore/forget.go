package mailstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// forgetStep is how many entries one transaction looks at.
const forgetStep = 256

// forget lets the accounts that have causes of commands, sources of MOVEs or
// replays on file drop what is causally stable ([crdt.Site.Forget]).
func (r *Replica) forget(stable crdt.VC) error {
	if len(stable) == 0 || r.store.enter() != nil {
		return nil
	}
	defer r.store.leave()
	list, err := r.filedAccounts()
	if err != nil {
		return fmt.Errorf("list accounts with causes: %w", err)
	}
	for _, id := range list {
		if err := r.forgetAccount(id, stable); err != nil {
			return fmt.Errorf("forget causes of account %d: %w", id, err)
		}
	}
	return nil
}

func (r *Replica) filedAccounts() ([]crdt.AccountID, error) {
	prefix := r.keys.kind(nil, spaceState, kindFiled)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	var out []crdt.AccountID
	for ok := it.First(); ok; ok = it.Next() {
		id, err := parseAccount(it.Key()[len(prefix):])
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		out = append(out, id)
	}
	return out, it.Close()
}

// forgetAccount goes through what an account has on file, in steps between
// which others may use it.
func (r *Replica) forgetAccount(id crdt.AccountID, stable crdt.VC) error {
	a := r.acquire(id)
	defer r.release(a)
	for at := (crdt.Forgetting{}); !at.Done() && r.ctx.Err() == nil; { // ended: goes on after the next start
		c, err := a.forgetSome(&at, stable)
		if c == nil || err != nil {
			return err
		}
		if err := r.synced(c); err != nil {
			return err
		}
		a.settle(c, nil)
	}
	return nil
}

// forgetSome takes one step in one transaction and moves at on. No commit: there
// is nothing more to do. An account in quarantine has not applied what is
// stable, and forgets nothing.
func (a *account) forgetSome(at *crdt.Forgetting, stable crdt.VC) (*commit, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil || a.quarantined != nil {
		return nil, err
	}
	for !at.Done() {
		c, err := a.forgetPage(at, stable)
		if damaged(err) {
			return nil, a.damage(err) // and nothing more of it; the others go on
		}
		if c != nil || err != nil {
			return c, err
		}
	}
	return nil, nil
}

func (a *account) forgetPage(at *crdt.Forgetting, stable crdt.VC) (*commit, error) {
	t := a.begin()
	defer t.drop()
	site := t.site()
	next, err := site.Forget(stable, *at, forgetStep)
	if err != nil {
		return nil, err
	}
	*at = next
	if at.Done() {
		if err := a.unmark(t); err != nil {
			return nil, err
		}
	}
	return a.keep(t)
}

// unmark ends the visits to an account that has nothing on file any more.
// Transactions see on the disk what those before them wrote. Under a.mu.
func (a *account) unmark(t *tx) error {
	twins, err := t.Filed(crdt.Filing{}, 1)
	if err != nil || len(twins) > 0 {
		return err
	}
	replays, err := t.Replays(crdt.Replay{}, 1)
	if err != nil || len(replays) > 0 {
		return err
	}
	a.filed = false
	t.key = t.keys.filed(t.key[:0], a.id)
	return t.del()
}
