package distributor

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/go-pluto/pluto/imap/wire"
)

// client is a connection of a mail client. Before login, everything belongs to the
// goroutine that serves it, except what is said to be otherwise; after it, to relay.
type client struct {
	server *Server
	limits *Limits
	log    log.Logger
	remote netip.Addr
	ctx    context.Context
	cancel context.CancelFunc
	raw    *lazyConn
	conn   net.Conn // raw, or TLS on it
	secure bool

	// Before login.
	reader   *wire.Reader
	out      []byte
	loginBy  time.Time
	failures int
	bad      int
	id       clientid.ID // what the client said with ID; List is empty if that is too much to pass on

	// After login.
	writeBy    time.Time   // the write deadline of the relay, which owns it
	compressed atomic.Bool // the client has been told to compress
	deflater   *deflater   // compresses what is written, if not nil; the relay's
	inflater   *inflater   // undoes what the client does; of the goroutine that reads

	mu       sync.Mutex // guards what follows, for drain
	draining bool
	stopped  bool   // nothing is read any more
	relay    *relay // once the client is logged in
}

func newClient(s *Server, conn net.Conn) *client {
	raw := newLazyConn(conn)
	c := &client{server: s, limits: &s.opts.Limits, raw: raw, conn: raw, remote: addrOf(conn.RemoteAddr())}
	c.log = log.With(s.log, "remote", conn.RemoteAddr())
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	return c
}

// addrOf returns the address without the port; of a socket that has none, the zero address.
func addrOf(a net.Addr) netip.Addr {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// close closes the connection; any goroutine may.
func (c *client) close() {
	c.cancel()
	c.raw.Close()
}

// serve begins to serve the client. Whatever becomes of it, end is called in the end.
func (c *client) serve(secure bool) {
	c.loginBy = time.Now().Add(c.limits.LoginTimeout)
	if secure && !c.handshake() {
		c.server.end(c)
		return
	}
	c.begin(nil)
	c.loginDeadline()
	c.line("* OK [CAPABILITY " + c.capabilities() + "] " + c.server.opts.Greeting)
	if c.flush() != nil {
		c.server.end(c)
		return
	}
	c.beforeLogin()
}

// beforeLogin has the client log in, and its session begin.
func (c *client) beforeLogin() {
	session := c.identify()
	if session == nil {
		c.server.end(c)
		return
	}
	c.server.metrics.sessions.Inc()
	r := newRelay(c, session.opened)
	if c.enter(r) {
		c.server.running.Go(r.drain)
	}
	said := append([]byte(nil), c.reader.Unread()...)
	c.reader, c.out = nil, nil
	r.start(said, func(told bool) { c.afterSession(r, session.user, told) })
}

// afterSession goes on when a session has ended: its client may have ended it to log in
// again (RFC 8437).
func (c *client) afterSession(r *relay, user uint32, told bool) {
	c.server.metrics.sessions.Dec()
	c.server.users.leave(user)
	if early, again := r.rest(); again {
		c.restart(early)
		c.server.running.Go(c.beforeLogin)
		return
	}
	if told {
		c.farewell()
	}
	c.server.end(c)
}

// restart begins anew, as after the greeting, with what the client has said
// already (RFC 8437).
func (c *client) restart(early []byte) {
	c.mu.Lock()
	c.relay, c.stopped = nil, false
	c.mu.Unlock()
	c.raw.awaited = false
	c.loginBy = time.Now().Add(c.limits.LoginTimeout)
	c.begin(early)
	c.loginDeadline()
}

// relaying returns the client's relay, nil if it has no session.
func (c *client) relaying() *relay {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.relay
}

// enter makes the client one whose session has begun, and reports whether it is
// to end already.
func (c *client) enter(r *relay) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.relay = r
	return c.draining
}

// handshake begins TLS.
func (c *client) handshake() bool {
	ctx, cancel := context.WithTimeout(c.ctx, c.limits.HandshakeTimeout)
	defer cancel()
	conn := tls.Server(c.raw, c.server.opts.TLS)
	if err := conn.HandshakeContext(ctx); err != nil {
		c.server.metrics.rejected.WithLabelValues("handshake").Inc()
		level.Debug(c.log).Log("msg", "no TLS with client", "err", err)
		return false
	}
	c.conn, c.secure = conn, true
	return true
}

// begin begins to read commands, at the start or again after STARTTLS or a session.
// Nothing is left of what was said before but early, which is still to be read.
func (c *client) begin(early []byte) {
	var from io.Reader = c.conn
	if len(early) > 0 {
		from = io.MultiReader(bytes.NewReader(early), c.conn)
	}
	c.reader = wire.NewReader(from, wire.BeforeLogin)
	c.reader.SetContinue(func() error {
		c.out = append(c.out, "+ OK\r\n"...)
		return c.flush()
	})
	c.id = clientid.ID{}
}

// loginDeadline makes reading and writing end when a login is due.
func (c *client) loginDeadline() {
	c.raw.SetWriteDeadline(c.loginBy) // errors are those of the next Read or Write
	c.readDeadline(c.loginBy)
}

// readDeadline sets until when a Read waits; the zero time is for ever. While the
// server is shutting down, clients that are not logged in are not waited for.
func (c *client) readDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped || c.draining && c.relay == nil {
		t = longAgo
	}
	c.raw.SetReadDeadline(t)
}

// stopReading makes a Read return, now and from now on.
func (c *client) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	c.raw.SetReadDeadline(longAgo)
}

func (c *client) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// drain sends the client away when it waits for nothing. It does not block.
func (c *client) drain() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	if c.relay != nil {
		c.server.running.Go(c.relay.drain)
		return
	}
	c.raw.SetReadDeadline(longAgo)
}

func (c *client) isDraining() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draining
}

// write writes to the client, which has to take it within WriteTimeout. p is not
// longer than a frame, so that the time is one for progress.
func (c *client) write(p []byte) error {
	now := time.Now()
	if c.writeBy.Sub(now) < c.limits.WriteTimeout/2 {
		c.writeBy = now.Add(c.limits.WriteTimeout)
		c.raw.SetWriteDeadline(c.writeBy)
	}
	if c.deflater != nil {
		return c.deflater.write(c.conn, p)
	}
	_, err := c.conn.Write(p)
	return err
}

const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// farewell ends the connection so that what was written arrives: closing it
// while there is unread input would make the client's system throw that away.
func (c *client) farewell() {
	c.raw.SetDeadline(time.Now().Add(lingerTime))
	if conn, ok := c.conn.(*tls.Conn); ok {
		conn.CloseWrite()
	}
	if conn, ok := c.raw.Conn.(interface{ CloseWrite() error }); ok {
		conn.CloseWrite()
	}
	io.CopyN(io.Discard, c.raw.Conn, lingerBytes)
}
