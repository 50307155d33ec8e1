package crdt

import "errors"

// tag returns the tag of the i-th instance that the operation adds.
func (op *Op) tag(i int) Tag { return Tag{op.Dot.Origin, op.Dot.N, uint32(i)} }

// cause returns the cause of the i-th instance that the operation adds.
func (op *Op) cause(i int) Cause {
	c := op.Cause
	if !c.IsZero() {
		c.Index += uint32(i)
	}
	return c
}

func (w *work) newMessage(i int, a *Added) *Message {
	return &Message{
		Tag: w.op.tag(i), Cause: w.op.cause(i), Root: a.Root,
		Size: a.Size, Date: a.Date, Zone: a.Zone, Saved: a.Saved,
	}
}

func (p *Append) check(w *work) error {
	if err := w.checkBox(p.Box); err != nil {
		return err
	}
	era, err := w.eraOf(p.Box)
	if err != nil {
		return err
	}
	if p.Hold > maxHold {
		return impossible("hidden for %d ms", p.Hold)
	}
	for i := range p.Messages {
		m := &p.Messages[i]
		err := w.checkAdded(era, m)
		if p.Moved {
			err = errors.Join(checkUID(era, m.UID), m.check())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *Append) effect(w *work) error {
	b, err := w.box(p.Box)
	if err != nil {
		return err
	}
	causes := p.causes(w.op)
	w.arrives = p.Moved
	for i := range p.Messages {
		a := &p.Messages[i]
		m := w.newMessage(i, a)
		m.Due = w.due(p.Hold)
		m.Cause, m.Copied = causes(i), w.op.copies(p)
		for _, f := range a.Flags {
			m.setFlag(f, w.op.Time, true)
		}
		if err := w.add(b, m, a.UID); err != nil {
			return err
		}
	}
	return nil
}

func (p *Store) check(w *work) error {
	if p.Mode > StoreReplace {
		return impossible("mode %d", p.Mode)
	}
	if p.Base > maxTime {
		return impossible("base %d", p.Base)
	}
	if err := checkFlags(p.Flags); err != nil {
		return err
	}
	return w.checkInstances(p.Targets)
}

func (p *Store) effect(w *work) error {
	for _, t := range p.Targets {
		m, err := w.State.Message(t.Box, t.Tag)
		if err != nil {
			return err
		}
		if m == nil {
			continue // removed meanwhile: remove wins (3.1)
		}
		b, err := w.box(t.Box)
		if err != nil {
			return err
		}
		b.count(m, false)
		changed := m.store(p, w.op.Time)
		b.count(m, true)
		if !changed {
			continue
		}
		w.mark(b, m)
		if err := w.State.PutMessage(t.Box, m); err != nil {
			return err
		}
	}
	return nil
}

func (p *Expunge) check(w *work) error { return w.checkInstances(p.Targets) }

func (p *Expunge) effect(w *work) error { return w.removeAll(p.Targets) }

func (w *work) removeAll(list []Instance) error {
	for _, i := range list {
		if err := w.remove(i); err != nil {
			return err
		}
	}
	return nil
}

func (p *Move) check(w *work) error {
	if err := w.checkBox(p.Dst); err != nil {
		return err
	}
	return p.checkEntries(w)
}

func (p *Move) checkEntries(w *work) error {
	era, err := w.eraOf(p.Dst)
	if err != nil {
		return err
	}
	from := make(map[Instance]bool, len(p.Entries))
	for i := range p.Entries {
		e := &p.Entries[i]
		if from[e.From] {
			return impossible("moves %v twice", e.From)
		}
		from[e.From] = true
		if err := w.checkBox(e.From.Box); err != nil {
			return err
		}
		if e.From.Tag.IsZero() {
			return impossible("moves nothing")
		}
		if err := w.checkInstances(e.Copies); err != nil {
			return err
		}
		if err := w.checkAdded(era, &e.New); err != nil {
			return err
		}
		if err := checkRegisters(e.State); err != nil {
			return err
		}
	}
	return nil
}

func (p *Move) effect(w *work) error {
	dst, err := w.box(p.Dst)
	if err != nil {
		return err
	}
	for i := range p.Entries {
		e := &p.Entries[i]
		if err := w.remove(e.From); err != nil {
			return err
		}
		if err := w.removeAll(e.Copies); err != nil {
			return err
		}
		m := w.newMessage(i, &e.New)
		m.Src, m.SrcTime = e.From.Tag, w.op.Time
		for _, f := range e.State {
			m.setFlag(f.Name, f.Time, f.On)
		}
		if err := w.add(dst, m, e.New.UID); err != nil {
			return err
		}
	}
	return nil
}

func (p *Reissue) check(w *work) error {
	if err := w.checkBox(p.Box); err != nil {
		return err
	}
	era, err := w.eraOf(p.Box)
	if err != nil {
		return err
	}
	for _, x := range p.List {
		if err := w.checkIssued(era, x.UID); err != nil {
			return err
		}
	}
	return nil
}

func (p *Reissue) effect(w *work) error {
	b, err := w.box(p.Box)
	if err != nil {
		return err
	}
	for _, x := range p.List {
		if err := w.give(b, x); err != nil {
			return err
		}
	}
	return nil
}

func (p *Nudge) check(w *work) error {
	if err := w.checkBox(p.Box); err != nil {
		return err
	}
	era, err := w.eraOf(p.Box)
	if err != nil {
		return err
	}
	if p.H.Number() > MaxNumber || p.H.Era() > era {
		return impossible("horizon %d of era %d in era %d", p.H.Number(), p.H.Era(), era)
	}
	return nil
}

// effect moves N above the nudger's horizon, so that what is issued next can be
// shown there, and lets the leader issue it. The nudger notes that it asked.
func (p *Nudge) effect(w *work) error {
	b, err := w.box(p.Box)
	if err != nil {
		return err
	}
	w.hear(b, p.H)
	own := w.op.Dot.Origin == w.Self.Origin
	if !own && !w.Self.Leader {
		return nil
	}
	var list []*Message
	for _, x := range p.List {
		m, err := w.State.Message(p.Box, x.Tag)
		if err != nil {
			return err
		}
		switch {
		case m == nil || m.Reg != x.UID: // gone, or has another one already
		case !own:
			list = append(list, m)
		default:
			m.Nudged = x.UID
			if err := w.State.PutMessage(p.Box, m); err != nil {
				return err
			}
		}
	}
	re, err := w.reissue(b.Mailbox, list)
	if errors.Is(err, ErrUIDSpace) {
		return nil // the next tick renumbers
	}
	w.followup = append(w.followup, re...)
	return err
}
