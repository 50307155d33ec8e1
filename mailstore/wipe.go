package mailstore

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// wipe deletes what is here of an account, all of whose operations the
// staged snapshot contains: it is loaded as if it had never been here, but for what
// keep says. Its contents stay: they are staged, so that they go if the snapshot does
// not refer to them either. What only a message referred to that cannot be read is
// never deleted. Under a.mu.
func (a *account) wipe(keep *crdt.Account) error {
	r := a.r
	b := r.store.db.NewBatch()
	defer b.Close()
	roots, err := a.references()
	if err == nil {
		err = r.releaseAll(b, roots)
	}
	if err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	for _, prefix := range [][]byte{r.recordsOf(a.id), r.keys.awaits(nil, a.id), r.keys.filed(nil, a.id)} {
		if err := b.DeleteRange(prefix, after(prefix), nil); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if keep.Home.Time != 0 {
		if err := b.Set(r.keys.account(nil, a.id), keep.AppendBinary(nil), nil); err != nil {
			return fmt.Errorf("wipe: %w", err)
		}
	}
	if err := b.Commit(pebble.NoSync); err != nil {
		return fmt.Errorf("wipe: %w", err)
	}
	level.Warn(r.logger).Log("msg", "records of an account deleted, which is loaded anew", "account", a.id)
	a.rec, a.filed, a.waiting = keep, false, nil
	a.open = make(map[crdt.MailboxID]*openBox) // of sessions that may do nothing more
	a.rereadBoxes()
	return nil
}

// recordsOf is the beginning of all records of an account.
func (r *Replica) recordsOf(id crdt.AccountID) []byte { return r.accountsFrom(uint64(id)) }

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

// references returns the contents that messages of the account refer to, here or in the
// staged snapshot.
func (a *account) references() (map[crdt.Root]bool, error) {
	roots := make(map[crdt.Root]bool)
	var m crdt.Message
	for _, prefix := range [][]byte{a.r.keys.record(nil, a.id, recMessage), append(a.r.keys.staged(nil, a.id), stagedMessage)} {
		err := a.eachStaged(prefix, nil, func(_, v []byte) (bool, error) {
			if m.UnmarshalBinary(v) == nil {
				roots[m.Root] = true
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return roots, nil
}

// releaseAll takes all references off the counts of contents: no other account refers
// to them.
func (r *Replica) releaseAll(b *pebble.Batch, roots map[crdt.Root]bool) error {
	for root := range roots {
		key := r.keys.content(nil, kindCount, root)
		v, err := r.store.get(key)
		if err != nil {
			return err
		}
		if v == nil {
			continue // it is not here
		}
		c, err := parseCount(v)
		if err != nil {
			c = crdt.Content{} // the snapshot counts anew
		}
		if c.Live = 0; c.Garbage() {
			err = r.mark(b, root)
		} else {
			err = nil
		}
		if err := errors.Join(err, b.Set(key, appendCount(nil, c), nil)); err != nil {
			return err
		}
	}
	return nil
}
