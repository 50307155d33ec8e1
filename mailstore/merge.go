package mailstore

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// mergeStep is how many records one batch of a merge takes (of those that are
// small four times as many), mergeBytes about how large it becomes.
const (
	mergeStep  = 500
	mergeBytes = 1 << 20
)

// mergeLocked does one batch of a merge. more: there are others behind it.
func (a *account) mergeLocked() (c *commit, more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return nil, false, err
	}
	l := a.loading
	if l == nil {
		if l, err = a.r.loadRecordIn(a.r.store.db, a.id); err != nil {
			return nil, false, err
		}
		switch {
		case l == nil:
			return nil, false, ErrNoLoad
		case l.phase == loadDone:
			return nil, false, nil
		case l.phase != loadStaged:
			return nil, false, fmt.Errorf("%w: pieces are missing", ErrPiece)
		}
		if err := a.checkStaged(); err != nil {
			return nil, false, a.throwAway(l, err)
		}
		if err := a.makeRoom(l); err != nil {
			return nil, false, err
		}
	}
	if err := a.r.store.room(mergeBytes); err != nil {
		return nil, false, err
	}
	c, err = a.merge(l)
	return c, a.loading != nil, err
}

// makeRoom deletes what is here of an account that is loaded anew: of one that is
// damaged, and of one that has left and has come back, whose messages have the UIDs
// that they had before. Under a.mu.
func (a *account) makeRoom(l *accountLoad) error {
	q := a.quarantined
	if q != nil && q.Damaged {
		// What was done here and is not in the snapshot would be gone, and what was
		// removed here would come back.
		if !q.from.LessEqual(l.vector) {
			return fmt.Errorf("%w: the peer has not applied all that this replica had", ErrUnavailable)
		}
		l.broken, l.load = true, crdt.Load{}
		return a.wipe(new(crdt.Account))
	}
	if !a.left() {
		return nil
	}
	snap, err := a.stagedSnapshot()
	if err != nil || snap.Home.Time <= a.rec.Home.Time || !a.rec.Vector.LessEqual(snap.Vector) {
		return err
	}
	return a.wipe(&crdt.Account{Home: a.rec.Home, Target: a.rec.Target})
}

// endMerge does the rest of a merge that is under way: an operation of a peer
// must not come between. Under a.mu.
func (a *account) endMerge() ([]*commit, error) {
	var commits []*commit
	for a.loading != nil {
		c, err := a.merge(a.loading)
		if c != nil {
			commits = append(commits, c.hold())
		}
		if err != nil {
			return commits, fmt.Errorf("merge the snapshot of account %d: %w", a.id, err)
		}
	}
	return commits, nil
}

// merge commits one batch. Under a.mu.
func (a *account) merge(l *accountLoad) (*commit, error) {
	part, err := a.nextPart(l)
	if err != nil {
		return nil, err
	}
	c, err := a.commitPart(l, part, a.r.mayWrite() == nil)
	if errors.Is(err, errFollow) {
		a.r.warn("follow up a snapshot", err)
		c, err = a.commitPart(l, part, false)
	}
	if errors.Is(err, errImpossible) {
		return a.refuseLoad(l, err)
	}
	return c, err
}

// healing returns what becomes of the account's quarantine with the last part of a
// snapshot: what was withheld and is not in it can be applied now. nil: nothing.
func (a *account) healing(part *loadPart) *quarantine {
	if a.quarantined == nil || part.next.phase != loadDone {
		return nil
	}
	q := *a.quarantined
	q.Damaged = false
	q.from = q.from.Clone()
	q.from.Merge(part.next.vector)
	return &q
}

// commitPart applies and commits one batch of a merge. Under a.mu.
func (a *account) commitPart(l *accountLoad, part *loadPart, follow bool) (*commit, error) {
	r := a.r
	t := a.begin()
	defer t.drop()
	r.seq.Lock()
	defer r.seq.Unlock()
	if err := r.store.Err(); err != nil {
		return nil, err
	}
	vector, clock := r.seq.vector.Clone(), r.seq.clock
	if l.phase == loadStaged {
		clock.Observe(min(l.clock, maxAhead(r.now())))
	}
	before := clock.Last
	site := &crdt.Site{State: t, Self: r.self, Now: r.now(), Mod: clock.Bump(r.now()), Before: before}
	more, err := part.run(t, site)
	if err != nil {
		return nil, err
	}
	if err := t.putLoad(part); err != nil {
		return nil, err
	}
	heals := a.healing(part)
	if heals != nil {
		if err := t.putQuarantine(heals); err != nil {
			return nil, err
		}
	}
	c := &commit{account: a, began: time.Now()}
	if len(more) > 0 && !follow {
		r.ticker.soon(a.id, r.now()+retryDelay)
	} else if len(more) > 0 {
		own, err := a.own(t, localChange{payloads: more}, &vector, &clock)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFollow, err)
		}
		c.dots, c.own = own, own[len(own)-1].N
	}
	if err := a.submit(t, c, vector, clock); err != nil {
		return nil, err
	}
	if heals != nil {
		a.isolate(heals)
	}
	if part.next.phase == loadArrived && l.phase == loadMessages {
		if err := a.restartBoxes(); err != nil {
			return nil, err
		}
	}
	a.loading = nil
	if part.next.merging() {
		a.loading = &part.next
	}
	return c, nil
}

// maxAhead is the latest time that is believed of a peer's clock: far enough for
// every clock that is wrong, and not at the end of what a clock can show.
func maxAhead(now int64) crdt.Time {
	const decade = 10 * 365 * 24 * 60 * 60 * 1000
	return crdt.TimeAt(now+decade, crdt.MaxSlot)
}

// run applies the part; whatever is wrong with the snapshot is an error.
func (p *loadPart) run(t *tx, site *crdt.Site) (more []crdt.Payload, err error) {
	defer func() {
		if x := recover(); x != nil {
			err = fmt.Errorf("%w: %v", errImpossible, x)
		}
	}()
	more, err = p.apply(t, site)
	if err != nil && t.err == nil {
		err = fmt.Errorf("%w: %w", errImpossible, err)
	}
	return more, err
}

// putLoad writes how far the merge has come.
func (t *tx) putLoad(part *loadPart) error {
	if part.clear {
		prefix := t.keys.staged(nil, t.a.id)
		if err := t.fault(t.batch.DeleteRange(prefix, after(prefix), nil)); err != nil {
			return err
		}
	}
	t.key = t.keys.accountLoad(t.key[:0], t.a.id)
	t.val = part.next.append(t.val[:0])
	return t.set(t.val)
}

// refuseLoad is about a snapshot that turns out to be impossible when a part of it
// is merged: the account is in quarantine until it is loaded anew. checkStaged is
// there so that this never happens.
func (a *account) refuseLoad(l *accountLoad, reason error) (*commit, error) {
	if !l.merging() {
		return nil, a.throwAway(l, reason)
	}
	t := a.begin()
	defer t.drop()
	part := &loadPart{next: accountLoad{broken: true, load: l.load}, clear: true}
	if err := t.putLoad(part); err != nil {
		return nil, err
	}
	a.r.seq.Lock()
	defer a.r.seq.Unlock()
	q := quarantine{from: a.r.seq.vector.Clone()}
	if a.quarantined != nil {
		q = *a.quarantined
	}
	q.Quarantined = Quarantined{Account: a.id, Since: q.Since, Time: a.r.opts.Now(), Reason: "load a snapshot: " + reason.Error(), Damaged: true}
	if err := t.putQuarantine(&q); err != nil {
		return nil, err
	}
	c := &commit{account: a, began: time.Now()}
	if err := a.submit(t, c, a.r.seq.vector, a.r.seq.clock); err != nil {
		return nil, err
	}
	a.loading = nil
	a.isolate(&q)
	return c, nil
}
