package mailstore

import (
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// boxID returns the identity of a mailbox.
func boxID(t *testing.T, s *Account, name string) crdt.MailboxID {
	t.Helper()
	st, err := s.Status(ctxOf(t), name)
	if err != nil {
		t.Fatal(err)
	}
	return st.ID
}

func wantTaken(t *testing.T, w *Watch, want WatchedChanges) {
	t.Helper()
	got := w.Take()
	if !slices.Equal(got.Mailboxes, want.Mailboxes) || !slices.Equal(got.Own, want.Own) ||
		got.List != want.List || got.OwnList != want.OwnList || got.Lost {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestWatchTellsWhatOthersChange(t *testing.T) {
	n := newNode(t, 1)
	mine, other := n.session(), n.session()
	inbox, sent := boxID(t, mine, "INBOX"), boxID(t, mine, "Sent")
	w := mine.Watch()
	defer w.Close()
	wantTaken(t, w, WatchedChanges{})

	mustAppend(t, other, "INBOX", "one")
	mustAppend(t, other, "INBOX", "two")
	mustAppend(t, mine, "INBOX", "three")
	mustAppend(t, mine, "Sent", "four")
	<-w.Changed()
	wantTaken(t, w, WatchedChanges{Mailboxes: []crdt.MailboxID{inbox}, Own: []crdt.MailboxID{sent}})

	m := mustSelect(t, other, "INBOX")
	if _, _, err := m.Store(ctxOf(t), tags(m.View())[:1], FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	wantTaken(t, w, WatchedChanges{Mailboxes: []crdt.MailboxID{inbox}})

	for name, change := range map[string]func(*Account) error{
		"create":    func(s *Account) error { return s.Create(ctxOf(t), "New", "") },
		"subscribe": func(s *Account) error { return s.Subscribe(ctxOf(t), "Elsewhere", true) },
	} {
		if err := change(other); err != nil {
			t.Fatal(err)
		}
		if got := w.Take(); !got.List || got.OwnList {
			t.Fatalf("%s: %+v", name, got)
		}
	}
	if err := mine.Rename(ctxOf(t), "New", "Newer"); err != nil {
		t.Fatal(err)
	}
	if got := w.Take(); got.List || !got.OwnList {
		t.Fatalf("rename: %+v", got)
	}

	w.Close()
	mustAppend(t, other, "INBOX", "five")
	wantTaken(t, w, WatchedChanges{})
}

// What another replica did is told too, when it is visible.
func TestWatchTellsWhatOtherReplicasChange(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	here, there := a.session(), b.session()
	settle(t, a, b)
	w := here.Watch()
	defer w.Close()
	mustAppend(t, there, "INBOX", "one")
	if err := there.Create(ctxOf(t), "New", ""); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	got := w.Take()
	if !slices.Contains(got.Mailboxes, boxID(t, here, "INBOX")) || !got.List || len(got.Own) > 0 || got.OwnList {
		t.Fatalf("%+v", got)
	}
}
