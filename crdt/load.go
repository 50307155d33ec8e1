package crdt

import (
	"cmp"
	"fmt"
	"slices"
)

// A replica that lacks operations which no log has any more takes another one's
// state instead, account by account, while both serve (crdt.md 6.3). Loading is
// the union of two states, each of which is the effect of the operations in its
// vector: what only one of them has was removed at the other if the other's
// vector contains its addition, and is not known there yet if it does not.
//
// One account is loaded by, in this order,
//
//	LoadAccount    once: registers and mailbox records. From here on the account's
//	               vector is the union of both.
//	LoadReplays    the replays that are remembered there
//	LoadMessages   all messages of the snapshot, mailbox by mailbox, those of a
//	               mailbox in the order of their registers, in any portions
//	LoadAbsent     all instances here that the snapshot does not have
//	LoadVanished   the UIDs that the source reports as vanished
//
// each in a transaction of its own. Local commands may run between them: their
// effect never depends on what is still to be loaded. An operation of a peer may
// not: it may be about what the vector says is here already. So whoever has
// begun a load finishes it before the account's next operation from elsewhere.
// After a crash it goes on where it was.
//
// What is loaded is not in the replica's own vector until all accounts are
// loaded. An operation that is prepared in between depends on the account's
// vector as well (its Deps are the union), or a third replica might apply it too
// early; it says so by Partial.

// Snapshot is what a replica hands out of an account first: all but messages and
// vanished UIDs.
type Snapshot struct {
	Vector        VC   // of the account there: operations that the snapshot contains
	Clock         Time // there; the loader's clock observes it first
	Login         Register[string]
	Provisioned   bool
	Epoch         uint32
	Home          Register[string]
	Target        string
	Recovered     []Tag
	Boxes         []*Mailbox // of what is local in them only whether VanFloor is 0 is used
	Used          map[string]Validity
	Subscriptions map[string]Register[bool]
	Notes         map[Annotation]Register[Note]
}

// Load is a snapshot on its way into an account: the two vectors that decide
// what becomes of an instance that only one side has. It must survive a crash.
type Load struct {
	Ours   VC // the account's vector here before LoadAccount
	Theirs VC // the snapshot's
}

// removers returns operations of which each is behind, at its origin, all that
// the snapshot contains and this replica had not applied: one of these has
// removed what is missing there, and it is stable when all of them are.
func (l *Load) removers() []Dot {
	var out []Dot
	for _, d := range l.Theirs {
		if !l.Ours.Has(d) {
			out = append(out, d)
		}
	}
	return out
}

// LoadAccount merges registers and mailbox records. The followup is as that of
// [Site.Apply]. An error that wraps [ErrImpossible] is about the snapshot, and
// nothing was changed.
func (s *Site) LoadAccount(snap *Snapshot) (l *Load, followup []Payload, err error) {
	a, err := s.State.Account()
	if err != nil {
		return nil, nil, fmt.Errorf("load account: %w", err)
	}
	l = &Load{Ours: a.Vector.Clone(), Theirs: snap.Vector.Clone()}
	followup, err = s.load(l, snap.check, func(w *work) error { return w.loadAccount(a, snap) })
	if err != nil {
		return nil, nil, fmt.Errorf("load account: %w", err)
	}
	return l, followup, nil
}

// LoadMessages merges messages of a mailbox. What is local in them (the UID
// shown there, MODSEQs, waiting) is not used.
func (s *Site) LoadMessages(l *Load, box MailboxID, list []*Message) ([]Payload, error) {
	check := func(w *work) error { return w.checkLoaded(box, list) }
	followup, err := s.load(l, check, func(w *work) error {
		b, err := w.box(box)
		if err != nil {
			return err
		}
		for _, m := range list {
			if err := w.loadMessage(b, m); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load messages of mailbox %x: %w", uint64(box), err)
	}
	return followup, nil
}

// LoadAbsent is told which instances of a mailbox here the snapshot does not
// have. It removes those that were removed there.
func (s *Site) LoadAbsent(l *Load, box MailboxID, tags []Tag) ([]Payload, error) {
	followup, err := s.load(l, nil, func(w *work) error {
		if len(w.removers) == 0 {
			return nil // the source knew no more than is here: it has removed nothing
		}
		for _, t := range tags {
			if !l.Theirs.Has(t.Dot()) {
				continue
			}
			if err := w.remove(Instance{box, t}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("load removals of mailbox %x: %w", uint64(box), err)
	}
	return followup, nil
}

// LoadVanished is told UIDs that the source reports as vanished. A client that
// comes from there has been told so, one that comes from elsewhere has not. A UID
// that is shown here is none of them (C11): the source may have refused it.
func (s *Site) LoadVanished(l *Load, box MailboxID, uids []UID, shown func(UID) bool) error {
	check := func(w *work) error { return w.checkVanished(box, uids) }
	_, err := s.load(l, check, func(w *work) error {
		b, err := w.box(box)
		if err != nil {
			return err
		}
		for _, u := range uids {
			if shown(u) {
				continue
			}
			if err := w.vanish(b, u); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("load vanished UIDs of mailbox %x: %w", uint64(box), err)
	}
	return nil
}

// load runs one part of a load as if it were an operation that depends on what
// the snapshot contains.
func (s *Site) load(l *Load, check, effect func(*work) error) ([]Payload, error) {
	w := &work{Site: s, op: &Op{Deps: l.Theirs}, load: l, removers: l.removers()}
	if check != nil {
		if err := check(w); err != nil {
			return nil, err
		}
	}
	if err := effect(w); err != nil {
		return nil, err
	}
	if err := w.finish(); err != nil {
		return nil, err
	}
	return w.followup, nil
}

func (w *work) loadAccount(a *Account, snap *Snapshot) error {
	covered := func(v VC, provisioned bool) func(Dot) bool {
		return func(d Dot) bool { return d.Origin == 0 && provisioned || d.Origin != 0 && v.Has(d) }
	}
	ours, theirs := covered(w.load.Ours, a.Provisioned), covered(snap.Vector, snap.Provisioned)
	a.Vector.Merge(snap.Vector)
	a.Provisioned = a.Provisioned || snap.Provisioned
	risen := snap.Epoch > a.Epoch
	a.Epoch = max(a.Epoch, snap.Epoch)
	if l := snap.Login; l.Time != 0 && (a.Login.Time == 0 || l.Time < a.Login.Time) {
		a.Login = l // the first binding wins
	}
	if snap.Home.Time > a.Home.Time {
		a.Home, a.Target = snap.Home, snap.Target
	}
	for _, tag := range snap.Recovered {
		a.noteRecovered(tag)
	}
	if err := w.State.PutAccount(a); err != nil {
		return err
	}
	for _, name := range sortedKeys(snap.Used) {
		if err := w.loadUsed(name, snap.Used[name]); err != nil {
			return err
		}
	}
	for _, name := range sortedKeys(snap.Subscriptions) {
		if r := snap.Subscriptions[name]; r.Time != 0 {
			if err := w.subscribe(name, r.Time, r.Value); err != nil {
				return err
			}
		}
	}
	if err := w.loadNotes(snap.Notes); err != nil {
		return err
	}
	// A record that the source does not have has no dots of which it knows.
	for _, in := range snap.Boxes {
		if err := w.loadMailbox(in, ours, theirs); err != nil {
			return fmt.Errorf("mailbox %x: %w", uint64(in.ID), err)
		}
	}
	w.renamed = true // any name may have another owner now
	if err := w.raiseAll(a.Epoch); err != nil || !risen {
		return err
	}
	return w.doubtAll()
}

func sortedKeys[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (w *work) loadUsed(name string, v Validity) error {
	used, err := w.State.Used(name)
	if err != nil || v <= used {
		return err
	}
	return w.State.PutUsed(name, v)
}

// loadMailbox merges a record. The presence dots are an observed-remove set:
// one that only one side has stays if the other does not know of it.
func (w *work) loadMailbox(in *Mailbox, ours, theirs func(Dot) bool) error {
	b, err := w.box(in.ID)
	if err != nil {
		return err
	}
	if b == nil {
		b = w.open(newMailbox(in.ID, in.Created, in.Generation))
		w.raise(b)
	}
	b.dirty = true
	b.Dots = slices.DeleteFunc(b.Dots, func(d Dot) bool { return theirs(d) && !slices.Contains(in.Dots, d) })
	for _, d := range in.Dots {
		if !ours(d) && !slices.Contains(b.Dots, d) {
			b.Dots = append(b.Dots, d)
		}
	}
	b.C = max(b.C, in.C)
	if err := w.use(b); err != nil {
		return err
	}
	b.Name.Set(in.Name.Time, in.Name.Value)
	b.SpecialUse.Set(in.SpecialUse.Time, in.SpecialUse.Value)
	if in.Era() > b.Era() {
		if err := w.begin(b, in.Era()); err != nil {
			return err
		}
		b.Recent = max(b.Recent, in.N) // they are not new
		if err := w.leaveBehind(b, nil); err != nil {
			return err
		}
	}
	w.hear(b, in.N)
	if in.VanFloor != 0 { // nor is the list here complete, then: clients may have been there
		b.VanFloor = max(b.VanFloor, w.Mod)
		w.raise(b)
	}
	return w.use(b)
}

// loadMessage merges one instance: added, unless it was removed here.
func (w *work) loadMessage(b *openBox, in *Message) error {
	m, err := w.State.Message(b.ID, in.Tag)
	if err != nil {
		return err
	}
	if m != nil {
		return w.mergeMessage(b, m, in)
	}
	if w.load.Ours.Has(in.Tag.Dot()) {
		return w.vanishAll(b, in) // it may have got UIDs there since
	}
	m = &Message{
		Tag: in.Tag, Root: in.Root, Src: in.Src, SrcTime: in.SrcTime, Cause: in.Cause, Copied: in.Copied,
		Size: in.Size, Date: in.Date, Zone: in.Zone, Saved: in.Saved,
	}
	m.mergeFlags(in)
	older := slices.DeleteFunc(slices.Clone(in.All), func(u UID) bool { return u == in.Reg })
	return w.add(b, m, in.Reg, older...)
}

func (w *work) vanishAll(b *openBox, m *Message) error {
	for _, u := range m.All {
		if err := w.vanish(b, u); err != nil {
			return err
		}
	}
	return nil
}

func (w *work) mergeMessage(b *openBox, m, in *Message) error {
	b.count(m, false)
	changed := m.mergeFlags(in)
	b.count(m, true)
	if changed {
		w.mark(b, m)
	}
	more := false
	for _, u := range in.All {
		if u.Era() < b.Era() && u < m.Reg || slices.Contains(m.All, u) {
			continue
		}
		more = true
		if err := w.addUID(b, m, u); err != nil {
			return err
		}
	}
	if more {
		if err := w.reconcile(b, m); err != nil {
			return err
		}
	}
	if !changed && !more {
		return nil
	}
	return w.State.PutMessage(b.ID, m)
}

// mergeFlags merges the flag registers and reports whether any changed.
func (m *Message) mergeFlags(in *Message) bool {
	changed := m.rebase(in.Base)
	for _, f := range in.Flags {
		if m.setFlag(f.Name, f.Time, f.On) {
			changed = true
		}
	}
	return changed
}

// byRegisterFirst orders messages as they are to be loaded: fewer are refused
// when none comes after one with a larger UID.
func byRegisterFirst(a, b *Message) int {
	return cmp.Or(cmp.Compare(a.Reg, b.Reg), a.Tag.Compare(b.Tag))
}

// SortForLoad puts messages of a mailbox in the order in which
// [Site.LoadMessages] wants them.
func SortForLoad(list []*Message) { slices.SortFunc(list, byRegisterFirst) }
