package crdt

import (
	"fmt"
	"slices"
)

// PrepareAppend adds messages to a mailbox: APPEND and deliveries (newBody: the
// content travels with the operation), and COPY with the roots, sizes and dates of
// what is copied. It fills in the UIDs, and SAVEDATE where that is 0. Errors:
// [ErrNonexistent], [ErrFlag], [ErrUIDSpace].
func (s *Site) PrepareAppend(box MailboxID, add []Added, newBody bool) (*Append, error) {
	if len(add) == 0 {
		return nil, nil
	}
	b, err := s.liveMailbox(box)
	if err != nil {
		return nil, fmt.Errorf("append: %w", err)
	}
	p := &Append{Box: box, Messages: slices.Clone(add), NewBody: newBody}
	issue := s.issuer(b)
	for i := range p.Messages {
		a := &p.Messages[i]
		if a.Size > maxSize {
			return nil, fmt.Errorf("append: %w: message of %d bytes", ErrLimit, a.Size)
		}
		if a.Flags, err = CanonicalFlags(a.Flags); err != nil {
			return nil, fmt.Errorf("append: %w", err)
		}
		if a.UID, err = issue.next(0); err != nil {
			return nil, fmt.Errorf("append: %w", err)
		}
		if a.Saved == 0 {
			a.Saved = s.Now / 1000
		}
	}
	return p, nil
}

// PrepareStore changes flags of messages and of all their live copies. Adding
// and removing lists only messages that it changes, and is nil when there are
// none; replacing is always an operation, because it also says that flags which
// others add meanwhile with an earlier clock are off. Messages that are gone are
// left out. Errors: [ErrFlag], [ErrLimit].
func (s *Site) PrepareStore(targets []Instance, mode StoreMode, flags []string) (*Store, error) {
	flags, err := CanonicalFlags(flags)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	p := &Store{Mode: mode, Flags: flags}
	err = s.eachCopy(targets, func(at Instance, m *Message) error {
		if !p.changes(m) {
			return nil
		}
		if len(m.Flags)+len(flags) > MaxFlags {
			return fmt.Errorf("%w: message has %d flags", ErrLimit, len(m.Flags))
		}
		p.Targets = append(p.Targets, at)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if len(p.Targets) == 0 {
		return nil, nil
	}
	return p, nil
}

func (p *Store) changes(m *Message) bool {
	if p.Mode == StoreReplace {
		return true
	}
	return slices.ContainsFunc(p.Flags, func(f string) bool { return m.Has(f) != (p.Mode == StoreAdd) })
}

// eachCopy calls f once for each target that exists and for each of its live copies.
func (s *Site) eachCopy(targets []Instance, f func(Instance, *Message) error) error {
	seen := make(map[Instance]bool, len(targets))
	for _, t := range targets {
		m, err := s.State.Message(t.Box, t.Tag)
		if err != nil {
			return err
		}
		if m == nil || seen[t] {
			continue
		}
		copies, err := s.copies(t, m)
		if err != nil {
			return err
		}
		seen[t] = true
		if err := f(t, m); err != nil {
			return err
		}
		for _, c := range copies {
			m, err := s.State.Message(c.Box, c.Tag)
			if err != nil {
				return err
			}
			if m == nil || seen[c] {
				continue
			}
			seen[c] = true
			if err := f(c, m); err != nil {
				return err
			}
		}
	}
	return nil
}

// PrepareExpunge removes messages and all their live copies for ever; nil when
// none is there.
func (s *Site) PrepareExpunge(targets []Instance) (*Expunge, error) {
	p := new(Expunge)
	err := s.eachCopy(targets, func(at Instance, _ *Message) error {
		p.Targets = append(p.Targets, at)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("expunge: %w", err)
	}
	if len(p.Targets) == 0 {
		return nil, nil
	}
	return p, nil
}

// PrepareMove moves messages (each with its live copies, which become one) to a
// mailbox, also to the one where they are; nil when none is there. Errors:
// [ErrNonexistent], [ErrUIDSpace].
func (s *Site) PrepareMove(targets []Instance, dst MailboxID) (*Move, error) {
	b, err := s.liveMailbox(dst)
	if err != nil {
		return nil, fmt.Errorf("move: %w", err)
	}
	p, err := s.move(targets, b)
	if err != nil {
		return nil, fmt.Errorf("move: %w", err)
	}
	if len(p.Entries) == 0 {
		return nil, nil
	}
	return p, nil
}

func (s *Site) move(targets []Instance, dst *Mailbox) (*Move, error) {
	p := &Move{Dst: dst.ID}
	issue := s.issuer(dst)
	seen := make(map[Instance]bool, len(targets))
	for _, t := range targets {
		m, err := s.State.Message(t.Box, t.Tag)
		if err != nil {
			return nil, err
		}
		if m == nil || seen[t] {
			continue
		}
		copies, err := s.copies(t, m)
		if err != nil {
			return nil, err
		}
		u, err := issue.next(0)
		if err != nil {
			return nil, err
		}
		seen[t] = true
		for _, c := range copies {
			seen[c] = true
		}
		p.Entries = append(p.Entries, Moved{
			From: t, Copies: copies, State: m.on(),
			New: Added{Root: m.Root, UID: u, Size: m.Size, Date: m.Date, Zone: m.Zone, Saved: s.Now / 1000},
		})
	}
	return p, nil
}

// on returns the registers of the flags that are set. Those that are off matter
// only to writes that do not know of the move, which are lost with the source.
func (m *Message) on() []Flag {
	var out []Flag
	for _, f := range m.Flags {
		if f.On {
			out = append(out, f)
		}
	}
	return out
}
