package mailstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// pieces returns a whole snapshot of an account.
func (n *node) pieces(user crdt.AccountID) [][]byte {
	n.t.Helper()
	s, err := n.Snapshot(user)
	if err != nil {
		n.t.Fatal(err)
	}
	defer func() {
		if err := s.Close(); err != nil {
			n.t.Error(err)
		}
	}()
	var out [][]byte
	for {
		p, err := s.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			n.t.Fatal(err)
		}
		out = append(out, p)
	}
}

func (n *node) beginLoad(from *node) SnapshotList {
	n.t.Helper()
	list, err := from.ListSnapshots()
	if err == nil {
		err = n.BeginLoad(list)
	}
	if err != nil {
		n.t.Fatal(err)
	}
	return list
}

func (n *node) feed(pieces [][]byte) {
	n.t.Helper()
	for _, p := range pieces {
		if err := n.FeedLoad(p); err != nil {
			n.t.Fatal(err)
		}
	}
}

// mergeBatch merges one batch.
func (n *node) mergeBatch(user crdt.AccountID) (more bool) {
	n.t.Helper()
	a := n.acquire(user)
	defer n.release(a)
	more, err := a.mergeSome()
	if err != nil {
		n.t.Fatal(err)
	}
	return more
}

// loadAll loads all accounts of another node.
func (n *node) loadAll(from *node) {
	n.t.Helper()
	for _, user := range n.beginLoad(from).Accounts {
		n.feed(from.pieces(user))
		if err := n.MergeLoad(ctxOf(n.t), user); err != nil {
			n.t.Fatal(err)
		}
	}
	n.finishLoad()
}

// TestFloorsOfSnapshots: a snapshot says of a mailbox whether its list of what vanished
// was pruned. What an eviction made doubtful is each replica's own; it would make a
// record that members of an earlier version cannot read.
func TestFloorsOfSnapshots(t *testing.T) {
	n := timed(t, newWall(), 1, func(o *ReplicaOptions) { o.VanishedMax = -1 })[0]
	n.expungeSecond(n.session(), "Pruned")
	do(t, n.RaiseEpoch(ctxOf(t), 1))
	boxes := 0
	for _, piece := range n.pieces(testUser) {
		_, entries, err := parsePiece(piece)
		do(t, err)
		for _, e := range entries {
			if e.kind != stagedMailbox {
				continue
			}
			boxes++
			b, err := crdt.DecodeMailbox(e.data)
			do(t, err)
			if e.data[0] != 1 || (b.VanFloor != 0) != (b.Name.Value == "Pruned") {
				t.Errorf("version %d of %q, pruned up to %d", e.data[0], b.Name.Value, b.VanFloor)
			}
		}
	}
	if boxes < 2 {
		t.Errorf("%d mailboxes", boxes)
	}
}

func (n *node) finishLoad() {
	n.t.Helper()
	if err := n.FinishLoad(); err != nil {
		n.t.Fatal(err)
	}
}

// pullMissing gets the contents that a snapshot did not bring.
func (n *node) pullMissing(from *node) {
	n.t.Helper()
	for behind := (crdt.Root{}); ; {
		list, err := n.MissingContents(behind, 3)
		if err != nil {
			n.t.Fatal(err)
		}
		if len(list) == 0 {
			return
		}
		for _, root := range list {
			n.pullBody(from, root)
		}
		behind = list[len(list)-1]
	}
}

func (n *node) linesOf(user crdt.AccountID, box string) []string {
	n.t.Helper()
	s := n.sessionOf(user)
	m := mustSelect(n.t, s, box)
	defer m.Close()
	return lines(n.t, s, m.View())
}

// sameMail checks that nodes show the same.
func sameMail(t *testing.T, user crdt.AccountID, box string, nodes ...*node) {
	t.Helper()
	for _, n := range nodes[1:] {
		wantLines(t, n.linesOf(user, box), nodes[0].linesOf(user, box)...)
	}
}

// TestLoadNew gives a new member everything, and it goes on with the log.
func TestLoadNew(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	s := a.session()
	mustAppend(t, s, "INBOX", "one", `\Seen`)
	mustAppend(t, s, "INBOX", "two", "$Work")
	mustAppend(t, s, "Sent", "three")
	other := a.sessionOf(8)
	mustAppend(t, other, "INBOX", "of another user")
	m := mustSelect(t, s, "INBOX")
	mustExpunge(t, m, tags(m.View())[:1])
	if err := a.CutLog(a.Logged()); err != nil {
		t.Fatal(err)
	}

	b.loadAll(a)
	if !b.Logged().Equal(a.Logged()) {
		t.Errorf("the loader has %v, the source %v", b.Logged(), a.Logged())
	}
	if _, err := b.Read(a.Origin(), 1, 100); !errors.Is(err, ErrCut) {
		t.Errorf("log of what was loaded: %v", err)
	}
	if _, err := b.LoadProgress(); !errors.Is(err, ErrNoLoad) {
		t.Errorf("progress after the end: %v", err)
	}
	if got := b.linesOf(testUser, "Sent"); len(got) != 1 || !strings.HasSuffix(got[0], "(not here)") {
		t.Errorf("before contents are pulled: %q", got)
	}
	b.pullMissing(a)
	mustAppend(t, s, "INBOX", "four")
	mustAppend(t, b.session(), "INBOX", "five")
	settle(t, a, b)
	for _, box := range []string{"INBOX", "Sent"} {
		sameMail(t, testUser, box, a, b)
	}
	sameMail(t, 8, "INBOX", a, b)
	a.audit(testUser, 8)
	b.audit(testUser, 8)
	b.reopen()
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser, 8)
}

// TestLoadReturning brings back a member that has served on its own, while it
// goes on: what it removed stays removed, what it has added stays.
func TestLoadReturning(t *testing.T) {
	a, b, c := newNode(t, 1), newNode(t, 2), newNode(t, 3)
	b.mergeStep = 1
	sa, sb := a.session(), b.session()
	for _, body := range []string{"a", "b", "c", "d"} {
		mustAppend(t, sa, "INBOX", body)
	}
	settle(t, a, b, c)
	ma, mb := mustSelect(t, sa, "INBOX"), mustSelect(t, sb, "INBOX")
	mustExpunge(t, ma, tags(ma.View())[:1])  // a
	mustExpunge(t, mb, tags(mb.View())[1:2]) // b
	mustAppend(t, sa, "INBOX", "e")
	mustAppend(t, sb, "INBOX", "f")
	if err := a.CutLog(a.Logged()); err != nil {
		t.Fatal(err)
	}
	a.pull(b)

	list := b.beginLoad(a)
	for _, user := range list.Accounts {
		b.feed(a.pieces(user))
		i := 0
		for b.mergeBatch(user) {
			last := uids(mb.View())
			mustAppend(t, b.session(), "INBOX", fmt.Sprint("while loading ", i))
			now := uids(mb.View())
			if n := now[len(now)-1]; len(last) > 0 && n <= last[len(last)-1] {
				t.Errorf("UID %d is shown after %d", n, last[len(last)-1])
			}
			if i++; i > 100 {
				t.Fatal("a client that goes on keeps the load from ending")
			}
		}
	}
	// c has not what b has loaded: what b does now must wait there.
	v := mustSelect(t, b.session(), "INBOX")
	if _, _, err := v.Store(ctxOf(t), tags(v.View()), FlagChange{Op: crdt.StoreAdd, Flags: Flagged}); err != nil {
		t.Fatal(err)
	}
	before := c.Logged().Get(b.Origin())
	c.pull(b)
	if ops, _ := b.Read(b.Origin(), c.Logged().Get(b.Origin())+1, 1); len(ops) == 0 {
		t.Errorf("c has applied all of b's operations (%d, had %d) without a's", c.Logged().Get(b.Origin()), before)
	}
	b.finishLoad()
	b.pullMissing(a)
	c.loadAll(a)
	c.pullMissing(a)
	settle(t, a, b, c)
	sameMail(t, testUser, "INBOX", a, b, c)
	got := joined(b.linesOf(testUser, "INBOX"))
	for _, body := range []string{" a\n", " b\n"} {
		if strings.Contains(got, body) {
			t.Errorf("%q is back:\n%s", body, got)
		}
	}
	for _, body := range []string{" c\n", " d\n", " e\n", " f\n", "while loading 0\n"} {
		if !strings.Contains(got, body) {
			t.Errorf("%q is lost:\n%s", body, got)
		}
	}
	for _, n := range []*node{a, b, c} {
		n.audit(testUser)
	}
}

// TestLoadAndOperations lets an operation of a peer come in the middle of a merge.
func TestLoadAndOperations(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	b.mergeStep = 1
	s := a.session()
	for i := range 5 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
	}
	b.pull(a)
	mustAppend(t, s, "INBOX", "m5")
	b.beginLoad(a)
	b.feed(a.pieces(testUser))
	b.mergeBatch(testUser)
	b.mergeBatch(testUser)

	// The load contains the first of these and not the second.
	m := mustSelect(t, s, "INBOX")
	mustExpunge(t, m, tags(m.View())[:2])
	b.pull(a)
	wantLines(t, b.linesOf(testUser, "INBOX"), a.linesOf(testUser, "INBOX")...)
	if p, err := b.LoadProgress(); err != nil || p.Loaded != 1 {
		t.Errorf("progress %+v, %v", p, err)
	}
	b.finishLoad()
	settle(t, a, b)
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}

// TestFeedLoad holds what pieces are taken and what are not.
func TestFeedLoad(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	s := a.session()
	long := make([]string, 100)
	for i := range long {
		long[i] = fmt.Sprint(strings.Repeat("k", 240), i)
	}
	for i := range 30 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i), long...)
	}
	one, two := a.pieces(testUser), a.pieces(testUser)
	if len(one) < 3 {
		t.Fatalf("%d pieces", len(one))
	}
	for _, p := range one {
		if len(p) > 2*pieceTarget {
			t.Errorf("piece of %d bytes", len(p))
		}
	}
	if err := b.FeedLoad(one[0]); !errors.Is(err, ErrNoLoad) {
		t.Errorf("without a load: %v", err)
	}
	b.beginLoad(a)
	refused := func(what string, p []byte) {
		t.Helper()
		if err := b.FeedLoad(p); !errors.Is(err, ErrPiece) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("the second one first", one[1])
	refused("nothing", nil)
	for _, i := range []int{0, 5, 20, len(one[0]) / 2, len(one[0]) - 1} {
		broken := slices.Clone(one[0])
		broken[i] ^= 0x40
		refused(fmt.Sprint("a flipped bit at ", i), broken)
	}
	refused("a piece without its end", one[0][:len(one[0])-1])
	b.feed(one[:2])
	b.feed(one[:2]) // again
	refused("a piece of another snapshot", two[2])
	b.reopen()
	if p, err := b.LoadProgress(); err != nil || len(p.Left) != 1 || p.Left[0].Pieces != 2 || p.Left[0].Staged {
		t.Errorf("progress after a restart: %+v, %v", p, err)
	}
	if err := b.MergeLoad(ctxOf(t), testUser); !errors.Is(err, ErrPiece) {
		t.Errorf("merge without all pieces: %v", err)
	}
	if err := b.FinishLoad(); !errors.Is(err, ErrNotLoaded) {
		t.Errorf("finish without all accounts: %v", err)
	}
	b.feed(two)
	if err := b.MergeLoad(ctxOf(t), testUser); err != nil {
		t.Fatal(err)
	}
	if err := b.AbandonLoad(); err == nil {
		t.Error("a load is abandoned of which an account is merged")
	}
	b.finishLoad()
	b.pullMissing(a)
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}

// TestLoadEndsQuarantine loads an account anew of which a snapshot was refused in
// the middle: what had not come with that comes with the next one.
func TestLoadEndsQuarantine(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	b.mergeStep = 1
	s := a.session()
	for i := range 4 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
	}
	b.beginLoad(a)
	b.feed(a.pieces(testUser))
	b.mergeBatch(testUser)
	b.mergeBatch(testUser)
	acc := b.acquire(testUser)
	acc.mu.Lock()
	c, err := acc.refuseLoad(acc.loading, errors.New("a test"))
	acc.mu.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	if err := b.synced(c); err != nil {
		t.Fatal(err)
	}
	b.release(acc)
	b.reopen()
	if q, err := b.Quarantined(); err != nil || len(q) != 1 {
		t.Fatalf("quarantined %v, %v", q, err)
	}
	if err := b.MergeLoad(ctxOf(t), testUser); !errors.Is(err, ErrPiece) {
		t.Errorf("merge of nothing: %v", err)
	}
	b.feed(a.pieces(testUser))
	if err := b.MergeLoad(ctxOf(t), testUser); err != nil {
		t.Fatal(err)
	}
	if q, err := b.Quarantined(); err != nil || len(q) != 0 {
		t.Fatalf("quarantined %v, %v", q, err)
	}
	b.finishLoad()
	b.pullMissing(a)
	settle(t, a, b) // the restart has raised the horizon above what came last
	sameMail(t, testUser, "INBOX", a, b)
	b.audit(testUser)
}

// TestLoadCrash crashes a member at random moments of a load, with commands on
// both sides and operations in between; the load goes on after each.
func TestLoadCrash(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for i := range rounds {
		t.Run(fmt.Sprint(i), func(t *testing.T) { loadCrash(t, rand.New(rand.NewPCG(3, uint64(i)))) })
	}
}

func loadCrash(t *testing.T, rng *rand.Rand) {
	a, b := newNode(t, 1), newNode(t, 2)
	w := &loadWriter{t: t, rng: rng}
	for range 12 {
		w.command(a)
	}
	b.pull(a)
	for range 12 {
		w.command(a)
		w.command(b)
	}
	b.pull(b)
	cut := rng.IntN(2) == 0
	if cut {
		if err := a.CutLog(a.Logged()); err != nil {
			t.Fatal(err)
		}
	}
	b.beginLoad(a)
	pieces, snapshot := a.pieces(testUser), true
	for next := 0; snapshot; {
		b.mergeStep = 1 + rng.IntN(4)
		switch rng.IntN(8) {
		case 0:
			w.command(b)
		case 1:
			w.command(a)
		case 2:
			a.pull(b)
		case 3:
			b.crash(rng)
			p, err := b.LoadProgress()
			if err != nil {
				t.Fatal(err)
			}
			if len(p.Left) > 0 && !p.Left[0].Staged && int(p.Left[0].Pieces) < next {
				t.Fatalf("%d pieces of %d are left after a crash", p.Left[0].Pieces, next)
			}
		case 4:
			if !cut {
				b.pull(a)
			}
		default:
			if next < len(pieces) {
				b.feed(pieces[next : next+1])
				next++
				continue
			}
			snapshot = b.mergeBatch(testUser)
		}
	}
	b.crash(rng)
	b.finishLoad()
	b.crash(rng)
	b.pullMissing(a)
	settle(t, a, b)
	sameMail(t, testUser, "INBOX", a, b)
	sameMail(t, testUser, "Sent", a, b)
	a.audit(testUser)
	b.audit(testUser)
	got := joined(slices.Concat(b.linesOf(testUser, "INBOX"), b.linesOf(testUser, "Sent")))
	for body, there := range w.bodies {
		if strings.Contains(got, " "+body+"\n") != there {
			t.Errorf("%q: there %v, should be %v:\n%s", body, !there, there, got)
		}
	}
}

// crash takes the power from a node and starts it again.
func (n *node) crash(rng *rand.Rand) {
	n.t.Helper()
	power := n.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 50 * rng.IntN(3), RNG: rng})
	n.close()
	n.fs = power
	n.open()
}

// loadWriter gives commands and knows what must come of them.
type loadWriter struct {
	t      *testing.T
	rng    *rand.Rand
	n      int
	bodies map[string]bool
	roots  map[crdt.Root]string
}

func (w *loadWriter) command(n *node) {
	w.t.Helper()
	if w.bodies == nil {
		w.bodies, w.roots = map[string]bool{}, map[crdt.Root]string{}
	}
	ctx := context.Background()
	s, err := n.Open(ctx, testUser, testLogin, newSessionID())
	if err != nil {
		w.t.Fatal(err)
	}
	defer s.Close()
	m := mustSelect(w.t, s, "INBOX")
	defer m.Close()
	v := m.View()
	if v.Len() == 0 || w.rng.IntN(3) == 0 {
		w.n++
		body := fmt.Sprint("body-", w.n)
		uid := mustAppend(w.t, s, "INBOX", body)
		i, ok := m.View().Find(uid)
		if !ok {
			w.t.Fatalf("%q is not shown", body)
		}
		var msg Message
		m.View().At(i, &msg)
		w.bodies[body], w.roots[msg.Root] = true, body
		return
	}
	some := tags(v)[w.rng.IntN(v.Len()):][:1]
	switch w.rng.IntN(4) {
	case 0:
		var msg Message
		for i := range v.Len() {
			if v.At(i, &msg); msg.Tag == some[0] {
				w.bodies[w.roots[msg.Root]] = false // its content need not be here
			}
		}
		mustExpunge(w.t, m, some)
	default:
		if _, _, err := m.Store(ctx, some, FlagChange{Op: crdt.StoreAdd, Flags: Flags(1 << w.rng.IntN(2))}); err != nil {
			w.t.Fatal(err)
		}
	}
}
