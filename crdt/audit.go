package crdt

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// maxFindings bounds what Audit reports.
const maxFindings = 20

// Audit recomputes everything that an account keeps in more than one place and
// returns what differs, joined into one error. It reads the whole account; it
// is for tests and for the administrator's check.
func Audit(s State) error {
	a := &audit{Site: Site{State: s}, awaiting: make(map[Instance]bool), live: make(map[Root]uint32)}
	list, err := s.Awaiting()
	if err != nil {
		return fmt.Errorf("audit: awaiting: %w", err)
	}
	for _, i := range list {
		a.awaiting[i] = true
	}
	if err := a.replays(); err != nil {
		return fmt.Errorf("audit: replays: %w", err)
	}
	boxes, err := s.Mailboxes()
	if err != nil {
		return fmt.Errorf("audit: mailboxes: %w", err)
	}
	for _, b := range boxes {
		if err := a.mailbox(b); err != nil {
			return fmt.Errorf("audit mailbox %q: %w", b.Name.Value, err)
		}
	}
	if err := a.notes(boxes); err != nil {
		return fmt.Errorf("audit annotations: %w", err)
	}
	for i := range a.awaiting {
		a.find("message %v of mailbox %x awaits a UID, but is not there", i.Tag, uint64(i.Box))
	}
	if err := a.contents(); err != nil {
		return fmt.Errorf("audit contents: %w", err)
	}
	return errors.Join(a.found...)
}

// notes checks that annotations are such as an operation can make.
func (a *audit) notes(boxes []*Mailbox) error {
	all := []Annotation{{Server: true}}
	for _, b := range boxes {
		all = append(all, Annotation{Box: b.ID})
	}
	for _, of := range all {
		notes, err := a.State.Notes(of)
		if err != nil {
			return err
		}
		for entry, r := range notes {
			of.Entry = entry
			if err := (&Annotated{of, r.Value}).checkLoaded(r.Time); err != nil || r.Time == 0 {
				a.find("annotation %+v of time %d: %v", of, r.Time, err)
			}
		}
	}
	return nil
}

// contents checks that instances are counted by content.
func (a *audit) contents() error {
	s, ok := a.State.(Contents)
	if !ok {
		return nil
	}
	for root, n := range a.live {
		c, err := s.Content(root)
		if err != nil {
			return err
		}
		if c.Live != n {
			a.find("content %x: %d instances counted, there are %d", root, c.Live, n)
		}
	}
	return nil
}

type audit struct {
	Site
	awaiting map[Instance]bool // not met yet
	live     map[Root]uint32   // instances met
	found    []error
}

func (a *audit) find(format string, args ...any) {
	if len(a.found) < maxFindings {
		a.found = append(a.found, fmt.Errorf(format, args...))
	}
}

// mailbox checks one record against its messages. An error is the medium's.
func (a *audit) mailbox(b *Mailbox) error {
	sum := openBox{Mailbox: newMailbox(b.ID, b.Created, b.Generation)}
	shown := make(map[UID]Tag)
	tags, err := a.State.Tags(b.ID)
	if err != nil {
		return err
	}
	for _, t := range tags {
		m, err := a.State.Message(b.ID, t)
		if err != nil {
			return err
		}
		if m == nil {
			a.find("mailbox %q: message %v is listed but not there", b.Name.Value, t)
			continue
		}
		sum.Instances++
		a.live[m.Root]++
		sum.count(m, true)
		if m.Held {
			sum.Held++
		}
		if other, ok := shown[m.Exp]; ok && m.Exp != 0 {
			a.find("mailbox %q: UID %d is %v and %v", b.Name.Value, m.Exp, other, t)
		}
		shown[m.Exp] = t
		if err := a.message(b, m, t); err != nil {
			return err
		}
	}
	if got, want := counters(b), counters(sum.Mailbox); got != want {
		a.find("mailbox %q: counters %+v, should be %+v", b.Name.Value, got, want)
	}
	if b.H < NewUID(b.Era(), 0) {
		a.find("mailbox %q: horizon %v lies before era %d", b.Name.Value, b.H, b.Era())
	}
	if b.MaxExp > b.N {
		a.find("mailbox %q: shown up to %d, heard of %d", b.Name.Value, b.MaxExp, b.N)
	}
	return a.record(b)
}

type counts struct {
	Instances, Held, Messages, Unseen, Deleted uint32
	Bytes                                      uint64
}

func counters(b *Mailbox) counts {
	return counts{b.Instances, b.Held, b.Messages, b.Unseen, b.Deleted, b.Bytes}
}

func (a *audit) record(b *Mailbox) error {
	if b.ID != NewMailboxID(b.Created, b.Generation) {
		a.find("mailbox %q: identity %x is not that of %q, %d", b.Name.Value, uint64(b.ID), b.Created, b.Generation)
	}
	if b.C == 0 {
		a.find("mailbox %q: validity part %d", b.Name.Value, b.C)
	}
	account, err := a.State.Account()
	if err != nil {
		return err
	}
	if account.Epoch > 0 && b.N < b.floor(account.Epoch) {
		a.find("mailbox %q: heard of %v in epoch %d", b.Name.Value, b.N, account.Epoch)
	}
	used, err := a.State.Used(b.Name.Value)
	if err != nil {
		return err
	}
	if b.Live() && b.Validity() > used && b.ID != Inbox {
		a.find("mailbox %q: validity %d was never noted, but %d", b.Name.Value, b.Validity(), used)
	}
	return nil
}

func (a *audit) message(b *Mailbox, m *Message, t Tag) error {
	name := fmt.Sprintf("mailbox %q, message %v", b.Name.Value, t)
	switch {
	case m.Tag != t:
		a.find("%s: says that it is %v", name, m.Tag)
	case len(m.All) == 0 || m.Reg != slices.Max(m.All):
		a.find("%s: register %d of UIDs %v", name, m.Reg, m.All)
	case m.Exp != 0 && !slices.Contains(m.All, m.Exp):
		a.find("%s: shown as %d, has UIDs %v", name, m.Exp, m.All)
	case m.Exp != 0 && m.Exp.Era() != b.Era():
		a.find("%s: is shown as %v in era %d", name, m.Exp, b.Era())
	case slices.ContainsFunc(m.All, func(u UID) bool { return u != m.Reg && u.Era() != b.Era() }):
		a.find("%s: has UIDs %v in era %d", name, m.All, b.Era())
	case m.Reg > b.N || m.Exp > b.MaxExp:
		a.find("%s: UIDs %v shown as %d, mailbox heard of %d and showed %d", name, m.All, m.Exp, b.N, b.MaxExp)
	case m.Mod > b.High || m.Mod == 0:
		a.find("%s: MODSEQ %d, mailbox has %d", name, m.Mod, b.High)
	case !slices.IsSortedFunc(m.Flags, func(x, y Flag) int { return compareFold(x.Name, y.Name) }):
		a.find("%s: flags %v are not in order", name, m.Flags)
	}
	at := Instance{b.ID, t}
	w := &work{Site: &a.Site}
	loses, err := w.loses(&openBox{Mailbox: b}, m)
	if err != nil {
		return err
	}
	a.waiting(name, b, m, loses)
	return a.twins(name, at, m)
}

// twins checks that an instance is filed, and among others of its kind.
func (a *audit) twins(name string, at Instance, m *Message) error {
	key, ok := m.fileKey()
	if !ok {
		return nil
	}
	twins, err := a.State.Twins(key)
	if err != nil {
		return err
	}
	if !slices.Contains(twins, at) {
		a.find("%s: is not among its twins %v", name, twins)
	}
	for _, i := range twins {
		o, err := a.State.Message(i.Box, i.Tag)
		if err != nil {
			return err
		}
		if o == nil {
			a.find("%s: has a twin %v that is not there", name, i)
			continue
		}
		if k, ok := o.fileKey(); !ok || k != key {
			a.find("%s: has a twin %v that is none", name, i)
		}
	}
	return nil
}

// replays checks that what is remembered is counted.
func (a *audit) replays() error {
	rec, err := a.State.Account()
	if err != nil {
		return err
	}
	list, err := a.State.Replays(Replay{}, math.MaxInt)
	if err == nil && len(list) != int(rec.Replays) {
		a.find("%d replays are remembered, %d counted", len(list), rec.Replays)
	}
	return err
}

// waiting checks that a message is shown as its register says, hidden behind a
// twin, or on the list of those that await another UID.
func (a *audit) waiting(name string, b *Mailbox, m *Message, loses bool) {
	at := Instance{b.ID, m.Tag}
	listed := a.awaiting[at]
	delete(a.awaiting, at)
	want := !loses && m.Exp != m.Reg
	switch {
	case loses && m.Exp != 0:
		a.find("%s: is shown as %d beside a newer twin", name, m.Exp)
	case want != listed || want != (m.Refused != 0 || m.Held) || m.Held && m.Refused != 0:
		a.find("%s: awaits a UID: listed %v, since %d, should be %v", name, listed, m.Refused, want)
	case want && !m.Held && m.Reg > b.H:
		a.find("%s: UID %d could be shown above horizon %d", name, m.Reg, b.H)
	}
}
