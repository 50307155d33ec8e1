package mailstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// newNodeIn makes a member of another subnet than the tests' own.
func newNodeIn(t *testing.T, subnet string, slot crdt.Slot) *node {
	n := &node{t: t, fs: vfs.NewCrashableMem(), slot: slot, set: func(o *ReplicaOptions) { o.Subnet = subnet }}
	n.open()
	t.Cleanup(func() { n.close() })
	return n
}

// bring copies what of a snapshot is missing.
func (n *node) bring(from *node, pieces [][]byte) {
	n.t.Helper()
	list, err := n.MissingOf(ctxOf(n.t), pieces)
	if err != nil {
		n.t.Fatal(err)
	}
	for _, root := range list {
		n.pullBody(from, root)
	}
}

// fullPicture describes an account as clients see it: mailboxes, UIDs, flags, bytes.
func (n *node) fullPicture(user crdt.AccountID) string {
	n.t.Helper()
	var b strings.Builder
	s := n.sessionOf(user)
	defer s.Close()
	boxes, err := s.Mailboxes(ctxOf(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, x := range boxes {
		fmt.Fprintf(&b, "%q %v %v %q\n", x.Name, x.Exists, x.Subscribed, x.SpecialUse)
		if !x.Exists {
			continue
		}
		m, err := s.Select(ctxOf(n.t), x.Name, true)
		if err != nil {
			n.t.Fatal(err)
		}
		fmt.Fprintf(&b, "  %d: %s", m.UIDValidity(), joined(lines(n.t, s, m.View())))
		m.Close()
	}
	return b.String()
}

// TestMove moves an account to another subnet, where it looks the same: an import
// that is interrupted is gone on with, and the old subnet serves it no more.
func TestMove(t *testing.T) {
	a1, a2 := newNode(t, 1), newNode(t, 2)
	b1, b2 := newNodeIn(t, "subnet-2", 1), newNodeIn(t, "subnet-2", 2)
	s := a1.session()
	for i := range 6 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i), `\Seen`, "$Label")
	}
	m := mustSelect(t, s, "INBOX")
	list := tags(m.View())
	for _, err := range []error{s.Create(ctxOf(t), "A.B", ""), s.Rename(ctxOf(t), "A.B", "A.C"), s.Create(ctxOf(t), "gone", "")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Copy(ctxOf(t), list[:2], "A.C"); err != nil {
		t.Fatal(err)
	}
	gone := mustAppend(t, s, "gone", "in a mailbox that is deleted")
	goneBox := mustSelect(t, s, "gone")
	goneValidity := goneBox.UIDValidity()
	goneBox.Close()
	if err := s.Delete(ctxOf(t), "gone"); err != nil {
		t.Fatal(err)
	}
	mustExpunge(t, m, list[5:]) // the largest UID
	settle(t, a1, a2)
	there := mustAppend(t, a2.session(), "INBOX", "written at the other member", `\Flagged`)

	b1.bring(a1, a1.pieces(testUser))
	if _, err := a1.SetHome(ctxOf(t), testUser, "subnet-2", "b1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Status(ctxOf(t), "INBOX"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("a session after it has left: %v", err)
	}
	settle(t, a1, a2)
	if _, err := a2.Open(ctxOf(t), testUser, testLogin, newSessionID()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("login at another member after it has left: %v", err)
	}
	pieces := a1.pieces(testUser)
	b1.bring(a1, pieces)
	b1.importSome(pieces, "b1", 2)
	b1.reopen()
	if err := b1.Import(ctxOf(t), testUser, "b2", pieces); !errors.Is(err, ErrCannot) {
		t.Errorf("import at another member: %v", err)
	}
	if err := b1.Import(ctxOf(t), testUser, "b1", pieces); !errors.Is(err, ErrMissingContents) {
		t.Errorf("import without the contents, which a start forgets: %v", err)
	}
	b1.bring(a1, pieces)
	b1.importSome(pieces, "b1", 3)
	if err := b1.Import(ctxOf(t), testUser, "b1", pieces); err != nil {
		t.Fatal(err)
	}
	if err := b1.Import(ctxOf(t), testUser, "b1", pieces); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second import: %v", err)
	}
	if _, err := a1.SetHome(ctxOf(t), testUser, "subnet-2", ""); err != nil {
		t.Fatal(err)
	}
	settle(t, a1, a2)
	settle(t, b1, b2)
	for _, n := range []*node{a1, a2} {
		if home, target, err := n.Home(testUser); home != "subnet-2" || target != "" || err != nil {
			t.Errorf("home is %q, %v, %v", home, target, err)
		}
	}
	if err := a1.Import(ctxOf(t), testUser, "b1", pieces); !errors.Is(err, ErrCannot) {
		t.Errorf("import where it came from: %v", err)
	}
	// The old subnet as it would look: what it has is still there.
	want := func() string {
		back := a2.mover(testUser)
		defer back.Close()
		if _, err := a2.SetHome(ctxOf(t), testUser, "subnet-1", ""); err != nil {
			t.Fatal(err)
		}
		return a2.fullPicture(testUser)
	}()
	for _, n := range []*node{b1, b2} {
		if got := n.fullPicture(testUser); got != want {
			t.Errorf("moved to\n%s\nwas\n%s", got, want)
		}
		n.audit(testUser)
	}
	if !strings.Contains(want, "written at the other member") {
		t.Error("what the other member had is lost")
	}
	sb := b2.session()
	if uid := mustAppend(t, sb, "INBOX", "new"); uid <= there {
		t.Errorf("UID %d was given again", uid)
	}
	if err := sb.Create(ctxOf(t), "gone", ""); err != nil {
		t.Fatal(err)
	}
	again := mustSelect(t, sb, "gone")
	if uid := mustAppend(t, sb, "gone", "again"); uid <= gone && again.UIDValidity() == goneValidity {
		t.Errorf("UID %d was given again", uid)
	}
	settle(t, b1, b2)
	if x, y := b1.fullPicture(testUser), b2.fullPicture(testUser); x != y {
		t.Errorf("members differ:\n%s\n%s", x, y)
	}
	b1.audit(testUser)
}

// importSome begins an import and does some of its steps.
func (n *node) importSome(pieces [][]byte, name string, steps int) {
	n.t.Helper()
	in, err := readArrival(pieces)
	if err != nil {
		n.t.Fatal(err)
	}
	in.node = name
	s := n.mover(testUser)
	defer s.Close()
	c, err := s.commit(ctxOf(n.t), in.arrive, nil)
	if err == nil {
		err = n.conclude(ctxOf(n.t), c)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	for _, step := range []func(*tx) ([]crdt.Payload, error){in.boxes, in.eras, in.names, in.mail}[:steps+1] {
		if err := s.importStep(ctxOf(n.t), in, step); err != nil {
			n.t.Fatal(err)
		}
	}
}

// TestMoveDismisses: every member's sessions have to go, once.
func TestMoveDismisses(t *testing.T) {
	a1, a2 := newNode(t, 1), newNode(t, 2)
	var told []crdt.AccountID
	a2.set = func(o *ReplicaOptions) { o.Dismissed = func(id crdt.AccountID) { told = append(told, id) } }
	a2.reopen()
	a1.session()
	settle(t, a1, a2)
	for _, target := range []string{"b1", "b1", ""} {
		if _, err := a1.SetHome(ctxOf(t), testUser, "subnet-2", target); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, a1, a2)
	if !slices.Equal(told, []crdt.AccountID{testUser}) {
		t.Errorf("told of %v", told)
	}
}
