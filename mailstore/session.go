package mailstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// SessionID names a client session over all replicas; it makes causes of operations.
type SessionID = [16]byte

// Account is one session's access to the mail of one user. It is used by one
// goroutine at a time.
//
// Its methods block until what they did may be told to the client: durable
// here, acknowledged by the peers, and visible in the order in which all
// changes of the account became so. No lock is held meanwhile. A context ends
// the waiting, not a commit under way.
type Account struct {
	a       *account
	session SessionID
	command uint64
	index   uint32
	attempt uint32
	fence   func() error
	failed  []int   // by the change that is being prepared
	wrote   crdt.VC // of each replica the last operation of this session
	quota   Amount  // limits of what this session adds to
	selects map[*Mailbox]struct{}
	closed  bool

	moves      bool // it may change an account that lives elsewhere
	isolations int  // of the account, when it was opened
	entered    bool
}

// Open returns the account of a user for one session. The first Open of an
// account anywhere binds it to the login name and makes INBOX and the
// special-use mailboxes; another login name is refused with ErrContactAdmin.
func (r *Replica) Open(ctx context.Context, user crdt.AccountID, login string, session SessionID) (*Account, error) {
	if login == "" || user == unreadable {
		return nil, fmt.Errorf("open account %d: %w: no login name", user, ErrContactAdmin)
	}
	s := &Account{a: r.acquire(user), session: session, selects: make(map[*Mailbox]struct{})}
	if err := s.bind(ctx, login); err != nil {
		r.release(s.a)
		return nil, fmt.Errorf("open account %d: %w", user, err)
	}
	return s, nil
}

func (s *Account) bind(ctx context.Context, login string) error {
	c, err := s.commit(ctx, func(t *tx) ([]crdt.Payload, error) {
		boxes, err := payload(t.site().PrepareProvision())
		if err != nil {
			return nil, err
		}
		bind, err := payload(t.site().PrepareBindLogin(login))
		if err != nil {
			return nil, err
		}
		epoch, err := t.raiseEpoch()
		return slices.Concat(boxes, bind, epoch), err
	}, nil)
	if err != nil {
		return err
	}
	if len(c.dots) == 0 { // nothing that must be waited for
		s.a.settle(c, nil)
		return nil
	}
	return s.a.r.conclude(ctx, c)
}

// payload makes a list of what a prepare returned: a nil pointer is none.
func payload[T any, P interface {
	*T
	crdt.Payload
}](p P, err error) ([]crdt.Payload, error) {
	if p == nil || err != nil {
		return nil, err
	}
	return []crdt.Payload{p}, nil
}

// Close ends the use; mailboxes still selected are closed with it.
func (s *Account) Close() {
	if s.closed {
		return
	}
	s.closed = true
	for m := range s.selects {
		m.close()
	}
	s.a.r.release(s.a)
}

// Command tells the number of the client command that what follows belongs to.
func (s *Account) Command(n uint64) { s.command, s.index, s.attempt = n, 0, 0 }

// Attempt tells that another replica may have executed the present command n
// times before (crdt.md 2.3): what it adds now takes the place of what it added
// then, should that still arrive. It is called after [Account.Command], with a
// larger number than by any replica before.
func (s *Account) Attempt(n uint32) { s.attempt = n }

// Fence sets a function that is asked, at the moment of each commit, whether
// this session may still write here (replication.md, fencing). It must not block.
func (s *Account) Fence(f func() error) { s.fence = f }

func (s *Account) origin() origin {
	return origin{
		cause:  crdt.Cause{Session: s.session, Command: s.command, Index: s.index, Attempt: s.attempt},
		failed: s.failed,
		fence:  s.fence,
	}
}

// enter locks the account's head for a method; leave unlocks it.
func (s *Account) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.closed {
		return errClosed
	}
	a := s.a
	if err := a.r.store.enter(); err != nil {
		return err
	}
	a.mu.Lock()
	err := a.r.store.Err()
	if err == nil {
		err = a.load()
	}
	if err == nil {
		err = s.admitted()
	}
	if err != nil {
		s.leave()
	}
	return err
}

// admitted returns why the session may not use the account: it is in quarantine,
// or was since the session began, and what that knows may not be so any more. Under a.mu.
func (s *Account) admitted() error {
	if q := s.a.quarantined; q != nil {
		return q.err()
	}
	if !s.moves && s.a.left() {
		return s.a.errLeft()
	}
	if s.entered && s.isolations != s.a.isolations {
		return fmt.Errorf("%w: account %d was in quarantine; log in again", ErrUnavailable, s.a.id)
	}
	s.entered, s.isolations = true, s.a.isolations
	return nil
}

func (s *Account) leave() {
	s.a.mu.Unlock()
	s.a.r.store.leave()
}

// change prepares a change, commits it and waits until it may be told. after,
// which may be nil, runs when the change has been applied to the transaction.
func (s *Account) change(ctx context.Context, prepare func(*tx) ([]crdt.Payload, error), after func(*tx) error) error {
	c, err := s.commit(ctx, prepare, after)
	if err != nil {
		return err
	}
	return s.a.r.conclude(ctx, c)
}

// commit returns when the change is durable here. It always returns a commit:
// a change of nothing is one that waits for those before it.
func (s *Account) commit(ctx context.Context, prepare func(*tx) ([]crdt.Payload, error), after func(*tx) error) (*commit, error) {
	if err := s.enter(ctx); err != nil {
		return nil, err
	}
	c, err := s.apply(prepare, after)
	s.noteWritten(c)
	err = s.a.suspect(err)
	s.a.mu.Unlock()
	defer s.a.r.store.leave()
	if c == nil {
		return nil, translate(err)
	}
	if e := s.a.r.synced(c); e != nil {
		return nil, e
	}
	if err != nil { // only the first batches of a long list were written
		s.a.r.concludeLater(c)
		return nil, translate(err)
	}
	return c, nil
}

// apply prepares a change and hands it to the database. Under a.mu.
func (s *Account) apply(prepare func(*tx) ([]crdt.Payload, error), after func(*tx) error) (*commit, error) {
	t := s.a.begin()
	defer func() { t.drop() }()
	payloads, err := prepare(t)
	var c *commit
	if full := (*crdt.SpaceError)(nil); errors.As(err, &full) {
		if c, err = s.renumber(full.Box); err != nil {
			return nil, err
		}
		t.drop()
		t = s.a.begin()
		payloads, err = prepare(t)
	}
	if err == nil && len(payloads) > 0 {
		err = s.unknown(t)
	}
	if err != nil {
		return c, err
	}
	groups := split(payloads)
	if len(groups) == 0 {
		next, err := s.a.keep(t)
		if err != nil {
			return c, err
		}
		if next == nil {
			next = s.a.nothing(nil)
		}
		next.before = c
		return next, nil
	}
	for i, group := range groups {
		step := localChange{from: s.origin(), payloads: group, after: after, more: i < len(groups)-1}
		next, err := s.a.commitLocal(t, step)
		if err != nil {
			return c, err
		}
		s.failed = nil // told with the first
		for _, p := range group {
			s.index += instances(p)
		}
		next.before, c = c, next
		t = t.next()
	}
	return c, nil
}

// renumber begins another era of a mailbox in which no UID is left for what this
// session wants to do; the change itself follows it. Under a.mu.
func (s *Account) renumber(box crdt.MailboxID) (*commit, error) {
	t := s.a.begin()
	defer func() { t.drop() }()
	payloads, err := t.site().PrepareRenumber(box)
	if err != nil {
		return nil, err
	}
	return s.a.commitLocal(t, localChange{from: origin{fence: s.fence}, payloads: payloads})
}

// nothing is a commit that changes nothing on the disk, and is concluded after
// those before it. Under a.mu.
func (a *account) nothing(out []exposure) *commit {
	c := &commit{account: a, shown: a.rec.Vector, done: make(chan struct{}), exposures: out}
	a.enqueue(c)
	return c
}

// look reads the head, and returns when all that it saw may be told.
func (s *Account) look(ctx context.Context, f func(*tx) error) error {
	return s.change(ctx, func(t *tx) ([]crdt.Payload, error) { return nil, f(t) }, nil)
}

// translate gives errors of the data type the names that callers know.
func translate(err error) error {
	for _, e := range [...]struct{ from, to error }{
		{crdt.ErrNonexistent, ErrNonexistent},
		{crdt.ErrAlreadyExists, ErrAlreadyExists},
		{crdt.ErrCannot, ErrCannot},
		{crdt.ErrName, ErrCannot},
		{crdt.ErrFlag, ErrCannot},
		{crdt.ErrLimit, ErrLimit},
		{crdt.ErrUIDSpace, ErrLimit},
		{crdt.ErrOtherLogin, ErrContactAdmin},
		{crdt.ErrSuperseded, ErrUnavailable}, // this session has moved away
	} {
		if errors.Is(err, e.from) && !errors.Is(err, e.to) {
			return fmt.Errorf("%w: %w", e.to, err)
		}
	}
	return err
}
