package comm_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/comm/commtest"
	"github.com/go-pluto/pluto/crdt"
)

const subnet = "subnet-1"

// cluster is a subnet in this process, over a network in memory.
type cluster struct {
	t     testing.TB
	ctx   context.Context
	net   *commtest.Network
	names []string
	nodes map[string]*node

	bodiesMayMiss bool
}

// node is a replica, running or not.
type node struct {
	name   string
	store  *commtest.Store
	snaps  *commtest.Snapshots
	group  *comm.Group
	server *grpc.Server
	served sync.WaitGroup
	log    *logbook
}

// newCluster names the members of a subnet; slot and origin are their places.
// Nobody is started yet.
func newCluster(t testing.TB, names ...string) *cluster {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	c := &cluster{t: t, ctx: ctx, net: commtest.NewNetwork(), names: names, nodes: map[string]*node{}}
	for i, name := range names {
		c.nodes[name] = &node{name: name, store: commtest.NewStore(crdt.Origin(i+1), crdt.Slot(i+1)), log: newLogbook()}
	}
	t.Cleanup(func() {
		defer cancel()
		for _, n := range c.nodes {
			n.stop()
			if err := n.store.Err(); err != nil {
				t.Errorf("%s: %v", n.name, err)
			}
			if missing := n.store.MissingBodies(); len(missing) > 0 && !c.bodiesMayMiss {
				t.Errorf("%s has operations without their bodies: %x", n.name, missing)
			}
		}
	})
	return c
}

// config is what a node is configured with unless a test changes it. Nothing but
// what a test is about may need a timer, so there are none (but see beating).
func (c *cluster) config(name string) comm.Config {
	cfg := comm.Config{
		Subnet: subnet, Name: name,
		Users: [2]uint32{1, 100}, Separator: "/", MaxMessageSize: 64 << 20,
		Credentials:  func(string) (credentials.TransportCredentials, error) { return insecure.NewCredentials(), nil },
		Dial:         c.net.Dialer(name),
		Logger:       c.nodes[name].log,
		Heartbeat:    time.Hour,
		MaxBackoff:   100 * time.Millisecond,
		ForwardDelay: -1,
	}
	for _, p := range c.names {
		if p != name {
			cfg.Peers = append(cfg.Peers, comm.Member{Name: p, Addr: p})
		}
	}
	return cfg
}

// beating makes a node show signs of life, and miss them, fast.
func beating(cfg *comm.Config) { cfg.Heartbeat, cfg.PeerTimeout = 50*time.Millisecond, time.Second }

// start boots a node over the disk that it has.
func (c *cluster) start(name string, changes ...func(*comm.Config)) *node {
	c.t.Helper()
	n := c.nodes[name]
	cfg := c.config(name)
	if n.snaps == nil || n.snaps.Store != n.store {
		n.snaps = n.store.Snapshots()
	}
	cfg.Snapshots, cfg.LoadDelay = n.snaps, -1
	for _, change := range changes {
		change(&cfg)
	}
	var err error
	if n.group, err = comm.NewGroup(n.store, cfg); err != nil {
		c.t.Fatal(err)
	}
	service, err := comm.NewService(comm.ServiceOptions{Identify: c.net.Caller, Logger: n.log}, n.group)
	if err != nil {
		c.t.Fatal(err)
	}
	n.server = grpc.NewServer(comm.ServerOptions()...)
	comm.RegisterReceiverServer(n.server, service)
	l := c.net.Listen(name)
	n.group.Start(c.ctx)
	n.served.Go(func() { _ = n.server.Serve(l) })
	return n
}

// startAll boots all nodes.
func (c *cluster) startAll(changes ...func(*comm.Config)) {
	c.t.Helper()
	for _, name := range c.names {
		c.start(name, changes...)
	}
}

// stop ends a node, as SIGTERM does; the disk stays.
func (n *node) stop() {
	if n.group == nil {
		return
	}
	n.group.Close()
	n.server.Stop()
	n.served.Wait()
	n.group = nil
}

// crash ends a node and leaves what kill -9 leaves.
func (n *node) crash() {
	disk := n.store.Crash()
	n.stop()
	n.store = disk
}

// commit makes an operation and tells the group.
func (n *node) commit(size int, bodies ...crdt.Root) crdt.Dot {
	d := crdt.Dot{Origin: n.store.Origin(), N: n.store.Commit(make([]byte, max(size, 1)), bodies...)}
	n.group.Committed(d.N)
	return d
}

// await waits until an operation is durable on the named nodes.
func (c *cluster) await(d crdt.Dot, names ...string) {
	c.t.Helper()
	for _, name := range names {
		if err := c.nodes[name].store.Await(c.ctx, d); err != nil {
			c.t.Fatalf("%s: %v\n%s", name, err, c.describe())
		}
	}
}

// eventually waits until a condition holds.
func (c *cluster) eventually(what string, holds func() bool) {
	c.t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-c.ctx.Done():
			c.t.Fatalf("never: %s\n%s", what, c.describe())
		case <-tick.C:
		}
	}
}

// connected waits until every running node has streams to and from all others.
func (c *cluster) connected(names ...string) {
	c.t.Helper()
	for _, name := range names {
		for _, p := range names {
			if p != name {
				c.eventually(name+" connected with "+p, func() bool {
					s := c.nodes[name].peer(p)
					return s.Sending && s.Receiving
				})
			}
		}
	}
}

func (n *node) peer(name string) comm.PeerStatus {
	for _, p := range n.group.Status().Peers {
		if p.Name == name {
			return p
		}
	}
	return comm.PeerStatus{}
}

func (c *cluster) describe() string {
	var b strings.Builder
	for _, name := range c.names {
		n := c.nodes[name]
		if n.group == nil {
			fmt.Fprintf(&b, "%s is down\n", name)
			continue
		}
		fmt.Fprintf(&b, "%s %+v\n%s", name, n.group.Status(), n.log)
	}
	return b.String()
}

// logbook is a log.Logger that remembers.
type logbook struct {
	mu    sync.Mutex
	lines []string
}

func newLogbook() *logbook { return &logbook{} }

func (l *logbook) Log(kv ...any) error {
	var b strings.Builder
	for i := 0; i+1 < len(kv); i += 2 {
		fmt.Fprintf(&b, "%v=%v ", kv[i], kv[i+1])
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, b.String())
	return nil
}

func (l *logbook) has(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, part) {
			return true
		}
	}
	return false
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return "  " + strings.Join(l.lines[max(len(l.lines)-10, 0):], "\n  ") + "\n"
}
