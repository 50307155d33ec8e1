package mailstore

import (
	"context"
	"errors"
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

// FlagChange is the wish of a STORE.
type FlagChange struct {
	Op             crdt.StoreMode
	Flags          Flags
	Keywords       []string
	UnchangedSince crdt.Time
	Conditional    bool // UnchangedSince counts, 0 too
}

func (c *FlagChange) names() []string {
	out := make([]string, 0, len(systemFlags)+len(c.Keywords))
	for _, f := range systemFlags {
		if c.Flags&f.flag != 0 {
			out = append(out, f.name)
		}
	}
	return append(out, c.Keywords...)
}

func (m *Mailbox) writable() error {
	if m.readOnly {
		return ErrReadOnly
	}
	return nil
}

// Store changes flags and returns a view that has the change, and the places in
// messages, rising, of those that were not changed because their MODSEQ is above
// UnchangedSince. Messages expunged meanwhile are skipped. What changes nothing
// commits nothing.
func (m *Mailbox) Store(ctx context.Context, messages []crdt.Tag, change FlagChange) (*View, []int, error) {
	err := m.writable()
	if err != nil {
		return nil, nil, fmt.Errorf("store in %q: %w", m.name, err)
	}
	failed, err := m.store(ctx, messages, change)
	if err != nil {
		return nil, nil, fmt.Errorf("store in %q: %w", m.name, err)
	}
	return m.View(), failed, nil
}

// store changes flags and returns the places of the messages that it left as they are.
func (m *Mailbox) store(ctx context.Context, messages []crdt.Tag, change FlagChange) ([]int, error) {
	if d, err := m.s.replayed(ctx, nil); err != nil {
		return nil, err
	} else if d != nil {
		return d.failed, nil
	}
	var failed []int
	defer func() { m.s.failed = nil }()
	err := m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		failed = nil // it may be the second time
		box, err := t.peek(m.box.id)
		if err != nil {
			return nil, err
		}
		since := t.floor(box, change.UnchangedSince)
		targets, err := t.present(m.box.id, messages, func(i int, x *crdt.Message) bool {
			if change.Conditional && x.Mod > since.Time {
				failed = append(failed, i)
				return false
			}
			return true
		})
		if err != nil || len(targets) == 0 {
			return nil, err
		}
		m.s.failed = failed
		return payload(t.site().PrepareStore(targets, change.Op, change.names()))
	}, nil)
	if errors.Is(err, errKnown) {
		return m.store(ctx, messages, change)
	}
	return failed, err
}

// present returns those of the instances that are there and that f, which gets
// their place in tags, takes (nil: all).
func (t *tx) present(box crdt.MailboxID, tags []crdt.Tag, f func(int, *crdt.Message) bool) ([]crdt.Instance, error) {
	out := make([]crdt.Instance, 0, len(tags))
	for k, tag := range tags {
		i := crdt.Instance{Box: box, Tag: tag}
		e, err := t.message(i)
		if err != nil {
			return nil, err
		}
		if e.m != nil && (f == nil || f(k, e.m)) {
			out = append(out, i)
		}
	}
	return out, nil
}

// Expunge removes those of the messages that have \Deleted; others and those
// already gone are skipped.
func (m *Mailbox) Expunge(ctx context.Context, messages []crdt.Tag) (*View, error) {
	err := m.writable()
	var before *done
	if err == nil {
		before, err = m.s.replayed(ctx, nil)
	}
	if err == nil && before == nil {
		err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
			targets, err := t.present(m.box.id, messages, func(_ int, x *crdt.Message) bool { return x.Has(crdt.FlagDeleted) })
			if err != nil || len(targets) == 0 {
				return nil, err
			}
			return payload(t.site().PrepareExpunge(targets))
		}, nil)
	}
	if errors.Is(err, errKnown) {
		return m.Expunge(ctx, messages)
	}
	if err != nil {
		return nil, fmt.Errorf("expunge %q: %w", m.name, err)
	}
	return m.View(), nil
}

// Copy adds copies to another mailbox, all or none: ErrExpunged if one is gone.
func (m *Mailbox) Copy(ctx context.Context, messages []crdt.Tag, to string) (Appended, error) {
	var out Appended
	before, err := m.s.replayed(ctx, func(t *tx, d *done) (err error) {
		out, err = d.answer(t)
		out.Source = upTo(min(len(out.UIDs), len(messages)))
		return err
	})
	if before != nil || err != nil {
		if err != nil {
			err = fmt.Errorf("copy from %q to %q: %w", m.name, to, err)
		}
		return out, err
	}
	var dst crdt.MailboxID
	err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		b, err := t.lookup(to)
		if err != nil {
			return nil, err
		}
		dst = b.ID
		out.UIDValidity = b.UIDValidity()
		added, err := t.copies(m.box.id, messages)
		if err != nil || len(added) == 0 {
			return nil, err
		}
		if err := m.s.fits(t, amount(added), Amount{}); err != nil {
			return nil, err
		}
		out.Source = upTo(len(added))
		p, err := payload(t.site().PrepareAppend(dst, added, false))
		out.UIDs = newUIDs(p)
		return p, err
	}, func(t *tx) error { return t.announce(dst) })
	if errors.Is(err, errKnown) {
		return m.Copy(ctx, messages, to)
	}
	if err != nil {
		return Appended{}, fmt.Errorf("copy from %q to %q: %w", m.name, to, err)
	}
	return out, nil
}

// copies returns what a COPY of instances adds.
func (t *tx) copies(box crdt.MailboxID, tags []crdt.Tag) ([]crdt.Added, error) {
	saved := t.a.r.opts.Now().Unix()
	added := make([]crdt.Added, 0, len(tags))
	for _, tag := range tags {
		e, err := t.message(crdt.Instance{Box: box, Tag: tag})
		if err != nil {
			return nil, err
		}
		if e.m == nil {
			return nil, ErrExpunged
		}
		var flags []string
		for _, f := range e.m.Flags {
			if f.On {
				flags = append(flags, f.Name)
			}
		}
		added = append(added, crdt.Added{
			Root: e.m.Root, Flags: flags, Size: e.m.Size, Date: e.m.Date, Zone: e.m.Zone, Saved: saved,
		})
	}
	return added, nil
}

// Move moves messages to another mailbox; those already gone are skipped.
func (m *Mailbox) Move(ctx context.Context, messages []crdt.Tag, to string) (Appended, *View, error) {
	var out Appended
	var dst crdt.MailboxID
	var before *done
	err := m.writable()
	if err == nil {
		before, err = m.s.replayed(ctx, func(t *tx, d *done) (err error) {
			if out, err = d.answer(t); err == nil {
				d.moved(&out, messages)
			}
			return err
		})
	}
	if err == nil && before == nil {
		err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
			b, err := t.lookup(to)
			if err != nil {
				return nil, err
			}
			dst = b.ID
			out.UIDValidity = b.UIDValidity()
			from, err := t.present(m.box.id, messages, nil)
			if err != nil || len(from) == 0 {
				return nil, err
			}
			p, err := payload(t.site().PrepareMove(from, dst))
			if err != nil {
				return nil, err
			}
			out.UIDs = newUIDs(p)
			out.Source = sources(p, messages)
			return p, nil
		}, func(t *tx) error { return t.announce(dst) })
	}
	if errors.Is(err, errKnown) {
		return m.Move(ctx, messages, to)
	}
	if err != nil {
		return Appended{}, nil, fmt.Errorf("move from %q to %q: %w", m.name, to, err)
	}
	return out, m.View(), nil
}

// sources returns the places in tags of what is moved.
func sources(payloads []crdt.Payload, tags []crdt.Tag) []int {
	places := make(map[crdt.Tag]int, len(tags))
	for i, tag := range tags {
		places[tag] = i
	}
	var out []int
	for _, p := range payloads {
		if move, ok := p.(*crdt.Move); ok {
			for i := range move.Entries {
				out = append(out, places[move.Entries[i].From.Tag])
			}
		}
	}
	return out
}

// upTo returns 0 to n-1.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
