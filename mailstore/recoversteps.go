package mailstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-pluto/pluto/crdt"
)

// What recovery does to an account, in this order. Each change looks at the account
// as it is when it is made: others work on it meanwhile.

// recoverStep is how many messages one operation of a recovery is about.
const recoverStep = 500

// renameMailboxes gives mailboxes the names that they got at the evicted replica.
func (w *recoverer) renameMailboxes() error {
	for _, b := range w.plan.renames {
		done, err := w.do(crdt.Tag{}, func(t *tx) ([]crdt.Payload, error) {
			return t.renameTo(b.ID, b.Name.Value)
		})
		switch {
		case errors.Is(err, ErrAlreadyExists), errors.Is(err, ErrCannot), errors.Is(err, ErrNonexistent):
			w.out.problem("a mailbox that was renamed to %q there keeps its name: %v", b.Name.Value, err)
		case err != nil:
			return err
		case done:
			w.out.Mailboxes++
		}
	}
	return nil
}

// renameTo renames a mailbox, with its inferiors, unless it has the name.
func (t *tx) renameTo(id crdt.MailboxID, to string) ([]crdt.Payload, error) {
	listed, err := t.site().List()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(listed, func(l crdt.Listed) bool { return l.Box.ID == id })
	if i < 0 || listed[i].Name == to || id == crdt.Inbox {
		return nil, nil
	}
	p, err := t.site().PrepareRename(listed[i].Name, to)
	if err != nil {
		return nil, err
	}
	return []crdt.Payload{p}, nil
}

// createMailboxes creates the mailboxes that were created at the evicted replica.
// One that was begun with is not made again if a client has deleted it meanwhile.
func (w *recoverer) createMailboxes() error {
	for _, b := range w.plan.boxes {
		made, err := w.create(b)
		if errors.Is(err, ErrCannot) || errors.Is(err, ErrLimit) {
			w.out.problem("mailbox %q cannot be created: %v", b.Name.Value, err)
		} else if err != nil {
			return err
		}
		if made {
			w.out.Mailboxes++
		}
	}
	return nil
}

// create makes sure that there is a mailbox with the name of b.
func (w *recoverer) create(b *crdt.Mailbox) (made bool, err error) {
	return w.do(crdt.Tag{}, func(t *tx) ([]crdt.Payload, error) {
		if _, err := t.placeOf(b); !errors.Is(err, ErrNonexistent) {
			return nil, err
		}
		return payload(t.site().PrepareCreate(b.Name.Value, b.SpecialUse.Value))
	})
}

// placeOf returns the mailbox for what was in b at the evicted replica: the same
// one, or the one that has its name now. ErrNonexistent: there is none.
func (t *tx) placeOf(b *crdt.Mailbox) (crdt.MailboxID, error) {
	same, err := t.Mailbox(b.ID)
	if err != nil {
		return 0, err
	}
	if same != nil && same.Live() {
		return b.ID, nil
	}
	named, err := t.lookup(b.Name.Value)
	if err != nil {
		return 0, err
	}
	return named.ID, nil
}

// changeFlags sets and removes flags, many messages at a time.
func (w *recoverer) changeFlags() error {
	type change struct {
		flag string
		on   bool
	}
	by := make(map[change][]flagWish)
	var order []change
	for _, f := range w.plan.flags {
		c := change{strings.ToLower(f.flag), f.on}
		if by[c] == nil {
			order = append(order, c)
		}
		by[c] = append(by[c], f)
	}
	for _, c := range order {
		for part := range slices.Chunk(by[c], recoverStep) {
			if err := w.changeFlag(part); err != nil {
				return err
			}
		}
	}
	return nil
}

// changeFlag sets or removes one flag, where nobody has changed it since.
func (w *recoverer) changeFlag(list []flagWish) error {
	var targets []crdt.Instance
	mode := crdt.StoreRemove
	if list[0].on {
		mode = crdt.StoreAdd
	}
	done, err := w.do(crdt.Tag{}, func(t *tx) ([]crdt.Payload, error) {
		targets = targets[:0]
		for _, f := range list {
			m, err := t.Message(f.at.Box, f.at.Tag)
			if err != nil {
				return nil, err
			}
			if m == nil {
				continue
			}
			if since, on := flagOf(m, f.flag, 0); since < f.time && on != f.on {
				targets = append(targets, f.at)
			}
		}
		return payload(t.site().PrepareStore(targets, mode, []string{list[0].flag}))
	})
	if errors.Is(err, ErrLimit) || errors.Is(err, ErrCannot) {
		w.out.problem("flag %s of %d messages: %v", list[0].flag, len(targets), err)
		return nil
	}
	if done {
		w.out.Flags += len(targets)
	}
	return err
}

// addMessages adds messages, each by an operation of its own that says whose place
// it takes: when one is there, all before it are.
func (w *recoverer) addMessages() error {
	for i := range w.plan.adds {
		a := &w.plan.adds[i]
		err := w.add(a)
		if errors.Is(err, errLost) || errors.Is(err, ErrTooBig) || errors.Is(err, ErrLimit) || errors.Is(err, ErrCannot) {
			w.out.problem("message of %d bytes, saved at %d, of mailbox %q: %v", a.Size, a.Saved, w.nameOf(a.box), err)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// nameOf returns what a mailbox is called at the evicted replica.
func (w *recoverer) nameOf(id crdt.MailboxID) string {
	if b := w.plan.old.boxes[id]; b != nil {
		return b.Name.Value
	}
	return "?"
}

// placeTries bounds how often a mailbox is made for a message that clients delete again.
const placeTries = 3

// add adds one message, or moves it.
func (w *recoverer) add(a *addition) error {
	b := w.plan.old.boxes[a.box]
	if b == nil {
		return fmt.Errorf("%w: no record of its mailbox", errLost)
	}
	for range placeTries {
		err := w.addTo(b, a)
		if !errors.Is(err, ErrNonexistent) {
			return err
		}
		made, err := w.create(b)
		if errors.Is(err, ErrCannot) || errors.Is(err, ErrLimit) { // nobody can use its name any more
			w.out.problem("what was in %q goes to INBOX: %v", b.Name.Value, err)
			b = w.plan.here.boxes[crdt.Inbox]
			if b == nil {
				b = &crdt.Mailbox{ID: crdt.Inbox}
			}
			continue
		}
		if err != nil {
			return err
		}
		if made {
			w.out.Mailboxes++
		}
	}
	return fmt.Errorf("%w: mailbox %q is deleted again and again", ErrCannot, b.Name.Value)
}

// addTo adds a message to a mailbox. ErrNonexistent: that is not there.
func (w *recoverer) addTo(b *crdt.Mailbox, a *addition) error {
	if a.from != nil {
		moved, gone, err := w.move(b, a)
		if err != nil || !gone {
			w.out.Moved += moved
			return err
		}
	}
	r := w.r
	if err := r.contents.pin(w.ctx, a.Root); err != nil {
		return err
	}
	defer r.contents.unpin(a.Root)
	had, err := w.have(a.Root)
	if err != nil {
		return err
	}
	if err := w.bring(a.Root); err != nil {
		return err
	}
	done, err := w.do(a.Tag, func(t *tx) ([]crdt.Payload, error) {
		box, err := t.placeOf(b)
		if err != nil {
			return nil, err
		}
		c, err := t.Content(a.Root)
		if err != nil {
			return nil, err
		}
		add := crdt.Added{Root: a.Root, Flags: a.FlagNames(), Size: a.Size, Date: a.Date, Zone: a.Zone, Saved: a.Saved}
		return payload(t.site().PrepareAppend(box, []crdt.Added{add}, c.Live == 0))
	})
	if done {
		w.out.Added++
		if !had {
			w.out.Bytes += a.Size
		}
	}
	return err
}

// move moves a message to where it was moved; gone: it is not there any more.
func (w *recoverer) move(b *crdt.Mailbox, a *addition) (moved int, gone bool, err error) {
	done, err := w.do(a.Tag, func(t *tx) ([]crdt.Payload, error) {
		box, err := t.placeOf(b)
		if err != nil {
			return nil, err
		}
		p, err := t.site().PrepareMove([]crdt.Instance{a.from.at()}, box)
		if gone = p == nil; gone || err != nil {
			return nil, err
		}
		p.Entries[0].New.Saved = a.Saved
		return []crdt.Payload{p}, nil
	})
	if done {
		moved = 1
	}
	return moved, gone, err
}

// removeMessages removes what the evicted replica had seen and removed, and no more:
// twins that it did not know stay.
func (w *recoverer) removeMessages() error {
	for part := range slices.Chunk(w.plan.removals, recoverStep) {
		var targets []crdt.Instance
		done, err := w.do(crdt.Tag{}, func(t *tx) ([]crdt.Payload, error) {
			targets = targets[:0]
			for _, i := range part {
				m, err := t.Message(i.Box, i.Tag)
				if err != nil {
					return nil, err
				}
				if m != nil {
					targets = append(targets, i)
				}
			}
			if len(targets) == 0 {
				return nil, nil
			}
			return []crdt.Payload{&crdt.Expunge{Targets: slices.Clone(targets)}}, nil
		})
		if err != nil {
			return err
		}
		if done {
			w.out.Removed += len(targets)
		}
	}
	return nil
}

// deleteMailboxes deletes mailboxes. One in which others have put something since
// stays, with that.
func (w *recoverer) deleteMailboxes() error {
	for i := range w.plan.deletions {
		d := &w.plan.deletions[i]
		done, err := w.do(crdt.Tag{}, func(t *tx) ([]crdt.Payload, error) {
			b, err := t.Mailbox(d.ID)
			if err != nil || b == nil || !slices.ContainsFunc(d.Dots, func(x crdt.Dot) bool { return slices.Contains(b.Dots, x) }) {
				return nil, err
			}
			return []crdt.Payload{d}, nil
		})
		if err != nil {
			return err
		}
		if done {
			w.out.Mailboxes++
		}
	}
	return nil
}

// changeSettings sets special uses, subscriptions and annotations.
func (w *recoverer) changeSettings() error {
	set := func(what string, prepare func(*tx) ([]crdt.Payload, error)) error {
		done, err := w.do(crdt.Tag{}, prepare)
		if errors.Is(err, ErrCannot) || errors.Is(err, ErrLimit) {
			w.out.problem("%s: %v", what, err)
			return nil
		}
		if done {
			w.out.Settings++
		}
		return err
	}
	for _, b := range w.plan.uses {
		err := set(fmt.Sprintf("special use of %q", b.Name.Value), func(t *tx) ([]crdt.Payload, error) {
			m, err := t.Mailbox(b.ID)
			if err != nil || m == nil || m.SpecialUse.Time >= b.SpecialUse.Time || m.SpecialUse.Value == b.SpecialUse.Value {
				return nil, err
			}
			return []crdt.Payload{&crdt.SetSpecialUse{ID: b.ID, Use: b.SpecialUse.Value}}, nil
		})
		if err != nil {
			return err
		}
	}
	for _, s := range w.plan.subs {
		err := set(fmt.Sprintf("subscription of %q", s.Name), func(t *tx) ([]crdt.Payload, error) {
			r, err := t.Subscription(s.Name)
			if err != nil || r != nil && r.Time >= w.plan.old.subs[s.Name].Time {
				return nil, err
			}
			return payload(t.site().PrepareSubscribe(s.Name, s.On))
		})
		if err != nil {
			return err
		}
	}
	for _, n := range w.plan.notes {
		err := set(fmt.Sprintf("annotation %s", n.Of.Entry), func(t *tx) ([]crdt.Payload, error) { return w.annotate(t, n) })
		if err != nil {
			return err
		}
	}
	return nil
}

// annotate prepares an annotation, of the account or of the mailbox that has taken
// the place of the one there.
func (w *recoverer) annotate(t *tx, n crdt.Annotated) ([]crdt.Payload, error) {
	since := w.plan.old.notes[n.Of].Time
	if !n.Of.Server {
		b := w.plan.old.boxes[n.Of.Box]
		if b == nil {
			return nil, nil
		}
		id, err := t.placeOf(b)
		if errors.Is(err, ErrNonexistent) {
			return nil, nil // the mailbox is gone
		}
		if err != nil {
			return nil, err
		}
		n.Of.Box = id
	}
	r, err := t.NoteOf(n.Of)
	if err != nil || r != nil && r.Time >= since {
		return nil, err
	}
	return payload(t.site().PrepareAnnotate([]crdt.Annotated{n}))
}
