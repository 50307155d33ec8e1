package comm_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
)

// epochs notes to which epochs a node was raised.
type epochs struct {
	mu   sync.Mutex
	last map[string]uint32
}

func (e *epochs) of(name string) uint32 {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.last[name]
}

func (e *epochs) note(name string) func(*comm.Config) {
	return func(cfg *comm.Config) {
		cutting(cfg)
		cfg.Evicted = func(_ context.Context, all []comm.Eviction) error {
			epoch := uint32(len(all))
			e.mu.Lock()
			defer e.mu.Unlock()
			if epoch < e.last[name] {
				return errors.New("the epoch went down")
			}
			e.last[name] = epoch
			return nil
		}
	}
}

// TestEvict: a lost member is evicted at one of the others. All learn it, raise the
// epoch, and no longer wait for it; it learns it itself when it comes back, and
// stays out; its slot is free for another incarnation.
func TestEvict(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	e := &epochs{last: map[string]uint32{}}
	for _, name := range c.names {
		c.start(name, e.note(name))
	}
	c.connected("w1", "w2", "st")
	w1, w2, st := c.nodes["w1"], c.nodes["w2"], c.nodes["st"]
	if _, err := w1.group.Evict("st", false); !errors.Is(err, comm.ErrConnected) {
		t.Errorf("evict a member that is there: %v", err)
	}
	c.await(st.commit(10), "w1", "w2")
	st.stop()
	last := w1.commit(10)
	c.await(last, "w2")
	c.eventually("st is away", func() bool { return !w1.peer("st").Sending && !w1.peer("st").Receiving })
	if w1.store.LastExpendable().Has(last) {
		t.Error("expendable although st lacks it")
	}
	if got, err := w1.group.Evict("st", false); err != nil || got.Slot != 3 || got.Origin != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, n := range []*node{w1, w2} {
		c.eventually(n.name+" goes on without st", func() bool {
			return e.of(n.name) == 1 && n.store.LastExpendable().Has(last) && len(n.group.Status().Evicted) == 1
		})
	}
	w2.stop()
	c.start("w2", e.note("w2")) // it is remembered
	c.start("st", e.note("st"))
	c.eventually("st is out", func() bool { return errors.Is(st.group.Fault(), comm.ErrEvicted) && !st.group.Status().Ready() })
	st.stop()
	w1.stop()
	w2.stop()
	c.start("st", e.note("st"))
	if !errors.Is(st.group.Fault(), comm.ErrEvicted) {
		t.Error("st has forgotten that it is out")
	}
	st.stop()
	c.start("w1", e.note("w1"))
	c.start("w2", e.note("w2"))
	st.store = commtest.NewStore(33, 3)
	c.start("st", e.note("st"))
	c.connected("w1", "w2", "st")
	c.await(w1.commit(10), "w2", "st")
	c.await(st.commit(10), "w1", "w2")
	c.eventually("the new st raises the epoch too, and counts", func() bool { return e.of("st") == 1 && w2.store.LastStable().Has(last) })
	c.eventually("the new st has joined", func() bool { return len(st.store.JoinedAs()) > 0 })
	if !slices.Equal(st.store.JoinedAs(), []bool{true}) || !slices.Equal(w1.store.JoinedAs(), []bool{false}) {
		t.Errorf("joined in the place of another: st %v, w1 %v", st.store.JoinedAs(), w1.store.JoinedAs())
	}
	if _, err := w1.group.Evict("nobody", false); !errors.Is(err, comm.ErrNotMember) {
		t.Errorf("evict nobody: %v", err)
	}
}

// TestEvictedIsForwarded: what an evicted member has left comes from whoever has it,
// without the delay for which it would be left to its origin. Nobody goes on saying
// that the stream of one that will never send again is broken.
func TestEvictedIsForwarded(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	patient := func(cfg *comm.Config) { cutting(cfg); cfg.ForwardDelay = time.Hour }
	c.startAll(patient)
	c.connected("w1", "w2", "st")
	w1, w2, st := c.nodes["w1"], c.nodes["w2"], c.nodes["st"]
	c.net.Partition("st", "w1")
	c.net.Partition("st", "w2")
	c.eventually("st is cut off", func() bool { return !st.peer("w1").Receiving && !st.peer("w2").Receiving })
	left := w1.commit(3)
	c.await(left, "w2")
	if _, err := w2.group.Evict("w1", true); err != nil { // its stream is there and breaks
		t.Fatal(err)
	}
	w1.stop()
	c.net.Heal("st", "w2")
	c.await(left, "st")
	for _, n := range []*node{w2, st} {
		c.eventually(n.name+" says nothing of w1 any more", func() bool {
			return !n.peer("w1").Receiving && len(n.group.Status().Evicted) == 1 && len(n.group.Lost()) == 0
		})
	}
}

// TestBeginsInPlaceOfAnother: a replica that waits for nobody, and takes the place of
// a lost one, learns that before it serves, once.
func TestBeginsInPlaceOfAnother(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.nodes["w1"]
	for range 2 {
		c.start("w1", func(cfg *comm.Config) { cfg.Bootstrap, cfg.Replaces = true, 9 })
		if !slices.Equal(w1.store.JoinedAs(), []bool{true}) || !w1.group.Status().Ready() {
			t.Errorf("joined %v, ready %v", w1.store.JoinedAs(), w1.group.Status().Ready())
		}
		w1.stop()
	}
}

// TestEvictAtTwo: different members are evicted at two that do not hear of each
// other. In the end all know of both.
func TestEvictAtTwo(t *testing.T) {
	c := newCluster(t, "w1", "w2", "a", "b")
	e := &epochs{last: map[string]uint32{}}
	for _, name := range c.names {
		c.start(name, e.note(name))
	}
	c.connected(c.names...)
	c.nodes["a"].stop()
	c.nodes["b"].stop()
	c.net.Partition("w1", "w2")
	for _, x := range [][2]string{{"w1", "a"}, {"w2", "b"}} {
		if _, err := c.nodes[x[0]].group.Evict(x[1], true); err != nil {
			t.Fatal(err)
		}
		c.eventually("one is evicted at "+x[0], func() bool { return e.of(x[0]) == 1 })
	}
	c.net.Heal("w1", "w2")
	for _, name := range []string{"w1", "w2"} {
		c.eventually(name+" knows of both", func() bool { return e.of(name) == 2 })
		if got := c.nodes[name].group.Status().Evicted; len(got) != 2 || got[0].Origin != crdt.Origin(3) || got[1].Name != "b" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestStaleOneIsEvicted: a member whose data are old meets first one of the others
// that has not heard yet that it was evicted, and fences itself for its data. It
// learns all the same that they are of no use, from whoever calls it.
func TestStaleOneIsEvicted(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2", "st")
	w1, w2, st := c.nodes["w1"], c.nodes["w2"], c.nodes["st"]
	old := st.store.Copy()
	c.await(st.commit(10), "w1", "w2")
	st.stop()
	c.net.Partition("w1", "w2")
	c.net.Partition("w1", "st")
	if _, err := w1.group.Evict("st", true); err != nil {
		t.Fatal(err)
	}
	st.store = old
	c.start("st")
	c.eventually("st has met w2", func() bool { return st.group.Fault() != nil })
	if err := st.group.Fault(); errors.Is(err, comm.ErrEvicted) || len(w2.group.Status().Evicted) != 0 {
		t.Fatalf("w2 knows already: %v", err)
	}
	c.net.Heal("w1", "st")
	c.eventually("st knows why it is out", func() bool { return errors.Is(st.group.Fault(), comm.ErrEvicted) })
	if !st.log.has("the others have evicted it") {
		t.Errorf("its log does not say so:\n%s", st.log)
	}
	st.stop()
	c.start("st")
	if !errors.Is(st.group.Fault(), comm.ErrEvicted) {
		t.Error("st has forgotten that it is out")
	}
}
