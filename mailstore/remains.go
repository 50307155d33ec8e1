package mailstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log"

	"github.com/go-pluto/pluto/crdt"
)

// Remains is what is left of a replica that was evicted: its data directory, opened
// to find out what only it had ([Replica.Recover]). Nothing in it is changed. Data
// of any earlier format are read: formats differ in nothing that matters here.
type Remains struct {
	store *Store
	r     *Replica // not opened: only what reads its records is used
	db    *pebble.Snapshot
}

// remainsMemory bounds the memory for reading remains, in bytes.
const remainsMemory = 8 << 20

// ErrNoRemains is returned by OpenRemains for a directory without a replica of the subnet.
var ErrNoRemains = errors.New("no replica of the subnet is in the directory")

// OpenRemains opens the replica of a subnet in a directory that no process uses. Of
// the options FS and Logger count. Errors: ErrLocked, ErrFormat, ErrNoRemains.
func OpenRemains(dir, subnet string, opts Options) (*Remains, error) {
	store, err := Open(dir, Options{
		FS: opts.FS, Logger: opts.Logger, CacheSize: remainsMemory, MemTableSize: remainsMemory, readOnly: true,
	})
	if errors.Is(err, pebble.ErrDBDoesNotExist) {
		err = fmt.Errorf("%w: %w", ErrNoRemains, err)
	}
	if err != nil {
		return nil, err
	}
	m := &Remains{store: store}
	if err := m.open(subnet); err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", dir, err), store.Close())
	}
	return m, nil
}

func (m *Remains) open(subnet string) error {
	b, err := m.store.get(replicaKey(subnet))
	if err != nil {
		return err
	}
	if b == nil {
		return fmt.Errorf("%w: %s", ErrNoRemains, subnet)
	}
	rec, err := parseReplicaRecord(b)
	if err != nil {
		return err
	}
	m.r = &Replica{
		store: m.store, keys: keyspace(rec.number), self: crdt.Self{Origin: rec.origin, Slot: rec.slot},
		logger: log.With(m.store.opts.Logger, "subnet", subnet, "remains", rec.origin),
	}
	m.r.opts.Subnet = subnet
	if err := m.r.loadVector(); err != nil {
		return err
	}
	m.db = m.store.db.NewSnapshot()
	return nil
}

// Origin returns the incarnation whose data these are.
func (m *Remains) Origin() crdt.Origin { return m.r.Origin() }

// Logged returns the operations that the replica had when it ended.
func (m *Remains) Logged() crdt.VC { return m.r.Logged() }

// Close ends the use.
func (m *Remains) Close() error { return errors.Join(m.db.Close(), m.store.Close()) }

// since returns, by slot, when the evicted replicas made the first of their
// operations that m has and the others do not: whatever is of that slot and of
// that time or later was done by one of these. Where the log does not say it any
// more there is no entry.
func (m *Remains) since(evicted []crdt.Origin, others crdt.VC) (map[crdt.Slot]crdt.Time, error) {
	out := make(map[crdt.Slot]crdt.Time)
	for _, o := range evicted {
		first := others.Get(o) + 1
		if first > m.Logged().Get(o) || m.r.logCut(o) >= first {
			continue
		}
		entries, err := m.r.readLog(o, first, first, 1)
		if err != nil || len(entries) == 0 {
			return nil, errors.Join(err, errCorrupt)
		}
		t := entries[0].Time
		if old, ok := out[t.Slot()]; !ok || t < old {
			out[t.Slot()] = t
		}
	}
	return out, nil
}

// remainder is an account as a replica has it at one moment.
type remainder struct {
	crdt.Account
	boxes    map[crdt.MailboxID]*crdt.Mailbox
	messages map[crdt.Tag]placed
	subs     map[string]crdt.Register[bool]
	notes    map[crdt.Annotation]crdt.Register[crdt.Note]
}

// placed is a message in its mailbox.
type placed struct {
	box crdt.MailboxID
	*crdt.Message
}

// at returns where the message is.
func (p placed) at() crdt.Instance { return crdt.Instance{Box: p.box, Tag: p.Tag} }

// isolated returns why an account is not to be judged by what a replica has of it.
func (r *Replica) isolated(db pebble.Reader, user crdt.AccountID) error {
	q, err := getFrom(db, r.keys.quarantine(nil, user))
	if err != nil {
		return err
	}
	if q != nil {
		return fmt.Errorf("%w: it is in quarantine", ErrUnavailable)
	}
	l, err := r.loadRecordIn(db, user)
	if err == nil && l.merging() {
		err = fmt.Errorf("%w: it was not loaded completely", ErrUnavailable)
	}
	return err
}

// recordOf reads the account record; an empty one if there is none.
func (r *Replica) recordOf(db pebble.Reader, user crdt.AccountID) (*crdt.Account, error) {
	b, err := getFrom(db, r.keys.account(nil, user))
	if err != nil || b == nil {
		return new(crdt.Account), err
	}
	return crdt.DecodeAccount(b)
}

// remainderOf reads an account.
func (r *Replica) remainderOf(ctx context.Context, db pebble.Reader, user crdt.AccountID) (*remainder, error) {
	rec, err := r.recordOf(db, user)
	if err != nil {
		return nil, err
	}
	a := &remainder{
		Account: *rec, boxes: make(map[crdt.MailboxID]*crdt.Mailbox), messages: make(map[crdt.Tag]placed),
		subs: make(map[string]crdt.Register[bool]), notes: make(map[crdt.Annotation]crdt.Register[crdt.Note]),
	}
	prefix := r.keys.record(nil, user, 0)
	prefix = prefix[:len(prefix)-1]
	it, err := db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = a.add(it.Key()[len(prefix):], v)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("read %x: %w", it.Key(), err), it.Close())
		}
	}
	return a, errors.Join(ctx.Err(), it.Close())
}

// add takes in a record. key is the part of its key that begins with its kind.
func (a *remainder) add(key, v []byte) error {
	switch key[0] {
	case recMailbox:
		if len(v) < boxHeader {
			return errCorrupt
		}
		b, err := crdt.DecodeMailbox(v[boxHeader:])
		if err != nil {
			return err
		}
		a.boxes[b.ID] = b
	case recMessage:
		at, err := parseInstance(key[1:])
		if err != nil {
			return err
		}
		m, err := crdt.DecodeMessage(v)
		if err != nil {
			return err
		}
		a.messages[m.Tag] = placed{at.Box, m}
	case recSubscription:
		reg, err := parseSubscription(v)
		if err != nil {
			return err
		}
		a.subs[string(key[1:])] = *reg
	case recNote:
		of, err := parseAnnotation(key[1:])
		if err != nil {
			return err
		}
		reg, err := parseNote(v)
		if err != nil {
			return err
		}
		a.notes[of] = *reg
	}
	return nil // others follow from these, or are local
}
