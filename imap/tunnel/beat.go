package tunnel

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
)

// clock is a node's monotonic clock as it is told to distributors, which send
// its beats back: an age computed from them is one of this clock alone, and no
// shorter than the true one, however long a message was under way or lay unread.
type clock struct {
	now   func() time.Time
	start time.Time
	base  uint64 // the beat at start: at random, so that those of another process are not taken for own ones
}

func newClock(now func() time.Time) *clock {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return &clock{now: now, start: now(), base: binary.LittleEndian.Uint64(b[:])>>2 + 1}
}

// elapsed is the time since the start.
func (c *clock) elapsed() time.Duration { return c.now().Sub(c.start) }

// beat returns the beat of this moment.
func (c *clock) beat() uint64 { return c.base + uint64(c.elapsed()) }

// when returns the time of a beat, after the start; false if it is none of this
// clock up to now.
func (c *clock) when(beat uint64) (time.Duration, bool) {
	if beat < c.base || beat-c.base > uint64(c.elapsed()) {
		return 0, false
	}
	return time.Duration(beat - c.base), true
}

// Beats implements [NodeServer]. The stream lasts as long as its connection: also
// those sessions that are at their last command need it.
func (s *Server) Beats(_ *BeatsRequest, stream grpc.ServerStreamingServer[Beat]) error {
	tick := time.NewTicker(BeatInterval)
	defer tick.Stop()
	beat, draining := Beat{}, s.draining
	for {
		beat.Time = s.clock.beat()
		if err := stream.Send(&beat); err != nil {
			return err
		}
		select {
		case <-draining:
			beat.Draining, draining = true, nil
		case <-tick.C:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Client is a distributor's end of the connection to one node: it opens sessions
// there, and knows the node's last beat. Its methods may be called concurrently.
type Client struct {
	node   NodeClient
	latest atomic.Uint64 // beat; 0: none from the present connection
	start  time.Time
	heard  atomic.Int64  // when the last one came, after start
	drains atomic.Bool   // the node wants to be rid of its sessions
	change chan struct{} // capacity 1: there is a first beat again, or drains has changed

	mu    sync.Mutex
	known chan struct{} // closed when there is a beat
}

// NewClient returns a Client on a connection. It opens sessions while Run runs.
func NewClient(conn grpc.ClientConnInterface) *Client {
	return &Client{node: NewNodeClient(conn), known: make(chan struct{}), start: time.Now(), change: make(chan struct{}, 1)}
}

// Run follows the node's clock until ctx ends, whenever the node can be reached.
func (c *Client) Run(ctx context.Context) {
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-pause.C:
		}
		// That there is no connection is seen, and told, by who keeps it up.
		_ = c.follow(ctx)
		c.forget()
		pause.Reset(BeatInterval)
	}
}

// follow takes beats until the stream breaks.
func (c *Client) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := c.node.Beats(ctx, &BeatsRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	var beat Beat
	for {
		if err := stream.RecvMsg(&beat); err != nil {
			return err
		}
		if beat.GetTime() == 0 {
			return fmt.Errorf("%w: beat 0", ErrProtocol)
		}
		c.heard.Store(int64(time.Since(c.start)))
		first := c.latest.Swap(beat.GetTime()) == 0
		if first {
			c.mu.Lock()
			close(c.known)
			c.mu.Unlock()
		}
		if c.drains.Swap(beat.GetDraining()) != beat.GetDraining() || first {
			c.changed()
		}
	}
}

func (c *Client) changed() {
	select {
	case c.change <- struct{}{}:
	default:
	}
}

// Changed receives a value when there is a beat after there was none, when there
// is none any more, or Draining has changed. Several changes are one value.
func (c *Client) Changed() <-chan struct{} { return c.change }

// Silence returns for how long no beat has come; false: the node was not heard of
// since it was connected to.
func (c *Client) Silence() (time.Duration, bool) {
	if c.latest.Load() == 0 {
		return 0, false
	}
	return time.Since(c.start) - time.Duration(c.heard.Load()), true
}

// Draining reports whether the node wants to be rid of its sessions.
func (c *Client) Draining() bool { return c.drains.Load() }

// forget makes the beats of a connection that broke no longer count.
func (c *Client) forget() {
	if c.latest.Swap(0) == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = make(chan struct{})
	c.changed()
}

// await waits until there is a beat.
func (c *Client) await(ctx context.Context) error {
	c.mu.Lock()
	known := c.known
	c.mu.Unlock()
	select {
	case <-known:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
