package mailstore

import (
	"fmt"
	"math/rand"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/crdt/crdttest"
)

// wall is a clock that tests move on; replicas read it in their own goroutines, too.
type wall struct{ ms atomic.Int64 }

func newWall() *wall {
	w := new(wall)
	w.ms.Store(1_800_000_000_000)
	return w
}

func (w *wall) now() time.Time { return time.UnixMilli(w.ms.Load()) }

func (w *wall) wait(d time.Duration) { w.ms.Add(d.Milliseconds()) }

// timed returns nodes of slots 1 to n with the wall's time.
func timed(t testing.TB, w *wall, n int, change func(*ReplicaOptions)) []*node {
	var out []*node
	for slot := range n {
		d := &node{t: t, fs: vfs.NewCrashableMem(), slot: crdt.Slot(slot + 1)}
		d.set = func(o *ReplicaOptions) {
			o.Now = w.now
			if change != nil {
				change(o)
			}
		}
		d.open()
		t.Cleanup(func() { d.close() })
		out = append(out, d)
	}
	return out
}

// hear lets n hear a sign of life of another node.
func (n *node) hear(from *node) {
	applied := from.Logged()
	n.Heard(from.Origin(), from.Clock(), applied)
}

// rows describes what a view shows, as a client keeps it.
func rows(v *View) map[uint32]string {
	out := map[uint32]string{}
	var m Message
	for i := range v.Len() {
		v.At(i, &m)
		out[m.UID.Number()] = fmt.Sprintf("%x %05b %v", m.Root[12:], m.Flags, m.Keywords)
	}
	return out
}

// resync lets a client synchronise at a node, as SELECT with QRESYNC does.
func (n *node) resync(c *crdttest.QResync, box string, named bool) Resync {
	n.t.Helper()
	s := n.session()
	defer s.Close()
	m := mustSelect(n.t, s, box)
	known := Known{UIDValidity: c.UIDValidity, ModSeq: crdt.Time(c.ModSeq)}
	if named {
		known.UIDs = []UIDRange{}
		for _, r := range c.Known() {
			known.UIDs = append(known.UIDs, UIDRange(r))
		}
	}
	got, err := m.Resync(ctxOf(n.t), known)
	if err != nil {
		n.t.Fatal(err)
	}
	view := rows(got.View)
	answer := crdttest.Report{UIDValidity: m.UIDValidity(), HighestModSeq: uint64(got.ModSeq), Fetched: map[uint32]string{}}
	for _, u := range got.Changed {
		answer.Fetched[u.Number()] = view[u.Number()]
	}
	for _, r := range got.Vanished {
		answer.Vanished = append(answer.Vanished, crdttest.Range(r))
	}
	if got.ModSeq < known.ModSeq {
		n.t.Fatalf("a client that had MODSEQ %d is told %d", known.ModSeq, got.ModSeq)
	}
	if got.ModSeq.Slot() != n.slot {
		n.t.Fatalf("MODSEQ %d of slot %d names slot %d", got.ModSeq, n.slot, got.ModSeq.Slot())
	}
	c.Take(answer)
	return got
}

func wantCache(t testing.TB, c *crdttest.QResync, n *node, box string) {
	t.Helper()
	s := n.session()
	defer s.Close()
	if diff := c.Diff(rows(mustSelect(t, s, box).View())); diff != "" {
		t.Fatalf("client at %d: %s", n.slot, diff)
	}
}

func TestResyncAtOneReplica(t *testing.T) {
	w := newWall()
	n := timed(t, w, 1, nil)[0]
	s := n.session()
	for i := range 5 {
		mustAppend(t, s, "INBOX", fmt.Sprint("message ", i))
	}
	var c crdttest.QResync
	n.resync(&c, "INBOX", false)
	wantCache(t, &c, n, "INBOX")
	m := mustSelect(t, s, "INBOX")
	all := tags(m.View())
	w.wait(time.Second)
	mustExpunge(t, m, all[1:4])
	mustAppend(t, s, "INBOX", "new", `\Seen`)
	got := n.resync(&c, "INBOX", true)
	if len(got.Changed) != 1 || !slices.Equal(got.Vanished, []UIDRange{{18, 20}}) {
		t.Errorf("changed %v, vanished %v", got.Changed, got.Vanished)
	}
	wantCache(t, &c, n, "INBOX")
	if got := n.resync(&c, "INBOX", true); len(got.Changed)+len(got.Vanished) > 0 {
		t.Errorf("nothing is new, but told: %+v", got)
	}
	n.reopen()
	if got := n.resync(&c, "INBOX", true); len(got.Changed)+len(got.Vanished) > 0 {
		t.Errorf("nothing is new after a restart, but told: %+v", got)
	}
	c.UIDValidity++
	if got := n.resync(&c, "INBOX", true); !got.Reset || len(got.Changed) != 3 {
		t.Errorf("another UIDVALIDITY: %+v", got)
	}
}

// TestResyncElsewhere: a client that comes from another replica is told little
// once checkpoints are known, and everything before; also after a restart.
func TestResyncElsewhere(t *testing.T) {
	w := newWall()
	nodes := timed(t, w, 2, nil)
	a, b := nodes[0], nodes[1]
	sa := a.session()
	for i := range 20 {
		mustAppend(t, sa, "INBOX", fmt.Sprint("message ", i))
	}
	settle(t, nodes...)
	var c crdttest.QResync
	b.resync(&c, "INBOX", false)
	if got := a.resync(c.Clone(), "INBOX", true); len(got.Changed) != 20 {
		t.Errorf("without checkpoints %d messages are told", len(got.Changed))
	}
	a.Upkeep()
	a.hear(b)
	w.wait(time.Minute)
	sb := b.session()
	mustAppend(t, sb, "INBOX", "of b")
	b.resync(&c, "INBOX", true)
	settle(t, nodes...)
	m := mustSelect(t, sa, "INBOX")
	mustExpunge(t, m, tags(m.View())[:2])
	a.Upkeep()
	a.reopen()
	got := a.resync(&c, "INBOX", true)
	if len(got.Changed) != 1 || !slices.Equal(got.Vanished, []UIDRange{{17, 18}}) {
		t.Errorf("changed %v, vanished %v", got.Changed, got.Vanished)
	}
	wantCache(t, &c, a, "INBOX")
}

// TestModSeqFromAhead: the MODSEQ of a replica whose clock is ahead is not
// undercut, not even after a crash; one from nowhere is ignored.
func TestModSeqFromAhead(t *testing.T) {
	w := newWall()
	n := timed(t, w, 1, nil)[0]
	mustAppend(t, n.session(), "INBOX", "a")
	ahead := crdt.TimeAt(w.now().Add(50*time.Minute).UnixMilli(), 2)
	c := crdttest.QResync{}
	n.resync(&c, "INBOX", false)
	c.ModSeq = uint64(ahead)
	n.resync(&c, "INBOX", false)
	n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
	n.reopen()
	before := crdt.Time(c.ModSeq)
	mustAppend(t, n.session(), "INBOX", "b")
	n.resync(&c, "INBOX", false)
	wantCache(t, &c, n, "INBOX")
	if crdt.Time(c.ModSeq) <= before {
		t.Errorf("MODSEQ %d after %d", c.ModSeq, before)
	}
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	got, err := m.Resync(ctxOf(t), Known{UIDValidity: m.UIDValidity(), ModSeq: crdt.TimeAt(w.now().Add(3*time.Hour).UnixMilli(), 2)})
	if err != nil || got.ModSeq > crdt.TimeAt(w.now().Add(time.Hour).UnixMilli(), 15) {
		t.Errorf("a MODSEQ from nowhere moves the clock: %v, %v", got.ModSeq, err)
	}
}

func TestUnchangedSinceElsewhere(t *testing.T) {
	w := newWall()
	nodes := timed(t, w, 2, nil)
	a, b := nodes[0], nodes[1]
	sa, sb := a.session(), b.session()
	mustAppend(t, sa, "INBOX", "first")
	settle(t, nodes...)
	w.wait(time.Minute)
	a.Upkeep()
	a.hear(b)
	w.wait(time.Minute)
	mustAppend(t, sb, "INBOX", "second")
	settle(t, nodes...)
	mb, ma := mustSelect(t, sb, "INBOX"), mustSelect(t, sa, "INBOX")
	high := mb.View().HighestModSeq()
	if _, _, err := ma.Store(ctxOf(t), tags(ma.View())[1:], FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	_, failed, err := ma.Store(ctxOf(t), tags(ma.View()), FlagChange{Op: crdt.StoreAdd, Flags: Flagged, UnchangedSince: high, Conditional: true})
	if err != nil || len(failed) != 1 || failed[0] != 1 {
		t.Errorf("failed %v, %v", failed, err)
	}
}

// TestUnchangedSinceBeforeEviction: what a client knows may be flags that were lost
// with a member, when its MODSEQ is from before. It is told those that are here first.
func TestUnchangedSinceBeforeEviction(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "a")
	m := mustSelect(t, s, "INBOX")
	flagged := func(since crdt.Time) int {
		t.Helper()
		_, failed, err := m.Store(ctxOf(t), tags(m.View()), FlagChange{Op: crdt.StoreAdd, Flags: Flagged, UnchangedSince: since, Conditional: true})
		if err != nil {
			t.Fatal(err)
		}
		return len(failed)
	}
	before := m.View().HighestModSeq()
	if err := n.RaiseEpoch(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	if flagged(before) != 1 {
		t.Error("a MODSEQ of before an eviction is believed")
	}
	if flagged(m.View().HighestModSeq()) != 0 {
		t.Error("the MODSEQ that was told after it is not believed")
	}
}

// TestSelectShowsHidden: SELECT gives no MODSEQ while a message is hidden for long.
func TestSelectShowsHidden(t *testing.T) {
	w := newWall()
	nodes := timed(t, w, 2, func(o *ReplicaOptions) { o.Policy = crdt.Policy{Batch: 1 << 40, Wait: 1 << 40, Hidden: 1000} })
	a, b := nodes[0], nodes[1]
	sa, sb := a.session(), b.session()
	mustAppend(t, sa, "INBOX", "a")
	mustAppend(t, sb, "INBOX", "b")
	mustSelect(t, sb, "INBOX").Close()
	b.pull(a)
	m := mustSelect(t, sb, "INBOX")
	if m.View().Len() != 1 {
		t.Fatal("the message of a is not hidden")
	}
	m.Close()
	w.wait(time.Minute)
	if st, err := sb.Status(ctxOf(t), "INBOX"); err != nil || st.Messages != 2 {
		t.Errorf("STATUS: %+v, %v", st, err)
	}
	if m := mustSelect(t, sb, "INBOX"); m.View().Len() != 2 {
		t.Error("a MODSEQ is given while the message is hidden")
	}
}

// TestModSeqFromAheadShowsHidden: a client brings a MODSEQ from a replica whose
// clock is ahead. What is told after it is above that, and so says that all has
// been shown for long; a message that was hidden a moment ago is shown first.
func TestModSeqFromAheadShowsHidden(t *testing.T) {
	w := newWall()
	nodes := timed(t, w, 2, func(o *ReplicaOptions) {
		o.ManualTicks, o.Policy = true, crdt.Policy{Batch: 1 << 40, Wait: 1 << 40, Hidden: 10_000}
	})
	a, b := nodes[0], nodes[1]
	mustAppend(t, a.session(), "INBOX", "a")
	sb := b.session()
	mustAppend(t, sb, "INBOX", "b")
	mustSelect(t, sb, "INBOX").Close()
	b.pull(a)
	m := mustSelect(t, sb, "INBOX")
	if m.View().Len() != 1 {
		t.Fatal("the message of a is not hidden")
	}
	ahead := crdt.TimeAt(w.now().Add(time.Minute).UnixMilli(), 1)
	got, err := m.Resync(ctxOf(t), Known{UIDValidity: m.UIDValidity(), ModSeq: ahead})
	if err != nil {
		t.Fatal(err)
	}
	if got.View.Len() != 2 {
		t.Errorf("MODSEQ %d is told, a minute above the time at which a message was hidden that still is", got.ModSeq)
	}
	if got.ModSeq < ahead {
		t.Errorf("MODSEQ %d after %d", got.ModSeq, ahead)
	}
}

// TestVanishedIsForgotten: what vanished is kept as long and as much as
// configured, and clients from before are told by what they know.
func TestVanishedIsForgotten(t *testing.T) {
	for _, c := range []struct {
		name       string
		age        time.Duration
		max, wants int
	}{
		{"nothing is kept", 0, -1, 0},
		{"by number", 0, 7, 7},
		{"by age", time.Hour, 0, 0},
		{"everything", 0, 0, 30},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWall()
			n := timed(t, w, 1, func(o *ReplicaOptions) { o.VanishedAge, o.VanishedMax = c.age, c.max })[0]
			s := n.session()
			var early, late crdttest.QResync
			for i := range 61 {
				mustAppend(t, s, "INBOX", fmt.Sprint("message ", i))
			}
			n.resync(&early, "INBOX", false)
			m := mustSelect(t, s, "INBOX")
			all := tags(m.View())
			for i := 0; i < 60; i += 2 {
				mustExpunge(t, m, all[i:i+1]) // no two of them beside each other
			}
			n.resync(&late, "INBOX", false)
			w.wait(2 * time.Hour)
			n.Upkeep()
			if got := n.entries(recVanished); got != c.wants {
				t.Errorf("%d entries are left, want %d", got, c.wants)
			}
			n.reopen()
			n.Upkeep()
			mustExpunge(t, mustSelect(t, n.session(), "INBOX"), all[1:2])
			for _, client := range []*crdttest.QResync{&early, &late} {
				if got := n.resync(client, "INBOX", true); len(got.Changed) > 0 || !got.Own {
					t.Errorf("nothing has changed but what is gone: told %v, exact %v", got.Changed, got.Own)
				}
				wantCache(t, client, n, "INBOX")
			}
		})
	}
}

// entries counts the keys of a kind that accounts have.
func (n *node) entries(rec byte) int {
	n.t.Helper()
	prefix := n.keys.record(nil, testUser, rec)
	it, err := n.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		n.t.Fatal(err)
	}
	count := 0
	for ok := it.First(); ok; ok = it.Next() {
		count++
	}
	if err := it.Close(); err != nil {
		n.t.Fatal(err)
	}
	return count
}

// TestPruneInSteps: one step looks at a bounded number of entries.
func TestPruneInSteps(t *testing.T) {
	w := newWall()
	n := timed(t, w, 1, func(o *ReplicaOptions) { o.VanishedMax = -1 })[0]
	s := n.session()
	mustAppend(t, s, "INBOX", "a")
	m := mustSelect(t, s, "INBOX")
	a := s.a
	a.mu.Lock()
	tx := a.begin()
	for i := range 3 * pruneStep {
		_ = tx.Vanish(m.ID(), crdt.UID(1000+2*i), crdt.Time(1<<20+i))
	}
	b, err := tx.Mailbox(m.ID())
	if err == nil {
		err = tx.PutMailbox(b)
	}
	tx.durable = true
	c, err2 := a.keep(tx)
	a.mu.Unlock()
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	if err := n.synced(c); err != nil {
		t.Fatal(err)
	}
	a.settle(c, nil)
	more, err := n.pruneMailbox(boxOf{testUser, m.ID()})
	if left := n.entries(recVanished); !more || err != nil || left != 2*pruneStep {
		t.Errorf("%d entries are left after a step, more %v, %v", left, more, err)
	}
	n.Upkeep()
	if left := n.entries(recVanished); left != 0 {
		t.Errorf("%d entries are left", left)
	}
}

// TestRoamingClients lets clients roam between replicas on disks that crash,
// hear of each other late, and prune.
func TestRoamingClients(t *testing.T) {
	for seed := range 6 {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) { roam(t, rand.New(rand.NewSource(int64(seed)))) })
	}
}

func roam(t *testing.T, rnd *rand.Rand) {
	w := newWall()
	nodes := timed(t, w, 2+rnd.Intn(2), func(o *ReplicaOptions) { o.VanishedMax = 3 })
	type client struct {
		crdttest.QResync
		seen crdt.VC
	}
	clients := make([]client, 3)
	little := 0
	for step := range 150 {
		w.wait(time.Duration(rnd.Intn(8)) * time.Second)
		n, from := nodes[rnd.Intn(len(nodes))], nodes[rnd.Intn(len(nodes))]
		switch rnd.Intn(9) {
		case 0, 1:
			s := n.session()
			mustAppend(t, s, "INBOX", fmt.Sprint("message ", step))
			s.Close()
		case 2:
			s := n.session()
			m := mustSelect(t, s, "INBOX")
			if all := tags(m.View()); len(all) > 0 {
				i := rnd.Intn(len(all))
				if _, _, err := m.Store(ctxOf(t), all[i:i+1], FlagChange{Op: crdt.StoreMode(rnd.Intn(2)), Flags: Seen}); err != nil {
					t.Fatal(err)
				}
				if rnd.Intn(3) == 0 {
					mustExpunge(t, m, all[i:i+1])
				}
			}
			s.Close()
		case 3, 4:
			if n != from {
				n.pull(from)
				n.hear(from)
			}
		case 5:
			n.Upkeep()
		case 6:
			if rnd.Intn(4) == 0 {
				n.fs = n.fs.CrashClone(vfs.CrashCloneCfg{})
				n.reopen()
			}
		default:
			c := &clients[rnd.Intn(len(clients))]
			before := crdt.Time(c.ModSeq)
			got := n.resync(&c.QResync, "INBOX", true)
			if before != 0 && before.Slot() != n.slot && len(got.Changed) < got.View.Len() {
				little++
			}
			if applied := n.applied(); c.seen.LessEqual(applied) {
				if diff := c.Diff(rows(got.View)); diff != "" {
					t.Fatalf("step %d, client at %d: %s", step, n.slot, diff)
				}
				c.seen = applied
			} else {
				c.seen.Merge(applied)
			}
		}
	}
	settle(t, nodes...)
	for i := range clients {
		for _, n := range nodes {
			n.resync(&clients[i].QResync, "INBOX", true)
			wantCache(t, &clients[i].QResync, n, "INBOX")
		}
	}
	t.Logf("%d times a client from elsewhere was told less than everything", little)
}
