package crdt

// Bits of an Append.
const (
	withBody = 1 << iota
	withHold // Hold follows
	areMoved
)

func (p *Append) encode(w *writer) {
	w.fixed(uint64(p.Box))
	how := byte(0)
	if p.NewBody {
		how |= withBody
	}
	if p.Hold > 0 {
		how |= withHold
	}
	if p.Moved {
		how |= areMoved
	}
	w.byte(how)
	if p.Hold > 0 {
		w.uint(uint64(p.Hold))
	}
	w.uint(uint64(len(p.Messages)))
	for i := range p.Messages {
		w.added(&p.Messages[i])
	}
}

func (p *Append) decode(r *reader) {
	p.Box = MailboxID(r.fixed())
	how := r.byte()
	if how&^(withBody|withHold|areMoved) != 0 {
		r.fail(errNumber)
	}
	p.NewBody, p.Moved = how&withBody != 0, how&areMoved != 0
	if how&withHold != 0 {
		p.Hold = r.uint32()
	}
	p.Messages = elements[Added](r, minAdded)
	for i := range p.Messages {
		p.Messages[i] = r.added()
	}
}

func (p *Store) encode(w *writer) {
	w.byte(byte(p.Mode))
	w.uint(uint64(p.Base))
	w.strings(p.Flags)
	w.instances(p.Targets)
}

func (p *Store) decode(r *reader) {
	p.Mode = StoreMode(r.byte())
	p.Base = Time(r.uint())
	p.Flags = r.strings()
	p.Targets = r.instances()
}

func (p *Expunge) encode(w *writer) { w.instances(p.Targets) }
func (p *Expunge) decode(r *reader) { p.Targets = r.instances() }

func (p *Move) encode(w *writer) {
	w.fixed(uint64(p.Dst))
	w.uint(uint64(len(p.Entries)))
	for i := range p.Entries {
		e := &p.Entries[i]
		w.instance(e.From)
		w.instances(e.Copies)
		w.added(&e.New)
		w.flags(e.State)
	}
}

func (p *Move) decode(r *reader) {
	p.Dst = MailboxID(r.fixed())
	p.Entries = elements[Moved](r, minTag+minAdded+2)
	for i := range p.Entries {
		p.Entries[i] = Moved{From: r.instance(), Copies: r.instances(), New: r.added(), State: r.flags(nil)}
	}
}

func (w *writer) tagUIDs(list []TagUID) {
	w.uint(uint64(len(list)))
	for _, x := range list {
		w.tag(x.Tag, 0)
		w.uint(uint64(x.UID))
	}
}

func (r *reader) tagUIDs() []TagUID {
	list := elements[TagUID](r, minTag+1)
	for i := range list {
		t, _ := r.tag()
		list[i] = TagUID{t, r.uid()}
	}
	return list
}

func (p *Reissue) encode(w *writer) {
	w.fixed(uint64(p.Box))
	w.tagUIDs(p.List)
}

func (p *Reissue) decode(r *reader) {
	p.Box = MailboxID(r.fixed())
	p.List = r.tagUIDs()
}

func (p *Renumber) encode(w *writer) {
	w.fixed(uint64(p.Box))
	w.uint(uint64(p.Era))
	w.tagUIDs(p.List)
}

func (p *Renumber) decode(r *reader) {
	p.Box = MailboxID(r.fixed())
	p.Era = r.uint32()
	p.List = r.tagUIDs()
}

func (p *RaiseEpoch) encode(w *writer) {
	w.uint(uint64(p.Epoch))
	w.uint(uint64(len(p.Boxes)))
	for i := range p.Boxes {
		b := &p.Boxes[i]
		w.fixed(uint64(b.ID))
		w.uint(uint64(b.N))
		w.uint(uint64(b.C))
	}
}

func (p *RaiseEpoch) decode(r *reader) {
	p.Epoch = r.uint32()
	p.Boxes = elements[RaisedMailbox](r, 8+2)
	for i := range p.Boxes {
		p.Boxes[i] = RaisedMailbox{MailboxID(r.fixed()), r.uid(), r.uint32()}
	}
}

func (p *Nudge) encode(w *writer) {
	w.fixed(uint64(p.Box))
	w.uint(uint64(p.H))
	w.tagUIDs(p.List)
}

func (p *Nudge) decode(r *reader) {
	p.Box = MailboxID(r.fixed())
	p.H = r.uid()
	p.List = r.tagUIDs()
}

func (p *CreateMailbox) encode(w *writer) {
	w.uint(uint64(len(p.Boxes)))
	for i := range p.Boxes {
		b := &p.Boxes[i]
		w.fixed(uint64(b.ID))
		w.string(b.Name)
		w.uint(uint64(b.Generation))
		w.uint(uint64(b.C))
		w.string(b.SpecialUse)
		w.bool(b.Subscribe)
		w.bool(b.Fixed)
	}
}

func (p *CreateMailbox) decode(r *reader) {
	p.Boxes = elements[NewMailbox](r, 8+6)
	for i := range p.Boxes {
		p.Boxes[i] = NewMailbox{
			ID: MailboxID(r.fixed()), Name: r.string(), Generation: r.uint32(), C: r.uint32(),
			SpecialUse: r.string(), Subscribe: r.bool(), Fixed: r.bool(),
		}
	}
}

func (p *DeleteMailbox) encode(w *writer) {
	w.fixed(uint64(p.ID))
	w.uint(uint64(len(p.Dots)))
	for _, d := range p.Dots {
		w.tag(Tag{Origin: d.Origin, N: d.N}, 0)
	}
	w.uint(uint64(len(p.Tags)))
	for _, t := range p.Tags {
		w.tag(t, 0)
	}
}

func (p *DeleteMailbox) decode(r *reader) {
	p.ID = MailboxID(r.fixed())
	p.Dots = elements[Dot](r, minTag)
	for i := range p.Dots {
		t, _ := r.tag()
		p.Dots[i] = t.Dot()
	}
	p.Tags = elements[Tag](r, minTag)
	for i := range p.Tags {
		p.Tags[i], _ = r.tag()
	}
}

func (p *Rename) encode(w *writer) {
	w.uint(uint64(len(p.Boxes)))
	for _, b := range p.Boxes {
		w.fixed(uint64(b.ID))
		w.string(b.Name)
		w.uint(uint64(b.C))
	}
}

func (p *Rename) decode(r *reader) {
	p.Boxes = elements[Renamed](r, 8+2)
	for i := range p.Boxes {
		p.Boxes[i] = Renamed{MailboxID(r.fixed()), r.string(), r.uint32()}
	}
}

func (p *RenameInbox) encode(w *writer) { p.Create.encode(w); p.Move.encode(w) }
func (p *RenameInbox) decode(r *reader) { p.Create.decode(r); p.Move.decode(r) }

func (p *Touch) encode(w *writer) { w.fixed(uint64(p.ID)); w.uint(uint64(p.C)) }
func (p *Touch) decode(r *reader) { p.ID = MailboxID(r.fixed()); p.C = r.uint32() }

func (p *Subscribe) encode(w *writer) { w.string(p.Name); w.bool(p.On) }
func (p *Subscribe) decode(r *reader) { p.Name = r.string(); p.On = r.bool() }

func (p *SetSpecialUse) encode(w *writer) { w.fixed(uint64(p.ID)); w.string(p.Use) }
func (p *SetSpecialUse) decode(r *reader) { p.ID = MailboxID(r.fixed()); p.Use = r.string() }

func (p *BindLogin) encode(w *writer) { w.string(p.Login) }
func (p *BindLogin) decode(r *reader) { p.Login = r.string() }
