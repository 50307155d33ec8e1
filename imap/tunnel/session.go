package tunnel

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// ErrStalled is the cause of the end of a session whose node gave no sign of
// life for StallTimeout.
var ErrStalled = errors.New("node gives no sign of life")

// Session is a client's session as its distributor sees it. One goroutine sends
// and one receives.
type Session struct {
	client *Client
	stream Node_SessionClient
	ctx    context.Context
	cancel context.CancelCauseFunc

	sending sync.Mutex // one message at a time; of Send, Close and the pings
	up      Up         // reused: gRPC keeps no message after Send
	data    Up_Data
	closed  bool
	grace   *time.Timer // after Close
	number  uint64      // of the last ping

	room  chan struct{} // the window has moved
	read  atomic.Uint64 // client bytes that the node has read, from base on
	base  uint64        // where in the client's stream the session goes on here
	frame frame         // reused, as is down
	down  Down

	lease lease
}

// Start opens a session on the node: it sends open and waits for nothing, but for
// the first beat of a new connection. The session ends with ctx, and cancel, which ends
// ctx, is called when the session has ended or could not be opened.
func (c *Client) Start(ctx context.Context, cancel context.CancelCauseFunc, open *Open) (*Session, error) {
	stream, err := c.node.Session(ctx, grpc.ForceCodecV2(sessionCodec))
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("open session: %w", err)
	}
	s := &Session{client: c, stream: stream, ctx: ctx, cancel: cancel, room: make(chan struct{}, 1)}
	s.base = open.GetCheckpoint().GetConsumed()
	s.lease.init(s, s.base)
	if err := c.await(ctx); err != nil {
		s.Abort()
		return nil, fmt.Errorf("open session: %w", err)
	}
	if err := s.send(&Up{Message: &Up_Open{Open: open}}); err != nil {
		err = s.why(err)
		s.Abort()
		return nil, fmt.Errorf("open session: %w", err)
	}
	s.lease.sent(0)
	return s, nil
}

// send sends one message, with the node's last beat. s.sending is held, or the
// session is not in use yet.
func (s *Session) send(m *Up) error {
	m.Beat = s.client.latest.Load()
	return s.stream.Send(m)
}

// Send passes client bytes on. It waits while WindowSize bytes are under way. p is
// the caller's again afterwards. An error means that the session has ended;
// Recv says why.
func (s *Session) Send(p []byte) error {
	for len(p) > 0 {
		n, err := s.awaitRoom(min(len(p), MaxFrame))
		if err != nil {
			return err
		}
		s.data.Data = p[:n]
		s.up.Message = &s.data
		s.lease.sent(n) // before it can be answered
		s.sending.Lock()
		err = s.send(&s.up)
		s.sending.Unlock()
		s.data.Data = nil
		if err != nil {
			return s.why(err)
		}
		p = p[n:]
	}
	return nil
}

// Stands says that the last bytes sent, n of them, stand for so many of the client.
func (s *Session) Stands(n, client uint64) {
	s.lease.skip(client - n)
	s.base += client - n
}

// awaitRoom returns how many of n bytes may be sent, when it is more than none.
func (s *Session) awaitRoom(n int) (int, error) {
	for {
		if room := WindowSize - int(s.lease.bytes()-s.base-s.read.Load()); room > 0 {
			return min(n, room), nil
		}
		select {
		case <-s.room:
		case <-s.ctx.Done():
			return 0, s.why(context.Cause(s.ctx))
		}
	}
}

// Recv waits for an Answer, a Partial, a Bye, a Leave or a Refused. The message is valid
// until the next call. io.EOF is the clean end of the stream, which a Bye has
// preceded or not; other errors say that the stream broke.
func (s *Session) Recv() (*Down, error) {
	s.lease.receiving(true)
	defer s.lease.receiving(false)
	for {
		if err := s.receive(); err != nil {
			return nil, s.broken(err)
		}
		switch m := s.down.Message.(type) {
		case *Down_Window:
			if err := s.moveWindow(m.Window.GetRead()); err != nil {
				return nil, err
			}
		case *Down_Pong:
		case *Down_Answer:
			s.lease.answered(m.Answer.GetCheckpoint().GetConsumed(), m.Answer.GetContinuation())
			return &s.down, nil
		case *Down_Partial, *Down_Bye, *Down_Refused, *Down_Leave:
			return &s.down, nil
		default:
			return nil, errUnexpected
		}
		s.lease.receiving(true)
	}
}

// broken ends the session because of an error of its stream, and returns that.
func (s *Session) broken(err error) error {
	err = s.why(err)
	s.cancel(err)
	return err
}

// receive waits for the next message. Nothing of the one before is kept meanwhile.
func (s *Session) receive() error {
	s.down.Message = nil
	if err := s.stream.RecvMsg(&s.frame); err != nil {
		return err
	}
	err := decodeDown(s.frame.ReadOnlyData(), &s.down)
	s.frame.Free()
	s.frame.Buffer = nil
	return err
}

// errUnexpected is a message that is none of those that a node sends.
var errUnexpected = fmt.Errorf("%w: unexpected message", ErrProtocol)

func (s *Session) moveWindow(read uint64) error {
	if read > s.lease.bytes()-s.base || read < s.read.Load() {
		return fmt.Errorf("%w: window of bytes that were not sent", ErrProtocol)
	}
	s.read.Store(read)
	select {
	case s.room <- struct{}{}:
	default:
	}
	return nil
}

// Close tells the node that the client is gone. Recv goes on until the node has
// ended the session, at most CloseGrace and a little more.
func (s *Session) Close() {
	s.lease.stop()
	s.sending.Lock()
	defer s.sending.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	// Errors are those of the stream, which Recv returns.
	if s.send(&Up{Message: &Up_Close{Close: &Close{}}}) == nil {
		s.stream.CloseSend()
	}
	s.grace = time.AfterFunc(CloseGrace+PingInterval, func() { s.cancel(nil) })
}

// Context ends with the session; its cause says why it did.
func (s *Session) Context() context.Context { return s.ctx }

// Abort ends the session at once. Every session must be ended so, whatever
// happened before.
func (s *Session) Abort() {
	s.lease.stop()
	s.cancel(nil)
	s.sending.Lock()
	defer s.sending.Unlock()
	s.closed = true
	if s.grace != nil {
		s.grace.Stop()
	}
}

// why returns the reason that the session was ended for, where there is a
// better one than err.
func (s *Session) why(err error) error {
	if errors.Is(context.Cause(s.ctx), ErrStalled) {
		return ErrStalled
	}
	if err == io.EOF {
		return err
	}
	return fmt.Errorf("session stream: %w", err)
}

// ping sends a ping, unless something else is being sent just now.
func (s *Session) ping() {
	if !s.sending.TryLock() {
		return
	}
	defer s.sending.Unlock()
	if s.closed {
		return
	}
	s.number++
	s.send(&Up{Message: &Up_Ping{Ping: &Ping{Number: s.number}}}) // Recv returns the error
}
