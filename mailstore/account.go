package mailstore

import (
	"container/list"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// account is a user's mail in memory while it is used: the account record,
// records of mailboxes, and the views of those that sessions have selected.
type account struct {
	r  *Replica
	id crdt.AccountID

	refs int           // guarded by the table's lock
	idle *list.Element // its place among the unused, nil while used

	// mu guards the head: the newest state, which may not yet be durable. It is
	// held while an operation is prepared and applied, never while something
	// waits for a disk's sync, a peer or a client.
	mu          sync.Mutex
	loaded      bool
	quarantined *quarantine  // nil: it is not in quarantine
	isolations  int          // how often it went into quarantine: sessions from before are over
	loading     *accountLoad // a snapshot that is being merged
	rec         *crdt.Account
	filed       bool                         // the account is marked for [Replica.forget]
	boxes       map[crdt.MailboxID]*boxState // nil entries: there is no such record
	all         bool                         // boxes has every record
	index       nameIndex                    // of boxes, if all are there
	names       map[string]crdt.MailboxID    // of mailboxes as they are shown, if all are there; nil: to be made
	suffixed    bool                         // some of them are shown under another name than theirs
	open        map[crdt.MailboxID]*openBox
	waiting     map[crdt.Instance]crdt.Wait // messages that await another UID, nil: not read yet
	rings       map[SessionID]byte          // where the next record of a session's commands goes

	publisher
}

// boxState is a mailbox record in memory with what this replica alone keeps.
type boxState struct {
	rec    *crdt.Mailbox
	recent uint32 // shown messages above rec.Recent

	vanished uint32 // entries of the list of vanished UIDs
	dirty    bool   // differs from the disk in H or Recent, which need not be durable
}

// accountTable holds the accounts in memory: those in use, and the last few
// that were.
type accountTable struct {
	mu      sync.Mutex
	m       map[crdt.AccountID]*account
	idle    list.List // of *account, the longest unused first
	maxIdle int
}

func (t *accountTable) init(maxIdle int) {
	t.m = make(map[crdt.AccountID]*account)
	t.maxIdle = max(maxIdle, 0)
}

// acquire returns an account, to be given back with release.
func (r *Replica) acquire(id crdt.AccountID) *account {
	t := &r.accounts
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.m[id]
	if a == nil {
		a = &account{r: r, id: id, boxes: make(map[crdt.MailboxID]*boxState), open: make(map[crdt.MailboxID]*openBox)}
		t.m[id] = a
		r.store.opts.Metrics.accounts.Inc()
	}
	if a.idle != nil {
		t.idle.Remove(a.idle)
		a.idle = nil
	}
	a.refs++
	return a
}

func (r *Replica) release(a *account) {
	t := &r.accounts
	t.mu.Lock()
	defer t.mu.Unlock()
	if a.refs--; a.refs > 0 {
		return
	}
	a.idle = t.idle.PushBack(a)
	for t.idle.Len() > t.maxIdle {
		t.evict(t.idle.Front().Value.(*account))
	}
}

// evict forgets an account that nobody uses. What only memory knew of it (how
// far clients have looked) is written, without a sync: after a crash it does
// not count anyway. Nobody can use the account meanwhile: that takes t.mu.
func (t *accountTable) evict(a *account) {
	t.idle.Remove(a.idle)
	delete(t.m, a.id)
	a.r.store.opts.Metrics.accounts.Dec()
	if a.r.store.enter() != nil {
		return // Close has done it
	}
	defer a.r.store.leave()
	if err := a.writeDirty(); err != nil {
		a.r.warn("write horizons of an account", err)
	}
}

// writeAll writes what only memory knows, when the store is closed.
func (t *accountTable) writeAll() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range t.m {
		a.mu.Lock()
		err := a.writeDirty()
		a.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *account) writeDirty() error {
	for id, s := range a.boxes {
		if s == nil || !s.dirty || a.r.store.Err() != nil {
			continue
		}
		key := a.r.keys.mailbox(nil, a.id, id)
		if err := a.r.store.db.Set(key, a.appendBox(nil, s), pebble.NoSync); err != nil {
			return err
		}
		s.dirty = false
	}
	return nil
}

// load reads the account record. Under a.mu.
func (a *account) load() error {
	if a.loaded {
		return nil
	}
	q, err := a.r.store.get(a.r.keys.quarantine(nil, a.id))
	if err != nil {
		return err
	}
	if q != nil {
		if a.quarantined, err = parseQuarantine(a.id, q); err != nil {
			return err
		}
	}
	if a.rec, err = a.readRecord(); err != nil {
		if !damaged(err) {
			return err
		}
		if err := a.damage(err); err != nil {
			return err
		}
		a.rec = new(crdt.Account)
	}
	l, err := a.r.loadRecordIn(a.r.store.db, a.id)
	if err != nil {
		return err
	}
	if l.merging() {
		a.loading = l
	}
	a.publisher.init(a.rec.Vector)
	a.loaded = true
	return nil
}

// readRecord reads the account record; an empty one if there is none.
func (a *account) readRecord() (*crdt.Account, error) {
	b, err := a.r.store.get(a.r.keys.account(nil, a.id))
	if err != nil {
		return nil, err
	}
	if b == nil {
		return new(crdt.Account), nil
	}
	rec, err := crdt.DecodeAccount(b)
	if err != nil {
		return nil, fmt.Errorf("%w: account %d: %w", errCorrupt, a.id, err)
	}
	return rec, nil
}

// box returns the state of a mailbox, nil if there never was one. Under a.mu.
func (a *account) box(id crdt.MailboxID) (*boxState, error) {
	if s, ok := a.boxes[id]; ok || a.all {
		return s, nil
	}
	b, err := a.r.store.get(a.r.keys.mailbox(nil, a.id, id))
	if err != nil {
		return nil, err
	}
	if b == nil {
		a.boxes[id] = nil
		return nil, nil
	}
	s, err := a.parseBox(b)
	if err != nil {
		return nil, err
	}
	a.boxes[id] = s
	return s, nil
}

// setBox makes a record the head. Under a.mu.
func (a *account) setBox(s *boxState) {
	if a.all {
		a.index.update(a.boxes[s.rec.ID], s.rec)
	}
	a.boxes[s.rec.ID] = s
}

// loadBoxes reads the records of all mailboxes. Under a.mu.
func (a *account) loadBoxes() error {
	if a.all {
		return nil
	}
	prefix := a.r.keys.record(nil, a.id, recMailbox)
	it, err := a.r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	defer it.Close()
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		s, err := a.parseBox(v)
		if err != nil {
			return err
		}
		if a.boxes[s.rec.ID] == nil {
			a.boxes[s.rec.ID] = s
		}
	}
	if err := it.Error(); err != nil {
		return err
	}
	a.all = true
	a.index = makeNameIndex(a.boxes)
	return nil
}

// A mailbox record on the disk: the boot id of the process that wrote it, the
// numbers of \Recent messages and of entries of vanished UIDs, and crdt's record.
const boxHeader = 8 + 4 + 4

func (a *account) appendBox(b []byte, s *boxState) []byte {
	b = binary.BigEndian.AppendUint64(b, a.r.store.boot)
	b = binary.BigEndian.AppendUint32(b, s.recent)
	b = binary.BigEndian.AppendUint32(b, s.vanished)
	return s.rec.AppendBinary(b)
}

// checkVanished has what is remembered of a mailbox's vanished UIDs cut, if it
// has become too much.
func (a *account) checkVanished(s *boxState) {
	if int(s.vanished) > a.r.opts.VanishedMax {
		a.r.upkeep.pruneSoon(boxOf{a.id, s.rec.ID})
	}
}

// parseBox reads a mailbox record. What a client of an earlier process was told
// may be more than the record says: the horizon is then the largest UID ever
// issued (crdt.md 2.2).
func (a *account) parseBox(b []byte) (*boxState, error) {
	if len(b) < boxHeader {
		return nil, fmt.Errorf("%w: mailbox of account %d", errCorrupt, a.id)
	}
	rec, err := crdt.DecodeMailbox(b[boxHeader:])
	if err != nil {
		return nil, fmt.Errorf("%w: mailbox of account %d: %w", errCorrupt, a.id, err)
	}
	if binary.BigEndian.Uint64(b) != a.r.store.boot {
		rec.Restart()
	}
	s := &boxState{rec: rec, recent: binary.BigEndian.Uint32(b[8:]), vanished: binary.BigEndian.Uint32(b[12:])}
	a.checkVanished(s)
	return s, nil
}

func cloneAccount(a *crdt.Account) *crdt.Account {
	c := *a
	c.Vector = a.Vector.Clone()
	return &c
}

func cloneMessage(m *crdt.Message) *crdt.Message {
	c := *m
	c.All = slices.Clone(m.All)
	c.Flags = slices.Clone(m.Flags)
	return &c
}
