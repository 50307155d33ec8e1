package mailstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// FlagChange is the wish of a STORE.
type FlagChange struct {
	Op             crdt.StoreMode
	Flags          Flags
	Keywords       []string
	UnchangedSince crdt.Time
	Conditional    bool // UnchangedSince counts, 0 too
}

func (c *FlagChange) names() []string {
	out := make([]string, 0, len(systemFlags)+len(c.Keywords))
	for _, f := range systemFlags {
		if c.Flags&f.flag != 0 {
			out = append(out, f.name)
		}
	}
	return append(out, c.Keywords...)
}

func (m *Mailbox) writable() error {
	if m.readOnly {
		return ErrReadOnly
	}
	return nil
}

// Store changes flags and returns a view that has the change, and the places in
// messages, rising, of those that were not changed because their MODSEQ is above
// UnchangedSince. Messages expunged meanwhile are skipped. What changes nothing
// commits nothing.
func (m *Mailbox) Store(ctx context.Context, messages []crdt.Tag, change FlagChange) (*View, []int, error) {
	err := m.writable()
	if err != nil {
		return nil, nil, fmt.Errorf("store in %q: %w", m.name, err)
	}
	failed, err := m.store(ctx, messages, change)
	if err != nil {
		return nil, nil, fmt.Errorf("store in %q: %w", m.name, err)
	}
	return m.View(), failed, nil
}

// store changes flags and returns the places of the messages that it left as they are.
func (m *Mailbox) store(ctx context.Context, messages []crdt.Tag, change FlagChange) ([]int, error) {
	if d, err := m.s.replayed(ctx, nil); err != nil {
		return nil, err
	} else if d != nil {
		return d.failed, nil
	}
	var failed []int
	defer func() { m.s.failed = nil }()
	err := m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		failed = nil // it may be the second time
		box, err := t.peek(m.box.id)
		if err != nil {
			return nil, err
		}
		since := t.floor(box, change.UnchangedSince)
		targets, err := t.present(m.box.id, messages, func(i int, x *crdt.Message) bool {
			if change.Conditional && x.Mod > since.Time {
				failed = append(failed, i)
				return false
			}
			return true
		})
		if err != nil || len(targets) == 0 {
			return nil, err
		}
		m.s.failed = failed
		return payload(t.site().PrepareStore(targets, change.Op, change.names()))
	}, nil)
	if errors.Is(err, errKnown) {
		return m.store(ctx, messages, change)
	}
	return failed, err
}

// present returns those of the instances that are there and that f, which gets
// their place in tags, takes (nil: all).
func (t *tx) present(box crdt.MailboxID, tags []crdt.Tag, f func(int, *crdt.Message) bool) ([]crdt.Instance, error) {
	out := make([]crdt.Instance, 0, len(tags))
	for k, tag := range tags {
		i := crdt.Instance{Box: box, Tag: tag}
		e, err := t.message(i)
		if err != nil {
			return nil, err
		}
		if e.m != nil && (f == nil || f(k, e.m)) {
			out = append(out, i)
		}
	}
	return out, nil
}

// Expunge removes those of the messages that have \Deleted; others and those
// already gone are skipped.
func (m *Mailbox) Expunge(ctx context.Context, messages []crdt.Tag) (*View, error) {
	err := m.writable()
	var before *done
	if err == nil {
		before, err = m.s.replayed(ctx, nil)
	}
	if err == nil && before == nil {
		err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
			targets, err := t.present(m.box.id, messages, func(_ int, x *crdt.Message) bool { return x.Has(crdt.FlagDeleted) })
			if err != nil || len(targets) == 0 {
				return nil, err
			}
			return payload(t.site().PrepareExpunge(targets))
		}, nil)
	}
	if errors.Is(err, errKnown) {
		return m.Expunge(ctx, messages)
	}
	if err != nil {
		return nil, fmt.Errorf("expunge %q: %w", m.name, err)
	}
	return m.View(), nil
}

// Copy adds copies to another mailbox, all or none: ErrExpunged if one is gone.
func (m *Mailbox) Copy(ctx context.Context, messages []crdt.Tag, to string) (Appended, error) {
	var out Appended
	before, err := m.s.replayed(ctx, func(t *tx, d *done) (err error) {
		out, err = d.answer(t)
		out.Source = upTo(min(len(out.UIDs), len(messages)))
		return err
	})
	if before != nil || err != nil {
		if err != nil {
			err = fmt.Errorf("copy from %q to %q: %w", m.name, to, err)
		}
		return out, err
	}
	var dst crdt.MailboxID
	err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		b, err := t.lookup(to)
		if err != nil {
			return nil, err
		}
		dst = b.ID
		out.UIDValidity = b.UIDValidity()
		added, err := t.copies(m.box.id, messages)
		if err != nil || len(added) == 0 {
			return nil, err
		}
		if err := m.s.fits(t, amount(added), Amount{}); err != nil {
			return nil, err
		}
		out.Source = upTo(len(added))
		p, err := payload(t.site().PrepareAppend(dst, added, false))
		out.UIDs = newUIDs(p)
		return p, err
	}, func(t *tx) error { return t.announce(dst) })
	if errors.Is(err, errKnown) {
		return m.Copy(ctx, messages, to)
	}
	if err != nil {
		return Appended{}, fmt.Errorf("copy from %q to %q: %w", m.name, to, err)
	}
	return out, nil
}

// copies returns what a COPY of instances adds.
func (t *tx) copies(box crdt.MailboxID, tags []crdt.Tag) ([]crdt.Added, error) {
	saved := t.a.r.opts.Now().Unix()
	added := make([]crdt.Added, 0, len(tags))
	for _, tag := range tags {
		e, err := t.message(crdt.Instance{Box: box, Tag: tag})
		if err != nil {
			return nil, err
		}
		if e.m == nil {
			return nil, ErrExpunged
		}
		var flags []string
		for _, f := range e.m.Flags {
			if f.On {
				flags = append(flags, f.Name)
			}
		}
		added = append(added, crdt.Added{
			Root: e.m.Root, Flags: flags, Size: e.m.Size, Date: e.m.Date, Zone: e.m.Zone, Saved: saved,
		})
	}
	return added, nil
}

// Move moves messages to another mailbox; those already gone are skipped.
func (m *Mailbox) Move(ctx context.Context, messages []crdt.Tag, to string) (Appended, *View, error) {
	var out Appended
	var dst crdt.MailboxID
	var before *done
	err := m.writable()
	if err == nil {
		before, err = m.s.replayed(ctx, func(t *tx, d *done) (err error) {
			if out, err = d.answer(t); err == nil {
				d.moved(&out, messages)
			}
			return err
		})
	}
	if err == nil && before == nil {
		err = m.s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
			b, err := t.lookup(to)
			if err != nil {
				return nil, err
			}
			dst = b.ID
			out.UIDValidity = b.UIDValidity()
			from, err := t.present(m.box.id, messages, nil)
			if err != nil || len(from) == 0 {
				return nil, err
			}
			p, err := payload(t.site().PrepareMove(from, dst))
			if err != nil {
				return nil, err
			}
			out.UIDs = newUIDs(p)
			out.Source = sources(p, messages)
			return p, nil
		}, func(t *tx) error { return t.announce(dst) })
	}
	if errors.Is(err, errKnown) {
		return m.Move(ctx, messages, to)
	}
	if err != nil {
		return Appended{}, nil, fmt.Errorf("move from %q to %q: %w", m.name, to, err)
	}
	return out, m.View(), nil
}

// sources returns the places in tags of what is moved.
func sources(payloads []crdt.Payload, tags []crdt.Tag) []int {
	places := make(map[crdt.Tag]int, len(tags))
	for i, tag := range tags {
		places[tag] = i
	}
	var out []int
	for _, p := range payloads {
		if move, ok := p.(*crdt.Move); ok {
			for i := range move.Entries {
				out = append(out, places[move.Entries[i].From.Tag])
			}
		}
	}
	return out
}

// upTo returns 0 to n-1.
func upTo(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}
