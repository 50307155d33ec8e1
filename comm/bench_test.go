package comm_test

import (
	"fmt"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// pair boots two replicas over loopback TCP with TLS, and disks in memory.
func pair(b *testing.B, change func(*comm.Config)) (*cluster, *node) {
	c := newCluster(b, "w1", "w2")
	ca := newCA(b)
	listeners := map[string]net.Listener{}
	for _, name := range c.names {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.Fatal(err)
		}
		listeners[name] = l
	}
	for _, name := range c.names {
		c.startTLS(name, certificate(b, ca, name), listeners, change)
	}
	c.connected("w1", "w2")
	return c, c.nodes["w1"]
}

// BenchmarkOperations is how fast operations of 300 bytes get from one replica
// to another, with what is under way bounded by writers that wait.
func BenchmarkOperations(b *testing.B) {
	c, w1 := pair(b, func(cfg *comm.Config) { cfg.Heartbeat = time.Second })
	data := make([]byte, 300)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n := w1.store.Commit(data)
		w1.group.Committed(n)
		if n%5000 == 0 {
			c.await(crdt.Dot{Origin: 1, N: n}, "w2")
		}
	}
	c.await(crdt.Dot{Origin: 1, N: w1.store.Logged().Get(1)}, "w2")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// BenchmarkWait is what AckPeers = 1 adds to an OK, for some numbers of sessions.
func BenchmarkWait(b *testing.B) {
	for _, sessions := range []int{2, 16, 64} {
		b.Run(fmt.Sprint(sessions), func(b *testing.B) {
			c, w1 := pair(b, func(cfg *comm.Config) { cfg.AckPeers, cfg.Heartbeat = 1, time.Second })
			c.caughtUp("w1", "w2")
			data := make([]byte, 300)
			b.ReportAllocs()
			b.SetParallelism(max(sessions/runtime.GOMAXPROCS(0), 1))
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					n := w1.store.Commit(data)
					w1.group.Committed(n)
					if err := w1.group.Wait(c.ctx, w1.own(n)); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}

// BenchmarkWaitKnown is Wait for what the peer has already.
func BenchmarkWaitKnown(b *testing.B) {
	c, w1 := pair(b, func(cfg *comm.Config) { cfg.AckPeers = 1 })
	d := w1.commit(1)
	c.eventually("acknowledged", func() bool { return w1.peer("w2").Acked.Has(d) })
	b.ReportAllocs()
	for b.Loop() {
		if err := w1.group.Wait(c.ctx, d); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkBodies is how fast messages of 64 KiB get to another replica.
func BenchmarkBodies(b *testing.B) {
	c, w1 := pair(b, func(*comm.Config) {})
	body := make([]byte, 64<<10)
	b.SetBytes(int64(len(body)))
	for i := 0; b.Loop(); i++ {
		root := crdt.Root{byte(i), byte(i >> 8), byte(i >> 16), 1}
		w1.store.AddBody(root, body)
		d := w1.commit(300, root)
		if d.N%200 == 0 {
			c.await(d, "w2")
		}
	}
	c.await(crdt.Dot{Origin: 1, N: w1.store.Logged().Get(1)}, "w2")
}
