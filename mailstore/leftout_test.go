package mailstore

import (
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// loadWithout loads all accounts of a node but one.
func (n *node) loadWithout(from *node, user crdt.AccountID) {
	n.t.Helper()
	for _, id := range n.beginLoad(from).Accounts {
		if id == user {
			continue
		}
		n.feed(from.pieces(id))
		if err := n.MergeLoad(ctxOf(n.t), id); err != nil {
			n.t.Fatal(err)
		}
	}
	if err := n.FinishLoad(); !errors.Is(err, ErrNotLoaded) {
		n.t.Errorf("finished although an account is missing: %v", err)
	}
	if err := n.FinishLoad(user); err != nil {
		n.t.Fatal(err)
	}
}

// TestLoadLeavesOut: a load ends without an account that nobody gives. That is in
// quarantine until it is loaded by itself, over restarts too, and what comes for it
// meanwhile is applied then; it is not taken for empty by whoever loads of here.
func TestLoadLeavesOut(t *testing.T) {
	for _, returning := range []bool{false, true} {
		name := map[bool]string{false: "new", true: "returning"}[returning]
		t.Run(name, func(t *testing.T) {
			a, b := newNode(t, 1), newNode(t, 2)
			s := a.session()
			mustAppend(t, s, "INBOX", "one")
			mustAppend(t, a.sessionOf(8), "INBOX", "of another user")
			if returning {
				settle(t, a, b)
				mustAppend(t, b.session(), "INBOX", "here, before it was away")
				a.pull(b)
			}
			mustAppend(t, s, "INBOX", "two")
			if err := a.CutLog(a.Logged()); err != nil {
				t.Fatal(err)
			}
			b.loadWithout(a, testUser)
			if !a.Logged().LessEqual(b.Logged()) {
				t.Errorf("the loader has %v, the source %v", b.Logged(), a.Logged())
			}
			b.pullMissing(a)
			sameMail(t, 8, "INBOX", a, b)
			b.wantQuarantined(testUser, false)
			mustAppend(t, s, "INBOX", "three")
			b.pull(a)
			b.reopen()
			b.wantQuarantined(testUser, false)
			if _, err := b.Open(ctxOf(t), testUser, testLogin, newSessionID()); !errors.Is(err, ErrUnavailable) {
				t.Errorf("it is served: %v", err)
			}
			if list, err := b.ListSnapshots(); err != nil || !slices.Contains(list.Accounts, testUser) || !slices.IsSorted(list.Accounts) {
				t.Errorf("whoever loads of here does not hear of it: %v, %v", list.Accounts, err)
			}
			if err := b.heal(a, testUser); err != nil {
				t.Fatal(err)
			}
			b.wantNoQuarantine()
			mustAppend(t, b.session(), "INBOX", "four")
			settle(t, a, b)
			sameMail(t, testUser, "INBOX", a, b)
			a.audit(testUser, 8)
			b.audit(testUser, 8)
		})
	}
}

// TestLeftOutCatchesUp: operations of an account that was left out which come after
// the snapshot that is loaded at last are applied to it.
func TestLeftOutCatchesUp(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	s := a.session()
	mustAppend(t, s, "INBOX", "one")
	if err := a.CutLog(a.Logged()); err != nil {
		t.Fatal(err)
	}
	b.loadWithout(a, testUser)
	pieces := a.pieces(testUser)
	mustAppend(t, s, "INBOX", "two")
	b.pull(a) // withheld
	err := b.ReloadAccount(ctxOf(t), testUser, func() ([]byte, error) {
		if len(pieces) == 0 {
			return nil, io.EOF
		}
		next := pieces[0]
		pieces = pieces[1:]
		return next, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.wantNoQuarantine()
	b.pullMissing(a)
	settle(t, a, b)
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}
