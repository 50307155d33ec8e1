package causal

import (
	"errors"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// ErrProtocol is wrapped by every error about what a peer sent: its stream is
// to be ended, nothing else happened.
var ErrProtocol = errors.New("replication protocol violated")

// ErrStale says that a peer knows operations of this replica's own origin that
// this replica does not have: its data were restored from an old copy, or its
// directory was copied and is in use twice. It must take no more writes.
var ErrStale = errors.New("this replica's data are older than what its peers have of it")

// Defaults of [Config].
const (
	DefaultWindow       = 4 << 20
	DefaultBatchBytes   = 1 << 20
	DefaultBatchEntries = 1024
	DefaultSendBytes    = 256 << 10
	DefaultForwardDelay = time.Second
	DefaultLoadDelay    = 2 * time.Second
	DefaultAckTimeout   = 500 * time.Millisecond
)

// MaxOrigins bounds the incarnations a replica may hear of: memory for a peer
// that invents them. Fifteen slots, each replaced some dozens of times.
const MaxOrigins = 1024

// Config is what a Machine is made from. Zero values mean the defaults.
type Config struct {
	Self  crdt.Origin
	Peers []string // names of the configured peers

	// Window is how many bytes of one origin's operations may be under way to,
	// or waiting at, a receiver. All members must have the same; they compare
	// it when they connect.
	Window int
	// BatchBytes and BatchEntries bound what is applied in one go.
	BatchBytes, BatchEntries int
	// SendBytes is about how much one read from the log brings.
	SendBytes int

	// ForwardDelay is how long operations of a third origin are held back, for
	// the origin itself to send them, unless the peer says that it cannot
	// ([Standing].Lost). Negative: they are never forwarded.
	ForwardDelay time.Duration

	// LoadDelay is how long a replica that lacks what nobody in reach has in its
	// log waits for others to connect before it loads snapshots.
	LoadDelay time.Duration
	// New says that the replica has not caught up with its subnet yet; see
	// [Machine.Joined].
	New bool

	// AckPeers is the number of peers that must have an operation on disk
	// before its OK (at most the number of peers), AckTimeout the longest wait.
	AckPeers   int
	AckTimeout time.Duration
}

func (c *Config) setDefaults() {
	set := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.Window, DefaultWindow)
	set(&c.BatchBytes, DefaultBatchBytes)
	set(&c.BatchEntries, DefaultBatchEntries)
	set(&c.SendBytes, DefaultSendBytes)
	if c.ForwardDelay == 0 {
		c.ForwardDelay = DefaultForwardDelay
	}
	if c.LoadDelay == 0 {
		c.LoadDelay = DefaultLoadDelay
	}
	if c.AckTimeout <= 0 {
		c.AckTimeout = DefaultAckTimeout
	}
	c.AckPeers = min(max(c.AckPeers, 0), len(c.Peers))
}

// Machine is one replica's part in the replication of its subnet; see the
// package comment. Not safe for concurrent use.
type Machine struct {
	cfg     Config
	logged  crdt.VC       // durable here, own operations included
	origins []crdt.Origin // of logged and of the queues, ascending
	in      inbox
	peers   []*peer // as configured
	commits commits
	waiters waiters
	cut     crdt.VC // where the log begins
	behind  behind
	joined  bool
	alone   time.Time // since when only members that are new as well are in reach

	// See stable.go.
	stable, expendable crdt.VC
	evicted            map[crdt.Origin]bool
}

// New returns the machine of a replica on whose disk the operations of logged are.
func New(cfg Config, logged crdt.VC, now time.Time) *Machine {
	cfg.setDefaults()
	m := &Machine{cfg: cfg, logged: logged.Clone(), joined: !cfg.New || len(cfg.Peers) == 0,
		evicted: make(map[crdt.Origin]bool)}
	for o := range logged.All() {
		m.know(o)
	}
	m.know(cfg.Self)
	m.in.queues = make(map[crdt.Origin]*queue)
	for _, name := range cfg.Peers {
		m.peers = append(m.peers, &peer{name: name, routes: make(map[crdt.Origin]*route)})
	}
	m.commits.add(now, 0)
	return m
}

// Logged returns a copy of the vector of what is durable here.
func (m *Machine) Logged() crdt.VC { return m.logged.Clone() }

// Own returns the number of the last own operation that is durable.
func (m *Machine) Own() uint64 { return m.logged.Get(m.cfg.Self) }

// Committed tells that own operations up to number n are durable here.
func (m *Machine) Committed(now time.Time, n uint64) {
	own := m.Own()
	if n <= own {
		return
	}
	m.commits.add(now, own+1)
	m.logged.Set(m.cfg.Self, n)
}

// Tick lets time pass: waits that ran out end, what peers lack of third origins
// for too long is forwarded to them, and it is noticed when this replica cannot
// catch up by logs. It is called every second or so, and when [Machine.Deadline]
// has come.
func (m *Machine) Tick(now time.Time) {
	m.expire(now)
	m.forward(now)
	m.join(now)
	m.watch(now)
}

// know adds an origin to the list, which stays sorted so that nothing depends
// on the order of a map.
func (m *Machine) know(o crdt.Origin) {
	if i, ok := slices.BinarySearch(m.origins, o); !ok {
		m.origins = slices.Insert(m.origins, i, o)
	}
}

func (m *Machine) known(o crdt.Origin) bool {
	_, ok := slices.BinarySearch(m.origins, o)
	return ok
}

func (m *Machine) peer(name string) *peer {
	for _, p := range m.peers {
		if p.name == name {
			return p
		}
	}
	return nil
}
