package crdt

import (
	"cmp"
	"fmt"
	"slices"
)

// A mailbox begins another era before the numbers of the old one are used up:
// the leader from softMargin on, at a quiet moment; with less than hardMargin
// left everybody does.
const (
	softMargin = 1 << 28
	hardMargin = 1 << 26
)

// maxRenumber is how many messages one Renumber lists; those of a larger mailbox
// are given their UIDs by re-issues behind it.
const maxRenumber = 100000

// left returns how many numbers are left in the mailbox's era.
func (b *Mailbox) left() UID {
	return MaxNumber - min(UID(max(b.N, b.H).Number()), MaxNumber)
}

// NeedsRenumber reports whether [Site.Tick] begins another era of the mailbox.
func (s *Site) NeedsRenumber(b *Mailbox) bool {
	return b.left() < hardMargin || s.Self.Leader && b.left() < softMargin
}

// PrepareRenumber begins another era of a mailbox: every message that is known
// here, also a hidden one, gets a new UID, in the order of the old ones, and the
// mailbox another UIDVALIDITY. It reads the whole mailbox. The payloads must be
// applied in one transaction. Errors: [ErrNonexistent], [ErrLimit] after 2^20 eras.
func (s *Site) PrepareRenumber(box MailboxID) ([]Payload, error) {
	b, err := s.liveMailbox(box)
	if err != nil {
		return nil, fmt.Errorf("renumber: %w", err)
	}
	era := b.Era() + 1
	if era > MaxEra {
		return nil, fmt.Errorf("renumber %q: %w: era %d", b.Name.Value, ErrLimit, era)
	}
	list, err := s.byRegister(box)
	if err != nil {
		return nil, fmt.Errorf("renumber %q: %w", b.Name.Value, err)
	}
	issue := issuer{NewUID(era, 0), s.Self.Slot, box}
	for i := range list {
		if list[i].UID, err = issue.next(0); err != nil {
			return nil, fmt.Errorf("renumber %q: %w", b.Name.Value, err)
		}
	}
	first := &Renumber{Box: box, Era: era, List: list[:min(len(list), maxRenumber)]}
	out := []Payload{first}
	for part := range slices.Chunk(list[len(first.List):], maxBatch) {
		out = append(out, &Reissue{Box: box, List: part})
	}
	return out, nil
}

// byRegister lists the instances of a mailbox in the order of their registers.
func (s *Site) byRegister(box MailboxID) ([]TagUID, error) {
	tags, err := s.State.Tags(box)
	if err != nil {
		return nil, err
	}
	list := make([]TagUID, 0, len(tags))
	for _, t := range tags {
		m, err := s.State.Message(box, t)
		if err != nil {
			return nil, err
		}
		if m != nil {
			list = append(list, TagUID{t, m.Reg})
		}
	}
	slices.SortFunc(list, func(a, b TagUID) int {
		if a.UID != b.UID {
			return cmp.Compare(a.UID, b.UID)
		}
		return a.Tag.Compare(b.Tag)
	})
	return list, nil
}

// renumberDue returns the renumberings that are due, and of which mailboxes.
func (s *Site) renumberDue(n *names) (payloads []Payload, boxes map[MailboxID]bool, err error) {
	for _, b := range n.boxes {
		if !b.Live() || b.Era() == MaxEra || !s.NeedsRenumber(b) {
			continue
		}
		p, err := s.PrepareRenumber(b.ID)
		if err != nil {
			return nil, nil, err
		}
		if boxes == nil {
			boxes = make(map[MailboxID]bool)
		}
		boxes[b.ID] = true
		payloads = append(payloads, p...)
	}
	return payloads, boxes, nil
}

func (p *Renumber) check(w *work) error {
	if err := w.checkBox(p.Box); err != nil {
		return err
	}
	era, err := w.eraOf(p.Box)
	if err != nil {
		return err
	}
	// Whoever prepared it was in the era before, and so is or was this replica.
	if p.Era == 0 || p.Era > min(era+1, MaxEra) {
		return impossible("begins era %d in era %d", p.Era, era)
	}
	for _, x := range p.List {
		if x.UID.Era() != p.Era {
			return impossible("UID of era %d in a renumbering to era %d", x.UID.Era(), p.Era)
		}
		if err := w.checkIssued(p.Era, x.UID); err != nil {
			return err
		}
	}
	return nil
}

// effect begins the era, unless a concurrent renumbering has, and gives the
// listed messages their UIDs in it: of two renumberings each message keeps the
// larger one. Messages that are not listed were added at the same time: they are
// hidden here until they get a UID of the new era by the normal way, and so are
// those of the old era that arrive later.
func (p *Renumber) effect(w *work) error {
	b, err := w.box(p.Box)
	if err != nil {
		return err
	}
	begins := p.Era > b.Era()
	if begins {
		if err := w.begin(b, p.Era); err != nil {
			return err
		}
	}
	listed := make(map[Tag]bool, len(p.List))
	for _, x := range p.List {
		listed[x.Tag] = true
		if x.UID.Era() == b.Era() {
			b.Recent = max(b.Recent, x.UID) // they are not new
		}
		if err := w.give(b, x); err != nil {
			return err
		}
	}
	if !begins {
		return nil
	}
	return w.leaveBehind(b, listed)
}

// begin moves a mailbox to a later era. Nothing of that was told to a client
// here, and nothing of the era before says anything any more: it had another
// UIDVALIDITY.
func (w *work) begin(b *openBox, era uint32) error {
	a, err := w.State.Account()
	if err != nil {
		return err
	}
	first := NewUID(era, 0)
	w.hear(b, first)
	w.hear(b, b.floor(a.Epoch))
	b.H = max(b.H, first)
	w.raise(b)
	if err := w.State.ForgetVanished(b.ID, first); err != nil {
		return err
	}
	return w.use(b)
}

// leaveBehind hides the messages that have no UID in the new era of their mailbox.
func (w *work) leaveBehind(b *openBox, listed map[Tag]bool) error {
	tags, err := w.State.Tags(b.ID)
	if err != nil {
		return err
	}
	slices.SortFunc(tags, Tag.Compare)
	for _, t := range tags {
		if listed[t] {
			continue
		}
		m, err := w.State.Message(b.ID, t)
		if err != nil {
			return err
		}
		if m == nil || m.Reg.Era() == b.Era() {
			continue
		}
		b.count(m, false)
		m.Exp = 0
		m.prune(b.Era())
		if err := w.reconcile(b, m); err != nil {
			return err
		}
		if err := w.State.PutMessage(b.ID, m); err != nil {
			return err
		}
	}
	return nil
}

// prune forgets the UIDs of eras that are over: their UIDVALIDITY is. The
// register stays.
func (m *Message) prune(era uint32) {
	m.All = slices.DeleteFunc(m.All, func(u UID) bool { return u != m.Reg && u.Era() < era })
}
