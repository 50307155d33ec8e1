package crdt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// removals lists the instances that an operation removes.
func removals(op *Op) []Instance {
	switch p := op.Payload.(type) {
	case *Expunge:
		return p.Targets
	case *Move:
		return p.removals()
	case *RenameInbox:
		return p.Move.removals()
	case *DeleteMailbox:
		var out []Instance
		for _, t := range p.Tags {
			out = append(out, Instance{p.ID, t})
		}
		return out
	}
	return nil
}

func (p *Move) removals() []Instance {
	var out []Instance
	for _, e := range p.Entries {
		out = append(append(out, e.From), e.Copies...)
	}
	return out
}

// observe notes what an operation adds, issues and removes.
func (t *truth) observe(op *Op) {
	t.ops[op.Payload.kind()]++
	for _, i := range removals(op) {
		t.gone[i] = true
	}
	t.observeCauses(op)
	add := func(box MailboxID, i int, a *Added) {
		tag := Tag{op.Dot.Origin, op.Dot.N, uint32(i)}
		t.added[Instance{box, tag}] = a.Root
		t.issue(box, a.UID, tag)
	}
	switch p := op.Payload.(type) {
	case *Append:
		for i := range p.Messages {
			add(p.Box, i, &p.Messages[i])
		}
	case *Move:
		for i := range p.Entries {
			add(p.Dst, i, &p.Entries[i].New)
		}
	case *RenameInbox:
		for i := range p.Move.Entries {
			add(p.Move.Dst, i, &p.Move.Entries[i].New)
		}
	case *Reissue:
		for _, x := range p.List {
			t.issue(p.Box, x.UID, x.Tag)
		}
	case *Renumber:
		for _, x := range p.List {
			t.issue(p.Box, x.UID, x.Tag)
		}
	}
}

func (t *truth) issue(box MailboxID, u UID, tag Tag) {
	k := boxUID{box, u}
	if o, ok := t.issued[k]; ok {
		t.fail("I1: UID %d of %x issued for %v and %v", u, uint64(box), o, tag)
	}
	t.issued[k] = tag
}

// look checks what replica i shows against what it and others showed before.
func (w *world) look(i int) {
	r, t := w.reps[i], w.truth
	if !w.noAudit {
		if err := Audit(r.mem); err != nil {
			t.fail("replica %d: %v", i, err)
		}
	}
	for at := range r.mem.messages {
		if r.removed[at] {
			t.fail("I8: replica %d has %v, which was removed", i, at)
		}
	}
	for id, b := range r.mem.boxes {
		if b.High < r.high[id] {
			t.fail("I4: HIGHESTMODSEQ of %x went down at %d", uint64(id), i)
		}
		r.high[id] = b.High
		r.views[id] = w.lookAt(i, b)
	}
	w.lookContents(i)
	w.lookCauses(i)
	w.lookList(i)
}

// lookAt returns the view of a mailbox after checking it.
func (w *world) lookAt(i int, b *Mailbox) map[UID]Tag {
	r, t := w.reps[i], w.truth
	before, view := r.views[b.ID], map[UID]Tag{}
	for u := range r.mem.vanished[b.ID] {
		if u.Era() != b.Era() {
			t.fail("replica %d reports UID %v as vanished in era %d", i, u, b.Era())
		}
	}
	for at, m := range r.mem.messages {
		if at.Box != b.ID || m.Exp == 0 {
			continue
		}
		view[m.Exp] = m.Tag
		if before[m.Exp] != m.Tag && m.Exp < r.told[b.ID] {
			t.fail("I2: replica %d shows UID %d, had announced UIDNEXT %d", i, m.Exp, r.told[b.ID])
		}
		k := boxUID{b.ID, m.Exp}
		if t.issued[k] != m.Tag {
			t.fail("I1: replica %d shows %v as %d, which is %v", i, m.Tag, m.Exp, t.issued[k])
		}
		if root, ok := t.root[k]; ok && root != m.Root {
			t.fail("I3: UID %d of %x changed its content", m.Exp, uint64(b.ID))
		}
		t.root[k] = m.Root
		if _, ok := r.mem.vanished[b.ID][m.Exp]; ok {
			t.fail("replica %d shows UID %d as vanished", i, m.Exp)
		}
	}
	if r.watched[b.ID] && b.MaxExp > 0 { // a session tells its client at once
		r.told[b.ID] = max(r.told[b.ID], b.MaxExp+1)
	}
	return view
}

// lookList checks the mailbox list: N2, N3, N4.
func (w *world) lookList(i int) {
	r, t := w.reps[i], w.truth
	list, err := (&Site{State: r.mem, Self: r.self}).List()
	if err != nil {
		t.fail("list: %v", err)
	}
	live := 0
	for _, b := range r.mem.boxes {
		if b.Live() {
			live++
		}
	}
	if r.mem.boxes[Inbox] == nil {
		live++
	}
	if len(list) != live {
		t.fail("N2: replica %d lists %d of %d mailboxes", i, len(list), live)
	}
	for _, l := range list {
		if b, err := (&Site{State: r.mem, Self: r.self}).Lookup(l.Name); err != nil || b == nil || b.ID != l.Box.ID {
			t.fail("%q is %x, looked up: %v, %v", l.Name, uint64(l.Box.ID), b, err)
		}
		uv := l.Box.Validity()
		if uv < r.uv[l.Name] {
			t.fail("N4: validity of %q went from %d to %d at %d", l.Name, r.uv[l.Name], uv, i)
		}
		r.uv[l.Name] = uv
		era := boxUID{l.Box.ID, UID(l.Box.UIDValidity())}
		if e, ok := t.eras[era]; ok && e != l.Box.Era() {
			t.fail("N3: %q has UIDVALIDITY %d in the eras %d and %d", l.Name, l.Box.UIDValidity(), e, l.Box.Era())
		}
		t.eras[era] = l.Box.Era()
		for u, tag := range r.views[l.Box.ID] {
			k := fmt.Sprintf("%s/%d/%d", l.Name, uv.UIDValidity(), u.Number())
			if o, ok := t.named[k]; ok && o != tag {
				t.fail("N3: %s is %v and %v", k, o, tag)
			}
			t.named[k] = tag
		}
	}
}

// announce is a client's look at UIDNEXT.
func (w *world) announce(i int, box MailboxID) (UID, Time) {
	r := w.reps[i]
	next, high, err := w.site(i).Announce(box)
	if err != nil {
		return 0, 0
	}
	if next < r.told[box] {
		w.truth.fail("I2: UIDNEXT of %x went from %d to %d at %d", uint64(box), r.told[box], next, i)
	}
	r.told[box] = next
	return next, high
}

// rows is what replica i shows in a mailbox, with flags.
func (w *world) rows(i int, box MailboxID, since Time) map[UID]string {
	out := map[UID]string{}
	for at, m := range w.reps[i].mem.messages {
		if at.Box == box && m.Exp != 0 && m.Mod > since {
			out[m.Exp] = row(m)
		}
	}
	return out
}

// row is what a client keeps of a message.
func row(m *Message) string {
	return fmt.Sprintf("%x(%s)", m.Root[0], strings.Join(m.FlagNames(), " "))
}

// final settles and checks that all replicas and clients agree with the truth.
func (w *world) final() {
	t := w.truth
	w.cut = nil
	for i := range w.reps {
		w.finishLoad(i)
	}
	if n := w.settle(); n > 200 {
		t.fail("I6: does not settle: %d re-issues", t.ops[kindReissue])
		return
	}
	w.forgetSkipped()
	ref, list := w.reps[0].mem.replicated(), w.listing(0)
	for i, r := range w.reps {
		w.look(i)
		if s := r.mem.replicated(); s != ref {
			t.fail("diverged:\n0: %s\n%d: %s", ref, i, s)
		}
		if l := w.listing(i); l != list {
			t.fail("N1, I6: lists differ:\n0: %s\n%d: %s", list, i, l)
		}
		w.finalMessages(i)
	}
	for _, c := range w.clients {
		for i := range w.reps {
			for _, id := range slices.Sorted(maps.Keys(w.reps[i].mem.boxes)) {
				w.sync(c, i, id)
			}
		}
	}
}

// finalMessages checks I7 and I8, exp == reg, and the count of contents.
func (w *world) finalMessages(i int) {
	r, t := w.reps[i], w.truth
	roots := map[Root]int{}
	for at, root := range t.added {
		m := r.mem.messages[at]
		if (m == nil) != t.gone[at] {
			t.fail("I7, I8: %v at %d: there %v, removed %v", at, i, m != nil, t.gone[at])
		}
		if m == nil {
			continue
		}
		roots[root]++
		if loses, _ := (&work{Site: &Site{State: r.mem}}).loses(&openBox{Mailbox: r.mem.boxes[at.Box]}, m); !loses && m.Exp != m.Reg {
			t.fail("I6: %v at %d is shown as %d, not %d", at, i, m.Exp, m.Reg)
		}
	}
	if live := r.mem.Roots(); !maps.Equal(roots, live) {
		t.fail("contents at %d: %v, should be %v", i, live, roots)
	}
}

// replicated describes the part of the state on which replicas must agree when
// they have applied the same operations.
func (s *Memory) replicated() string {
	var out strings.Builder
	fmt.Fprintf(&out, "login %v provisioned %v epoch %d applied %v\n", s.account.Login, s.account.Provisioned, s.account.Epoch, s.account.Vector)
	for _, name := range slices.Sorted(maps.Keys(s.subs)) {
		fmt.Fprintf(&out, "subscription %s %v\n", name, s.subs[name])
	}
	fmt.Fprintf(&out, "annotations %v\n", s.notes) // sorted by their names
	for _, id := range slices.Sorted(maps.Keys(s.boxes)) {
		b := s.boxes[id]
		dots := slices.Clone(b.Dots)
		slices.SortFunc(dots, func(a, b Dot) int { return Tag{a.Origin, a.N, 0}.Compare(Tag{b.Origin, b.N, 0}) })
		fmt.Fprintf(&out, "mailbox %x %s/%d %v c%d %v %v N%d\n", uint64(id), b.Created, b.Generation, b.Name, b.C, dots, b.SpecialUse, b.N)
		tags, _ := s.Tags(id)
		for _, t := range tags {
			m := s.messages[Instance{id, t}]
			all := slices.Sorted(slices.Values(m.All))
			fmt.Fprintf(&out, "  %v %x reg %d %v base %d %v %d %d %d %d\n", t, m.Root, m.Reg, all, m.Base, m.Flags, m.Size, m.Date, m.Zone, m.Saved)
		}
	}
	return out.String()
}

// listing describes what clients see at a replica, MODSEQs aside.
func (w *world) listing(i int) string {
	r := w.reps[i]
	list, _ := (&Site{State: r.mem, Self: r.self}).List()
	var out strings.Builder
	for _, l := range list {
		rows := w.rows(i, l.Box.ID, 0)
		fmt.Fprintf(&out, "%s %d:", l.Name, l.Box.UIDValidity())
		for _, u := range slices.Sorted(maps.Keys(rows)) {
			fmt.Fprintf(&out, " %d=%s", u, rows[u])
		}
		out.WriteString("\n")
	}
	return out.String()
}
