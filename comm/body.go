package comm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// ErrNoBody is returned by [Group.PullBody] when no member that can be reached
// has the content.
var ErrNoBody = errors.New("no other member has the message's content")

const (
	// maxBodyCalls is how many contents a group sends to others at once.
	maxBodyCalls = 16
	// maxPulls is how many it gets at once.
	maxPulls = 8
)

// Body implements ReceiverServer: it sends a content to a peer that lacks it.
func (s *Service) Body(req *BodyRequest, stream grpc.ServerStreamingServer[Chunk]) error {
	name, err := s.options.Identify(stream.Context())
	if err != nil {
		return status.Errorf(codes.Unauthenticated, "caller not identified: %v", err)
	}
	g, err := s.find(name, req.GetSubnet())
	if err != nil {
		return err
	}
	root, err := decodeRoot(req.GetRoot())
	if err != nil {
		return statusOf(err)
	}
	if err := g.open(); err != nil {
		return statusOf(err)
	}
	select {
	case g.bodyCalls <- struct{}{}:
		defer func() { <-g.bodyCalls }()
	default:
		return status.Errorf(codes.ResourceExhausted, "%d contents are being sent already", maxBodyCalls)
	}
	return g.sendBody(root, stream)
}

// sendBody sends a content. A caller that stops reading can hold it up until the
// connection ends; so Close does not wait for it.
func (g *Group) sendBody(root crdt.Root, stream grpc.ServerStreamingServer[Chunk]) error {
	for i := 0; ; i++ {
		if err := errors.Join(stream.Context().Err(), g.ctx.Err()); err != nil {
			return status.FromContextError(err).Err()
		}
		data, last, err := g.store.BodyChunk(root, i)
		if err != nil {
			return status.Errorf(codes.Internal, "read piece %d of body %x: %v", i, root, err)
		}
		if data == nil && !last {
			return status.Errorf(codes.NotFound, "piece %d of body %x is not here", i, root)
		}
		if err := stream.Send(encodeChunk(root, i, last, data)); err != nil {
			return err
		}
		if last {
			return nil
		}
	}
}

// PullBody gets a content that is missing on this disk from any member that has
// it, those that are connected first, and stores it. It returns when that is done,
// with ErrNoBody when nobody has it, or with ctx's error.
func (g *Group) PullBody(ctx context.Context, root crdt.Root) error {
	if err := g.enter(); err != nil {
		return err
	}
	defer g.wg.Done()
	select {
	case g.pulls <- struct{}{}:
		defer func() { <-g.pulls }()
	case <-ctx.Done():
		return fmt.Errorf("pull body %x: %w", root, ctx.Err())
	case <-g.ctx.Done():
		return errClosed
	}
	err := ErrNoBody
	for _, s := range g.byNearness() {
		e := s.pull(ctx, root)
		if e == nil {
			s.pulled.Inc()
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("pull body %x: %w", root, ctx.Err())
		}
		level.Debug(s.logger).Log("msg", "body not pulled", "body", fmt.Sprintf("%x", root), "err", e)
		err = fmt.Errorf("%w; %s: %w", err, s.member.Name, e)
	}
	return fmt.Errorf("pull body %x: %w", root, err)
}

// byNearness returns the senders, those with a stream first.
func (g *Group) byNearness() []*sender {
	var near, far []*sender
	for _, p := range g.cfg.Peers {
		s := g.senders[p.Name]
		if s.conn.Load() != nil {
			near = append(near, s)
		} else {
			far = append(far, s)
		}
	}
	return append(near, far...)
}

// pull gets a content from one peer. It gives up when nothing comes for
// PeerTimeout.
func (s *sender) pull(ctx context.Context, root crdt.Root) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.g.ctx, func() { cancel(errClosed) })()
	silence := time.AfterFunc(s.g.cfg.PeerTimeout, func() {
		cancel(fmt.Errorf("nothing came for %v", s.g.cfg.PeerTimeout))
	})
	defer silence.Stop()
	conn := s.conn.Load()
	if conn == nil {
		var hangUp func()
		var err error
		if conn, hangUp, err = s.dial(); err != nil {
			return err
		}
		defer hangUp()
	}
	stream, err := NewReceiverClient(conn).Body(ctx, &BodyRequest{Subnet: s.g.cfg.Subnet, Root: root[:]},
		grpc.MaxCallRecvMsgSize(2*MaxChunk))
	if err != nil {
		return cause(ctx, err)
	}
	for i := uint32(0); ; i++ {
		c, err := stream.Recv()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = fmt.Errorf("%w: content ended after %d pieces", causal.ErrProtocol, i)
			}
			return cause(ctx, err)
		}
		silence.Reset(s.g.cfg.PeerTimeout)
		if err := s.putPulled(c, root, i); err != nil {
			return err
		}
		if c.GetLast() {
			return nil
		}
	}
}

// putPulled stores the piece of a content that is to come next.
func (s *sender) putPulled(c *Chunk, want crdt.Root, index uint32) error {
	root, data, err := decodeChunk(c, s.g.cfg.MaxMessageSize)
	if err != nil {
		return err
	}
	if root != want || c.GetIndex() != index {
		return fmt.Errorf("%w: piece %d of %x came instead of %d of %x", causal.ErrProtocol, c.GetIndex(), root, index, want)
	}
	return s.g.store.PutBodyChunk(root, int(index), data, c.GetLast())
}
