package tunnel

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Handler runs one session: it refuses it, or answers the login and then the
// client's commands until the client is gone. The context ends when the stream
// breaks, some time after the client left, and when the server is shut down. When Handler returns, the stream
// ends; without a Bye the distributor takes the node for lost. The error
// becomes the stream's status, whose text the distributor logs.
type Handler func(ctx context.Context, open *Open, conn *Conn) error

// Server is a node's end of the tunnels. Whoever registers it has checked that
// the caller is a distributor.
type Server struct {
	UnimplementedNodeServer
	handle Handler
	clock  *clock

	mu       sync.Mutex
	sessions map[*Conn]struct{}
	ended    chan struct{} // closed, and made anew, when a session ends
	closing  bool
	draining chan struct{} // closed: the node wants to be rid of its sessions
	drain    sync.Once
	running  sync.WaitGroup // handlers, receivers and pongs
}

// NewServer returns a Server that runs sessions with h.
func NewServer(h Handler) *Server { return NewServerAt(h, time.Now) }

// NewServerAt is NewServer with another clock, which must be monotonic, for tests.
func NewServerAt(h Handler, now func() time.Time) *Server {
	return &Server{handle: h, clock: newClock(now), draining: make(chan struct{}), ended: make(chan struct{}), sessions: map[*Conn]struct{}{}}
}

// Session implements [NodeServer].
func (s *Server) Session(stream Node_SessionServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	open := first.GetOpen()
	if open == nil {
		return status.Error(codes.InvalidArgument, "the first message is not an Open")
	}
	ctx, cancel := context.WithCancelCause(stream.Context())
	defer cancel(nil)
	conn := newConn(s, stream, cancel)
	conn.renew(first.GetBeat())
	if err := conn.Leased(); err != nil {
		return statusOf(err)
	}
	if !s.begin(conn) {
		return conn.Refuse(Refused_UNAVAILABLE, "the node is shutting down")
	}
	defer s.end(conn)
	defer context.AfterFunc(ctx, conn.Interrupt)()
	s.running.Go(conn.receive) // ends with the stream, that is when this function has returned
	err = s.handle(ctx, open, conn)
	if cause := context.Cause(ctx); errors.Is(cause, ErrProtocol) || errors.Is(cause, ErrLapsed) {
		err = cause
	}
	if err != nil {
		return statusOf(err)
	}
	return nil
}

// statusOf makes an error one that gRPC passes on with a fitting code.
func statusOf(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	switch {
	case errors.Is(err, ErrProtocol):
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, context.Canceled), errors.Is(err, io.EOF):
		return status.Error(codes.Canceled, err.Error())
	}
	return status.Error(codes.Unavailable, err.Error())
}

func (s *Server) begin(c *Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.sessions[c] = struct{}{}
	s.running.Add(1)
	return true
}

func (s *Server) end(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
	close(s.ended)
	s.ended = make(chan struct{})
	s.running.Done()
}

// Sessions returns how many sessions there are.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Drain tells the distributors that the node wants to be rid of its sessions and to
// get no others. They are moved; those that cannot be stay.
func (s *Server) Drain() { s.drain.Do(func() { close(s.draining) }) }

// Draining is closed when Drain has been called.
func (s *Server) Draining() <-chan struct{} { return s.draining }

// Emptied returns when there are no sessions, or ctx ends.
func (s *Server) Emptied(ctx context.Context) error {
	for {
		s.mu.Lock()
		n, ended := len(s.sessions), s.ended
		s.mu.Unlock()
		if n == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Shutdown refuses new sessions and ends those that are open: each after the
// command that it is at, or when ctx ends. It returns when all have ended.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain()
	s.each((*Conn).Leave)
	defer context.AfterFunc(ctx, func() { s.each(func(c *Conn) { c.cancel(context.Canceled) }) })()
	s.running.Wait()
	return ctx.Err()
}

// each closes the server for new sessions and does something to all others.
func (s *Server) each(f func(*Conn)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
	for c := range s.sessions {
		f(c)
	}
}
