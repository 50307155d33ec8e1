package mailstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// UIDRange is a range of IMAP UIDs, both ends included.
type UIDRange struct{ First, Last uint32 }

// Known is what a client has of a mailbox: the parameters of QRESYNC (RFC 7162
// section 3.2.5), or what a session that moves here was told elsewhere.
type Known struct {
	UIDValidity uint32
	ModSeq      crdt.Time  // the last HIGHESTMODSEQ it was told, by whichever replica; 0: none
	UIDs        []UIDRange // the UIDs it may have, in any order; nil: all
}

// Resync brings a client up to date: VANISHED (EARLIER) of Vanished, then FETCH
// of Changed.
type Resync struct {
	// View is the picture to which the client is brought; what happens later is
	// its difference to later ones.
	View *View
	// ModSeq is the HIGHESTMODSEQ to tell: it is not below the client's.
	ModSeq crdt.Time
	// Reset: the mailbox has another UIDVALIDITY, nothing that the client has counts.
	Reset bool
	// Own: the client's MODSEQ was given here, and the answer is exact.
	Own bool
	// Changed are shown messages that the client may not have as they are, new
	// ones too, whether or not it named them; rising.
	Changed []crdt.UID
	// Vanished are UIDs of those that it named that denote nothing; rising.
	Vanished []UIDRange
}

// Resync compares what a client has with the mailbox (crdt.md 4.2, 4.4). For a
// MODSEQ of this replica the answer costs what has changed; for that of another
// one it has more in it than necessary, never less. It reads the rows of the view
// in memory and what vanished from the disk.
func (m *Mailbox) Resync(ctx context.Context, known Known) (Resync, error) {
	var out Resync
	err := m.s.tell(ctx, func(t *tx) error {
		var err error
		out, err = t.resync(m, &known)
		return err
	})
	if err != nil {
		return Resync{}, fmt.Errorf("resynchronise %q: %w", m.name, err)
	}
	return out, nil
}

// floor says what a client's MODSEQ is worth in a mailbox: what changed here with a
// MODSEQ above its Time the client may not know.
func (t *tx) floor(b *crdt.Mailbox, modSeq crdt.Time) crdt.Floor {
	return b.Certain(t.a.r.floor(modSeq))
}

// hiddenError says that a MODSEQ of a mailbox cannot be told yet.
type hiddenError struct {
	box  crdt.MailboxID
	upTo crdt.Time
}

func (e *hiddenError) Error() string { return "messages are hidden for too long" }

// mayTell returns a hiddenError if HIGHESTMODSEQ of a mailbox must not be told now,
// which may be raised up to upTo for that.
func (t *tx) mayTell(id crdt.MailboxID, upTo crdt.Time) error {
	if t.lenient {
		return nil
	}
	site := t.site()
	site.Mod = upTo
	late, err := site.Unhide(id)
	if err == nil && len(late) > 0 {
		err = &hiddenError{id, upTo}
	}
	return err
}

// tell is look for what tells a client HIGHESTMODSEQ: f calls mayTell first. What
// is hidden for too long gets a UID that can be shown, and f runs again. If that
// is not possible, as on a full disk, the figures are given all the same: what is
// missing then elsewhere comes as soon as the message is shown by any replica.
func (s *Account) tell(ctx context.Context, f func(*tx) error) error {
	for lenient := false; ; {
		err := s.look(ctx, func(t *tx) error {
			t.lenient = lenient
			return f(t)
		})
		var hidden *hiddenError
		if !errors.As(err, &hidden) {
			return err
		}
		if lenient = s.unhide(ctx, hidden) != nil; ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// unhide gives what is hidden for too long other UIDs.
func (s *Account) unhide(ctx context.Context, hidden *hiddenError) error {
	return s.change(ctx, func(t *tx) ([]crdt.Payload, error) {
		site := t.site()
		site.Mod = hidden.upTo
		return site.Unhide(hidden.box)
	}, nil)
}

func (t *tx) resync(m *Mailbox, known *Known) (Resync, error) {
	id := m.box.id
	b, err := t.peek(id)
	if err != nil {
		return Resync{}, err
	}
	floor := t.floor(b, known.ModSeq)
	if b.UIDValidity() != known.UIDValidity {
		floor = crdt.Floor{}
	}
	var above crdt.Time
	if !floor.Own {
		above = t.a.r.observe(known.ModSeq)
	}
	if err := t.mayTell(id, above); err != nil {
		return Resync{}, err
	}
	out := Resync{Own: floor.Own}
	if out.View, err = t.announceAbove(m.box, known.ModSeq, above); err != nil {
		return Resync{}, err
	}
	out.ModSeq = out.View.HighestModSeq()
	out.Changed = out.View.changedSince(floor.Time)
	if out.Reset = b.UIDValidity() != known.UIDValidity; out.Reset {
		return out, nil
	}
	ranges := normalise(known.UIDs, max(b.N, b.H).Number())
	var gone []crdt.UID
	if floor.Time != 0 && !floor.Own {
		if err := t.several(id, &out.Changed, &gone); err != nil {
			return Resync{}, err
		}
	}
	if b.Forgot(floor) { // all that it may have and that is not there
		out.Vanished = out.View.without(ranges)
		return out, nil
	}
	if err := t.vanishedSince(id, floor.Time, func(_ crdt.Time, first, last crdt.UID) bool {
		for u := first; u <= last; u++ {
			gone = append(gone, u)
		}
		return true
	}); err != nil {
		return Resync{}, err
	}
	out.Vanished = out.View.absent(gone, ranges)
	return out, nil
}

// announceAbove raises the horizon, and HIGHESTMODSEQ above a foreign MODSEQ to
// above, and returns the view with both.
func (t *tx) announceAbove(box *openBox, have, above crdt.Time) (*View, error) {
	site := t.site()
	site.Mod = above
	before, err := t.peek(box.id)
	if err != nil {
		return nil, err
	}
	high := before.High
	next, now, err := site.AnnounceAbove(box.id, have)
	if err != nil {
		return nil, err
	}
	t.durable = t.durable || now != high
	return box.head.update(nil, next, now), nil
}

// several adds what is to be told of messages that clients may know by several
// UIDs: that they are as they are, and that their other UIDs are none.
func (t *tx) several(id crdt.MailboxID, changed, gone *[]crdt.UID) error {
	var tags []crdt.Tag
	t.key = t.keys.severals(t.key[:0], t.a.id, id)
	if err := t.scan(func(rest, _ []byte) error {
		tag, err := parseTag(rest)
		tags = append(tags, tag)
		return err
	}); err != nil {
		return err
	}
	for _, tag := range tags {
		e, err := t.message(crdt.Instance{Box: id, Tag: tag})
		if err != nil || e.m == nil {
			return err
		}
		if e.m.Exp != 0 {
			*changed = append(*changed, e.m.Exp)
		}
		*gone = append(*gone, e.m.All...)
	}
	slices.Sort(*changed)
	*changed = slices.Compact(*changed)
	return nil
}

// changedSince returns the UIDs of messages with a MODSEQ above floor, rising.
func (v *View) changedSince(floor crdt.Time) []crdt.UID {
	var out []crdt.UID
	for _, c := range v.chunks {
		for j := range c.state {
			if c.state[j].mod > floor {
				out = append(out, c.uids[j])
			}
		}
	}
	return out
}

// absent returns those of the UIDs that are of the view's era, are within ranges
// and denote nothing in the view.
func (v *View) absent(uids []crdt.UID, ranges []UIDRange) []UIDRange {
	slices.Sort(uids)
	var out []UIDRange
	for _, u := range slices.Compact(uids) {
		if u.Era() != v.Era() {
			continue
		}
		for len(ranges) > 0 && ranges[0].Last < u.Number() {
			ranges = ranges[1:]
		}
		if len(ranges) == 0 {
			return out
		}
		if _, shown := v.Find(u); !shown && ranges[0].First <= u.Number() {
			out = appendRange(out, UIDRange{u.Number(), u.Number()})
		}
	}
	return out
}

// without returns the UIDs of ranges that denote nothing in the view.
func (v *View) without(ranges []UIDRange) []UIDRange {
	var out []UIDRange
	for _, r := range ranges {
		next := uint64(r.First)
		i, _ := v.Find(crdt.NewUID(v.Era(), r.First))
		for ; i < v.Len() && v.UIDAt(i).Number() <= r.Last; i++ {
			u := uint64(v.UIDAt(i).Number())
			if u > next {
				out = append(out, UIDRange{uint32(next), uint32(u - 1)})
			}
			next = u + 1
		}
		if next <= uint64(r.Last) {
			out = append(out, UIDRange{uint32(next), r.Last})
		}
	}
	return out
}

// normalise sorts and joins ranges; nil is everything up to last.
func normalise(ranges []UIDRange, last uint32) []UIDRange {
	if ranges == nil {
		ranges = []UIDRange{{1, max(last, 1)}}
	}
	sorted := slices.Clone(ranges)
	for i, r := range sorted {
		sorted[i] = UIDRange{max(min(r.First, r.Last), 1), max(r.First, r.Last)}
	}
	slices.SortFunc(sorted, func(a, b UIDRange) int { return cmp.Compare(a.First, b.First) })
	var out []UIDRange
	for _, r := range sorted {
		out = appendRange(out, r)
	}
	return out
}

// appendRange adds a range that begins not before the last one does.
func appendRange(list []UIDRange, r UIDRange) []UIDRange {
	if n := len(list); n > 0 && uint64(r.First) <= uint64(list[n-1].Last)+1 {
		list[n-1].Last = max(list[n-1].Last, r.Last)
		return list
	}
	return append(list, r)
}
