package mailstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// A user moves to another subnet in these steps, each of which can be done again
// (crdt.SetHome says why nothing gets lost):
//
//	where it lives                    where it goes
//	Snapshot                          MissingOf: which contents are not here yet
//	BodyChunk                         PutBodyChunk
//	SetHome(away)
//	  until that is causally stable
//	Snapshot                          MissingOf, and the contents that came since
//	                                  Import
//	SetHome                           (Import has said that it lives here)
//	Purge, much later
//
// Import and Purge make operations of their subnet: its other members get them as
// they get everything, also those that are away. Messages keep their UIDs and
// mailboxes their UIDVALIDITY.

// Home returns the subnet that an account was moved to, "" if it never was, and
// while it is on its way the member there that takes it over.
func (r *Replica) Home(user crdt.AccountID) (subnet, target string, err error) {
	if err := r.store.enter(); err != nil {
		return "", "", err
	}
	defer r.store.leave()
	a := r.acquire(user)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return "", "", err
	}
	return a.rec.Home.Value, a.rec.Target, nil
}

// SetHome says in which subnet an account lives, or with a target that it is on its
// way to that member there, and returns when peers have that too. Whoever uses the account here
// has to go. The operation is returned: what it ends is final when it is stable.
// ErrCannot: it is not here to be sent away, or arrives only now.
func (r *Replica) SetHome(ctx context.Context, user crdt.AccountID, subnet, target string) (crdt.Dot, error) {
	s := r.mover(user)
	defer s.Close()
	c, err := s.commit(ctx, func(t *tx) ([]crdt.Payload, error) {
		if rec := t.a.rec; rec.Home.Time != 0 && rec.Home.Value == subnet && rec.Target == target {
			return nil, nil
		}
		if err := t.a.maySetHome(subnet, target); err != nil {
			return nil, err
		}
		return []crdt.Payload{&crdt.SetHome{Subnet: subnet, Target: target}}, nil
	}, nil)
	if err == nil {
		err = r.conclude(ctx, c)
	}
	if err != nil {
		return crdt.Dot{}, fmt.Errorf("move account %d: %w", user, err)
	}
	if len(c.dots) == 0 { // it was so: behind what is here now nothing of before can come
		return crdt.Dot{Origin: r.self.Origin, N: r.Logged().Get(r.self.Origin)}, nil
	}
	return c.dots[0], nil
}

// maySetHome: two who move an account at the same time must not make two of it, and
// nobody is served what has come in part. Under a.mu.
func (a *account) maySetHome(subnet, target string) error {
	own := a.r.opts.Subnet
	switch {
	case target != "" && a.left():
		return fmt.Errorf("%w: %w", ErrCannot, a.errLeft())
	case target == "" && subnet == own && a.rec.Home.Value == own && a.left():
		return fmt.Errorf("%w: account %d has come to %s only in part", ErrCannot, a.id, own)
	}
	return nil
}

// mover is a session that may change an account that lives elsewhere.
func (r *Replica) mover(user crdt.AccountID) *Account {
	return &Account{a: r.acquire(user), moves: true, selects: make(map[*Mailbox]struct{})}
}

// left reports whether the account lives elsewhere. Under a.mu.
func (a *account) left() bool { return a.rec.Left(a.r.opts.Subnet) }

// errLeft is what whoever wants to use such an account is told.
func (a *account) errLeft() error {
	if a.rec.Target != "" {
		return fmt.Errorf("%w: account %d is on its way to %s", ErrUnavailable, a.id, a.rec.Home.Value)
	}
	return fmt.Errorf("%w: account %d has moved to %s", ErrUnavailable, a.id, a.rec.Home.Value)
}

// ErrNotEmpty is returned by Import for an account that lives here already.
var ErrNotEmpty = errors.New("the account lives in this subnet already")
