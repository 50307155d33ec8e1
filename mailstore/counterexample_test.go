package mailstore

import (
	"context"
	"slices"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Counterexamples of crdt.md section 9 that need a disk; the others are scripts
// of the package crdt.

// TestUIDIsOnDiskBeforeItIsTold is C7: what a client or a peer was told of is
// still there after the power fails, with what follows from it: the UID is not
// given again, nor the number of the operation.
func TestUIDIsOnDiskBeforeItIsTold(t *testing.T) {
	n := newNode(t, 1)
	told, bodies := []string(nil), []string{"a", "b", "c", "d"}
	for _, body := range bodies {
		s := n.session()
		uid := mustAppend(t, s, "INBOX", body)
		told = lines(t, s, mustSelect(t, s, "INBOX").View())
		logged := n.Logged()
		s.Close()

		power := n.fs.CrashClone(vfs.CrashCloneCfg{}) // without what was not synced
		n.close()
		n.fs = power
		n.open()

		if got := n.Logged(); !got.Equal(logged) {
			t.Fatalf("peers were told of %v, after the crash there is %v", logged, got)
		}
		s = n.session()
		m := mustSelect(t, s, "INBOX")
		if got := lines(t, s, m.View()); !slices.Equal(got, told) {
			t.Fatalf("after the crash there is\n%v, a client was shown\n%v", got, told)
		}
		if next := m.View().UIDNext(); next <= uid {
			t.Fatalf("UIDNEXT is %d, UID %d was given", next, uid)
		}
		m.Close()
		s.Close()
	}
	n.audit(testUser)
}

// TestRestoredBackupIsNoticed is C7 with a backup: an old copy of the data would
// give again UIDs and numbers that a peer knows. The first operation of a peer
// that knows more is refused, and shows it.
func TestRestoredBackupIsNoticed(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mustAppend(t, a.session(), "INBOX", "before the backup")
	backup := a.fs.CrashClone(vfs.CrashCloneCfg{})
	mustAppend(t, a.session(), "INBOX", "after it")
	b.pull(a)
	mustAppend(t, b.session(), "INBOX", "of the peer")

	a.close()
	a.fs = backup
	a.open()
	entries, err := b.Read(b.Origin(), 1, 10_000)
	if err != nil || len(entries) == 0 {
		t.Fatalf("log of the peer: %d operations, %v", len(entries), err)
	}
	last := entries[len(entries)-1]
	for _, root := range last.Bodies {
		a.pullBody(b, root)
	}
	if err := a.Apply(context.Background(), []entry{last}); err == nil {
		t.Error("an operation that knows what this replica has forgotten is applied")
	}
	own, err := b.Read(a.Origin(), a.Logged().Get(a.Origin())+1, 10_000)
	if err != nil || len(own) == 0 {
		t.Fatalf("the peer has %d more operations of the replica, %v", len(own), err)
	}
	for _, root := range own[0].Bodies {
		a.pullBody(b, root)
	}
	if err := a.Apply(context.Background(), own[:1]); err == nil {
		t.Error("the replica takes its own operations from a peer as if they were another's")
	}
}
