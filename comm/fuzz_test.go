package comm_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
)

// lone returns a group that is not started, with some operations.
func lone(t testing.TB) (*comm.Group, *commtest.Store) {
	store := commtest.NewStore(1, 1)
	store.Commit([]byte("own"))
	g, err := comm.NewGroup(store, comm.Config{
		Subnet: subnet, Name: "w1", Users: [2]uint32{1, 100}, Separator: "/", MaxMessageSize: 1 << 20, Window: 10000,
		Peers:       []comm.Member{{Name: "w2", Addr: "w2"}, {Name: "st", Addr: "st"}},
		Credentials: func(string) (credentials.TransportCredentials, error) { return insecure.NewCredentials(), nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g, store
}

func marshal(t testing.TB, m proto.Message) []byte {
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func vector(dots ...crdt.Dot) []byte {
	var v crdt.VC
	for _, d := range dots {
		v.Set(d.Origin, d.N)
	}
	return v.AppendBinary(nil)
}

// FuzzMessages feeds two messages to a replica. Whatever they are, it applies
// only what may be applied, keeps to its bounds and does not panic.
func FuzzMessages(f *testing.F) {
	op := func(o, n uint64, deps ...crdt.Dot) *comm.Operation {
		return &comm.Operation{Origin: o, Number: n, Deps: vector(deps...), Data: []byte("data")}
	}
	root := make([]byte, 16)
	for _, pair := range [][2]*comm.Up{
		{{Operations: []*comm.Operation{op(2, 1), op(2, 2)}}, {Operations: []*comm.Operation{op(3, 1, crdt.Dot{Origin: 2, N: 2})}}},
		{{Operations: []*comm.Operation{op(2, 1, crdt.Dot{Origin: 3, N: 1})}}, {Operations: []*comm.Operation{op(3, 1)}}},
		{{Operations: []*comm.Operation{op(2, 2)}}, {Operations: []*comm.Operation{op(2, 1), op(2, 1)}}},
		{{Operations: []*comm.Operation{op(1, 1)}}, {Operations: []*comm.Operation{op(1, 2)}}},
		{{Operations: []*comm.Operation{op(2, 1, crdt.Dot{Origin: 2, N: 1 << 63})}}, {}},
		{{Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: []byte("x"), Deps: []byte{255}}}}, {}},
		{{Chunks: []*comm.Chunk{{Root: root, Data: []byte("a")}, {Root: root, Index: 1, Last: true}}}, {Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: []byte("x"), Bodies: [][]byte{root}}}}},
		{{Chunks: []*comm.Chunk{{Root: root[1:]}}}, {Chunks: []*comm.Chunk{{Root: root, Index: 1 << 31}}}},
		{{Heartbeat: &comm.Heartbeat{UnixMillis: -1, Logged: vector(crdt.Dot{Origin: 2, N: ^uint64(0)})}}, {Heartbeat: &comm.Heartbeat{Logged: []byte{1, 2}}}},
	} {
		f.Add(marshal(f, pair[0]), marshal(f, pair[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		g, store := lone(t)
		for _, b := range [][]byte{first, second} {
			up := &comm.Up{}
			if proto.Unmarshal(b, up) != nil {
				return
			}
			// An error ends the stream; the next message comes on a new one.
			_ = g.Feed("w2", up)
		}
		if err := store.Err(); err != nil {
			t.Fatal(err)
		}
		s := g.Status()
		if !s.Logged.Equal(store.Logged()) {
			t.Fatalf("believes %v, has %v", s.Logged, store.Logged())
		}
		for _, q := range s.Queues {
			if q.Bytes > 10000 && q.First != q.Last {
				t.Fatalf("holds %d bytes of %s", q.Bytes, q.Origin)
			}
		}
	})
}

// FuzzHello shakes hands with anybody. Nobody gets in who claims what is taken.
func FuzzHello(f *testing.F) {
	g, _ := lone(f)
	for _, change := range []func(*comm.Hello){
		func(*comm.Hello) {},
		func(h *comm.Hello) { h.Slot = 1 },
		func(h *comm.Hello) { h.Slot = 16 },
		func(h *comm.Hello) { h.Origin = 1 },
		func(h *comm.Hello) { h.Protocol = 9 },
		func(h *comm.Hello) { h.Logged = []byte{9, 9, 9} },
		func(h *comm.Hello) { h.Logged = vector(crdt.Dot{Origin: 1, N: 5}) },
		func(h *comm.Hello) { h.Tip = &comm.Tip{Number: 1, Hash: []byte("x")} },
		func(h *comm.Hello) { h.Tip = &comm.Tip{Number: 1 << 63, Hash: []byte("x")} },
		func(h *comm.Hello) { h.Replaces = 7 },
	} {
		h := g.OwnHello()
		h.Name, h.Origin, h.Slot, h.Logged = "w2", 2, 2, nil
		change(h)
		f.Add(marshal(f, h))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		g, store := lone(t)
		h := &comm.Hello{}
		if proto.Unmarshal(b, h) != nil {
			return
		}
		if err := g.Greet("w2", h); err == nil {
			if h.GetSlot() == 1 || h.GetOrigin() == 1 || h.GetName() != "w2" || h.GetSubnet() != subnet {
				t.Fatalf("let in: %v", h)
			}
			// A clash with what is remembered now is refused.
			h.Origin++
			h.Replaces = 0
			if g.Greet("w2", h) == nil {
				t.Fatalf("another incarnation of the same name was let in: %v", h)
			}
		}
		if n := store.Logged().Get(1); n != 1 {
			t.Fatalf("own operations: %d", n)
		}
	})
}
