package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

var _ comm.Store = (*Replica)(nil)

func TestSession(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one", crdt.FlagSeen)
	mustAppend(t, s, "INBOX", "two", "$Junk", "work")
	mustAppend(t, s, "INBOX", "three")
	wantLines(t, lines(t, s, m.View()), "17 00001 [] one", "18 00000 [$Junk work] two", "19 00000 [] three")

	v := m.View()
	all := tags(v)
	w, failed, err := m.Store(ctx, all[:2], FlagChange{Op: crdt.StoreAdd, Flags: Flagged})
	if err != nil || len(failed) > 0 {
		t.Fatal(failed, err)
	}
	if d := w.Since(v); !slices.Equal(d.Changed, []crdt.UID{17, 18}) || len(d.Added)+len(d.Expunged) > 0 {
		t.Errorf("STORE changed %+v", d)
	}
	if _, _, err = m.Store(ctx, all[:1], FlagChange{Op: crdt.StoreAdd, Flags: Deleted}); err != nil {
		t.Fatal(err)
	}
	if w, err = m.Expunge(ctx, all); err != nil { // all[1:] are not \Deleted: skipped
		t.Fatal(err)
	}
	wantLines(t, lines(t, s, w), "18 00100 [$Junk work] two", "19 00000 [] three")

	if err := s.Create(ctx, "Work.Projects", ""); err != nil {
		t.Fatal(err)
	}
	copied, err := m.Copy(ctx, all[1:], "Work.Projects")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(copied.Source, []int{0, 1}) || len(copied.UIDs) != 2 || copied.UIDValidity == 0 {
		t.Errorf("COPY made %+v", copied)
	}
	moved, w, err := m.Move(ctx, all, "Work.Projects") // all[0] is gone: skipped
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(moved.Source, []int{1, 2}) || w.Len() != 0 {
		t.Errorf("MOVE made %+v and left %v", moved, uids(w))
	}
	p := mustSelect(t, s, "Work.Projects")
	wantLines(t, lines(t, s, p.View()), "17 00100 [$Junk work] two", "18 00000 [] three", "19 00100 [$Junk work] two", "20 00000 [] three")
	var msg Message
	p.View().At(3, &msg)
	if b, err := s.Structure(ctx, msg.Root); err != nil || string(b) != "structure of three" {
		t.Errorf("structure is %q, %v", b, err)
	}
	n.audit(testUser)
}

func TestStatusCounts(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	for i := range 5 {
		mustAppend(t, s, "INBOX", fmt.Sprint("message ", i))
	}
	check := func(want Status) {
		t.Helper()
		got, err := s.Status(ctx, "INBOX")
		if err != nil {
			t.Fatal(err)
		}
		want.UIDValidity, want.HighestModSeq, want.ID = got.UIDValidity, got.HighestModSeq, got.ID
		if got != want || got.UIDValidity == 0 || got.HighestModSeq == 0 {
			t.Errorf("STATUS is %+v, want %+v", got, want)
		}
	}
	check(Status{Messages: 5, Recent: 5, Unseen: 5, UIDNext: 22, Size: 45})
	m := mustSelect(t, s, "INBOX")
	v := m.View()
	if uid := m.ClaimRecent(v); uid > 17 {
		t.Errorf("\\Recent from UID %d on, want all", uid)
	}
	check(Status{Messages: 5, Unseen: 5, UIDNext: 22, Size: 45})
	if uid := m.ClaimRecent(v); uid != 22 {
		t.Errorf("a second claim has \\Recent from UID %d on, want none", uid)
	}
	if _, _, err := m.Store(ctx, tags(v)[:2], FlagChange{Op: crdt.StoreReplace, Flags: Seen | Deleted}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "INBOX", "more")
	check(Status{Messages: 6, Recent: 1, Unseen: 4, Deleted: 2, UIDNext: 23, Size: 49})
	n.audit(testUser)
	m.Close()
	s.Close()
	n.reopen()
	s = n.session()
	// UIDNEXT is above all that was ever issued, and \Recent may have come back.
	st, err := s.Status(ctx, "INBOX")
	if err != nil || st.Messages != 6 || st.UIDNext < 23 || st.Unseen != 4 {
		t.Errorf("STATUS after a restart is %+v, %v", st, err)
	}
}

func TestConditionalStore(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two")
	v := m.View()
	since := v.HighestModSeq()
	if _, _, err := m.Store(ctx, tags(v)[:1], FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	w, failed, err := m.Store(ctx, tags(v), FlagChange{Op: crdt.StoreAdd, Flags: Flagged, UnchangedSince: since, Conditional: true})
	if err != nil || !slices.Equal(failed, []int{0}) {
		t.Fatalf("not changed: %v, %v, want the first", failed, err)
	}
	wantLines(t, lines(t, s, w), "17 00001 [] one", "18 00100 [] two")
	_, failed, err = m.Store(ctx, tags(v), FlagChange{Op: crdt.StoreAdd, Flags: Draft, Conditional: true})
	if err != nil || len(failed) != 2 {
		t.Errorf("UNCHANGEDSINCE 0 changed something: %v, %v", failed, err)
	}
}

func TestStoreOfNothingCommitsNothing(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one", crdt.FlagSeen)
	before := n.Logged()
	v := m.View()
	w, _, err := m.Store(ctxOf(t), tags(v), FlagChange{Op: crdt.StoreAdd, Flags: Seen})
	if err != nil {
		t.Fatal(err)
	}
	if w != v || !n.Logged().Equal(before) {
		t.Error("a STORE that changes nothing was committed")
	}
}

func TestMailboxErrors(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	if err := s.Create(ctx, "A", ""); err != nil {
		t.Fatal(err)
	}
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	gone := tags(m.View())
	mustExpunge(t, m, gone)
	ro, err := s.Select(ctx, "INBOX", true)
	if err != nil {
		t.Fatal(err)
	}
	_, selectErr := s.Select(ctx, "nowhere", false)
	_, statusErr := s.Status(ctx, "nowhere")
	_, appendErr := tryAppend(ctx, s, "nowhere", "x")
	_, copyErr := m.Copy(ctx, gone, "A")
	_, copyErr2 := m.Copy(ctx, nil, "nowhere")
	_, _, storeErr := ro.Store(ctx, gone, FlagChange{Flags: Seen})
	_, stageErr := s.Stage(ctx, 1<<40)
	for _, c := range []struct {
		what string
		got  error
		want error
	}{
		{"CREATE of what exists", s.Create(ctx, "A", ""), ErrAlreadyExists},
		{"CREATE INBOX", s.Create(ctx, "INBOX", ""), ErrAlreadyExists},
		{"DELETE INBOX", s.Delete(ctx, "INBOX"), ErrCannot},
		{"DELETE of nothing", s.Delete(ctx, "nowhere"), ErrNonexistent},
		{"RENAME of nothing", s.Rename(ctx, "nowhere", "B"), ErrNonexistent},
		{"RENAME onto what exists", s.Rename(ctx, "A", "INBOX"), ErrAlreadyExists},
		{"SELECT", selectErr, ErrNonexistent},
		{"STATUS", statusErr, ErrNonexistent},
		{"APPEND", appendErr, ErrNonexistent},
		{"COPY of an expunged message", copyErr, ErrExpunged},
		{"COPY to nowhere", copyErr2, ErrNonexistent},
		{"STORE read-only", storeErr, ErrReadOnly},
		{"APPEND of a terabyte", stageErr, ErrTooBig},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.got, c.want)
		}
	}
}

func TestMailboxList(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx := ctxOf(t)
	for _, err := range []error{
		s.Create(ctx, "b.c", ""), s.Rename(ctx, "b", "d"), s.Subscribe(ctx, "later", true), s.Subscribe(ctx, "d.c", true),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	boxes, err := s.Mailboxes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, b := range boxes {
		got = append(got, fmt.Sprintf("%s exists=%v subscribed=%v %s", b.Name, b.Exists, b.Subscribed, b.SpecialUse))
	}
	text := joined(got)
	for _, want := range []string{
		`INBOX exists=true`, `Sent exists=true`, `\Sent`, `\Drafts`, `\Trash`, `\Junk`, `\Archive`,
		"d exists=true subscribed=false", "d.c exists=true subscribed=true", "later exists=false subscribed=true",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("LIST lacks %q:\n%s", want, text)
		}
	}
	if !slices.IsSortedFunc(boxes, func(a, b MailboxInfo) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("LIST is not sorted:\n%s", text)
	}
}

func TestLoginIsBound(t *testing.T) {
	n := newNode(t, 1)
	n.session().Close()
	n.reopen()
	if _, err := n.Open(ctxOf(t), testUser, "somebody-else", SessionID{}); !errors.Is(err, ErrContactAdmin) {
		t.Errorf("another login name: %v, want ErrContactAdmin", err)
	}
	before := n.Logged()
	n.session()
	if !n.Logged().Equal(before) {
		t.Error("a second login wrote something")
	}
}

func TestDataSurviveReopening(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	for i := range 20 {
		mustAppend(t, s, "INBOX", fmt.Sprint("message ", i))
	}
	if _, _, err := m.Store(ctxOf(t), tags(m.View())[3:7], FlagChange{Op: crdt.StoreAdd, Flags: Seen, Keywords: []string{"work"}}); err != nil {
		t.Fatal(err)
	}
	want, origin, logged := lines(t, s, m.View()), n.Origin(), n.Logged()
	validity := m.UIDValidity()
	s.Close()
	n.reopen()
	s = n.session()
	m = mustSelect(t, s, "INBOX")
	wantLines(t, lines(t, s, m.View()), want...)
	if n.Origin() != origin || !n.Logged().Equal(logged) || m.UIDValidity() != validity {
		t.Error("origin, vector or UIDVALIDITY changed by reopening")
	}
	n.audit(testUser)
}

func TestOpenRefuses(t *testing.T) {
	fs := vfs.NewMem()
	s, err := Open(testDir, testOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replica(testReplica(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replica(testReplica(1)); err == nil {
		t.Error("a replica was opened twice")
	}
	if _, err := Open(testDir, testOptions(fs)); !errors.Is(err, ErrLocked) {
		t.Errorf("open of an open store: %v, want ErrLocked", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(testDir, testOptions(fs)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Replica(testReplica(2)); err == nil || !strings.Contains(err.Error(), "slot") {
		t.Errorf("another slot on the same data: %v", err)
	}
	if err := s.db.Set(formatKey(), binary.AppendUvarint(nil, formatVersion+1), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testDir, testOptions(fs)); !errors.Is(err, ErrFormat) {
		t.Errorf("open of a newer format: %v, want ErrFormat", err)
	}
}

func TestOpenRefusesForeignDatabase(t *testing.T) {
	fs := vfs.NewMem()
	db, err := pebble.Open(testDir, &pebble.Options{FS: fs, Logger: storeLogger{&Store{opts: testOptions(fs).withDefaults()}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(db.Set([]byte("x"), []byte("y"), pebble.Sync), db.Close()); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(testDir, testOptions(fs)); !errors.Is(err, ErrFormat) {
		t.Errorf("open of somebody else's database: %v, want ErrFormat", err)
	}
}

func TestSubnetsAreApart(t *testing.T) {
	n := newNode(t, 1)
	opts := testReplica(3)
	opts.Subnet = "subnet-2"
	other, err := n.store.Replica(opts)
	if err != nil {
		t.Fatal(err)
	}
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	o, err := other.Open(ctxOf(t), testUser, "another", newSessionID())
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if v := mustSelect(t, o, "INBOX").View(); v.Len() != 0 {
		t.Error("mail of one subnet is in another")
	}
	if other.Origin() == n.Origin() {
		t.Error("two replicas have one origin")
	}
}

func TestUseAfterClose(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one")
	var msg Message
	m.View().At(0, &msg)
	b, err := s.Body(ctxOf(t), msg.Root)
	if err != nil {
		t.Fatal(err)
	}
	st, err := s.Stage(ctxOf(t), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	n.close()
	defer n.open()
	_, appendErr := tryAppend(ctxOf(t), s, "INBOX", "two")
	_, readErr := b.ReadAt(make([]byte, 1), 0)
	_, stageErr := st.Write(make([]byte, 1<<20))
	_, logErr := n.Read(n.Origin(), 1, 1)
	_, openErr := n.Open(context.Background(), 8, "user8", SessionID{})
	for what, err := range map[string]error{"append": appendErr, "read": readErr, "stage": stageErr, "log": logErr, "open": openErr, "apply": n.Apply(ctxOf(t), nil)} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s after Close: %v, want ErrUnavailable", what, err)
		}
	}
	st.Discard()
	m.Close()
	s.Close()
}
