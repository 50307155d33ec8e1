package mailstore

import (
	"context"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// Mailbox is a mailbox that a session has selected. Used by one goroutine at a
// time, except View, Changed and Gone.
type Mailbox struct {
	s        *Account
	box      *openBox
	name     string
	validity crdt.Validity
	readOnly bool
	changed  chan struct{}

	gone   bool  // under publisher.pub
	last   *View // what it shows when it is gone under another UIDVALIDITY
	closed bool
}

// Select opens a mailbox. Several may be open at once.
func (s *Account) Select(ctx context.Context, name string, readOnly bool) (*Mailbox, error) {
	m := &Mailbox{s: s, name: name, readOnly: readOnly, changed: make(chan struct{}, 1)}
	err := s.tell(ctx, func(t *tx) error {
		b, err := t.lookup(name)
		if err != nil {
			return err
		}
		if err := t.mayTell(b.ID, 0); err != nil {
			return err
		}
		if err := t.announce(b.ID); err != nil {
			return err
		}
		m.validity = b.Validity()
		return t.attach(m, b.ID)
	})
	if err != nil {
		m.close()
		return nil, fmt.Errorf("select %q: %w", name, err)
	}
	s.selects[m] = struct{}{}
	return m, nil
}

// attach connects m to the open mailbox, opening it if it is the first. Under a.mu.
func (t *tx) attach(m *Mailbox, id crdt.MailboxID) error {
	a := t.a
	box := a.open[id]
	if box == nil {
		var err error
		if box, err = t.openBox(id); err != nil {
			return err
		}
		a.open[id] = box
		a.r.store.opts.Metrics.mailboxes.Inc()
	}
	a.pub.Lock()
	defer a.pub.Unlock()
	m.box = box
	box.handles[m] = struct{}{}
	return nil
}

// openBox makes the picture of a mailbox from its messages on the disk.
func (t *tx) openBox(id crdt.MailboxID) (*openBox, error) {
	b, err := t.peek(id)
	if err != nil {
		return nil, err
	}
	box := &openBox{id: id, keywords: newKeywordSets(), handles: make(map[*Mailbox]struct{})}
	rows := make([]row, 0, b.Messages)
	t.key = t.keys.messages(t.key[:0], t.a.id, id)
	var m crdt.Message
	err = t.scan(func(_, v []byte) error {
		err := m.UnmarshalBinary(v)
		if err == nil && m.Exp != 0 {
			rows = append(rows, box.keywords.rowOf(&m))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	box.head = newView(rows, b.H+1, b.High)
	box.shown = box.head
	return box, nil
}

// Close ends the use.
func (m *Mailbox) Close() {
	delete(m.s.selects, m)
	m.close()
}

func (m *Mailbox) close() {
	if m.closed || m.box == nil {
		return
	}
	m.closed = true
	a := m.s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	a.pub.Lock()
	defer a.pub.Unlock()
	delete(m.box.handles, m)
	if len(m.box.handles) == 0 {
		if a.open[m.box.id] == m.box {
			delete(a.open, m.box.id)
		}
		a.r.store.opts.Metrics.mailboxes.Dec()
	}
}

// notify says that there is something new. Under publisher.pub.
func (m *Mailbox) notify() {
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// Name returns the name under which the mailbox was selected.
func (m *Mailbox) Name() string { return m.name }

// UIDValidity returns the UIDVALIDITY at the time of the selection.
func (m *Mailbox) UIDValidity() uint32 { return m.validity.UIDValidity() }

// ID returns the mailbox's identity.
func (m *Mailbox) ID() crdt.MailboxID { return m.box.id }

// ReadOnly reports whether it was opened read-only.
func (m *Mailbox) ReadOnly() bool { return m.readOnly }

// View returns the newest picture that may be shown.
func (m *Mailbox) View() *View {
	p := &m.s.a.publisher
	p.pub.Lock()
	defer p.pub.Unlock()
	select {
	case <-m.changed:
	default:
	}
	if m.gone {
		m.notify() // Gone is still to be asked for
	}
	if m.last != nil {
		return m.last
	}
	return m.box.shown
}

// Changed receives a value when there is a newer View than the last one
// returned, or the mailbox was deleted. Capacity one; several changes are one value.
func (m *Mailbox) Changed() <-chan struct{} { return m.changed }

// Gone reports that the mailbox was deleted since it was selected, or got another
// UIDVALIDITY by being renamed or renumbered: what the client knows of it then
// holds no more, and View stays as it was before.
func (m *Mailbox) Gone() bool {
	p := &m.s.a.publisher
	p.pub.Lock()
	defer p.pub.Unlock()
	return m.gone
}

// Keywords returns the keywords in use, sorted.
func (m *Mailbox) Keywords() []string { return m.View().Keywords() }

// Keywords returns the keywords of all messages of the view, sorted.
func (v *View) Keywords() []string {
	sets := make(map[*[]string]struct{})
	for _, c := range v.chunks {
		for i := range c.state {
			if k := c.state[i].keywords; k != nil {
				sets[k] = struct{}{}
			}
		}
	}
	var out []string
	for set := range sets {
		out = append(out, *set...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// ClaimRecent returns the smallest UID from which on messages of v are \Recent
// for this session, and takes them from all others; read-only it leaves them.
func (m *Mailbox) ClaimRecent(v *View) crdt.UID {
	a := m.s.a
	a.mu.Lock()
	defer a.mu.Unlock()
	b, err := a.box(m.box.id)
	if b == nil || err != nil {
		return v.UIDNext()
	}
	first := b.rec.Recent + 1
	if last := v.UIDAt(v.Len() - 1); !m.readOnly && last > b.rec.Recent {
		rec := *b.rec
		rec.Recent = last
		next, _ := m.box.head.Find(last + 1)
		a.boxes[m.box.id] = &boxState{rec: &rec, recent: uint32(m.box.head.Len() - next), vanished: b.vanished, dirty: true}
	}
	return first
}
