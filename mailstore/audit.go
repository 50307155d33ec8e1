package mailstore

import (
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Audit checks the invariants of an account (crdt.Audit), that its messages'
// contents are here and complete, and that the pictures of its open mailboxes
// are what the disk says. It is for tests and for plutoctl: it reads the whole
// account under its lock.
func (r *Replica) Audit(user crdt.AccountID) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	a := r.acquire(user)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return err
	}
	t := a.begin()
	defer t.drop()
	if err := crdt.Audit(t); err != nil {
		return err
	}
	boxes, err := t.Mailboxes()
	if err != nil {
		return err
	}
	for _, b := range boxes {
		if err := t.auditMailbox(b); err != nil {
			return fmt.Errorf("mailbox %q: %w", b.Name.Value, err)
		}
	}
	return nil
}

// Examine calls f with the newest state of an account, which may not be durable
// yet. f must change nothing and keep nothing. It does not count as a client's
// look. It is for tests and for plutoctl, as Audit is.
func (r *Replica) Examine(user crdt.AccountID, f func(crdt.State) error) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	a := r.acquire(user)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil {
		return err
	}
	t := a.begin()
	defer t.drop()
	return f(t)
}

func (t *tx) auditMailbox(b *crdt.Mailbox) error {
	box, err := t.openBox(b.ID)
	if err != nil {
		return err
	}
	if open := t.a.open[b.ID]; open != nil {
		if d := open.head.Since(box.head); !d.Empty() {
			return fmt.Errorf("the open picture differs from the disk: %+v", d)
		}
	}
	if recent, _ := box.head.Find(b.Recent + 1); uint32(box.head.Len()-recent) != t.recentOf(b.ID) {
		return fmt.Errorf("%d messages counted \\Recent, there are %d", t.recentOf(b.ID), box.head.Len()-recent)
	}
	var m Message
	for i := range box.head.Len() {
		box.head.At(i, &m)
		if err := t.auditContent(&m); err != nil {
			return fmt.Errorf("UID %d: %w", m.UID, err)
		}
	}
	return nil
}

func (t *tx) auditContent(m *Message) error {
	tr, err := t.a.r.trailer(m.Root)
	if err != nil {
		return err
	}
	if int64(tr.size) != m.Size {
		return fmt.Errorf("%w: content of %d bytes, message of %d", errCorrupt, tr.size, m.Size)
	}
	b := Body{r: t.a.r, root: m.Root, size: m.Size}
	var buf [1]byte
	for off := int64(0); off < m.Size; off += chunkSize {
		if _, err := b.read(buf[:], off); err != nil {
			return err
		}
	}
	return nil
}
