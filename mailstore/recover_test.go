package mailstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// evict loses a node for ever and tells the others.
func evict(t testing.TB, lost *node, others ...*node) {
	t.Helper()
	lost.close()
	for _, n := range others {
		if err := errors.Join(n.Evicted(lost.slot, lost.Origin()), n.RaiseEpoch(ctxOf(t), 1)); err != nil {
			t.Fatal(err)
		}
	}
}

// remains opens what is left of a node.
func remains(t testing.TB, lost *node) *Remains {
	t.Helper()
	m, err := OpenRemains(testDir, "subnet-1", Options{FS: lost.fs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// recover recovers what only lost nodes had from one of them, and returns what there was.
func (n *node) recover(from *Remains, lost ...*node) []Recovered {
	n.t.Helper()
	out, err := n.tryRecover(ctxOf(n.t), from, false, lost...)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *node) tryRecover(ctx context.Context, from *Remains, look bool, lost ...*node) (out []Recovered, err error) {
	how := Recovery{Look: look, Report: func(r Recovered) { out = append(out, r) }}
	for _, l := range lost {
		how.Evicted = append(how.Evicted, l.Origin())
	}
	return out, n.Recover(ctx, from, how)
}

// mail describes an account without UIDs: what lies where, each message with its flags.
func (n *node) mail(user crdt.AccountID) string {
	n.t.Helper()
	var out []string
	s := n.sessionOf(user)
	defer s.Close()
	boxes, err := s.Mailboxes(ctxOf(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	for _, b := range boxes {
		out = append(out, fmt.Sprintf("%s exists=%v subscribed=%v %s", b.Name, b.Exists, b.Subscribed, b.SpecialUse))
		if !b.Exists {
			continue
		}
		m := mustSelect(n.t, s, b.Name)
		var list []string
		for _, l := range lines(n.t, s, m.View()) {
			_, rest, _ := strings.Cut(l, " ")
			list = append(list, "    "+rest)
		}
		slices.Sort(list)
		out = append(out, list...)
		notes, err := s.Annotations(ctxOf(n.t), b.Name)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(notes) > 0 {
			out = append(out, fmt.Sprint("    ", notes))
		}
		m.Close()
	}
	return joined(out)
}

// named returns the messages of a mailbox by their contents.
func named(t testing.TB, s *Account, box string) (*Mailbox, map[string]crdt.Tag) {
	t.Helper()
	m := mustSelect(t, s, box)
	out := make(map[string]crdt.Tag)
	var msg Message
	for i := range m.View().Len() {
		m.View().At(i, &msg)
		out[content(t, s, msg.Root)] = msg.Tag
	}
	return m, out
}

func do(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func setFlag(t testing.TB, m *Mailbox, op crdt.StoreMode, f Flags, messages ...crdt.Tag) {
	t.Helper()
	if _, _, err := m.Store(ctxOf(t), messages, FlagChange{Op: op, Flags: f}); err != nil {
		t.Fatal(err)
	}
}

func mustMove(t testing.TB, m *Mailbox, to string, messages ...crdt.Tag) {
	t.Helper()
	if _, _, err := m.Move(ctxOf(t), messages, to); err != nil {
		t.Fatal(err)
	}
}

// cutOff makes three nodes with the same mail, of which the second is cut off and
// used, as are the others meanwhile.
func cutOff(t *testing.T) (a, lost, b *node) {
	a, lost, b = newNode(t, 1), newNode(t, 2), newNode(t, 3)
	s := a.session()
	for _, body := range []string{"stays", "flagged there", "unflagged there", "expunged there", "moved there", "moved twice", "moved by both", "expunged by others", "moved by others"} {
		flags := []string{}
		if body == "unflagged there" {
			flags = append(flags, `\Flagged`)
		}
		mustAppend(t, s, "INBOX", body, flags...)
	}
	do(t, s.Create(ctxOf(t), "old", ""), s.Create(ctxOf(t), "doomed", ""), s.Create(ctxOf(t), "kept", ""))
	mustAppend(t, s, "doomed", "in doomed")
	mustAppend(t, s, "kept", "in kept")
	settle(t, a, lost, b)

	ls := lost.session()
	m, by := named(t, ls, "INBOX")
	mustAppend(t, ls, "INBOX", "appended there", `\Seen`, "$Label")
	mustAppend(t, ls, "INBOX", strings.Repeat("large ", 60000))
	mustAppend(t, ls, "INBOX", "appended and expunged there")
	setFlag(t, m, crdt.StoreAdd, Seen, by["flagged there"], by["moved by others"])
	setFlag(t, m, crdt.StoreRemove, Flagged, by["unflagged there"])
	mustExpunge(t, m, []crdt.Tag{by["expunged there"]})
	mustMove(t, m, "Archive", by["moved there"], by["moved by both"], by["moved twice"])
	if _, err := m.Copy(ctxOf(t), []crdt.Tag{by["stays"]}, "Sent"); err != nil {
		t.Fatal(err)
	}
	m.Close()
	m, by = named(t, ls, "INBOX")
	mustExpunge(t, m, []crdt.Tag{by["appended and expunged there"]})
	m.Close()
	m, by = named(t, ls, "Archive")
	setFlag(t, m, crdt.StoreAdd, Flagged, by["moved twice"])
	mustMove(t, m, "Trash", by["moved twice"])
	m.Close()
	do(t, ls.Create(ctxOf(t), "new.below", ""), ls.Rename(ctxOf(t), "old", "renamed"), ls.Delete(ctxOf(t), "doomed"),
		ls.Delete(ctxOf(t), "kept"), ls.Create(ctxOf(t), "empty", ""), ls.Subscribe(ctxOf(t), "empty", true), ls.Subscribe(ctxOf(t), "Junk", false),
		ls.Annotate(ctxOf(t), "INBOX", []Note{{"/private/comment", crdt.Note{There: true, Text: "a note"}}}),
		ls.Annotate(ctxOf(t), "empty", []Note{{"/private/comment", crdt.Note{There: true, Text: "of a new one"}}}))
	mustAppend(t, ls, "new.below", "in a new mailbox")
	mustAppend(t, ls, "renamed", "in a renamed mailbox")

	as := a.session()
	m, by = named(t, as, "INBOX")
	setFlag(t, m, crdt.StoreAdd, Answered, by["flagged there"], by["moved there"])
	mustExpunge(t, m, []crdt.Tag{by["expunged by others"]})
	mustMove(t, m, "Junk", by["moved by both"], by["moved by others"])
	m.Close()
	mustAppend(t, as, "INBOX", "appended by others")
	mustAppend(t, as, "kept", "by others in kept")
	settle(t, a, b)
	return a, lost, b
}

// wantRecovered are the mailboxes of cutOff after what was lost was recovered, without
// those that are empty.
const wantRecovered = `Archive exists=true subscribed=true \Archive
    00010 [] moved there
INBOX exists=true subscribed=true 
    00000 [] 360000 bytes
    00000 [] appended by others
    00000 [] stays
    00000 [] unflagged there
    00001 [$Label] appended there
    00011 [] flagged there
    map[/private/comment:a note]
Junk exists=true subscribed=false \Junk
    00000 [] moved by both
    00001 [] moved by others
Sent exists=true subscribed=true \Sent
    00000 [] stays
Trash exists=true subscribed=true \Trash
    00100 [] moved twice
empty exists=true subscribed=true 
    map[/private/comment:of a new one]
kept exists=true subscribed=false 
    00000 [] by others in kept
new exists=true subscribed=false 
new.below exists=true subscribed=false 
    00000 [] in a new mailbox
renamed exists=true subscribed=false 
    00000 [] in a renamed mailbox
`

// TestRecover: what an evicted replica did and nobody heard of is done again by
// another one, once, whoever does it how often.
func TestRecover(t *testing.T) {
	a, lost, b := cutOff(t)
	evict(t, lost, a, b)
	from := remains(t, lost)
	before := a.mail(testUser)
	look, err := a.tryRecover(ctxOf(t), from, true, lost)
	if err != nil || len(look) != 1 {
		t.Fatalf("%+v, %v", look, err)
	}
	if a.mail(testUser) != before {
		t.Error("looking has changed something")
	}
	done := a.recover(from, lost)
	if len(done) != 1 || len(done[0].Problems) > 0 {
		t.Fatalf("%+v", done)
	}
	if l, d := look[0], done[0]; fmt.Sprint(l) != fmt.Sprint(d) {
		t.Errorf("seen %+v, done %+v", l, d)
	}
	settle(t, a, b)
	for _, n := range []*node{a, b} {
		if got := strings.ReplaceAll(n.mail(testUser), "Drafts exists=true subscribed=true \\Drafts\n", ""); got != wantRecovered {
			t.Errorf("slot %d has\n%s\nwant\n%s", n.slot, got, wantRecovered)
		}
		n.audit(testUser)
	}
	if x, y := a.picture(), b.picture(); x != y {
		t.Errorf("replicas differ:\n%s\n%s", x, y)
	}
	// A client removes something of it: it does not come again, from whomever.
	m, by := named(t, b.session(), "new.below")
	mustExpunge(t, m, []crdt.Tag{by["in a new mailbox"]})
	do(t, b.session().Delete(ctxOf(t), "empty"))
	settle(t, a, b)
	after := b.mail(testUser)
	for _, n := range []*node{a, b} {
		if again := n.recover(from, lost); len(again) > 0 {
			t.Errorf("again at slot %d: %+v", n.slot, again)
		}
	}
	a.reopen()
	if again := a.recover(from, lost); len(again) > 0 {
		t.Errorf("again after a restart: %+v", again)
	}
	settle(t, a, b)
	if got := a.mail(testUser); got != after {
		t.Errorf("now\n%s\nbefore\n%s", got, after)
	}
	fresh := newNode(t, 4)
	fresh.loadAll(a)
	fresh.pullAll(a)
	if again := fresh.recover(from, lost); len(again) > 0 {
		t.Errorf("again at one that has loaded a snapshot: %+v", again)
	}
}

// countdown is a context that ends when it was asked n times whether it has.
type countdown struct {
	context.Context
	n int
}

func (c *countdown) Err() error {
	if c.n--; c.n < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}

// TestRecoverInterrupted ends a recovery at every step, and goes on after a crash
// of the replica.
func TestRecoverInterrupted(t *testing.T) {
	a, lost, b := cutOff(t)
	evict(t, lost, a, b)
	from := remains(t, lost)
	rounds := 0
	for n := 0; ; n += 7 {
		_, err := a.tryRecover(&countdown{ctxOf(t), n}, from, false, lost)
		if err == nil {
			break
		}
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		rounds++
		a.crash(rand.New(rand.NewPCG(1, uint64(n))))
	}
	if rounds < 5 {
		t.Errorf("interrupted only %d times", rounds)
	}
	settle(t, a, b)
	for _, n := range []*node{a, b} {
		if got := strings.ReplaceAll(n.mail(testUser), "Drafts exists=true subscribed=true \\Drafts\n", ""); got != wantRecovered {
			t.Errorf("slot %d has\n%s\nwant\n%s", n.slot, got, wantRecovered)
		}
		n.audit(testUser)
	}
}

// TestRecoverTwice: two members recover the same at the same time.
func TestRecoverTwice(t *testing.T) {
	a, lost, b := cutOff(t)
	evict(t, lost, a, b)
	from := remains(t, lost)
	a.recover(from, lost)
	b.recover(from, lost)
	settle(t, a, b)
	for _, n := range []*node{a, b} {
		if got := strings.ReplaceAll(n.mail(testUser), "Drafts exists=true subscribed=true \\Drafts\n", ""); got != wantRecovered {
			t.Errorf("slot %d has\n%s\nwant\n%s", n.slot, got, wantRecovered)
		}
		n.audit(testUser)
	}
}

// TestRecoverOfAnother: what only one evicted replica has of another one.
func TestRecoverOfAnother(t *testing.T) {
	a, first, second := newNode(t, 1), newNode(t, 2), newNode(t, 3)
	mustAppend(t, a.session(), "INBOX", "everybody has it")
	settle(t, a, first, second)
	mustAppend(t, first.session(), "INBOX", "of the first")
	second.pull(first)
	mustAppend(t, first.session(), "INBOX", "of the first alone")
	mustAppend(t, second.session(), "INBOX", "of the second")
	evict(t, first, a)
	evict(t, second, a)
	a.recover(remains(t, second), first, second)
	a.recover(remains(t, first), first, second)
	const want = "everybody has it\nof the first\nof the first alone\nof the second\n"
	_, by := named(t, a.session(), "INBOX")
	var got []string
	for body := range by {
		got = append(got, body)
	}
	slices.Sort(got)
	if joined(got) != want || mustSelect(t, a.session(), "INBOX").View().Len() != 4 {
		t.Errorf("got\n%s", joined(got))
	}
}

// TestRecoverReplayed: a command was done at the replica that is lost and, because
// its session went on elsewhere, there. Others appended the same bytes as a message
// that the session did not have answered; both are there as often as they were.
func TestRecoverReplayed(t *testing.T) {
	a, lost := newNode(t, 1), newNode(t, 2)
	a.session()
	settle(t, a, lost)
	id := newSessionID()
	at := lost.sessionAs(id)
	for i, body := range []string{"answered", "not answered", "answered"} {
		at.Command(uint64(i + 1))
		mustAppend(t, at, "INBOX", body)
	}
	again := a.sessionAs(id)
	again.Command(2)
	again.Attempt(1)
	mustAppend(t, again, "INBOX", "not answered")
	a.Stable(a.Logged(), a.Logged()) // nobody remembers that it was a replay
	evict(t, lost, a)
	out := a.recover(remains(t, lost), lost)
	if len(out) != 1 || out[0].Added != 2 || out[0].Elsewhere != 1 {
		t.Errorf("%+v", out)
	}
	s := a.session()
	var got []string
	for _, l := range lines(t, s, mustSelect(t, s, "INBOX").View()) {
		_, rest, _ := strings.Cut(l, " ")
		got = append(got, rest)
	}
	slices.Sort(got)
	wantLines(t, got, "00000 [] answered", "00000 [] answered", "00000 [] not answered")
}

// TestRecoverDamaged: of an account that was in quarantine nothing is taken as
// removed; a message whose content is lost is told of; an account that belongs to
// somebody else here is not touched.
func TestRecoverDamaged(t *testing.T) {
	a, lost := newNode(t, 1), newNode(t, 2)
	const other = testUser + 1
	mustAppend(t, a.session(), "INBOX", "removed there")
	mustAppend(t, a.sessionOf(other), "INBOX", "of another one")
	settle(t, a, lost)
	m, by := named(t, lost.session(), "INBOX")
	mustExpunge(t, m, []crdt.Tag{by["removed there"]})
	mustAppend(t, lost.session(), "INBOX", "added there")
	mustAppend(t, lost.sessionOf(other), "INBOX", "its content is lost")
	mustAppend(t, lost.sessionOf(other), "INBOX", "its content is there")
	_, roots := named(t, lost.sessionOf(other), "INBOX")
	account := lost.acquire(other)
	tag := roots["its content is lost"]
	msg, err := account.begin().Message(crdt.Inbox, tag)
	do(t, err)
	lost.release(account)
	do(t, lost.store.db.Delete(lost.keys.content(nil, kindStructure, msg.Root), nil))
	p := &peer{t: t, origin: 99}
	bad := p.op(testUser, &crdt.Append{Box: 4711, Messages: []crdt.Added{{UID: 18}}})
	do(t, lost.Apply(ctxOf(t), []entry{bad}))
	evict(t, lost, a)
	out := a.recover(remains(t, lost), lost)
	if len(out) != 2 || out[0].Added != 1 || out[0].Removed != 0 || len(out[0].Problems) != 1 ||
		out[1].Added != 1 || len(out[1].Problems) != 1 || !strings.Contains(out[1].Problems[0], "content is lost") {
		t.Errorf("%+v", out)
	}
	_, by = named(t, a.session(), "INBOX")
	if len(by) != 2 {
		t.Errorf("%v", by)
	}
}

// TestOpenRemains: what is not that of an evicted replica.
func TestOpenRemains(t *testing.T) {
	n := newNode(t, 1)
	for what, open := range map[string]func() (*Remains, error){
		"a missing directory": func() (*Remains, error) { return OpenRemains("missing", "subnet-1", Options{FS: vfs.NewMem()}) },
		"one in use":          func() (*Remains, error) { return OpenRemains(testDir, "subnet-1", Options{FS: n.fs}) },
	} {
		if m, err := open(); err == nil {
			m.Close()
			t.Errorf("%s can be opened", what)
		}
	}
	lost := newNode(t, 2)
	lost.close()
	if _, err := OpenRemains(testDir, "subnet-2", Options{FS: lost.fs}); !errors.Is(err, ErrNoRemains) {
		t.Errorf("another subnet: %v", err)
	}
	if _, err := n.tryRecover(ctxOf(t), remains(t, lost), false); !errors.Is(err, ErrNotEvicted) {
		t.Errorf("not evicted: %v", err)
	}
}

// TestRecoverOldFormats reads data of earlier versions, and leaves them as they are.
func TestRecoverOldFormats(t *testing.T) {
	dirs, err := filepath.Glob("testdata/format-*")
	if err != nil || len(dirs) == 0 {
		t.Fatalf("no data of earlier versions: %v, %v", dirs, err)
	}
	for _, dir := range dirs {
		old := &node{t: t, fs: vfs.NewCrashableMem(), slot: 1}
		if ok, err := vfs.Clone(vfs.Default, old.fs, filepath.Join(dir, testDir), testDir); !ok || err != nil {
			t.Fatal(ok, err)
		}
		files, err := old.fs.List(testDir)
		do(t, err)
		n := newNode(t, 2)
		from := remains(t, old)
		out, err := n.tryRecover(ctxOf(t), from, false, &node{Replica: from.r})
		picture, failed := os.ReadFile(filepath.Join(dir, fixturePicture))
		do(t, failed)
		there := len(regexp.MustCompile(`(?m)^  \d+ `).FindAll(picture, -1))
		if err != nil || len(out) != 1 || out[0].Added != there {
			t.Errorf("%s: %+v, %v, want %d messages", dir, out, err, there)
		}
		now, err := old.fs.List(testDir)
		do(t, err)
		if slices.Sort(files); !slices.Equal(files, slices.Sorted(slices.Values(now))) {
			t.Errorf("%s: was %v, is %v", dir, files, now)
		}
	}
}
