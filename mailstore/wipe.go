package mailstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// wipe deletes what is here of a damaged account, all of whose operations the
// staged snapshot contains: it is loaded as if it had never been here. Its
// contents stay. Those that nothing refers to meanwhile are staged, so that they
// go if the snapshot does not refer to them either. What an unreadable message
// referred to that the snapshot does not have is never deleted. Under a.mu.
func (a *account) wipe() error {
	r := a.r
	b := r.store.db.NewBatch()
	defer b.Close()
	refs, unreadable, err := a.references()
	if err == nil {
		err = a.stagedReferences(refs, unreadable)
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	if err := r.releaseAll(b, refs); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	records := r.keys.record(nil, a.id, 0)
	records = records[:len(records)-1]
	for _, prefix := range [][]byte{records, r.keys.awaits(nil, a.id), r.keys.filed(nil, a.id)} {
		if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	level.Warn(r.logger).Log("msg", "records of a damaged account deleted, to be loaded anew", "account", a.id, "unreadable_messages", len(unreadable))
	a.rec, a.filed, a.waiting = new(crdt.Account), false, nil
	a.open = make(map[crdt.MailboxID]*openBox) // of sessions that may do nothing more
	a.rereadBoxes()
	return nil
}

// rereadBoxes forgets what memory has of mailboxes. Under a.mu.
func (a *account) rereadBoxes() {
	a.boxes, a.all, a.index, a.names = make(map[crdt.MailboxID]*boxState), false, nameIndex{}, nil
}

// restartBoxes raises all horizons as a start of the process does (crdt.md 2.2).
// Under a.mu.
func (a *account) restartBoxes() error {
	if err := a.loadBoxes(); err != nil {
		return err
	}
	for _, s := range a.boxes {
		if s != nil {
			s.rec.Restart()
			s.dirty = true
		}
	}
	return nil
}

// references counts how many messages refer to each content, and returns the
// messages that cannot be read.
func (a *account) references() (refs map[crdt.Root]uint32, unreadable map[crdt.Tag]bool, err error) {
	refs, unreadable = make(map[crdt.Root]uint32), make(map[crdt.Tag]bool)
	var m crdt.Message
	err = a.eachStaged(a.r.keys.record(nil, a.id, recMessage), nil, func(rest, v []byte) (bool, error) {
		if m.UnmarshalBinary(v) == nil {
			refs[m.Root]++
		} else if at, err := parseInstance(rest); err == nil {
			unreadable[at.Tag] = true
		}
		return true, nil
	})
	return refs, unreadable, err
}

// stagedReferences counts references of messages that cannot be read here, as the
// staged snapshot has them.
func (a *account) stagedReferences(refs map[crdt.Root]uint32, unreadable map[crdt.Tag]bool) error {
	if len(unreadable) == 0 {
		return nil
	}
	var m crdt.Message
	prefix := append(a.r.keys.staged(nil, a.id), stagedMessage)
	return a.eachStaged(prefix, nil, func(_, v []byte) (bool, error) {
		err := m.UnmarshalBinary(v)
		if err == nil && unreadable[m.Tag] {
			refs[m.Root]++
		}
		return true, err
	})
}

// releaseAll takes references off the counts of contents.
func (r *Replica) releaseAll(b *pebble.Batch, refs map[crdt.Root]uint32) error {
	for root, n := range refs {
		key := r.keys.content(nil, kindCount, root)
		v, err := r.store.get(key)
		if err != nil {
			return err
		}
		c, err := parseCount(v)
		if err != nil {
			c = crdt.Content{} // the snapshot counts anew
		}
		c.Live -= min(n, c.Live)
		if c.Garbage() {
			err = r.mark(b, root)
		} else {
			err = nil
		}
		if err != nil {
			return err
		}
		if err := b.Set(key, appendCount(nil, c), nil); err != nil {
			return err
		}
	}
	return nil
}
