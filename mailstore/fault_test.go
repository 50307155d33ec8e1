package mailstore

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"
)

// TestSyncFails: what could not be synced is not acknowledged and not shown,
// and nothing is written after it.
func TestSyncFails(t *testing.T) {
	mem := vfs.NewCrashableMem()
	broken := make(chan struct{})
	fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		select {
		case <-broken:
		default:
			return nil
		}
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if strings.HasSuffix(op.Path, ".log") {
				return errors.New("input/output error")
			}
		}
		return nil
	}))
	opts := testOptions(fs)
	opts.Fatal = func(error) { runtime.Goexit() } // as far as a test can end
	store, err := Open(testDir, opts)
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Replica(testReplica(1))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, store: store, Replica: r}
	s, watcher := n.session(), n.session()
	m := mustSelect(t, watcher, "INBOX")
	mustAppend(t, s, "INBOX", "good")
	logged := n.Logged()
	close(broken)
	if _, err := tryAppend(ctxOf(t), s, "INBOX", "lost"); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("APPEND that was not synced: %v, want ErrUnavailable", err)
	}
	if v := m.View(); v.Len() != 1 {
		t.Errorf("what was not synced is shown: %v", uids(v))
	}
	if !n.Logged().Equal(logged) {
		t.Error("what was not synced is offered to peers")
	}
	if store.Err() == nil {
		t.Error("the store goes on after a failed sync")
	}
	_, appendErr := tryAppend(ctxOf(t), s, "INBOX", "more")
	_, statusErr := s.Status(ctxOf(t), "INBOX")
	_, _, storeErr := m.Store(ctxOf(t), tags(m.View()), FlagChange{Flags: Seen})
	for what, err := range map[string]error{"APPEND": appendErr, "STATUS": statusErr, "STORE": storeErr} {
		if !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s after a failed sync: %v, want ErrUnavailable", what, err)
		}
	}
	after := &node{t: t, fs: mem.CrashClone(vfs.CrashCloneCfg{}), slot: 1}
	after.open()
	defer after.close()
	sa := after.session()
	wantLines(t, lines(t, sa, mustSelect(t, sa, "INBOX").View()), "17 00000 [] good")
	after.audit(testUser)
}

// TestDiskFull: writes are refused in time, reads go on, and so do writes when
// there is room again.
func TestDiskFull(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "INBOX", "one")
	n.store.opts.MinFree = 1 << 20
	room := func(free uint64) {
		n.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: free, TotalBytes: 1 << 30})
		n.store.space.looked.Store(0)
	}
	room(1<<20 - 1)
	if _, err := tryAppend(ctxOf(t), s, "INBOX", "two"); !errors.Is(err, ErrDiskFull) {
		t.Errorf("APPEND to a full disk: %v, want ErrDiskFull", err)
	}
	room(1<<20 - 1)
	if st, err := s.Stage(ctxOf(t), 3*chunkSize); err == nil {
		_, err = st.Write(make([]byte, 3*chunkSize))
		if !errors.Is(err, ErrDiskFull) {
			t.Errorf("staging on a full disk: %v, want ErrDiskFull", err)
		}
		st.Discard()
	}
	wantLines(t, lines(t, s, mustSelect(t, s, "INBOX").View()), "17 00000 [] one")
	room(2 << 20)
	mustAppend(t, s, "INBOX", "two")
	n.audit(testUser)
}

// TestDiskFullOfPeer: operations of peers are not taken either, and come again.
func TestDiskFullOfPeer(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	if err := a.session().Create(ctxOf(t), "A", ""); err != nil {
		t.Fatal(err)
	}
	entries, err := a.Read(a.Origin(), 1, 1<<20)
	if err != nil || len(entries) == 0 {
		t.Fatal(len(entries), err)
	}
	b.store.opts.MinFree = 1 << 20
	for _, x := range []struct {
		free uint64
		want error
	}{{1<<20 - 1, ErrDiskFull}, {2 << 20, nil}} {
		b.fs.TestingSetDiskUsage(vfs.DiskUsage{AvailBytes: x.free, TotalBytes: 1 << 30})
		b.store.space.looked.Store(0)
		if err := b.Apply(ctxOf(t), entries); !errors.Is(err, x.want) {
			t.Errorf("with %d bytes free: %v, want %v", x.free, err, x.want)
		}
	}
	if !b.Logged().Equal(a.Logged()) {
		t.Errorf("%v here, %v at the peer", b.Logged(), a.Logged())
	}
}

// TestContextEndsWaiting: a call with a context that has ended does nothing.
func TestContextEndsWaiting(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	before := n.Logged()
	if err := s.Create(ctx, "A", ""); !errors.Is(err, context.Canceled) {
		t.Errorf("CREATE with a context that has ended: %v", err)
	}
	if !n.Logged().Equal(before) {
		t.Error("it changed something")
	}
}
