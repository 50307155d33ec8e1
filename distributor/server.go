package distributor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
)

// farewellEvery is how long a shutdown waits from one client that it sends away to the
// next, if it has the time: logging in elsewhere takes some 3 ms of CPU in all.
const farewellEvery = 10 * time.Millisecond

// maxMovers is how many sessions are moved by plan at a time.
const maxMovers = 16

// ErrShutdown is returned by the Serve methods after Shutdown.
var ErrShutdown = errors.New("distributor: shut down")

// Server is a distributor. Its methods may be called concurrently.
type Server struct {
	opts     Options
	log      log.Logger
	metrics  *Metrics
	replicas *replicas
	users    users
	chunks   chunks        // of all sessions' states
	away     atomic.Int64  // sessions that are not at their first replica
	movers   chan struct{} // one for each session that is moved by plan at the moment

	ctx     context.Context // ends when sessions have to
	cancel  context.CancelFunc
	running sync.WaitGroup // connections

	mu        sync.Mutex
	closing   bool
	listeners map[net.Listener]struct{}
	clients   map[*client]struct{}
}

// New returns a Server, which connects to its replicas at once and serves
// clients after Serve or ServeSTARTTLS. Shutdown must be called at the end.
func New(opts Options) (*Server, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	s := &Server{
		opts: opts, log: opts.Logger, metrics: opts.Metrics,
		users:     users{sessions: map[uint32]int{}, most: opts.Limits.MaxConnectionsPerUser},
		listeners: map[net.Listener]struct{}{},
		clients:   map[*client]struct{}{},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.movers = make(chan struct{}, maxMovers)
	s.replicas = newReplicas(s.ctx, opts, s.movingFrom)
	for _, r := range opts.Replicas {
		if _, err := s.replicas.get(r); err != nil {
			return nil, errors.Join(err, s.Shutdown(context.Background()))
		}
	}
	return s, nil
}

// Closing reports whether Shutdown was called.
func (s *Server) Closing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// Up reports of every replica that is known whether it can be reached.
func (s *Server) Up() map[Replica]bool { return s.replicas.up() }

// Serve serves clients that begin with TLS (RFC 8314) until Shutdown, and
// closes the listener.
func (s *Server) Serve(l net.Listener) error { return s.serve(l, "tls") }

// ServeSTARTTLS serves clients that begin in the clear and can do nothing of
// interest before STARTTLS.
func (s *Server) ServeSTARTTLS(l net.Listener) error { return s.serve(l, "starttls") }

func (s *Server) serve(l net.Listener, name string) error {
	defer l.Close()
	if !s.listen(l) {
		return ErrShutdown
	}
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err == nil {
			pause = 0
			s.metrics.accepted.WithLabelValues(name).Inc()
			s.begin(conn, name == "tls")
			continue
		}
		if s.Closing() {
			return ErrShutdown
		}
		if errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("accept clients: %w", err)
		}
		// Such as too many open files: it passes when clients go.
		pause = min(max(2*pause, 5*time.Millisecond), time.Second)
		level.Error(s.log).Log("msg", "cannot accept a client", "err", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-s.ctx.Done():
		}
	}
}

// listen notes a listener for Shutdown.
func (s *Server) listen(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

// begin starts serving a client unless there are too many.
func (s *Server) begin(conn net.Conn, secure bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.clients) >= s.opts.Limits.MaxConnections {
		s.metrics.rejected.WithLabelValues("limit").Inc()
		conn.Close()
		return
	}
	c := newClient(s, conn)
	s.clients[c] = struct{}{}
	s.metrics.connections.Inc()
	s.running.Go(func() { c.serve(secure) })
}

// end closes the connection and forgets the client.
func (s *Server) end(c *client) {
	c.close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
	s.metrics.connections.Dec()
}

// Shutdown closes the listeners and sends the clients away: at once those that are not
// logged in, the others one after the other, those that wait for nothing when it is their
// turn, the rest when they have their answers, or when ctx ends. It returns when all are
// gone, with the error of ctx if some had to be cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	for l := range s.listeners {
		l.Close()
	}
	var clients []*client
	for c := range s.clients {
		if c.relaying() == nil {
			c.drain()
		} else {
			clients = append(clients, c)
		}
	}
	s.mu.Unlock()

	stop := context.AfterFunc(ctx, s.cutOff)
	s.sendAway(ctx, clients)
	s.running.Wait()
	cut := !stop()
	s.cancel()
	s.replicas.close()
	if cut {
		return ctx.Err()
	}
	return nil
}

// sendAway has clients go, evenly until the last one. All at once, they would all log in
// at another distributor at once, and wait there for each other.
func (s *Server) sendAway(ctx context.Context, clients []*client) {
	next, pause := time.Now(), s.opts.farewellEvery
	if end, ok := ctx.Deadline(); ok && len(clients) > 0 {
		pause = min(pause, time.Until(end)/2/time.Duration(len(clients)))
	}
	for _, c := range clients {
		if d := time.Until(next); d > 0 && !wait(ctx, d) {
			return // they are cut off
		}
		if s.has(c) { // it has not gone by itself
			c.drain()
			next = next.Add(pause)
		}
	}
}

func (s *Server) has(c *client) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.clients[c]
	return ok
}

// cutOff ends every connection.
func (s *Server) cutOff() {
	s.cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.clients {
		c.close()
	}
}

// users counts the sessions of each user.
type users struct {
	mu       sync.Mutex
	sessions map[uint32]int
	most     int
}

// enter counts one more unless there are too many.
func (u *users) enter(id uint32) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessions[id] >= u.most {
		return false
	}
	u.sessions[id]++
	return true
}

func (u *users) leave(id uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.sessions[id]--; u.sessions[id] == 0 {
		delete(u.sessions, id)
	}
}
