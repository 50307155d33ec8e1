package causal

import (
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// TestStableWaitsForWhatIsOnItsWay: a peer has this replica's operation, but an
// operation that it made before, and that is concurrent with it, is not here yet.
// Until it is, nothing may be deleted because of the first one (C10).
func TestStableWaitsForWhatIsOnItsWay(t *testing.T) {
	const self, peer = crdt.Origin(1), crdt.Origin(2)
	now := time.Unix(1, 0)
	m := New(Config{Self: self, Peers: []string{"peer"}}, crdt.VC{}.With(self, 1), now)
	m.Heard("peer", peer, crdt.VC{}.With(self, 1).With(peer, 1))
	for range 3 { // however often it is asked
		if got := m.Stable().Get(self); got != 0 {
			t.Fatalf("stable up to %d, a concurrent operation is on its way", got)
		}
	}
	if _, err := m.Receive(Entry{Dot: crdt.Dot{Origin: peer, N: 1}, Data: []byte{1}}); err != nil {
		t.Fatal(err)
	}
	if n := len(m.Batch()); n != 1 {
		t.Fatalf("%d operations can be applied", n)
	}
	if got := m.Stable().Get(self); got != 0 {
		t.Errorf("stable up to %d, a concurrent operation is not applied", got)
	}
	m.Applied()
	if got := m.Stable(); got.Get(self) != 1 || got.Get(peer) != 1 {
		t.Errorf("stable is %v, everybody has everything", got)
	}
}
