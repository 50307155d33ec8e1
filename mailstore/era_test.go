package mailstore

import (
	"fmt"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// approach uses up the UIDs of a mailbox but for n, as if they had been issued.
func approach(t testing.TB, n *node, box string, left crdt.UID) {
	t.Helper()
	a := n.acquire(testUser)
	defer n.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	x := a.begin()
	defer x.drop()
	b, err := x.lookup(box)
	if err != nil {
		t.Fatal(err)
	}
	b.N = crdt.NewUID(b.Era(), crdt.MaxNumber) - left
	if err := x.PutMailbox(b); err != nil {
		t.Fatal(err)
	}
	for id, b := range x.boxes { // without install, which would see what is due
		a.setBox(&boxState{rec: b, recent: x.recentOf(id), dirty: true})
	}
}

// TestMailboxOutlivesItsUIDs: a mailbox whose UIDs come to an end goes on under
// another UIDVALIDITY. Who has it selected keeps the picture that it had and is
// told to go; what is new has UIDs of the new era.
func TestMailboxOutlivesItsUIDs(t *testing.T) {
	n := newNode(t, 2) // not the leader
	s, watcher := n.session(), n.session()
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two")
	approach(t, n, "INBOX", 5)
	m := mustSelect(t, watcher, "INBOX")
	before := m.View()

	uid := mustAppend(t, s, "INBOX", "three") // no UID is left for it
	if uid != crdt.NewUID(1, 35) {
		t.Errorf("appended as %v", uid)
	}
	awaitChange(t, m)
	if !m.Gone() {
		t.Error("the selection goes on")
	}
	if v := m.View(); v != before {
		t.Errorf("the selection has %v now, had %v", uids(v), uids(before))
	}
	after := mustSelect(t, s, "INBOX")
	if after.UIDValidity() <= m.UIDValidity() || after.Gone() {
		t.Errorf("UIDVALIDITY was %d and is %d, gone %v", m.UIDValidity(), after.UIDValidity(), after.Gone())
	}
	if got, want := fmt.Sprint(uids(after.View())), "[1/33 1/34 1/35]"; got != want || after.View().Era() != 1 {
		t.Errorf("messages %s, want %s", got, want)
	}
	if first := after.ClaimRecent(after.View()); first != crdt.NewUID(1, 35) {
		t.Errorf("messages are recent from %v on: only the last one is", first)
	}
	// The old selection still reaches its messages.
	v, _, err := m.Store(ctxOf(t), tags(before)[:1], FlagChange{Op: crdt.StoreAdd, Flags: Flagged})
	if err != nil || v != before {
		t.Errorf("store in the old selection: %v", err)
	}
	var first Message
	if after.View().At(0, &first); first.Flags&Flagged == 0 {
		t.Error("the flag is not there")
	}
	status, err := s.Status(ctxOf(t), "INBOX")
	if err != nil || status.Messages != 3 || status.UIDNext != crdt.NewUID(1, 36) || status.UIDValidity != after.UIDValidity() {
		t.Errorf("status %+v, %v", status, err)
	}
	n.reopen()
	again := mustSelect(t, n.session(), "INBOX")
	if got := fmt.Sprint(uids(again.View())); got != "[1/33 1/34 1/35]" || again.UIDValidity() != after.UIDValidity() {
		t.Errorf("after a restart: %s, UIDVALIDITY %d", got, again.UIDValidity())
	}
	if err := n.Audit(testUser); err != nil {
		t.Error(err)
	}
}

// TestTickRenumbers: within the margin no command has to: the next tick does.
func TestTickRenumbers(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	approach(t, n, "INBOX", 1<<27)
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, n.session(), "INBOX", "two")
	for !m.Gone() {
		awaitChange(t, m)
		m.View()
	}
	after := mustSelect(t, s, "INBOX")
	if got := fmt.Sprint(uids(after.View())); got != "[1/17 1/18]" {
		t.Errorf("messages %s", got)
	}
}
