package comm

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

var errReplaced = fmt.Errorf("%w: the peer opened another stream", errRefused)

type downStream = grpc.BidiStreamingServer[Up, Down]

// inbound is a stream that a peer opened: its operations come in,
// acknowledgements go back.
type inbound struct {
	g      *Group
	name   string
	origin crdt.Origin
	slot   crdt.Slot
	stream downStream
	logger log.Logger
	life   life
	wake   chan struct{} // there is something to acknowledge

	question  atomic.Uint64 // the last one that the peer asked
	accepted  atomic.Bool   // the peer goes on after the hellos
	announced atomic.Uint64 // last operation of its own that the peer told of
	skew      atomic.Int64  // its clock minus ours when it told, milliseconds

	ops, bytes prometheus.Counter
}

// serve takes the operations of one peer until the stream ends.
func (g *Group) serve(stream downStream, theirs *Hello, name string) error {
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	in := &inbound{
		g:      g,
		name:   name,
		origin: crdt.Origin(theirs.GetOrigin()),
		slot:   crdt.Slot(theirs.GetSlot()),
		stream: stream,
		logger: log.With(g.logger, "peer", name),
		wake:   make(chan struct{}, 1),
		ops:    g.cfg.Metrics.receivedOps.WithLabelValues(g.cfg.Subnet, name),
		bytes:  g.cfg.Metrics.receivedBytes.WithLabelValues(g.cfg.Subnet, name),
	}
	if err := g.welcome(in, theirs, cancel); err != nil {
		g.fenceIfStale(err)
		return statusOf(err)
	}
	defer g.farewell(in)
	g.wg.Go(func() { cancel(in.receive()) })
	g.wg.Go(func() { cancel(in.acknowledge(ctx)) })
	select {
	case <-ctx.Done():
	case <-g.ctx.Done():
		cancel(errClosed)
	}
	err := context.Cause(ctx)
	g.fenceIfStale(err)
	return statusOf(err)
}

func (g *Group) fenceIfStale(err error) {
	var here *staleHere
	if errors.As(err, &here) || errors.Is(err, errEvictedHere) {
		g.fence(err)
	}
}

// welcome answers a hello and makes the stream the one of its peer. A stream
// that was there before is ended: the peer would not have opened another one if
// it still worked. On success farewell must be called.
func (g *Group) welcome(in *inbound, theirs *Hello, cancel context.CancelCauseFunc) error {
	if err := g.open(); err != nil {
		return err
	}
	own, logged := g.hello()
	if err := g.Fault(); err != nil {
		if agree(own, theirs, in.name) == nil { // the caller may know of evictions that nobody here has heard of
			g.fenceIfStale(g.learn(in.name, theirs.GetEvicted()))
		}
		return fmt.Errorf("%w: %q has fenced itself: %w", errRefused, g.cfg.Name, errors.New(g.Fault().Error()))
	}
	known := g.recall(in.name)
	// The peer compares it with what it has by then; here it may be younger than the
	// hello, and says nothing against it. Who dials knows what was told before.
	own.Told, known.told = known.toldBy(in.origin).AppendBinary(nil), nil
	has, err := g.greet(own, theirs, in.name, known)
	if err != nil {
		return g.tell(in, own, known, err)
	}
	own.Tip, own.Standing = g.tipOf(in.origin, logged), g.standing()
	in.announced.Store(has.Get(in.origin))
	in.life.begin(cancel)
	g.mu.Lock()
	if !g.running {
		g.mu.Unlock()
		return errClosed
	}
	if old := g.inbound[in.name]; old != nil {
		(*old.life.cancel.Load())(errReplaced)
	}
	g.inbound[in.name] = in
	delete(g.lost, in.origin)
	g.wg.Add(1)
	g.mu.Unlock()
	if err := in.stream.Send(&Down{Hello: own}); err != nil {
		g.farewell(in)
		return err
	}
	notify(g.senders[in.name].hint)
	return nil
}

// tell lets a peer find out by itself that its data are old, with the number that
// is known of it, which it compares with what it has by then; or that it was
// evicted.
func (g *Group) tell(in *inbound, own *Hello, known memory, err error) error {
	var here *staleHere
	old := errors.Is(err, causal.ErrStale) && !errors.As(err, &here)
	if old || errors.Is(err, ErrEvicted) {
		own.Tip = &Tip{Number: known.of(in.origin)}
		if failed := in.stream.Send(&Down{Hello: own}); failed != nil {
			return failed
		}
	}
	return err
}

// open returns an error unless the group was started and not closed.
func (g *Group) open() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running {
		return errClosed
	}
	return nil
}

func (g *Group) farewell(in *inbound) {
	g.mu.Lock()
	broken := g.inbound[in.name] == in // and not replaced
	if broken {
		delete(g.inbound, in.name)
		if !g.core.HasEvicted(in.origin) { // of those all know that they send nothing any more
			g.lost[in.origin] = struct{}{}
		}
	}
	g.mu.Unlock()
	if broken {
		g.wakeInbound() // the others send what it had under way
	}
	g.roster.heard(in.name, in.origin, in.announced.Load())
	g.wg.Done()
}

// receive takes messages until the stream ends, and returns why.
func (in *inbound) receive() error {
	for {
		up, err := in.stream.Recv()
		if err != nil {
			return fmt.Errorf("stream ended: %w", err)
		}
		in.life.sign()
		if !in.accepted.Load() {
			if err := in.establish(); err != nil {
				return err
			}
		}
		if err := in.take(up); err != nil {
			return err
		}
	}
}

// establish handles the first message after the hellos: the peer has accepted
// this replica, its slot included.
func (in *inbound) establish() error {
	in.accepted.Store(true)
	level.Info(in.logger).Log("msg", "peer connected", "origin", in.origin)
	in.g.checkContact()
	return in.g.confirmedBy(in.name)
}

// take handles one message: bodies go to the disk, operations to the state machine.
func (in *inbound) take(up *Up) error {
	if up.GetHeartbeat() == nil && up.GetQuestion() == 0 {
		in.bytes.Add(float64(proto.Size(up)))
	}
	for _, c := range up.GetChunks() {
		root, data, err := decodeChunk(c, in.g.cfg.MaxMessageSize)
		if err != nil {
			return err
		}
		if err := in.g.store.PutBodyChunk(root, int(c.GetIndex()), data, c.GetLast()); err != nil {
			return fmt.Errorf("store piece %d of body %x: %w", c.GetIndex(), root, err)
		}
	}
	if h := up.GetHeartbeat(); h != nil {
		if err := in.heartbeat(h); err != nil {
			return err
		}
	}
	if n := up.GetQuestion(); n > in.question.Load() {
		in.question.Store(n)
		notify(in.wake)
	}
	ops, err := operations(up)
	if err != nil || len(ops) == 0 {
		return err
	}
	return in.takeOperations(ops)
}

func (in *inbound) takeOperations(ops []*Operation) error {
	entries := make([]Entry, 0, len(ops))
	for _, op := range ops {
		e, err := decodeEntry(op)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	in.ops.Add(float64(len(entries)))
	fresh := false
	var failed error
	in.g.step(func(_ time.Time, m *causal.Machine) {
		for i := range entries {
			isNew, err := m.Receive(entries[i])
			if err != nil {
				failed = err
				return
			}
			fresh = fresh || isNew
		}
	})
	if fresh {
		notify(in.g.applyWake)
	} else {
		notify(in.wake) // repeated ones: tell the peer that they are here
	}
	return stale(failed)
}

func (in *inbound) heartbeat(h *Heartbeat) error {
	logged, err := decodeVC(h.GetLogged())
	if err != nil {
		return err
	}
	in.skew.Store(h.GetUnixMillis() - time.Now().UnixMilli())
	n := logged.Get(in.origin)
	in.announced.Store(max(n, in.announced.Load()))
	in.g.roster.heard(in.name, in.origin, n)
	in.g.heard(in.name, in.origin, logged)
	if clock := crdt.Time(h.GetClock()); clock.Slot() == in.slot {
		in.g.store.Heard(in.origin, clock, logged)
	}
	in.g.elsewhere.heard(h.GetUsed(), time.Now())
	return nil
}

// acknowledge tells the peer what is durable here, whenever that has grown and
// every heartbeat, and what else is to be known of this replica when that changes.
func (in *inbound) acknowledge(ctx context.Context) error {
	beat := time.NewTicker(in.g.cfg.Heartbeat)
	defer beat.Stop()
	var told *Standing
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-in.wake:
		case <-beat.C:
		}
		answer := in.question.Load() // before the vector is read
		logged := in.g.logged()
		ack := &Ack{Logged: logged.AppendBinary(nil), UnixMillis: time.Now().UnixMilli(), Answer: answer}
		if s := in.g.standing(); !proto.Equal(s, told) {
			ack.Standing, told = s, s
		}
		if err := in.stream.Send(&Down{Ack: ack}); err != nil {
			return fmt.Errorf("acknowledge: %w", err)
		}
	}
}
