package comm_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// puts counts the pieces that a node is given of each content.
func puts(n *node) *atomic.Int64 {
	count := new(atomic.Int64)
	n.store.OnPut = func(crdt.Root) error {
		count.Add(1)
		return nil
	}
	return count
}

// whole returns a channel that is closed when BodyWhole has returned.
func whole(ctx context.Context, n *node, root crdt.Root) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.group.BodyWhole(ctx, root)
	}()
	return done
}

// TestAhead: pieces of a large content are at the peers before its operation is
// committed, which then brings the rest, and nothing goes twice.
func TestAhead(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	count := map[string]*atomic.Int64{"w2": puts(c.nodes["w2"]), "st": puts(c.nodes["st"])}
	c.startAll()
	c.connected("w1", "w2", "st")
	w1, root, body := c.nodes["w1"], crdt.Root{1}, bodyOf(40) // more than may be unanswered
	w1.store.AddBody(root, body...)
	w1.group.BodyGrows(root, 2)
	for name, n := range count {
		c.eventually("two pieces at "+name, func() bool { return n.Load() == 2 })
	}
	w1.group.BodyGrows(root, 40)
	<-whole(c.ctx, w1, root)
	for name, n := range count {
		if n.Load() != 40 {
			t.Errorf("%s has %d pieces before the operation", name, n.Load())
		}
	}
	c.await(w1.commit(10, root), "w2", "st")
	for name, n := range count {
		if n.Load() != int64(len(body)) {
			t.Errorf("%s was given %d pieces of %d", name, n.Load(), len(body))
		}
	}
}

// TestAheadDelaysNobody: while a peer takes its time with a large content, other
// operations reach it and are acknowledged.
func TestAheadDelaysNobody(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	slow := make(chan struct{})
	c.nodes["w2"].store.OnPut = func(crdt.Root) error {
		<-slow
		return nil
	}
	c.startAll(func(cfg *comm.Config) { cfg.AckPeers, cfg.AckTimeout, cfg.AckStrict = 1, time.Hour, true })
	c.connected("w1", "w2")
	w1, root := c.nodes["w1"], crdt.Root{1}
	w1.store.AddBody(root, bodyOf(40)...)
	w1.group.BodyGrows(root, 40)
	done := whole(c.ctx, w1, root)
	for range 20 {
		d := w1.commit(100)
		if err := w1.group.Wait(c.ctx, d); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-done:
		t.Error("the content is not waited for")
	default:
	}
	close(slow)
	<-done
	c.await(w1.commit(10, root), "w2")
}

// TestAheadSlowPeer: a peer that is much slower than the one that is needed is not
// waited for until the end. What it has not taken yet comes with the operation.
func TestAheadSlowPeer(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	slow := make(chan struct{})
	var taken atomic.Int64
	c.nodes["st"].store.OnPut = func(crdt.Root) error {
		if taken.Add(1) > 3 {
			<-slow
		}
		return nil
	}
	c.startAll(func(cfg *comm.Config) { cfg.AheadTimeout = time.Hour })
	c.connected("w1", "w2", "st")
	w1, root := c.nodes["w1"], crdt.Root{1}
	w1.store.AddBody(root, bodyOf(10)...)
	w1.group.BodyGrows(root, 10)
	<-whole(c.ctx, w1, root)
	d := w1.commit(10, root)
	c.await(d, "w2")
	close(slow)
	c.await(d, "st")
}

// TestStalledPeer: to a peer that takes nothing no more than a little is sent, and
// nobody else notices it.
func TestStalledPeer(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll(func(cfg *comm.Config) { cfg.AckPeers, cfg.AckTimeout, cfg.AckStrict = 1, time.Hour, true })
	c.connected("w1", "w2", "st")
	w1, data := c.nodes["w1"], make([]byte, 20<<10)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	c.net.Stall("w1", "st")
	for range 1000 {
		n := w1.store.Commit(data)
		w1.group.Committed(n)
		if err := w1.group.Wait(c.ctx, w1.own(n)); err != nil {
			t.Fatal(err)
		}
	}
	if sent := w1.group.SentBytes("st"); sent > 2<<20 {
		t.Errorf("%.0f bytes are on the way to a peer that takes nothing", sent)
	}
	c.net.Heal("w1", "st")
	c.await(crdt.Dot{Origin: 1, N: 1000}, "st")
}

// TestAheadTimeout: what does not get to a peer in time travels with the operation.
func TestAheadTimeout(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	slow := make(chan struct{})
	var puts atomic.Int64
	c.nodes["w2"].store.OnPut = func(crdt.Root) error {
		if puts.Add(1) > 3 {
			<-slow
		}
		return nil
	}
	c.startAll(func(cfg *comm.Config) { cfg.AheadTimeout = 50 * time.Millisecond })
	c.connected("w1", "w2")
	w1, root := c.nodes["w1"], crdt.Root{1}
	w1.store.AddBody(root, bodyOf(10)...)
	w1.group.BodyGrows(root, 10)
	<-whole(c.ctx, w1, root)
	d := w1.commit(10, root)
	close(slow)
	c.await(d, "w2")
}

// TestAheadCrash: what a peer has taken and lost again is sent once more.
func TestAheadCrash(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	w1, root := c.nodes["w1"], crdt.Root{1}
	w1.store.AddBody(root, bodyOf(10)...)
	w1.group.BodyGrows(root, 10)
	<-whole(c.ctx, w1, root)
	c.nodes["w2"].crash()
	d := w1.commit(10, root)
	c.start("w2")
	c.await(d, "w2")
}

// TestAheadGivesUp: nobody waits for a peer that dies, for a session that has
// gone, or for a message that is not stored after all.
func TestAheadGivesUp(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	slow := make(chan struct{})
	var once sync.Once
	defer once.Do(func() { close(slow) })
	c.nodes["w2"].store.OnPut = func(crdt.Root) error {
		<-slow
		return nil
	}
	c.startAll()
	c.connected("w1", "w2")
	w1 := c.nodes["w1"]
	begin := func(root crdt.Root) {
		w1.store.AddBody(root, bodyOf(4)...)
		w1.group.BodyGrows(root, 4)
	}
	begin(crdt.Root{1})
	gone, cancel := context.WithCancel(c.ctx)
	done := whole(gone, w1, crdt.Root{1})
	cancel()
	<-done

	begin(crdt.Root{2})
	w1.group.BodyDropped(crdt.Root{2})
	<-whole(c.ctx, w1, crdt.Root{2})

	begin(crdt.Root{3})
	done = whole(c.ctx, w1, crdt.Root{3})
	c.net.Partition("w1", "w2")
	<-done
	once.Do(func() { close(slow) })
}

// TestAheadHostile: what comes ahead is checked like everything else.
func TestAheadHostile(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	root, other := crdt.Root{1}, crdt.Root{2}
	chunk := func(root crdt.Root, index uint32, last bool) *comm.Chunk {
		return &comm.Chunk{Root: root[:], Index: index, Last: last, Data: []byte("piece")}
	}
	for _, x := range []struct {
		name, caller string
		pieces       []*comm.Piece
		want         codes.Code
	}{
		{"stranger", "stranger", []*comm.Piece{{Subnet: subnet, Chunk: chunk(root, 0, false)}}, codes.PermissionDenied},
		{"other subnet", "w2", []*comm.Piece{{Subnet: "other", Chunk: chunk(root, 0, false)}}, codes.FailedPrecondition},
		{"no piece", "w2", []*comm.Piece{{Subnet: subnet}}, codes.InvalidArgument},
		{"not the first", "w2", []*comm.Piece{{Subnet: subnet, Chunk: chunk(root, 1, false)}}, codes.InvalidArgument},
		{"twice", "w2", []*comm.Piece{{Subnet: subnet, Chunk: chunk(root, 0, false)}, {Chunk: chunk(root, 0, false)}}, codes.InvalidArgument},
		{"another content", "w2", []*comm.Piece{{Subnet: subnet, Chunk: chunk(root, 0, false)}, {Chunk: chunk(other, 1, false)}}, codes.InvalidArgument},
		{"the last", "w2", []*comm.Piece{{Subnet: subnet, Chunk: chunk(root, 0, true)}}, codes.InvalidArgument},
	} {
		conn, err := grpc.NewClient("passthrough:///w1", grpc.WithContextDialer(c.net.Dialer(x.caller)),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := comm.NewReceiverClient(conn).Ahead(c.ctx)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range x.pieces {
			_ = stream.Send(p) // Recv says why not
		}
		for err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != x.want {
			t.Errorf("%s: %v, want %v", x.name, err, x.want)
		}
		conn.Close()
	}
}

// TestPack: what saves nothing is sent as it is, and what is compressed arrives
// as it was.
func TestPack(t *testing.T) {
	text := make([]byte, comm.MaxChunk)
	for i := range text {
		text[i] = "Received: from mail.example.org by "[i%35]
	}
	noise := make([]byte, comm.MaxChunk)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for _, x := range []struct {
		name string
		data []byte
		want comm.Chunk_Encoding
	}{{"text", text, comm.Chunk_ZSTD}, {"noise", noise, comm.Chunk_PLAIN}, {"short", text[:100], comm.Chunk_PLAIN}, {"empty", nil, comm.Chunk_PLAIN}} {
		got := comm.EncodeChunk(crdt.Root{1}, 3, true, x.data)
		if got.GetEncoding() != x.want {
			t.Errorf("%s: encoding %v, %d bytes", x.name, got.GetEncoding(), len(got.GetData()))
		}
		root, data, err := comm.DecodeChunk(got, 1<<20)
		if err != nil || root != (crdt.Root{1}) || string(data) != string(x.data) {
			t.Errorf("%s: %d bytes of %x came back: %v", x.name, len(data), root, err)
		}
	}
}

// TestUnpackBounds: nothing that a peer compresses becomes larger than what it
// could have sent as it is.
func TestUnpackBounds(t *testing.T) {
	large := comm.EncodeChunk(crdt.Root{1}, 0, false, make([]byte, comm.MaxChunk+1))
	two := comm.EncodeChunk(crdt.Root{1}, 0, false, make([]byte, comm.MaxChunk))
	two.Data = append(two.Data, two.Data...)
	cut := comm.EncodeChunk(crdt.Root{1}, 0, false, make([]byte, comm.MaxChunk))
	cut.Data = cut.Data[:len(cut.Data)-1]
	for name, c := range map[string]*comm.Chunk{
		"large": large, "two frames": two, "cut off": cut,
		"garbage": {Root: make([]byte, 16), Encoding: comm.Chunk_ZSTD, Data: []byte("garbage")},
		"empty":   {Root: make([]byte, 16), Encoding: comm.Chunk_ZSTD},
	} {
		if _, data, err := comm.DecodeChunk(c, 1<<20); err == nil {
			t.Errorf("%s: %d bytes", name, len(data))
		}
	}
}

// TestPackedOperations: operations that are alike travel in fewer bytes than they
// have, and arrive.
func TestPackedOperations(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.connected("w1", "w2")
	w1 := c.nodes["w1"]
	c.net.Partition("w1", "w2")
	var last crdt.Dot
	for range 500 {
		last = w1.commit(200)
	}
	before := w1.group.SentBytes("w2")
	c.net.Heal("w1", "w2")
	c.await(last, "w2")
	if sent := w1.group.SentBytes("w2") - before; sent > 500*200/4 {
		t.Errorf("500 operations of 200 zeros took %v bytes", sent)
	}
}
