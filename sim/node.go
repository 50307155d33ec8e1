package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/mailstore"
)

// dataDir is where a replica's database lies on its disk.
const dataDir = "data"

// metrics are shared by all stores: nobody reads them.
var metrics = mailstore.NewMetrics(nil)

// node is one replica: its disk, what runs on it, and its place in the network.
type node struct {
	w    *World
	id   int // from 1; also the slot
	name string
	skew int64 // its clock minus true time, milliseconds
	rand *source

	disk    *vfs.MemFS
	up      bool
	fresh   bool // its disk was empty when it joined, and it has loaded nothing yet
	store   *mailstore.Store
	replica *mailstore.Replica
	machine *causal.Machine
	fuse    fuse
	next    time.Time // when the replica's next tick is due, by its clock
	changed bool      // something may have happened to it since it was checked

	origin  crdt.Origin
	lives   int             // disks that it has lost
	streams map[int]*stream // to each other node
	load    *load           // under way
	sure    map[int]sure    // of each other node, as remembered over restarts

	// What was promised, which no crash may undo.
	acked    crdt.VC // acknowledged to peers
	ownAcked uint64  // last own operation whose OK was given
	seen     uint64  // last own operation that the truth has observed

	accounts map[crdt.AccountID]*shown
}

// crashPoint says when an armed crash happens.
type crashPoint string

const (
	crashNow   crashPoint = "now"   // between two steps
	crashSync  crashPoint = "sync"  // before the next sync of the log
	crashReply crashPoint = "reply" // after the next change is durable, before anybody is told
)

// fuse is a crash that waits for its moment. Pebble's goroutine burns it.
type fuse struct {
	mu    sync.Mutex
	armed crashPoint
	disk  *vfs.MemFS // as it is when power fails, once the fuse has burnt
}

// burn takes the disk's state if the moment is the one the fuse waits for.
func (f *fuse) burn(at crashPoint, disk *vfs.MemFS) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed == at && f.disk == nil {
		f.disk = disk.CrashClone(vfs.CrashCloneCfg{})
	}
}

func (f *fuse) burnt() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.disk != nil
}

// take returns the disk's state at the crash, and makes the fuse new.
func (f *fuse) take() *vfs.MemFS {
	f.mu.Lock()
	defer f.mu.Unlock()
	disk := f.disk
	f.armed, f.disk = "", nil
	return disk
}

func (f *fuse) arm(at crashPoint) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = at
}

func (f *fuse) isArmed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.armed != ""
}

// source is a deterministic source of random bytes.
type source struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

func newSource(seed uint64, stream int) *source {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	key[8] = byte(stream)
	return &source{rng: rand.NewChaCha8(key)}
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Read(p)
}

func newNode(w *World, id int) *node {
	return &node{
		w: w, id: id, name: fmt.Sprint("r", id),
		rand:     newSource(w.cfg.Seed, id),
		disk:     vfs.NewCrashableMem(),
		streams:  make(map[int]*stream),
		sure:     make(map[int]sure),
		accounts: make(map[crdt.AccountID]*shown),
	}
}

// start opens the replica on its disk and checks that nothing promised is lost.
func (n *node) start() error {
	disk := n.disk
	fs := errorfs.Wrap(disk, errorfs.InjectorFunc(func(op errorfs.Op) error {
		switch op.Kind {
		case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
			if strings.HasSuffix(op.Path, ".log") {
				n.fuse.burn(crashSync, disk)
			}
		}
		return nil
	}))
	store, err := mailstore.Open(dataDir, mailstore.Options{
		FS: fs, CacheSize: 1 << 20, MemTableSize: 1 << 20, MinFree: -1,
		IdleAccounts: n.w.cfg.Idle, Metrics: metrics, Random: n.rand,
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	replica, err := store.Replica(mailstore.ReplicaOptions{
		Subnet: "subnet", Slot: crdt.Slot(n.id), Leader: n.id == n.w.cfg.Leader, Rank: n.rank(),
		Separator: '.', Now: n.clock, ManualTicks: true, VanishedMax: n.w.cfg.Vanished,
		HoldDown: time.Duration(n.w.cfg.Hold) * time.Millisecond,
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.store, n.replica, n.up, n.changed = store, replica, true, true
	n.origin = replica.Origin()
	n.machine = causal.New(n.w.machineConfig(n), replica.Logged(), n.w.wall())
	n.recall()
	for _, s := range n.accounts {
		clear(s.read) // what was pulled and not synced is lost
	}
	replica.SetReplicator(replicator{n})
	n.next = n.clock()
	n.checkKept()
	return n.audit(false)
}

// rank orders those who re-issue when the leader does not.
func (n *node) rank() int {
	if n.id == n.w.cfg.Leader {
		return 0
	}
	return n.id
}

// clock is the replica's own.
func (n *node) clock() time.Time { return time.UnixMilli(n.w.now + n.skew).UTC() }

// checkKept compares what is on the disk with what was promised.
func (n *node) checkKept() {
	logged := n.replica.Logged()
	if own := logged.Get(n.replica.Origin()); own < n.ownAcked {
		n.w.fail("durable", "%s has %d own operations after its start, the OK of %d was given", n.name, own, n.ownAcked)
	}
	if !n.acked.LessEqual(logged) {
		n.w.fail("durable", "%s has %v after its start, acknowledged %v", n.name, logged, n.acked)
	}
}

// audit has the replica check itself. Unless all are there, contents may be
// missing that were not pulled from others yet, or were and not synced.
func (n *node) audit(all bool) error {
	for _, user := range n.w.users() {
		err := n.replica.Audit(user)
		if errors.Is(err, mailstore.ErrUnavailable) && !all {
			continue
		}
		if err != nil {
			n.w.fail("audit", "%s, account %d: %v", n.name, user, err)
		}
	}
	list, err := n.replica.Quarantined()
	if err != nil {
		return fmt.Errorf("%s: %w", n.name, err)
	}
	for _, q := range list {
		n.w.fail("quarantine", "%s: account %d: %s", n.name, q.Account, q.Reason)
	}
	return nil
}

// stop closes the replica as an operator does.
func (n *node) stop() error {
	n.up = false
	n.endLoads()
	n.w.closeSessions(n)
	err := n.store.Close()
	n.fuse.take()
	n.unplug()
	if err != nil {
		return fmt.Errorf("stop %s: %w", n.name, err)
	}
	return nil
}

// crash ends the replica; its disk is as it was at the moment of the crash.
func (n *node) crash() error {
	if !n.fuse.burnt() {
		n.fuse.arm(crashNow)
		n.fuse.burn(crashNow, n.disk)
	}
	disk := n.fuse.take()
	n.endLoads()
	n.w.closeSessions(n)
	n.up = false
	if err := n.store.Close(); err != nil {
		return fmt.Errorf("end of %s: %w", n.name, err)
	}
	n.disk = disk
	n.unplug()
	return nil
}

// died reports whether the power failed in the middle of what was just done:
// then nobody learns what came of it.
func (n *node) died() bool {
	n.fuse.burn(crashReply, n.disk)
	return n.fuse.burnt()
}

// tick lets the replica do what is due. Showing what was held is no operation.
func (n *node) tick() {
	before := n.replica.Logged()
	n.next = n.replica.Tick()
	n.changed = n.changed || n.w.cfg.Hold > 0 || !before.Equal(n.replica.Logged())
}

// replicator passes commits on to the state machine.
type replicator struct{ n *node }

// Committed implements mailstore.Replicator.
func (r replicator) Committed(number uint64) {
	if !r.n.fuse.burnt() && r.n.machine != nil {
		r.n.machine.Committed(r.n.w.wall(), number)
	}
}

// Wait implements mailstore.Replicator: nobody is waited for.
func (r replicator) Wait(context.Context, crdt.Dot) error { return nil }
