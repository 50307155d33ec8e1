package tunnel

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// handClock is a node's clock that a test moves.
type handClock struct{ passed atomic.Int64 }

var noon = time.Date(2024, 1, 1, 12, 0, 0, 0, time.UTC)

func (h *handClock) now() time.Time          { return noon.Add(time.Duration(h.passed.Load())) }
func (h *handClock) advance(d time.Duration) { h.passed.Add(int64(d)) }

// leased is a session on a node whose clock stands still, and its distributor,
// which the test plays.
type leased struct {
	handClock
	t      *testing.T
	node   *Server
	stream Node_SessionClient
}

func startLeased(t *testing.T, h Handler) *leased {
	t.Helper()
	l := &leased{t: t}
	opened := make(chan struct{})
	l.node = NewServerAt(func(ctx context.Context, open *Open, c *Conn) error {
		close(opened)
		return h(ctx, open, c)
	}, l.now)
	client, _ := serveNode(t, l.node)
	var err error
	if l.stream, err = client.node.Session(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.send(l.beat(), &Up{Message: &Up_Open{Open: &Open{}}})
	<-opened
	return l
}

// beat returns the node's beat of this moment.
func (l *leased) beat() uint64 { return l.node.clock.beat() }

// send sends a message as of a beat.
func (l *leased) send(beat uint64, m *Up) {
	l.t.Helper()
	m.Beat = beat
	if err := l.stream.Send(m); err != nil {
		l.t.Fatal(err)
	}
}

func (l *leased) ping(beat uint64) { l.send(beat, &Up{Message: &Up_Ping{Ping: &Ping{Number: 1}}}) }

func (l *leased) data(beat uint64, text string) {
	l.send(beat, &Up{Message: &Up_Data{Data: []byte(text)}})
}

// lapses wants the stream to end because of the lease, and nothing before.
func (l *leased) lapses() {
	l.t.Helper()
	for {
		down, err := l.stream.Recv()
		if err != nil {
			if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), ErrLapsed.Error()) {
				l.t.Errorf("the stream ended with %v", err)
			}
			return
		}
		if down.GetPong() == nil {
			l.t.Errorf("a session without a lease says %v", down)
		}
	}
}

// C22: a node stops for longer than a lease. What its distributor sent meanwhile
// has come, pings included, when it wakes: the session ends and reads nothing of it.
func TestLateCommand(t *testing.T) {
	read := make(chan string, 1)
	l := startLeased(t, func(ctx context.Context, open *Open, c *Conn) error {
		b, err := io.ReadAll(c)
		read <- string(b)
		if !errors.Is(context.Cause(ctx), ErrLapsed) {
			t.Errorf("the cause is %v", context.Cause(ctx))
		}
		if c.Answer(0, nil, nil) == nil {
			t.Error("answers without a lease")
		}
		return err
	})
	sent := l.beat()
	l.advance(LeaseTime + 1)
	for range 3 {
		l.ping(sent)
	}
	l.data(sent, "late")
	l.ping(l.beat())
	l.lapses()
	if got := <-read; got != "" {
		t.Errorf("read %q", got)
	}
}

// Of bytes that came in time those are not executed that are read too late.
func TestReadWithoutLease(t *testing.T) {
	first, gate := make(chan struct{}), make(chan struct{})
	l := startLeased(t, func(ctx context.Context, open *Open, c *Conn) error {
		p := make([]byte, 5)
		if _, err := io.ReadFull(c, p); err != nil || string(p) != "first" {
			t.Errorf("read %q, %v", p, err)
		}
		close(first)
		<-gate
		if n, err := c.Read(p); n != 0 || err != io.EOF {
			t.Errorf("read %q, %v", p[:n], err)
		}
		return nil
	})
	l.advance(LeaseTime - 1)
	l.data(l.beat(), "firstsecond")
	<-first
	l.advance(LeaseTime + 1)
	close(gate)
	l.lapses()
}

// A session that is busy keeps its lease by pings alone, however long that is,
// and loses it for good when none comes in time.
func TestCommitStep(t *testing.T) {
	type question struct {
		read   bool // first, so that what the distributor sent before has been handled
		answer chan error
	}
	commit := make(chan question)
	l := startLeased(t, func(ctx context.Context, open *Open, c *Conn) error {
		for q := range commit {
			if q.read {
				io.ReadFull(c, make([]byte, 1))
			}
			q.answer <- c.Leased()
		}
		return ctx.Err()
	})
	ask := func(read bool) error {
		q := question{read, make(chan error)}
		commit <- q
		return <-q.answer
	}
	step := func(held uint64) error {
		l.ping(held)
		l.data(held, "x")
		return ask(true)
	}
	for range 100 {
		l.advance(LeaseTime)
		if err := step(l.beat()); err != nil {
			t.Fatal(err)
		}
		held := l.beat()
		l.advance(LeaseTime) // the age that a message may just have
		if err := step(held); err != nil {
			t.Fatal(err)
		}
	}
	if err := step(l.beat()); err != nil {
		t.Fatal(err)
	}
	l.advance(LeaseTime) // between the execution and the commit, in time
	if err := ask(false); err != nil {
		t.Fatal(err)
	}
	l.advance(1)
	if err := ask(false); err != ErrLapsed {
		t.Errorf("commit without a lease: %v", err)
	}
	l.ping(l.beat())
	if err := ask(false); err != ErrLapsed {
		t.Errorf("commit after the lease had lapsed: %v", err)
	}
	close(commit)
	l.lapses()
}

// An idle session needs no lease until its client speaks again.
func TestIdleSessionHasNoLease(t *testing.T) {
	l := startLeased(t, echo)
	l.advance(24 * time.Hour)
	l.data(l.beat(), "noop")
	down, err := l.stream.Recv()
	if err != nil || string(down.GetAnswer().GetData()) != "noop" {
		t.Errorf("%v, %v", down, err)
	}
}

// Beats of no clock, of another process and of the future hold no session.
func TestForeignBeats(t *testing.T) {
	var h handClock
	c := newClock(h.now)
	h.advance(time.Hour)
	for _, beat := range []uint64{0, 1, c.base - 1, c.beat() + 1, ^uint64(0), newClock(h.now).beat()} {
		if at, ok := c.when(beat); ok {
			t.Errorf("beat %#x is of %v", beat, at)
		}
	}
	if at, ok := c.when(c.beat()); !ok || at != time.Hour {
		t.Errorf("the beat of now is of %v, %v", at, ok)
	}
	node, _ := serve(t, echo)
	stream, err := node.node.Session(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(&Up{Message: &Up_Open{Open: &Open{}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("opened without a beat: %v", err)
	}
}

// Pings are taken while the client takes no output and the stream no pong.
func TestPingsPassOutput(t *testing.T) {
	const rounds = 3
	taken := make(chan struct{}, rounds)
	l := startLeased(t, func(ctx context.Context, open *Open, c *Conn) error {
		const pieces = WindowSize/MaxFrame + 4 // the last one that is sent without waiting, one stays here
		for range pieces {
			if _, err := c.Write(bytes.Repeat([]byte("x"), MaxFrame)); err != nil {
				return err
			}
		}
		for range rounds {
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Errorf("read: %v", err)
			}
			taken <- struct{}{}
		}
		return c.Leased()
	})
	for range rounds {
		l.advance(LeaseTime)
		l.ping(l.beat())
		l.data(l.beat(), "x")
		<-taken
	}
	for {
		if _, err := l.stream.Recv(); err == io.EOF {
			return
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// The distributor's end sends what it last heard of the node's clock, and a
// session of it outlives its lease many times.
func TestBeatsAreSentBack(t *testing.T) {
	node, server := serve(t, func(ctx context.Context, open *Open, c *Conn) error {
		before := c.held.Load()
		busy := time.NewTicker(PingInterval / 10)
		defer busy.Stop()
		for range busy.C {
			if err := c.Leased(); err != nil {
				return err
			}
			if c.held.Load() > before { // by a ping
				return c.Bye()
			}
		}
		return nil
	})
	s := start(t, node, &Open{})
	if recv(t, s).GetBye() == nil {
		t.Error("no bye")
	}
	if at, ok := server.clock.when(node.latest.Load()); !ok || at == 0 {
		t.Errorf("the distributor has a beat of %v, %v", at, ok)
	}
	node.forget()
	if node.latest.Load() != 0 {
		t.Error("a beat is left of a connection that is gone")
	}
}
