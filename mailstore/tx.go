package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// tx is an account's state as one transaction sees and changes it: what is on
// the disk and in the account's memory, with the transaction's own changes
// above. It implements crdt.State. Until install nothing of it is seen by
// anybody; a transaction that is dropped has changed nothing.
//
// Used under the account's lock.
type tx struct {
	a     *account
	db    *pebble.DB
	keys  keyspace
	batch *pebble.Batch
	key   []byte   // scratch
	val   []byte   // scratch
	op    crdt.Dot // the operation being applied: nothing of it is on the disk

	account  *crdt.Account // changed
	boxes    map[crdt.MailboxID]*crdt.Mailbox
	messages map[crdt.Instance]*txMessage
	twins    map[crdt.TwinKey]map[crdt.Instance]bool
	replays  map[crdt.Replay]bool
	filed    bool // something was filed
	used     map[string]crdt.Validity
	subs     map[string]*crdt.Register[bool]
	notes    map[crdt.Annotation]crdt.Register[crdt.Note]
	awaiting map[crdt.Instance]bool
	contents map[crdt.Root]crdt.Content
	removals map[crdt.Removal]bool
	logged   []logged
	came     []crdt.Root // contents to which something refers now and nothing did
	went     []crdt.Root // contents that are deleted
	late     []crdt.Dot  // operations applied before to which removals were added

	vanishing map[crdt.MailboxID][]vanishedUID // not in the batch yet
	vanished  map[crdt.MailboxID]int           // by how much the number of entries changed
	lenient   bool                             // MODSEQs may be told although messages are hidden for long
	durable   bool                             // what a look has changed is told: it must not be lost

	tick   bool                   // the account needs a tick soon
	recent map[crdt.MailboxID]int // by how much the number of \Recent messages changed

	// err is the first failure of the medium: it tells an operation that is
	// impossible from a disk that does not answer.
	err error
}

// txMessage is a message that the transaction has read or changed.
type txMessage struct {
	was   crdt.UID      // UID shown before the transaction
	m     *crdt.Message // as it is now, nil if absent
	dirty bool

	several bool // its key of that kind is on the disk
}

func (a *account) begin() *tx {
	return &tx{a: a, db: a.r.store.db, keys: a.r.keys, batch: a.r.store.db.NewBatch()}
}

// next begins another transaction after t was committed, with what t has read
// and not changed.
func (t *tx) next() *tx {
	n := t.a.begin()
	n.messages = t.messages
	maps.DeleteFunc(n.messages, func(_ crdt.Instance, m *txMessage) bool { return m.dirty })
	return n
}

// drop ends a transaction that is not to be committed.
func (t *tx) drop() {
	if t.batch != nil {
		t.batch.Close() // of an unused batch: returns nil
		t.batch = nil
	}
}

func (t *tx) fail(err error) error {
	if t.err == nil {
		t.err = err
	}
	return err
}

// read looks up t.key and hands the value to f, which must not keep it. It
// reports whether there is one.
func (t *tx) read(f func(v []byte) error) (bool, error) {
	v, closer, err := t.db.Get(t.key)
	if errors.Is(err, pebble.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, t.fail(fmt.Errorf("read: %w", err))
	}
	if err := f(v); err != nil {
		return false, t.fail(errors.Join(fmt.Errorf("%w: %x: %w", errCorrupt, t.key, err), closer.Close()))
	}
	return true, closer.Close()
}

// scan calls f for each key that begins with t.key, without that beginning.
func (t *tx) scan(f func(rest, v []byte) error) error {
	prefix := slices.Clone(t.key)
	it, err := t.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return t.fail(err)
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			err = f(it.Key()[len(prefix):], v)
		}
		if err != nil {
			return t.fail(errors.Join(fmt.Errorf("read %x: %w", it.Key(), err), it.Close()))
		}
	}
	if err := it.Close(); err != nil {
		return t.fail(fmt.Errorf("scan: %w", err))
	}
	return nil
}

// scanRange calls f for each key from lower to upper until it returns false.
func (t *tx) scanRange(lower, upper []byte, f func(key, v []byte) (bool, error)) error {
	it, err := t.db.NewIter(iterBounds(lower, upper))
	if err != nil {
		return t.fail(err)
	}
	for ok := it.First(); ok; ok = ok && it.Next() {
		v, err := it.ValueAndErr()
		if err == nil {
			ok, err = f(it.Key(), v)
		}
		if err != nil {
			return t.fail(errors.Join(fmt.Errorf("read %x: %w", it.Key(), err), it.Close()))
		}
	}
	if err := it.Close(); err != nil {
		return t.fail(fmt.Errorf("scan: %w", err))
	}
	return nil
}

// set and del write t.key to the batch.
func (t *tx) set(v []byte) error { return t.fault(t.batch.Set(t.key, v, nil)) }
func (t *tx) del() error         { return t.fault(t.batch.Delete(t.key, nil)) }

func (t *tx) fault(err error) error {
	if err != nil {
		return t.fail(err)
	}
	return nil
}

// Account implements crdt.State.
func (t *tx) Account() (*crdt.Account, error) {
	if t.account != nil {
		return cloneAccount(t.account), nil
	}
	return cloneAccount(t.a.rec), nil
}

// PutAccount implements crdt.State.
func (t *tx) PutAccount(a *crdt.Account) error {
	t.account = a
	return nil
}

// Mailbox implements crdt.State.
func (t *tx) Mailbox(id crdt.MailboxID) (*crdt.Mailbox, error) {
	b, err := t.peek(id)
	if b == nil || err != nil {
		return nil, err
	}
	return t.hand(b), nil
}

// peek returns the current record of a mailbox, not to be changed.
func (t *tx) peek(id crdt.MailboxID) (*crdt.Mailbox, error) {
	if b, ok := t.boxes[id]; ok {
		return b, nil
	}
	s, err := t.a.box(id)
	if err != nil {
		return nil, t.fail(err)
	}
	if s == nil {
		return nil, nil
	}
	return s.rec, nil
}

// hand returns a copy for a caller to change.
func (t *tx) hand(b *crdt.Mailbox) *crdt.Mailbox {
	c := *b
	c.Dots = slices.Clone(b.Dots)
	_, c.Watched = t.a.open[b.ID]
	return &c
}

// Mailboxes implements crdt.State.
func (t *tx) Mailboxes() ([]*crdt.Mailbox, error) {
	if err := t.a.loadBoxes(); err != nil {
		return nil, t.fail(err)
	}
	out := make([]*crdt.Mailbox, 0, len(t.a.boxes)+len(t.boxes))
	for id, s := range t.a.boxes {
		if _, changed := t.boxes[id]; !changed && s != nil {
			out = append(out, t.hand(s.rec))
		}
	}
	for _, b := range t.boxes {
		out = append(out, t.hand(b))
	}
	return out, nil
}

// PutMailbox implements crdt.State.
func (t *tx) PutMailbox(b *crdt.Mailbox) error {
	if t.boxes == nil {
		t.boxes = make(map[crdt.MailboxID]*crdt.Mailbox, 2)
	}
	t.boxes[b.ID] = b
	return nil
}

// Message implements crdt.State.
func (t *tx) Message(box crdt.MailboxID, tag crdt.Tag) (*crdt.Message, error) {
	m, err := t.message(crdt.Instance{Box: box, Tag: tag})
	if err != nil || m.m == nil {
		return nil, err
	}
	return cloneMessage(m.m), nil
}

// message returns the transaction's entry of an instance.
func (t *tx) message(i crdt.Instance) (*txMessage, error) {
	if m, ok := t.messages[i]; ok {
		return m, nil
	}
	m := new(txMessage)
	if t.op == (crdt.Dot{}) || i.Tag.Dot() != t.op {
		t.key = t.keys.message(t.key[:0], t.a.id, i)
		if _, err := t.read(func(v []byte) (err error) {
			m.m, err = crdt.DecodeMessage(v)
			return err
		}); err != nil {
			return nil, err
		}
	}
	if m.m != nil {
		m.was, m.several = m.m.Exp, m.m.Several()
	}
	if t.messages == nil {
		t.messages = make(map[crdt.Instance]*txMessage, 4)
	}
	t.messages[i] = m
	return m, nil
}

// PutMessage implements crdt.State.
func (t *tx) PutMessage(box crdt.MailboxID, m *crdt.Message) error {
	return t.change(crdt.Instance{Box: box, Tag: m.Tag}, m)
}

// DeleteMessage implements crdt.State.
func (t *tx) DeleteMessage(box crdt.MailboxID, tag crdt.Tag) error {
	return t.change(crdt.Instance{Box: box, Tag: tag}, nil)
}

func (t *tx) change(i crdt.Instance, m *crdt.Message) error {
	e, err := t.message(i)
	if err != nil {
		return err
	}
	e.m, e.dirty = m, true
	return nil
}

// Tags implements crdt.State.
func (t *tx) Tags(box crdt.MailboxID) ([]crdt.Tag, error) {
	var tags []crdt.Tag
	t.key = t.keys.messages(t.key[:0], t.a.id, box)
	err := t.scan(func(rest, _ []byte) error {
		tag, err := parseTag(rest)
		if _, known := t.messages[crdt.Instance{Box: box, Tag: tag}]; !known {
			tags = append(tags, tag)
		}
		return err
	})
	for i, m := range t.messages {
		if i.Box == box && m.m != nil {
			tags = append(tags, i.Tag)
		}
	}
	return tags, err
}

// Used implements crdt.State.
func (t *tx) Used(name string) (crdt.Validity, error) {
	if u, ok := t.used[name]; ok {
		return u, nil
	}
	var used crdt.Validity
	t.key = t.keys.used(t.key[:0], t.a.id, name)
	_, err := t.read(func(v []byte) error {
		if len(v) != 8 {
			return errCorrupt
		}
		used = crdt.Validity(binary.BigEndian.Uint64(v))
		return nil
	})
	return used, err
}

// PutUsed implements crdt.State.
func (t *tx) PutUsed(name string, v crdt.Validity) error {
	if t.used == nil {
		t.used = make(map[string]crdt.Validity)
	}
	t.used[name] = v
	t.key = t.keys.used(t.key[:0], t.a.id, name)
	t.val = binary.BigEndian.AppendUint64(t.val[:0], uint64(v))
	return t.set(t.val)
}

// Subscription implements crdt.State.
func (t *tx) Subscription(name string) (*crdt.Register[bool], error) {
	if r, ok := t.subs[name]; ok {
		c := *r
		return &c, nil
	}
	var reg *crdt.Register[bool]
	t.key = t.keys.subscription(t.key[:0], t.a.id, name)
	_, err := t.read(func(v []byte) (err error) {
		reg, err = parseSubscription(v)
		return err
	})
	return reg, err
}

// PutSubscription implements crdt.State.
func (t *tx) PutSubscription(name string, r crdt.Register[bool]) error {
	if t.subs == nil {
		t.subs = make(map[string]*crdt.Register[bool])
	}
	t.subs[name] = &r
	t.key = t.keys.subscription(t.key[:0], t.a.id, name)
	t.val = appendSubscription(t.val[:0], r)
	return t.set(t.val)
}

// Subscriptions returns all subscription registers.
func (t *tx) Subscriptions() (map[string]crdt.Register[bool], error) {
	all := make(map[string]crdt.Register[bool])
	t.key = t.keys.subscription(t.key[:0], t.a.id, "")
	err := t.scan(func(rest, v []byte) error {
		r, err := parseSubscription(v)
		if err == nil {
			all[string(rest)] = *r
		}
		return err
	})
	for name, r := range t.subs {
		all[name] = *r
	}
	return all, err
}

// Await implements crdt.State.
func (t *tx) Await(i crdt.Instance) error {
	t.setAwaiting(i, true)
	t.key = t.keys.await(t.key[:0], t.a.id, i)
	return t.set(nil)
}

// Settle implements crdt.State.
func (t *tx) Settle(i crdt.Instance) error {
	t.setAwaiting(i, false)
	t.key = t.keys.await(t.key[:0], t.a.id, i)
	return t.del()
}

func (t *tx) setAwaiting(i crdt.Instance, on bool) {
	if t.awaiting == nil {
		t.awaiting = make(map[crdt.Instance]bool)
	}
	t.awaiting[i] = on
}
