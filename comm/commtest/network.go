// Package commtest is a network and a disk in memory, to try replication of
// package comm, and what is built on it, in one process.
package commtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/test/bufconn"
)

// Network connects nodes by name and can be cut. It is safe for concurrent use.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	conns     map[*conn]bool
	cut       map[link]bool
	stalled   map[link]chan struct{} // closed when it flows again
}

// link is a direction: what from says to to.
type link struct{ from, to string }

// NewNetwork returns a network without nodes.
func NewNetwork() *Network {
	return &Network{
		listeners: map[string]*listener{},
		conns:     map[*conn]bool{},
		cut:       map[link]bool{},
		stalled:   map[link]chan struct{}{},
	}
}

// Listen opens the address of a node, which is its name.
func (n *Network) Listen(name string) net.Listener {
	l := &listener{network: n, name: name, accept: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[name] = l
	return l
}

// Dialer returns the Dial function of a node.
func (n *Network) Dialer(from string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) { return n.dial(ctx, from, to) }
}

// Caller identifies a caller by the name of its node: a
// comm.ServiceOptions.Identify for this network.
func (n *Network) Caller(ctx context.Context) (string, error) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return "", errors.New("not called over the network")
	}
	return p.Addr.String(), nil
}

// Partition breaks all connections between two nodes and refuses new ones.
func (n *Network) Partition(a, b string) {
	n.mu.Lock()
	n.cut[link{a, b}], n.cut[link{b, a}] = true, true
	n.mu.Unlock()
	n.Break(a, b)
}

// Heal ends what Partition and Stall have done between two nodes.
func (n *Network) Heal(a, b string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range []link{{a, b}, {b, a}} {
		delete(n.cut, l)
		if s := n.stalled[l]; s != nil {
			close(s)
			delete(n.stalled, l)
		}
	}
}

// Break breaks all connections between two nodes, once.
func (n *Network) Break(a, b string) {
	n.mu.Lock()
	var broken []*conn
	for c := range n.conns {
		if c.link == (link{a, b}) || c.link == (link{b, a}) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken {
		c.Close()
	}
}

// Stall keeps what from sends to to under way until Heal: nothing breaks, but
// nothing arrives.
func (n *Network) Stall(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if l := (link{from, to}); n.stalled[l] == nil {
		n.stalled[l] = make(chan struct{})
	}
}

func (n *Network) dial(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	l, cut := n.listeners[to], n.cut[link{from, to}]
	n.mu.Unlock()
	if l == nil || cut {
		return nil, fmt.Errorf("no way from %s to %s", from, to)
	}
	pair := bufconn.Listen(64 << 10)
	defer pair.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		far, _ := pair.Accept() // ends with pair at the latest
		accepted <- far
	}()
	near, err := pair.DialContext(ctx)
	if err != nil {
		return nil, err
	}
	far := <-accepted
	here := n.track(near, link{from, to})
	there := n.track(far, link{to, from})
	select {
	case l.accept <- there:
		return here, nil
	case <-l.closed:
		err = fmt.Errorf("%s does not listen", to)
	case <-ctx.Done():
		err = ctx.Err()
	}
	here.Close()
	there.Close()
	return nil, err
}

func (n *Network) track(inner net.Conn, l link) *conn {
	c := &conn{Conn: inner, network: n, link: l, closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.conns[c] = true
	return c
}

// conn is one end of a connection; link says from which node it writes to which.
type conn struct {
	net.Conn
	network *Network
	link    link
	once    sync.Once
	closed  chan struct{}

	writing sync.Mutex
	held    []byte
}

// stallBuffer is what a stalled connection takes before writers have to wait,
// as the buffers of a kernel do.
const stallBuffer = 64 << 10

// Write keeps what it is given while its direction is stalled.
func (c *conn) Write(b []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	stalled := c.network.stall(c.link)
	if stalled == nil {
		if err := c.flush(); err != nil {
			return 0, err
		}
		return c.Conn.Write(b)
	}
	if len(c.held) == 0 {
		go c.flushAfter(stalled)
	}
	if c.held = append(c.held, b...); len(c.held) > stallBuffer {
		select {
		case <-stalled:
		case <-c.closed:
			return 0, net.ErrClosed
		}
	}
	return len(b), nil
}

func (n *Network) stall(l link) chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.stalled[l]
}

// flush writes what was held; writing is locked.
func (c *conn) flush() error {
	held := c.held
	c.held = nil
	if len(held) == 0 {
		return nil
	}
	_, err := c.Conn.Write(held)
	return err
}

// flushAfter ends when the direction flows again or the connection is closed.
func (c *conn) flushAfter(stalled chan struct{}) {
	select {
	case <-stalled:
		c.writing.Lock()
		defer c.writing.Unlock()
		if c.flush() != nil {
			c.Conn.Close()
		}
	case <-c.closed:
	}
}

func (c *conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.network.mu.Lock()
		delete(c.network.conns, c)
		c.network.mu.Unlock()
	})
	return c.Conn.Close()
}

func (c *conn) RemoteAddr() net.Addr { return address(c.link.to) }
func (c *conn) LocalAddr() net.Addr  { return address(c.link.from) }

type listener struct {
	network *Network
	name    string
	accept  chan net.Conn
	once    sync.Once
	closed  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.accept:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.network.mu.Lock()
		defer l.network.mu.Unlock()
		if l.network.listeners[l.name] == l {
			delete(l.network.listeners, l.name)
		}
	})
	return nil
}

func (l *listener) Addr() net.Addr { return address(l.name) }

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
