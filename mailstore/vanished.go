package mailstore

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// Defaults of ReplicaOptions.
const (
	defaultVanishedAge = 90 * 24 * time.Hour
	defaultVanishedMax = 100_000
)

// pruneStep is how many entries of vanished UIDs are looked at in one go, under
// the account's lock.
const pruneStep = 10_000

// vanishedUID says that a UID denotes nothing since a MODSEQ.
type vanishedUID struct {
	mod crdt.Time
	uid crdt.UID
}

// Vanish implements crdt.State. The list on the disk is in the order of the
// MODSEQs, so that a client that comes back costs what it missed, and forgetting
// the oldest costs one range. A UID that vanishes again is listed twice.
func (t *tx) Vanish(box crdt.MailboxID, uid crdt.UID, mod crdt.Time) error {
	if t.vanishing == nil {
		t.vanishing = make(map[crdt.MailboxID][]vanishedUID, 1)
	}
	t.vanishing[box] = append(t.vanishing[box], vanishedUID{mod, uid})
	return nil
}

// Unvanish implements crdt.State. What is on the disk stays: who reads the list
// leaves out what is shown.
func (t *tx) Unvanish(box crdt.MailboxID, uid crdt.UID) error {
	if list := t.vanishing[box]; len(list) > 0 {
		t.vanishing[box] = slices.DeleteFunc(list, func(v vanishedUID) bool { return v.uid == uid })
	}
	return nil
}

// ForgetVanished implements crdt.State. What is on the disk was heard of before
// anything of the new era was: all of it goes.
func (t *tx) ForgetVanished(box crdt.MailboxID, below crdt.UID) error {
	if list := t.vanishing[box]; len(list) > 0 {
		t.vanishing[box] = slices.DeleteFunc(list, func(v vanishedUID) bool { return v.uid < below })
	}
	t.countVanished(box, -int(t.vanishedOf(box)))
	prefix := t.keys.vanishedIn(nil, t.a.id, box)
	return t.fault(t.batch.DeleteRange(prefix, after(prefix), nil))
}

// writeVanished puts what vanished into the batch, a run of UIDs as one entry.
func (t *tx) writeVanished() error {
	for box, list := range t.vanishing {
		slices.SortFunc(list, func(a, b vanishedUID) int {
			return cmp.Or(cmp.Compare(a.mod, b.mod), cmp.Compare(a.uid, b.uid))
		})
		list = slices.Compact(list)
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n] == (vanishedUID{list[0].mod, list[0].uid + crdt.UID(n)}) {
				n++
			}
			t.key = t.keys.vanished(t.key[:0], t.a.id, box, list[0].mod, list[0].uid)
			t.val = binary.AppendUvarint(t.val[:0], uint64(n-1))
			if err := t.set(t.val); err != nil {
				return err
			}
			t.countVanished(box, 1)
			list = list[n:]
		}
	}
	t.vanishing = nil
	return nil
}

func (t *tx) countVanished(box crdt.MailboxID, n int) {
	if t.vanished == nil {
		t.vanished = make(map[crdt.MailboxID]int, 1)
	}
	t.vanished[box] += n
}

// vanishedOf returns how many entries the list of a mailbox has with this transaction.
func (t *tx) vanishedOf(id crdt.MailboxID) uint32 {
	n := t.vanished[id]
	if s := t.a.boxes[id]; s != nil {
		n += int(s.vanished)
	}
	return uint32(max(n, 0))
}

// vanishedSince calls f for each entry of a mailbox with a MODSEQ above floor,
// oldest first, until f returns false: the UIDs first to last.
func (t *tx) vanishedSince(box crdt.MailboxID, floor crdt.Time, f func(mod crdt.Time, first, last crdt.UID) bool) error {
	lower := t.keys.vanishedSince(nil, t.a.id, box, floor+1)
	upper := after(t.keys.vanishedIn(nil, t.a.id, box))
	return t.scanRange(lower, upper, func(key, v []byte) (bool, error) {
		rest := key[len(key)-16:]
		n, k := binary.Uvarint(v)
		if k <= 0 {
			return false, errCorrupt
		}
		first := crdt.UID(binary.BigEndian.Uint64(rest[8:]))
		return f(crdt.Time(binary.BigEndian.Uint64(rest)), first, first+crdt.UID(n)), nil
	})
}

// prune forgets the oldest vanished UIDs of a mailbox: those older than
// VanishedAge, and all but the newest VanishedMax. Clients whose MODSEQ is older
// are told which of the UIDs that they know are none (crdt.md 4.4). It reports
// whether there may be more to do.
func (t *tx) prune(id crdt.MailboxID) (more bool, err error) {
	b, err := t.Mailbox(id)
	if err != nil || b == nil {
		return false, err
	}
	o := &t.a.r.opts
	old := crdt.TimeAt(o.Now().Add(-o.VanishedAge).UnixMilli(), 0)
	excess := int(t.vanishedOf(id)) - o.VanishedMax
	removed, floor, seen := 0, crdt.Time(0), 0
	err = t.vanishedSince(id, 0, func(mod crdt.Time, _, _ crdt.UID) bool {
		seen++
		// What vanished at one time goes together: the floor is a time.
		if mod > floor && (mod >= old && removed >= excess || removed >= pruneStep) {
			more = mod < old || removed < excess
			return false
		}
		removed, floor = removed+1, mod
		return true
	})
	if err != nil || removed == 0 {
		return false, err
	}
	lower := t.keys.vanishedIn(nil, t.a.id, id)
	upper := t.keys.vanishedSince(nil, t.a.id, id, floor+1)
	if err := t.fault(t.batch.DeleteRange(lower, upper, nil)); err != nil {
		return false, err
	}
	if t.countVanished(id, -removed); seen == removed {
		t.countVanished(id, -int(t.vanishedOf(id))) // none is left
	}
	b.VanFloor = max(b.VanFloor, floor)
	return more, t.PutMailbox(b)
}

// pruneMailbox does one step of forgetting and reports whether there may be more.
func (r *Replica) pruneMailbox(i boxOf) (more bool, err error) {
	a := r.acquire(i.account)
	defer r.release(a)
	c, more, err := a.prune(i.box)
	if c == nil || err != nil {
		return false, err
	}
	if err := r.synced(c); err != nil {
		return false, err
	}
	a.settle(c, nil)
	return more, nil
}

func (a *account) prune(id crdt.MailboxID) (_ *commit, more bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil || a.quarantined != nil {
		return nil, false, err
	}
	t := a.begin()
	defer t.drop()
	if more, err = t.prune(id); err != nil {
		return nil, false, fmt.Errorf("forget vanished UIDs of mailbox %x, account %d: %w", uint64(id), a.id, a.suspect(err))
	}
	c, err := a.keep(t)
	return c, more, err
}

// boxOf names a mailbox of an account.
type boxOf struct {
	account crdt.AccountID
	box     crdt.MailboxID
}

// oldVanished returns the next mailbox behind `from` whose oldest vanished UID
// is older than VanishedAge, looking at up to limit mailboxes. next is where to
// go on, nil at the end.
func (r *Replica) oldVanished(from []byte, limit int) (found []boxOf, next []byte, err error) {
	old := crdt.TimeAt(r.opts.Now().Add(-r.opts.VanishedAge).UnixMilli(), 0)
	kind := r.keys.kind(nil, spaceState, kindAccount)
	it, err := r.store.db.NewIter(iterBounds(kind, after(kind)))
	if err != nil {
		return nil, nil, err
	}
	defer it.Close()
	key := kind
	if from != nil {
		key = from
	}
	for ; limit > 0; limit-- {
		if !it.SeekGE(key) {
			return found, nil, it.Error()
		}
		id, err := parseAccount(it.Key()[len(kind):])
		if err != nil {
			return found, nil, err
		}
		list := r.keys.record(nil, id, recVanished)
		switch k := it.Key(); {
		case bytes.Compare(k, list) < 0:
			key = list
		case !bytes.HasPrefix(k, list) || len(k) != len(list)+24:
			key = r.keys.record(nil, id+1, 0)
			if id+1 == 0 {
				return found, nil, nil
			}
		default:
			i := boxOf{id, crdt.MailboxID(binary.BigEndian.Uint64(k[len(list):]))}
			if crdt.Time(binary.BigEndian.Uint64(k[len(list)+8:])) < old {
				found = append(found, i)
			}
			key = after(r.keys.vanishedIn(nil, id, i.box))
		}
	}
	return found, key, nil
}
