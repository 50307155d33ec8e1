package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a client's connection as its session on the node sees it. One goroutine
// reads at a time and one writes; the other methods may be called by any.
type Conn struct {
	stream Node_SessionServer
	cancel context.CancelCauseFunc // ends the session's context
	clock  *clock
	held   atomic.Int64 // the last time at which the distributor held the session, on clock
	lapsed atomic.Bool  // the lease was found to be over
	leave  atomic.Bool  // the session is to go on elsewhere
	in     inbox

	running *sync.WaitGroup // the server's
	ponging atomic.Bool     // a pong is on its way

	sending sync.Mutex // one message at a time; owned by writer and receiver
	buf     []byte     // queued by Write, at most MaxFrame, or MaxHeld while whole
	whole   bool       // what is queued stays together
	once    bool       // a part of the answer that was held is sent
	answer  Answer     // reused, as are the others: gRPC keeps no message after Send
	down    Down
}

// ErrProtocol is wrapped by the error of a distributor that does not keep to node.proto.
var ErrProtocol = errors.New("tunnel protocol violated")

// ErrLapsed is the cause of the end of a session whose distributor may have
// opened it elsewhere meanwhile.
var ErrLapsed = errors.New("the lease of the session has lapsed")

func newConn(s *Server, stream Node_SessionServer, cancel context.CancelCauseFunc) *Conn {
	c := &Conn{stream: stream, cancel: cancel, clock: s.clock, running: &s.running}
	c.held.Store(int64(-LeaseTime - 1))
	c.in.wake = make(chan struct{}, 1)
	return c
}

// Leased returns nil while the session may commit: its distributor held it at most
// LeaseTime ago, on the node's monotonic clock. Otherwise the session has
// ended, now and for ever, with ErrLapsed. It does not block.
func (c *Conn) Leased() error {
	if !c.lapsed.Load() && c.clock.elapsed()-time.Duration(c.held.Load()) <= LeaseTime {
		return nil
	}
	if !c.lapsed.Swap(true) {
		c.in.end(true)
		c.cancel(ErrLapsed)
	}
	return ErrLapsed
}

// renew takes note that the distributor held the session when it had that beat.
// It is called by one goroutine.
func (c *Conn) renew(beat uint64) {
	if held, ok := c.clock.when(beat); ok && int64(held) > c.held.Load() {
		c.held.Store(int64(held))
	}
}

// Read returns client bytes. It returns io.EOF when the client is gone, the
// stream has ended, the session's context has, or its lease has lapsed, and
// [os.ErrDeadlineExceeded] at the deadline.
func (c *Conn) Read(p []byte) (int, error) {
	n, window, err := c.in.take(p)
	if n > 0 && c.Leased() != nil {
		return 0, io.EOF
	}
	if window > 0 {
		if err := c.send(&Down{Message: &Down_Window{Window: &Window{Read: window}}}); err != nil {
			return n, err
		}
	}
	return n, err
}

// SetReadDeadline sets until when a Read waits, one under way too; the zero time is for ever.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(t)
	return nil
}

// Interrupt makes Read return io.EOF, now and from now on.
func (c *Conn) Interrupt() { c.in.end(true) }

// Leave is Interrupt for a session that is to go on elsewhere: its Bye says so.
func (c *Conn) Leave() {
	c.leave.Store(true)
	c.Interrupt()
}

// Write queues bytes for the client. When a frame is full it is sent as a
// piece of an answer, which waits while the client does not read.
func (c *Conn) Write(p []byte) (int, error) {
	written := 0
	if c.whole && len(c.buf)+len(p) <= MaxHeld {
		c.buf = append(c.buf, p...)
		return len(p), nil
	}
	if c.once = c.once || c.whole; len(c.buf) > MaxFrame {
		if err := c.sendPartial(c.buf); err != nil {
			return 0, err
		}
		c.buf = c.buf[:0]
	}
	for len(c.buf)+len(p)-written > MaxFrame {
		frame := p[written:]
		if len(c.buf) > 0 {
			n := MaxFrame - len(c.buf)
			c.queue(frame[:n])
			frame, written = c.buf, written+n
		} else {
			frame = frame[:MaxFrame]
			written += MaxFrame
		}
		if err := c.sendPartial(frame); err != nil {
			return written, err
		}
		c.buf = c.buf[:0]
	}
	c.queue(p[written:])
	return len(p), nil
}

func (c *Conn) sendPartial(data []byte) error {
	return c.send(&Down{Message: &Down_Partial{Partial: &Partial{Data: data, Once: c.once}}})
}

// Hold keeps what is queued and what follows together until the next Answer, up to
// MaxHeld bytes. A longer answer is sent in pieces of which the distributor knows
// that no other node can send the rest.
func (c *Conn) Hold() { c.whole = true }

// frames are buffers of MaxFrame bytes for answers that are not small.
var frames = sync.Pool{New: func() any { return new([MaxFrame]byte) }}

const smallAnswer = 1 << 10 // what a session keeps a buffer for

func (c *Conn) queue(p []byte) {
	if len(c.buf)+len(p) > smallAnswer && cap(c.buf) < MaxFrame {
		c.buf = append(frames.Get().(*[MaxFrame]byte)[:0], c.buf...)
	}
	c.buf = append(c.buf, p...)
}

// emptied forgets what was queued, after it was sent.
func (c *Conn) emptied() {
	c.whole, c.once = false, false
	if cap(c.buf) < MaxFrame {
		c.buf = c.buf[:0]
		return
	}
	if cap(c.buf) == MaxFrame {
		frames.Put((*[MaxFrame]byte)(c.buf[:MaxFrame]))
	}
	c.buf = nil
}

// Answer sends what is queued as the end of one or more responses: the client's
// first consumed bytes are done with, and state and vector are what another
// replica needs to go on. An empty state is that of the Answer before.
func (c *Conn) Answer(consumed uint64, state, vector []byte) error {
	return c.sendAnswer(consumed, state, vector, false)
}

// Attach adds to the next Answer the names of the chunks that its state refers to
// and the data of those that the distributor does not have (node.proto).
func (c *Conn) Attach(names []byte, data [][]byte) {
	if c.answer.Checkpoint == nil {
		c.answer.Checkpoint = new(Checkpoint)
	}
	c.answer.Checkpoint.Chunks, c.answer.Checkpoint.Data = names, data
}

// Continue sends what is queued inside a command, whose client is to go on after
// its first read bytes.
func (c *Conn) Continue(consumed, read uint64, state, vector []byte) error {
	c.answer.Read = read
	defer func() { c.answer.Read = 0 }()
	return c.sendAnswer(consumed, state, vector, true)
}

// Compress is an Answer after which everything is compressed, in both directions.
func (c *Conn) Compress(consumed uint64, state, vector []byte) error {
	c.answer.Compress = true
	defer func() { c.answer.Compress = false }()
	return c.sendAnswer(consumed, state, vector, false)
}

// Unauthenticate is an Answer, the last of the session: the distributor keeps the
// connection and what the client sent beyond consumed. Reading ends.
func (c *Conn) Unauthenticate(consumed uint64) error {
	c.answer.Unauthenticate = true
	defer func() { c.answer.Unauthenticate = false }()
	err := c.sendAnswer(consumed, nil, nil, false)
	c.Interrupt()
	return err
}

func (c *Conn) sendAnswer(consumed uint64, state, vector []byte, continuation bool) error {
	c.answer.Data, c.answer.Continuation = c.buf, continuation
	if c.answer.Checkpoint == nil {
		c.answer.Checkpoint = new(Checkpoint)
	}
	if c.down.Message == nil {
		c.down.Message = &Down_Answer{Answer: &c.answer}
	}
	p := c.answer.Checkpoint
	p.Consumed, p.State, p.Vector = consumed, state, vector
	err := c.send(&c.down)
	c.answer.Data, p.State, p.Vector, p.Chunks, p.Data = nil, nil, nil, nil, nil
	c.emptied()
	return err
}

// Bye sends what is queued as the last of the session; the client is to be
// disconnected. Reading ends too. If nothing is queued and the node wants to be
// rid of the session, it is the session's distributor that is told: it goes on elsewhere.
func (c *Conn) Bye() error {
	if c.leave.Load() && len(c.buf) == 0 {
		err := c.send(&Down{Message: &Down_Leave{Leave: &Leave{}}})
		c.Interrupt()
		return err
	}
	err := c.send(&Down{Message: &Down_Bye{Bye: &Bye{Data: c.buf}}})
	c.emptied()
	c.Interrupt()
	return err
}

// Refuse says, before anything else was sent, that the session is not opened
// here. The text is for the distributor's log.
func (c *Conn) Refuse(reason Refused_Reason, text string) error {
	return c.send(&Down{Message: &Down_Refused{Refused: &Refused{Reason: reason, Text: text}}})
}

// Moved refuses the session because the account lives in another subnet.
func (c *Conn) Moved(subnet string) error {
	return c.send(&Down{Message: &Down_Refused{Refused: &Refused{Reason: Refused_MOVED, Subnet: subnet, Text: "the account has moved to " + subnet}}})
}

func (c *Conn) send(m *Down) error {
	c.sending.Lock()
	defer c.sending.Unlock()
	if c.lapsed.Load() {
		return fmt.Errorf("send to distributor: %w", ErrLapsed)
	}
	if err := c.stream.Send(m); err != nil {
		return fmt.Errorf("send to distributor: %w", err)
	}
	return nil
}

// receive takes messages off the stream until the client or the stream is gone.
// It never waits for the session. The session's context ends with the
// stream; when only the client left, after CloseGrace.
func (c *Conn) receive() {
	var up Up
	for {
		err := c.stream.RecvMsg(&up)
		if err == nil {
			c.renew(up.GetBeat())
			err = c.take(&up)
		}
		switch {
		case err == nil:
		case errors.Is(err, errClosed):
			c.in.end(false)
			c.awaitEnd()
			return
		default:
			c.in.end(true)
			c.cancel(err)
			return
		}
	}
}

var errClosed = errors.New("client is gone")

// take handles one message. It returns errClosed when the client is gone.
func (c *Conn) take(up *Up) error {
	switch m := up.Message.(type) {
	case *Up_Data:
		if err := c.Leased(); err != nil { // the command is late
			return err
		}
		return c.in.put(m.Data)
	case *Up_Ping:
		c.pong(m.Ping.GetNumber())
		return nil
	case *Up_Close:
		return errClosed
	}
	return fmt.Errorf("%w: unexpected message %T", ErrProtocol, up.Message)
}

// pong answers a ping, unless something else is being sent just now, which is a
// sign of life too. It does not wait, although sending does while the client
// takes nothing: the next ping must not wait for that.
func (c *Conn) pong(number uint64) {
	if c.ponging.Swap(true) {
		return
	}
	c.running.Go(func() {
		defer c.ponging.Store(false)
		if !c.sending.TryLock() {
			return
		}
		defer c.sending.Unlock()
		// An error is that of the stream, which receive finds too.
		_ = c.stream.Send(&Down{Message: &Down_Pong{Pong: &Pong{Number: number}}})
	})
}

// awaitEnd lets a session whose client left finish its command.
func (c *Conn) awaitEnd() {
	grace := time.AfterFunc(CloseGrace, func() { c.cancel(errClosed) })
	defer grace.Stop()
	<-c.stream.Context().Done()
	c.cancel(errClosed)
}
