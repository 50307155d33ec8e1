package crdt

import "slices"

// fixedTime is the time of the registers that provisioning sets: before every
// client's change, and the same on all replicas.
const fixedTime Time = 1

func (p *CreateMailbox) check(*work) error {
	for i := range p.Boxes {
		b := &p.Boxes[i]
		if err := checkName(b.Name); err != nil {
			return impossible("%v", err)
		}
		if b.Generation == 0 || b.ID != NewMailboxID(b.Name, b.Generation) {
			return impossible("mailbox %x is not number %d of %q", uint64(b.ID), b.Generation, b.Name)
		}
		if err := checkC(b.C); err != nil {
			return err
		}
		if len(b.SpecialUse) > maxUse {
			return impossible("special use of %d bytes", len(b.SpecialUse))
		}
	}
	return nil
}

func checkC(c uint32) error {
	if c == 0 {
		return impossible("UIDVALIDITY part %d", c)
	}
	return nil
}

func (p *CreateMailbox) effect(w *work) error {
	a, err := w.State.Account()
	if err != nil {
		return err
	}
	provisioned := a.Provisioned
	for i := range p.Boxes {
		b := &p.Boxes[i]
		dot, t := w.op.Dot, w.op.Time
		if b.Fixed {
			// Once is enough: a second one must not bring back what was deleted.
			if provisioned {
				continue
			}
			a.Provisioned = true
			dot, t = Dot{N: uint64(i) + 1}, fixedTime
		}
		if err := w.create(b, dot, t, a.Epoch); err != nil {
			return err
		}
	}
	if a.Provisioned == provisioned {
		return nil
	}
	return w.State.PutAccount(a)
}

func (w *work) create(n *NewMailbox, dot Dot, t Time, epoch uint32) error {
	b, err := w.box(n.ID)
	if err != nil {
		return err
	}
	if b == nil {
		b = w.open(newMailbox(n.ID, n.Name, n.Generation))
	}
	b.C = max(b.C, n.C)
	w.hear(b, b.floor(epoch))
	if !slices.Contains(b.Dots, dot) {
		b.Dots = append(b.Dots, dot)
	}
	w.raise(b)
	if n.SpecialUse != "" {
		b.SpecialUse.Set(t, n.SpecialUse)
	}
	if n.Subscribe {
		if err := w.subscribe(n.Name, t, true); err != nil {
			return err
		}
	}
	return w.use(b)
}

// use notes that a mailbox has been shown under its name with its UIDVALIDITY.
func (w *work) use(b *openBox) error {
	w.listed = true
	used, err := w.State.Used(b.Name.Value)
	if err != nil || b.Validity() <= used {
		return err
	}
	return w.State.PutUsed(b.Name.Value, b.Validity())
}

func (p *DeleteMailbox) check(w *work) error {
	if p.ID == Inbox {
		return impossible("deletes %s", inboxName)
	}
	return w.checkBox(p.ID)
}

func (p *DeleteMailbox) effect(w *work) error {
	b, err := w.box(p.ID)
	if err != nil {
		return err
	}
	w.listed = true
	b.dirty = true
	b.Dots = slices.DeleteFunc(b.Dots, func(d Dot) bool { return slices.Contains(p.Dots, d) })
	for _, t := range p.Tags {
		if err := w.remove(Instance{p.ID, t}); err != nil {
			return err
		}
	}
	return nil
}

func (p *Rename) check(w *work) error {
	for i := range p.Boxes {
		b := &p.Boxes[i]
		if b.ID == Inbox {
			return impossible("renames %s", inboxName)
		}
		if err := checkName(b.Name); err != nil {
			return impossible("%v", err)
		}
		if err := checkC(b.C); err != nil {
			return err
		}
		if err := w.checkBox(b.ID); err != nil {
			return err
		}
	}
	return nil
}

func (p *Rename) effect(w *work) error {
	w.renamed = true
	for i := range p.Boxes {
		r := &p.Boxes[i]
		b, err := w.box(r.ID)
		if err != nil {
			return err
		}
		b.dirty = true
		b.C = max(b.C, r.C)
		if err := w.use(b); err != nil {
			return err
		}
		if !b.Name.Set(w.op.Time, r.Name) {
			continue
		}
		if err := w.use(b); err != nil {
			return err
		}
	}
	return nil
}

func (p *RenameInbox) check(w *work) error {
	if err := p.Create.check(w); err != nil {
		return err
	}
	if !slices.ContainsFunc(p.Create.Boxes, func(b NewMailbox) bool { return b.ID == p.Move.Dst }) {
		return impossible("moves %s to mailbox %x, which it does not create", inboxName, uint64(p.Move.Dst))
	}
	return p.Move.checkEntries(w)
}

func (p *RenameInbox) effect(w *work) error {
	if err := p.Create.effect(w); err != nil {
		return err
	}
	return p.Move.effect(w)
}

func (p *Touch) check(w *work) error {
	if err := checkC(p.C); err != nil {
		return err
	}
	return w.checkBox(p.ID)
}

func (p *Touch) effect(w *work) error {
	b, err := w.box(p.ID)
	if err != nil || p.C <= b.C {
		return err
	}
	b.C = p.C
	b.dirty = true
	return w.use(b)
}

func (p *Subscribe) check(*work) error {
	if err := checkName(p.Name); err != nil {
		return impossible("%v", err)
	}
	return nil
}

func (p *Subscribe) effect(w *work) error { return w.subscribe(p.Name, w.op.Time, p.On) }

func (w *work) subscribe(name string, t Time, on bool) error {
	r, err := w.State.Subscription(name)
	if err != nil {
		return err
	}
	if r == nil {
		r = new(Register[bool])
	}
	if !r.Set(t, on) {
		return nil
	}
	return w.State.PutSubscription(name, *r)
}

func (p *SetSpecialUse) check(w *work) error {
	if len(p.Use) > maxUse {
		return impossible("special use of %d bytes", len(p.Use))
	}
	return w.checkBox(p.ID)
}

func (p *SetSpecialUse) effect(w *work) error {
	b, err := w.box(p.ID)
	if err != nil {
		return err
	}
	if b.SpecialUse.Set(w.op.Time, p.Use) {
		b.dirty = true
	}
	return nil
}

func (p *BindLogin) check(*work) error {
	if p.Login == "" || len(p.Login) > maxLogin {
		return impossible("login of %d bytes", len(p.Login))
	}
	return nil
}

// effect lets the first binding win: a later one, made where the first was not
// known yet, must not take the account over.
func (p *BindLogin) effect(w *work) error {
	a, err := w.State.Account()
	if err != nil {
		return err
	}
	if a.Login.Time != 0 && a.Login.Time <= w.op.Time {
		return nil
	}
	a.Login = Register[string]{w.op.Time, p.Login}
	return w.State.PutAccount(a)
}
