package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// checkStaged checks a whole snapshot before any of it is merged: one that is
// found out to be impossible in the middle leaves an account of which neither side
// knows what it is. Under a.mu.
func (a *account) checkStaged() error {
	snap, err := a.stagedSnapshot()
	if err != nil {
		return err
	}
	if err := snap.Check(); err != nil {
		return err
	}
	boxes := make(map[crdt.MailboxID]*crdt.Mailbox, len(snap.Boxes))
	for _, b := range snap.Boxes {
		boxes[b.ID] = b
	}
	boxOf := func(key []byte) (*crdt.Mailbox, error) {
		if len(key) < 8 {
			return nil, errCorrupt
		}
		id := crdt.MailboxID(binary.BigEndian.Uint64(key))
		if b := boxes[id]; b != nil {
			return b, nil
		}
		return nil, fmt.Errorf("%w: mailbox %x is not in the snapshot", crdt.ErrImpossible, uint64(id))
	}
	err = a.eachStaged(append(a.r.keys.staged(nil, a.id), stagedReplay), nil, func(rest, v []byte) (bool, error) {
		r, err := parseStagedReplay(rest, v)
		if err == nil {
			err = snap.CheckReplay(r)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	var m crdt.Message
	err = a.eachStaged(append(a.r.keys.staged(nil, a.id), stagedMessage), nil, func(rest, v []byte) (bool, error) {
		b, err := boxOf(rest)
		if err == nil {
			err = m.UnmarshalBinary(v)
		}
		if err == nil {
			err = snap.CheckMessage(b, &m)
		}
		return true, err
	})
	if err != nil {
		return err
	}
	return a.eachStaged(append(a.r.keys.staged(nil, a.id), stagedVanished), nil, func(rest, v []byte) (bool, error) {
		b, err := boxOf(rest)
		if err != nil {
			return false, err
		}
		n, k := binary.Uvarint(v)
		if len(rest) != 16 || k <= 0 || n >= maxRun {
			return false, errCorrupt
		}
		first := crdt.UID(binary.BigEndian.Uint64(rest[8:]))
		return true, snap.CheckVanished(b, first, first+crdt.UID(n))
	})
}

// throwAway forgets a staged snapshot of which nothing was merged, if it is
// impossible, and returns why. Under a.mu.
func (a *account) throwAway(l *accountLoad, reason error) error {
	if !errors.Is(reason, crdt.ErrImpossible) && !errors.Is(reason, errCorrupt) {
		return reason
	}
	t := a.begin()
	defer t.drop()
	part := &loadPart{next: accountLoad{broken: l.broken, load: l.load}, clear: true}
	err := t.putLoad(part)
	if err == nil {
		err = a.r.store.db.Apply(t.batch, nil)
	}
	return errors.Join(fmt.Errorf("%w: %w", ErrPiece, reason), err)
}
