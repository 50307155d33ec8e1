package comm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/crdt"
)

const (
	// maxGiveCalls is how many snapshots and bundles of contents a group sends at once.
	maxGiveCalls = 4
	// accountsPerMessage is how many accounts one message of a list has.
	accountsPerMessage = 10000
	// maxBodiesRequest is how many contents may be asked for in one call.
	maxBodiesRequest = 1024
	// holdTime is for how long the log is kept for a member that says nothing.
	holdTime = 10 * time.Minute
)

// giver is what a group keeps of those who take snapshots of it: for each the
// place behind which the log is kept.
type giver struct {
	snapshots Snapshots // nil: none are given
	pace      pace
	calls     chan struct{}

	mu    sync.Mutex
	holds map[string]*hold
}

type hold struct {
	vector  crdt.VC
	until   time.Time
	release func()
	risen   bool    // the peer has loaded all and is catching up: vector is what it has
	mark    crdt.VC // then: what was here when that was looked at last
}

// keep notes that the log is kept for a peer. It replaces what was kept before.
func (r *giver) keep(name string, v crdt.VC, release func()) {
	r.mu.Lock()
	if r.holds == nil { // it has ended
		r.mu.Unlock()
		release()
		return
	}
	old := r.holds[name]
	r.holds[name] = &hold{vector: v, until: time.Now().Add(holdTime), release: release}
	r.mu.Unlock()
	if old != nil {
		old.release()
	}
}

// renew notes that a peer is still loading.
func (r *giver) renew(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.holds[name]; h != nil {
		h.until = time.Now().Add(holdTime)
	}
}

// dropAll ends all of it.
func (r *giver) dropAll() {
	r.mu.Lock()
	holds := r.holds
	r.holds = nil
	r.mu.Unlock()
	for _, h := range holds {
		h.release()
	}
}

// list describes the holds, by name.
func (r *giver) list() []HoldState {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []HoldState
	for name, h := range r.holds {
		out = append(out, HoldState{name, h.vector, h.until})
	}
	slices.SortFunc(out, func(a, b HoldState) int { return strings.Compare(a.Peer, b.Peer) })
	return out
}

// follow has what is kept of the log follow the peers for which it is kept: behind
// what they have, until they have all but the youngest. It lets go of it when one
// does not come further for holdTime.
func (g *Group) follow() {
	now, logged := time.Now(), g.logged()
	r := &g.giver
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, h := range r.holds {
		g.mu.Lock()
		has := g.core.Has(name)
		g.mu.Unlock()
		switch {
		case now.After(h.until) || h.risen && h.mark.LessEqual(has):
			h.release()
			delete(r.holds, name)
		case h.vector.LessEqual(has) && !(h.risen && has.LessEqual(h.vector)):
			if release, ok := r.snapshots.Hold(has); ok { // always: the old one is there
				h.release()
				*h = hold{vector: has, until: now.Add(holdTime), release: release, risen: true, mark: logged}
			}
		}
	}
}

// taker identifies a caller that wants snapshots or contents: a peer that is
// connected. On success done must be called.
func (s *Service) taker(ctx context.Context, subnet string) (g *Group, name string, done func(), err error) {
	name, err = s.options.Identify(ctx)
	if err != nil {
		return nil, "", nil, status.Errorf(codes.Unauthenticated, "caller not identified: %v", err)
	}
	if g, err = s.find(name, subnet); err != nil {
		return nil, "", nil, err
	}
	if err := g.mayGive(name); err != nil {
		return nil, "", nil, err
	}
	select {
	case g.giver.calls <- struct{}{}:
	default:
		return nil, "", nil, status.Errorf(codes.ResourceExhausted, "%d snapshots are being sent already", maxGiveCalls)
	}
	return g, name, func() { <-g.giver.calls }, nil
}

func (g *Group) mayGive(name string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch in := g.inbound[name]; {
	case !g.running:
		return statusOf(errClosed)
	case g.giver.snapshots == nil:
		return status.Error(codes.Unimplemented, "no snapshots are given here")
	case in == nil || !in.accepted.Load():
		return status.Errorf(codes.Unavailable, "%q has no stream to %q yet", name, g.cfg.Name)
	}
	return nil
}

// Accounts implements ReceiverServer: it lists what there is to load.
func (s *Service) Accounts(req *AccountsRequest, stream grpc.ServerStreamingServer[AccountList]) error {
	g, name, done, err := s.taker(stream.Context(), req.GetSubnet())
	if err != nil {
		return err
	}
	defer done()
	resume, err := decodeVC(req.GetResume())
	if err != nil {
		return statusOf(err)
	}
	if len(resume) > 0 {
		if release, ok := g.giver.snapshots.Hold(resume); ok {
			g.giver.keep(name, resume, release)
			level.Info(g.logger).Log("msg", "a member goes on loading accounts of this one", "peer", name)
			return stream.Send(&AccountList{Vector: resume.AppendBinary(nil), Cut: g.store.Cut().AppendBinary(nil), Resumed: true})
		}
	}
	v, accounts, release, err := g.giver.snapshots.List()
	if err != nil {
		return statusOf(err)
	}
	g.giver.keep(name, v, release)
	level.Info(g.logger).Log("msg", "a member loads the accounts of this one", "peer", name, "accounts", len(accounts))
	if err := stream.Send(&AccountList{Vector: v.AppendBinary(nil), Cut: g.store.Cut().AppendBinary(nil)}); err != nil {
		return err
	}
	for part := range slices.Chunk(accounts, accountsPerMessage) {
		m := &AccountList{}
		for _, id := range part {
			m.Accounts = append(m.Accounts, uint32(id))
		}
		if err := stream.Send(m); err != nil {
			return err
		}
	}
	return nil
}

// Snapshot implements ReceiverServer: it sends one account.
func (s *Service) Snapshot(req *SnapshotRequest, stream grpc.ServerStreamingServer[SnapshotPiece]) error {
	g, name, done, err := s.taker(stream.Context(), req.GetSubnet())
	if err != nil {
		return err
	}
	defer done()
	sent := g.cfg.Metrics.givenBytes.WithLabelValues(g.cfg.Subnet, name)
	err = g.giver.snapshots.Give(crdt.AccountID(req.GetAccount()), func(piece []byte) error {
		g.giver.renew(name)
		if err := g.ctx.Err(); err != nil {
			return errClosed
		}
		p := &SnapshotPiece{Data: piece}
		if packed := pack(piece); packed != nil {
			p.Data, p.Encoding = packed, Chunk_ZSTD
		}
		if err := g.giver.pace.wait(stream.Context(), len(p.Data)); err != nil {
			return err
		}
		sent.Add(float64(len(p.Data)))
		return stream.Send(p)
	})
	if errors.Is(err, ErrNotGiven) {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	return statusOf(err)
}

// Bodies implements ReceiverServer: it sends several contents.
func (s *Service) Bodies(req *BodiesRequest, stream grpc.ServerStreamingServer[Chunks]) error {
	g, name, done, err := s.taker(stream.Context(), req.GetSubnet())
	if err != nil {
		return err
	}
	defer done()
	if n := len(req.GetRoots()); n > maxBodiesRequest {
		return status.Errorf(codes.InvalidArgument, "%d contents wanted in one call, limit %d", n, maxBodiesRequest)
	}
	b := bundle{g: g, name: name, stream: stream, chunks: &Chunks{}}
	for _, r := range req.GetRoots() {
		root, err := decodeRoot(r)
		if err == nil {
			err = b.add(root)
		}
		if err != nil {
			return statusOf(err)
		}
	}
	return b.flush()
}

// bundle is a message of chunks that is being filled.
type bundle struct {
	g      *Group
	name   string
	stream grpc.ServerStreamingServer[Chunks]
	chunks *Chunks
	bytes  int
}

// add puts a content into messages, or what there is of it.
func (b *bundle) add(root crdt.Root) error {
	for i := 0; ; i++ {
		data, last, err := b.g.store.BodyChunk(root, i)
		if err != nil {
			return fmt.Errorf("read piece %d of body %x: %w", i, root, err)
		}
		if data == nil && !last {
			return nil
		}
		if b.bytes > 0 && b.bytes+len(data) > frameBytes {
			if err := b.flush(); err != nil {
				return err
			}
		}
		c := encodeChunk(root, i, last, data)
		b.bytes += len(c.Data) + len(root)
		b.chunks.Chunks = append(b.chunks.Chunks, c)
		if last {
			return nil
		}
	}
}

func (b *bundle) flush() error {
	if len(b.chunks.Chunks) == 0 {
		return nil
	}
	if b.g.ctx.Err() != nil {
		return errClosed
	}
	b.g.giver.renew(b.name)
	if err := b.g.giver.pace.wait(b.stream.Context(), b.bytes); err != nil {
		return err
	}
	b.g.cfg.Metrics.givenBytes.WithLabelValues(b.g.cfg.Subnet, b.name).Add(float64(b.bytes))
	err := b.stream.Send(b.chunks)
	b.chunks, b.bytes = &Chunks{}, 0
	return err
}
