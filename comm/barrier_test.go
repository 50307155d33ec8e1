package comm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// barrier asks at a node, and returns how long that took.
func (n *node) barrier(t *testing.T, want bool) time.Duration {
	t.Helper()
	began := time.Now()
	got, err := n.group.Barrier(context.Background())
	if err != nil || got != want {
		t.Errorf("caught up with all: %v, %v, want %v", got, err, want)
	}
	return time.Since(began)
}

// TestBarrier: after it everything is applied here that a peer had acknowledged
// to its clients before, also what only a third one had told it.
func TestBarrier(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2", "st")
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	for range 30 {
		var last crdt.Dot
		for range 20 {
			last = w1.commit(500)
		}
		w2.barrier(t, true)
		if !w2.store.Logged().Has(last) {
			t.Fatalf("operation %d is missing after the barrier", last.N)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	c.net.Stall("w2", "w1")
	if _, err := w2.group.Barrier(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with an ended context: %v", err)
	}
}

// TestBarrierOfUnreachable: a dead peer costs nothing, one that hangs a second once.
func TestBarrierOfUnreachable(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2", "st")
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	c.nodes["st"].stop()
	c.eventually("the loss is noticed", func() bool { return !w2.peer("st").Sending })
	if d := w2.barrier(t, true); d > 700*time.Millisecond {
		t.Errorf("with a dead peer it takes %v", d)
	}
	c.net.Stall("w2", "w1")
	if d := w2.barrier(t, false); d < time.Second {
		t.Errorf("a hung peer is waited for %v only", d)
	}
	for range 5 {
		if d := w2.barrier(t, true); d > 700*time.Millisecond {
			t.Errorf("a hung peer is waited for again, %v", d)
		}
	}
	c.net.Heal("w2", "w1")
	c.eventually("the peer is asked again", func() bool {
		d := w1.commit(10)
		w2.barrier(t, true)
		return w2.store.Logged().Has(d)
	})
	c.nodes["w1"].stop()
	c.eventually("the loss is noticed", func() bool { return !w2.peer("w1").Sending })
	if d := w2.barrier(t, true); d > 700*time.Millisecond {
		t.Errorf("alone it takes %v", d)
	}
}

// TestSignsOfLifeCarryClocks: an idle peer tells what it has applied, and when.
func TestSignsOfLifeCarryClocks(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(beating)
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	d := w2.commit(10)
	c.await(d, "w1")
	told, err := w2.store.AwaitHeard(c.ctx, w1.store.Origin(), d)
	if err != nil {
		t.Fatal(err)
	}
	if told.Time.Slot() != w1.store.Slot() || told.Time > w1.store.Clock() {
		t.Errorf("clock %d, it is %d now", told.Time, w1.store.Clock())
	}
}

func TestUsedElsewhere(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(beating)
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	end := w1.group.Session(7)
	c.eventually("the peer knows of the session", func() bool { return w2.group.UsedElsewhere(7) })
	if w2.group.UsedElsewhere(8) || w1.group.UsedElsewhere(7) {
		t.Error("used where it is not")
	}
	end()
	if !w2.group.UsedElsewhere(7) {
		t.Error("forgotten as soon as it ends")
	}
}
