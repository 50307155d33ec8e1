package comm_test

import (
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
)

// loadedAccounts is how many accounts cutSubnet's operations are about.
const loadedAccounts = 5

// cutSubnet starts w1 and w2 with operations, some of which bring contents, and
// cuts their logs. st, a member with an empty disk, is not started.
func cutSubnet(t *testing.T) (c *cluster, last crdt.Dot) {
	t.Helper()
	c = newCluster(t, "w1", "w2", "st")
	c.start("w1", cutting)
	c.start("w2", cutting)
	c.connected("w1", "w2")
	last = c.write("w1", 1, 30)
	c.await(last, "w2")
	c.await(c.write("w2", 101, 7), "w1")
	for _, name := range []string{"w1", "w2"} {
		c.nodes[name].store.TrimLog(c.nodes[name].store.Logged())
	}
	return c, last
}

// cutting makes a node beat, keep no operations beside its log, and forward those
// of others.
func cutting(cfg *comm.Config) {
	beating(cfg)
	cfg.TailCache, cfg.ForwardDelay = -1, 50*time.Millisecond
}

// write makes operations, every third with a content. Contents are named by
// numbers from first on.
func (c *cluster) write(name string, first, count int) (last crdt.Dot) {
	n := c.nodes[name]
	for i := first; i < first+count; i++ {
		if i%3 > 0 {
			last = n.commit(10)
			continue
		}
		root := crdt.Root{byte(i), 1}
		n.store.AddBody(root, []byte(fmt.Sprint("content ", i)), []byte("end"))
		last = n.commit(10, root)
	}
	return last
}

// complete waits until a node has all that another one has, contents too.
func (c *cluster) complete(name, from string) {
	c.t.Helper()
	c.eventually(name+" has what "+from+" has", func() bool {
		return c.nodes[from].store.Logged().LessEqual(c.nodes[name].store.Logged()) && len(c.nodes[name].store.MissingBodies()) == 0
	})
}

// TestLoad: a new member that finds only logs which begin too late loads the
// accounts, and serves then. Afterwards operations come as ever.
func TestLoad(t *testing.T) {
	c, _ := cutSubnet(t)
	st := c.nodes["st"]
	var early atomic.Bool
	c.prepare("st").OnFeed = func(crdt.AccountID) error {
		early.Store(early.Load() || st.group.Status().Ready())
		return nil
	}
	c.start("st", cutting)
	c.eventually("st is ready", func() bool { return st.group.Status().Ready() })
	if early.Load() {
		t.Error("st was ready while it loaded")
	}
	c.complete("st", "w1")
	if n := st.store.Merged(); n != loadedAccounts {
		t.Errorf("%d accounts merged", n)
	}
	c.connected("w1", "w2", "st")
	c.await(c.write("w1", 201, 2), "w2", "st")
	c.await(c.write("st", 211, 2), "w1", "w2")
	// It is remembered.
	st.stop()
	if c.start("st"); !st.group.Status().Ready() {
		t.Error("st has to catch up again")
	}
}

// TestLoadOfReturned: a member that was away for longer than the logs reach serves
// while it loads, and what it wrote meanwhile reaches the others.
func TestLoadOfReturned(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll(cutting)
	c.connected("w1", "w2", "st")
	c.await(c.write("w1", 1, 4), "w2", "st")
	st := c.nodes["st"]
	st.stop()
	own := c.write2(st, 41, 2)
	c.await(c.write("w1", 11, 20), "w2")
	for _, name := range []string{"w1", "w2"} {
		c.nodes[name].store.TrimLog(c.nodes[name].store.Logged())
	}
	during := crdt.Dot{Origin: st.store.Origin(), N: own.N + 1}
	c.prepare("st").OnFeed = func(crdt.AccountID) error {
		if st.store.Logged().Get(st.store.Origin()) == own.N {
			if !st.group.Status().Ready() {
				t.Error("st does not serve while it loads")
			}
			st.commit(10)
		}
		return nil
	}
	c.start("st", cutting)
	c.complete("st", "w1")
	c.await(during, "w1", "w2")
	c.eventually("nobody keeps its log for st", func() bool {
		return c.nodes["w1"].store.Holds()+c.nodes["w2"].store.Holds() == 0
	})
}

// write2 makes operations of a node that does not run.
func (c *cluster) write2(n *node, first, count int) (last crdt.Dot) {
	for range count {
		last = crdt.Dot{Origin: n.store.Origin(), N: n.store.Commit(make([]byte, 10))}
	}
	return last
}

// prepare returns the accounts of a node that is to be started.
func (c *cluster) prepare(name string) *commtest.Snapshots {
	n := c.nodes[name]
	if n.snaps == nil || n.snaps.Store != n.store {
		n.snaps = n.store.Snapshots()
	}
	return n.snaps
}

// TestLoadInterrupted: whatever interrupts a load, it goes on where it was: no
// account is loaded twice, and the log that it needs is kept.
func TestLoadInterrupted(t *testing.T) {
	for _, how := range []string{"connection", "loader", "giver"} {
		t.Run(how, func(t *testing.T) {
			c, _ := cutSubnet(t)
			feeds := 0
			interrupted := make(chan struct{})
			hook := func(crdt.AccountID) error {
				if feeds++; feeds == 9 {
					close(interrupted)
					return errors.New("interrupted")
				}
				return nil
			}
			st := c.nodes["st"]
			c.prepare("st").OnFeed = hook
			patient := func(cfg *comm.Config) { cfg.LoadDelay = 2 * time.Second }
			if how == "giver" {
				patient = func(cfg *comm.Config) { cfg.LoadDelay = 100 * time.Millisecond }
			}
			c.start("st", cutting, patient)
			<-interrupted
			switch how {
			case "connection":
				c.net.Break("w1", "st")
			case "loader":
				st.crash()
				c.prepare("st").OnFeed = hook
				c.start("st", cutting, patient)
			case "giver":
				c.nodes["w1"].stop()
			}
			more := c.write("w2", 150, 3)
			if how != "giver" { // w1 keeps its log for st
				c.await(more, "w1")
				c.nodes["w2"].store.TrimLog(c.nodes["w2"].store.Logged())
			}
			c.complete("st", "w2")
			if n := st.store.Merged(); n != loadedAccounts {
				t.Errorf("%d accounts merged, there are %d", n, loadedAccounts)
			}
		})
	}
}

// TestLoadFromTwo: an account that one member cannot give comes from another one.
func TestLoadFromTwo(t *testing.T) {
	c, _ := cutSubnet(t)
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	refuse := func(user crdt.AccountID) error { return fmt.Errorf("quarantine of %d: %w", user, comm.ErrNotGiven) }
	w1.snaps.OnGive = func(user crdt.AccountID) error {
		if user == 2 {
			return refuse(user)
		}
		return nil
	}
	w2.snaps.OnGive = func(user crdt.AccountID) error {
		if user == 3 {
			return refuse(user)
		}
		return nil
	}
	c.start("st", cutting)
	c.complete("st", "w1")
}

// TestLoadLeavesOut: an account that nobody gives keeps a new member from nothing
// but that account; it comes when somebody gives it, also after a restart.
func TestLoadLeavesOut(t *testing.T) {
	c, last := cutSubnet(t)
	var given atomic.Bool
	for _, name := range []string{"w1", "w2"} {
		c.nodes[name].snaps.OnGive = func(user crdt.AccountID) error {
			if user == 2 && !given.Load() {
				return fmt.Errorf("quarantine of %d: %w", user, comm.ErrNotGiven)
			}
			return nil
		}
	}
	st := c.nodes["st"]
	c.bodiesMayMiss = true // of that account, before it comes
	c.start("st", cutting)
	c.eventually("st is ready", func() bool { return st.group.Status().Ready() })
	c.await(last, "st")
	if n, left := st.store.Merged(), st.store.Without(); n != loadedAccounts-1 || left != 1 {
		t.Errorf("%d accounts merged, %d left out", n, left)
	}
	if says := strings.Join(st.group.Status().Degraded(), "\n"); !strings.Contains(says, "1 accounts were not given by any member") {
		t.Errorf("st says %q", says)
	}
	c.connected("w1", "w2", "st")
	c.await(c.write("w1", 201, 5), "w2", "st")
	st.stop()
	c.start("st", cutting)
	c.connected("w1", "w2", "st")
	c.eventually("it is still asked for", func() bool { return st.log.has("an account that was left out is still not given") })
	given.Store(true)
	c.net.Break("w1", "st")
	c.eventually("it comes", func() bool { return st.store.Without() == 0 && st.group.Status().Load.LeftOut == 0 })
	c.complete("st", "w1")
	c.bodiesMayMiss = false
}

// TestLoadTooLate: the giver's log was cut behind what an interrupted load began
// with; what is loaded of before that is loaded again.
func TestLoadTooLate(t *testing.T) {
	c, _ := cutSubnet(t)
	c.nodes["w2"].stop()
	feeds := 0
	interrupted := make(chan struct{})
	c.prepare("st").OnFeed = func(crdt.AccountID) error {
		if feeds++; feeds == 9 {
			close(interrupted)
			return errors.New("interrupted")
		}
		return nil
	}
	c.start("st", cutting)
	<-interrupted
	c.nodes["st"].stop()
	w1 := c.nodes["w1"]
	w1.stop() // it holds nothing any more
	c.write2(w1, 0, 10)
	w1.store.TrimLog(w1.store.Logged())
	c.start("w1", cutting)
	c.start("st", cutting)
	c.complete("st", "w1")
}

// TestGiveIsPaced: what is given comes no faster than is allowed.
func TestGiveIsPaced(t *testing.T) {
	c, _ := cutSubnet(t)
	c.nodes["w1"].stop()
	w2 := c.nodes["w2"]
	w2.stop()
	c.start("w2", cutting, func(cfg *comm.Config) { cfg.GiveRate = 20000 })
	began := time.Now()
	c.start("st", cutting)
	c.complete("st", "w2")
	bytes := c.nodes["st"].group.Status().Load.Bytes
	if least := time.Duration(bytes)*time.Second/20000 - time.Second/2; time.Since(began) < least {
		t.Errorf("%d bytes in %v", bytes, time.Since(began))
	}
}

// TestDeadPeerKeepsNothing: a member that is away for longer than the log reaches
// back does not keep what is to be deleted, also after a restart of the others.
func TestDeadPeerKeepsNothing(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll(cutting)
	c.connected("w1", "w2", "st")
	w1 := c.nodes["w1"]
	c.await(w1.commit(10), "w2", "st")
	c.eventually("st is known to have it", func() bool { return w1.store.LastStable().Get(1) == 1 })
	c.nodes["st"].stop()
	last := w1.commit(10)
	c.await(last, "w2")
	w1.store.TrimLog(w1.store.Logged())
	c.eventually("nothing is kept for st", func() bool { return w1.store.LastExpendable().Has(last) })
	w1.stop()
	c.start("w1", cutting)
	more := w1.commit(10)
	c.eventually("nothing is kept for st after a restart", func() bool { return w1.store.LastExpendable().Has(more) })
	if w1.store.LastStable().Has(last) {
		t.Error("stable although st lacks it")
	}
}
