package comm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// Group is one replica's part in the replication of one subnet. Its methods may
// be called concurrently.
//
// Goroutines: one per peer that sends (sender.run, with one that reads
// acknowledgements while connected), two per stream that a peer opened
// (inbound), one or two for each content and peer while it is sent ahead, one that
// applies (applyLoop), one that loads snapshots (loadLoop), one that raises
// the epoch (epochLoop) and one for time (clockLoop). Close waits for all of them, and for calls of PullBody. The state machine is guarded by mu, under which
// nothing waits and nothing is read or written.
type Group struct {
	cfg     Config
	store   Store
	logger  log.Logger
	origin  crdt.Origin
	slot    crdt.Slot
	roster  *roster
	tail    *tail
	senders map[string]*sender

	mu       sync.Mutex
	core     *causal.Machine
	timed    bool // clockLoop knows of a deadline
	inbound  map[string]*inbound
	lost     map[crdt.Origin]struct{} // whose inbound stream broke and is not back
	running  bool
	barriers map[*barrier]struct{}
	question uint64
	aheads   map[crdt.Root]*ahead
	applied  error // why the last batch could not be applied; nil if it was
	fresh    bool  // the replica had not joined when this life began
	joined   bool  // it has joined, and the store knows
	noted    bool  // that is noted, or being noted

	epochWake chan struct{}

	contact contact
	giver   giver
	load    loader
	filling fillState     // loadLoop's
	met     atomic.Uint64 // how often a stream to a peer came up

	stable, expendable crdt.VC // as the store was told last; clockLoop's

	sessions  sessions  // of clients, here
	elsewhere elsewhere // and at peers

	satisfied atomic.Uint64 // last own operation that enough peers have
	fault     atomic.Pointer[error]

	bodyCalls  chan struct{} // one for each content that is sent to a peer on request
	pulls      chan struct{} // one for each that is pulled
	aheadCalls chan struct{} // one for each that comes ahead

	applyWake chan struct{}
	timeWake  chan struct{}
	confirmed chan struct{}
	confirm   sync.Once

	ctx    context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup

	appliedOps, applyErrors, shortfalls prometheus.Counter
	batchSize, ackWait, aheadWait       prometheus.Observer
	queueOps, queueBytes                prometheus.Gauge
	fenced, isolating                   prometheus.Gauge
}

// NewGroup makes a group over a replica's disk. It does nothing before Start.
func NewGroup(store Store, cfg Config) (*Group, error) {
	cfg.setDefaults()
	if err := cfg.validate(store.Slot()); err != nil {
		return nil, fmt.Errorf("subnet %q: %w", cfg.Subnet, err)
	}
	roster, err := newRoster(store, cfg)
	if err != nil {
		return nil, fmt.Errorf("subnet %q: %w", cfg.Subnet, err)
	}
	var names []string
	for _, p := range cfg.Peers {
		names = append(names, p.Name)
	}
	logged := store.Logged()
	fresh, err := isNew(logged, store, roster)
	if err != nil {
		return nil, fmt.Errorf("subnet %q: %w", cfg.Subnet, err)
	}
	core := causal.New(causal.Config{
		Self:         store.Origin(),
		Peers:        names,
		Window:       cfg.Window,
		ForwardDelay: cfg.ForwardDelay,
		LoadDelay:    cfg.LoadDelay,
		New:          fresh && !cfg.Bootstrap && len(cfg.Peers) > 0, // else there is nothing to catch up with
		AckPeers:     cfg.AckPeers,
		AckTimeout:   cfg.AckTimeout,
	}, logged, time.Now())
	core.SetCut(store.Cut())
	for _, e := range roster.evictions() {
		core.Evicted(e.GetName(), crdt.Origin(e.GetOrigin()))
	}
	if err := recallStability(core, roster); err != nil {
		return nil, fmt.Errorf("subnet %q: %w", cfg.Subnet, err)
	}
	g := &Group{
		cfg:        cfg,
		store:      store,
		logger:     log.With(cfg.Logger, "subnet", cfg.Subnet),
		origin:     store.Origin(),
		slot:       store.Slot(),
		roster:     roster,
		tail:       newTail(store, cfg.TailCache),
		senders:    make(map[string]*sender),
		core:       core,
		fresh:      fresh,
		joined:     !fresh,
		inbound:    make(map[string]*inbound),
		lost:       make(map[crdt.Origin]struct{}),
		barriers:   make(map[*barrier]struct{}),
		bodyCalls:  make(chan struct{}, maxBodyCalls),
		pulls:      make(chan struct{}, maxPulls),
		aheads:     make(map[crdt.Root]*ahead),
		aheadCalls: make(chan struct{}, maxAheadCalls),
		applyWake:  make(chan struct{}, 1),
		timeWake:   make(chan struct{}, 1),
		confirmed:  make(chan struct{}),
		giver: giver{
			snapshots: cfg.Snapshots, pace: pace{rate: cfg.GiveRate},
			calls: make(chan struct{}, maxGiveCalls), holds: make(map[string]*hold),
		},
		epochWake: make(chan struct{}, 1),
		load:      loader{snapshots: cfg.Snapshots, wake: make(chan struct{}, 1)},
	}
	for _, p := range cfg.Peers {
		g.senders[p.Name] = newSender(g, p)
	}
	notify(g.epochWake) // what an earlier life did not do
	if err := errors.Join(g.resumeLoad(), g.resumeContact()); err != nil {
		return nil, fmt.Errorf("subnet %q: %w", cfg.Subnet, err)
	}
	g.measure()
	if core.Own() > 0 || cfg.Bootstrap || len(cfg.Peers) == 0 || roster.confirmed() {
		g.confirm.Do(func() { close(g.confirmed) })
	}
	return g, nil
}

func (g *Group) measure() {
	m, subnet := g.cfg.Metrics, g.cfg.Subnet
	g.appliedOps = m.appliedOps.WithLabelValues(subnet)
	g.applyErrors = m.applyErrors.WithLabelValues(subnet)
	g.shortfalls = m.shortfalls.WithLabelValues(subnet)
	g.batchSize = m.batchSize.WithLabelValues(subnet)
	g.ackWait = m.ackWait.WithLabelValues(subnet)
	g.aheadWait = m.aheadWait.WithLabelValues(subnet)
	g.queueOps = m.queueOps.WithLabelValues(subnet)
	g.queueBytes = m.queueBytes.WithLabelValues(subnet)
	g.fenced = m.fenced.WithLabelValues(subnet)
	g.isolating = m.isolated.WithLabelValues(subnet)
}

// Start begins to replicate, until ctx ends or Close is called. It does not
// wait for any peer. It may be called once.
func (g *Group) Start(ctx context.Context) {
	g.checkContact() // before anybody can write
	g.noteJoined()
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ctx != nil {
		return
	}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	g.running = true
	g.wg.Go(g.applyLoop)
	g.wg.Go(g.clockLoop)
	g.wg.Go(g.loadLoop)
	g.wg.Go(g.epochLoop)
	for _, s := range g.senders {
		g.wg.Go(s.run)
	}
	g.fenceIfEvicted()
}

// Close ends replication and waits until nothing of it runs any more. Waits
// that are under way end as if all peers were lost.
func (g *Group) Close() {
	g.mu.Lock()
	g.running = false
	cancel := g.cancel
	g.mu.Unlock()
	if cancel == nil {
		return
	}
	cancel(errClosed)
	g.wg.Wait()
	g.giver.dropAll()
	g.saveRoster()
	g.closeContact()
}

// enter begins a call that Close waits for, until wg.Done.
func (g *Group) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.running {
		return errClosed
	}
	g.wg.Add(1)
	return nil
}

// Committed tells that own operations up to number n are durable here. They are
// sent at once. It never blocks.
func (g *Group) Committed(n uint64) {
	g.step(func(now time.Time, m *causal.Machine) { m.Committed(now, n) })
	g.wakeSenders()
}

// Confirmed is closed when this replica may take writes: a peer has confirmed
// its slot, now or earlier, or it needs no confirmation (it has operations of
// its own, no peers, or was started with Bootstrap).
func (g *Group) Confirmed() <-chan struct{} { return g.confirmed }

// step passes an input to the state machine and signals the waits that it ended.
func (g *Group) step(f func(now time.Time, m *causal.Machine)) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	f(now, g.core)
	g.satisfied.Store(g.core.Satisfied())
	for _, w := range g.core.Released() {
		w.Done <- struct{}{} // has room: a waiter is released once
	}
}

// logged returns what is durable here.
func (g *Group) logged() crdt.VC {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.core.Logged()
}

// wakeSenders wakes those that have something to send.
func (g *Group) wakeSenders() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, s := range g.senders {
		if g.core.Pending(name) {
			notify(s.wake)
		}
	}
}

// fence stops replication for good because this replica's data are not what its
// peers know of it. From now on no OK is given, and the disk takes no writes.
//
// One that is fenced for its old data still learns that it was evicted: its newest
// data would be of no use any more.
func (g *Group) fence(err error) {
	for {
		old := g.fault.Load()
		if old != nil && (errors.Is(*old, ErrEvicted) || !errors.Is(err, ErrEvicted)) {
			return
		}
		if g.fault.CompareAndSwap(old, &err) {
			break
		}
	}
	g.contact.mu.Lock() // checkContact must not allow writes after this
	g.cfg.Fenced(err)
	g.contact.mu.Unlock()
	g.fenced.Set(1)
	why := "its data were restored from an old copy or are in use twice; put the newest data back, or start with an empty directory"
	if errors.Is(err, ErrEvicted) {
		why = "the others have evicted it; move its data directory away and start with an empty one, then plutoctl member recover gives the others what is in it alone"
	}
	level.Error(g.logger).Log("msg", "this replica takes no more writes: "+why, "origin", g.origin, "err", err)
	g.cancel(err)
}

// Fault returns why this replica has fenced itself; nil if it has not.
func (g *Group) Fault() error {
	if p := g.fault.Load(); p != nil {
		return *p
	}
	return nil
}

// clockLoop lets the state machine know that time passes, and gives up streams
// that have gone silent.
func (g *Group) clockLoop() {
	tick := time.NewTicker(g.cfg.Heartbeat)
	defer tick.Stop()
	deadline := time.NewTimer(g.cfg.AckTimeout)
	defer deadline.Stop()
	saved := time.Now()
	for {
		select {
		case <-g.ctx.Done():
			return
		case <-g.timeWake:
		case <-deadline.C:
		case <-tick.C:
			g.hangUp()
			g.publish()
			g.tellStable()
			g.follow()
			g.checkContact()
			if time.Since(saved) > time.Minute {
				saved = time.Now()
				g.saveRoster()
			}
		}
		g.step(func(now time.Time, m *causal.Machine) {
			m.Tick(now)
			var at time.Time
			if at, g.timed = m.Deadline(); g.timed {
				deadline.Reset(at.Sub(now))
			}
		})
		g.noteJoined()
		g.wakeLoader()
		g.wakeSenders()
	}
}

// hangUp ends streams on which nothing was heard for PeerTimeout.
func (g *Group) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.senders {
		s.life.check(g.cfg.PeerTimeout)
	}
	for _, in := range g.inbound {
		in.life.check(g.cfg.PeerTimeout)
	}
}

// notify wakes whoever waits on a channel with room for one.
func notify(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// life watches over one stream.
type life struct {
	heard  atomic.Pointer[time.Time]
	cancel atomic.Pointer[context.CancelCauseFunc]
}

func (l *life) begin(cancel context.CancelCauseFunc) {
	l.sign()
	l.cancel.Store(&cancel)
}

func (l *life) end() { l.cancel.Store(nil) }

// sign notes that the peer was heard.
func (l *life) sign() {
	now := time.Now()
	l.heard.Store(&now)
}

// check ends the stream if nothing was heard for longer than limit.
func (l *life) check(limit time.Duration) {
	cancel := l.cancel.Load()
	if cancel == nil {
		return
	}
	if silent := time.Since(*l.heard.Load()); silent > limit {
		(*cancel)(fmt.Errorf("nothing heard for %v", silent.Round(time.Millisecond)))
	}
}
