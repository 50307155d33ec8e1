package mailstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// Recovery says how to recover what only an evicted replica had.
type Recovery struct {
	// Evicted are all incarnations that were evicted. Remains may have operations
	// of any of them that nobody else has.
	Evicted []crdt.Origin
	Look    bool            // only find out what there is
	Report  func(Recovered) // is told of each account, one after the other; not nil
}

// Recovered is what there was to do to one account, and was done unless
// [Recovery].Look.
type Recovered struct {
	Account   crdt.AccountID
	Added     int    // messages
	Moved     int    // messages, to where they were moved
	Bytes     uint64 // of contents that are not here
	Flags     int    // set or removed
	Removed   int    // messages
	Mailboxes int    // created, renamed or deleted
	Settings  int    // subscriptions, annotations, special uses
	Elsewhere int    // messages that others have moved too, or that were saved once more here: left as they are
	// Problems are what could not be done, one sentence each.
	Problems []string
}

// maxProblems bounds the sentences about one account.
const maxProblems = 100

// changes returns how much there was to do.
func (o *Recovered) changes() int {
	return o.Added + o.Moved + o.Flags + o.Removed + o.Mailboxes + o.Settings
}

func (o *Recovered) problem(format string, args ...any) {
	if len(o.Problems) < maxProblems {
		o.Problems = append(o.Problems, fmt.Sprintf(format, args...))
	}
}

// ErrNotEvicted is returned by Recover for remains of a replica that was not evicted.
var ErrNotEvicted = errors.New("the replica was not evicted")

// Recover does again, as operations of this replica, what only an evicted one had
// (crdt.md 6.4): messages, with their contents, dates and flags, changes of flags,
// moves, removals, and what was done to mailboxes and settings. This replica must
// have all operations of evicted ones that any member has, and nobody may get
// others later. What was done is not done again, by whomever and whenever: it can
// be interrupted and begun anew at any time. Each account's changes are durable
// here and acknowledged by peers when Report is called. An error says that it was
// not finished; what is wrong with one account is one of its Problems.
func (r *Replica) Recover(ctx context.Context, from *Remains, how Recovery) error {
	if !slices.Contains(how.Evicted, from.Origin()) {
		return fmt.Errorf("recover incarnation %v: %w", from.Origin(), ErrNotEvicted)
	}
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.recovering.Lock()
	defer r.recovering.Unlock()
	accounts, err := from.r.accountIDs()
	if err != nil {
		return fmt.Errorf("recover: %w", err)
	}
	since, err := from.since(how.Evicted, r.Logged())
	if err != nil {
		return fmt.Errorf("recover: read the log: %w", err)
	}
	evicted := make(map[crdt.Origin]bool)
	for _, o := range how.Evicted {
		evicted[o] = true
	}
	for _, id := range accounts {
		w := &recoverer{r: r, from: from, ctx: ctx, evicted: evicted, since: since, out: Recovered{Account: id}}
		if err := w.account(how.Look); err != nil {
			if ctx.Err() != nil || r.mayWrite() != nil || errors.Is(err, ErrDiskFull) {
				return fmt.Errorf("recover account %d: %w", id, err)
			}
			w.out.problem("%v", err)
		}
		if w.out.changes() > 0 || w.out.Elsewhere > 0 || len(w.out.Problems) > 0 {
			w.log(how.Look)
			how.Report(w.out)
		}
	}
	return nil
}

// recoverer recovers one account.
type recoverer struct {
	r       *Replica
	from    *Remains
	ctx     context.Context
	evicted map[crdt.Origin]bool
	since   map[crdt.Slot]crdt.Time
	out     Recovered

	plan *plan
	s    *Account
	own  uint64 // number of the last own operation
}

func (w *recoverer) log(look bool) {
	if look {
		return
	}
	o := &w.out
	level.Info(w.r.logger).Log("msg", "recovered what only an evicted replica had", "account", o.Account, "from", w.from.Origin(),
		"added", o.Added, "moved", o.Moved, "flags", o.Flags, "removed", o.Removed, "mailboxes", o.Mailboxes, "settings", o.Settings,
		"elsewhere", o.Elsewhere, "problems", len(o.Problems))
	for _, p := range o.Problems {
		level.Warn(w.r.logger).Log("msg", "not recovered", "account", o.Account, "from", w.from.Origin(), "err", p)
	}
	m := w.r.store.opts.Metrics.recovered
	for what, n := range map[string]int{
		"added": o.Added, "moved": o.Moved, "flags": o.Flags, "removed": o.Removed, "mailboxes": o.Mailboxes, "settings": o.Settings,
	} {
		m.WithLabelValues(what).Add(float64(n))
	}
}

// account compares what is there and here, and does what is to be done.
func (w *recoverer) account(look bool) error {
	if err := w.compare(); err != nil || w.plan == nil {
		return err
	}
	if look {
		return w.count()
	}
	w.s = &Account{a: w.r.acquire(w.out.Account), selects: make(map[*Mailbox]struct{})}
	defer w.s.Close()
	err := w.carryOut()
	return errors.Join(err, w.concluded())
}

// compare makes the plan; none if there is nothing to do.
func (w *recoverer) compare() error {
	id, there := w.out.Account, w.from.r
	rec, err := there.recordOf(w.from.db, id)
	if err != nil {
		return err
	}
	db := w.r.store.db.NewSnapshot()
	defer db.Close()
	now, err := w.r.recordOf(db, id)
	if err != nil || !ahead(rec, now, w.evicted) {
		return err
	}
	if err := w.r.isolated(db, id); err != nil {
		return fmt.Errorf("not done: %w here", err)
	}
	if rec.Left(there.opts.Subnet) || now.Left(w.r.opts.Subnet) {
		return errors.New("not done: it has moved to another subnet")
	}
	if rec.Login.Time != 0 && now.Login.Time != 0 && rec.Login.Value != now.Login.Value {
		return fmt.Errorf("not done: it belongs to %q there and to %q here", rec.Login.Value, now.Login.Value)
	}
	p := &plan{evicted: w.evicted, since: w.since, same: w.same}
	if err := there.isolated(w.from.db, id); errors.Is(err, ErrUnavailable) {
		p.careful = true
		w.out.problem("removals were not taken over: %v there", err)
	} else if err != nil {
		return err
	}
	if p.old, err = there.remainderOf(w.ctx, w.from.db, id); err != nil {
		return err
	}
	if p.here, err = w.r.remainderOf(w.ctx, db, id); err != nil {
		return err
	}
	if err := p.make(); err != nil {
		return err
	}
	w.plan, w.out.Elsewhere = p, p.elsewhere
	return nil
}

// count tells what is to be done.
func (w *recoverer) count() error {
	p, o := w.plan, &w.out
	counted := make(map[crdt.Root]bool)
	for i := range p.adds {
		a := &p.adds[i]
		if a.from != nil {
			o.Moved++
			continue
		}
		o.Added++
		have, err := w.have(a.Root)
		if err != nil {
			return err
		}
		if !have && !counted[a.Root] {
			counted[a.Root] = true
			o.Bytes += a.Size
		}
	}
	o.Flags, o.Removed = len(p.flags), len(p.removals)
	o.Mailboxes = len(p.boxes) + len(p.renames) + len(p.deletions)
	o.Settings = len(p.uses) + len(p.subs) + len(p.notes)
	return nil
}

// carryOut does what is to be done, and then notes that it was.
func (w *recoverer) carryOut() error {
	if login := w.plan.old.Login.Value; login != "" {
		if err := w.s.bind(w.ctx, login); err != nil {
			return err
		}
	}
	for _, step := range []func() error{
		w.renameMailboxes, w.createMailboxes, w.changeFlags, w.addMessages, w.removeMessages, w.deleteMailboxes, w.changeSettings,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	for _, end := range w.plan.ends {
		// An APPEND of nothing: its cause says what it is for.
		if _, err := w.do(end, func(*tx) ([]crdt.Payload, error) {
			return []crdt.Payload{&crdt.Append{Box: crdt.Inbox}}, nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// do commits a change and reports whether there was anything to change. tag is the
// instance whose place what it adds takes, if any. Who looks at the account is shown
// the change when peers have it; nobody waits for that here.
func (w *recoverer) do(tag crdt.Tag, prepare func(*tx) ([]crdt.Payload, error)) (bool, error) {
	s := w.s
	s.session, s.command, s.index, s.attempt = SessionID{}, 0, 0, 0
	if !tag.IsZero() {
		c := crdt.RecoveryCause(tag, w.r.self.Slot)
		s.session, s.command, s.index, s.attempt = c.Session, c.Command, c.Index, c.Attempt
	}
	c, err := s.commit(w.ctx, func(t *tx) ([]crdt.Payload, error) {
		if !tag.IsZero() && t.a.rec.HasRecovered(tag) {
			return nil, nil
		}
		return prepare(t)
	}, nil)
	if errors.Is(err, crdt.ErrSuperseded) {
		return false, nil // another member has done it at the same time
	}
	if err != nil {
		return false, err
	}
	w.r.concludeLater(c)
	if c.own == 0 {
		return false, nil
	}
	w.own = c.own
	return true, nil
}

// concluded returns when what was done is shown to everybody.
func (w *recoverer) concluded() error {
	if w.own == 0 {
		return nil
	}
	w.s.session = SessionID{}
	err := w.s.look(w.ctx, func(*tx) error { return nil })
	return errors.Join(err, w.r.acknowledged(w.ctx, &commit{own: w.own}))
}

// have reports whether a content is here.
func (w *recoverer) have(root crdt.Root) (bool, error) {
	b, err := w.r.store.get(w.r.keys.content(nil, kindStructure, root))
	return b != nil, err
}

// errLost says that a content cannot be read from what is left of a replica.
var errLost = errors.New("its content is lost")

// bring copies a content that is not here.
func (w *recoverer) bring(root crdt.Root) error {
	have, err := w.have(root)
	if err != nil || have {
		return err
	}
	for i := 0; w.ctx.Err() == nil; i++ {
		data, last, err := w.from.r.BodyChunk(root, i)
		if err != nil {
			return err
		}
		if data == nil && !last {
			return errLost
		}
		if err := w.r.PutBodyChunk(root, i, data, last); err != nil || last {
			return err
		}
	}
	return w.ctx.Err()
}

// same implements plan.same. Contents that cannot be read are not the same.
func (w *recoverer) same(old, here crdt.Root) (bool, error) {
	for i := 0; ; i++ {
		a, lastA, err := w.from.r.BodyChunk(old, i)
		if err != nil {
			return false, err
		}
		b, lastB, err := w.r.BodyChunk(here, i)
		switch {
		case err != nil:
			return false, err
		case lastA && lastB:
			return true, nil
		case lastA != lastB || a == nil || !bytes.Equal(a, b):
			return false, nil
		}
	}
}

// RecoverContents copies contents that messages here refer to, that nobody has, and
// that remains have: what a peer was still to get when it was lost. It returns how many.
func (r *Replica) RecoverContents(ctx context.Context, from *Remains) (n int, err error) {
	if err := r.store.enter(); err != nil {
		return 0, err
	}
	defer r.store.leave()
	w := &recoverer{r: r, from: from, ctx: ctx}
	for behind := (crdt.Root{}); ; {
		list, err := r.MissingContents(behind, 100)
		if err != nil || len(list) == 0 {
			return n, err
		}
		for _, root := range list {
			behind = root
			switch err := w.bring(root); {
			case err == nil:
				n++
			case !errors.Is(err, errLost):
				return n, fmt.Errorf("recover content %x: %w", root, err)
			}
		}
	}
}
