package crdt

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// PrepareCreate makes a mailbox with the missing ones above it, or revives what
// had that name: with the same identity, UIDVALIDITY and UID counter. specialUse
// is empty or an attribute such as \Sent (RFC 6154). Errors: [ErrAlreadyExists]
// if the name is shown, [ErrName].
func (s *Site) PrepareCreate(name, specialUse string) (*CreateMailbox, error) {
	name, err := CanonicalName(name, s.Self.Separator)
	if err != nil {
		return nil, fmt.Errorf("create: %w", err)
	}
	if len(specialUse) > maxUse {
		return nil, fmt.Errorf("create %q: %w: special use of %d bytes", name, ErrLimit, len(specialUse))
	}
	n, err := s.namesNear(append(parents(name, s.Self.Separator), name)...)
	if err != nil {
		return nil, fmt.Errorf("create %q: %w", name, err)
	}
	p, err := s.create(n, name)
	if err != nil {
		return nil, err
	}
	p.Boxes[len(p.Boxes)-1].SpecialUse = specialUse
	return p, nil
}

// create lists the records to be made or revived for a name, that one last.
func (s *Site) create(n *names, name string) (*CreateMailbox, error) {
	if n.shown[name] != nil {
		return nil, fmt.Errorf("create %q: %w", name, ErrAlreadyExists)
	}
	p := new(CreateMailbox)
	for _, above := range parents(name, s.Self.Separator) {
		if n.shown[above] == nil {
			if err := s.createOne(p, n, above); err != nil {
				return nil, err
			}
		}
	}
	return p, s.createOne(p, n, name)
}

// parents returns the names above a name, from the top.
func parents(name string, separator byte) []string {
	var out []string
	for i := range len(name) {
		if name[i] == separator {
			out = append(out, name[:i])
		}
	}
	return out
}

func (s *Site) createOne(p *CreateMailbox, n *names, name string) error {
	used, err := s.State.Used(name)
	if err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	if o := n.owner[name]; o != nil { // dead, or it would be shown
		c := o.C
		if o.Validity() < used {
			if c, err = nextC(used); err != nil {
				return fmt.Errorf("create %q: %w", name, err)
			}
		}
		p.Boxes = append(p.Boxes, NewMailbox{ID: o.ID, Name: o.Created, Generation: o.Generation, C: c})
		return nil
	}
	a, err := s.State.Account()
	if err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	// An evicted member may have made one of that name that nobody heard of.
	c, err := nextC(used + Validity(a.Epoch)<<20)
	if err != nil {
		return fmt.Errorf("create %q: %w", name, err)
	}
	g := uint32(len(n.made[name])) + 1
	p.Boxes = append(p.Boxes, NewMailbox{ID: NewMailboxID(name, g), Name: name, Generation: g, C: c})
	return nil
}

// PrepareDelete removes a mailbox with the messages that are known here; one
// that another replica adds at the same time keeps it (crdt.md 3.2). Inferiors
// stay, the name above them is then \NonExistent. Errors: [ErrNonexistent],
// [ErrCannot] for INBOX.
func (s *Site) PrepareDelete(name string) (*DeleteMailbox, error) {
	b, err := s.Lookup(name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("delete: %w", err)
	case b == nil:
		return nil, fmt.Errorf("delete %q: %w", name, ErrNonexistent)
	case b.ID == Inbox:
		return nil, fmt.Errorf("delete %s: %w", inboxName, ErrCannot)
	}
	tags, err := s.State.Tags(b.ID)
	if err != nil {
		return nil, fmt.Errorf("delete %q: %w", name, err)
	}
	slices.SortFunc(tags, Tag.Compare)
	return &DeleteMailbox{ID: b.ID, Dots: b.Dots, Tags: tags}, nil
}

// PrepareRename renames a mailbox and its inferiors, which may exist without it.
// Missing parents of the new name are not created: they are \NonExistent. For
// INBOX the result is a *RenameInbox: its messages move to a new mailbox and it
// stays, empty, with its inferiors (RFC 9051 section 6.3.6). Errors:
// [ErrNonexistent], [ErrAlreadyExists] also for an inferior, [ErrCannot] for a
// new name below the old one, [ErrName].
func (s *Site) PrepareRename(from, to string) (Payload, error) {
	to, err := CanonicalName(to, s.Self.Separator)
	if err != nil {
		return nil, fmt.Errorf("rename to: %w", err)
	}
	n, err := s.names(append(parents(to, s.Self.Separator), to)...)
	if err != nil {
		return nil, fmt.Errorf("rename: %w", err)
	}
	if from, err = CanonicalName(from, s.Self.Separator); err != nil {
		return nil, fmt.Errorf("rename: %w: %w", ErrNonexistent, err)
	}
	if n.shown[to] != nil {
		return nil, fmt.Errorf("rename %q to %q: %w", from, to, ErrAlreadyExists)
	}
	if from == inboxName {
		p, err := s.renameInbox(n, to)
		if err != nil {
			return nil, fmt.Errorf("rename %s to %q: %w", inboxName, to, err)
		}
		return p, nil
	}
	below := from + string(rune(s.Self.Separator))
	if strings.HasPrefix(to, below) {
		return nil, fmt.Errorf("rename %q to %q: %w", from, to, ErrCannot)
	}
	p := new(Rename)
	for _, l := range n.list() {
		if l.Name != from && !strings.HasPrefix(l.Name, below) {
			continue
		}
		if err := s.renameOne(p, n, l.Box, to+l.Name[len(from):]); err != nil {
			return nil, fmt.Errorf("rename %q: %w", l.Name, err)
		}
	}
	if len(p.Boxes) == 0 {
		return nil, fmt.Errorf("rename %q: %w", from, ErrNonexistent)
	}
	return p, nil
}

func (s *Site) renameOne(p *Rename, n *names, b *Mailbox, to string) error {
	if _, err := CanonicalName(to, s.Self.Separator); err != nil {
		return err
	}
	if n.shown[to] != nil {
		return fmt.Errorf("to %q: %w", to, ErrAlreadyExists)
	}
	used, err := s.State.Used(to)
	if err != nil {
		return err
	}
	c := b.C
	if b.Validity() <= used {
		if c, err = nextC(used); err != nil {
			return err
		}
	}
	p.Boxes = append(p.Boxes, Renamed{ID: b.ID, Name: to, C: c})
	return nil
}

// renameInbox moves every message of INBOX, hidden ones too, to a new mailbox.
// Those that a newer twin elsewhere stands for stay.
func (s *Site) renameInbox(n *names, to string) (*RenameInbox, error) {
	create, err := s.create(n, to)
	if err != nil {
		return nil, err
	}
	id := create.Boxes[len(create.Boxes)-1].ID
	dst, err := s.mailbox(id)
	if err != nil {
		return nil, err
	}
	if dst == nil {
		dst = newMailbox(id, to, 1)
	}
	tags, err := s.State.Tags(Inbox)
	if err != nil {
		return nil, err
	}
	var list []*Message
	w := &work{Site: s}
	inbox := &openBox{Mailbox: newMailbox(Inbox, inboxName, 1)}
	for _, t := range tags {
		m, err := s.State.Message(Inbox, t)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		loses, err := w.loses(inbox, m)
		if err != nil {
			return nil, err
		}
		if !loses {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b *Message) int { return cmp.Compare(a.Reg, b.Reg) })
	targets := make([]Instance, len(list))
	for i, m := range list {
		targets[i] = Instance{Inbox, m.Tag}
	}
	move, err := s.move(targets, dst)
	if err != nil {
		return nil, err
	}
	return &RenameInbox{Create: *create, Move: *move}, nil
}

// PrepareSubscribe sets or ends the subscription of a name, whether or not a
// mailbox has it; nil if that changes nothing.
func (s *Site) PrepareSubscribe(name string, on bool) (*Subscribe, error) {
	name, err := CanonicalName(name, s.Self.Separator)
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	r, err := s.State.Subscription(name)
	if err != nil {
		return nil, fmt.Errorf("subscribe %q: %w", name, err)
	}
	if r == nil && !on || r != nil && r.Value == on {
		return nil, nil
	}
	return &Subscribe{name, on}, nil
}

// PrepareSpecialUse sets the special use of a mailbox, or takes it away (RFC
// 6154); nil if that changes nothing.
func (s *Site) PrepareSpecialUse(name, use string) (*SetSpecialUse, error) {
	if len(use) > maxUse {
		return nil, fmt.Errorf("special use of %q: %w: %d bytes", name, ErrLimit, len(use))
	}
	b, err := s.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("special use: %w", err)
	}
	if b == nil {
		return nil, fmt.Errorf("special use of %q: %w", name, ErrNonexistent)
	}
	if b.SpecialUse.Value == use {
		return nil, nil
	}
	return &SetSpecialUse{b.ID, use}, nil
}

// PrepareProvision makes the mailboxes of a new account: INBOX, Drafts, Sent,
// Junk, Trash and Archive with their special uses, subscribed. All replicas make
// the same, so that doing it twice is doing it once; the list can never change.
// nil when it was done.
func (s *Site) PrepareProvision() (*CreateMailbox, error) {
	a, err := s.State.Account()
	if err != nil {
		return nil, fmt.Errorf("provision: %w", err)
	}
	if a.Provisioned {
		return nil, nil
	}
	p := new(CreateMailbox)
	for _, x := range [...]struct{ name, use string }{
		{inboxName, ""}, {"Drafts", `\Drafts`}, {"Sent", `\Sent`}, {"Junk", `\Junk`}, {"Trash", `\Trash`}, {"Archive", `\Archive`},
	} {
		p.Boxes = append(p.Boxes, NewMailbox{
			ID: NewMailboxID(x.name, 1), Name: x.name, Generation: 1, C: 1,
			SpecialUse: x.use, Subscribe: true, Fixed: true,
		})
	}
	return p, nil
}

// PrepareBindLogin binds the account to a login name; nil if it is, and
// [ErrOtherLogin] if it is bound to another.
func (s *Site) PrepareBindLogin(login string) (*BindLogin, error) {
	if login == "" || len(login) > maxLogin {
		return nil, fmt.Errorf("bind login: %w: name of %d bytes", ErrLimit, len(login))
	}
	a, err := s.State.Account()
	if err != nil {
		return nil, fmt.Errorf("bind login: %w", err)
	}
	if a.Login.Time == 0 {
		return &BindLogin{login}, nil
	}
	if a.Login.Value != login {
		return nil, fmt.Errorf("bind login: %w", ErrOtherLogin)
	}
	return nil, nil
}
