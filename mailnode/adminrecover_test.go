package mailnode

import (
	"strings"
	"testing"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// TestIncomplete: nothing is recovered while a member may have some of it.
func TestIncomplete(t *testing.T) {
	const gone, living = crdt.Origin(7), crdt.Origin(8)
	all := func() comm.Status {
		return comm.Status{
			Subnet: "subnet-1", Confirmed: true, Joined: true,
			Logged: crdt.VC{{Origin: gone, N: 5}, {Origin: living, N: 3}},
			Peers: []comm.PeerStatus{{
				Member: comm.Member{Name: "storage"}, Sending: true, Receiving: true,
				Acked: crdt.VC{{Origin: gone, N: 5}, {Origin: living, N: 9}},
			}},
			Evicted: []comm.Eviction{{Name: "eu-worker-1", Origin: gone, Slot: 1}},
		}
	}
	for name, c := range map[string]struct {
		change func(*comm.Status)
		want   string
	}{
		"all is here": {func(*comm.Status) {}, ""},
		"the evicted one is away": {func(s *comm.Status) {
			s.Peers = append(s.Peers, comm.PeerStatus{Member: comm.Member{Name: "eu-worker-1"}, Origin: gone})
		}, ""},
		"its successor is away": {func(s *comm.Status) {
			s.Peers = append(s.Peers, comm.PeerStatus{Member: comm.Member{Name: "eu-worker-1"}, Origin: 9})
		}, "eu-worker-1 cannot be reached"},
		"not joined":            {func(s *comm.Status) { s.Joined = false }, "is new"},
		"loads":                 {func(s *comm.Status) { s.Loading = true }, "still coming in"},
		"operations wait":       {func(s *comm.Status) { s.QueuedOperations = 1 }, "still coming in"},
		"cannot send":           {func(s *comm.Status) { s.Peers[0].Sending = false }, "storage cannot be reached"},
		"does not receive":      {func(s *comm.Status) { s.Peers[0].Receiving = false }, "storage cannot be reached"},
		"a peer has more of it": {func(s *comm.Status) { s.Peers[0].Acked.Set(gone, 7) }, "storage has 2 operations"},
	} {
		s := all()
		c.change(&s)
		origins, err := incomplete(s)
		switch {
		case c.want == "" && (err != nil || len(origins) != 1 || origins[0] != gone):
			t.Errorf("%s: %v, %v", name, origins, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: %v", name, err)
		}
	}
}
