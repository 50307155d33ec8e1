package wan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Conditions are those of one direction of a link. The zero value is a wire
// without delay or limit.
type Conditions struct {
	Delay time.Duration // from one end to the other
	Rate  int64         // bytes a second; 0: no limit
	Queue int           // bytes that may wait for their turn on a limited link; 0: 64 KiB
	Cut   bool          // nothing arrives until it is false again
}

const (
	defaultQueue = 64 << 10
	// maxUnderWay bounds what one direction of a connection holds, in bytes: a
	// sender waits when so much is under way.
	maxUnderWay = 16 << 20
	// piece is how much is read at once.
	piece = 16 << 10
	// kernelBuffer is what the kernel is asked to hold at either end.
	kernelBuffer = 64 << 10
	// dialTime bounds how long the link tries to reach its target.
	dialTime = 5 * time.Second
)

// Direction is one of the two of a link.
type Direction int

// Forward is from who connects to the target, Backward from the target.
const (
	Forward Direction = iota
	Backward
)

// Link carries connections to one address. Safe for concurrent use.
//
// Goroutines: one that accepts, and for each connection one that dials and two
// for each direction. Close waits for all of them.
type Link struct {
	target   string
	listener net.Listener
	ctx      context.Context
	cancel   context.CancelFunc
	wg       sync.WaitGroup

	mu    sync.Mutex
	lanes [2]*lane
	conns map[*relay]struct{}
}

// NewLink listens on an address of this machine ("127.0.0.2:0": any port) and
// carries what connects there to the target, without delay until [Link.Set].
func NewLink(listen, target string) (*Link, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("link to %s: %w", target, err)
	}
	k := &Link{target: target, listener: l, conns: map[*relay]struct{}{}}
	k.ctx, k.cancel = context.WithCancel(context.Background())
	for d := range k.lanes {
		k.lanes[d] = &lane{changed: make(chan struct{})}
	}
	k.wg.Go(k.accept)
	return k, nil
}

// Addr is where to connect to.
func (k *Link) Addr() string { return k.listener.Addr().String() }

// Set changes the conditions of a direction, for open connections too: what is
// under way keeps the delay that it was sent with.
func (k *Link) Set(d Direction, c Conditions) { k.lanes[d].set(c) }

// Conditions returns those of a direction.
func (k *Link) Conditions(d Direction) Conditions {
	c, _ := k.lanes[d].now()
	return c
}

// Carried returns how many bytes went through a direction.
func (k *Link) Carried(d Direction) int64 { return k.lanes[d].carried.Load() }

// Break resets all open connections.
func (k *Link) Break() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for r := range k.conns {
		r.reset()
	}
}

// Close resets all connections, listens no more, and waits for the end.
func (k *Link) Close() {
	k.cancel()
	k.listener.Close()
	k.Break()
	k.wg.Wait()
}

func (k *Link) accept() {
	for {
		c, err := k.listener.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if !pause(k.ctx, 10*time.Millisecond) { // no more files, say
				return
			}
			continue
		}
		k.wg.Go(func() { k.carry(c) })
	}
}

// carry brings one connection to the target.
func (k *Link) carry(near net.Conn) {
	r := &relay{link: k, near: near, done: make(chan struct{})}
	if !k.enter(r) {
		near.Close()
		return
	}
	defer k.leave(r)
	// The handshake of TCP needs both directions.
	for _, l := range k.lanes {
		if !l.pass(k.ctx, r.done) {
			return
		}
	}
	dialer := net.Dialer{Timeout: dialTime}
	far, err := dialer.DialContext(k.ctx, "tcp", k.target)
	if err != nil || !r.join(far) {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { k.lanes[Forward].run(r, near, far) })
	both.Go(func() { k.lanes[Backward].run(r, far, near) })
	both.Wait()
	r.end(false)
}

func (k *Link) enter(r *relay) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ctx.Err() != nil {
		return false
	}
	small(r.near)
	k.conns[r] = struct{}{}
	return true
}

func (k *Link) leave(r *relay) {
	r.reset()
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.conns, r)
}

// relay is a connection and its continuation.
type relay struct {
	link      *Link
	near, far net.Conn
	once      sync.Once
	mu        sync.Mutex
	done      chan struct{} // closed by end
}

// join adds the connection to the target; false if the relay was reset meanwhile.
func (r *relay) join(far net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.done:
		far.Close()
		return false
	default:
	}
	small(far)
	r.far = far
	return true
}

// reset ends the connection so that both ends see it break.
func (r *relay) reset() { r.end(true) }

// end closes both ends; broken says whether they are to see a reset.
func (r *relay) end(broken bool) {
	r.once.Do(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		close(r.done)
		for _, c := range []net.Conn{r.near, r.far} {
			if c == nil {
				continue
			}
			if t, ok := c.(*net.TCPConn); ok && broken {
				t.SetLinger(0)
			}
			c.Close()
		}
	})
}

// small keeps the kernel's buffers small. What the system makes of it is its own
// affair; so errors are of no interest.
func small(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetReadBuffer(kernelBuffer)
		t.SetWriteBuffer(kernelBuffer)
		t.SetNoDelay(true)
	}
}

// pause waits for d; false if ctx ended before.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
