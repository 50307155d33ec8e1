package comm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	grpcbackoff "google.golang.org/grpc/backoff"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// sender keeps a stream to one peer and sends operations and bodies on it.
type sender struct {
	g      *Group
	member Member
	logger log.Logger
	wake   chan struct{} // there may be something to send
	hint   chan struct{} // the peer was heard: try to connect now
	life   life
	trying atomic.Pointer[string]          // why there is no stream; nil while there is one
	asked  atomic.Uint64                   // the last question that the peer is to be asked (Barrier)
	up     bool                            // there is a stream, under g.mu
	mute   atomic.Bool                     // it left a question unanswered
	used   announcer                       // of run
	conn   atomic.Pointer[grpc.ClientConn] // that of the stream; nil while there is none
	lines  chan struct{}                   // one for each content that is being sent ahead

	aheadMu sync.Mutex
	taken   map[crdt.Root]int // pieces of contents that went ahead by the present connection

	sentOps, sentBytes, reconnects, missing, pulled prometheus.Counter
	connected, lagOps, lagSeconds                   prometheus.Gauge
}

func newSender(g *Group, p Member) *sender {
	m := g.cfg.Metrics
	s := &sender{
		g:          g,
		member:     p,
		logger:     log.With(g.logger, "peer", p.Name, "addr", p.Addr),
		wake:       make(chan struct{}, 1),
		hint:       make(chan struct{}, 1),
		lines:      make(chan struct{}, aheadLines),
		taken:      make(map[crdt.Root]int),
		sentOps:    m.sentOps.WithLabelValues(g.cfg.Subnet, p.Name),
		sentBytes:  m.sentBytes.WithLabelValues(g.cfg.Subnet, p.Name),
		reconnects: m.reconnects.WithLabelValues(g.cfg.Subnet, p.Name),
		missing:    m.missingBodies.WithLabelValues(g.cfg.Subnet, p.Name),
		pulled:     m.pulledBodies.WithLabelValues(g.cfg.Subnet, p.Name),
		connected:  m.connected.WithLabelValues(g.cfg.Subnet, p.Name),
		lagOps:     m.lagOperations.WithLabelValues(g.cfg.Subnet, p.Name),
		lagSeconds: m.lagSeconds.WithLabelValues(g.cfg.Subnet, p.Name),
	}
	s.explain("not tried yet")
	return s
}

func (s *sender) explain(why string) { s.trying.Store(&why) }

// run connects again and again until the group is closed.
func (s *sender) run() {
	pause := newBackoff(s.g.cfg.MaxBackoff)
	logged := ""
	for first := true; ; first = false {
		if !first {
			s.reconnects.Inc()
		}
		began := time.Now()
		err := s.session()
		if s.g.ctx.Err() != nil {
			return
		}
		s.g.fenceIfStale(err)
		s.explain(err.Error())
		// What goes on failing in the same way is said once.
		lvl := level.Warn
		if err.Error() == logged {
			lvl = level.Debug
		}
		lvl(s.logger).Log("msg", "no stream to peer; trying again", "err", err)
		logged = err.Error()
		if time.Since(began) > 2*s.g.cfg.MaxBackoff {
			pause.reset()
			logged = ""
		}
		if !pause.wait(s.g.ctx, s.hint) {
			return
		}
	}
}

// session dials, shakes hands and sends until the stream breaks. It always
// returns an error that says why it ended.
func (s *sender) session() error {
	ctx, cancel := context.WithCancelCause(s.g.ctx)
	defer cancel(nil)
	conn, hangUp, err := s.dial()
	if err != nil {
		return err
	}
	defer hangUp()
	known := s.g.recall(s.member.Name)
	stream, theirs, err := s.open(ctx, cancel, conn)
	if err != nil {
		return cause(ctx, err)
	}
	if err := s.connect(theirs, known); err != nil {
		return err
	}
	defer s.disconnect()
	s.conn.Store(conn)
	s.g.met.Add(1)
	defer s.conn.Store(nil)
	s.g.wakeLoader()
	s.life.begin(cancel)
	defer s.life.end()

	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(s.readAcks(stream, crdt.Origin(theirs.GetOrigin())))
	}()
	err = s.send(ctx, stream)
	if !errors.Is(err, io.EOF) { // then the reader knows why
		cancel(err)
	}
	<-done
	return cause(ctx, err)
}

// cause prefers the reason why a context was cancelled to what came of it.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil && !errors.Is(c, context.Canceled) {
		return c
	}
	return err
}

// dial makes a connection for one session, and returns how to end it. gRPC's own
// reconnecting is not used: its attempts would hide why they fail.
func (s *sender) dial() (*grpc.ClientConn, func(), error) {
	creds, err := s.g.cfg.Credentials(s.member.Name)
	if err != nil {
		return nil, nil, fmt.Errorf("credentials: %w", err)
	}
	var raw atomic.Pointer[net.Conn]
	conn, err := grpc.NewClient("passthrough:///"+s.member.Addr,
		grpc.WithTransportCredentials(creds),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			c, err := s.g.cfg.Dial(ctx, addr)
			if err == nil {
				raw.Store(&c)
			}
			return c, err
		}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: grpcbackoff.DefaultConfig, MinConnectTimeout: s.g.cfg.PeerTimeout}),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxVector*4), grpc.MaxCallSendMsgSize(maxFrame)),
	)
	if err != nil {
		return nil, nil, fmt.Errorf("dial: %w", err)
	}
	// gRPC's Close waits some seconds to say goodbye to a peer that does not
	// read; a closed connection spares that.
	return conn, func() {
		if c := raw.Load(); c != nil {
			(*c).Close()
		}
		conn.Close()
	}, nil
}

type upStream = grpc.BidiStreamingClient[Up, Down]

// open opens the stream and exchanges hellos, within handshakeTimeout.
func (s *sender) open(ctx context.Context, cancel context.CancelCauseFunc, conn *grpc.ClientConn) (upStream, *Hello, error) {
	timer := time.AfterFunc(handshakeTimeout, func() { cancel(fmt.Errorf("no hello within %v", handshakeTimeout)) })
	defer timer.Stop()
	stream, err := NewReceiverClient(conn).Replicate(ctx)
	if err != nil {
		return nil, nil, err
	}
	own, _ := s.g.hello()
	// An error of Send is io.EOF; Recv says what it was.
	_ = stream.Send(&Up{Hello: own})
	down, err := stream.Recv()
	if err != nil {
		return nil, nil, err
	}
	if down.GetHello() == nil {
		return nil, nil, fmt.Errorf("%w: the first message of %q was no hello", causal.ErrProtocol, s.member.Name)
	}
	return stream, down.GetHello(), nil
}

// connect checks the peer's hello and tells the state machine. known is what was
// known of the peer before it was called.
func (s *sender) connect(theirs *Hello, known memory) error {
	own, _ := s.g.hello()
	logged, err := s.g.greet(own, theirs, s.member.Name, known)
	if err != nil {
		return err
	}
	if err := s.g.compareTip(s.member.Name, theirs.GetTip()); err != nil {
		return err
	}
	if err := s.g.confirmedBy(s.member.Name); err != nil {
		return err
	}
	s.g.step(func(now time.Time, m *causal.Machine) {
		err = m.Connected(now, s.member.Name, crdt.Origin(theirs.GetOrigin()), logged)
		s.up = err == nil
	})
	if err != nil {
		return stale(err)
	}
	if err := s.g.stands(s.member.Name, theirs.GetStanding()); err != nil {
		return err
	}
	s.g.checkContact()
	s.trying.Store(nil)
	s.connected.Set(1)
	level.Info(s.logger).Log("msg", "connected to peer", "origin", crdt.Origin(theirs.GetOrigin()), "slot", theirs.GetSlot(),
		"has", logged.Get(s.g.origin))
	return nil
}

func (s *sender) disconnect() {
	s.connected.Set(0)
	s.g.step(func(_ time.Time, m *causal.Machine) {
		m.Lost(s.member.Name)
		s.up = false
	})
	s.g.answered(s.member.Name, math.MaxUint64, nil) // nobody waits for it any more
	s.used = announcer{}
	s.forget()
}

// readAcks takes acknowledgements of a peer's incarnation until the stream ends,
// and returns why.
func (s *sender) readAcks(stream upStream, origin crdt.Origin) error {
	for {
		down, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("stream ended: %w", err)
		}
		s.life.sign()
		if down.GetAck() == nil {
			continue
		}
		logged, err := decodeVC(down.GetAck().GetLogged())
		if err != nil {
			return err
		}
		applied, err := appliedOf(down.GetAck(), logged)
		if err != nil {
			return err
		}
		s.g.heard(s.member.Name, origin, applied)
		if err := s.g.stands(s.member.Name, down.GetAck().GetStanding()); err != nil {
			return err
		}
		more := false
		s.g.step(func(now time.Time, m *causal.Machine) {
			err = m.Acked(now, s.member.Name, logged)
			more = m.Pending(s.member.Name)
		})
		if err != nil {
			return stale(err)
		}
		if more {
			notify(s.wake)
		}
		s.g.answered(s.member.Name, down.GetAck().GetAnswer(), logged)
	}
}

// line is the stream to a peer with what is said on it beside operations.
type line struct {
	s      *sender
	stream upStream
	beat   <-chan time.Time
	asked  uint64 // the last question
}

// send sends what there is until the stream breaks. The first heartbeat tells
// the peer that its hello was accepted.
func (s *sender) send(ctx context.Context, stream upStream) error {
	beat := time.NewTicker(s.g.cfg.Heartbeat)
	defer beat.Stop()
	l := &line{s: s, stream: stream, beat: beat.C}
	if err := s.heartbeat(stream); err != nil {
		return err
	}
	for {
		if err := l.speak(); err != nil {
			return err
		}
		var next causal.Read
		var more bool
		s.g.step(func(_ time.Time, m *causal.Machine) { next, more = m.Next(s.member.Name) })
		if more {
			if err := s.sendRange(ctx, l, next); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-beat.C:
			if err := s.heartbeat(stream); err != nil {
				return err
			}
		case <-s.wake:
		}
	}
}

// speak sends what must not wait behind operations and contents: a question, and
// the heartbeat if it is time.
func (l *line) speak() error {
	if n := l.s.asked.Load(); n > l.asked {
		l.asked = n
		if err := l.stream.Send(&Up{Question: n}); err != nil {
			return err
		}
	}
	select {
	case <-l.stream.Context().Done():
		return l.stream.Context().Err()
	case <-l.beat:
		return l.s.heartbeat(l.stream)
	default:
		return nil
	}
}

func (s *sender) heartbeat(stream upStream) error {
	logged := s.g.logged()
	return stream.Send(&Up{Heartbeat: &Heartbeat{
		UnixMillis: time.Now().UnixMilli(),
		Logged:     logged.AppendBinary(nil),
		Clock:      uint64(s.g.store.Clock()), // read after logged
		Used:       s.used.tell(s.g.sessions.list(), time.Now()),
	}})
}

// sendRange reads operations from the log and sends them.
func (s *sender) sendRange(ctx context.Context, l *line, r causal.Read) error {
	list, err := s.g.tail.read(r.Origin, r.From, r.To, r.Bytes)
	if cut := s.g.store.Cut(); (err != nil || len(list) == 0) && cut.Get(r.Origin) >= r.From {
		// The log was cut since: the peer has it by another way, or will.
		s.g.step(func(_ time.Time, m *causal.Machine) { m.SetCut(cut) })
		return nil
	}
	if err != nil {
		return fmt.Errorf("read operations of %s from %d: %w", r.Origin, r.From, err)
	}
	if len(list) == 0 || list[0].Dot != (crdt.Dot{Origin: r.Origin, N: r.From}) {
		return fmt.Errorf("operation %d of %s is not in the log, which should go to %d", r.From, r.Origin, r.To)
	}
	s.g.step(func(_ time.Time, m *causal.Machine) { list = m.Sending(s.member.Name, list) })
	f := frame{s: s, line: l, up: &Up{}}
	for i := range list {
		if err := f.add(ctx, &list[i]); err != nil {
			return err
		}
	}
	return f.flush()
}

// frame is a message that is being filled.
type frame struct {
	s     *sender
	line  *line
	up    *Up
	bytes int
}

// add puts an operation into the message, after the bodies that it brings, and
// sends the message when it is full.
func (f *frame) add(ctx context.Context, e *Entry) error {
	if len(e.Data) > MaxOperation {
		return fmt.Errorf("operation %d of %s has %d bytes, limit %d: it cannot be sent", e.Dot.N, e.Dot.Origin, len(e.Data), MaxOperation)
	}
	for _, root := range e.Bodies {
		if err := f.addBody(ctx, root); err != nil {
			return err
		}
	}
	if err := f.reserve(e.Size()); err != nil {
		return err
	}
	f.up.Operations = append(f.up.Operations, encodeEntry(e))
	return nil
}

// addBody adds the pieces of a content, but for those that went ahead.
func (f *frame) addBody(ctx context.Context, root crdt.Root) error {
	for i := f.s.takeAhead(root); ; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, last, err := f.s.g.store.BodyChunk(root, i)
		if err != nil {
			return fmt.Errorf("read piece %d of body %x: %w", i, root, err)
		}
		if data == nil && !last {
			// Gone since: the operation goes without it, and whoever finds
			// that the content is needed pulls it from somebody who has it.
			f.s.missing.Inc()
			level.Warn(f.s.logger).Log("msg", "body of an operation is not on this disk", "body", fmt.Sprintf("%x", root), "piece", i)
			return nil
		}
		if err := f.reserve(len(data) + len(root)); err != nil {
			return err
		}
		f.up.Chunks = append(f.up.Chunks, encodeChunk(root, i, last, data))
		if last {
			return nil
		}
	}
}

// reserve makes room for n bytes.
func (f *frame) reserve(n int) error {
	if f.bytes > 0 && f.bytes+n > frameBytes {
		if err := f.flush(); err != nil {
			return err
		}
	}
	f.bytes += n
	return nil
}

// flush sends the message, if there is something in it.
func (f *frame) flush() error {
	if len(f.up.Chunks) == 0 && len(f.up.Operations) == 0 {
		return nil
	}
	operations := len(f.up.Operations)
	if err := packOperations(f.up); err != nil {
		return err
	}
	if err := f.line.stream.Send(f.up); err != nil {
		return err
	}
	f.s.sentOps.Add(float64(operations))
	f.s.sentBytes.Add(float64(proto.Size(f.up)))
	f.up, f.bytes = &Up{}, 0
	return f.line.speak()
}
