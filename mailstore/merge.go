package mailstore

import (
	"bytes"
	"encoding/binary"
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
		if err := a.clear(l); err != nil {
			return nil, false, err
		}
	}
	if err := a.r.store.room(mergeBytes); err != nil {
		return nil, false, err
	}
	c, err = a.merge(l)
	return c, a.loading != nil, err
}

// clear makes room for a snapshot of a damaged account. Under a.mu.
func (a *account) clear(l *accountLoad) error {
	q := a.quarantined
	if q == nil || !q.Damaged {
		return nil
	}
	// What was done here and is not in the snapshot would be gone, and what was
	// removed here would come back.
	if !q.from.LessEqual(l.vector) {
		return fmt.Errorf("%w: the peer has not applied all that this replica had", ErrUnavailable)
	}
	l.broken, l.load = true, crdt.Load{}
	return a.wipe()
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

// loadPart is what one batch of a merge does, read from the staged records.
type loadPart struct {
	next  accountLoad // as it is behind it
	clear bool        // the staged records are done with
	apply func(*tx, *crdt.Site) ([]crdt.Payload, error)
}

// nextPart reads the next batch of a merge. Under a.mu.
func (a *account) nextPart(l *accountLoad) (*loadPart, error) {
	part := &loadPart{next: *l}
	switch l.phase {
	case loadStaged:
		return part, a.partAccount(part)
	case loadReplays:
		return part, a.partReplays(part)
	case loadMessages, loadArrived:
		return part, a.partMessages(part)
	case loadAbsent:
		return part, a.partAbsent(part)
	case loadVanished:
		return part, a.partVanished(part)
	}
	return nil, fmt.Errorf("%w: load in phase %d", errCorrupt, l.phase)
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

// partAccount reads what LoadAccount wants: all but messages and vanished UIDs.
func (a *account) partAccount(part *loadPart) error {
	snap, err := a.stagedSnapshot()
	if err != nil {
		return err
	}
	part.next.phase = loadReplays
	part.apply = func(_ *tx, s *crdt.Site) ([]crdt.Payload, error) {
		l, more, err := s.LoadAccount(snap)
		if err != nil {
			return nil, err
		}
		if before := part.next.load.Ours; part.next.broken {
			l.Ours = before // what the vector says since then is not all here
		}
		part.next.load, part.next.broken = *l, false
		return more, nil
	}
	return nil
}

func (a *account) stagedSnapshot() (*crdt.Snapshot, error) {
	snap := &crdt.Snapshot{Used: make(map[string]crdt.Validity), Subscriptions: make(map[string]crdt.Register[bool])}
	for _, kind := range []byte{stagedHead, stagedMailbox, stagedUsed, stagedSubscription, stagedNote} {
		prefix := append(a.r.keys.staged(nil, a.id), kind)
		err := a.eachStaged(prefix, nil, func(rest, v []byte) (bool, error) {
			return true, addStaged(snap, kind, string(rest), v)
		})
		if err != nil {
			return nil, fmt.Errorf("staged records of account %d: %w", a.id, err)
		}
	}
	return snap, nil
}

func addStaged(snap *crdt.Snapshot, kind byte, name string, v []byte) error {
	switch kind {
	case stagedHead:
		h, err := parseSnapshotHead(v)
		if err != nil {
			return err
		}
		snap.Clock, snap.Vector = h.clock, h.account.Vector
		snap.Login, snap.Provisioned = h.account.Login, h.account.Provisioned
		snap.Epoch, snap.Home, snap.Target = h.account.Epoch, h.account.Home, h.account.Target
		snap.Recovered = h.account.Recovered
	case stagedMailbox:
		b, err := crdt.DecodeMailbox(v)
		if err != nil {
			return err
		}
		snap.Boxes = append(snap.Boxes, b)
	case stagedUsed:
		snap.Used[name] = crdt.Validity(binary.BigEndian.Uint64(v))
	case stagedSubscription:
		reg, err := parseSubscription(v)
		if err != nil {
			return err
		}
		snap.Subscriptions[name] = *reg
	case stagedNote:
		return addNote(snap, name, v)
	}
	return nil
}

// eachStaged calls f for each key with a prefix that lies behind cursor (without
// the prefix, nil: from the first) until f returns false.
func (a *account) eachStaged(prefix, cursor []byte, f func(rest, v []byte) (bool, error)) error {
	lower := prefix
	if cursor != nil {
		lower = append(bytes.Clone(prefix), cursor...)
		lower = append(lower, 0)
	}
	it, err := a.r.store.db.NewIter(iterBounds(lower, after(prefix)))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = ok && it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			ok, err = f(it.Key()[len(prefix):], v)
		}
		if err != nil {
			return errors.Join(err, it.Close())
		}
	}
	return it.Close()
}

// inBox is what a part does in one mailbox.
type inBox[T any] struct {
	box  crdt.MailboxID
	list []T
}

func addToBox[T any](boxes []inBox[T], box crdt.MailboxID, x T) []inBox[T] {
	if n := len(boxes); n == 0 || boxes[n-1].box != box {
		boxes = append(boxes, inBox[T]{box: box})
	}
	last := &boxes[len(boxes)-1]
	last.list = append(last.list, x)
	return boxes
}

// partReplays reads the replays that the source remembers.
func (a *account) partReplays(part *loadPart) error {
	var list []crdt.Replay
	full := false
	prefix := append(a.r.keys.staged(nil, a.id), stagedReplay)
	err := a.eachStaged(prefix, cursorOf(&part.next), func(rest, v []byte) (bool, error) {
		r, err := parseStagedReplay(rest, v)
		if err != nil {
			return false, err
		}
		list = append(list, r)
		part.next.cursor = bytes.Clone(rest)
		full = len(list) >= a.r.mergeStep
		return !full, nil
	})
	part.through(full, loadMessages)
	part.apply = func(_ *tx, s *crdt.Site) ([]crdt.Payload, error) {
		return nil, s.LoadReplays(&part.next.load, list)
	}
	return err
}

// partMessages reads staged messages, those of a mailbox in the order of their
// registers. Of a damaged account first those that were here before: they keep
// their UIDs. Then all UIDs that clients may have been told lie below the horizon,
// as at the start of a process, and the others are shown above it.
func (a *account) partMessages(part *loadPart) error {
	then, arrived := loadAbsent, part.next.phase == loadArrived
	if q := a.quarantined; q != nil && q.Damaged && !arrived {
		then = loadArrived
	}
	var boxes []inBox[*crdt.Message]
	n, size, full := 0, 0, false
	prefix := append(a.r.keys.staged(nil, a.id), stagedMessage)
	err := a.eachStaged(prefix, cursorOf(&part.next), func(rest, v []byte) (bool, error) {
		m, err := crdt.DecodeMessage(v)
		if err != nil {
			return false, err
		}
		part.next.cursor = bytes.Clone(rest)
		n++
		if q := a.quarantined; (then == loadArrived || arrived) && q.from.Has(m.Tag.Dot()) == arrived {
			full = n >= 4*a.r.mergeStep // the other pass is for it
			return !full, nil
		}
		boxes = addToBox(boxes, crdt.MailboxID(binary.BigEndian.Uint64(rest)), m)
		size += len(v)
		full = n >= a.r.mergeStep || size >= mergeBytes
		return !full, nil
	})
	part.through(full, then)
	part.apply = func(_ *tx, s *crdt.Site) ([]crdt.Payload, error) {
		return inEach(boxes, func(box crdt.MailboxID, list []*crdt.Message) ([]crdt.Payload, error) {
			return s.LoadMessages(&part.next.load, box, list)
		})
	}
	return err
}

// through moves on to the next phase behind a part that is not full: there was no
// more. That clients add to what is looked through must not make it endless.
func (p *loadPart) through(full bool, next loadPhase) {
	if full {
		return
	}
	p.next.phase, p.next.cursor = next, nil
	p.clear = next == loadDone
}

func cursorOf(l *accountLoad) []byte {
	if len(l.cursor) == 0 {
		return nil
	}
	return l.cursor
}

func inEach[T any](boxes []inBox[T], f func(crdt.MailboxID, []T) ([]crdt.Payload, error)) ([]crdt.Payload, error) {
	var all []crdt.Payload
	for _, b := range boxes {
		more, err := f(b.box, b.list)
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// partAbsent looks through the instances here for those that the snapshot does
// not have.
func (a *account) partAbsent(part *loadPart) error {
	var boxes []inBox[crdt.Tag]
	n, full := 0, false
	prefix := a.r.keys.record(nil, a.id, recMessage)
	staged := append(a.r.keys.staged(nil, a.id), stagedTag)
	err := a.eachStaged(prefix, cursorOf(&part.next), func(rest, _ []byte) (bool, error) {
		at, err := parseInstance(rest)
		if err != nil {
			return false, err
		}
		part.next.cursor = bytes.Clone(rest)
		n++
		there, err := getFrom(a.r.store.db, append(bytes.Clone(staged), rest...))
		if err == nil && there == nil {
			boxes = addToBox(boxes, at.Box, at.Tag)
		}
		full = n >= 4*a.r.mergeStep
		return !full, err
	})
	part.through(full, loadVanished)
	part.apply = func(_ *tx, s *crdt.Site) ([]crdt.Payload, error) {
		return inEach(boxes, func(box crdt.MailboxID, tags []crdt.Tag) ([]crdt.Payload, error) {
			return s.LoadAbsent(&part.next.load, box, tags)
		})
	}
	return err
}

// partVanished reads UIDs that vanished at the source. Those that are shown here
// may be among them: who reads the list leaves them out (C11).
func (a *account) partVanished(part *loadPart) error {
	var boxes []inBox[crdt.UID]
	n, full := 0, false
	prefix := append(a.r.keys.staged(nil, a.id), stagedVanished)
	err := a.eachStaged(prefix, cursorOf(&part.next), func(rest, v []byte) (bool, error) {
		count, k := binary.Uvarint(v)
		if len(rest) != 16 || k <= 0 || count >= maxRun {
			return false, errCorrupt
		}
		box, first := crdt.MailboxID(binary.BigEndian.Uint64(rest)), crdt.UID(binary.BigEndian.Uint64(rest[8:]))
		for i := range count + 1 {
			boxes = addToBox(boxes, box, first+crdt.UID(i))
		}
		part.next.cursor = bytes.Clone(rest)
		n += 1 + int(count)
		full = n >= 4*a.r.mergeStep
		return !full, nil
	})
	part.through(full, loadDone)
	part.apply = func(_ *tx, s *crdt.Site) ([]crdt.Payload, error) {
		return inEach(boxes, func(box crdt.MailboxID, uids []crdt.UID) ([]crdt.Payload, error) {
			return nil, s.LoadVanished(&part.next.load, box, uids, func(crdt.UID) bool { return false })
		})
	}
	return err
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
