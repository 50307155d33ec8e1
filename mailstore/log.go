package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// A log entry on the disk: the number of contents that travel before the
// operation, their roots, and the encoded operation.

// logEncoded puts an operation into the log.
func (t *tx) logEncoded(d crdt.Dot, bodies []crdt.Root, data []byte) error {
	t.key = t.keys.log(t.key[:0], d)
	t.val = binary.AppendUvarint(t.val[:0], uint64(len(bodies)))
	for _, root := range bodies {
		t.val = append(t.val, root[:]...)
	}
	t.val = append(t.val, data...)
	t.logged = append(t.logged, logged{d, len(t.key) + len(t.val)})
	return t.set(t.val)
}

// cutLogEntry returns the roots, one after the other, and the operation of an entry.
func cutLogEntry(d crdt.Dot, b []byte) (roots, op []byte, err error) {
	n, k := binary.Uvarint(b)
	if k <= 0 || n > uint64(len(b)-k)/rootLen {
		return nil, nil, fmt.Errorf("%w: log entry %s/%d", errCorrupt, d.Origin, d.N)
	}
	b = b[k:]
	return b[:n*rootLen], b[n*rootLen:], nil
}

func parseLogEntry(d crdt.Dot, b []byte) (causal.Entry, error) {
	roots, op, err := cutLogEntry(d, b)
	if err != nil {
		return causal.Entry{}, err
	}
	e := causal.Entry{Dot: d, Data: append(make([]byte, 0, len(op)), op...)}
	for ; len(roots) > 0; roots = roots[rootLen:] {
		e.Bodies = append(e.Bodies, crdt.Root(roots[:rootLen]))
	}
	// An entry whose header this version cannot read is passed on as it is.
	if h, err := crdt.DecodeHeader(e.Data); err == nil {
		e.Deps, e.Time = h.Deps, h.Time
	}
	return e, nil
}

// Origin implements comm.Store.
func (r *Replica) Origin() crdt.Origin { return r.self.Origin }

// Slot implements comm.Store.
func (r *Replica) Slot() crdt.Slot { return r.self.Slot }

// Logged implements comm.Store.
func (r *Replica) Logged() crdt.VC {
	r.durable.Lock()
	defer r.durable.Unlock()
	return r.durable.vector.Clone()
}

// Read implements comm.Store. ErrCut says that the log begins later.
func (r *Replica) Read(o crdt.Origin, from uint64, limit int) ([]causal.Entry, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	defer r.store.leave()
	from = max(from, 1)
	if r.logCut(o) >= from {
		return nil, fmt.Errorf("%w: %s/%d", ErrCut, o, from)
	}
	r.durable.Lock()
	last := r.durable.vector.Get(o)
	r.durable.Unlock()
	if from > last {
		return nil, nil
	}
	return r.readLog(o, from, last, limit)
}

// readLog reads operations from..last of an origin that are in the log, as many as
// have limit bytes. ErrCut: they are not there any more.
func (r *Replica) readLog(o crdt.Origin, from, last uint64, limit int) ([]causal.Entry, error) {
	if limit <= 0 {
		return nil, nil
	}
	var out []causal.Entry
	err := r.eachLogged(o, from, last, func(d crdt.Dot, v []byte) (bool, error) {
		e, err := parseLogEntry(d, v)
		if err != nil {
			return false, err
		}
		out = append(out, e)
		limit -= len(e.Data)
		return limit > 0, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// eachLogged calls f with each of the log's entries from..last of an origin, which is
// valid until f returns, as long as that is true. ErrCut: they are not there any more.
func (r *Replica) eachLogged(o crdt.Origin, from, last uint64, f func(d crdt.Dot, entry []byte) (bool, error)) error {
	lower := r.keys.log(nil, crdt.Dot{Origin: o, N: from})
	upper := append(r.keys.log(nil, crdt.Dot{Origin: o, N: last}), 0)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	// Whoever finds less than there was when it looked has to be told why.
	missing := func(n uint64) error {
		if r.logCut(o) >= n {
			return fmt.Errorf("%w: %s/%d", ErrCut, o, n)
		}
		return fmt.Errorf("%w: log of %s has no %d", errCorrupt, o, n)
	}
	more := it.First()
	if !more && r.logCut(o) >= from {
		return errors.Join(missing(from), it.Close())
	}
	for want := from; more; want++ {
		v, err := it.ValueAndErr()
		if err != nil {
			return errors.Join(fmt.Errorf("read log: %w", err), it.Close())
		}
		d := crdt.Dot{Origin: o, N: binary.BigEndian.Uint64(it.Key()[len(it.Key())-8:])}
		if d.N != want {
			return errors.Join(missing(want), it.Close())
		}
		if more, err = f(d, v); err != nil {
			return errors.Join(err, it.Close())
		}
		more = more && it.Next()
	}
	return it.Close()
}

// Apply implements comm.Store: one batch for each operation, one sync for all.
// When it returns an error, some of the operations may have been applied; they
// are recognised when they come again.
func (r *Replica) Apply(ctx context.Context, ops []causal.Entry) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	var commits []*commit
	var err error
	for i := range ops {
		if err = ctx.Err(); err != nil {
			break
		}
		// What is received must stop before the disk is full, as what clients
		// write does: the peer sends it again.
		if err = r.store.room(int64(len(ops[i].Data))); err != nil {
			break
		}
		var cs []*commit
		cs, err = r.receive(&ops[i])
		commits = append(commits, cs...)
		if err != nil {
			err = fmt.Errorf("apply %s/%d: %w", ops[i].Dot.Origin, ops[i].Dot.N, err)
			break
		}
	}
	for _, c := range commits {
		if e := r.synced(c); e != nil {
			err = errors.Join(err, e)
			continue
		}
		c.account.settle(c, nil)
	}
	for _, c := range commits {
		r.release(c.account)
	}
	for i := range ops {
		r.pullAhead(ops[i].Bodies)
	}
	return err
}

// receive applies one operation of a peer, and what it brings about here. The
// commits hold a reference to their account each.
func (r *Replica) receive(e *causal.Entry) ([]*commit, error) {
	h, err := crdt.DecodeHeader(e.Data)
	if err != nil || h.Dot != e.Dot {
		return r.receiveUnreadable(e, err)
	}
	a := r.acquire(h.Account)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return nil, err
	}
	var commits []*commit
	if a.loading != nil && !a.rec.Vector.Has(e.Dot) {
		if commits, err = a.endMerge(); err != nil {
			return commits, err
		}
	}
	c, err := a.receive(e)
	if c == nil || err != nil {
		return commits, err
	}
	return append(commits, c.hold()), nil
}

// hold takes a reference to the commit's account.
func (c *commit) hold() *commit {
	c.account.r.acquire(c.account.id)
	return c
}

// receive applies one operation of a peer. No commit: it was here already.
// Under a.mu.
func (a *account) receive(e *causal.Entry) (*commit, error) {
	r := a.r
	r.seq.Lock()
	defer r.seq.Unlock()
	if err := r.store.Err(); err != nil {
		return nil, err
	}
	if known, err := r.expected(e); known || err != nil {
		return nil, err
	}
	if a.quarantined != nil {
		return a.withhold(e, nil)
	}
	c, err := a.applyRemote(e, false, r.mayWrite() == nil && !a.left())
	if errors.Is(err, errFollow) {
		r.warn("follow up an operation of a peer", err)
		c, err = a.applyRemote(e, false, false)
	}
	if errors.Is(err, errImpossible) || damaged(err) {
		return a.withhold(e, err)
	}
	return c, err
}

// expected tells an operation that is here already (known), and one that must
// not come yet (error). Under r.seq.
func (r *Replica) expected(e *causal.Entry) (known bool, err error) {
	n := r.seq.vector.Get(e.Dot.Origin)
	switch {
	case e.Dot.N <= n:
		return true, nil
	case e.Dot.N > n+1:
		return false, fmt.Errorf("operation comes before number %d of its origin", n+1)
	case e.Dot.Origin == r.self.Origin:
		return false, errors.New("a peer has operations of this replica that it does not have itself: its data are older than the peer's")
	case !e.Deps.LessEqual(r.seq.vector):
		return false, errors.New("operation comes before others that it depends on")
	}
	return false, nil
}

var (
	// errImpossible marks an operation that cannot be applied whatever the disk does.
	errImpossible = errors.New("operation cannot be applied")
	// errFollow marks an error of what an operation brings about, not of itself.
	errFollow = errors.New("not followed up")
)

// applyRemote applies an operation of a peer in a batch of its own, with what it
// brings about here: a larger UIDVALIDITY belongs to the moment that makes it
// necessary, also if the power fails. Without follow that is left to the next
// tick. logged: it is in the log and in the replica's vector already. Under a.mu
// and r.seq.
func (a *account) applyRemote(e *causal.Entry, logged, follow bool) (*commit, error) {
	began := time.Now()
	t := a.begin()
	defer t.drop()
	op, err := a.r.decode(e.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errImpossible, err)
	}
	clock := a.r.seq.clock
	clock.Observe(op.Time)
	before := clock.Last
	known := a.rec.Vector.Has(op.Dot)
	more, err := a.effectOfPeer(t, op, clock.Bump(a.r.now()), before)
	if err != nil {
		return nil, err
	}
	if known {
		err = t.logKnown(e)
	} else {
		err = t.logReceived(e)
	}
	if err != nil {
		return nil, err
	}
	vector := a.r.seq.vector.Clone()
	c := &commit{account: a, dots: []crdt.Dot{e.Dot}, began: began}
	if !logged {
		a.r.heardOp(op)
		vector.Set(e.Dot.Origin, e.Dot.N)
	}
	if len(more) > 0 && !follow {
		a.r.ticker.soon(a.id, a.r.now()+retryDelay)
	} else if len(more) > 0 {
		own, err := a.own(t, localChange{payloads: more}, &vector, &clock)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFollow, err)
		}
		c.dots, c.own = append(c.dots, own...), own[len(own)-1].N
	}
	if err := a.submit(t, c, vector, clock); err != nil {
		return nil, err
	}
	a.r.store.opts.Metrics.operations.WithLabelValues("own").Add(float64(len(c.dots) - 1))
	a.r.store.opts.Metrics.operations.WithLabelValues("peer").Inc()
	return c, nil
}

// effectOfPeer is effect for an operation that came from outside: whatever is
// wrong with it is an error, also what would otherwise end the process.
func (a *account) effectOfPeer(t *tx, op *crdt.Op, mod, before crdt.Time) (more []crdt.Payload, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", errImpossible, p)
		}
	}()
	more, err = a.effect(t, op, mod, before)
	if err != nil && t.err == nil {
		err = fmt.Errorf("%w: %w", errImpossible, err)
	}
	return more, err
}

// logReceived logs an operation of a peer; its contents are staged no longer.
func (t *tx) logReceived(e *causal.Entry) error {
	for _, root := range e.Bodies {
		t.key = t.keys.content(t.key[:0], kindStaging, root)
		if err := t.del(); err != nil {
			return err
		}
	}
	return t.logEncoded(e.Dot, e.Bodies, e.Data)
}

// logKnown logs an operation whose effect a snapshot has brought. Its contents stay
// staged unless something refers to them: if it does not soon, they go.
func (t *tx) logKnown(e *causal.Entry) error {
	for _, root := range e.Bodies {
		c, err := t.Content(root)
		if err != nil {
			return err
		}
		if c.Garbage() {
			continue
		}
		t.key = t.keys.content(t.key[:0], kindStaging, root)
		if err := t.del(); err != nil {
			return err
		}
	}
	return t.logEncoded(e.Dot, e.Bodies, e.Data)
}

// PeerRecord implements comm.Store.
func (r *Replica) PeerRecord(name string) ([]byte, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	defer r.store.leave()
	return r.store.get(r.keys.peer(nil, name))
}

// SetPeerRecord implements comm.Store. The record is durable with the next commit.
func (r *Replica) SetPeerRecord(name string, record []byte) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	if err := r.store.Err(); err != nil {
		return err
	}
	if err := r.store.db.Set(r.keys.peer(nil, name), record, pebble.Sync); err != nil {
		return fmt.Errorf("peer record of %s: %w", name, err)
	}
	return nil
}
