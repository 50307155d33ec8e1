package crdt

import (
	"fmt"
	"slices"
)

// work is one operation being applied: the mailboxes it has touched and what is
// left to do when its own effect is done.
type work struct {
	*Site
	op       *Op
	boxes    []*openBox
	again    []Instance // whose twins have changed
	redo     []redo     // flag changes of instances that a replay has replaced
	listed   bool       // names or presence of mailboxes have changed
	renamed  bool       // names have changed
	arrives  bool       // what is added has come from another subnet
	followup []Payload

	load     *Load // a snapshot that is loaded; nil for an operation
	removers []Dot // its operations, one of which removed what is missing there
}

// openBox is a mailbox record that an operation has read.
type openBox struct {
	*Mailbox
	dirty   bool
	wasLive bool
	showing bool // what is held is being shown, from below
}

// box returns the record of a mailbox, nil if there never was one.
func (w *work) box(id MailboxID) (*openBox, error) {
	for _, b := range w.boxes {
		if b.ID == id {
			return b, nil
		}
	}
	rec, err := w.mailbox(id)
	if err != nil || rec == nil {
		return nil, err
	}
	if rec.High > w.Mod {
		return nil, fmt.Errorf("mailbox %x, MODSEQ %d after %d: %w", uint64(id), w.Mod, rec.High, ErrClock)
	}
	return w.open(rec), nil
}

func (w *work) open(rec *Mailbox) *openBox {
	b := &openBox{Mailbox: rec, wasLive: rec.Live()}
	w.boxes = append(w.boxes, b)
	return b
}

// flush writes back what has changed.
func (w *work) flush() error {
	for _, b := range w.boxes {
		if b.Live() && !b.wasLive {
			w.listed = true
		}
		if !b.dirty {
			continue
		}
		if err := w.State.PutMailbox(b.Mailbox); err != nil {
			return fmt.Errorf("write mailbox %x: %w", uint64(b.ID), err)
		}
	}
	return nil
}

// mark gives a message the operation's MODSEQ.
func (w *work) mark(b *openBox, m *Message) {
	m.Mod = w.Mod
	w.raise(b)
}

func (w *work) raise(b *openBox) {
	b.High = max(b.High, w.Mod)
	b.dirty = true
}

// hear makes u a known UID of the mailbox: none up to it is issued here again.
func (w *work) hear(b *openBox, u UID) {
	if u > b.N {
		b.N = u
		b.dirty = true
	}
}

// vanish records that clients must drop u. Also if it was never shown here:
// a client may have it from another replica (C2, C3). Those of an era that is
// over they have dropped with its UIDVALIDITY.
func (w *work) vanish(b *openBox, u UID) error {
	if u == 0 || u.Era() < b.Era() {
		return nil
	}
	w.raise(b)
	return w.State.Vanish(b.ID, u, w.Mod)
}

// count adds a shown message to the mailbox's counters, or takes it out.
func (b *openBox) count(m *Message, in bool) {
	if m.Exp == 0 {
		return
	}
	b.dirty = true
	one := uint32(1)
	size := m.Size
	if !in {
		one, size = -one, -size
	}
	b.Messages += one
	b.Bytes += size
	if !m.Has(FlagSeen) {
		b.Unseen += one
	}
	if m.Has(FlagDeleted) {
		b.Deleted += one
	}
}

// add puts a new instance into a mailbox: the common end of APPEND and MOVE.
// u is its register, older are other UIDs that it had elsewhere.
func (w *work) add(b *openBox, m *Message, u UID, older ...UID) error {
	m.Arrived = max(w.Before, TimeAt(w.Now, w.Self.Slot)) // an idle clock is behind (C18)
	if by, err := w.decideCause(b, m, u); by != nil || err != nil {
		return err
	}
	b.Instances++
	b.dirty = true
	if err := w.State.Retain(m.Root); err != nil {
		return err
	}
	at := Instance{b.ID, m.Tag}
	if key, ok := m.fileKey(); ok {
		if err := w.State.AddTwin(key, at); err != nil {
			return err
		}
	}
	w.hear(b, u)
	m.All, m.Reg = []UID{u}, u
	for _, o := range older {
		if err := w.addUID(b, m, o); err != nil {
			return err
		}
	}
	if err := w.reconcile(b, m); err != nil {
		return err
	}
	if err := w.State.PutMessage(b.ID, m); err != nil {
		return err
	}
	return w.twinsOf(at, m)
}

// remove takes an instance out of its mailbox. Absent ones are ignored: an
// operation about a tag happens after its addition, so it was removed (6.1).
func (w *work) remove(i Instance) error {
	b, err := w.box(i.Box)
	if err != nil || b == nil {
		return err
	}
	m, err := w.State.Message(i.Box, i.Tag)
	if err != nil || m == nil {
		return err
	}
	b.count(m, false)
	b.Instances--
	b.dirty = true
	for _, u := range m.All {
		if err := w.vanish(b, u); err != nil {
			return err
		}
	}
	if err := w.settle(b, m); err != nil {
		return err
	}
	if err := w.State.DeleteMessage(i.Box, i.Tag); err != nil {
		return err
	}
	if key, ok := m.fileKey(); ok {
		if err := w.State.RemoveTwin(key, i); err != nil {
			return err
		}
		if err := w.twinsOf(i, m); err != nil {
			return err
		}
	}
	return w.releaseContent(m.Root)
}

// releaseContent gives up one instance of a content. Which operation of a snapshot has
// removed it is not known: the content waits for all that may have.
func (w *work) releaseContent(root Root) error {
	if w.load == nil {
		return w.State.Release(root, w.op.Dot)
	}
	for i, d := range w.removers {
		if i > 0 {
			if err := w.State.Retain(root); err != nil {
				return err
			}
		}
		if err := w.State.Release(root, d); err != nil {
			return err
		}
	}
	return nil
}

// addUID gives an instance one more UID. The largest one is that which it shall
// have; of the others only the one that is shown here means anything here.
func (w *work) addUID(b *openBox, m *Message, u UID) error {
	w.hear(b, u)
	if slices.Contains(m.All, u) {
		return nil
	}
	m.All = append(m.All, u)
	gone := u
	if u > m.Reg {
		gone, m.Reg = m.Reg, u
	}
	m.prune(b.Era())
	if gone == m.Exp {
		return nil
	}
	return w.vanish(b, gone)
}

// give is what a re-issue does to one instance.
func (w *work) give(b *openBox, x TagUID) error {
	w.hear(b, x.UID)
	m, err := w.State.Message(b.ID, x.Tag)
	if err != nil {
		return err
	}
	if m == nil { // removed meanwhile: remove wins
		return w.vanish(b, x.UID)
	}
	if w.op.Dot.Origin == w.Self.Origin && m.Tries < 255 {
		m.Tries++
	}
	if err := w.addUID(b, m, x.UID); err != nil {
		return err
	}
	m.Due = 0 // whoever gave it the UID cannot wait
	if err := w.reconcile(b, m); err != nil {
		return err
	}
	return w.State.PutMessage(b.ID, m)
}

// reconcile makes the UID shown for m that of its register, if clients here may
// be shown it, and asks for another one otherwise (crdt.md 2.1). It is the only
// place where messages appear. The caller stores m.
func (w *work) reconcile(b *openBox, m *Message) error {
	loses, err := w.loses(b, m)
	switch {
	case err != nil:
		return err
	case loses:
		return w.hide(b, m)
	case m.Exp == m.Reg:
		return w.settle(b, m)
	case m.Reg > b.H && m.Exp == 0 && w.held(m):
		return w.hold(b, m)
	case w.arrives && m.Reg.Era() == b.Era(): // clients know it by that UID, and nobody serves the account yet
		return w.expose(b, m)
	case m.Reg > b.H:
		return w.expose(b, m)
	}
	return w.refuse(b, m)
}

// expose shows m under its register value, which is above everything that
// clients here were told of.
func (w *work) expose(b *openBox, m *Message) error {
	m.Due = 0
	if err := w.showBelow(b, m); err != nil {
		return err
	}
	first := len(m.All) == 1 && m.Mod == 0 && w.load == nil && !w.arrives
	b.count(m, false)
	if err := w.vanish(b, m.Exp); err != nil {
		return err
	}
	m.Exp = m.Reg
	b.count(m, true)
	w.mark(b, m)
	b.MaxExp = max(b.MaxExp, m.Exp)
	if b.Watched {
		b.H = max(b.H, m.Exp)
	}
	if !first { // a twin that lost had its UIDs vanish, so had what others refused, or what was here before it came back
		if err := w.State.Unvanish(b.ID, m.Exp); err != nil {
			return err
		}
	}
	return w.settle(b, m)
}

// refuse keeps m as it is shown, if it is, because its register value is not
// above what clients here were told of. The refused UID will never be shown
// here, and a client that comes from where it is must drop it (C3).
func (w *work) refuse(b *openBox, m *Message) error {
	if err := w.vanish(b, m.Reg); err != nil {
		return err
	}
	w.mark(b, m)
	if m.Refused != 0 {
		return nil
	}
	if err := w.settle(b, m); err != nil { // it is held no longer
		return err
	}
	m.Refused = max(w.Now, 1)
	return w.State.Await(Instance{b.ID, m.Tag})
}

// hide takes m from view because a newer twin is shown elsewhere.
func (w *work) hide(b *openBox, m *Message) error {
	b.count(m, false)
	m.Exp = 0
	w.mark(b, m)
	for _, u := range m.All { // a client may have any of them
		if err := w.vanish(b, u); err != nil {
			return err
		}
	}
	return w.settle(b, m)
}

// settle takes m off the list of those that await another UID.
func (w *work) settle(b *openBox, m *Message) error {
	if m.Refused == 0 && !m.Held {
		return nil
	}
	if m.Held {
		b.Held--
		b.dirty = true
	}
	m.Refused, m.Held = 0, false
	return w.State.Settle(Instance{b.ID, m.Tag})
}

func (m *Message) twinKey() TwinKey { return TwinKey{Source: m.Src} }

// beats reports whether m is shown in place of its twin o.
func (m *Message) beats(o *Message) bool {
	if m.SrcTime != o.SrcTime {
		return m.SrcTime > o.SrcTime
	}
	return m.Tag.Compare(o.Tag) > 0
}

// copies returns the other live instances that concurrent MOVEs made of the
// same source (crdt.md 2.3).
func (s *Site) copies(at Instance, m *Message) ([]Instance, error) {
	if m.Src.IsZero() {
		return nil, nil
	}
	twins, err := s.State.Twins(m.twinKey())
	if err != nil {
		return nil, fmt.Errorf("twins of %v: %w", m.Tag, err)
	}
	twins = slices.DeleteFunc(twins, func(t Instance) bool { return t == at })
	slices.SortFunc(twins, Instance.Compare)
	return twins, nil
}

// Compare orders instances by mailbox and tag.
func (i Instance) Compare(j Instance) int {
	if i.Box != j.Box {
		return less(i.Box < j.Box)
	}
	return i.Tag.Compare(j.Tag)
}

// loses reports whether a live twin of m is newer.
func (w *work) loses(b *openBox, m *Message) (bool, error) {
	twins, err := w.copies(Instance{b.ID, m.Tag}, m)
	if err != nil {
		return false, err
	}
	for _, t := range twins {
		o, err := w.State.Message(t.Box, t.Tag)
		if err != nil {
			return false, err
		}
		if o != nil && o.beats(m) {
			return true, nil
		}
	}
	return false, nil
}

// twinsOf notes that the twins of m must be decided upon again.
func (w *work) twinsOf(at Instance, m *Message) error {
	twins, err := w.copies(at, m)
	if err != nil {
		return err
	}
	w.again = append(w.again, twins...)
	return nil
}

// decideTwins reconciles the twins of what the operation added or removed.
func (w *work) decideTwins() error {
	slices.SortFunc(w.again, Instance.Compare)
	for _, t := range slices.Compact(w.again) {
		m, err := w.State.Message(t.Box, t.Tag)
		if err != nil {
			return err
		}
		b, err := w.box(t.Box)
		if err != nil {
			return err
		}
		if m == nil || b == nil {
			continue
		}
		if err := w.reconcile(b, m); err != nil {
			return err
		}
		if err := w.State.PutMessage(t.Box, m); err != nil {
			return err
		}
	}
	return nil
}
