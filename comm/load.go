package comm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

const (
	// reportEvery is how often the log says how far a load has come.
	reportEvery = 10 * time.Second
	// maxAccounts bounds a list of accounts.
	maxAccounts = 1 << 24
)

// loader is how far a load has come, for whoever asks. Only loadLoop writes.
type loader struct {
	snapshots Snapshots // nil: none are loaded
	wake      chan struct{}

	refusals map[crdt.AccountID]int // how often nobody gave one; loadLoop's
	retry    time.Time              // when those that were left out are asked for again; loadLoop's
	asked    uint64                 // the group's met, when they were asked for last; loadLoop's

	mu     sync.Mutex
	under  bool // accounts are being loaded
	status LoadStatus
}

// LoadStatus says how far a replica has come that takes what no log has any more
// from a peer.
type LoadStatus struct {
	From     string // the peer, "" while nobody gives
	Accounts int    // to be loaded
	Loaded   int    // of them
	Bytes    int64  // of snapshots and contents that came, since the start
	Missing  int    // contents that are referred to and not here, as far as is known
	LeftOut  int    // accounts that no member in reach gives
	Error    string // why it does not go on
}

// String says it in a sentence.
func (s LoadStatus) String() string {
	text := fmt.Sprintf("loading accounts, %d of %d are here", s.Loaded, s.Accounts)
	if s.From != "" {
		text += ", from " + s.From
	}
	if s.Error != "" {
		text += ": " + s.Error
	}
	return text
}

func (l *loader) active() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.under
}

func (l *loader) update(f func(*LoadStatus)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f(&l.status)
}

// state returns the status, and whether accounts are being loaded.
func (l *loader) state() (LoadStatus, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.status, l.under
}

func (l *loader) set(under bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under = under
}

// resumeLoad finds out at the start whether an earlier life was loading.
func (g *Group) resumeLoad() error {
	if g.load.snapshots == nil {
		return nil
	}
	p, under, err := g.load.snapshots.Progress()
	if err != nil || !under {
		return err
	}
	rec, err := g.roster.load(loadKey)
	if err != nil {
		return err
	}
	g.core.Loading(rec.GetName())
	g.load.set(true)
	g.load.update(func(s *LoadStatus) { s.Loaded, s.Accounts = p.Loaded, p.Loaded+len(p.Staged)+len(p.Left) })
	return nil
}

// loadLoop loads accounts when this replica is behind the logs of all peers in
// reach, and gets the contents that are missing after that.
func (g *Group) loadLoop() {
	pause := newBackoff(g.cfg.MaxBackoff)
	for {
		var name string
		var ok bool
		g.step(func(now time.Time, m *causal.Machine) { name, ok = m.Load(now) })
		switch {
		case ok && g.load.snapshots != nil:
			if g.loadFrom(name) {
				pause.reset()
				continue
			}
		case g.fill(), g.loadLeft():
			pause.reset()
			continue
		default:
			select {
			case <-g.load.wake:
				continue
			case <-g.ctx.Done():
				return
			}
		}
		if !pause.wait(g.ctx, nil) {
			return
		}
	}
}

// wakeLoader has loadLoop look again: at every heartbeat and when a peer is there.
func (g *Group) wakeLoader() { notify(g.load.wake) }

// loadFrom loads all accounts from a peer. It reports whether that is done; if not,
// what is loaded stays so.
func (g *Group) loadFrom(name string) bool {
	s := g.senders[name]
	began := time.Now()
	g.step(func(_ time.Time, m *causal.Machine) { m.Loading(name) })
	g.load.set(true)
	g.load.update(func(l *LoadStatus) { l.From, l.Error = name, "" })
	g.wakeInbound() // peers are told
	err := g.loadAll(s)
	if g.ctx.Err() != nil {
		return false
	}
	if err != nil {
		if status.Code(err) != codes.Unavailable { // that is for its being out of reach
			g.step(func(_ time.Time, m *causal.Machine) { m.LoadFailed(name) })
		}
		g.load.update(func(l *LoadStatus) { l.From, l.Error = "", err.Error() })
		g.cfg.Metrics.loadFailures.WithLabelValues(g.cfg.Subnet).Inc()
		level.Warn(s.logger).Log("msg", "accounts are not all loaded; trying again", "err", err)
		return false
	}
	g.load.set(false)
	v, cut := g.store.Logged(), g.store.Cut()
	g.step(func(now time.Time, m *causal.Machine) {
		m.Loaded(now, v, cut)
		g.passBarriers()
	})
	g.noteJoined()
	g.wakeSenders()
	g.wakeInbound()
	notify(g.applyWake)
	state, _ := g.load.state()
	level.Info(s.logger).Log("msg", "all accounts are loaded", "accounts", state.Accounts, "bytes", state.Bytes, "took", time.Since(began).Round(time.Millisecond))
	return true
}

// loadAll does the load, from where it is.
func (g *Group) loadAll(s *sender) error {
	err := errors.Join(g.roster.note(fillKey, true), g.roster.put(loadKey, &Record{Name: s.member.Name}))
	if err != nil {
		return err
	}
	p, under, err := g.load.snapshots.Progress()
	if err != nil {
		return err
	}
	for _, id := range p.Staged {
		if err := g.merge(id); err != nil {
			return err
		}
	}
	if err := g.list(s, p.Vector, under); err != nil {
		return fmt.Errorf("list accounts: %w", err)
	}
	if p, _, err = g.load.snapshots.Progress(); err != nil {
		return err
	}
	g.load.update(func(l *LoadStatus) { l.Accounts, l.Loaded = p.Loaded+len(p.Left), p.Loaded })
	level.Info(s.logger).Log("msg", "loading accounts that are no longer in the log", "accounts", len(p.Left), "loaded_before", p.Loaded)
	var refused []crdt.AccountID
	var why error
	reported := time.Now()
	for _, id := range p.Left {
		err := g.loadAccount(s, id)
		if status.Code(err) == codes.FailedPrecondition { // it keeps no other account waiting
			refused, why = append(refused, id), fmt.Errorf("account %d: %w", id, err)
			continue
		}
		if err != nil {
			return fmt.Errorf("account %d: %w", id, err)
		}
		g.load.update(func(l *LoadStatus) { l.Loaded++ })
		if time.Since(reported) >= reportEvery {
			reported = time.Now()
			state, _ := g.load.state()
			level.Info(s.logger).Log("msg", "loading accounts", "loaded", state.Loaded, "of", state.Accounts, "bytes", state.Bytes)
		}
	}
	if err := g.giveUp(refused, why); err != nil {
		return err
	}
	return g.load.snapshots.Finish(refused)
}

// list asks a peer for its accounts. If a load is under way and the peer's log
// still reaches back to where that began, what it lists is good.
func (g *Group) list(s *sender, resume crdt.VC, under bool) error {
	ctx, c, done, err := s.call()
	if err != nil {
		return err
	}
	defer done()
	req := &AccountsRequest{Subnet: g.cfg.Subnet}
	if under {
		req.Resume = resume.AppendBinary(nil)
	}
	stream, err := c.client.Accounts(ctx, req)
	if err != nil {
		return cause(ctx, err)
	}
	first, err := stream.Recv()
	if err != nil {
		return cause(ctx, err)
	}
	v, err := decodeVC(first.GetVector())
	if err != nil {
		return err
	}
	cut, err := decodeVC(first.GetCut())
	if err != nil {
		return err
	}
	if under && first.GetResumed() {
		return nil
	}
	var accounts []crdt.AccountID
	for {
		c.heard()
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return g.load.snapshots.Begin(v, cut, accounts)
		}
		if err != nil {
			return cause(ctx, err)
		}
		if len(accounts)+len(part.GetAccounts()) > maxAccounts {
			return fmt.Errorf("%w: more than %d accounts", causal.ErrProtocol, maxAccounts)
		}
		for _, id := range part.GetAccounts() {
			accounts = append(accounts, crdt.AccountID(id))
		}
	}
}

// loadAccount gets one account, and merges it: from s, or if that has none to give
// from another peer.
func (g *Group) loadAccount(s *sender, id crdt.AccountID) error {
	err := s.fetch(id)
	for _, other := range g.byNearness() {
		if status.Code(err) != codes.FailedPrecondition || other == s {
			continue
		}
		if e := other.fetch(id); e == nil {
			err = nil
		}
	}
	if err != nil {
		return err
	}
	return g.merge(id)
}

func (g *Group) merge(id crdt.AccountID) error {
	if err := g.load.snapshots.Merge(g.ctx, id); err != nil {
		return fmt.Errorf("merge account %d: %w", id, err)
	}
	return nil
}

// fetch gets the pieces of one account.
func (s *sender) fetch(id crdt.AccountID) error {
	ctx, c, done, err := s.call()
	if err != nil {
		return err
	}
	defer done()
	next, err := s.pieces(ctx, c, id)
	if err != nil {
		return err
	}
	for {
		data, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.g.load.snapshots.Feed(data); err != nil {
			return err
		}
	}
}

// pieces asks for the snapshot of an account and returns what receives its pieces;
// io.EOF behind the last one.
func (s *sender) pieces(ctx context.Context, c takerCall, id crdt.AccountID) (next func() ([]byte, error), err error) {
	stream, err := c.client.Snapshot(ctx, &SnapshotRequest{Subnet: s.g.cfg.Subnet, Account: uint32(id)},
		grpc.MaxCallRecvMsgSize(MaxPiece+1024))
	if err != nil {
		return nil, cause(ctx, err)
	}
	return func() ([]byte, error) {
		c.heard() // what was done with the last piece is not silence
		piece, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil, io.EOF
		}
		if err != nil {
			return nil, cause(ctx, err)
		}
		data := piece.GetData()
		s.cameLoaded(len(data))
		if piece.GetEncoding() == Chunk_ZSTD {
			return unpack(data, MaxPiece)
		}
		return data, nil
	}, nil
}

// cameLoaded counts bytes of snapshots and contents.
func (s *sender) cameLoaded(n int) {
	s.g.cfg.Metrics.loadedBytes.WithLabelValues(s.g.cfg.Subnet).Add(float64(n))
	s.g.load.update(func(l *LoadStatus) { l.Bytes += int64(n) })
}

// takerCall is a call to a peer that gives; it ends when nothing comes for
// PeerTimeout after heard was called last.
type takerCall struct {
	client ReceiverClient
	heard  func()
}

// call prepares a call on the connection of the stream to the peer.
func (s *sender) call() (context.Context, takerCall, func(), error) {
	conn := s.conn.Load()
	if conn == nil {
		return nil, takerCall{}, nil, fmt.Errorf("no stream to %s", s.member.Name)
	}
	ctx, cancel := context.WithCancelCause(s.g.ctx)
	limit := giveTimeout + s.g.cfg.PeerTimeout
	silence := time.AfterFunc(limit, func() { cancel(fmt.Errorf("nothing came for %v", limit)) })
	done := func() {
		silence.Stop()
		cancel(nil)
	}
	return ctx, takerCall{NewReceiverClient(conn), func() { silence.Reset(limit) }}, done, nil
}

// giveTimeout is how long a peer that works may take, beyond PeerTimeout, to send
// something: it may list many accounts, or be asked to go slowly.
const giveTimeout = 30 * time.Second
