package crdt

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// maxBatch is the largest number of messages that a re-issue or nudge lists.
const maxBatch = 10000

// maxTries bounds the doubling of Policy.Quiet.
const maxTries = 8

// Tick returns the operations that are due without a client's wish: UIDs to be
// re-issued, requests for that to the leader, another era for mailboxes whose
// UIDs run out ([Site.NeedsRenumber]), and repairs of UIDVALIDITY. The
// caller prepares them in that order in one transaction, and calls Tick again at
// next (Unix ms, 0: when an operation was applied). force makes everything due
// now. Tick costs what the waiting messages cost, with a [WaitIndex] only those for
// which something may be due, and reads the mailbox records.
func (s *Site) Tick(force bool) (payloads []Payload, next int64, err error) {
	n, err := s.names()
	if err != nil {
		return nil, 0, fmt.Errorf("tick: %w", err)
	}
	if payloads, err = s.fix(n); err != nil {
		return nil, 0, err
	}
	renumbered, boxes, err := s.renumberDue(n)
	if err != nil {
		return nil, 0, err
	}
	payloads = append(payloads, renumbered...)
	list, err := s.State.Awaiting()
	if err != nil {
		return nil, 0, fmt.Errorf("awaiting: %w", err)
	}
	list = slices.DeleteFunc(list, func(i Instance) bool { return boxes[i.Box] })
	if !force {
		list, next = s.resting(list)
	}
	slices.SortFunc(list, Instance.Compare)
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].Box == list[0].Box {
			n++
		}
		more, at, err := s.tickBox(list[:n], force)
		if err != nil {
			return nil, 0, err
		}
		payloads = append(payloads, more...)
		next = earlier(next, at)
		list = list[n:]
	}
	return payloads, next, nil
}

// earlier returns the earlier of two moments of which 0 is never.
func earlier(a, b int64) int64 {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// tickBox does for one mailbox what Tick does.
func (s *Site) tickBox(list []Instance, force bool) (payloads []Payload, next int64, err error) {
	b, err := s.mailbox(list[0].Box)
	if err != nil || b == nil {
		return nil, 0, err
	}
	waiting, err := s.waiting(list)
	if err != nil {
		return nil, 0, err
	}
	waiting = slices.DeleteFunc(waiting, func(m *Message) bool { return m.Held })
	var issue, nudge []*Message
	due := func(at int64) bool {
		if force || s.Now >= at {
			return true
		}
		next = earlier(next, at)
		return false
	}
	policy := s.Self.policy()
	oldest := policy.Batch + s.Now
	for _, m := range waiting {
		oldest = min(oldest, s.since(m)+policy.Batch)
	}
	for _, m := range waiting {
		until, ask := s.patience(b, m), s.since(m)+policy.Batch
		switch {
		case s.Self.Leader:
			if due(oldest) {
				issue = append(issue, m)
			}
		case due(until):
			issue = append(issue, m)
		case m.Nudged == m.Reg:
			s.note(b.ID, m, until)
		case due(ask):
			nudge = append(nudge, m)
		default:
			s.note(b.ID, m, min(until, ask))
		}
	}
	payloads, err = s.reissue(b, issue)
	if errors.Is(err, ErrUIDSpace) {
		return nil, next, nil // what waits goes on waiting
	}
	if err != nil {
		return nil, 0, err
	}
	return append(payloads, nudges(b, nudge)...), next, nil
}

// waiting reads the messages that still wait, in the order of their UIDs.
func (s *Site) waiting(list []Instance) ([]*Message, error) {
	var out []*Message
	for _, i := range list {
		m, err := s.State.Message(i.Box, i.Tag)
		if err != nil {
			return nil, fmt.Errorf("awaiting %v: %w", i.Tag, err)
		}
		if m != nil && (m.Refused != 0 || m.Held) && m.Exp != m.Reg {
			out = append(out, m)
		}
	}
	slices.SortFunc(out, func(a, b *Message) int { return cmp.Compare(a.Reg, b.Reg) })
	return out, nil
}

// since returns the moment since which a message waits. One that is yet to come
// is of a clock that has been set back since: nobody knows how long it has been,
// so it has been long enough.
func (s *Site) since(m *Message) int64 {
	if m.Refused > s.Now {
		return 0
	}
	return m.Refused
}

// patience returns until when this replica leaves a refused UID to the leader: a
// short time while the message is hidden, until the mailbox has been quiet for
// long while it is shown under an older UID.
func (s *Site) patience(b *Mailbox, m *Message) int64 {
	policy := s.Self.policy()
	rank := s.Self.rank() * policy.Wait
	since := s.since(m)
	if m.Exp == 0 {
		return since + rank
	}
	if last := b.High.UnixMillis(); last > since && last <= s.Now {
		since = last
	}
	return since + rank + policy.Quiet<<min(m.Tries, maxTries)
}

// reissue prepares new UIDs for messages of one mailbox, in the order given.
func (s *Site) reissue(b *Mailbox, list []*Message) ([]Payload, error) {
	var gap UID
	if s.Self.Leader {
		gap = s.Self.policy().Gap
	}
	issue := s.issuer(b)
	var out []Payload
	for part := range slices.Chunk(list, maxBatch) {
		p := &Reissue{Box: b.ID}
		for _, m := range part {
			u, err := issue.next(gap)
			if err != nil {
				return nil, err
			}
			gap = 0 // once for all
			p.List = append(p.List, TagUID{m.Tag, u})
		}
		out = append(out, p)
	}
	return out, nil
}

func nudges(b *Mailbox, list []*Message) []Payload {
	var out []Payload
	for part := range slices.Chunk(list, maxBatch) {
		p := &Nudge{Box: b.ID, H: b.H}
		for _, m := range part {
			p.List = append(p.List, TagUID{m.Tag, m.Reg})
		}
		out = append(out, p)
	}
	return out
}
