package comm

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/go-kit/log"
	"google.golang.org/grpc/credentials"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// Protocol is the version of the replication protocol. Peers must have the same.
const Protocol = 2

// Limits of the protocol.
const (
	// MaxChunk is the largest piece of a body, in bytes. A Store keeps bodies
	// in pieces of at most that.
	MaxChunk = 256 << 10
	// MaxOperation is the largest encoded operation, in bytes. Commands that
	// would make a larger one are to be split or refused.
	MaxOperation = 16 << 20

	// maxVector bounds an encoded version vector.
	maxVector = 64 << 10
	// maxBodies bounds the bodies of one operation.
	maxBodies = 1 << 16
	// frameBytes is about the size of a message on the stream.
	frameBytes = 256 << 10
	// maxFrame is the largest message that a receiver takes.
	maxFrame = MaxOperation + maxBodies*32 + maxVector + 2*frameBytes
)

// Defaults of [Config].
const (
	DefaultHeartbeat   = time.Second
	DefaultPeerTimeout = 5 * time.Second
	DefaultMaxBackoff  = 2 * time.Second
	// DefaultAheadTimeout is shorter than mail clients wait for an answer.
	DefaultAheadTimeout = 60 * time.Second
)

// Member is a peer of the subnet.
type Member struct {
	Name string // as in its certificate
	Addr string // host:port of its Receiver service
}

// Config is what a Group is made from. Zero values of the last block mean the
// defaults.
type Config struct {
	Subnet string // name of the replication group
	Name   string // own node name
	Peers  []Member

	// What all members must have the same; compared when they connect.
	Users          [2]uint32 // first and last user ID
	Separator      string    // hierarchy separator, "." or "/"
	MaxMessageSize int64     // bytes

	// AckPeers is the number of peers that must have a change on disk before
	// its OK is given (at most the number of peers), AckTimeout the longest
	// wait (default 500 ms). With AckStrict a shortfall is an error.
	AckPeers   int
	AckTimeout time.Duration
	AckStrict  bool

	// Bootstrap lets a new replica take writes before a peer has confirmed its slot.
	Bootstrap bool
	// Replaces is the lost incarnation whose place this one takes; see the
	// package comment.
	Replaces crdt.Origin

	// Evicted is called when members were evicted, with all that ever were, and
	// again at every start until it has returned nil: their number is the group's
	// epoch, to which all accounts are raised, so that what an evicted one may have
	// shown is not used again (crdt.md 6.4). nil: nobody wants to know.
	Evicted func(ctx context.Context, all []Eviction) error

	// Fenced is called with the reason when the replica fences itself, and again
	// if it learns after that that it was evicted: whoever owns the disk refuses
	// further writes there. It must not block.
	// nil: nobody wants to know.
	Fenced func(why error)

	// EvictAfter is how long this replica takes writes without having met a peer:
	// an administrator may evict one that was away for so long. 0: for ever.
	EvictAfter time.Duration
	// Isolated is called with an error that wraps [ErrIsolated] when that time is
	// over, and with nil when a peer is there again: whoever owns the disk refuses
	// local writes, and allows them. After Fenced it is not called any more. It
	// must not block. nil: nobody wants to know.
	Isolated func(why error)

	// Snapshots gives and takes accounts for members that are behind the log;
	// nil: the log must be kept whole.
	Snapshots Snapshots
	// GiveRate bounds what is sent to members that load, in bytes per second; 0:
	// no bound.
	GiveRate int

	// Credentials returns what to dial the named peer with. They must verify
	// that it is that peer.
	Credentials func(peer string) (credentials.TransportCredentials, error)
	// Dial opens a connection; nil means TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	Logger  log.Logger // nil: silent
	Metrics *Metrics   // nil: none

	Heartbeat    time.Duration // between signs of life
	PeerTimeout  time.Duration // silence after which a stream is given up; at least two heartbeats
	MaxBackoff   time.Duration // longest pause between attempts to connect
	ForwardDelay time.Duration // see causal.Config
	LoadDelay    time.Duration // see causal.Config
	Window       int           // bytes of one origin's operations under way or waiting; the same for all members
	TailCache    int           // bytes of recent own operations kept in memory; negative: none
	AheadTimeout time.Duration // how long a large message waits for its content to get to peers; negative: none goes ahead
}

func (c *Config) setDefaults() {
	set := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	set(&c.AckTimeout, causal.DefaultAckTimeout)
	set(&c.Heartbeat, DefaultHeartbeat)
	set(&c.PeerTimeout, DefaultPeerTimeout)
	set(&c.MaxBackoff, DefaultMaxBackoff)
	c.PeerTimeout = max(c.PeerTimeout, 2*c.Heartbeat)
	if c.ForwardDelay == 0 {
		c.ForwardDelay = causal.DefaultForwardDelay
	}
	if c.Window <= 0 {
		c.Window = causal.DefaultWindow
	}
	if c.AheadTimeout == 0 {
		c.AheadTimeout = DefaultAheadTimeout
	}
	if c.TailCache == 0 {
		c.TailCache = DefaultTailCache
	}
	if c.Dial == nil {
		c.Dial = dialTCP
	}
	if c.Fenced == nil {
		c.Fenced = func(error) {}
	}
	if c.Isolated == nil {
		c.Isolated = func(error) {}
	}
	if c.Logger == nil {
		c.Logger = log.NewNopLogger()
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics(nil)
	}
}

func dialTCP(ctx context.Context, addr string) (net.Conn, error) {
	return (&net.Dialer{Control: keepQueueShort}).DialContext(ctx, "tcp", addr)
}

func (c *Config) validate(slot crdt.Slot) error {
	if c.Subnet == "" || c.Name == "" {
		return errors.New("subnet and node need names")
	}
	if slot == 0 || slot > crdt.MaxSlot {
		return fmt.Errorf("slot %d is not in 1..%d", slot, crdt.MaxSlot)
	}
	if len(c.Peers) > 0 && c.Credentials == nil {
		return errors.New("no credentials to dial peers with")
	}
	seen := map[string]bool{c.Name: true}
	for _, p := range c.Peers {
		switch {
		case p.Name == "" || strings.Contains(p.Name, "/"):
			return fmt.Errorf("peer name %q is empty or has a slash", p.Name)
		case p.Addr == "":
			return fmt.Errorf("peer %q has no address", p.Name)
		case seen[p.Name]:
			return fmt.Errorf("peer %q is named twice, or is this node itself", p.Name)
		}
		seen[p.Name] = true
	}
	return nil
}
