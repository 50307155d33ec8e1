package mailstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// The records of all accounts lie together, and in a block of the database those of
// several: when a block cannot be read, it is not known what it held. It is cut out,
// because the database cannot compact a table that it cannot read; and all accounts
// that records of may have been in it are loaded anew, each as a whole.

// gap is a stretch of the records of accounts that cannot be read.
type gap struct {
	start, end []byte           // it begins behind the record start, and ends before end
	value      []byte           // of start; nil: no record of an account lies before it
	accounts   []crdt.AccountID // of which it may hold records
	unnamed    bool             // there may be others: too many numbers lie between these
}

// maxUnnamed bounds the numbers between two accounts that are known, all of which are
// thought to be accounts in a gap.
const maxUnnamed = 1000

// errUnnamed is why a gap is not cut out: an account in it would be taken for a new one.
var errUnnamed = errors.New("it is not known which accounts lie in it; evict this node at another one (plutoctl member evict), then start it on an empty directory with -replaces")

// gapAt finds the first gap in the records of an account or behind them, nil if there
// is none.
func (r *Replica) gapAt(id crdt.AccountID) (*gap, error) {
	kind := r.keys.kind(nil, spaceState, kindAccount)
	g := &gap{start: kind, end: after(kind)}
	sound, err := r.findStart(g, kind, id)
	if sound || err != nil {
		return nil, err
	}
	first, last := crdt.AccountID(0), unreadable
	if g.value != nil {
		if first, err = parseAccount(g.start[len(kind):]); err != nil {
			return nil, err
		}
	}
	found, err := r.findEnd(g, kind, max(id, first))
	if err != nil {
		return nil, err
	}
	if found {
		if last, err = parseAccount(g.end[len(kind):]); err != nil {
			return nil, err
		}
	}
	g.name(first, g.value != nil, last, found)
	return g, nil
}

// findStart finds the last record that can be read before the first gap from an account
// on, by way of the nearest one before that account. sound: there is no gap.
func (r *Replica) findStart(g *gap, kind []byte, id crdt.AccountID) (sound bool, err error) {
	from := kind
	near := false
	for back := uint64(0); !near && !sound; back = max(back*2, 1) {
		upper := r.accountsFrom(uint64(id) - min(back, uint64(id)))
		sound, err = r.eachRecord(kind, upper, true, func(key, _ []byte) bool {
			near, from = true, bytes.Clone(key)
			return false
		})
		if err != nil {
			return false, err
		}
		sound = sound || back >= uint64(id) // there is none
	}
	return r.eachRecord(from, after(kind), false, func(key, value []byte) bool {
		g.start, g.value = append(g.start[:0:0], key...), append([]byte{}, value...)
		return true
	})
}

// findEnd finds the first record that can be read behind a gap whose start is known, by
// way of the nearest one behind an account. found: there is one.
func (r *Replica) findEnd(g *gap, kind []byte, id crdt.AccountID) (found bool, err error) {
	upper := after(kind)
	near, sound := false, false
	for ahead := uint64(1); !near && !sound; ahead *= 2 {
		lower := r.accountsFrom(uint64(id) + ahead)
		sound, err = r.eachRecord(lower, after(kind), false, func(key, _ []byte) bool {
			near, upper = true, append(bytes.Clone(key), 0)
			return false
		})
		if err != nil {
			return false, err
		}
		sound = sound || bytes.Equal(lower, after(kind))
	}
	_, err = r.eachRecord(append(bytes.Clone(g.start), 0), upper, true, func(key, _ []byte) bool {
		found, g.end = true, bytes.Clone(key)
		return true
	})
	return found, err
}

// accountsFrom is the beginning of the records of accounts from one on.
func (r *Replica) accountsFrom(id uint64) []byte {
	if id > uint64(unreadable) {
		return after(r.keys.kind(nil, spaceState, kindAccount))
	}
	records := r.keys.record(nil, crdt.AccountID(id), 0)
	return records[:len(records)-1]
}

// name lists the accounts from first to last.
func (g *gap) name(first crdt.AccountID, firstKnown bool, last crdt.AccountID, lastKnown bool) {
	if uint64(last)-uint64(first) <= maxUnnamed {
		for id := uint64(first); id <= uint64(last); id++ {
			g.accounts = append(g.accounts, crdt.AccountID(id))
		}
		return
	}
	g.unnamed = true
	if firstKnown {
		g.accounts = append(g.accounts, first)
	}
	if lastKnown && last != first {
		g.accounts = append(g.accounts, last)
	}
}

// eachRecord calls f for the records between two keys one after the other, from the
// first one on or, backwards, from the last one, until f returns false. sound: nothing
// was met that cannot be read.
func (r *Replica) eachRecord(lower, upper []byte, backwards bool, f func(key, value []byte) bool) (sound bool, err error) {
	it, err := r.store.db.NewIter(iterBounds(lower, upper))
	if damaged(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	first, next := it.First, it.Next
	if backwards {
		first, next = it.Last, it.Prev
	}
	var unread error
	for ok := first(); ok; ok = next() {
		v, e := it.ValueAndErr()
		if unread = e; unread != nil || !f(it.Key(), v) {
			break
		}
	}
	err = errors.Join(unread, it.Error(), it.Close())
	if damaged(err) {
		return false, nil
	}
	return err == nil, err
}

// errHeads says what helps when records are damaged that a whole replica needs.
var errHeads = errors.New("records of the replica itself cannot be read, and no member has them: evict this node at another one (plutoctl member evict), then start it on an empty directory with -replaces")

// ofHeads names what helps against an error of what the whole replica needs.
func ofHeads(err error) error {
	if damaged(err) && !errors.Is(err, ErrFormat) {
		return fmt.Errorf("%w: %w", errHeads, err)
	}
	return err
}

// cutOutGap takes a gap out of the database. What can be read around it stays. Its accounts
// have been put into quarantine before.
func (r *Replica) cutOutGap(g *gap) error {
	if g.unnamed {
		return errUnnamed
	}
	r.store.mending.Lock()
	defer r.store.mending.Unlock()
	err := r.store.db.Excise(context.Background(), pebble.KeyRange{Start: g.start, End: g.end})
	if damaged(err) {
		return ofHeads(err)
	}
	if err != nil {
		return fmt.Errorf("cut out a damaged block: %w", err)
	}
	level.Warn(r.logger).Log("msg", "damaged block cut out of the database; the accounts in it are loaded anew", "accounts", fmt.Sprint(g.accounts))
	if g.value == nil {
		return nil
	}
	return r.store.db.Set(g.start, g.value, pebble.Sync)
}

// isolateGap puts the accounts of a gap into quarantine, durably.
func (r *Replica) isolateGap(g *gap, reason error) error {
	for _, id := range g.accounts {
		if err := r.quarantineDamaged(id, reason); err != nil {
			return err
		}
	}
	return r.flushed()
}

// mendRecords cuts all damaged blocks out in which records of an account lie. The
// database is open; no lock of an account is held.
func (r *Replica) mendRecords(id crdt.AccountID) error {
	for {
		sound, err := r.eachRecord(r.accountsFrom(uint64(id)), r.accountsFrom(uint64(id)+1), false, func([]byte, []byte) bool { return true })
		if sound || err != nil {
			return err
		}
		g, err := r.gapAt(id)
		if g == nil || err != nil {
			return err
		}
		if err := r.isolateGap(g, fmt.Errorf("%w: records of several accounts lie in it", errBlock)); err != nil {
			return err
		}
		if err := r.cutOutGap(g); err != nil {
			return err
		}
	}
}
