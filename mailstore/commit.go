package mailstore

import (
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// commit is a batch of one account on its way: handed to the database, then
// durable here, then on the peers, then shown.
//
// The way of a local change:
//
//	account.mu   prepare it on a transaction
//	seq          number, time, effect, one batch (state, log, vector) to the
//	             database's log: from here on it happened
//	             account memory and heads of views follow
//	(unlocked)   wait for the sync, which all commits of that moment share
//	             wait for the peers (Replicator)
//	publisher    show it, in its turn
type commit struct {
	account   *account
	batch     *pebble.Batch
	dots      []crdt.Dot // operations in it
	own       uint64     // number of the last own operation in it, 0 if none
	behind    uint64     // number of the last own operation in it or before it
	shown     crdt.VC    // the account's vector with it
	exposures []exposure
	session   SessionID         // that made the change, zero for other replicas and time
	touched   []crdt.MailboxID  // whose records changed
	listed    bool              // the list of mailboxes or subscriptions may have changed
	noted     []crdt.Annotation // that were set or removed
	began     time.Time
	before    *commit // of the same change, to be shown with it

	// Under publisher.pub:
	settled bool
	err     error
	done    chan struct{} // closed when it has been shown, or never will be
}

// maxFollowups bounds how many operations one operation may bring about.
const maxFollowups = 10000

// origin says who wants a local change.
type origin struct {
	cause  crdt.Cause
	failed []int        // what the change leaves out, to be recorded with it
	fence  func() error // why the session must not commit now, nil result: it may
}

// places returns what the change leaves out as an operation has it.
func (o *origin) places() []uint32 {
	if len(o.failed) == 0 {
		return nil
	}
	out := make([]uint32, len(o.failed))
	for i, n := range o.failed {
		out[i] = uint32(n)
	}
	return out
}

// localChange is a local change that has been prepared.
type localChange struct {
	from     origin
	payloads []crdt.Payload
	after    func(*tx) error // adds to the transaction when they are applied, may be nil
	more     bool            // others of the same preparation follow
}

// commitLocal applies prepared payloads as own operations, in one batch. Under
// a.mu. On an error nothing has changed.
func (a *account) commitLocal(t *tx, change localChange) (*commit, error) {
	r := a.r
	from, after := change.from, change.after
	if err := r.store.room(int64(t.batch.Len())); err != nil {
		return nil, err
	}
	began := time.Now()
	r.seq.Lock()
	defer r.seq.Unlock()
	if err := r.mayWrite(); err != nil {
		return nil, err
	}
	if from.fence != nil {
		if err := from.fence(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
		}
	}
	vector, clock := r.seq.vector.Clone(), r.seq.clock
	dots, err := a.own(t, change, &vector, &clock)
	if err != nil {
		return nil, err
	}
	if after != nil {
		if err := after(t); err != nil {
			return nil, err
		}
	}
	c := &commit{account: a, dots: dots, own: dots[len(dots)-1].N, began: began, session: from.cause.Session}
	if err := a.submit(t, c, vector, clock); err != nil {
		return nil, err
	}
	r.store.opts.Metrics.operations.WithLabelValues("own").Add(float64(len(dots)))
	return c, nil
}

// own applies a change to the transaction, and what it brings about, as own
// operations behind vector, which it moves on as it does the clock. Under a.mu
// and r.seq. On an error the transaction must be dropped.
func (a *account) own(t *tx, change localChange, vector *crdt.VC, clock *crdt.Clock) ([]crdt.Dot, error) {
	r, payloads, cause := a.r, change.payloads, change.from.cause
	wanted := len(payloads) // what follows is brought about
	var dots []crdt.Dot
	for i := 0; i < len(payloads); i++ {
		op := &crdt.Op{
			Dot:     crdt.Dot{Origin: r.self.Origin, N: vector.Get(r.self.Origin) + 1},
			Deps:    vector.Clone(),
			Account: a.id,
			Cause:   cause,
			More:    i < wanted-1 || i < wanted && change.more,
			Payload: payloads[i],
		}
		if i == 0 {
			op.Failed = change.from.places()
		}
		// During a load the account is ahead of the replica (crdt.md 6.3).
		known, err := t.Account()
		if err != nil {
			return nil, err
		}
		op.Partial = !known.Vector.LessEqual(*vector)
		op.Deps.Merge(known.Vector)
		before := clock.Last
		op.Time = clock.Bump(r.now())
		more, err := a.effect(t, op, op.Time, before)
		if err != nil {
			return nil, fmt.Errorf("apply %T: %w", op.Payload, err)
		}
		if err := t.log(op); err != nil {
			return nil, err
		}
		if payloads, err = t.follow(payloads, i < len(payloads)-1 || change.more, more); err != nil {
			return nil, err
		}
		dots = append(dots, op.Dot)
		vector.Add(op.Dot)
		if !cause.IsZero() {
			cause.Index += instances(op.Payload)
		}
	}
	return dots, nil
}

// instances returns how many indexes of its cause a payload takes.
func instances(p crdt.Payload) uint32 {
	switch p := p.(type) {
	case *crdt.Append:
		return uint32(len(p.Messages))
	case *crdt.Move:
		return uint32(len(p.Entries))
	case *crdt.RenameInbox:
		return uint32(len(p.Move.Entries)) + 1
	}
	return 1
}

// keep makes what a look has changed the head. A horizon alone stays in memory;
// anything else, also UIDs that were skipped, becomes a commit without operation. Under a.mu.
func (a *account) keep(t *tx) (*commit, error) {
	if len(t.messages) == 0 && t.account == nil && t.batch.Empty() && !t.durable && !t.heard() {
		for id, b := range t.boxes {
			a.setBox(&boxState{rec: b, recent: t.recentOf(id), vanished: t.vanishedOf(id), dirty: true})
		}
		if out := t.horizons(); len(out) > 0 {
			return a.nothing(out), nil
		}
		return nil, nil
	}
	dirty := t.account != nil || !t.batch.Empty() || len(t.boxes) > 0
	for _, m := range t.messages {
		dirty = dirty || m.dirty
	}
	if !dirty {
		return nil, nil
	}
	a.r.seq.Lock()
	defer a.r.seq.Unlock()
	if err := a.r.store.Err(); err != nil {
		return nil, err
	}
	c := &commit{account: a, began: time.Now()}
	return c, a.submit(t, c, a.r.seq.vector, a.r.seq.clock)
}

// horizons returns the open mailboxes whose UIDNEXT a look has raised: what one
// session was told of, others must not be told less of.
func (t *tx) horizons() (out []exposure) {
	for id, b := range t.boxes {
		if box := t.a.open[id]; box != nil && b.H >= box.head.UIDNext() {
			out = append(out, t.expose(box, b))
		}
	}
	return out
}

// heard reports whether the transaction has raised the largest UID heard of in a
// mailbox, which must be durable.
func (t *tx) heard() bool {
	for id, b := range t.boxes {
		if old := t.a.boxes[id]; old != nil && b.N > old.rec.N {
			return true
		}
	}
	return false
}

// follow puts what an operation brings about behind the payloads. If others are
// prepared that are not applied yet, both might give the same UIDs: then it is
// left to the next tick, which prepares it anew.
func (t *tx) follow(payloads []crdt.Payload, others bool, more []crdt.Payload) ([]crdt.Payload, error) {
	if len(more) == 0 {
		return payloads, nil
	}
	if others {
		t.tick = true
		return payloads, nil
	}
	if len(payloads)+len(more) > maxFollowups {
		return nil, fmt.Errorf("%w: too many operations at once", ErrLimit)
	}
	return append(payloads, more...), nil
}

// effect applies one operation to the transaction.
func (a *account) effect(t *tx, op *crdt.Op, mod, before crdt.Time) ([]crdt.Payload, error) {
	t.op = op.Dot
	site := crdt.Site{State: t, Self: a.r.self, Now: a.r.now(), Mod: mod, Before: before}
	more, err := site.Apply(op)
	if err != nil {
		return nil, err
	}
	return more, t.record(op)
}

// submit hands a transaction to the database and makes it the head. Under a.mu and r.seq.
func (a *account) submit(t *tx, c *commit, vector crdt.VC, clock crdt.Clock) error {
	r := a.r
	if err := t.write(); err != nil {
		return err
	}
	t.key = r.keys.vector(t.key[:0])
	t.val = appendClock(t.val[:0], clock.Last, vector)
	if err := t.set(t.val); err != nil {
		return err
	}
	r.store.opts.Metrics.batch.Observe(float64(t.batch.Len()))
	r.store.opts.Metrics.keys.Observe(float64(t.batch.Count()))
	if err := r.store.db.ApplyNoSyncWait(t.batch, pebble.Sync); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	r.noteLogged(t.logged)
	c.batch, t.batch = t.batch, nil
	c.behind = vector.Get(r.self.Origin)
	c.done = make(chan struct{})
	r.seq.vector, r.seq.clock = vector, clock
	t.touch(c)
	c.exposures = t.install()
	t.tellContents()
	c.shown = a.rec.Vector
	a.enqueue(c)
	return nil
}

// log puts an own operation into the log.
func (t *tx) log(op *crdt.Op) error {
	data, err := op.AppendBinary(nil)
	if err != nil {
		return t.fail(fmt.Errorf("encode %T: %w", op.Payload, err))
	}
	return t.logEncoded(op.Dot, newBodies(op), data)
}

// newBodies returns the contents that travel before an operation.
func newBodies(op *crdt.Op) []crdt.Root {
	p, ok := op.Payload.(*crdt.Append)
	if !ok || !p.NewBody {
		return nil
	}
	roots := make([]crdt.Root, len(p.Messages))
	for i := range p.Messages {
		roots[i] = p.Messages[i].Root
	}
	return roots
}
