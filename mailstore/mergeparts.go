package mailstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

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
