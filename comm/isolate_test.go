package comm_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
)

// writes notes what a group said of whether local writes are allowed.
type writes struct {
	mu   sync.Mutex
	why  error
	told int
}

func (w *writes) refuse(why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.why, w.told = why, w.told+1
}

func (w *writes) state() (told int, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.told, w.why
}

func (w *writes) isolating(after time.Duration) func(*comm.Config) {
	return func(cfg *comm.Config) {
		beating(cfg)
		cfg.EvictAfter, cfg.Isolated, cfg.Fenced = after, w.refuse, w.refuse
	}
}

// TestIsolated: a replica that has met no peer for EvictAfter takes no writes until
// one comes, over restarts too; one that has a peer goes on.
func TestIsolated(t *testing.T) {
	const after = 300 * time.Millisecond
	c := newCluster(t, "w1", "w2", "st")
	w, other := &writes{}, &writes{}
	c.start("w1", w.isolating(after))
	c.start("w2", other.isolating(time.Hour))
	c.start("st", beating)
	c.connected("w1", "w2", "st")
	w1 := c.nodes["w1"]
	c.net.Partition("w1", "w2")
	began := time.Now()
	c.eventually("longer than EvictAfter without w2", func() bool { return time.Since(began) > 2*after })
	if told, why := w.state(); told > 0 {
		t.Fatalf("refused although st is there: %v", why)
	}
	c.net.Partition("w1", "st")
	c.eventually("no writes alone", func() bool { _, why := w.state(); return errors.Is(why, comm.ErrIsolated) })
	if s := w1.group.Status(); !errors.Is(s.Isolated, comm.ErrIsolated) || len(s.Degraded()) == 0 {
		t.Errorf("%v, degraded %q", s.Isolated, s.Degraded())
	}
	w1.stop()
	again := &writes{}
	c.start("w1", again.isolating(after))
	if _, why := again.state(); !errors.Is(why, comm.ErrIsolated) {
		t.Errorf("after a restart: %v", why)
	}
	c.net.Heal("w1", "st")
	c.eventually("writes again", func() bool { told, why := again.state(); return why == nil && told == 2 })
	if err := w1.group.Isolated(); err != nil {
		t.Error(err)
	}
	if told, _ := other.state(); told > 0 {
		t.Error("w2 was isolated")
	}
}

// TestIsolatedAndEvicted: what a replica meets after a long time has evicted it: it
// takes no writes for a moment.
func TestIsolatedAndEvicted(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w := &writes{}
	c.start("w1", w.isolating(100*time.Millisecond))
	c.start("w2", beating)
	c.connected("w1", "w2")
	c.net.Partition("w1", "w2")
	c.eventually("isolated", func() bool { _, why := w.state(); return errors.Is(why, comm.ErrIsolated) })
	if _, err := c.nodes["w2"].group.Evict("w1", true); err != nil {
		t.Fatal(err)
	}
	c.net.Heal("w1", "w2")
	c.eventually("fenced", func() bool { return errors.Is(c.nodes["w1"].group.Fault(), comm.ErrEvicted) })
	if told, why := w.state(); told != 2 || !errors.Is(why, comm.ErrEvicted) {
		t.Errorf("told %d times, last %v", told, why)
	}
}
