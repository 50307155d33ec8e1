package mailstore

import (
	"context"
	"fmt"
	"math"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// wipe deletes what is here of an account, all of whose operations the
// staged snapshot contains: it is loaded as if it had never been here, but for what
// keep says. Its contents stay. Those that nothing refers to meanwhile are staged, so that they
// go if the snapshot does not refer to them either. What an unreadable message
// referred to that the snapshot does not have is never deleted. Under a.mu.
func (a *account) wipe(keep *crdt.Account) error {
	r := a.r
	b := r.store.db.NewBatch()
	defer b.Close()
	refs, unreadable, blocks, err := a.references()
	if err == nil {
		err = a.stagedReferences(refs, unreadable, blocks)
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
	if err := b.Set(r.keys.account(nil, a.id), keep.AppendBinary(nil), nil); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	if err := b.Commit(&pebble.WriteOptions{Sync: blocks}); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	if blocks { // when it is done once more after a crash, counts are 0 already
		if err := r.cutOutRecords(records); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	level.Warn(r.logger).Log("msg", "records of an account deleted, which is loaded anew", "account", a.id, "unreadable_messages", len(unreadable), "unreadable_blocks", blocks)
	a.rec, a.filed, a.waiting = keep, false, nil
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

// cutOutRecords takes all records of an account out of the database, in which
// blocks are damaged: it cannot compact a table that it cannot read.
func (r *Replica) cutOutRecords(prefix []byte) error {
	r.store.mending.Lock()
	defer r.store.mending.Unlock()
	err := r.store.db.Excise(context.Background(), pebble.KeyRange{Start: prefix, End: after(prefix)})
	if damaged(err) {
		return fmt.Errorf("records of other accounts are in the damaged block too: %w", err)
	}
	return err
}

// references counts how many messages refer to each content, and returns the
// messages that cannot be read. blocks: there are others, in blocks that cannot be read.
func (a *account) references() (refs map[crdt.Root]uint32, unreadable map[crdt.Tag]bool, blocks bool, err error) {
	refs, unreadable = make(map[crdt.Root]uint32), make(map[crdt.Tag]bool)
	var m crdt.Message
	count := func(rest, v []byte) {
		if m.UnmarshalBinary(v) == nil {
			refs[m.Root]++
		} else if at, err := parseInstance(rest); err == nil {
			unreadable[at.Tag] = true
		}
	}
	prefix := a.r.keys.record(nil, a.id, recMessage)
	err = a.eachStaged(prefix, nil, func(rest, v []byte) (bool, error) {
		count(rest, v)
		return true, nil
	})
	if damaged(err) {
		return refs, unreadable, true, a.eachBehind(prefix, count)
	}
	if err != nil {
		return nil, nil, false, err
	}
	blocks, err = a.otherBlocks()
	return refs, unreadable, blocks, err
}

// otherBlocks reports whether records of the account lie in blocks that cannot be read.
func (a *account) otherBlocks() (bool, error) {
	records := a.r.keys.record(nil, a.id, 0)
	err := a.eachStaged(records[:len(records)-1], nil, func([]byte, []byte) (bool, error) { return true, nil })
	if damaged(err) {
		return true, nil
	}
	return false, err
}

// eachBehind calls f for the records under a prefix from the last one back to a
// damaged block.
func (a *account) eachBehind(prefix []byte, f func(rest, v []byte)) error {
	it, err := a.r.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return err
	}
	for ok := it.Last(); ok; ok = it.Prev() {
		v, err := it.ValueAndErr()
		if err != nil {
			break // Close says it again
		}
		f(it.Key()[len(prefix):], v)
	}
	if err := it.Close(); err != nil && !damaged(err) {
		return err
	}
	return nil
}

// stagedReferences counts references of messages that cannot be read here, as the
// staged snapshot has them. Where whole blocks cannot be read it is not known which
// messages were here: then nothing of the account refers to those contents any more
// (no other one does), and the snapshot counts anew.
func (a *account) stagedReferences(refs map[crdt.Root]uint32, unreadable map[crdt.Tag]bool, blocks bool) error {
	if len(unreadable) == 0 && !blocks {
		return nil
	}
	var m crdt.Message
	prefix := append(a.r.keys.staged(nil, a.id), stagedMessage)
	return a.eachStaged(prefix, nil, func(_, v []byte) (bool, error) {
		err := m.UnmarshalBinary(v)
		switch {
		case err != nil:
		case blocks:
			refs[m.Root] = math.MaxUint32
		case unreadable[m.Tag]:
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
