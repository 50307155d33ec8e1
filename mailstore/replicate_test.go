package mailstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// pull brings to n what from has logged and n has not, in batches, contents
// before the operations that need them: what replication does, without network.
func (n *node) pull(from *node) int {
	n.t.Helper()
	moved := 0
	for progress := true; progress; {
		progress = false
		for o, last := range from.Logged().All() {
			next := n.Logged().Get(o) + 1
			if next > last {
				continue
			}
			entries, err := from.Read(o, next, 10_000)
			if err != nil {
				n.t.Fatal(err)
			}
			for _, e := range entries {
				if !e.Deps.LessEqual(n.Logged()) {
					break // another origin comes first
				}
				for _, root := range e.Bodies {
					n.pullBody(from, root)
				}
				if err := n.Apply(context.Background(), []entry{e}); err != nil {
					n.t.Fatal(err)
				}
				progress = true
				moved++
			}
		}
	}
	return moved
}

func (n *node) pullBody(from *node, root crdt.Root) {
	n.t.Helper()
	for i := 0; ; i++ {
		data, last, err := from.BodyChunk(root, i)
		if err != nil || data == nil {
			n.t.Fatalf("chunk %d of %x: %v", i, root, err)
		}
		if err := n.PutBodyChunk(root, i, data, last); err != nil {
			n.t.Fatal(err)
		}
		if last {
			return
		}
	}
}

// settle exchanges operations until all nodes have all, and nothing waits.
func settle(t testing.TB, nodes ...*node) {
	t.Helper()
	deadline := time.Now().Add(3 * time.Minute)
	for {
		moved := false
		for _, a := range nodes {
			for _, b := range nodes {
				moved = a != b && a.pull(b) > 0 || moved
			}
			moved = a.forceTick() || moved
		}
		// The replicas' own tickers run beside this: what one has applied but not
		// synced yet is not in its log for the others to pull.
		if !moved && !slices.ContainsFunc(nodes, func(n *node) bool {
			return !n.applied().Equal(nodes[0].Logged()) || !n.Logged().Equal(nodes[0].Logged())
		}) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the replicas do not come to rest")
		}
	}
}

// applied returns the operations in the replica's head, synced or not.
func (n *node) applied() crdt.VC {
	n.seq.Lock()
	defer n.seq.Unlock()
	return n.seq.vector.Clone()
}

// forceTick lets everything that waits for time in the test user's account
// happen now, and reports whether anything did.
func (n *node) forceTick() bool {
	n.t.Helper()
	before := n.Logged()
	c, err := n.tickAccount(testUser, true)
	if err != nil {
		n.t.Fatal(err)
	}
	if c != nil {
		if err := n.synced(c); err != nil {
			n.t.Fatal(err)
		}
		c.account.settle(c, nil)
		n.release(c.account)
	}
	return !n.Logged().Equal(before)
}

// picture describes all mailboxes of the test user as a client sees them.
func (n *node) picture() string {
	n.t.Helper()
	s := n.session()
	defer s.Close()
	boxes, err := s.Mailboxes(ctxOf(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	var out []string
	for _, b := range boxes {
		if !b.Exists {
			out = append(out, b.Name+" (subscribed only)")
			continue
		}
		m := mustSelect(n.t, s, b.Name)
		out = append(out, fmt.Sprintf("%s %d subscribed=%v", b.Name, m.UIDValidity(), b.Subscribed))
		for _, l := range lines(n.t, s, m.View()) {
			out = append(out, "    "+l)
		}
		m.Close()
	}
	return joined(out)
}

func TestOperationsTravel(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	s := a.session()
	ctx := ctxOf(t)
	m := mustSelect(t, s, "INBOX")
	mustAppend(t, s, "INBOX", "one", "work")
	mustAppend(t, s, "INBOX", strings.Repeat("x", 700_000))
	if err := s.Create(ctx, "Old", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Copy(ctx, tags(m.View()), "Old"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Store(ctx, tags(m.View())[:1], FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	if b.pull(a) == 0 {
		t.Fatal("nothing was pulled")
	}
	if got, want := b.picture(), a.picture(); got != want {
		t.Fatalf("b has:\n%s\na has:\n%s", got, want)
	}
	if n := b.pull(a); n != 0 {
		t.Errorf("%d operations came twice", n)
	}
	if !b.Logged().Equal(a.Logged()) {
		t.Errorf("vectors differ: %v, %v", a.Logged(), b.Logged())
	}
	var msg Message
	m.View().At(0, &msg)
	sb := b.session()
	if st, err := sb.Structure(ctx, msg.Root); err != nil || string(st) != "structure of one" {
		t.Errorf("the structure did not travel: %q, %v", st, err)
	}
	a.audit(testUser)
	b.audit(testUser)
}

// TestApplyIsExactlyOnce gives a replica what it has, and what it cannot have yet.
func TestApplyIsExactlyOnce(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	s := a.session()
	mustAppend(t, s, "INBOX", "one")
	mustAppend(t, s, "INBOX", "two")
	entries, err := a.Read(a.Origin(), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(ctxOf(t), entries[1:]); err == nil {
		t.Error("an operation was taken before those of its origin that come first")
	}
	if err := b.Apply(ctxOf(t), entries); err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(ctxOf(t), entries); err != nil {
		t.Errorf("operations that come again: %v", err)
	}
	if !b.Logged().Equal(a.Logged()) {
		t.Errorf("vectors differ: %v, %v", a.Logged(), b.Logged())
	}
	if err := a.Apply(ctxOf(t), entries); err != nil {
		t.Errorf("own operations that come back: %v", err)
	}
	got := mustSelect(t, b.session(), "INBOX").View()
	if got.Len() != 2 {
		t.Errorf("%d messages, want 2", got.Len())
	}
}

// TestConvergence lets two or three replicas do random things with random
// exchanges between, and restarts; in the end all clients must see the same.
func TestConvergence(t *testing.T) {
	for seed := range int64(12) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewSource(seed))
			var nodes []*node
			for i := range 2 + rng.Intn(2) {
				nodes = append(nodes, newNode(t, crdt.Slot(i+1)))
			}
			for step := range 60 {
				n := nodes[rng.Intn(len(nodes))]
				switch rng.Intn(12) {
				case 0:
					n.reopen()
				case 1, 2, 3:
					n.pull(nodes[rng.Intn(len(nodes))])
				default:
					n.randomChange(rng, step)
				}
			}
			settle(t, nodes...)
			want := nodes[0].picture()
			for _, n := range nodes {
				n.audit(testUser)
				if got := n.picture(); got != want {
					t.Fatalf("replica %d has:\n%s\nreplica 1 has:\n%s", n.slot, got, want)
				}
			}
		})
	}
}

var testBoxes = []string{"INBOX", "Sent", "A", "A.B", "C"}

// randomChange is one command of a client that has just logged in.
func (n *node) randomChange(rng *rand.Rand, step int) {
	n.t.Helper()
	s := n.session()
	defer s.Close()
	ctx := ctxOf(n.t)
	name := testBoxes[rng.Intn(len(testBoxes))]
	other := testBoxes[rng.Intn(len(testBoxes))]
	var err error
	switch rng.Intn(10) {
	case 0:
		err = s.Create(ctx, name, "")
	case 1:
		err = s.Delete(ctx, name)
	case 2:
		err = s.Rename(ctx, name, other)
	case 3:
		err = s.Subscribe(ctx, name, rng.Intn(2) == 0)
	case 4, 5, 6:
		_, err = tryAppend(ctx, s, name, fmt.Sprintf("message %d of %d", step, n.slot), crdt.FlagSeen)
	default:
		err = n.randomMailboxChange(ctx, rng, s, name, other)
	}
	n.tolerate(err)
}

// tolerate fails for errors that a client's wish does not explain.
func (n *node) tolerate(err error) {
	n.t.Helper()
	if err == nil || slices.ContainsFunc([]error{ErrNonexistent, ErrAlreadyExists, ErrCannot, ErrExpunged}, func(e error) bool { return errors.Is(err, e) }) {
		return
	}
	n.t.Fatal(err)
}

func (n *node) randomMailboxChange(ctx context.Context, rng *rand.Rand, s *Account, name, to string) error {
	m, err := s.Select(ctx, name, false)
	if err != nil {
		return err
	}
	defer m.Close()
	all := tags(m.View())
	var some []crdt.Tag
	for _, t := range all {
		if rng.Intn(3) == 0 {
			some = append(some, t)
		}
	}
	switch rng.Intn(4) {
	case 0:
		err = expunge(ctx, m, some)
	case 1:
		_, err = m.Copy(ctx, some, to)
	case 2:
		_, _, err = m.Move(ctx, some, to)
	default:
		_, _, err = m.Store(ctx, some, FlagChange{
			Op: crdt.StoreMode(rng.Intn(3)), Flags: Flags(rng.Intn(32)), Keywords: []string{fmt.Sprint("k", rng.Intn(3))},
		})
	}
	return err
}

// TestRefusedUIDIsReplaced has two replicas append to a mailbox that is watched
// on both: what comes with a UID below the horizon is hidden, then shown under
// another, by the replica's own clockwork and without anybody's doing.
func TestRefusedUIDIsReplaced(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa, sb := a.session(), b.session()
	ma := mustSelect(t, sa, "INBOX")
	settle(t, a, b)
	for range 3 {
		mustAppend(t, sb, "INBOX", "of b") // UIDs of slot 2: above those of slot 1
	}
	mustAppend(t, sa, "INBOX", "of a")
	mb := mustSelect(t, sb, "INBOX")
	b.pull(a) // refused at b: it has shown more
	if v := mb.View(); v.Len() != 3 {
		t.Fatalf("b shows %v", uids(v))
	}
	top := mb.View().UIDAt(2)
	wa, wb := newWitness(), newWitness()
	a.SetReplicator(wa)
	b.SetReplicator(wb)
	timeout := time.After(20 * time.Second)
	for ma.View().Len() != 4 || mb.View().Len() != 4 {
		a.pull(b)
		b.pull(a)
		select {
		case <-ma.Changed():
		case <-mb.Changed():
		case <-wa.news:
		case <-wb.news:
		case <-timeout:
			t.Fatalf("a shows %v, b %v", uids(ma.View()), uids(mb.View()))
		}
	}
	if v := mb.View(); v.UIDAt(3) <= top {
		t.Errorf("b shows the new message under %d, after %d", v.UIDAt(3), top)
	}
	settle(t, a, b)
	if got, want := uids(ma.View()), uids(mb.View()); !slices.Equal(got, want) {
		t.Errorf("a shows %v, b %v", got, want)
	}
	a.audit(testUser)
	b.audit(testUser)
}

// TestCommandsAfterAnotherUID: a session goes on with messages as it knew them,
// and what it does to one that has got another UID meanwhile is done everywhere.
func TestCommandsAfterAnotherUID(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa, sb := a.session(), b.session()
	settle(t, a, b)
	ma := mustSelect(t, sa, "INBOX")
	for range 3 {
		mustAppend(t, sb, "INBOX", "of b") // UIDs of slot 2: above those of slot 1
	}
	before := mustAppend(t, sa, "INBOX", "of a")
	mb := mustSelect(t, sb, "INBOX")
	known := tags(ma.View())
	b.pull(a) // refused at b: it has shown more
	settle(t, a, b)
	if uid := ma.View().UIDAt(3); len(known) != 1 || uid <= before {
		t.Fatalf("the message had UID %d at a, and has %d", before, uid)
	}
	ctx := ctxOf(t)
	for _, change := range []FlagChange{{Op: crdt.StoreReplace, Keywords: []string{"$Load"}}, {Op: crdt.StoreAdd, Flags: Draft}} {
		if _, _, err := ma.Store(ctx, known, change); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ma.Copy(ctx, known, "Archive"); err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	want := fmt.Sprintf("%05b [$Load] of a", Draft)
	for _, m := range []*Mailbox{ma, mb, mustSelect(t, sa, "Archive"), mustSelect(t, sb, "Archive")} {
		if got := lines(t, m.s, m.View()); !strings.HasSuffix(got[len(got)-1], want) {
			t.Errorf("%s has %q, want %q", m.Name(), got, want)
		}
	}
	mustExpunge(t, ma, known)
	settle(t, a, b)
	for _, m := range []*Mailbox{ma, mb} {
		if n := m.View().Len(); n != 3 {
			t.Errorf("%d messages after the EXPUNGE", n)
		}
	}
	a.audit(testUser)
	b.audit(testUser)
}

// TestWaitingSurvivesRestart: what a replica had still to do about a refused
// UID when it stopped, it does after the start, without any session.
func TestWaitingSurvivesRestart(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa := a.session()
	settle(t, a, b)
	mustAppend(t, b.session(), "INBOX", "of b")
	mustAppend(t, sa, "INBOX", "of a")
	b.Refuse(errors.New("not now"))
	b.pull(a)
	own := b.Logged().Get(b.Origin())
	b.reopen()
	w := newWitness()
	b.SetReplicator(w)
	if b.Logged().Get(b.Origin()) == own {
		w.await(t, own+1)
	}
	settle(t, a, b)
	if got, want := b.picture(), a.picture(); got != want {
		t.Errorf("b has:\n%s\na has:\n%s", got, want)
	}
}

// TestHorizonSurvivesRestart: what a client was told of UIDNEXT is not written;
// after a restart it holds all the same.
func TestHorizonSurvivesRestart(t *testing.T) {
	a, b, c := newNode(t, 1), newNode(t, 2), newNode(t, 3)
	settle(t, a, b, c)
	sa := a.session()
	settle(t, a, b, c)
	mustAppend(t, b.session(), "INBOX", "of b") // a UID above that of a's message
	mustAppend(t, sa, "INBOX", "of a")
	c.pull(b)
	s := c.session()
	told, err := s.Status(ctxOf(t), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	c.fs = c.fs.CrashClone(vfs.CrashCloneCfg{})
	c.close()
	c.open()
	c.pull(a)
	s = c.session()
	now, err := s.Status(ctxOf(t), "INBOX")
	if err != nil || now.UIDNext < told.UIDNext {
		t.Errorf("UIDNEXT was %d, after a crash it is %d, %v", told.UIDNext, now.UIDNext, err)
	}
	if got := uids(mustSelect(t, s, "INBOX").View()); !slices.Equal(got, []crdt.UID{told.UIDNext - 1}) {
		t.Errorf("after UIDNEXT %d was told there are %v", told.UIDNext, got)
	}
	settle(t, a, b, c)
	if got, want := c.picture(), a.picture(); got != want {
		t.Errorf("c has:\n%s\na has:\n%s", got, want)
	}
}

func TestMissingBodyIsUnavailable(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	mustAppend(t, a.session(), "INBOX", "one")
	entries, err := a.Read(a.Origin(), 1, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Apply(ctxOf(t), entries); err != nil {
		t.Fatal(err)
	}
	sb := b.session()
	v := mustSelect(t, sb, "INBOX").View()
	var msg Message
	v.At(0, &msg)
	if _, err := sb.Body(ctxOf(t), msg.Root); !errors.Is(err, ErrUnavailable) {
		t.Errorf("content that has not come: %v, want ErrUnavailable", err)
	}
	if _, err := sb.Body(ctxOf(t), crdt.Root{1}); !errors.Is(err, ErrExpunged) {
		t.Errorf("content that never was: %v, want ErrExpunged", err)
	}
	b.pullBody(a, msg.Root)
	b.reopen()
	wantLines(t, lines(t, b.session(), v), "17 00000 [] one")
}

func TestCutLog(t *testing.T) {
	a := newNode(t, 1)
	s := a.session()
	for range 5 {
		mustAppend(t, s, "INBOX", "x")
	}
	last := a.Logged().Get(a.Origin())
	if err := a.CutLog(crdt.VC{{Origin: a.Origin(), N: last - 2}}); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"after the cut", "after a restart"} {
		if _, err := a.Read(a.Origin(), 1, 1); !errors.Is(err, ErrCut) {
			t.Errorf("%s: read of the beginning: %v, want ErrCut", when, err)
		}
		e, err := a.Read(a.Origin(), last-1, 1<<20)
		if err != nil || len(e) != 2 || e[0].Dot.N != last-1 {
			t.Errorf("%s: read of the rest: %d entries, %v", when, len(e), err)
		}
		a.reopen()
	}
	if err := a.CutLog(crdt.VC{{Origin: a.Origin(), N: last + 100}}); err != nil {
		t.Fatal(err)
	}
	if e, err := a.Read(a.Origin(), last+1, 1<<20); err != nil || len(e) != 0 {
		t.Errorf("read behind the end: %v, %v", e, err)
	}
}

// TestFollowUpIsOneBatch: what an operation of a peer brings about here is in
// its batch, so that no crash can come between.
func TestFollowUpIsOneBatch(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa, sb := a.session(), b.session()
	ctx := ctxOf(t)
	settle(t, a, b)
	do := func(errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
	}
	// Two mailboxes come to one name; when the owner of the name leaves, the
	// other one is shown under it and needs a larger UIDVALIDITY.
	do(sa.Create(ctx, "x", ""), sb.Create(ctx, "y", ""))
	settle(t, a, b)
	do(sa.Rename(ctx, "x", "n"), sb.Rename(ctx, "y", "n"))
	settle(t, a, b)
	do(sa.Rename(ctx, "n", "m"))
	followed := 0
	for _, pair := range [][2]*node{{a, b}, {b, a}} {
		to, from := pair[0], pair[1]
		o := from.Origin()
		entries, err := from.Read(o, to.Logged().Get(o)+1, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for i := range entries {
			if !entries[i].Deps.LessEqual(to.Logged()) {
				break
			}
			cs, err := to.receive(&entries[i])
			if err != nil || len(cs) != 1 {
				t.Fatalf("%d commits, %v", len(cs), err)
			}
			if len(cs[0].dots) > 1 {
				followed++
			}
			if err := to.synced(cs[0]); err != nil {
				t.Fatal(err)
			}
			cs[0].account.settle(cs[0], nil)
			to.release(cs[0].account)
		}
	}
	if followed == 0 {
		t.Error("nothing was followed up: the test tests nothing")
	}
	settle(t, a, b)
	a.audit(testUser)
	b.audit(testUser)
}
