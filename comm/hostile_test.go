package comm_test

import (
	"context"
	"crypto/rand"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/crdt"
)

// raw is a stream opened by hand.
type raw struct {
	t      *testing.T
	stream grpc.BidiStreamingClient[comm.Up, comm.Down]
}

// call opens a stream to a node in the name of another.
func (c *cluster) call(t *testing.T, from, to string) *raw {
	t.Helper()
	dial := c.net.Dialer(from)
	conn, err := grpc.NewClient("passthrough:///"+to,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(dial))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	stream, err := comm.NewReceiverClient(conn).Replicate(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	return &raw{t, stream}
}

// goodHello is one of w2 that w1 accepts.
func goodHello() *comm.Hello {
	return &comm.Hello{
		Protocol: comm.Protocol, Subnet: subnet, Name: "w2", Origin: 2, Slot: 2, FirstUser: 1, LastUser: 100,
		Separator: "/", MaxMessageSize: 64 << 20, Window: 4 << 20,
	}
}

// hello says hello as w2 and expects to be let in.
func (r *raw) hello(change func(*comm.Hello)) {
	r.t.Helper()
	h := goodHello()
	change(h)
	r.send(&comm.Up{Hello: h})
	down, err := r.stream.Recv()
	if err != nil {
		r.t.Fatal(err)
	}
	if down.GetHello().GetName() != "w1" {
		r.t.Fatalf("hello %v", down)
	}
}

func (r *raw) send(up *comm.Up) {
	r.t.Helper()
	if err := r.stream.Send(up); err != nil && err != io.EOF {
		r.t.Fatal(err)
	}
}

// ends reads until the stream ends and checks how.
func (r *raw) ends(code codes.Code, text string) {
	r.t.Helper()
	for {
		_, err := r.stream.Recv()
		if err == nil {
			continue
		}
		if status.Code(err) != code || !strings.Contains(err.Error(), text) {
			r.t.Errorf("want %v with %q, got %v", code, text, err)
		}
		return
	}
}

// TestNonsense: what breaks the rules ends its stream with a reason, and nothing else.
func TestNonsense(t *testing.T) {
	c := newCluster(t, "w1", "w2", "st")
	c.bodiesMayMiss = true
	c.start("w1")
	c.start("st")
	op := func(o, n uint64, deps ...crdt.Dot) *comm.Up {
		return &comm.Up{Operations: []*comm.Operation{{Origin: o, Number: n, Deps: vector(deps...), Data: []byte("x")}}}
	}
	for _, test := range []struct {
		name string
		send []*comm.Up
		code codes.Code
		text string
	}{
		{"gap", []*comm.Up{op(2, 7)}, codes.InvalidArgument, "operation 7 of 0000000000000002 came after"},
		{"zero", []*comm.Up{op(2, 0)}, codes.InvalidArgument, "operation 0"},
		{"own successor", []*comm.Up{op(2, 1, crdt.Dot{Origin: 2, N: 5})}, codes.InvalidArgument, "its own successor"},
		{"bad vector", []*comm.Up{{Operations: []*comm.Operation{{Origin: 2, Number: 1, Deps: []byte{1, 2, 3}, Data: []byte("x")}}}}, codes.InvalidArgument, "version vector"},
		{"huge vector", []*comm.Up{{Operations: []*comm.Operation{{Origin: 2, Number: 1, Deps: make([]byte, 100000), Data: []byte("x")}}}}, codes.InvalidArgument, "version vector of 100000 bytes"},
		{"no data", []*comm.Up{{Operations: []*comm.Operation{{Origin: 2, Number: 1}}}}, codes.InvalidArgument, "has 0 bytes"},
		{"bad body", []*comm.Up{{Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: []byte("x"), Bodies: [][]byte{{1}}}}}}, codes.InvalidArgument, "content name of 1 bytes"},
		{"bad chunk", []*comm.Up{{Chunks: []*comm.Chunk{{Root: []byte("short")}}}}, codes.InvalidArgument, "content name"},
		{"large chunk", []*comm.Up{{Chunks: []*comm.Chunk{{Root: make([]byte, 16), Data: make([]byte, comm.MaxChunk+1)}}}}, codes.InvalidArgument, "piece of a body has 262145 bytes"},
		{"far chunk", []*comm.Up{{Chunks: []*comm.Chunk{{Root: make([]byte, 16), Index: 1 << 31}}}}, codes.InvalidArgument, "piece 2147483648"},
		{"packed chunk", []*comm.Up{{Chunks: []*comm.Chunk{{Root: make([]byte, 16), Encoding: 9}}}}, codes.InvalidArgument, "unknown encoding 9"},
		{"bad heartbeat", []*comm.Up{{Heartbeat: &comm.Heartbeat{Logged: []byte{9}}}}, codes.InvalidArgument, "version vector"},
		{"beyond the window", []*comm.Up{
			{Operations: []*comm.Operation{{Origin: 9, Number: 1, Deps: vector(crdt.Dot{Origin: 8, N: 1}), Data: make([]byte, 3<<20)}}},
			{Operations: []*comm.Operation{{Origin: 9, Number: 2, Data: make([]byte, 3<<20)}}},
		}, codes.InvalidArgument, "exceeds the window"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := c.call(t, "w2", "w1")
			r.hello(func(*comm.Hello) {})
			for _, up := range test.send {
				r.send(up)
			}
			r.ends(test.code, test.text)
		})
	}
	c.await(c.nodes["w1"].commit(1), "st")
	c.await(c.nodes["st"].commit(1), "w1")
}

func TestHelloIsExpected(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.start("w1")
	r := c.call(t, "w2", "w1")
	r.send(&comm.Up{Heartbeat: &comm.Heartbeat{}})
	r.ends(codes.InvalidArgument, "the first message was no hello")
	r = c.call(t, "w2", "w1")
	r.send(&comm.Up{Hello: &comm.Hello{Subnet: strings.Repeat("x", 300)}})
	r.ends(codes.InvalidArgument, "name of")
	r = c.call(t, "xx", "w1")
	r.send(&comm.Up{Hello: &comm.Hello{Subnet: subnet, Name: "w2"}})
	r.ends(codes.PermissionDenied, `"xx" is not a peer of "w1"`)
}

// TestDuplicateConnection: the newer stream of a peer counts.
func TestDuplicateConnection(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.start("w1")
	first := c.call(t, "w2", "w1")
	first.hello(func(*comm.Hello) {})
	second := c.call(t, "w2", "w1")
	second.hello(func(*comm.Hello) {})
	first.ends(codes.FailedPrecondition, "another stream")
	second.send(&comm.Up{Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: []byte("x")}}})
	c.await(crdt.Dot{Origin: 2, N: 1}, "w1")
}

// TestSilentCaller is given up.
func TestSilentCaller(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.start("w1", beating, func(cfg *comm.Config) { cfg.PeerTimeout = 100 * time.Millisecond })
	r := c.call(t, "w2", "w1")
	r.hello(func(*comm.Hello) {})
	r.ends(codes.Internal, "nothing heard for")
}

// TestTooLargeMessage is refused before it is in memory.
func TestTooLargeMessage(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.start("w1")
	r := c.call(t, "w2", "w1")
	r.hello(func(*comm.Hello) {})
	r.send(&comm.Up{Operations: []*comm.Operation{{Origin: 2, Number: 1, Data: make([]byte, comm.MaxOperation+(8<<20))}}})
	r.ends(codes.ResourceExhausted, "larger than max")
}

// TestGarbage: bytes that are no gRPC disturb nobody.
func TestGarbage(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	c.startAll()
	noise := make([]byte, 10000)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	for _, bytes := range [][]byte{noise, []byte("GET / HTTP/1.1\r\n\r\n"), []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), append([]byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), noise...), nil} {
		conn, err := c.net.Dialer("xx")(c.ctx, "w1")
		if err != nil {
			t.Fatal(err)
		}
		drain(conn, bytes)
	}
	c.await(c.nodes["w2"].commit(1), "w1")
	c.await(c.nodes["w1"].commit(1), "w2")
}

// drain writes bytes, and reads until the other side has had enough or a while has passed.
func drain(conn net.Conn, bytes []byte) {
	defer conn.Close()
	timer := time.AfterFunc(200*time.Millisecond, func() { conn.Close() })
	defer timer.Stop()
	go func() { _, _ = conn.Write(bytes) }()
	_, _ = io.Copy(io.Discard, conn)
}

// liar is a Receiver that acknowledges whatever it likes.
type liar struct {
	comm.UnimplementedReceiverServer
	hello  *comm.Hello
	before func() // called before it says hello; may be nil
	acks   []*comm.Ack
}

func (l *liar) Replicate(stream grpc.BidiStreamingServer[comm.Up, comm.Down]) error {
	if _, err := stream.Recv(); err != nil {
		return err
	}
	if l.before != nil {
		l.before()
	}
	if err := stream.Send(&comm.Down{Hello: l.hello}); err != nil {
		return err
	}
	for _, a := range l.acks {
		if err := stream.Send(&comm.Down{Ack: a}); err != nil {
			return err
		}
	}
	<-stream.Context().Done()
	return nil
}

// TestBadAnswers: a peer that answers nonsense is left, with the reason in the log.
func TestBadAnswers(t *testing.T) {
	good := goodHello()
	for _, test := range []struct {
		name string
		liar liar
		text string
	}{
		{"no hello", liar{}, "was no hello"},
		{"bad vector", liar{hello: good, acks: []*comm.Ack{{Logged: []byte{7}}}}, "version vector"},
		{"backwards", liar{hello: good, acks: []*comm.Ack{{Logged: vector(crdt.Dot{Origin: 2, N: 2})}, {Logged: vector(crdt.Dot{Origin: 2, N: 1})}}}, "acknowledged less than before"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, "w1", "w2")
			server := grpc.NewServer()
			comm.RegisterReceiverServer(server, &test.liar)
			l := c.net.Listen("w2")
			served := make(chan struct{})
			go func() { defer close(served); _ = server.Serve(l) }()
			defer func() { server.Stop(); <-served }()
			c.start("w1")
			c.refused("w1", test.text)
			if err := c.nodes["w1"].group.Fault(); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestStartAndCloseInAnyOrder: neither waits for the other.
func TestStartAndCloseInAnyOrder(t *testing.T) {
	c := newCluster(t, "w1", "w2")
	ctx, cancel := context.WithCancel(c.ctx)
	g, err := comm.NewGroup(c.nodes["w1"].store, c.config("w1"))
	if err != nil {
		t.Fatal(err)
	}
	g.Close() // before Start: nothing to end
	g.Start(ctx)
	g.Start(ctx)
	cancel()
	g.Close()
	g.Close()
}
