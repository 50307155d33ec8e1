package comm_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
	"pgregory.net/rapid"
)

func TestEveryoneGetsEverything(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	var writers sync.WaitGroup
	for _, name := range c.names {
		writers.Go(func() {
			for range 200 {
				c.nodes[name].commit(100)
			}
		})
	}
	writers.Wait()
	for _, name := range c.names {
		c.await(crdt.Dot{Origin: c.nodes[name].store.Origin(), N: 200}, c.names...)
	}
	for _, name := range c.names {
		if got := len(c.nodes[name].store.Order()); got != 600 {
			t.Errorf("%s logged %d operations", name, got)
		}
	}
	c.eventually("all lags gone", func() bool {
		for _, name := range c.names {
			for _, p := range c.nodes[name].group.Status().Peers {
				if p.LagOperations > 0 || p.Missing > 0 {
					return false
				}
			}
		}
		return true
	})
}

func TestBodiesComeFirst(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	w1 := c.nodes["w1"]
	var roots []crdt.Root
	var whole [][]byte
	for i := range 5 {
		pieces := make([][]byte, i+1)
		for j := range pieces {
			pieces[j] = bytes.Repeat([]byte{byte(i), byte(j)}, comm.MaxChunk/2)
		}
		root := crdt.Root{byte(i + 1)}
		w1.store.AddBody(root, pieces...)
		roots, whole = append(roots, root), append(whole, bytes.Join(pieces, nil))
	}
	w1.store.AddBody(crdt.Root{99}, []byte{}) // an empty message
	w1.commit(10, roots[0])
	w1.commit(10, roots[1:4]...)
	w1.commit(10, crdt.Root{99})
	c.await(w1.commit(10, roots[4]), "w2")
	for i, root := range roots {
		if got, ok := c.nodes["w2"].store.Body(root); !ok || !bytes.Equal(got, whole[i]) {
			t.Errorf("body %d: %v, %d bytes", i, ok, len(got))
		}
	}
}

func TestPeerDownAtBoot(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	w1 := c.start("w1", func(cfg *comm.Config) { cfg.Bootstrap = true })
	for range 1000 {
		w1.commit(1000)
	}
	c.eventually("an error is shown", func() bool { return w1.peer("w2").Error != "not tried yet" })
	if s := w1.group.Status(); !s.Ready() || len(s.Degraded()) != 2 {
		t.Errorf("ready %v, degraded %q", s.Ready(), s.Degraded())
	}
	c.start("w2")
	c.await(w1.commit(1), "w2")
}

func TestPeerKilledAndBack(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2", "st")
	stop := make(chan struct{})
	var writer sync.WaitGroup
	var last atomic.Uint64
	w2 := c.nodes["w2"].store
	writer.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				d := c.nodes["w1"].commit(300)
				last.Store(d.N)
				if w2.Await(c.ctx, d) != nil { // so that the writer does not run away
					return
				}
			}
		}
	})
	for range 5 {
		c.await(crdt.Dot{Origin: 1, N: last.Load() + 50}, "w2", "st")
		c.nodes["st"].crash()
		c.await(crdt.Dot{Origin: 1, N: last.Load() + 50}, "w2")
		c.start("st")
	}
	close(stop)
	writer.Wait()
	c.await(crdt.Dot{Origin: 1, N: last.Load()}, "w2", "st")
	for _, name := range c.names {
		if err := c.nodes[name].store.Err(); err != nil {
			t.Error(err)
		}
	}
}

func TestPartitionAndHeal(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2", "st")
	c.net.Partition("w1", "st")
	c.eventually("w1 and st see it", func() bool {
		return !c.nodes["w1"].peer("st").Sending && !c.nodes["st"].peer("w1").Sending
	})
	first := c.nodes["w1"].commit(1)
	c.await(first, "w2")
	answer := c.nodes["w2"].commit(1) // depends on it
	c.eventually("st holds the answer back", func() bool {
		q := c.nodes["st"].group.Status().Queues
		return len(q) == 1 && q[0].Origin == 2 && q[0].Missing == first
	})
	c.net.Heal("w1", "st")
	c.await(answer, "st")
}

func TestDeadOriginIsForwarded(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	forward := func(cfg *comm.Config) { beating(cfg); cfg.ForwardDelay = 100 * time.Millisecond }
	c.startAll(forward)
	c.connected("w1", "w2", "st")
	c.nodes["st"].stop()
	c.nodes["w1"].store.AddBody(crdt.Root{7}, []byte("mail"))
	d := c.nodes["w1"].commit(1, crdt.Root{7})
	c.await(d, "w2")
	c.nodes["w1"].stop()
	c.start("st", forward)
	c.await(d, "st")
	if body, _ := c.nodes["st"].store.Body(crdt.Root{7}); string(body) != "mail" {
		t.Errorf("body %q", body)
	}
}

// TestLostOriginIsNotWaitedFor: what a replica lacks of a peer whose stream to it
// broke comes from others at once, without any of the delay for which it would be
// left to its origin.
func TestLostOriginIsNotWaitedFor(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	patient := func(cfg *comm.Config) { cfg.ForwardDelay = time.Hour }
	c.startAll(patient)
	c.connected("w1", "w2", "st")
	c.net.Partition("w1", "st")
	c.eventually("st sees it", func() bool { return !c.nodes["st"].peer("w1").Sending })
	for range 3 {
		d := c.nodes["w1"].commit(1)
		c.await(d, "w2", "st")
	}
	c.net.Heal("w1", "st")
	c.connected("w1", "w2", "st")
	c.await(c.nodes["w1"].commit(1), "w2", "st")
}

// TestSilence: a connection that neither breaks nor carries anything is given up.
func TestSilence(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(beating, func(cfg *comm.Config) { cfg.PeerTimeout = 200 * time.Millisecond })
	c.connected("w1", "w2")
	c.net.Stall("w2", "w1")
	c.eventually("w1 gives w2 up", func() bool { return !c.nodes["w1"].peer("w2").Sending })
	c.net.Heal("w1", "w2")
	c.await(c.nodes["w1"].commit(1), "w2")
}

// TestBrokenStreams breaks connections at random moments of a stream of
// operations with bodies.
func TestBrokenStreams(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(func(cfg *comm.Config) { cfg.MaxBackoff = 5 * time.Millisecond })
	c.connected("w1", "w2")
	w1, w2 := c.nodes["w1"], c.nodes["w2"]
	var last crdt.Dot
	for i := range 100 {
		root := crdt.Root{byte(i), 1}
		w1.store.AddBody(root, make([]byte, 1000*i), make([]byte, 500))
		last = w1.commit(i*100, root)
		w2.commit(50)
		if i%5 == 0 {
			c.net.Break("w1", "w2")
		}
	}
	c.await(last, "w2")
	c.await(crdt.Dot{Origin: 2, N: 100}, "w1")
}

// TestSlowDiskIsBounded: a peer whose disk stands still takes a window of
// operations and no more, and the sender keeps nothing for it.
func TestSlowDiskIsBounded(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	stuck := make(chan struct{})
	c.nodes["w2"].store.OnApply = func(ctx context.Context, _ []comm.Entry) error {
		select {
		case <-stuck:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	const window = 100 << 10
	c.startAll(func(cfg *comm.Config) { cfg.Window, cfg.TailCache = window, 10<<10 })
	c.connected("w1", "w2", "st")
	w1 := c.nodes["w1"]
	var last crdt.Dot
	for range 2000 {
		last = w1.commit(1000)
	}
	c.await(last, "st") // who is not delayed
	c.eventually("a window is full", func() bool { return c.nodes["w2"].group.Status().QueuedBytes > window-2000 })
	last = w1.commit(1000)
	c.await(last, "st")
	if held := c.nodes["w2"].group.Status().QueuedBytes; held > window {
		t.Errorf("w2 holds %d bytes", held)
	}
	if lag := w1.peer("w2").LagOperations; lag != last.N {
		t.Errorf("lag %d", lag)
	}
	close(stuck)
	c.await(last, "w2")
}

// TestApplyFails: a full disk delays; nothing is lost when there is room again.
func TestApplyFails(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	var full atomic.Bool
	full.Store(true)
	c.nodes["w2"].store.OnApply = func(context.Context, []comm.Entry) error {
		if full.Load() {
			return errors.New("no space left on device")
		}
		return nil
	}
	c.startAll()
	c.connected("w1", "w2")
	d := c.nodes["w1"].commit(1)
	c.eventually("w2 says so", func() bool {
		s := c.nodes["w2"].group.Status()
		return s.Apply != nil && len(s.Degraded()) == 1 && s.Ready()
	})
	full.Store(false)
	c.await(d, "w2")
	c.eventually("w2 is well again", func() bool { return len(c.nodes["w2"].group.Status().Degraded()) == 0 })
}

// TestBodyCannotBeStored: the stream ends and begins again until there is room.
func TestBodyCannotBeStored(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	var tries atomic.Int32
	c.nodes["w2"].store.OnPut = func(crdt.Root) error {
		if tries.Add(1) < 3 {
			return errors.New("no space left on device")
		}
		return nil
	}
	c.startAll()
	c.nodes["w1"].store.AddBody(crdt.Root{1}, []byte("mail"))
	c.await(c.nodes["w1"].commit(1, crdt.Root{1}), "w2")
	if !c.nodes["w1"].log.has("no space left on device") {
		t.Error("w1 was not told why")
	}
}

// TestBodyIsGone: an operation travels although its body was deleted since.
func TestBodyIsGone(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.bodiesMayMiss = true
	c.startAll()
	c.await(c.nodes["w1"].commit(1, crdt.Root{1}), "w2")
	if !c.nodes["w1"].log.has("body of an operation is not on this disk") {
		t.Error("nobody said so")
	}
}

// TestCloseEndsAll: Close waits for everything, whatever state streams are in.
func TestCloseEndsAll(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	c.connected("w1", "w2")
	c.net.Stall("w1", "w2")
	for range 100 {
		c.nodes["w1"].commit(10000)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.nodes["w1"].stop()
		c.nodes["w2"].stop()
	}()
	select {
	case <-done:
	case <-c.ctx.Done():
		t.Fatal("Close does not end")
	}
}

// TestTailCache: what is read through it is what the log has, from any place.
func TestTailCache(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		store := commtest.NewStore(1, 1)
		read := comm.NewTail(store, rapid.SampledFrom([]int{-1, 200, 2000, 1 << 20}).Draw(t, "cache"))
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			for range rapid.IntRange(0, 20).Draw(t, "commits") {
				store.Commit(make([]byte, rapid.IntRange(0, 100).Draw(t, "size")))
			}
			last := store.Logged().Get(1)
			if last == 0 {
				continue
			}
			from := rapid.Uint64Range(max(last, 30)-29, last).Draw(t, "from")
			to := rapid.Uint64Range(from, last).Draw(t, "to")
			got, err := read(1, from, to, rapid.IntRange(1, 2000).Draw(t, "limit"))
			if err != nil || len(got) == 0 {
				t.Fatal(len(got), err)
			}
			want, _ := store.Read(1, from, 1<<30)
			for i := range got {
				if got[i].Dot.N > to || got[i].Dot != want[i].Dot || !bytes.Equal(got[i].Data, want[i].Data) {
					t.Fatalf("read %d..%d: at %d there is %v", from, to, i, got[i].Dot)
				}
			}
		}
	})
}
