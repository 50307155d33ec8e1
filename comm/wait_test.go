package comm_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// gate is a disk that can be held.
type gate struct {
	mu   sync.Mutex
	shut chan struct{}
}

func (g *gate) apply(ctx context.Context, _ []comm.Entry) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func acks(n int, timeout time.Duration) func(*comm.Config) {
	return func(cfg *comm.Config) { cfg.AckPeers, cfg.AckTimeout = n, timeout }
}

// own names an operation of the node.
func (n *node) own(number uint64) crdt.Dot { return crdt.Dot{Origin: n.store.Origin(), N: number} }

// wait runs Wait and delivers what it returned.
func (n *node) wait(ctx context.Context, number uint64) chan error {
	done := make(chan error, 1)
	go func() { done <- n.group.Wait(ctx, n.own(number)) }()
	return done
}

func (c *cluster) waiting(name string, count int) {
	c.t.Helper()
	c.eventually("somebody waits", func() bool { return c.nodes[name].group.Status().Waiting == count })
}

// caughtUp waits until OKs of a node wait for its peer.
func (c *cluster) caughtUp(name, peer string) {
	c.t.Helper()
	c.eventually(peer+" keeps up with "+name, func() bool {
		p := c.nodes[name].peer(peer)
		return p.Sending && !p.Behind
	})
}

func TestWaitIsForTheDisk(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	var disk gate
	c.nodes["w2"].store.OnApply = disk.apply
	c.startAll(acks(1, time.Minute))
	c.caughtUp("w1", "w2")
	disk.close()
	w1 := c.nodes["w1"]
	d := w1.commit(1)
	done := w1.wait(c.ctx, d.N)
	c.waiting("w1", 1)
	select {
	case err := <-done:
		t.Fatalf("OK before the peer has it on disk (%v)", err)
	default:
	}
	disk.open()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if !c.nodes["w2"].store.Logged().Has(d) {
		t.Fatal("OK without the operation on the peer's disk")
	}
	if err := w1.group.Wait(c.ctx, d); err != nil {
		t.Error(err)
	}
}

func TestWaitEndsWithTheStream(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	registry := prometheus.NewRegistry()
	c.startAll(acks(1, time.Minute), func(cfg *comm.Config) {
		if cfg.Name == "w1" {
			cfg.Metrics = comm.NewMetrics(registry)
		}
	})
	c.caughtUp("w1", "w2")
	w1 := c.nodes["w1"]
	c.net.Stall("w1", "w2")
	done := w1.wait(c.ctx, w1.commit(1).N)
	c.waiting("w1", 1)
	c.net.Partition("w1", "w2")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := value(t, registry, "pluto_ack_shortfalls_total"); got != 1 {
		t.Errorf("%v shortfalls counted", got)
	}
	// Without a connected peer nothing is waited for.
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Fatal(err)
	}
	if got := value(t, registry, "pluto_ack_shortfalls_total"); got != 2 {
		t.Errorf("%v shortfalls counted", got)
	}
}

func TestWaitRunsOutOnce(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	var disk gate
	c.nodes["w2"].store.OnApply = disk.apply
	c.startAll(acks(1, 100*time.Millisecond))
	c.caughtUp("w1", "w2")
	disk.close()
	w1 := c.nodes["w1"]
	began := time.Now()
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("waited %v only", took)
	}
	if !w1.peer("w2").Behind {
		t.Error("w2 let a wait run out and is not said to be behind")
	}
	// It is not waited for now, however often.
	for range 100 {
		if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
			t.Fatal(err)
		}
	}
	if w := w1.group.Status().Waiting; w != 0 {
		t.Errorf("%d wait", w)
	}
	// When it has caught up it is waited for again, and can be late again.
	disk.open()
	c.caughtUp("w1", "w2")
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Fatal(err)
	}
	c.caughtUp("w1", "w2")
	disk.close()
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Fatal(err)
	}
	if !w1.peer("w2").Behind {
		t.Error("w2 let another wait run out and is not said to be behind")
	}
	disk.open()
}

func TestWaitStrict(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	strict := func(cfg *comm.Config) { cfg.AckStrict, cfg.Bootstrap = true, true }
	w1 := c.start("w1", acks(2, time.Minute), strict)
	if err := w1.group.Wait(c.ctx, w1.commit(1)); !errors.Is(err, comm.ErrShortfall) {
		t.Errorf("alone: %v", err)
	}
	c.start("w2")
	c.caughtUp("w1", "w2")
	if err := w1.group.Wait(c.ctx, w1.commit(1)); !errors.Is(err, comm.ErrShortfall) {
		t.Errorf("with one peer: %v", err)
	}
	c.start("st")
	c.caughtUp("w1", "st")
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Errorf("with both: %v", err)
	}
}

func TestWaitCancelled(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(acks(1, time.Minute))
	c.caughtUp("w1", "w2")
	c.net.Stall("w1", "w2")
	w1 := c.nodes["w1"]
	ctx, cancel := context.WithCancel(c.ctx)
	d := w1.commit(1)
	first, second := w1.wait(ctx, d.N), w1.wait(c.ctx, d.N)
	c.waiting("w1", 2)
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	c.waiting("w1", 1)
	c.net.Heal("w1", "w2")
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestWaitEndsWithClose(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(acks(1, time.Minute))
	c.caughtUp("w1", "w2")
	c.net.Stall("w1", "w2")
	w1 := c.nodes["w1"]
	done := w1.wait(c.ctx, w1.commit(1).N)
	c.waiting("w1", 1)
	w1.group.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestWaitNotForWhoCatchesUp: a peer with a long way to go delays no OK.
func TestWaitNotForWhoCatchesUp(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	var disk gate
	disk.close()
	c.nodes["w2"].store.OnApply = disk.apply
	w1 := c.start("w1", acks(1, time.Second), func(cfg *comm.Config) { cfg.Bootstrap = true })
	for range 100 {
		w1.commit(100)
	}
	c.eventually("it was a while ago", func() bool { return w1.peer("w2").Lag > 600*time.Millisecond })
	c.start("w2")
	c.eventually("connected", func() bool { return w1.peer("w2").Sending })
	began := time.Now()
	if err := w1.group.Wait(c.ctx, w1.commit(1)); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 500*time.Millisecond {
		t.Errorf("waited %v for a peer that is catching up", took)
	}
	disk.open()
	c.caughtUp("w1", "w2")
}

func TestManyWaiters(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll(acks(2, 10*time.Second))
	c.caughtUp("w1", "w2")
	c.caughtUp("w1", "st")
	w1 := c.nodes["w1"]
	var sessions sync.WaitGroup
	for range 32 {
		sessions.Go(func() {
			for range 50 {
				d := w1.commit(100)
				if err := w1.group.Wait(c.ctx, d); err != nil {
					t.Error(err)
				}
				for _, p := range []string{"w2", "st"} {
					if !c.nodes[p].store.Logged().Has(d) {
						t.Errorf("OK of %v, which is not at %s", d, p)
					}
				}
			}
		})
	}
	sessions.Wait()
}

// value adds up the samples of a metric.
func value(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}
