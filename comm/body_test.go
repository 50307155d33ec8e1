package comm_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

func bodyOf(n int) [][]byte {
	var pieces [][]byte
	for i := range n {
		pieces = append(pieces, bytes.Repeat([]byte{byte(i + 1)}, comm.MaxChunk))
	}
	return append(pieces, []byte("end"))
}

// TestPullBody: a content that is missing comes from whoever has it.
func TestPullBody(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	root := crdt.Root{1}
	c.nodes["st"].store.AddBody(root, bodyOf(5)...)
	w1 := c.nodes["w1"]
	if err := w1.group.PullBody(c.ctx, root); err != nil {
		t.Fatal(err)
	}
	if got, ok := w1.store.Body(root); !ok || !bytes.Equal(got, bytes.Join(bodyOf(5), nil)) {
		t.Errorf("%d bytes came, complete: %v", len(got), ok)
	}
	if err := w1.group.PullBody(c.ctx, crdt.Root{2}); !errors.Is(err, comm.ErrNoBody) {
		t.Errorf("a content that nobody has: %v", err)
	}
}

// TestPullBodyFromTheNext: a peer that dies in the middle, or has only a part, is
// no reason to fail while another one has the content.
func TestPullBodyFromTheNext(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll()
	root := crdt.Root{1}
	c.nodes["w2"].store.AddBody(root, bodyOf(5)...)
	c.nodes["st"].store.AddBody(root, bodyOf(5)...)
	w1 := c.nodes["w1"]
	puts := 0
	w1.store.OnPut = func(crdt.Root) error {
		if puts++; puts == 3 {
			c.net.Partition("w1", "w2")
		}
		return nil
	}
	if err := w1.group.PullBody(c.ctx, root); err != nil {
		t.Fatal(err)
	}
	if got, ok := w1.store.Body(root); !ok || !bytes.Equal(got, bytes.Join(bodyOf(5), nil)) {
		t.Errorf("%d bytes came, complete: %v", len(got), ok)
	}
}

// TestPullBodySilence: a peer that takes the call and says nothing is given up.
func TestPullBodySilence(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll(func(cfg *comm.Config) { cfg.Heartbeat, cfg.PeerTimeout = 100*time.Millisecond, 300*time.Millisecond })
	c.nodes["w2"].store.AddBody(crdt.Root{1}, bodyOf(1)...)
	c.net.Stall("w2", "w1")
	defer c.net.Heal("w1", "w2")
	ctx, cancel := context.WithTimeout(c.ctx, 10*time.Second)
	defer cancel()
	if err := c.nodes["w1"].group.PullBody(ctx, crdt.Root{1}); !errors.Is(err, comm.ErrNoBody) {
		t.Errorf("pulled from a silent peer: %v", err)
	}
}

// TestBodyCallers: only peers of the subnet get contents, and only of it.
func TestBodyCallers(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	c.nodes["w1"].store.AddBody(crdt.Root{1}, bodyOf(1)...)
	root := crdt.Root{1}
	for _, x := range []struct {
		caller, subnet string
		root           []byte
		want           codes.Code
	}{
		{"w2", subnet, root[:], codes.OK},
		{"stranger", subnet, root[:], codes.PermissionDenied},
		{"w2", "other", root[:], codes.FailedPrecondition},
		{"w2", subnet, []byte("short"), codes.InvalidArgument},
		{"w2", subnet, make([]byte, 16), codes.NotFound},
	} {
		conn, err := grpc.NewClient("passthrough:///w1", grpc.WithContextDialer(c.net.Dialer(x.caller)),
			grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		stream, err := comm.NewReceiverClient(conn).Body(c.ctx, &comm.BodyRequest{Subnet: x.subnet, Root: x.root}, grpc.MaxCallRecvMsgSize(1<<20))
		if err == nil {
			_, err = stream.Recv()
		}
		if status.Code(err) != x.want {
			t.Errorf("%s asks for %x of %s: %v, want %v", x.caller, x.root, x.subnet, err, x.want)
		}
		conn.Close()
	}
}

// TestStability: what every member has applied becomes stable at all, also when
// a peer is only remembered; what one lacks does not.
func TestStability(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.startAll(beating)
	w1 := c.nodes["w1"]
	n := w1.store.Commit([]byte("op"))
	w1.group.Committed(n)
	c.awaitStable(crdt.VC{{Origin: 1, N: n}}, "w1", "w2", "st")

	c.nodes["st"].stop()
	n = w1.store.Commit([]byte("op"))
	w1.group.Committed(n)
	if err := c.nodes["w2"].store.Await(c.ctx, crdt.Dot{Origin: 1, N: n}); err != nil {
		t.Fatal(err)
	}
	w1.stop()
	c.start("w1", beating)
	c.awaitStable(crdt.VC{{Origin: 1, N: n - 1}}, "w1", "w2") // st is remembered
	for _, name := range []string{"w1", "w2"} {
		if v := c.nodes[name].store.LastStable(); v.Get(1) != n-1 {
			t.Errorf("%s believes that %v is stable, st has only %d", name, v, n-1)
		}
	}
	c.start("st", beating)
	c.awaitStable(crdt.VC{{Origin: 1, N: n}}, "w1", "w2", "st")
}

// awaitStable waits until stores were told that v is stable.
func (c *cluster) awaitStable(v crdt.VC, names ...string) {
	c.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, name := range names {
		for !v.LessEqual(c.nodes[name].group.Status().Stable) || !v.LessEqual(c.nodes[name].store.LastStable()) {
			select {
			case <-tick.C:
			case <-c.ctx.Done():
				c.t.Fatalf("%s believes that %v is stable, not %v", name, c.nodes[name].store.LastStable(), v)
			}
		}
	}
}
