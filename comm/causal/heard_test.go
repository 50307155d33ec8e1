package causal

import (
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// TestHeardSparesSending: what a peer says that it has is not sent to it, even
// if it never acknowledged it on the stream. It may not be in the log any more.
func TestHeardSparesSending(t *testing.T) {
	const self, first, second = crdt.Origin(3), crdt.Origin(1), crdt.Origin(2)
	now := time.Unix(1, 0)
	logged := crdt.VC{}.With(first, 4).With(self, 2)
	for _, test := range []struct {
		name string
		when func(*Machine) // before the streams carried anything, or after
	}{
		{"before it connects", nil},
		{"while it is connected", func(m *Machine) { m.Heard("second", second, logged) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := New(Config{Self: self, Peers: []string{"first", "second"}, ForwardDelay: time.Second}, logged, now)
			if test.when == nil {
				m.Heard("second", second, logged)
			}
			if err := m.Connected(now, "second", second, nil); err != nil {
				t.Fatal(err)
			}
			if test.when != nil {
				if !m.Pending("second") {
					t.Error("nothing to send before it is heard of")
				}
				m.Tick(now)
				test.when(m)
			}
			for range 3 {
				m.Tick(now)
				if r, ok := m.Next("second"); ok {
					t.Errorf("wants to send %+v", r)
				}
				now = now.Add(2 * time.Second)
			}
			m.Committed(now, 3)
			if r, ok := m.Next("second"); !ok || r.Origin != self || r.From != 3 {
				t.Errorf("wants to send %+v, %v; there is own operation 3", r, ok)
			}
		})
	}
}

// TestRememberedBehindTheCut: what is remembered of a peer may be older than the
// log's beginning. That does not make it a peer that lacks what was cut.
func TestRememberedBehindTheCut(t *testing.T) {
	const self, peer = crdt.Origin(1), crdt.Origin(2)
	logged := crdt.VC{}.With(self, 9)
	m := New(Config{Self: self, Peers: []string{"peer"}}, logged, time.Unix(1, 0))
	m.Remember("peer", peer, crdt.VC{}.With(self, 3))
	m.SetCut(crdt.VC{}.With(self, 5))
	if got := m.Stable().Get(self); got > 3 {
		t.Errorf("stable up to %d, the peer is known to have 3", got)
	}
	m.Heard("peer", peer, crdt.VC{}.With(self, 7))
	if got := m.Stable().Get(self); got != 7 {
		t.Errorf("stable up to %d, the peer has 7", got)
	}
	m = New(Config{Self: self, Peers: []string{"peer"}}, logged, time.Unix(1, 0))
	m.SetCut(crdt.VC{}.With(self, 5))
	m.Heard("peer", peer, crdt.VC{}.With(self, 4))
	if got := m.Expendable().Get(self); got != 9 {
		t.Errorf("expendable up to %d, the only peer is behind the cut", got)
	}
	if got := m.Stable().Get(self); got != 4 {
		t.Errorf("stable up to %d: a peer that is behind the cut has 4, and may have made what knows of no more", got)
	}
}

// TestBehindTheCutIsRemembered: who was heard to be behind the cut, and is not heard
// of any more, keeps nothing after a restart either.
func TestBehindTheCutIsRemembered(t *testing.T) {
	const self, peer = crdt.Origin(1), crdt.Origin(2)
	logged, cut := crdt.VC{}.With(self, 9), crdt.VC{}.With(self, 5)
	m := New(Config{Self: self, Peers: []string{"peer"}}, logged, time.Unix(1, 0))
	m.Heard("peer", peer, crdt.VC{}.With(self, 3))
	if m.IsBeyond("peer") {
		t.Error("beyond a cut that there is not")
	}
	m.SetCut(cut)
	if m.Expendable(); !m.IsBeyond("peer") {
		t.Error("not beyond the cut")
	}
	_, sure := m.Sure("peer")
	m = New(Config{Self: self, Peers: []string{"peer"}}, logged, time.Unix(1, 0))
	m.Remember("peer", peer, sure)
	m.RememberBeyond("peer")
	m.SetCut(cut)
	if got := m.Expendable().Get(self); got != 9 {
		t.Errorf("expendable up to %d, the only peer is behind the cut", got)
	}
	if got := m.Stable().Get(self); got != 3 {
		t.Errorf("stable up to %d, the peer has 3", got)
	}
	m.Heard("peer", peer, crdt.VC{}.With(self, 6))
	if m.IsBeyond("peer") {
		t.Error("beyond the cut although it has more")
	}
}

// TestHeardIsBounded: vectors that do not follow from each other, which no
// correct peer tells, do not add up.
func TestHeardIsBounded(t *testing.T) {
	const self, peer = crdt.Origin(1), crdt.Origin(2)
	m := New(Config{Self: self, Peers: []string{"peer"}}, nil, time.Unix(1, 0))
	for i := range crdt.Origin(5000) {
		m.Heard("peer", peer, crdt.VC{}.With(100+i, 1))
	}
	if n := len(m.peer("peer").seen.newest); n > 1 {
		t.Errorf("%d origins are remembered of a peer that named one at a time", n)
	}
}
