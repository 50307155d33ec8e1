package mailstore

import (
	"context"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Deliver adds staged messages to a mailbox, all or none, as Append does, but
// shows them only after ReplicaOptions.HoldDown: nobody waits to see them, and
// meanwhile what other replicas deliver below their UIDs arrives (crdt.md 2.4).
func (s *Account) Deliver(ctx context.Context, name string, messages []NewMessage) error {
	hold := s.a.r.opts.HoldDown.Milliseconds()
	_, err := s.add(ctx, name, messages, func(t *tx, box crdt.MailboxID, added []crdt.Added) ([]crdt.Payload, error) {
		if err := s.fits(t, amount(added), Amount{}); err != nil {
			return nil, err
		}
		return payload(t.site().PrepareDelivery(box, added, hold))
	}, nil)
	if err != nil {
		return fmt.Errorf("deliver to %q: %w", name, err)
	}
	return nil
}

// revealAccount returns the commit that shows the deliveries of an account that
// were held until now, nil for nothing; force shows all.
func (r *Replica) revealAccount(id crdt.AccountID, force bool) (*commit, error) {
	a := r.acquire(id)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil || a.quarantined != nil {
		return nil, err
	}
	c, err := a.reveal(force)
	if c == nil || err != nil {
		return nil, a.suspect(err)
	}
	return c.hold(), nil
}

// reveal is revealAccount under a.mu.
func (a *account) reveal(force bool) (*commit, error) {
	r := a.r
	t := a.begin()
	defer t.drop()
	r.seq.Lock()
	defer r.seq.Unlock()
	if err := r.store.Err(); err != nil {
		return nil, err
	}
	clock := r.seq.clock
	site := t.site()
	site.Before, site.Mod = clock.Last, clock.Bump(r.now())
	changed, next, err := site.Reveal(force)
	if err != nil {
		return nil, err
	}
	if next != 0 {
		r.ticker.soon(a.id, next)
	}
	if !changed {
		return nil, nil
	}
	c := &commit{account: a, began: time.Now()}
	return c, a.submit(t, c, r.seq.vector, clock)
}
