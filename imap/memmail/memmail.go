// Package memmail keeps mail in memory. It implements the interfaces that the
// protocol engine asks of a replica ([imap.Mail] and what it returns), so that
// the engine can be tested, fuzzed and measured without a disk or a network.
//
// It is correct and simple rather than fast: a change copies the list of the
// mailbox's messages, so that every [imap.View] stays what it was. Any number
// of sessions may use one account at once; what one of them has changed is
// visible to the others when its call returns, as with a real replica.
//
// It forgets everything with the process, replicates nothing, and keeps the
// content of a message for as long as the store lives. Tests provoke the
// failures of a real replica through [Store.Fail].
package memmail

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-pluto/pluto/imap"
)

// Store is a set of accounts. The zero value is not usable; see [New].
type Store struct {
	// Fail, when set before the first Open, is asked before every operation
	// that may fail ("append", "body", "copy", ...); what it returns is what
	// the operation returns.
	Fail func(operation string) error
	// Now is the clock, time.Now by default.
	Now func() time.Time
	// Limits are what each account may have; only the limits of it count.
	Limits imap.Quota

	separator string

	mu       sync.Mutex
	accounts map[imap.UserID]*account
}

// New returns an empty store whose mailbox names have levels separated by separator.
func New(separator byte) *Store {
	return &Store{
		Now:       time.Now,
		separator: string(separator),
		accounts:  make(map[imap.UserID]*account),
	}
}

// Open implements [imap.Mail]. A new account has INBOX and the usual
// special-use mailboxes, all subscribed.
func (s *Store) Open(_ context.Context, user imap.UserID, login string, _ imap.SessionID) (imap.Account, error) {
	if err := s.fail("open"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.accounts[user]
	if a == nil {
		a = newAccount(s, login)
		s.accounts[user] = a
	}
	if a.login != login {
		return nil, fmt.Errorf("open user %d as %q: %w", user, login, imap.ErrContactAdmin)
	}
	return &session{account: a}, nil
}

func (s *Store) fail(operation string) error {
	if s.Fail == nil {
		return nil
	}
	return s.Fail(operation)
}

// Renumber gives a message of a mailbox another UID, above all others, as a
// replica does where its peers have shown more than the first one (crdt.md 2).
// It returns the new UID, 0 if there is no such message.
func (s *Store) Renumber(user imap.UserID, name string, uid imap.UID) imap.UID {
	s.mu.Lock()
	a := s.accounts[user]
	s.mu.Unlock()
	if a == nil {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.box(name)
	if err != nil {
		return 0
	}
	i, ok := b.view.Find(uid)
	if !ok {
		return 0
	}
	messages, next, mod := slices.Clone(b.view.messages), b.view.uidNext, imap.ModSeq(a.next())
	m := messages[i]
	b.vanished = append(b.vanished, vanished{m.UID, mod})
	m.UID, m.ModSeq = next, mod
	a.author = nil
	b.publish(append(slices.Delete(messages, i, i+1), m), next+1, mod)
	a.touched(b.id)
	return next
}

// session is one session's handle of an account.
type session struct {
	*account
	open []*mailbox
}

// Close implements [imap.Account].
func (s *session) Close() {
	for _, m := range s.open {
		m.Close()
	}
	s.open = nil
}

// Command implements [imap.Account]; nothing is recorded of commands.
func (s *session) Command(uint64) {}

// Vector implements [imap.Account]; there is only one replica.
func (s *session) Vector() []byte { return nil }

// Select implements [imap.Account].
func (s *session) Select(_ context.Context, name string, readOnly bool) (imap.Mailbox, error) {
	if err := s.store.fail("select"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.box(name)
	if err != nil {
		return nil, err
	}
	return s.watch(b, readOnly), nil
}

// watch opens a mailbox. The caller holds mu.
func (s *session) watch(b *box, readOnly bool) *mailbox {
	m := &mailbox{session: s, account: s.account, box: b, name: b.name, readOnly: readOnly, changed: make(chan struct{}, 1)}
	b.watchers[m] = struct{}{}
	s.open = append(s.open, m)
	return m
}
