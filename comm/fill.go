package comm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/grpc"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

const (
	// fillStep is how many contents are asked for at once.
	fillStep = 256
	// fillRetry is when those that nobody in reach had are asked for again.
	fillRetry = 30 * time.Second
)

// fillState is what the last attempt to get missing contents has come to.
type fillState struct {
	again time.Time // the next attempt; zero: at once
	met   uint64    // the group's, when it began: who came since was not asked
}

// fill gets contents that messages refer to and that are not here, as after a
// load: snapshots do not carry them. It reports whether it got any and should be
// called again. Sessions that want one meanwhile pull it ([Group.PullBody]).
func (g *Group) fill() (again bool) {
	due, err := g.fillDue()
	if err != nil || !due {
		return false
	}
	g.filling = fillState{met: g.met.Load()}
	missing, got, failed, err := g.fillAll()
	if g.ctx.Err() != nil {
		return false
	}
	g.load.update(func(l *LoadStatus) { l.Missing = missing })
	switch {
	case err != nil:
		level.Warn(g.logger).Log("msg", "get missing contents", "err", err)
	case missing > 0:
		if got == 0 {
			level.Warn(g.logger).Log("msg", "contents are missing here, and nobody in reach has them", "contents", missing)
		}
	default:
		if got > 0 {
			level.Info(g.logger).Log("msg", "all contents are here", "got", got)
		}
		err = g.roster.note(fillKey, false)
		if err != nil {
			level.Warn(g.logger).Log("msg", "remember that no content is missing", "err", err)
		}
		return got > 0
	}
	g.filling.again = time.Now().Add(fillRetry)
	if failed { // they did not say that they do not have them
		g.filling.again = time.Now().Add(g.cfg.MaxBackoff)
	}
	return got > 0 && missing > 0
}

// fillDue reports whether contents may be missing, somebody is there to ask, and
// the last attempt is long enough ago.
func (g *Group) fillDue() (bool, error) {
	if g.load.snapshots == nil || g.filling.met == g.met.Load() && time.Now().Before(g.filling.again) {
		return false, nil
	}
	due, err := g.roster.noted(fillKey)
	if err != nil || !due {
		return false, err
	}
	for _, s := range g.senders {
		if s.conn.Load() != nil {
			return true, nil
		}
	}
	return false, nil
}

// fillAll goes once through all contents. It returns how many are missing still,
// how many came, and whether a peer could not be asked.
func (g *Group) fillAll() (missing, got int, failed bool, err error) {
	for behind := (crdt.Root{}); g.ctx.Err() == nil; {
		roots, err := g.load.snapshots.Missing(behind, fillStep)
		if err != nil || len(roots) == 0 {
			return missing, got, failed, err
		}
		behind = roots[len(roots)-1]
		left, unasked := g.fillSome(roots)
		failed = failed || unasked
		missing, got = missing+left, got+len(roots)-left
		g.load.update(func(l *LoadStatus) { l.Missing = missing })
	}
	return missing, got, failed, g.ctx.Err()
}

// fillSome asks peers for contents, those with a stream one after the other. It
// returns how many did not come, and whether one that has a stream gave no answer.
func (g *Group) fillSome(roots []crdt.Root) (missing int, failed bool) {
	for _, s := range g.byNearness() {
		if len(roots) == 0 || s.conn.Load() == nil {
			break
		}
		left, err := s.bodies(roots)
		if err != nil {
			level.Debug(s.logger).Log("msg", "contents not got", "err", err)
			failed = true
		}
		roots = left
	}
	return len(roots), failed
}

// bodies gets contents from one peer, and returns those that did not come.
func (s *sender) bodies(roots []crdt.Root) (left []crdt.Root, err error) {
	ctx, c, done, err := s.call()
	if err != nil {
		return roots, err
	}
	defer done()
	req := &BodiesRequest{Subnet: s.g.cfg.Subnet}
	wanted := make(map[crdt.Root]uint32, len(roots)) // the piece that is to come next
	for i := range roots {
		req.Roots = append(req.Roots, roots[i][:])
		wanted[roots[i]] = 0
	}
	err = s.takeBodies(ctx, c, req, wanted)
	for _, root := range roots {
		if _, ok := wanted[root]; ok {
			left = append(left, root)
		}
	}
	return left, err
}

// takeBodies stores what comes, and deletes from wanted what is complete.
func (s *sender) takeBodies(ctx context.Context, c takerCall, req *BodiesRequest, wanted map[crdt.Root]uint32) error {
	stream, err := c.client.Bodies(ctx, req, grpc.MaxCallRecvMsgSize(2*MaxChunk+2*frameBytes))
	if err != nil {
		return cause(ctx, err)
	}
	for {
		m, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return cause(ctx, err)
		}
		for _, chunk := range m.GetChunks() {
			if err := s.takeChunk(chunk, wanted); err != nil {
				return err
			}
		}
		c.heard()
	}
}

func (s *sender) takeChunk(c *Chunk, wanted map[crdt.Root]uint32) error {
	root, data, err := decodeChunk(c, s.g.cfg.MaxMessageSize)
	if err != nil {
		return err
	}
	next, ok := wanted[root]
	if !ok || next != c.GetIndex() {
		return fmt.Errorf("%w: piece %d of %x is not the one that is to come", causal.ErrProtocol, c.GetIndex(), root)
	}
	if err := s.g.store.PutBodyChunk(root, int(next), data, c.GetLast()); err != nil {
		return err
	}
	s.cameLoaded(len(c.GetData()))
	if wanted[root] = next + 1; c.GetLast() {
		delete(wanted, root)
		s.pulled.Inc()
	}
	return nil
}
