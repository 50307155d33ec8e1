package mailstore

import (
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// TestEvidenceIsDurable: UIDs that a client knows from elsewhere are never given
// to a message here, nor is UIDNEXT announced below them, after a crash neither.
func TestEvidenceIsDurable(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	m := mustSelect(t, s, "INBOX")
	for _, from := range []uint32{5, 18, 1000} {
		if err := m.Evidence(ctxOf(t), from); err != nil {
			t.Fatal(err)
		}
	}
	if got := m.View().UIDNext(); got != 1000 {
		t.Errorf("UIDNEXT %v", got)
	}
	s.Close()
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.reopen()
	s = n.session()
	status, err := s.Status(ctxOf(t), "INBOX")
	if err != nil || status.UIDNext != 1000 {
		t.Errorf("after a crash: UIDNEXT %v, %v", status.UIDNext, err)
	}
	if uid := mustAppend(t, s, "INBOX", "two"); uid < 1000 {
		t.Errorf("appended as %v", uid)
	}
}

// TestEvidenceOfAnotherEra: a selection whose era is over says nothing about the next.
func TestEvidenceOfAnotherEra(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	approach(t, n, "INBOX", 5)
	m := mustSelect(t, n.session(), "INBOX")
	mustAppend(t, s, "INBOX", "two")
	if err := m.Evidence(ctxOf(t), crdt.MaxNumber-3); err != nil {
		t.Fatal(err)
	}
	if got := mustSelect(t, s, "INBOX").View().UIDNext(); got != crdt.NewUID(1, 19) {
		t.Errorf("UIDNEXT %v", got)
	}
}
