package crdt

import (
	"cmp"
	"fmt"
	"slices"
)

// epochStep is how many UIDs of each mailbox an epoch skips: more than an evicted
// member can have given without anybody having heard of them.
const epochStep UID = 1 << 24

// maxFloor is the largest number at which new mailboxes begin. Later epochs change
// only their UIDVALIDITY.
const maxFloor UID = 1 << 31

// floor returns the UID above which a mailbox issues in an epoch of the group: it
// may have come into being, or begun its era, at the evicted member before.
func (b *Mailbox) floor(epoch uint32) UID {
	return NewUID(b.Era(), 0) + min(UID(epoch)*epochStep, maxFloor)
}

// PrepareEpoch is for a group that has evicted a member, which may have shown
// UIDs and mailboxes that nobody else heard of (crdt.md 6.4): it raises the
// account's epoch, which counts evictions. Every mailbox skips 2^24 UIDs, and new
// ones get a larger UIDVALIDITY. nil if the epoch was raised already.
func (s *Site) PrepareEpoch(epoch uint32) (*RaiseEpoch, error) {
	a, err := s.State.Account()
	if err != nil {
		return nil, fmt.Errorf("raise epoch: %w", err)
	}
	if a.Epoch >= epoch {
		return nil, nil
	}
	boxes, err := s.State.Mailboxes()
	if err != nil {
		return nil, fmt.Errorf("raise epoch: %w", err)
	}
	slices.SortFunc(boxes, func(a, b *Mailbox) int { return cmp.Compare(a.ID, b.ID) })
	p := &RaiseEpoch{Epoch: epoch}
	for _, b := range boxes {
		n := max(b.N, b.H)
		r := RaisedMailbox{ID: b.ID, N: min(n+epochStep, NewUID(b.Era(), MaxNumber)), C: b.C}
		if b.left() < softMargin+epochStep {
			// The evicted member may have begun the next era: another UIDVALIDITY
			// tells it from the one that others begin.
			r.C++
		}
		p.Boxes = append(p.Boxes, r)
	}
	return p, nil
}

func (p *RaiseEpoch) check(w *work) error {
	if p.Epoch == 0 {
		return impossible("epoch 0")
	}
	for i := range p.Boxes {
		b := &p.Boxes[i]
		if err := w.checkBox(b.ID); err != nil {
			return err
		}
		era, err := w.eraOf(b.ID)
		if err != nil {
			return err
		}
		if b.N.Era() > era || b.N.Number() > MaxNumber {
			return impossible("UID %v in era %d", b.N, era)
		}
		if err := checkC(b.C); err != nil {
			return err
		}
	}
	return nil
}

// effect makes maxima of what several members raise at the same time. Mailboxes
// that they did not know are raised to the epoch's floor, here or when they are
// created.
func (p *RaiseEpoch) effect(w *work) error {
	for i := range p.Boxes {
		r := &p.Boxes[i]
		b, err := w.box(r.ID)
		if err != nil {
			return err
		}
		w.hear(b, r.N)
		if r.C > b.C {
			b.C, b.dirty = r.C, true
			if err := w.use(b); err != nil {
				return err
			}
		}
	}
	a, err := w.State.Account()
	if err != nil || a.Epoch >= p.Epoch {
		return err
	}
	a.Epoch = p.Epoch
	if err := w.State.PutAccount(a); err != nil {
		return err
	}
	if err := w.raiseAll(a.Epoch); err != nil {
		return err
	}
	return w.doubtAll()
}

// raiseAll makes all mailboxes issue above the floor of an epoch.
func (w *work) raiseAll(epoch uint32) error {
	if epoch == 0 {
		return nil
	}
	return w.everyMailbox(func(b *openBox) { w.hear(b, b.floor(epoch)) })
}

// doubtAll is for an epoch that has just risen. What clients saw at the evicted
// member may be what nobody else has, also if they have been here since: of none
// that comes with an earlier MODSEQ is anything certain.
func (w *work) doubtAll() error {
	return w.everyMailbox(w.doubt)
}

// doubt makes nothing certain of clients with a MODSEQ of before. The one that they
// are told next is worth something again.
func (w *work) doubt(b *openBox) {
	b.Doubt = max(b.Doubt, w.Mod)
	w.raise(b)
}

// everyMailbox calls f once or more for every mailbox, INBOX also before it was used.
func (w *work) everyMailbox(f func(*openBox)) error {
	boxes, err := w.State.Mailboxes()
	if err != nil {
		return err
	}
	for _, b := range w.boxes { // not yet written
		f(b)
	}
	ids := []MailboxID{Inbox}
	for _, b := range boxes {
		ids = append(ids, b.ID)
	}
	for _, id := range ids {
		b, err := w.box(id)
		if err != nil {
			return err
		}
		f(b)
	}
	return nil
}
