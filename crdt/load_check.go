package crdt

import "slices"

// maxValidity is above every validity that a mailbox can have.
const maxValidity = Validity(MaxC)<<20 + 1<<20 + MaxEra

// What a snapshot may say is checked before it changes anything, as operations are.

func (s *Snapshot) check(*work) error {
	if s.Login.Time > maxTime || len(s.Login.Value) > maxLogin {
		return impossible("login of %d bytes at %d", len(s.Login.Value), s.Login.Time)
	}
	if s.Clock > maxTime {
		return impossible("clock %d", s.Clock)
	}
	for name, v := range s.Used {
		if err := checkName(name); err != nil {
			return impossible("%v", err)
		}
		if v > maxValidity {
			return impossible("validity %d", v)
		}
	}
	for name, r := range s.Subscriptions {
		if err := checkName(name); err != nil {
			return impossible("%v", err)
		}
		if r.Time > maxTime {
			return impossible("subscription of time %d", r.Time)
		}
	}
	for of, r := range s.Notes {
		if err := (&Annotated{of, r.Value}).checkLoaded(r.Time); err != nil {
			return err
		}
	}
	for _, b := range s.Boxes {
		if err := b.checkLoaded(); err != nil {
			return err
		}
	}
	return nil
}

func (b *Mailbox) checkLoaded() error {
	for _, name := range []string{b.Created, b.Name.Value} {
		if err := checkName(name); err != nil {
			return impossible("%v", err)
		}
	}
	switch {
	case b.Generation == 0 || b.ID != NewMailboxID(b.Created, b.Generation):
		return impossible("mailbox %x is not number %d of %q", uint64(b.ID), b.Generation, b.Created)
	case b.ID == Inbox && b.Name.Value != inboxName:
		return impossible("%s is called %q", inboxName, b.Name.Value)
	case len(b.SpecialUse.Value) > maxUse:
		return impossible("special use of %d bytes", len(b.SpecialUse.Value))
	case b.Name.Time > maxTime || b.SpecialUse.Time > maxTime:
		return impossible("registers of times %d and %d", b.Name.Time, b.SpecialUse.Time)
	case b.N > maxUID || b.N.Number() > MaxNumber:
		return impossible("UID %v", b.N)
	}
	return checkC(b.C)
}

// Check returns an error that wraps [ErrImpossible] if no correct replica hands
// out such a snapshot. LoadAccount does it as well.
func (s *Snapshot) Check() error { return s.check(nil) }

// CheckMessage does the same for a message in a mailbox of the snapshot. It is
// better done before the first part is loaded than after it.
func (s *Snapshot) CheckMessage(b *Mailbox, m *Message) error {
	return checkMessage(s.Vector, b.N, m)
}

// CheckReplay does the same for a remembered replay.
func (s *Snapshot) CheckReplay(r Replay) error { return checkReplay(s.Vector, r) }

// CheckVanished does the same for vanished UIDs from first to last.
func (s *Snapshot) CheckVanished(b *Mailbox, first, last UID) error {
	if err := checkHeard(b.N, first); err != nil {
		return err
	}
	return checkHeard(b.N, last)
}

func checkMessage(theirs VC, heard UID, m *Message) error {
	switch {
	case m.Tag.Origin == 0 || m.Tag.N == 0 || !theirs.Has(m.Tag.Dot()):
		return impossible("message %v in a snapshot of %v", m.Tag, theirs)
	case len(m.All) == 0 || m.Reg != slices.Max(m.All):
		return impossible("register %v of UIDs %v", m.Reg, m.All)
	case m.Size > maxSize:
		return impossible("message of %d bytes", m.Size)
	case m.SrcTime > maxTime || m.Base > maxTime:
		return impossible("message of times %d and %d", m.SrcTime, m.Base)
	}
	for _, u := range m.All {
		if err := checkHeard(heard, u); err != nil {
			return err
		}
	}
	return checkRegisters(m.Flags)
}

// checkHeard checks a UID of a mailbox that has heard of UIDs up to one.
func checkHeard(heard, u UID) error {
	if u.Number() == 0 || u.Number() > MaxNumber || u > heard {
		return impossible("UID %v in a mailbox that has heard of %v", u, heard)
	}
	return nil
}

// checkLoaded checks messages against the mailbox that they are to be loaded into.
func (w *work) checkLoaded(box MailboxID, list []*Message) error {
	if err := w.checkBox(box); err != nil {
		return err
	}
	b, err := w.box(box)
	if err != nil {
		return err
	}
	for _, m := range list {
		if err := checkMessage(w.load.Theirs, b.N, m); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) checkVanished(box MailboxID, uids []UID) error {
	if err := w.checkBox(box); err != nil {
		return err
	}
	b, err := w.box(box)
	if err != nil {
		return err
	}
	for _, u := range uids {
		if err := checkHeard(b.N, u); err != nil {
			return err
		}
	}
	return nil
}
