package mailstore

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/go-pluto/pluto/crdt"
)

// TestReadWhileLogIsCut: a reader that finds operations missing because the log is just
// being cut is told that, and not that the log is damaged.
func TestReadWhileLogIsCut(t *testing.T) {
	var atSync atomic.Pointer[func()]
	fs := errorfs.Wrap(vfs.NewMem(), errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if f := atSync.Load(); f != nil && strings.HasSuffix(op.Path, ".log") {
				(*f)()
			}
		}
		return nil
	}))
	store, err := Open(testDir, testOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Replica(testReplica(1))
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, store: store, Replica: r}
	defer n.close()
	s := n.session()
	for range 5 {
		mustAppend(t, s, "INBOX", "x")
	}
	last := n.Logged().Get(n.Origin())
	var read error
	during := func() { // the deletion is visible before it is synced
		for end := time.Now().Add(10 * time.Second); read == nil && time.Now().Before(end); {
			_, read = n.Read(n.Origin(), 1, 1<<20)
		}
	}
	atSync.Store(&during)
	err = n.CutLog(crdt.VC{{Origin: n.Origin(), N: last - 2}})
	atSync.Store(nil)
	if err != nil || !errors.Is(read, ErrCut) {
		t.Errorf("cut: %v; read meanwhile: %v, want ErrCut", err, read)
	}
	// So is one that has looked for the beginning before the cut, and reads after it.
	if _, err := n.readLog(n.Origin(), 1, last, 1<<20); !errors.Is(err, ErrCut) {
		t.Errorf("read of what was cut: %v, want ErrCut", err)
	}
	// Also where nothing is left.
	if err := n.CutLog(n.Logged()); err != nil {
		t.Fatal(err)
	}
	if _, err := n.readLog(n.Origin(), 1, last, 1<<20); !errors.Is(err, ErrCut) {
		t.Errorf("read of a log that is cut to its end: %v, want ErrCut", err)
	}
}
