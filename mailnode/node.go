package mailnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/go-pluto/pluto/admin"
	"github.com/go-pluto/pluto/comm"
	"github.com/go-pluto/pluto/config"
	"github.com/go-pluto/pluto/crdt"
	"github.com/go-pluto/pluto/crypto"
	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/clientid"
	"github.com/go-pluto/pluto/imap/tunnel"
	"github.com/go-pluto/pluto/mailstore"
	"github.com/go-pluto/pluto/telemetry"
)

// Options say which node to run.
type Options struct {
	Config *config.Config
	Node   *config.Node // one of Config's
	// Bootstrap lets a brand-new replica take writes before a peer has
	// confirmed its slot.
	Bootstrap bool
	// Replaces is the lost incarnation whose place this node's takes; 0: none.
	Replaces crdt.Origin
	// CacheSize is the memory for blocks read from disk, in bytes; 0: the
	// mailstore's default.
	CacheSize int64
	Logger    log.Logger
}

// drainTime is how long a node that stops waits for its sessions to be moved. What
// is left then goes on elsewhere as if the node were lost.
const drainTime = 3 * time.Second

// cleanupTime bounds the stop of a node that failed to start.
const cleanupTime = 5 * time.Second

// Node is a running node. Its methods may be called concurrently.
type Node struct {
	opts     Options
	logger   log.Logger
	identity *crypto.Node
	registry *prometheus.Registry

	store   *mailstore.Store
	members []*member
	texts   texts
	tunnels *tunnel.Server

	servers   []*grpc.Server
	serving   sync.WaitGroup
	failed    chan error // a listener that ended by itself
	telemetry *telemetry.Server
}

// member is the node's part in one subnet.
type member struct {
	subnet  config.Subnet
	primary bool // users come here first, unless this node's region has lost its worker
	replica *mailstore.Replica
	group   *comm.Group
	present present
	indexer *indexer // nil: there is no text index
}

// Start opens the node's disk, starts replication and listens. It waits for no
// other node. When it fails nothing is left running.
func Start(ctx context.Context, opts Options) (_ *Node, err error) {
	n := &Node{
		opts:     opts,
		logger:   log.With(opts.Logger, "node", opts.Node.Name),
		registry: telemetry.NewRegistry(),
		failed:   make(chan error, 1),
	}
	defer func() {
		if err != nil {
			stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
			defer cancel()
			err = errors.Join(err, n.Stop(stop))
		}
	}()
	if err := n.loadIdentity(); err != nil {
		return n, err
	}
	if err := n.openReplicas(ctx); err != nil {
		return n, err
	}
	if err := n.listen(); err != nil {
		return n, err
	}
	n.telemetry, err = telemetry.Listen(opts.Node.PrometheusAddr, opts.Node.Name, n.registry, n.State)
	if err != nil {
		return n, err
	}
	level.Info(n.logger).Log("msg", "node is up", "mail", opts.Node.ListenMailAddr, "subnets", len(n.members), "data", opts.Node.DataRoot)
	return n, nil
}

func (n *Node) loadIdentity() (err error) {
	node := n.opts.Node
	want := crypto.Identity{Role: crypto.Role(node.Role), Name: node.Name}
	n.identity, err = crypto.LoadNode(n.opts.Config.RootCertLoc, node.CertLoc, node.KeyLoc, want,
		n.logger, crypto.NewMetrics(n.registry))
	return err
}

func (n *Node) openReplicas(ctx context.Context) (err error) {
	n.store, err = mailstore.Open(n.opts.Node.DataRoot, mailstore.Options{
		CacheSize: n.opts.CacheSize,
		Logger:    n.logger,
		Metrics:   mailstore.NewMetrics(n.registry),
	})
	if err != nil {
		return fmt.Errorf("DataRoot = %q: %w", n.opts.Node.DataRoot, err)
	}
	n.openTexts()
	metrics := comm.NewMetrics(n.registry)
	for _, subnet := range n.opts.Node.Subnets {
		m, err := n.join(subnet, metrics)
		if err != nil {
			return err
		}
		n.members = append(n.members, m)
	}
	sessions := &service{members: n.members, options: imapOptions(n.opts.Config, n.registry), logger: n.logger}
	sessions.quota = mailstore.Amount{
		Storage: uint64(n.opts.Config.IMAP.QuotaStorage), Messages: uint64(n.opts.Config.IMAP.QuotaMessages),
	}
	n.tunnels = tunnel.NewServer(sessions.run)
	for _, m := range n.members {
		m.group.Start(context.WithoutCancel(ctx)) // ended by Stop
	}
	n.startTexts(context.WithoutCancel(ctx))
	return nil
}

// join opens the replica of a subnet and prepares its replication.
func (n *Node) join(subnet config.Subnet, metrics *comm.Metrics) (*member, error) {
	leader, rank := leadership(n.opts.Node.Name, subnet)
	m := &member{subnet: subnet, primary: n.opts.Node.Role == config.RoleWorker}
	var contents func(crdt.AccountID, []crdt.Root, []crdt.Root)
	if n.texts.db != nil {
		m.indexer = newIndexer(n.texts.db, n.indexShare(), log.With(n.logger, "subnet", subnet.Name))
		contents = m.indexer.note
	}
	replica, err := n.store.Replica(mailstore.ReplicaOptions{
		Contents:       contents,
		Subnet:         subnet.Name,
		Slot:           crdt.Slot(subnet.Slot),
		Leader:         leader,
		Rank:           rank,
		Separator:      n.opts.Config.IMAP.HierarchySeparator,
		Policy:         crdt.DefaultPolicy(),
		LogMaxSize:     int64(n.opts.Config.Replication.LogMaxSize),
		LogMaxAge:      n.opts.Config.Replication.LogMaxAge,
		MaxMessageSize: int64(n.opts.Config.IMAP.MaxMessageSize),
		Dismissed:      m.present.dismiss,
	})
	if err != nil {
		return nil, err
	}
	var peers []comm.Member
	for _, p := range subnet.Peers {
		peers = append(peers, comm.Member{Name: p.Name, Addr: p.Addr})
	}
	group, err := comm.NewGroup(replica, comm.Config{
		Subnet:         subnet.Name,
		Name:           n.opts.Node.Name,
		Peers:          peers,
		Users:          [2]uint32{subnet.Users.Start, subnet.Users.End},
		Separator:      string(n.opts.Config.IMAP.HierarchySeparator),
		MaxMessageSize: int64(n.opts.Config.IMAP.MaxMessageSize),
		AckPeers:       n.opts.Node.AckPeers,
		AckTimeout:     n.opts.Node.AckTimeout,
		AckStrict:      n.opts.Node.AckStrict,
		Bootstrap:      n.opts.Bootstrap,
		Replaces:       n.opts.Replaces,
		Snapshots:      snapshots{replica},
		GiveRate:       int(n.opts.Config.Replication.SnapshotRate),
		Evicted: func(ctx context.Context, all []comm.Eviction) error {
			return raiseEpoch(ctx, replica, all)
		},
		Fenced:       replica.Refuse, // sessions that live here stop to write at once
		EvictAfter:   n.opts.Config.Replication.EvictAfter,
		Isolated:     replica.Refuse, // they may read
		AheadTimeout: aheadTimeout(n.opts.Config.Replication.AheadTimeout),
		Credentials: func(peer string) (credentials.TransportCredentials, error) {
			return credentials.NewTLS(n.identity.ClientTLS(peer, crypto.RoleWorker, crypto.RoleStorage)), nil
		},
		Logger:  n.logger,
		Metrics: metrics,
	})
	if err != nil {
		return nil, err
	}
	replica.SetReplicator(group)
	replica.SetBodySource(group)
	replica.SetBodySink(group)
	m.replica, m.group = replica, group
	return m, nil
}

// aheadTimeout is the configured one as comm wants it, where 0 is the default.
func aheadTimeout(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// raiseEpoch has a replica skip what evicted members may have shown.
func raiseEpoch(ctx context.Context, r *mailstore.Replica, all []comm.Eviction) error {
	for _, e := range all {
		if err := r.Evicted(e.Slot, e.Origin); err != nil {
			return err
		}
	}
	return r.RaiseEpoch(ctx, uint32(len(all)))
}

// leadership says whether a member re-issues UIDs first (crdt.md 2.1), and its
// place among those who do when the leader does not. Where the file does not
// tell the slots of all peers, slot 1 leads; that nobody or two lead for a
// while is safe.
func leadership(name string, subnet config.Subnet) (leader bool, rank int) {
	if subnet.Leader != "" {
		if subnet.Leader == name {
			return true, 0
		}
		return false, int(subnet.Slot)
	}
	if subnet.Slot == 1 {
		return true, 0
	}
	for _, p := range subnet.Peers {
		if p.Slot < subnet.Slot { // unknown (0) or lower
			return false, int(subnet.Slot) - 1
		}
	}
	return true, 0
}

func imapOptions(cfg *config.Config, reg prometheus.Registerer) imap.Options {
	options := imap.Options{
		Separator:      cfg.IMAP.HierarchySeparator,
		MaxMessageSize: int64(cfg.IMAP.MaxMessageSize),
		Metrics:        imap.NewMetrics(reg),
	}
	for _, h := range cfg.IMAP.HideCapabilities {
		options.Quirks = append(options.Quirks, clientid.Quirk{Client: h.Client, Hide: h.Capabilities})
	}
	if d := cfg.Distributor; d != nil {
		options.Autologout = d.Limits.IdleTimeout
	}
	return options
}

// listen serves sessions and administration on the mail address and replication
// on the sync address of each subnet.
func (n *Node) listen() error {
	policy := crypto.Policy{tunnel.Node_ServiceDesc.ServiceName: {crypto.RoleDistributor}}
	admin.Allow(policy)
	mail := n.newServer(policy, tunnel.ServerOptions())
	tunnel.RegisterNodeServer(mail, n.tunnels)
	n.registerAdmin(mail)
	if err := n.serve(mail, "ListenMailAddr", n.opts.Node.ListenMailAddr); err != nil {
		return err
	}
	for _, m := range n.members {
		sync := n.newServer(crypto.Policy{comm.Receiver_ServiceDesc.ServiceName: {crypto.RoleWorker, crypto.RoleStorage}}, comm.ServerOptions())
		receiver, err := comm.NewService(comm.ServiceOptions{Identify: callerName, Logger: n.logger}, m.group)
		if err != nil {
			return err
		}
		comm.RegisterReceiverServer(sync, receiver)
		if err := n.serve(sync, "ListenSyncAddr", m.subnet.ListenSyncAddr); err != nil {
			return err
		}
	}
	return nil
}

// callerName returns the name in the certificate of who opened a stream.
func callerName(ctx context.Context) (string, error) {
	who, err := crypto.PeerIdentity(ctx)
	return who.Name, err
}

// newServer makes a gRPC server that only nodes of the internal CA reach, each
// only what the policy lets its role call.
func (n *Node) newServer(policy crypto.Policy, options []grpc.ServerOption) *grpc.Server {
	return grpc.NewServer(append(options,
		grpc.Creds(credentials.NewTLS(n.identity.ServerTLS())),
		grpc.StreamInterceptor(policy.Stream()),
		grpc.UnaryInterceptor(policy.Unary()),
		grpc.ConnectionTimeout(10*time.Second),
		grpc.WaitForHandlers(true), // the disk is closed after Stop
	)...)
}

func (n *Node) serve(s *grpc.Server, key, addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("%s = %q: %w", key, addr, err)
	}
	n.servers = append(n.servers, s)
	n.serving.Go(func() {
		if err := s.Serve(l); err != nil {
			select {
			case n.failed <- fmt.Errorf("serve %s: %w", addr, err):
			default: // one reason is enough
			}
		}
	})
	return nil
}

// Failed receives the reason when the node cannot go on; it is to be stopped then.
func (n *Node) Failed() <-chan error { return n.failed }

// State tells whether the node serves its users.
func (n *Node) State() telemetry.State {
	var s telemetry.State
	if err := n.store.Err(); err != nil {
		s.NotReady = append(s.NotReady, "disk: "+err.Error())
	}
	for _, m := range n.members {
		status := m.group.Status()
		if err := serves(status); err != nil {
			s.NotReady = append(s.NotReady, err.Error())
		} else if status.Isolated != nil {
			s.NotReady = append(s.NotReady, fmt.Sprintf("subnet %s: %v", status.Subnet, status.Isolated))
		}
		s.Degraded = append(s.Degraded, status.Degraded()...)
		s.Degraded = append(s.Degraded, m.quarantines()...)
	}
	return s
}

// Stop ends the node: its sessions move to other nodes, those that cannot within
// drainTime end at their next command boundary, or when ctx ends, then replication ends and the disk is closed. What
// a peer lacks is in the log and goes out after the next start.
func (n *Node) Stop(ctx context.Context) error {
	var errs []error
	if n.tunnels != nil {
		n.drained(ctx)
		if err := n.tunnels.Shutdown(ctx); err != nil {
			level.Warn(n.logger).Log("msg", "sessions were cut off", "err", err)
		}
	}
	for _, m := range n.members {
		m.group.Close()
	}
	for _, s := range n.servers {
		s.Stop()
	}
	n.serving.Wait()
	errs = append(errs, n.closeTexts())
	if n.store != nil {
		errs = append(errs, n.store.Close())
	}
	if n.telemetry != nil {
		errs = append(errs, n.telemetry.Close(ctx))
	}
	return errors.Join(errs...)
}

// drained waits until the node's sessions are gone, for drainTime at most.
func (n *Node) drained(ctx context.Context) {
	n.tunnels.Drain()
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	if err := n.tunnels.Emptied(ctx); err != nil {
		level.Info(n.logger).Log("msg", "sessions are left that could not be moved", "sessions", n.tunnels.Sessions())
	}
}
