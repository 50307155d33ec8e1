package wan

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// lane is one direction of a link, which all its connections share.
type lane struct {
	carried atomic.Int64

	mu      sync.Mutex
	c       Conditions
	changed chan struct{} // closed and replaced when c changes
	free    time.Time     // when the last byte that was let on it has left
}

func (l *lane) set(c Conditions) {
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.c = c
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *lane) now() (Conditions, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.c, l.changed
}

// pass waits until the lane is not cut; false if ctx or done ended before.
func (l *lane) pass(ctx context.Context, done <-chan struct{}) bool {
	for {
		c, changed := l.now()
		if !c.Cut {
			return true
		}
		select {
		case <-changed:
		case <-done:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// book gives n bytes their turn: when they arrive at the far end, and how long
// the sender has to wait before it may send more.
func (l *lane) book(n int) (arrival time.Time, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.c.Rate <= 0 {
		return now.Add(l.c.Delay), 0
	}
	if l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(n) / float64(l.c.Rate) * float64(time.Second)))
	full := time.Duration(float64(l.c.Queue) / float64(l.c.Rate) * float64(time.Second))
	return l.free.Add(l.c.Delay), l.free.Sub(now) - full
}

// parcel is what was read at once. The end of the stream is one without bytes.
type parcel struct {
	data    []byte
	arrival time.Time
}

// run carries bytes until either end closes or the relay is reset.
func (l *lane) run(r *relay, from, to net.Conn) {
	way := make(chan parcel, maxUnderWay/piece)
	var wg sync.WaitGroup
	wg.Go(func() { l.deliver(r, way, to) })
	l.take(r, from, way)
	close(way)
	wg.Wait()
}

// take reads what is sent. The end of the stream travels like everything else.
func (l *lane) take(r *relay, from net.Conn, way chan<- parcel) {
	buf := make([]byte, piece)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			arrival, wait := l.book(n)
			select {
			case way <- parcel{bytes.Clone(buf[:n]), arrival}:
			case <-r.done:
				return
			}
			if wait > 0 && !sleep(wait, r.done) {
				return
			}
		}
		if err != nil {
			arrival, _ := l.book(0)
			select {
			case way <- parcel{arrival: arrival}:
			case <-r.done:
			}
			return
		}
	}
}

// deliver writes what has arrived.
func (l *lane) deliver(r *relay, way <-chan parcel, to net.Conn) {
	for p := range way {
		if !sleep(time.Until(p.arrival), r.done) || !l.pass(r.link.ctx, r.done) {
			return
		}
		if len(p.data) == 0 {
			if t, ok := to.(*net.TCPConn); !ok || t.CloseWrite() != nil {
				r.reset()
			}
			return
		}
		l.carried.Add(int64(len(p.data)))
		if _, err := to.Write(p.data); err != nil {
			r.reset()
			return
		}
	}
}

// sleep waits for d; false if done was closed before.
func sleep(d time.Duration, done <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
