package crdt

import "fmt"

// Unhide returns the operations that must be prepared and applied before
// HIGHESTMODSEQ of a mailbox is told to a client: messages that were delivered
// here long ago ([Policy].Hidden) and are still hidden get another UID, so that
// they are shown at once. Other replicas conclude from a MODSEQ what this one has
// shown (crdt.md 4.2). s.Mod is what HIGHESTMODSEQ may be raised to by then, 0 if it
// stays ([Site.AnnounceAbove]). There is rarely anything: the tick has done it long
// before.
func (s *Site) Unhide(box MailboxID) ([]Payload, error) {
	list, err := s.State.Awaiting()
	if err != nil {
		return nil, fmt.Errorf("unhide: %w", err)
	}
	var here []Instance
	for _, i := range list {
		if i.Box == box && s.noted(i).State != WaitShown {
			here = append(here, i)
		}
	}
	if len(here) == 0 {
		return nil, nil
	}
	b, err := s.mailbox(box)
	if err != nil || b == nil {
		return nil, err
	}
	waiting, err := s.waiting(here)
	if err != nil {
		return nil, err
	}
	now := max(b.High, s.Mod, TimeAt(s.Now, s.Self.Slot))
	var late []*Message
	for _, m := range waiting {
		if m.Exp == 0 && now >= m.Arrived.add(s.Self.policy().Hidden) {
			late = append(late, m)
		}
	}
	return s.reissue(b, late)
}

// AnnounceAbove is [Site.Announce] for a client that has a MODSEQ of another
// replica. HIGHESTMODSEQ is then not below it and says that it was given here: if
// it has to rise for that, to s.Mod, which the caller has drawn after observing
// the client's. The change must be durable before it is told.
func (s *Site) AnnounceAbove(box MailboxID, have Time) (uidNext UID, high Time, err error) {
	uidNext, high, err = s.Announce(box)
	if err != nil || high >= have && high.Slot() == s.Self.Slot {
		return uidNext, high, err
	}
	b, err := s.mailbox(box)
	if err != nil {
		return 0, 0, fmt.Errorf("announce: %w", err)
	}
	b.High = max(b.High, s.Mod)
	if err := s.State.PutMailbox(b); err != nil {
		return 0, 0, fmt.Errorf("announce: %w", err)
	}
	return uidNext, b.High, nil
}

// Certain returns what of f holds in a mailbox: nothing if it is below Doubt. What
// the client has may be lost with a member that was evicted ([RaiseEpoch]).
func (b *Mailbox) Certain(f Floor) Floor {
	if f.Time < b.Doubt {
		return Floor{}
	}
	return f
}

// Forgot reports whether more may have vanished since f, which is certain, than is
// still listed: it is below VanFloor, or nothing is certain. The client is then told
// which of the UIDs that it knows are none (crdt.md 4.4). Of what is there it is told
// no more than the changes since f.
func (b *Mailbox) Forgot(f Floor) bool { return f.Time == 0 || f.Time < b.VanFloor }

// Reports says what a client whose MODSEQ is worth f must be told of m: that it
// is as it is, and that its other UIDs are none. Other replicas may have shown
// other UIDs of those that it has.
func (m *Message) Reports(f Floor) (changed, others bool) {
	others = !f.Own && m.Several()
	return m.Exp != 0 && (m.Mod > f.Time || others), others
}
