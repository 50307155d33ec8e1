package mailstore

import (
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// TestEvictedClock: the clock of an evicted incarnation, as far as anybody has heard
// of it, is passed on to the one that takes its place, which believes no MODSEQ of
// that time to be its own.
func TestEvictedClock(t *testing.T) {
	w := newWall()
	nodes := timed(t, w, 3, nil)
	peer, lost, next := nodes[0], nodes[1], nodes[2]
	ahead := crdt.TimeAt(peer.now()+5*crdt.MaxAhead, lost.slot)
	peer.Heard(lost.Origin(), ahead, crdt.VC{}.With(lost.Origin(), 1))
	if peer.Clock().UnixMillis() >= ahead.UnixMillis() {
		t.Fatal("a sign of life has moved the clock")
	}
	if err := peer.Evicted(lost.slot, lost.Origin()); err != nil {
		t.Fatal(err)
	}
	if peer.Clock().UnixMillis() < ahead.UnixMillis() {
		t.Error("nobody will know how far ahead the clock of the lost one was")
	}
	mustAppend(t, peer.session(), "INBOX", "one")
	next.loadAll(peer)
	for range 2 {
		if err := next.Joined(true); err != nil {
			t.Fatal(err)
		}
	}
	own := crdt.TimeAt(ahead.UnixMillis()+crdt.MaxAhead/2, next.slot) // as if it had been given here before
	if f := next.floor(own); f.Own {
		t.Errorf("%+v of a MODSEQ of the incarnation before", f)
	}
	next.reopen()
	if got := next.tokens.tokens.Birth(); got < own {
		t.Errorf("born %v after a restart", got)
	}
}

// TestEvictedWhileLoading: an account was loaded from a member that is lost then,
// the rest from another one, which had less of the lost one's operations. Nobody
// will get those: the account is loaded anew.
func TestEvictedWhileLoading(t *testing.T) {
	nodes := timed(t, newWall(), 3, nil)
	lost, other, n := nodes[0], nodes[1], nodes[2]
	const first, second = testUser, testUser + 1
	mustAppend(t, other.sessionOf(first), "INBOX", "both")
	mustAppend(t, other.sessionOf(second), "INBOX", "both")
	lost.loadAll(other)
	lost.pullAll(other)
	mustAppend(t, lost.sessionOf(first), "INBOX", "lost")

	list := n.beginLoad(lost)
	if len(list.Accounts) != 2 {
		t.Fatalf("accounts %v", list.Accounts)
	}
	n.feed(lost.pieces(first))
	if err := n.MergeLoad(ctxOf(t), first); err != nil {
		t.Fatal(err)
	}
	n.beginLoad(other)
	n.feed(other.pieces(second))
	if err := n.MergeLoad(ctxOf(t), second); err != nil {
		t.Fatal(err)
	}
	n.finishLoad()
	if has := n.Logged().Get(lost.Origin()); has != 0 {
		t.Fatalf("the vector says %d of the lost one", has)
	}
	n.wantNoQuarantine()
	if err := n.Evicted(lost.slot, lost.Origin()); err != nil {
		t.Fatal(err)
	}
	n.wantQuarantined(first, true)
	if err := n.heal(other, first); err != nil {
		t.Fatal(err)
	}
	n.wantNoQuarantine()
	n.pullAll(other)
	if got, want := rows(mustSelect(t, n.sessionOf(first), "INBOX").View()), rows(mustSelect(t, other.sessionOf(first), "INBOX").View()); len(got) != 1 || len(want) != 1 {
		t.Errorf("%v here, %v at the other one", got, want)
	}
}
