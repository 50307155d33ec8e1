package comm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// aheadSilence is for how many PeerTimeouts a peer may take no piece. It is more
// than one: on a thin line a piece takes its time.
const aheadSilence = 4

// maxAheadCalls is how many contents a group takes ahead from peers at once.
const maxAheadCalls = 64

// aheadCall is one content on its way to one peer.
type aheadCall struct {
	s    *sender
	root crdt.Root
	conn *grpc.ClientConn

	mu       sync.Mutex
	sent     int
	taken    int
	changed  chan struct{} // has room for one: taken has changed
	silence  *time.Timer   // runs while pieces are unanswered
	patience time.Duration
}

// sendAhead sends the pieces of a content as they come in, and returns when the
// peer has all of them, or why it will not.
func (s *sender) sendAhead(a *ahead) error {
	select {
	case s.lines <- struct{}{}:
		defer func() { <-s.lines }()
	case <-a.ctx.Done():
		return a.ctx.Err()
	}
	conn := s.conn.Load()
	if conn == nil {
		return errors.New("no stream to the peer")
	}
	ctx, cancel := context.WithCancelCause(a.ctx)
	defer cancel(nil)
	stream, err := NewReceiverClient(conn).Ahead(ctx, grpc.MaxCallRecvMsgSize(1<<10))
	if err != nil {
		return err
	}
	c := &aheadCall{s: s, root: a.root, conn: conn, changed: make(chan struct{}, 1), patience: aheadSilence * s.g.cfg.PeerTimeout}
	c.silence = time.AfterFunc(c.patience, func() { cancel(fmt.Errorf("no piece taken for %v", c.patience)) })
	c.silence.Stop()
	defer c.silence.Stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(c.listen(stream))
	}()
	err = c.send(ctx, a, stream)
	cancel(err)
	<-done
	if err == nil {
		return nil
	}
	return cause(ctx, err)
}

// send sends the pieces and waits until all are taken.
func (c *aheadCall) send(ctx context.Context, a *ahead, stream grpc.BidiStreamingClient[Piece, Taken]) error {
	for i := 0; a.await(i); i++ {
		data, err := c.s.g.store.StagedChunk(c.root, i)
		if err != nil || data == nil {
			return fmt.Errorf("read piece %d of body %x, which comes in: %w", i, c.root, err)
		}
		p := &Piece{Chunk: encodeChunk(c.root, i, false, data)}
		if i == 0 {
			p.Subnet = c.s.g.cfg.Subnet
		}
		c.sending()
		if err := stream.Send(p); err != nil {
			return err
		}
		c.s.sentBytes.Add(float64(len(p.Chunk.Data)))
		if err := c.await(ctx, i+1-maxUnanswered); err != nil {
			return err
		}
	}
	if err := a.ctx.Err(); err != nil {
		return err
	}
	return c.await(ctx, c.sent)
}

// sending notes that a piece is about to be sent.
func (c *aheadCall) sending() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.sent == c.taken {
		c.silence.Reset(c.patience)
	}
	c.sent++
}

// listen takes the peer's answers until the call ends, and returns why.
func (c *aheadCall) listen(stream grpc.BidiStreamingClient[Piece, Taken]) error {
	for {
		t, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := c.answered(int(t.GetPieces())); err != nil {
			return err
		}
	}
}

func (c *aheadCall) answered(pieces int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if pieces <= c.taken || pieces > c.sent {
		return fmt.Errorf("%w: %d pieces taken after %d, sent %d", causal.ErrProtocol, pieces, c.taken, c.sent)
	}
	c.taken = pieces
	c.silence.Reset(c.patience)
	if c.taken == c.sent {
		c.silence.Stop()
	}
	c.s.aheadMu.Lock()
	defer c.s.aheadMu.Unlock()
	if c.s.conn.Load() == c.conn { // else the peer may have lost it
		c.s.remember(c.root, pieces)
	}
	notify(c.changed)
	return nil
}

// await waits until so many pieces are taken.
func (c *aheadCall) await(ctx context.Context, pieces int) error {
	for {
		c.mu.Lock()
		enough := c.taken >= pieces
		c.mu.Unlock()
		if enough {
			return nil
		}
		select {
		case <-c.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Ahead implements ReceiverServer: it takes a content whose operation is to come.
func (s *Service) Ahead(stream grpc.BidiStreamingServer[Piece, Taken]) error {
	name, err := s.options.Identify(stream.Context())
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "caller not identified: %v", err)
	}
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	g, err := s.find(name, first.GetSubnet())
	if err != nil {
		return err
	}
	if err := g.open(); err != nil {
		return statusOf(err)
	}
	select {
	case g.aheadCalls <- struct{}{}:
		defer func() { <-g.aheadCalls }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d contents are coming ahead already", maxAheadCalls)
	}
	err = g.takeAhead(first, stream, name)
	if errors.Is(err, io.EOF) {
		return nil
	}
	return statusOf(err)
}

// takeAhead stores pieces until the caller ends it.
func (g *Group) takeAhead(p *Piece, stream grpc.BidiStreamingServer[Piece, Taken], name string) error {
	received := g.cfg.Metrics.receivedBytes.WithLabelValues(g.cfg.Subnet, name)
	want, err := decodeRoot(p.GetChunk().GetRoot())
	for i := 0; err == nil; i++ {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		if err := g.putPiece(p.GetChunk(), want, i); err != nil {
			return err
		}
		received.Add(float64(len(p.GetChunk().GetData())))
		if err := stream.Send(&Taken{Pieces: uint32(i + 1)}); err != nil {
			return err
		}
		p, err = stream.Recv()
	}
	return err
}

// putPiece stores the piece of a content that is to come next. The last one comes
// with the operation.
func (g *Group) putPiece(c *Chunk, want crdt.Root, index int) error {
	root, data, err := decodeChunk(c, g.cfg.MaxMessageSize)
	if err != nil {
		return err
	}
	if root != want || int(c.GetIndex()) != index || c.GetLast() {
		return fmt.Errorf("%w: piece %d of %x came ahead instead of %d of %x", causal.ErrProtocol, c.GetIndex(), root, index, want)
	}
	if err := g.store.PutBodyChunk(root, index, data, false); err != nil {
		return fmt.Errorf("store piece %d of body %x: %w", index, root, err)
	}
	return nil
}
