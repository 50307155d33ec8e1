package mailstore

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// TestLongLists: commands about more messages than one operation lists are
// several operations, shown together, and travel.
func TestLongLists(t *testing.T) {
	const count = 2*maxTargets + 500
	n, peer := newNode(t, 1), newNode(t, 2)
	s, watcher := n.session(), n.session()
	ctx := ctxOf(t)
	m := fill(t, s, count)
	w := mustSelect(t, watcher, "INBOX")

	stop := make(chan struct{})
	watched := make(chan string, 1)
	go func() { watched <- watchAtomic(w, stop) }()
	all := tags(m.View())
	before := n.Logged().Get(n.Origin())
	if _, _, err := m.Store(ctx, all, FlagChange{Op: crdt.StoreAdd, Flags: Flagged}); err != nil {
		t.Fatal(err)
	}
	if got := n.Logged().Get(n.Origin()) - before; got != 3 {
		t.Errorf("STORE of %d messages is %d operations, want 3", count, got)
	}
	moved, v, err := m.Move(ctx, all, "Archive")
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	if bad := <-watched; bad != "" {
		t.Error(bad)
	}
	if v.Len() != 0 || len(moved.UIDs) != count || len(moved.Source) != count || !slices.IsSorted(moved.UIDs) {
		t.Errorf("MOVE left %d messages and gave %d UIDs for %d", v.Len(), len(moved.UIDs), len(moved.Source))
	}
	if a := mustSelect(t, s, "Archive"); !slices.Equal(uids(a.View()), moved.UIDs) {
		t.Error("MOVE gave other UIDs than it told")
	}
	n.audit(testUser)
	settle(t, n, peer)
	peer.audit(testUser)
	sp := peer.session()
	if a := mustSelect(t, sp, "Archive"); !slices.Equal(uids(a.View()), moved.UIDs) {
		t.Error("the peer shows other UIDs")
	}
}

// fill makes INBOX hold count messages, which share one content.
func fill(t testing.TB, s *Account, count int) *Mailbox {
	t.Helper()
	mustAppend(t, s, "INBOX", "x")
	m := mustSelect(t, s, "INBOX")
	for m.View().Len() < count {
		all := tags(m.View())
		if _, err := m.Copy(context.Background(), all[:min(len(all), count-len(all))], "INBOX"); err != nil {
			t.Fatal(err)
		}
	}
	return m
}

// watchAtomic looks at a mailbox until stop and reports a view in which only
// some of the messages are flagged, or only some are there.
func watchAtomic(m *Mailbox, stop <-chan struct{}) string {
	whole := m.View().Len()
	for {
		v := m.View()
		flagged := 0
		var msg Message
		for i := range v.Len() {
			v.At(i, &msg)
			if msg.Flags&Flagged != 0 {
				flagged++
			}
		}
		if v.Len() != whole && v.Len() != 0 || flagged != v.Len() && flagged != 0 {
			return "half of a command is visible"
		}
		select {
		case <-m.Changed():
		case <-stop:
			return ""
		}
	}
}

// TestCopyIsOneBatch: COPY of more than one operation can list is all or nothing.
func TestCopyIsOneBatch(t *testing.T) {
	if testing.Short() {
		t.Skip("many messages")
	}
	n := newNode(t, 1)
	s := n.session()
	fill(t, s, maxAdded+1)
	m := mustSelect(t, s, "INBOX")
	before := n.Logged().Get(n.Origin())
	a, err := m.Copy(ctxOf(t), tags(m.View()), "Archive")
	if err != nil || len(a.UIDs) != maxAdded+1 {
		t.Fatalf("COPY gave %d UIDs, %v", len(a.UIDs), err)
	}
	if got := n.Logged().Get(n.Origin()) - before; got != 2 {
		t.Errorf("COPY of %d messages is %d operations, want 2", maxAdded+1, got)
	}
	n.audit(testUser)
}

// TestLongDelete: DELETE of a mailbox and RENAME of INBOX list their messages in
// operations of bounded size, however many there are.
func TestLongDelete(t *testing.T) {
	const count = 2*maxTargets + 10
	n, peer := newNode(t, 1), newNode(t, 2)
	s := n.session()
	fill(t, s, count)
	own := func(f func() error) uint64 {
		t.Helper()
		before := n.Logged().Get(n.Origin())
		if err := f(); err != nil {
			t.Fatal(err)
		}
		return n.Logged().Get(n.Origin()) - before
	}
	if got := own(func() error { return s.Rename(ctxOf(t), "INBOX", "Old") }); got != 3 {
		t.Errorf("RENAME of INBOX with %d messages is %d operations, want 3", count, got)
	}
	if st, err := s.Status(ctxOf(t), "Old"); err != nil || st.Messages != count {
		t.Fatalf("%d messages renamed, %v", st.Messages, err)
	}
	n.audit(testUser)
	settle(t, n, peer)
	if got := own(func() error { return s.Delete(ctxOf(t), "Old") }); got != 3 {
		t.Errorf("DELETE of %d messages is %d operations, want 3", count, got)
	}
	if _, err := s.Status(ctxOf(t), "Old"); !errors.Is(err, ErrNonexistent) {
		t.Errorf("after DELETE: %v", err)
	}
	n.audit(testUser)
	settle(t, n, peer)
	peer.audit(testUser)
	if a, b := n.picture(), peer.picture(); a != b {
		t.Errorf("replicas differ:\n%s\n%s", a, b)
	}
}
