package mailstore

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/go-pluto/pluto/crdt"
)

// newBounded returns a node whose log is bounded.
func newBounded(t *testing.T, set func(*ReplicaOptions)) *node {
	n := &node{t: t, fs: vfs.NewCrashableMem(), slot: 1, set: set}
	n.open()
	t.Cleanup(func() { n.close() })
	return n
}

func (n *node) mustCollect() {
	n.t.Helper()
	if _, err := n.collect(); err != nil {
		n.t.Fatal(err)
	}
}

// countLog reads how large the log really is.
func (n *node) countLog() (bytes int64, operations int) {
	n.t.Helper()
	for o, last := range n.Logged().All() {
		list, size, err := n.measureOrigin(o, last)
		if err != nil {
			n.t.Fatal(err)
		}
		bytes += size
		for _, s := range list {
			operations += int(s.last - s.first + 1)
		}
	}
	return bytes, operations
}

// TestLogMaxSize: with a peer that never comes back the log stops to grow, what is
// counted is what is there, also after a restart, and the oldest goes first.
func TestLogMaxSize(t *testing.T) {
	const limit = 8 << 10
	n := newBounded(t, func(o *ReplicaOptions) { o.LogMaxSize = limit })
	for i := range 120 {
		if i == 60 {
			n.reopen()
		}
		s := n.session()
		mustAppend(t, s, "INBOX", fmt.Sprint("message ", i))
		s.Close()
		n.mustCollect()
		if got := n.LogBytes(); got > limit {
			t.Fatalf("%d bytes of log, limit %d", got, limit)
		}
	}
	bytes, operations := n.countLog()
	if got := n.LogBytes(); got < bytes*9/10 || got > bytes*11/10 {
		t.Errorf("counted %d bytes of log, there are %d", got, bytes)
	}
	if bytes < limit/2 || operations < 10 {
		t.Errorf("only %d bytes, %d operations are left", bytes, operations)
	}
	if cut, last := n.Cut().Get(n.Origin()), n.Logged().Get(n.Origin()); cut == 0 || cut+uint64(operations) != last {
		t.Errorf("cut at %d of %d, %d operations are left", cut, last, operations)
	}
	if _, err := n.Read(n.Origin(), 1, 1); !errors.Is(err, ErrCut) {
		t.Errorf("the first operation: %v", err)
	}
	held := n.Cut()
	release := n.Hold(held)
	s := n.session()
	for i := range 100 {
		mustAppend(t, s, "INBOX", fmt.Sprint("more ", i))
	}
	n.mustCollect()
	if !n.Cut().Equal(held) {
		t.Errorf("cut at %v although the log is kept behind %v", n.Cut(), held)
	}
	release()
	n.mustCollect()
	if got := n.LogBytes(); got > limit {
		t.Errorf("%d bytes of log, limit %d", got, limit)
	}
}

// TestLogMaxAge: what is older than it may be goes, what is younger stays.
func TestLogMaxAge(t *testing.T) {
	var passed atomic.Int64
	n := newBounded(t, func(o *ReplicaOptions) {
		o.LogMaxAge = 24 * time.Hour
		o.Now = func() time.Time { return time.Now().Add(time.Duration(passed.Load())) }
	})
	s := n.session()
	mustAppend(t, s, "INBOX", "old")
	old := n.Logged().Get(n.Origin())
	passed.Store(int64(23 * time.Hour))
	mustAppend(t, s, "INBOX", "young")
	n.mustCollect()
	if n.Cut().Get(n.Origin()) != 0 {
		t.Errorf("cut at %v before its time", n.Cut())
	}
	n.reopen() // what is counted anew has the times of the operations
	passed.Store(int64(25 * time.Hour))
	n.mustCollect()
	if got := n.Cut(); !got.Equal(crdt.VC{}.With(n.Origin(), old-1)) {
		t.Errorf("cut at %v, the old ones go to %d", got, old)
	}
}
