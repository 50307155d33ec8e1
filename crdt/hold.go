package crdt

import (
	"cmp"
	"fmt"
	"slices"
)

// maxHold is the longest time, in ms, for which a delivery may be held.
const maxHold = 60_000

// PrepareDelivery is [Site.PrepareAppend] of new mail that nobody waits for: it
// is shown hold ms after it was issued, so that what other replicas issued below
// its UIDs has arrived by then (crdt.md 2.4). With a hold of twice the longest
// way between replicas and no faults, no UID is refused. It is not held so long
// that a MODSEQ would have to wait for it ([Policy].Hidden).
func (s *Site) PrepareDelivery(box MailboxID, add []Added, hold int64) (*Append, error) {
	p, err := s.PrepareAppend(box, add, true)
	if p == nil || err != nil {
		return nil, err
	}
	if hidden := s.Self.policy().Hidden; hidden > 0 {
		hold = min(hold, hidden/2)
	}
	p.Hold = uint32(max(0, min(hold, maxHold)))
	return p, nil
}

// due returns until when a message of an operation is held here, in Unix ms, 0
// if it is not. A clock that was ahead where it was issued does not make that later.
func (w *work) due(hold uint32) int64 {
	if hold == 0 {
		return 0
	}
	due := min(w.op.Time.UnixMillis(), w.Now) + int64(hold)
	if due <= w.Now {
		return 0
	}
	return due
}

// held reports whether m must not be shown yet. A due time that is further away
// than any hold was set by a clock that has been set back since.
func (s *Site) held(m *Message) bool { return m.Due > s.Now && m.Due <= s.Now+maxHold }

// hold files m, which is not to be shown before it is due.
func (w *work) hold(b *openBox, m *Message) error {
	if m.Held {
		return nil
	}
	m.Held, m.Refused = true, 0
	b.Held++
	w.mark(b, m)
	return w.State.Await(Instance{b.ID, m.Tag})
}

// showBelow shows what is held in a mailbox under smaller UIDs than that of m,
// which is about to be shown: after that they would have to be refused.
func (w *work) showBelow(b *openBox, m *Message) error {
	if b.Held == 0 || b.showing {
		return nil
	}
	b.showing = true // those below come in order: none has another one below it
	defer func() { b.showing = false }()
	list, err := w.State.Awaiting()
	if err != nil {
		return err
	}
	held, err := w.heldOf(b.ID, list)
	if err != nil {
		return err
	}
	for _, o := range held {
		if o.Tag == m.Tag || o.Reg >= m.Reg {
			continue
		}
		if err := w.release(b, o); err != nil {
			return err
		}
	}
	return nil
}

// release ends the hold of a message.
func (w *work) release(b *openBox, m *Message) error {
	m.Due = 0
	if err := w.settle(b, m); err != nil {
		return err
	}
	if err := w.reconcile(b, m); err != nil {
		return err
	}
	return w.State.PutMessage(b.ID, m)
}

// heldOf returns the held messages of a mailbox among those that await something,
// in the order of their UIDs.
func (s *Site) heldOf(box MailboxID, list []Instance) ([]*Message, error) {
	var out []*Message
	for _, i := range list {
		if w := s.noted(i).State; i.Box != box || w == WaitHidden || w == WaitShown {
			continue
		}
		m, err := s.State.Message(i.Box, i.Tag)
		if err != nil {
			return nil, fmt.Errorf("held %v: %w", i.Tag, err)
		}
		if m != nil && m.Held {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *Message) int { return cmp.Compare(a.Reg, b.Reg) })
	return out, nil
}

// Reveal shows the deliveries that were held until now, and with each those
// below it (crdt.md 2.4). It is a local change: as for Apply, Mod is drawn for it,
// but there is no operation. It reports whether anything has changed, and when it
// is to be called again (Unix ms, 0: when an operation was applied). force makes
// everything due.
func (s *Site) Reveal(force bool) (changed bool, next int64, err error) {
	list, err := s.State.Awaiting()
	if err != nil {
		return false, 0, fmt.Errorf("reveal: %w", err)
	}
	slices.SortFunc(list, Instance.Compare)
	w := &work{Site: s}
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Box == list[0].Box {
			n++
		}
		did, at, err := w.reveal(list[:n], force)
		if err != nil {
			return false, 0, fmt.Errorf("reveal: %w", err)
		}
		changed, next = changed || did, earlier(next, at)
		list = list[n:]
	}
	return changed, next, w.flush()
}

// reveal does for one mailbox what Reveal does.
func (w *work) reveal(list []Instance, force bool) (changed bool, next int64, err error) {
	if next, ok := w.allHeld(list); ok && !force {
		return false, next, nil
	}
	held, err := w.heldOf(list[0].Box, list)
	if err != nil || len(held) == 0 {
		return false, 0, err
	}
	b, err := w.box(list[0].Box)
	if err != nil || b == nil {
		return false, 0, err
	}
	due := 0 // up to here
	for i, m := range held {
		if force || !w.held(m) {
			due = i + 1
		}
	}
	b.showing = true
	defer func() { b.showing = false }()
	for _, m := range held[:due] {
		if err := w.release(b, m); err != nil {
			return false, 0, err
		}
	}
	for _, m := range held[due:] {
		next = earlier(next, m.Due)
		w.note(b.ID, m, m.Due)
	}
	return due > 0, next, nil
}

// allHeld reports whether of none of the instances a hold ends now, as far as is
// remembered, and when the first one does.
func (s *Site) allHeld(list []Instance) (next int64, ok bool) {
	for _, i := range list {
		w := s.noted(i)
		if w.State == WaitUnknown || w.State == WaitHeld && w.Until <= s.Now {
			return 0, false
		}
		if w.State == WaitHeld {
			next = earlier(next, w.Until)
		}
	}
	return next, true
}
