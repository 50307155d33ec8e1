package mailstore

import (
	"context"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

const skipped crdt.UID = 1 << 24

// TestRaiseEpoch: all accounts skip UIDs when a member was evicted, those that
// are first seen later, too; two members that do it at once agree.
func TestRaiseEpoch(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	settle(t, a, b)
	first, second := a.sessionOf(testUser), a.sessionOf(8)
	mustAppend(t, first, "INBOX", "one")
	mustAppend(t, second, "INBOX", "two")
	settle(t, a, b)
	if err := b.sessionOf(testUser).Create(ctxOf(t), "Unheard", ""); err != nil {
		t.Fatal(err)
	}

	ended, cancel := context.WithCancel(ctxOf(t))
	cancel()
	if err := a.RaiseEpoch(ended, 1); err == nil {
		t.Error("nobody ended it")
	}
	if epoch, done := a.Epoch(); epoch != 1 || done {
		t.Errorf("interrupted in epoch %d, done %v", epoch, done)
	}
	first.Close()
	second.Close()
	a.reopen()
	if epoch, done := a.Epoch(); epoch != 1 || done {
		t.Errorf("after a restart epoch %d, done %v", epoch, done)
	}
	for _, n := range []*node{a, b} {
		if err := n.RaiseEpoch(ctxOf(t), 1); err != nil {
			t.Fatal(err)
		}
		if _, done := n.Epoch(); !done {
			t.Error("not done")
		}
	}
	logged := a.Logged()
	if err := a.RaiseEpoch(ctxOf(t), 1); err != nil || !a.Logged().Equal(logged) {
		t.Errorf("done again: %v", err)
	}
	settle(t, a, b)
	if got, want := b.picture(), a.picture(); got != want {
		t.Errorf("b has:\n%s\na has:\n%s", got, want)
	}
	for _, user := range []crdt.AccountID{testUser, 8, 9} { // 9 is new
		s := a.sessionOf(user)
		if uid := mustAppend(t, s, "INBOX", "later"); uid <= skipped {
			t.Errorf("account %d: appended as %v", user, uid)
		}
		if err := a.Audit(user); err != nil {
			t.Error(err)
		}
	}
	if uid := mustAppend(t, a.sessionOf(testUser), "Unheard", "later"); uid <= skipped {
		t.Errorf("in a mailbox of the peer: %v", uid)
	}
	if err := a.sessionOf(testUser).Create(ctxOf(t), "New", ""); err != nil {
		t.Fatal(err)
	}
	if m := mustSelect(t, a.sessionOf(testUser), "New"); m.UIDValidity()>>20 != 2 {
		t.Errorf("UIDVALIDITY %#x of a new mailbox", m.UIDValidity())
	}
}

// TestRaiseEpochOfMoved: accounts that have moved away keep nobody from being evicted.
func TestRaiseEpochOfMoved(t *testing.T) {
	n := newNode(t, 1)
	mustAppend(t, n.session(), "INBOX", "one")
	if _, err := n.SetHome(ctxOf(t), testUser, "subnet-2", ""); err != nil {
		t.Fatal(err)
	}
	if err := n.RaiseEpoch(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	if _, done := n.Epoch(); !done {
		t.Error("not done")
	}
}
