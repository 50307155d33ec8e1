package mailstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// toldBy returns what a client knows that was told everything of a view.
func toldBy(t testing.TB, s *Account, m *Mailbox) Told {
	t.Helper()
	past, err := ParsePast(s.Past())
	if err != nil {
		t.Fatal(err)
	}
	v := m.View()
	told := Told{
		ID: m.ID(), Name: m.Name(), UIDValidity: m.UIDValidity(), UIDNext: v.UIDNext().Number(),
		High: v.HighestModSeq(), Flags: v.HighestModSeq(), Past: past,
	}
	for _, u := range uids(v) {
		told.UIDs = appendRange(told.UIDs, UIDRange{u.Number(), u.Number()})
	}
	return told
}

// resume moves a session to a node that has all that it has seen.
func (n *node) resume(id SessionID, told Told) (*Account, *Mailbox, *View) {
	n.t.Helper()
	s := n.sessionAs(id)
	if err := s.CatchUp(ctxOf(n.t), told.Past); err != nil {
		n.t.Fatal(err)
	}
	m, v, err := s.Resume(ctxOf(n.t), told)
	if err != nil {
		n.t.Fatal(err)
	}
	return s, m, v
}

func numbers(list []crdt.UID) (out []uint32) {
	for _, u := range list {
		out = append(out, u.Number())
	}
	return out
}

func wantChanges(t testing.TB, c Changes, expunged, changed []uint32, added int) {
	t.Helper()
	if !slices.Equal(numbers(c.Expunged), expunged) || !slices.Equal(numbers(c.Changed), changed) || len(c.Added) != added {
		t.Errorf("expunged %v, changed %v, added %v; want %v, %v and %d new ones",
			numbers(c.Expunged), numbers(c.Changed), numbers(c.Added), expunged, changed, added)
	}
}

// TestResumeUnchanged: where nothing else happened, nothing is to be told.
func TestResumeUnchanged(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	for i := range 600 {
		mustAppend(t, sa, "INBOX", fmt.Sprint(i))
	}
	told := toldBy(t, sa, mustSelect(t, sa, "INBOX"))
	settle(t, a, b)
	_, mb, v := b.resume(id, told)
	wantChanges(t, mb.View().Since(v), nil, nil, 0)
	if mb.View().HighestModSeq() < told.High {
		t.Errorf("MODSEQ %d after %d", mb.View().HighestModSeq(), told.High)
	}
	if v.UIDNext().Number() != told.UIDNext || mb.View().UIDNext().Number() < told.UIDNext {
		t.Errorf("UIDNEXT %d and %d after %d", v.UIDNext(), mb.View().UIDNext(), told.UIDNext)
	}
}

// TestResumeTellsWhatIsNew: flags that were changed, messages that were expunged
// and came, at the new replica, where the client was not told of it (C23).
func TestResumeTellsWhatIsNew(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	var all []crdt.UID
	for i := range 5 {
		all = append(all, mustAppend(t, sa, "INBOX", fmt.Sprint(i)))
	}
	settle(t, a, b)
	told := toldBy(t, sa, mustSelect(t, sa, "INBOX"))
	other := b.session()
	mo := mustSelect(t, other, "INBOX")
	list := tags(mo.View())
	if _, _, err := mo.Store(ctxOf(t), list[1:2], FlagChange{Op: crdt.StoreAdd, Flags: Flagged}); err != nil {
		t.Fatal(err)
	}
	mustExpunge(t, mo, list[3:4])
	mustAppend(t, other, "INBOX", "new")
	s, m, v := b.resume(id, told)
	if got := uids(v); !slices.Equal(got, all) {
		t.Fatalf("the client has %v, not %v", got, all)
	}
	wantChanges(t, m.View().Since(v), []uint32{all[3].Number()}, []uint32{all[1].Number()}, 1)
	// Once more, where the log is damaged: that is no damage to the account, and what it
	// says is told without it.
	m.Close()
	if err := b.store.db.Delete(b.keys.log(nil, crdt.Dot{Origin: b.Origin(), N: b.Logged().Get(b.Origin()) - 1}), pebble.Sync); err != nil {
		t.Fatal(err)
	}
	m, v, err := s.Resume(ctxOf(t), told)
	if err != nil {
		t.Fatal(err)
	}
	if c := m.View().Since(v); !slices.Contains(c.Changed, all[1]) {
		t.Errorf("changed, without the log: %v", c.Changed)
	}
	// And without what the checkpoint says of operations: all flags are told.
	m.Close()
	told.Past, told.Flags = Past{}, 0
	if m, v, err = s.Resume(ctxOf(t), told); err != nil {
		t.Fatal(err)
	}
	wantChanges(t, m.View().Since(v), []uint32{all[3].Number()}, numbers([]crdt.UID{all[0], all[1], all[2], all[4]}), 1)
}

// TestResumeGivesStraysOtherUIDs: the new replica shows a message under a UID
// below the UIDNEXT that the client was told without it: the client is told of it
// as of a new one.
func TestResumeGivesStraysOtherUIDs(t *testing.T) {
	a, b := newNode(t, 5), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	settle(t, a, b)
	low := mustAppend(t, b.session(), "INBOX", "stray") // not pushed yet
	known := mustAppend(t, sa, "INBOX", "known")
	told := toldBy(t, sa, mustSelect(t, sa, "INBOX"))
	if low >= known {
		t.Fatalf("%d is not below %d", low, known)
	}
	b.pull(a)
	s, m, v := b.resume(id, told)
	if got := uids(v); !slices.Equal(got, []crdt.UID{known}) {
		t.Fatalf("the client has %v", got)
	}
	c := m.View().Since(v)
	if len(c.Added) != 1 || c.Added[0].Number() < told.UIDNext || len(c.Expunged)+len(c.Changed) > 0 {
		t.Fatalf("told %+v after UIDNEXT %d", c, told.UIDNext)
	}
	i, _ := m.View().Find(c.Added[0])
	var x Message
	m.View().At(i, &x)
	if got := content(t, s, x.Root); got != "stray" {
		t.Errorf("new is %q", got)
	}
	settle(t, a, b)
	a.audit(testUser)
	b.audit(testUser)
}

// TestResumeAppendsToNoSharedChunk: what a client knows and this replica does not
// have comes last in its picture, and later messages of the mailbox are not
// written into the same place.
func TestResumeAppendsToNoSharedChunk(t *testing.T) {
	a := newNode(t, 1)
	id := newSessionID()
	sa := a.sessionAs(id)
	for i := range 3 {
		mustAppend(t, sa, "INBOX", fmt.Sprint(i))
	}
	told := toldBy(t, sa, mustSelect(t, sa, "INBOX"))
	told.UIDs = append(told.UIDs, UIDRange{500, 501})
	told.UIDNext = 502
	_, m, v := a.resume(id, told)
	mustAppend(t, sa, "INBOX", "later")
	if got := v.UIDAt(3).Number(); got != 500 {
		t.Errorf("fourth message of the client is %d", got)
	}
	wantChanges(t, m.View().Since(v), []uint32{500, 501}, nil, 1)
}

func TestResumeOfWhatIsGone(t *testing.T) {
	a := newNode(t, 1)
	s := a.sessionAs(newSessionID())
	told := toldBy(t, s, mustSelect(t, s, "Sent"))
	told.UIDValidity++
	if _, _, err := s.Resume(ctxOf(t), told); !errors.Is(err, ErrNonexistent) {
		t.Errorf("another UIDVALIDITY: %v", err)
	}
	told.UIDValidity--
	if err := s.Delete(ctxOf(t), "Sent"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Resume(ctxOf(t), told); !errors.Is(err, ErrNonexistent) {
		t.Errorf("deleted: %v", err)
	}
}

// TestCatchUpWaits: a session goes on when what it saw has come, or not at all.
func TestCatchUpWaits(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	settle(t, a, b)
	mustAppend(t, sa, "INBOX", "x")
	vector := sa.Past()
	past, err := ParsePast(vector)
	if err != nil {
		t.Fatal(err)
	}
	sb := b.sessionAs(id)
	short, cancel := context.WithTimeout(ctxOf(t), time.Millisecond)
	defer cancel()
	if err := sb.CatchUp(short, past); !errors.Is(err, ErrUnavailable) {
		t.Errorf("too early: %v", err)
	}
	if sb.Has(past) {
		t.Error("the session's own message is there")
	}
	caught := make(chan error, 1)
	go func() { caught <- sb.CatchUp(ctxOf(t), past) }()
	b.pull(a)
	if err := <-caught; err != nil || !sb.Has(past) {
		t.Errorf("caught up: %v", err)
	}
	for n := 1; n < len(vector); n++ {
		if _, err := ParsePast(vector[:n]); err == nil {
			t.Errorf("%d of %d bytes are accepted", n, len(vector))
		}
	}
}

// changes makes each kind of change in a command of its own and returns what the
// session is answered. messages are those that COPY, STORE and MOVE are about; nil:
// all of INBOX.
func changes(t *testing.T, s *Account, attempt uint32, messages []crdt.Tag) ([]string, []crdt.Tag) {
	t.Helper()
	ctx, n := ctxOf(t), uint64(0)
	var out []string
	command := func() {
		n++
		s.Command(n)
		s.Attempt(attempt)
	}
	note := func(what string, v any, err error) { out = append(out, fmt.Sprint(what, ": ", v, " ", err)) }
	command()
	uid, err := tryAppend(ctx, s, "INBOX", "one")
	note("append", uid, err)
	command()
	note("create", "", s.Create(ctx, "new.box", ""))
	command()
	note("delete", "", s.Delete(ctx, "Trash"))
	command()
	note("rename", "", s.Rename(ctx, "Sent", "Gone"))
	m := mustSelect(t, s, "INBOX")
	defer m.Close()
	if messages == nil {
		messages = tags(m.View())
	}
	command()
	copied, err := m.Copy(ctx, messages, "new.box")
	note("copy", copied, err)
	command()
	_, failed, err := m.Store(ctx, messages, FlagChange{Op: crdt.StoreAdd, Flags: Flagged})
	note("store", failed, err)
	command()
	moved, _, err := m.Move(ctx, messages, "Archive")
	note("move", moved, err)
	return out, messages
}

// TestReplayIsAnswered: what was executed at one node and is asked for again at
// another that knows of it is done once and answered the same, after a restart too.
func TestReplayIsAnswered(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	settle(t, a, b)
	first, messages := changes(t, sa, 0, nil)
	b.pull(a)
	sb := b.sessionAs(id)
	before := b.applied().Clone()
	if second, _ := changes(t, sb, 1, messages); !slices.Equal(first, second) {
		t.Errorf("first\n%s\nthen\n%s", joined(first), joined(second))
	}
	sb.Close()
	b.reopen()
	sb = b.sessionAs(id)
	if third, _ := changes(t, sb, 2, messages); !slices.Equal(first, third) {
		t.Errorf("first\n%s\nafter a restart\n%s", joined(first), joined(third))
	}
	if !b.applied().Equal(before) {
		t.Errorf("the replays made operations: %v after %v", b.applied(), before)
	}
}

// TestReplayIsOnPeers: what another node made, which was lost before it could say so, is
// answered when as many have it as if it had been made here.
func TestReplayIsOnPeers(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	sa.Command(9)
	mustAppend(t, sa, "INBOX", "text")
	settle(t, a, b)
	made := a.applied().Get(a.Origin())
	g := newGate()
	b.SetReplicator(g)
	sb := b.sessionAs(id)
	sb.Command(9)
	sb.Attempt(1)
	answered := make(chan error, 1)
	go func() {
		_, err := tryAppend(context.Background(), sb, "INBOX", "text")
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Fatalf("answered before others have it: %v", err)
	case n := <-g.arrived:
		if n != made {
			t.Errorf("it waits for operation %d of %d", n, made)
		}
	}
	g.of(made) <- nil
	if err := <-answered; err != nil {
		t.Error(err)
	}
	past, err := ParsePast(sb.Past())
	if err != nil || past.Wrote.Get(a.Origin()) != made {
		t.Errorf("the session has written %v (%v)", past.Wrote, err)
	}
}

// TestConditionalStoreIsAnswered: which messages were not changed is part of the answer.
func TestConditionalStoreIsAnswered(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	mustAppend(t, sa, "INBOX", "old")
	m := mustSelect(t, sa, "INBOX")
	change := FlagChange{Op: crdt.StoreAdd, Flags: Flagged, Conditional: true, UnchangedSince: m.View().HighestModSeq()}
	mustAppend(t, sa, "INBOX", "young")
	list := tags(m.View())
	store := func(m *Mailbox) {
		t.Helper()
		if _, failed, err := m.Store(ctxOf(t), list, change); err != nil || !slices.Equal(failed, []int{1}) {
			t.Error(failed, err)
		}
	}
	sa.Command(9)
	store(m)
	settle(t, a, b)
	sb := b.sessionAs(id)
	mb := mustSelect(t, sb, "INBOX")
	sb.Command(9)
	sb.Attempt(1)
	change.UnchangedSince = 1 // would refuse both
	store(mb)
}

// TestHalfARecordIsNone: of a command of several operations not all are known.
func TestHalfARecordIsNone(t *testing.T) {
	self := crdt.Origin(7)
	list := []commandRecord{
		{command: 5, index: 0, next: 3, more: true, dot: crdt.Dot{Origin: self, N: 1}, uids: []crdt.UID{1, 2, 3}},
		{command: 5, index: 3, next: 5, dot: crdt.Dot{Origin: self, N: 2}, uids: []crdt.UID{4, 5},
			sources: []recordedSource{{crdt.Tag{Origin: 1, N: 2, Index: 3}, 9}}, failed: []uint32{8, 3}},
		{command: 6, index: 0, next: 1, more: true},
	}
	if d := find(list, 5, 0); d == nil || len(d.uids) != 5 || d.made.Get(self) != 2 || d.next != 5 {
		t.Errorf("%+v", d)
	}
	if d := find(list[:1], 5, 0); d != nil {
		t.Errorf("half is %+v", d)
	}
	if d := find(list, 6, 0); d != nil {
		t.Errorf("half is %+v", d)
	}
	for i := range list {
		b := list[i].append(nil)
		got, err := parseRecord(b)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(list[i]) {
			t.Errorf("%+v became %+v, %v", list[i], got, err)
		}
		for n := range b {
			if _, err := parseRecord(b[:n]); err == nil {
				t.Errorf("%d of %d bytes are a record", n, len(b))
			}
		}
	}
}

// TestRecordsAreBounded: a session has sixteen places, and after two hours none.
func TestRecordsAreBounded(t *testing.T) {
	clock := newWall()
	n := newNode(t, 1)
	n.set = func(o *ReplicaOptions) { o.Now = clock.now }
	n.reopen()
	s := n.session()
	for i := range 40 {
		s.Command(uint64(i + 1))
		mustAppend(t, s, "INBOX", fmt.Sprint(i))
	}
	for hours, want := range []int{recordPlaces, recordPlaces, 0} {
		if got := n.entriesOf(kindCommand); got != want {
			t.Errorf("%d records after %d hours", got, hours)
		}
		clock.wait(recordAge)
		n.Upkeep()
	}
}

// entriesOf counts the keys of a kind.
func (n *node) entriesOf(kind byte) (count int) {
	n.t.Helper()
	prefix := n.keys.kind(nil, spaceState, kind)
	it, err := n.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		n.t.Fatal(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	if err := it.Close(); err != nil {
		n.t.Fatal(err)
	}
	return count
}

// TestFirstAttemptArrivesMeanwhile: the first attempt comes between the look at what
// is recorded and the change itself. It is not made twice.
func TestFirstAttemptArrivesMeanwhile(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	sa.Command(7)
	uid := mustAppend(t, sa, "INBOX", "mail")
	sb := b.sessionAs(id)
	sb.Command(7)
	sb.Attempt(1)
	b.pull(a) // after the look
	if _, err := sb.commit(ctxOf(t), func(x *tx) ([]crdt.Payload, error) {
		added, err := x.adopt([]NewMessage{stageIn(ctxOf(t), t, sb, []byte("mail"))})
		if err != nil {
			return nil, err
		}
		return payload(x.site().PrepareAppend(crdt.Inbox, added, true))
	}, nil); !errors.Is(err, errKnown) {
		t.Errorf("made again: %v", err)
	}
	if got := mustAppend(t, sb, "INBOX", "mail"); got != uid {
		t.Errorf("answered with %d, not %d", got, uid)
	}
	if got := mustSelect(t, sb, "INBOX").View().Len(); got != 1 {
		t.Errorf("%d messages", got)
	}
}

// TestFirstCreateArrivesMeanwhile: the first attempt at a CREATE comes between the look
// at what is recorded and the second one, which is not told that the mailbox exists.
func TestFirstCreateArrivesMeanwhile(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	sa.Command(7)
	if err := sa.Create(ctxOf(t), "box", ""); err != nil {
		t.Fatal(err)
	}
	sb := b.sessionAs(id)
	sb.Command(7)
	sb.Attempt(1)
	b.pull(a) // after the look
	if err := sb.change(ctxOf(t), sb.orKnown(func(x *tx) ([]crdt.Payload, error) {
		return payload(x.site().PrepareCreate("box", ""))
	}), nil); !errors.Is(err, errKnown) {
		t.Errorf("made again: %v", err)
	}
	if err := sb.Create(ctxOf(t), "box", ""); err != nil {
		t.Error(err)
	}
	sb.Command(8)
	if err := sb.Create(ctxOf(t), "box", ""); !errors.Is(err, ErrAlreadyExists) {
		t.Errorf("another CREATE: %v", err)
	}
}
