package distributor

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log"
	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/tunnel"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
)

var (
	errOpenTimeout  = errors.New("no answer in time")
	errContactAdmin = errors.New("account belongs to another login name")
	errRefused      = errors.New("refused")
	errBehind       = errors.New("replica lacks what the session has seen")
	errNotResumable = errors.New("session cannot go on anywhere")
	errNoReplica    = errors.New("no replica can open the session")
	errNoRoute      = errors.New("nobody keeps this user")
)

// replicas are the connections to all nodes: one each, which is kept up, so that
// a login finds out at once whether the node can be reached.
type replicas struct {
	ctx     context.Context
	opts    Options
	log     log.Logger
	watches sync.WaitGroup
	moving  func(n *node, why string) // is told that sessions are to leave a node, or may come home

	mu    sync.Mutex
	nodes map[Replica]*node
	done  bool
}

// node is the connection to one replica.
type node struct {
	Replica
	conn   *grpc.ClientConn
	client *tunnel.Client
	up     atomic.Bool
	health health

	hastened atomic.Int64 // when it was dialled out of turn, ns of Unix time
}

func newReplicas(ctx context.Context, opts Options, moving func(*node, string)) *replicas {
	return &replicas{moving: moving, ctx: ctx, opts: opts, log: opts.Logger, nodes: map[Replica]*node{}}
}

// get returns the connection to a replica.
func (r *replicas) get(which Replica) (*node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[which]; n != nil {
		return n, nil
	}
	if r.done {
		return nil, ErrShutdown
	}
	creds := credentials.NewTLS(r.opts.DialTLS(which))
	// Addresses are dialled as they are: the system's resolver knows names best.
	conn, err := grpc.NewClient("passthrough:///"+which.Addr, append(tunnel.DialOptions(), grpc.WithTransportCredentials(creds))...)
	if err != nil {
		return nil, fmt.Errorf("connect to %s at %s: %w", which.Name, which.Addr, err)
	}
	n := &node{Replica: which, conn: conn, client: tunnel.NewClient(conn)}
	r.nodes[which] = n
	r.opts.Metrics.up.WithLabelValues(which.Name).Set(0)
	r.watches.Go(func() { r.watch(n) })
	r.watches.Go(func() { n.client.Run(r.ctx) })
	r.watches.Go(func() { r.examine(n) })
	return n, nil
}

// watch keeps the connection up and tells when it goes and comes.
func (r *replicas) watch(n *node) {
	for state := connectivity.Idle; ; state = n.conn.GetState() {
		up := state == connectivity.Ready
		if up != n.up.Swap(up) {
			r.tell(n, up)
		}
		if state == connectivity.Idle {
			n.conn.Connect()
		}
		if !n.conn.WaitForStateChange(r.ctx, state) {
			return
		}
	}
}

func (r *replicas) tell(n *node, up bool) {
	if up {
		r.opts.Metrics.up.WithLabelValues(n.Name).Set(1)
		level.Info(r.log).Log("msg", "replica can be reached", "replica", n.Name, "addr", n.Addr)
		return
	}
	r.opts.Metrics.up.WithLabelValues(n.Name).Set(0)
	level.Warn(r.log).Log("msg", "replica was lost", "replica", n.Name, "addr", n.Addr)
}

func (r *replicas) up() map[Replica]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	up := make(map[Replica]bool, len(r.nodes))
	for which, n := range r.nodes {
		up[which] = n.up.Load()
	}
	return up
}

// close closes the connections; the context has ended.
func (r *replicas) close() {
	r.watches.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = true
	for _, n := range r.nodes {
		if err := n.conn.Close(); err != nil {
			level.Warn(r.log).Log("msg", "close connection", "replica", n.Name, "err", err)
		}
	}
}

// opened is a session that a replica has accepted.
type opened struct {
	*tunnel.Session
	replica Replica
	open    *tunnel.Open
	list    []Replica    // where it may be
	first   *tunnel.Down // its first message
	cancel  context.CancelCauseFunc
}

// end ends the session at once; every one has to be.
func (o *opened) end() { o.Abort() }

const (
	// comingRetry is when a login asks again that no replica could serve.
	comingRetry = 100 * time.Millisecond
	// hastenEvery is how often a node is dialled at most, because somebody waits for it.
	hastenEvery = 100 * time.Millisecond
)

// openSoon is openFirst, but when no replica can open the session it waits for one,
// for LoginWait: one that has just been started is there in a moment.
func (r *replicas) openSoon(ctx context.Context, list []Replica, open *tunnel.Open) (*opened, error) {
	patience, cancel := context.WithTimeout(ctx, r.opts.Limits.LoginWait)
	defer cancel()
	for {
		session, err := r.openFirst(ctx, list, open)
		if !errors.Is(err, errNoReplica) {
			return session, err
		}
		r.hasten(list)
		if !wait(patience, comingRetry) {
			return nil, err
		}
	}
}

// hasten has nodes dialled now that are out of reach, rather than at the end of the
// pause that follows an attempt in vain.
func (r *replicas) hasten(list []Replica) {
	for _, which := range list {
		n, err := r.get(which)
		if err != nil || n.up.Load() {
			continue
		}
		now, last := time.Now().UnixNano(), n.hastened.Load()
		if time.Duration(now-last) >= hastenEvery && n.hastened.CompareAndSwap(last, now) {
			n.conn.ResetConnectBackoff()
		}
	}
}

// openFirst opens a session on the first replica that can. The error is errNoRoute,
// errContactAdmin, errNoReplica or a *movedError; why each failed has been logged.
func (r *replicas) openFirst(ctx context.Context, list []Replica, open *tunnel.Open) (*opened, error) {
	if len(list) == 0 {
		return nil, errNoRoute
	}
	for _, which := range r.ordered(list) {
		session, err := r.try(ctx, which, open)
		r.opts.Metrics.opens.WithLabelValues(which.Name, openResult(err)).Inc()
		if err == nil {
			session.list = list
			if which != list[0] {
				r.opts.Metrics.failovers.WithLabelValues(which.Name).Inc()
			}
			return session, nil
		}
		if moved := (*movedError)(nil); errors.Is(err, errContactAdmin) || errors.As(err, &moved) {
			return nil, err
		}
		level.Warn(r.log).Log("msg", "replica cannot open a session", "replica", which.Name, "user", open.UserId, "err", err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errNoReplica
}

func openResult(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, errRefused), errors.Is(err, errContactAdmin), errors.Is(err, errBehind), errors.Is(err, errNotResumable):
		return "refused"
	}
	return "failed"
}

// try opens a session on one replica and waits for its first message.
func (r *replicas) try(ctx context.Context, which Replica, open *tunnel.Open) (*opened, error) {
	n, err := r.get(which)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(r.opts.Limits.OpenTimeout, func() { cancel(errOpenTimeout) })
	defer n.opening(cancel)()
	session, err := n.client.Start(ctx, cancel, open)
	if err != nil {
		timer.Stop()
		err = causeOr(ctx, err)
		cancel(nil)
		return nil, err
	}
	o := &opened{Session: session, replica: which, open: open, cancel: cancel}
	o.first, err = session.Recv()
	if !timer.Stop() || err != nil {
		err = causeOr(ctx, err)
	} else if refused := o.first.GetRefused(); refused != nil {
		err = refusal(refused)
	}
	if err != nil {
		o.end()
		return nil, err
	}
	return o, nil
}

// causeOr returns errOpenTimeout when that was the cause.
func causeOr(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err == nil || errors.Is(cause, errOpenTimeout) {
		return errOpenTimeout
	}
	return err
}

// refusal makes an error of a node's refusal.
func refusal(m *tunnel.Refused) error {
	switch m.GetReason() {
	case tunnel.Refused_CONTACT_ADMIN:
		return fmt.Errorf("%w: %s", errContactAdmin, m.GetText())
	case tunnel.Refused_BEHIND:
		return fmt.Errorf("%w: %s", errBehind, m.GetText())
	case tunnel.Refused_NOT_RESUMABLE:
		return fmt.Errorf("%w: %s", errNotResumable, m.GetText())
	}
	if m.GetReason() == tunnel.Refused_MOVED || m.GetReason() == tunnel.Refused_ON_ITS_WAY {
		return &movedError{m.GetSubnet()}
	}
	return fmt.Errorf("%w (%s): %s", errRefused, m.GetReason(), m.GetText())
}
