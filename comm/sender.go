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
