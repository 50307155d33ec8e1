package causal

import (
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
	"pgregory.net/rapid"
)

// TestRandomSchedules lets replicas commit, streams break, deliver, repeat and
// lag, and disks stall, in any order. At every step what is applied is applied
// once and after its dependencies (checked in world.apply), no queue exceeds
// its bound, no wait claims an acknowledgement that is not on a disk, and what is
// stable is so. Logs are cut, at what is expendable and, as those that grow too large,
// at what is there; who is left behind loads what another one has. In the end, when the network is whole, every replica has
// everything, and knows that it is stable.
func TestRandomSchedules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"a", "b", "c", "d", "e"}[:rapid.IntRange(2, 5).Draw(t, "replicas")]
		w := newWorld(Config{
			Window:       rapid.SampledFrom([]int{1, 300, 1000, 100000}).Draw(t, "window"),
			BatchEntries: rapid.IntRange(1, 5).Draw(t, "batch"),
			SendBytes:    rapid.SampledFrom([]int{1, 400, 10000}).Draw(t, "send"),
			AckPeers:     rapid.IntRange(0, 3).Draw(t, "ack"),
			ForwardDelay: time.Second,
		}, names...)
		node := rapid.SampledFrom(names)
		pair := func(t *rapid.T) (string, string) { return node.Draw(t, "from"), node.Draw(t, "to") }
		must := func(_ string, err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				n := node.Draw(t, "node")
				if w.nodes[n].machine != nil {
					w.commit(n, rapid.IntRange(1, 4).Draw(t, "count"), rapid.IntRange(0, 500).Draw(t, "size"))
				}
			},
			"deliver": func(t *rapid.T) { must(w.deliverDown(pair(t))) },
			"ack":     func(t *rapid.T) { must(w.deliverUp(pair(t))) },
			"resend": func(t *rapid.T) {
				from, to := pair(t)
				if wire := w.wires[wire{from, to}]; wire != nil && len(wire.down) > 0 {
					wire.down = append(wire.down[:1:1], wire.down...)
				}
			},
			"cut":     func(t *rapid.T) { w.cut(pair(t)) },
			"connect": func(t *rapid.T) { w.join(pair(t)) },
			"crash":   func(t *rapid.T) { w.crash(node.Draw(t, "node")) },
			"restart": func(t *rapid.T) {
				if n := node.Draw(t, "node"); w.nodes[n].machine == nil {
					w.start(n)
				}
			},
			"trim": func(t *rapid.T) {
				if n := w.nodes[node.Draw(t, "node")]; n.machine != nil {
					w.cutLog(n, n.machine.Expendable())
				}
			},
			"overflow": func(t *rapid.T) {
				if n := w.nodes[node.Draw(t, "node")]; n.machine != nil {
					w.cutLog(n, n.logged())
				}
			},
			"load": func(t *rapid.T) {
				n := w.nodes[node.Draw(t, "node")]
				if n.machine == nil {
					return
				}
				if from, ok := w.beginLoad(n); ok && rapid.Bool().Draw(t, "done") {
					w.endLoad(n, from)
				}
			},
			"slow":     func(t *rapid.T) { w.nodes[node.Draw(t, "node")].slow = true },
			"tick":     func(t *rapid.T) { w.tick(time.Duration(rapid.IntRange(1, 1500).Draw(t, "ms")) * time.Millisecond) },
			"remember": func(t *rapid.T) { w.nodes[node.Draw(t, "node")].remember() },
			"wait": func(t *rapid.T) {
				n := w.nodes[node.Draw(t, "node")]
				if n.machine == nil {
					return
				}
				logged := n.machine.Logged()
				if len(logged) == 0 {
					return
				}
				x, last := &Waiter{}, rapid.SampledFrom(logged).Draw(t, "origin")
				last.N = rapid.Uint64Range(1, last.N).Draw(t, "number")
				if n.machine.Wait(w.now, x, last) {
					w.honest(t, n, x)
				} else {
					n.waits[x] = "pending"
				}
			},
			"": func(t *rapid.T) {
				if err := w.bounded(); err != nil {
					t.Fatal(err)
				}
				for _, n := range w.nodes {
					w.decided(t, n)
					w.stable(t, n)
					for x, how := range n.waits {
						if how != "pending" {
							w.honest(t, n, x)
							delete(n.waits, x)
						}
					}
				}
			},
		})
		w.settle(t)
	})
}

// decided checks that nobody waits for what is known, and that what is said to
// be on enough disks is.
func (w *world) decided(t *rapid.T, n *node) {
	if n.machine == nil {
		return
	}
	for x := range n.machine.waiters.all() {
		if n.machine.decide(x) {
			t.Fatalf("%s still waits for operation %v, with %d of %d", n.name, x.dot, x.Have, x.Need)
		}
	}
	w.honest(t, n, &Waiter{dot: crdt.Dot{Origin: n.origin, N: n.machine.Satisfied()}, Have: n.machine.cfg.AckPeers})
}

// honest checks that as many peers have the operation on disk as w says.
func (w *world) honest(t *rapid.T, n *node, x *Waiter) {
	have := 0
	for _, p := range w.nodes {
		if p != n && uint64(len(p.log[x.dot.Origin])) >= x.dot.N {
			have++
		}
	}
	if have < x.Have {
		t.Fatalf("%s was told that %d peers have operation %v, but it is %d", n.name, x.Have, x.dot, have)
	}
}

// remember writes to a node's disk what it is sure of about its peers.
func (n *node) remember() {
	if n.machine == nil {
		return
	}
	n.sure = map[string]crdt.VC{}
	for _, p := range n.machine.peers {
		if _, v := n.machine.Sure(p.name); v != nil {
			n.sure[p.name] = v
		}
	}
}

// stable checks that what a node believes to be stable is on every disk, and
// that no operation which it does not have yet is concurrent with it.
func (w *world) stable(t *rapid.T, n *node) {
	if n.machine == nil {
		return
	}
	v := n.machine.Stable()
	here := n.logged()
	for _, p := range w.nodes {
		if !v.LessEqual(p.logged()) {
			t.Fatalf("%s believes that %v is stable, %s has %v", n.name, v, p.name, p.logged())
		}
		for o, list := range p.log {
			for i := here.Get(o); i < uint64(len(list)); i++ {
				if e := &list[i]; !v.LessEqual(e.Deps) {
					t.Fatalf("%s believes that %v is stable, but lacks %v with %v", n.name, v, e.Dot, e.Deps)
				}
			}
		}
	}
}

func (w *world) join(from, to string) {
	if from != to {
		w.connect(from, to)
	}
}

// settle makes the network whole and checks that all replicas get all.
func (w *world) settle(t *rapid.T) {
	for _, name := range w.names {
		n := w.nodes[name]
		n.slow = false
		if n.machine == nil {
			w.start(name)
		}
	}
	for _, from := range w.names {
		for _, to := range w.names {
			w.join(from, to)
		}
	}
	for _, name := range w.names {
		if err := w.apply(w.nodes[name]); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 + 3*len(w.names) {
		w.tick(time.Second)
		if _, err := w.deliverAll(); err != nil {
			t.Fatal(err)
		}
		for _, name := range w.names {
			if from, ok := w.beginLoad(w.nodes[name]); ok {
				w.endLoad(w.nodes[name], from)
				break
			}
		}
	}
	all := w.nodes[w.names[0]].logged()
	for _, name := range w.names {
		n := w.nodes[name]
		if !n.logged().Equal(all) {
			t.Fatalf("not everything arrived everywhere:\n%s", w.state())
		}
		if ops, bytes := n.machine.Queued(); ops != 0 || bytes != 0 {
			t.Fatalf("%s still holds %d operations, %d bytes", name, ops, bytes)
		}
		for _, p := range n.machine.Peers(w.now) {
			if !p.Connected || p.Lag > 0 || p.Forwards > 0 {
				t.Fatalf("%s believes of %s: %+v", name, p.Name, p)
			}
		}
		if v := n.machine.Stable(); !v.Equal(all) {
			t.Fatalf("%s believes that %v is stable, not all of %v", name, v, all)
		}
		if n.machine.Waiting() != 0 && w.cfg.AckPeers > 0 {
			t.Fatalf("%d waits did not end", n.machine.Waiting())
		}
	}
}
