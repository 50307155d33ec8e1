package causal

import (
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// TestEvicted: what waits of an evicted incarnation is dropped and can be
// received again from another member; what is being applied is not.
func TestEvicted(t *testing.T) {
	const self, gone, third = crdt.Origin(1), crdt.Origin(2), crdt.Origin(3)
	entry := func(o crdt.Origin, n uint64, deps crdt.VC) Entry {
		return Entry{Dot: crdt.Dot{Origin: o, N: n}, Deps: deps, Data: []byte("data")}
	}
	m := New(Config{Self: self, Peers: []string{"gone", "third"}}, nil, time.Unix(1, 0))
	receive := func(e Entry) {
		t.Helper()
		if fresh, err := m.Receive(e); err != nil || !fresh {
			t.Errorf("operation %v: new %v, %v", e.Dot, fresh, err)
		}
	}
	waits := crdt.VC{}.With(third, 1)
	receive(entry(gone, 1, nil))
	receive(entry(gone, 2, waits))
	receive(entry(gone, 3, waits))
	if batch := m.Batch(); len(batch) != 1 {
		t.Fatalf("%d operations can be applied", len(batch))
	}
	m.Evicted("gone", gone)
	m.Applied()
	if n, bytes := m.Queued(); n != 0 || bytes != 0 {
		t.Errorf("%d operations, %d bytes wait", n, bytes)
	}
	receive(entry(gone, 2, waits))
	receive(entry(third, 1, nil))
	if batch := m.Batch(); len(batch) != 2 {
		t.Errorf("%d operations can be applied", len(batch))
	}
	m.Applied()
	m.Evicted("gone", gone)
	if got := m.Stable(); len(got) > 0 {
		t.Errorf("%v is stable: who takes the place may not have it", got)
	}
	m.Heard("third", third, m.Logged())
	m.Heard("gone", gone, m.Logged())
	if got := m.Stable(); len(got) > 0 {
		t.Errorf("%v is stable because of what an evicted member has", got)
	}
	m.Heard("gone", 4, m.Logged())
	if got := m.Stable(); !got.Equal(m.Logged()) {
		t.Errorf("stable %v, everybody has %v", got, m.Logged())
	}
	if !m.Logged().Equal(crdt.VC{}.With(gone, 2).With(third, 1)) {
		t.Errorf("logged %v", m.Logged())
	}
}

// TestEvictedIsAtOthers: what a member told before an eviction may have been before
// it got operations of the evicted one, which are concurrent with what all have.
func TestEvictedIsAtOthers(t *testing.T) {
	const self, gone, third, next = crdt.Origin(1), crdt.Origin(2), crdt.Origin(3), crdt.Origin(4)
	own := crdt.VC{}.With(self, 1)
	m := New(Config{Self: self, Peers: []string{"gone", "third"}}, own, time.Unix(1, 0))
	m.Heard("third", third, own)
	m.Evicted("gone", gone)
	m.Heard("gone", next, own)
	if got := m.Stable(); len(got) > 0 {
		t.Errorf("%v is stable, third has not told anything since", got)
	}
	_, sure := m.Sure("third")
	if len(sure) > 0 {
		t.Errorf("%v is to be remembered of third", sure)
	}
	m.Heard("third", third, own.With(gone, 1))
	if got := m.Stable(); len(got) > 0 {
		t.Errorf("%v is stable, what third has of the evicted one is still to come", got)
	}
	if fresh, err := m.Receive(Entry{Dot: crdt.Dot{Origin: gone, N: 1}, Data: []byte("data")}); !fresh || err != nil {
		t.Fatal(fresh, err)
	}
	m.Batch()
	m.Applied()
	if got := m.Stable(); !got.Equal(own) {
		t.Errorf("stable %v, everybody has %v", got, own)
	}

	again := New(Config{Self: self, Peers: []string{"gone", "third"}}, own, time.Unix(1, 0))
	again.Evicted("gone", gone)
	again.Evicted("gone", gone)
	again.Remember("gone", gone, own)
	again.Remember("third", third, own)
	if o, _ := again.Sure("gone"); o != 0 || again.Epoch() != 1 {
		t.Errorf("remembers %v, which is evicted; epoch %d", o, again.Epoch())
	}
	if got := again.Stable(); len(got) > 0 {
		t.Errorf("%v is stable, the place is empty", got)
	}
}
