package mailstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// stabilise tells nodes that have all of each other's operations that these are
// stable, and deletes what can go.
func stabilise(t testing.TB, nodes ...*node) {
	t.Helper()
	stable := nodes[0].Logged()
	for _, n := range nodes[1:] {
		stable = stable.Min(n.Logged())
	}
	for _, n := range nodes {
		n.Stable(stable, stable)
		if left, err := n.collect(); left || err != nil {
			t.Fatalf("not all deleted: %v, %v", left, err)
		}
	}
}

// inventory counts the keys of a replica by kind.
func (n *node) inventory() map[string]int {
	n.t.Helper()
	it, err := n.store.db.NewIter(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	out := map[string]int{}
	for ok := it.First(); ok; ok = it.Next() {
		key := it.Key()
		switch key[0] {
		case spaceState, spaceContent:
			kind := fmt.Sprintf("%02x %c", key[0], key[3])
			if key[0] == spaceState && key[3] == kindAccount {
				kind += " " + string(key[8])
			}
			out[kind]++
		default:
			out[fmt.Sprintf("%02x", key[0])]++
		}
	}
	if err := it.Close(); err != nil {
		n.t.Fatal(err)
	}
	return out
}

// steady returns the inventory without what has a bound of its own, by time:
// vanished UIDs (crdt.md 4.4) and checkpoints (4.2).
func (n *node) steady() map[string]int {
	n.t.Helper()
	out := n.inventory()
	for _, kind := range []string{"10 a v", "10 k"} {
		delete(out, kind)
	}
	return out
}

func wantInventory(t testing.TB, n *node, want map[string]int) {
	t.Helper()
	got := n.steady()
	if !maps.Equal(got, want) {
		t.Errorf("keys left: %v\nin a fresh mailbox: %v", got, want)
	}
}

func TestDeleteContents(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa, sb := a.session(), b.session()
	big := stageBytes(t, sa, randomBytes(3*chunkSize+5))
	if _, err := sa.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: big, Structure: []byte("s")}}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, sa, "INBOX", "kept")
	settle(t, a, b)
	before := a.inventory()
	ma, mb := mustSelect(t, sa, "INBOX"), mustSelect(t, sb, "INBOX")
	list := tags(ma.View())
	old := ma.View()

	// b moves while a expunges: the copy needs the content.
	if _, _, err := mb.Move(ctxOf(t), list[:1], "Sent"); err != nil {
		t.Fatal(err)
	}
	mustExpunge(t, ma, list[:1])
	a.Stable(crdt.VC{}, crdt.VC{}) // nothing is stable yet
	if _, err := a.collect(); err != nil {
		t.Fatal(err)
	}
	if got := bodyKeys(t, a); got != before["30"] {
		t.Fatalf("%d pieces of contents, there were %d", got, before["30"])
	}
	settle(t, a, b)
	stabilise(t, a, b)
	a.audit(testUser)
	b.audit(testUser)
	for _, n := range []*node{a, b} {
		if left := count(t, n, n.keys.kind(nil, spaceContent, kindRemoval)); left != 0 || bodyKeys(t, n) != before["30"] {
			t.Errorf("%d removals left, %d pieces", left, bodyKeys(t, n))
		}
	}

	// The copy goes too. Whoever reads the content reads all of it.
	body, err := sa.Body(ctxOf(t), big.root)
	if err != nil {
		t.Fatal(err)
	}
	sent := mustSelect(t, sb, "Sent")
	mustExpunge(t, sent, tags(sent.View()))
	settle(t, a, b)
	stable := a.Logged()
	a.Stable(stable, stable)
	if left, err := a.collect(); !left || err != nil {
		t.Errorf("a content that is being read is deleted: %v, %v", left, err)
	}
	if n, err := io.Copy(io.Discard, io.NewSectionReader(body, 0, body.Size())); err != nil || n != 3*chunkSize+5 {
		t.Errorf("read %d bytes, %v", n, err)
	}
	body.Close()
	stabilise(t, a, b)
	var m Message
	old.At(0, &m)
	if _, err := sa.Body(ctxOf(t), m.Root); !errors.Is(err, ErrExpunged) {
		t.Errorf("content that was deleted: %v", err)
	}
	if _, err := sa.Structure(ctxOf(t), m.Root); !errors.Is(err, ErrExpunged) {
		t.Errorf("structure that was deleted: %v", err)
	}
	for _, n := range []*node{a, b} {
		if got := bodyKeys(t, n); got != 1 {
			t.Errorf("%d pieces of contents left, want that of the kept one", got)
		}
		n.audit(testUser)
	}
}

// TestHold: while somebody is given the state at a vector, what is behind it stays.
func TestHold(t *testing.T) {
	a := newNode(t, 1)
	s := a.session()
	mustAppend(t, s, "INBOX", "one")
	release := a.Hold(a.Logged())
	m := mustSelect(t, s, "INBOX")
	cut := a.Logged().Get(a.Origin())
	mustExpunge(t, m, tags(m.View()))
	stabilise(t, a)
	if bodyKeys(t, a) != 1 || a.Cut().Get(a.Origin()) >= cut {
		t.Errorf("%d pieces left, the log is cut at %v", bodyKeys(t, a), a.Cut())
	}
	if _, err := a.Read(a.Origin(), cut+1, 1); err != nil {
		t.Errorf("the log behind what is held: %v", err)
	}
	release()
	stabilise(t, a)
	if got := bodyKeys(t, a); got != 0 {
		t.Errorf("%d pieces left", got)
	}
}

// TestDeletionCrash: after a power failure at any moment of the deletion a
// content is there with all that is counted of it, or gone with it, and what is
// left is deleted then.
func TestDeletionCrash(t *testing.T) {
	a := newNode(t, 1)
	s := a.session()
	for range 10 {
		st := stageBytes(t, s, randomBytes(2*chunkSize))
		if _, err := s.Append(ctxOf(t), "INBOX", []NewMessage{{Staging: st, Structure: []byte("s")}}); err != nil {
			t.Fatal(err)
		}
	}
	m := mustSelect(t, s, "INBOX")
	for _, tag := range tags(m.View())[:9] {
		mustExpunge(t, m, []crdt.Tag{tag})
	}
	stable := a.Logged()
	a.Stable(stable, stable)
	for i := range 5 {
		if _, err := a.collect(); err != nil {
			t.Fatal(err)
		}
		fs := a.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: 25 * i, RNG: rand.New(rand.NewPCG(1, uint64(i)))})
		c := &node{t: t, fs: fs, slot: 1}
		c.open()
		counts, structures := count(t, c, c.keys.kind(nil, spaceContent, kindCount)), count(t, c, c.keys.kind(nil, spaceContent, kindStructure))
		if counts != structures || bodyKeys(t, c) != 2*counts {
			t.Errorf("%d counts, %d structures, %d pieces", counts, structures, bodyKeys(t, c))
		}
		c.Stable(stable, stable)
		if left, err := c.collect(); left || err != nil || bodyKeys(t, c) != 2 {
			t.Errorf("%d pieces left, %v, %v", bodyKeys(t, c), left, err)
		}
		c.audit(testUser)
		c.close()
	}
}

// TestQuarantineKeepsContents: what is counted of an account that is not kept up
// to date says nothing.
func TestQuarantineKeepsContents(t *testing.T) {
	a := newNode(t, 1)
	s := a.session()
	mustAppend(t, s, "INBOX", "one")
	m := mustSelect(t, s, "INBOX")
	mustExpunge(t, m, tags(m.View()))
	acc := a.acquire(testUser)
	defer a.release(acc)
	acc.mu.Lock()
	acc.quarantined = &quarantine{}
	acc.mu.Unlock()
	a.Stable(a.Logged(), a.Logged())
	if left, err := a.collect(); !left || err != nil || bodyKeys(t, a) != 1 {
		t.Errorf("%d pieces, %v, %v", bodyKeys(t, a), left, err)
	}
	acc.mu.Lock()
	acc.quarantined = nil
	acc.mu.Unlock()
	stabilise(t, a)
	if bodyKeys(t, a) != 0 {
		t.Error("the content stays when the quarantine is over")
	}
}

// TestSweepOld: what is staged and not adopted goes when it is old, unless its
// client still writes it.
func TestSweepOld(t *testing.T) {
	w := newWall()
	n := timed(t, w, 1, nil)[0]
	s := n.session()
	stageBytes(t, s, randomBytes(2*chunkSize)) // one piece written, one in memory
	old, young := n.newRoot(), n.newRoot()
	if err := n.PutBodyChunk(old, 0, randomBytes(10), false); err != nil {
		t.Fatal(err)
	}
	w.wait(stagedFor + time.Second)
	if err := n.PutBodyChunk(young, 0, randomBytes(10), false); err != nil {
		t.Fatal(err)
	}
	n.sweepOld()
	if got := bodyKeys(t, n); got != 2 {
		t.Errorf("%d pieces left, want those of the open one and the young one", got)
	}
}

// stageIn stages a message for Append.
func stageIn(ctx context.Context, t testing.TB, s *Account, data []byte) NewMessage {
	t.Helper()
	st, err := s.Stage(ctx, int64(len(data)))
	if err == nil {
		_, err = st.Write(data)
	}
	if err != nil {
		t.Fatal(err)
	}
	return NewMessage{Staging: st, Structure: []byte("s")}
}

func expungeIn(ctx context.Context, t testing.TB, m *Mailbox, messages []crdt.Tag) {
	t.Helper()
	if err := expunge(ctx, m, messages); err != nil {
		t.Fatal(err)
	}
}

// churn adds and expunges n messages at two replicas that exchange operations,
// 100 at a time: some are flagged, copied or moved first, some moved by both.
func churn(t testing.TB, a, b *node, n int) {
	t.Helper()
	ctx := context.Background()
	sa, sb := a.session(), b.session()
	ma, mb := mustSelect(t, sa, "INBOX"), mustSelect(t, sb, "INBOX")
	sent := mustSelect(t, sa, "Sent")
	for done := 0; done < n; done += 100 {
		var list []NewMessage
		for i := range 100 {
			list = append(list, stageIn(ctx, t, sa, []byte(fmt.Sprintf("message %d", done+i))))
		}
		if _, err := sa.Append(ctx, "INBOX", list); err != nil {
			t.Fatal(err)
		}
		settle(t, a, b)
		in := tags(ma.View())
		if _, _, err := ma.Store(ctx, in[:10], FlagChange{Keywords: []string{"k" + strconv.Itoa(done)}}); err != nil {
			t.Fatal(err)
		}
		if _, err := ma.Copy(ctx, in[:10], "Sent"); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*Mailbox{ma, mb} { // twins
			if _, _, err := m.Move(ctx, in[10:20], "Sent"); err != nil {
				t.Fatal(err)
			}
		}
		expungeIn(ctx, t, mb, in[20:60])
		expungeIn(ctx, t, ma, in[40:])
		expungeIn(ctx, t, ma, in[:10])
		settle(t, a, b)
		expungeIn(ctx, t, sent, tags(sent.View()))
		settle(t, a, b)
		expungeIn(ctx, t, sent, tags(sent.View())) // the twins that became visible
		expungeIn(ctx, t, ma, tags(ma.View()))
		settle(t, a, b)
		stabilise(t, a, b)
	}
}

// TestNoGrowth: whatever was added and expunged, a mailbox has the keys of a
// fresh one, but for the vanished list.
func TestNoGrowth(t *testing.T) {
	n := 4000
	if testing.Short() {
		n = 2000
	}
	a, b := newNode(t, 1), newNode(t, 2)
	churn(t, a, b, 100)
	fresh := a.steady()
	for _, kind := range []string{"10 a m", "10 a o", "10 a t", "10 w", "20 g", "20 r", "20 s", "20 x", "30"} {
		if fresh[kind] != 0 {
			t.Fatalf("%d keys of kind %s in a mailbox without messages", fresh[kind], kind)
		}
	}
	if fresh["10 l"] != 2 {
		t.Fatalf("%d operations in the log, want the last one of each replica", fresh["10 l"])
	}
	churn(t, a, b, n)
	for _, x := range []*node{a, b} {
		wantInventory(t, x, fresh)
		x.audit(testUser)
		x.reopen()
		wantInventory(t, x, fresh)
	}
}

// TestMillion is TestNoGrowth on a real disk with as many messages as the
// environment variable PLUTO_SOAK_MESSAGES says (make soak: a million), and
// measures what is left on the disk.
func TestMillion(t *testing.T) {
	n, err := strconv.Atoi(os.Getenv("PLUTO_SOAK_MESSAGES"))
	if err != nil {
		t.Skip("PLUTO_SOAK_MESSAGES is not set")
	}
	dir := t.TempDir()
	open := func() *node {
		x := &node{t: t, slot: 1}
		store, err := Open(dir, Options{MinFree: -1})
		if err != nil {
			t.Fatal(err)
		}
		r, err := store.Replica(testReplica(1))
		if err != nil {
			t.Fatal(err)
		}
		x.store, x.Replica = store, r
		return x
	}
	a := open()
	s := a.session()
	m := mustSelect(t, s, "INBOX")
	ctx, body := context.Background(), randomBytes(2000)
	round := func(size int) {
		var list []NewMessage
		for range size {
			list = append(list, stageIn(ctx, t, s, body))
		}
		if _, err := s.Append(ctx, "INBOX", list); err != nil {
			t.Fatal(err)
		}
		expungeIn(ctx, t, m, tags(m.View()))
		stabilise(t, a)
	}
	round(1000)
	fresh := a.steady()
	for done := 1000; done < n; done += 1000 {
		round(1000)
	}
	wantInventory(t, a, fresh)
	a.audit(testUser)
	s.Close()
	var sizes []int64
	size := func() {
		for range 2 { // a start deletes the files that the one before needed, and a stop waits for that
			if err := a.store.Close(); err != nil {
				t.Fatal(err)
			}
			sizes = append(sizes, diskSize(t, dir))
			a = open()
		}
	}
	size()
	compactAll(t, a)
	vanished := a.inventory()["10 a v"]
	size()
	start := a.keys.record(nil, testUser, recVanished)
	if err := a.store.db.DeleteRange(start, after(start), pebble.Sync); err != nil { // as if all were pruned
		t.Fatal(err)
	}
	compactAll(t, a)
	size()
	t.Logf("%d messages of %d bytes added and expunged: %d bytes on disk; compacted %d, with %d runs of vanished UIDs; %d without those",
		n, len(body), sizes[1], sizes[3], vanished, sizes[5])
	if sizes[5] > 64<<10 {
		t.Error("more is left than of a few messages")
	}
	if err := a.store.Close(); err != nil {
		t.Error(err)
	}
}

// compactAll makes the database as small as it can be.
func compactAll(t testing.TB, n *node) {
	t.Helper()
	err := errors.Join(n.store.db.Flush(), n.store.db.Compact(context.Background(), []byte{0}, []byte{0xff}, true))
	if err != nil {
		t.Fatal(err)
	}
}

// diskSize returns the bytes of all files of a directory.
func diskSize(t testing.TB, dir string) (size int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			size += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return size
}
