package mailstore

import (
	"cmp"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// What a transaction has changed becomes records in its batch (write) and, when the
// batch is the database's, what the account has in memory and open mailboxes show
// (install).

// write puts the changed records into the batch.
func (t *tx) write() error {
	for i, m := range t.messages {
		if !m.dirty {
			continue
		}
		t.key = t.keys.message(t.key[:0], t.a.id, i)
		if m.m == nil {
			if err := t.del(); err != nil {
				return err
			}
		} else {
			t.val = m.m.AppendBinary(t.val[:0])
			if err := t.set(t.val); err != nil {
				return err
			}
		}
		t.countRecent(i.Box, m)
		if err := t.writeSeveral(i, m); err != nil {
			return err
		}
	}
	if err := t.writeVanished(); err != nil {
		return err
	}
	if err := t.recountRecent(); err != nil {
		return err
	}
	for id, b := range t.boxes {
		t.key = t.keys.mailbox(t.key[:0], t.a.id, id)
		t.val = t.a.appendBox(t.val[:0], &boxState{rec: b, recent: t.recentOf(id), vanished: t.vanishedOf(id)})
		if err := t.set(t.val); err != nil {
			return err
		}
	}
	if t.account == nil {
		return nil
	}
	t.key = t.keys.account(t.key[:0], t.a.id)
	t.val = t.account.AppendBinary(t.val[:0])
	return t.set(t.val)
}

// writeSeveral keeps the list of messages that clients may know by several UIDs.
func (t *tx) writeSeveral(i crdt.Instance, m *txMessage) error {
	now := m.m != nil && m.m.Several()
	if now == m.several {
		return nil
	}
	m.several = now
	t.key = t.keys.several(t.key[:0], t.a.id, i)
	if now {
		return t.set(nil)
	}
	return t.del()
}

// countRecent keeps count of the messages that are \Recent to the next session.
func (t *tx) countRecent(id crdt.MailboxID, m *txMessage) {
	b, err := t.peek(id)
	if err != nil || b == nil {
		return
	}
	var is crdt.UID
	if m.m != nil {
		is = m.m.Exp
	}
	n := 0
	if m.was > b.Recent {
		n--
	}
	if is > b.Recent {
		n++
	}
	if n == 0 {
		return
	}
	if t.recent == nil {
		t.recent = make(map[crdt.MailboxID]int)
	}
	t.recent[id] += n
}

// recountRecent counts anew where a transaction has moved the line above which
// messages are \Recent, as another era of a mailbox does: the messages that it
// passed need not be among those that have changed.
func (t *tx) recountRecent() error {
	for id, b := range t.boxes {
		s := t.a.boxes[id]
		if s == nil || s.rec.Recent == b.Recent {
			continue
		}
		n, err := t.above(id, b)
		if err != nil {
			return err
		}
		if t.recent == nil {
			t.recent = make(map[crdt.MailboxID]int)
		}
		t.recent[id] = n - int(s.recent)
	}
	return nil
}

// above counts the messages of a mailbox that are \Recent.
func (t *tx) above(id crdt.MailboxID, b *crdt.Mailbox) (n int, err error) {
	if b.MaxExp <= b.Recent {
		return 0, nil
	}
	tags, err := t.Tags(id)
	if err != nil {
		return 0, err
	}
	for _, tag := range tags {
		e, err := t.message(crdt.Instance{Box: id, Tag: tag})
		if err != nil {
			return 0, err
		}
		if e.m != nil && e.m.Exp > b.Recent {
			n++
		}
	}
	return n, nil
}

func (t *tx) recentOf(id crdt.MailboxID) uint32 {
	n := t.recent[id]
	if s := t.a.boxes[id]; s != nil && !t.newEra(id, s.rec) {
		n += int(s.recent)
	}
	return uint32(max(n, 0))
}

// newEra reports whether the transaction has begun another era of a mailbox.
func (t *tx) newEra(id crdt.MailboxID, old *crdt.Mailbox) bool {
	b := t.boxes[id]
	return b != nil && b.Era() > old.Era()
}

// install makes the transaction's changes the account's head and returns what
// they change for those who look. Under a.mu.
func (t *tx) install() []exposure {
	a := t.a
	site := t.site()
	var touched map[string]struct{}
	for id, b := range t.boxes {
		if old := a.boxes[id]; old == nil || !sameName(old.rec, b) {
			if touched == nil {
				touched = make(map[string]struct{}, 2)
			}
			touched[b.Name.Value] = struct{}{}
			if old != nil {
				touched[old.rec.Name.Value] = struct{}{}
			}
		}
		t.tick = t.tick || site.NeedsRenumber(b)
		s := &boxState{rec: b, recent: t.recentOf(id), vanished: t.vanishedOf(id)}
		a.setBox(s)
		a.checkVanished(s)
	}
	a.nameAnew(touched)
	if t.account != nil {
		here := !a.left()
		a.rec = t.account
		if here && a.left() && a.r.opts.Dismissed != nil {
			a.r.opts.Dismissed(a.id)
		}
	}
	a.filed = a.filed || t.filed
	var out []exposure
	for id, box := range a.open {
		if b, ok := t.boxes[id]; ok {
			out = append(out, t.expose(box, b))
		}
	}
	for _, waits := range t.awaiting {
		t.tick = t.tick || waits
	}
	t.installWaiting()
	for _, d := range t.late {
		a.r.collector.remind(d)
	}
	if t.tick {
		a.r.ticker.soon(a.id, a.r.now()+tickDelay)
	}
	return out
}

// sameName reports whether a mailbox has the same place in the list of names.
func sameName(a, b *crdt.Mailbox) bool {
	return a.Name == b.Name && a.Validity() == b.Validity() && a.Live() == b.Live()
}

// expose brings the view of an open mailbox up to date.
func (t *tx) expose(box *openBox, b *crdt.Mailbox) exposure {
	var changes []change
	var shown []*crdt.Message
	for i, m := range t.messages {
		if i.Box != box.id || !m.dirty {
			continue
		}
		var is crdt.UID
		if m.m != nil {
			is = m.m.Exp
		}
		if m.was != 0 && m.was != is {
			changes = append(changes, change{uid: m.was, gone: true})
		}
		if is != 0 {
			shown = append(shown, m.m)
		}
	}
	// The first one says how a new keyword is spelt.
	slices.SortFunc(shown, func(a, b *crdt.Message) int { return cmp.Compare(a.Exp, b.Exp) })
	for _, m := range shown {
		changes = append(changes, change{uid: m.Exp, row: box.keywords.rowOf(m)})
	}
	box.head = box.head.update(changes, b.H+1, b.High)
	box.keywords.trim(box.head)
	return exposure{box: box, view: box.head, dead: !b.Live(), validity: b.Validity()}
}
