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

// checkLoaded checks messages of a snapshot against the mailbox that they are in.
func (w *work) checkLoaded(box MailboxID, list []*Message) error {
	if err := w.checkBox(box); err != nil {
		return err
	}
	b, err := w.box(box)
	if err != nil {
		return err
	}
	for _, m := range list {
		switch {
		case m.Tag.Origin == 0 || m.Tag.N == 0 || !w.load.Theirs.Has(m.Tag.Dot()):
			return impossible("message %v in a snapshot of %v", m.Tag, w.load.Theirs)
		case len(m.All) == 0 || m.Reg != slices.Max(m.All):
			return impossible("register %v of UIDs %v", m.Reg, m.All)
		case m.Size > maxSize:
			return impossible("message of %d bytes", m.Size)
		case m.SrcTime > maxTime || m.Base > maxTime:
			return impossible("message of times %d and %d", m.SrcTime, m.Base)
		}
		for _, u := range m.All {
			if err := checkHeard(b, u); err != nil {
				return err
			}
		}
		if err := checkRegisters(m.Flags); err != nil {
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
		if err := checkHeard(b, u); err != nil {
			return err
		}
	}
	return nil
}

// checkHeard checks a UID of a snapshot, whose records have been merged already.
func checkHeard(b *openBox, u UID) error {
	if u.Number() == 0 || u.Number() > MaxNumber || u > b.N {
		return impossible("UID %v in a mailbox that has heard of %v", u, b.N)
	}
	return nil
}
