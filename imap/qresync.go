package imap

import (
	"sort"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// selectArgs are the parameters of SELECT and EXAMINE (RFC 4466 section 2.2).
type selectArgs struct {
	condStore bool
	qresync   bool
	known     Known       // of QRESYNC, RFC 7162 section 3.2.5
	numbers   wire.NumSet // sequence match data: these messages
	uids      wire.NumSet // have these UIDs
}

// readSelectArgs reads the optional parameters to the end of the command.
func (s *session) readSelectArgs(c *wire.Command) (a selectArgs, err error) {
	if c.EOL() {
		return a, nil
	}
	if err := c.SP(); err != nil {
		return a, err
	}
	if err := c.Expect('('); err != nil {
		return a, err
	}
	for first := true; first || !c.Byte(')'); first = false {
		if !first {
			if err := c.SP(); err != nil {
				return a, err
			}
		}
		word, err := c.Atom()
		if err != nil {
			return a, err
		}
		switch strings.ToUpper(word) {
		case "CONDSTORE":
			a.condStore = true
		case "QRESYNC":
			if !s.on(modeQResync) || a.qresync {
				return a, badSyntax("QRESYNC is not allowed here")
			}
			if err := a.readQResync(c); err != nil {
				return a, err
			}
		default:
			return a, badSyntax("Unknown parameter")
		}
	}
	return a, c.End()
}

// readQResync reads "(uidvalidity modseq [known-uids] [(numbers uids)])" after a space.
func (a *selectArgs) readQResync(c *wire.Command) error {
	a.qresync = true
	if err := c.SP(); err != nil {
		return err
	}
	if err := c.Expect('('); err != nil {
		return err
	}
	var err error
	if a.known.UIDValidity, err = c.NzNumber(); err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	mod, err := c.Number64()
	if err != nil {
		return err
	}
	a.known.ModSeq = ModSeq(mod)
	if c.Byte(')') {
		return nil
	}
	if err := c.SP(); err != nil {
		return err
	}
	if c.Peek() != '(' {
		set, err := readNumbers(c)
		if err != nil {
			return err
		}
		a.known.UIDs = rangesOf(set, 0)
		if c.Byte(')') {
			return nil
		}
		if err := c.SP(); err != nil {
			return err
		}
	}
	if err := a.readMatch(c); err != nil {
		return err
	}
	return c.Expect(')')
}

// readMatch reads the sequence match data.
func (a *selectArgs) readMatch(c *wire.Command) (err error) {
	if err := c.Expect('('); err != nil {
		return err
	}
	if a.numbers, err = readNumbers(c); err != nil {
		return err
	}
	if err := c.SP(); err != nil {
		return err
	}
	if a.uids, err = readNumbers(c); err != nil {
		return err
	}
	return c.Expect(')')
}

// readNumbers reads a set of known numbers: "*" and "$" are none.
func readNumbers(c *wire.Command) (wire.NumSet, error) {
	set, err := c.SequenceSet()
	if err != nil {
		return set, err
	}
	for _, r := range set.Ranges {
		if r.Stop == 0 {
			return set, badSyntax("* is not allowed here")
		}
	}
	if set.Saved {
		return set, badSyntax("$ is not allowed here")
	}
	return set, nil
}

// rangesOf returns the UIDs of a set; "*", and the largest number there is, mean
// all up to last.
func rangesOf(set wire.NumSet, last UID) []UIDRange {
	ranges := make([]UIDRange, 0, len(set.Ranges))
	for _, r := range set.Ranges {
		one := UIDRange{UID(r.Start), UID(r.Stop)}
		if last > 0 && (one.To == 0 || one.To == 1<<32-1) {
			one.To = last
			if one.From == 0 {
				one.From = last
			}
		}
		ranges = append(ranges, one)
	}
	return ranges
}

// matched returns the largest UID of the sequence match data that is that of the
// message with this number, 0 if none is (RFC 7162 section 3.2.5.2): of what was
// expunged up to it the client knows.
func (a *selectArgs) matched(v View) UID {
	var best UID
	numbers, uids := a.numbers.Ranges, a.uids.Ranges
	for len(numbers) > 0 && len(uids) > 0 {
		n, u := &numbers[0], &uids[0]
		size := min(n.Stop-n.Start, u.Stop-u.Start) // of the run, less one
		if uid := lastMatch(v, int(n.Start)-1, int(size)+1, UID(u.Start)); uid > 0 {
			best = max(best, uid)
		}
		numbers, uids = advance(numbers, size), advance(uids, size)
	}
	return best
}

// lastMatch returns the last UID from uid on that the n messages from place i on
// have in turn, 0 if none does. UIDs rise faster than places, so once one
// is larger than that, all that follow are.
func lastMatch(v View, i, n int, uid UID) UID {
	n = min(n, v.Len()-i)
	if n <= 0 {
		return 0
	}
	k := sort.Search(n, func(k int) bool { return uint64(v.UIDAt(i+k)) > uint64(uid)+uint64(k) }) - 1
	if k >= 0 && v.UIDAt(i+k) == uid+UID(k) {
		return uid + UID(k)
	}
	return 0
}

// advance drops the first size+1 numbers of the first range.
func advance(ranges []wire.Range, size uint32) []wire.Range {
	if r := ranges[0]; r.Stop-r.Start > size {
		return append([]wire.Range{{Start: r.Start + size + 1, Stop: r.Stop}}, ranges[1:]...)
	}
	return ranges[1:]
}

// resync asks for what a client that has the selected mailbox from earlier must be
// told, and makes the view that goes with it the latest.
func (s *session) resync(known Known) (Resync, error) {
	known.UIDValidity = s.box.mailbox.UIDValidity()
	r, err := s.box.mailbox.Resync(s.ctx, known)
	if err != nil {
		return Resync{}, err
	}
	if r.Reset { // the mailbox is gone, as the sync will say
		return Resync{}, ErrUnavailable
	}
	s.box.advance(r.View)
	return r, nil
}

// tellResync tells, at the end of SELECT, what has changed since the client had the
// mailbox: VANISHED first (RFC 7162 section 3.2.6).
func (s *session) tellResync(a *selectArgs, r *Resync) error {
	if r.Reset {
		return nil
	}
	vanished := r.Vanished
	if r.Own {
		vanished = above(vanished, a.matched(r.View))
	}
	s.tellVanished(vanished, true)
	m := &s.scratch
	for _, uid := range r.Changed {
		// A client that comes from another replica may lack messages that it
		// cannot name, because their UIDs were others there.
		if i, ok := s.box.told.Find(uid); ok && (!r.Own || a.named(uid)) {
			s.box.message(i, m)
			s.appendFlagsOf(i, m, true)
			if err := s.out.spill(); err != nil {
				return err
			}
		}
	}
	return s.out.spill()
}

// named reports whether a UID is among the known ones.
func (a *selectArgs) named(uid UID) bool {
	if a.known.UIDs == nil {
		return true
	}
	for _, r := range a.known.UIDs {
		if r.From <= uid && uid <= r.To {
			return true
		}
	}
	return false
}

// above returns what of sorted ranges is above a UID.
func above(ranges []UIDRange, uid UID) []UIDRange {
	var rest []UIDRange
	for _, r := range ranges {
		if r.To > uid {
			rest = append(rest, UIDRange{max(r.From, uid+1), r.To})
		}
	}
	return rest
}

// tellVanished appends VANISHED responses, in pieces of a size that clients can take.
func (s *session) tellVanished(ranges []UIDRange, earlier bool) {
	for len(ranges) > 0 {
		part := ranges[:min(len(ranges), maxVanished)]
		ranges = ranges[len(part):]
		s.out.buf = append(s.out.buf, "* VANISHED "...)
		if earlier {
			s.out.buf = append(s.out.buf, "(EARLIER) "...)
		}
		for i, r := range part {
			if i > 0 {
				s.out.buf = append(s.out.buf, ',')
			}
			s.out.buf = appendNumberRange(s.out.buf, uint64(r.From), uint64(r.To))
		}
		s.out.buf = append(s.out.buf, '\r', '\n')
		if s.out.spill() != nil {
			return
		}
	}
}

// changedSince leaves of the places of a FETCH those of messages that have changed
// since a MODSEQ, and tells what vanished if that is asked for.
func (s *session) changedSince(a *fetchArgs, set wire.NumSet, spans []span) ([]span, error) {
	s.switchOn(modeCondStore)
	known := Known{ModSeq: a.since, UIDs: []UIDRange{}}
	if a.vanished {
		known.UIDs = s.box.namedUIDs(set)
	}
	r, err := s.resync(known)
	if err != nil {
		return nil, err
	}
	// What the client still sees is not what vanished earlier.
	s.tellVanished(s.box.unseen(r.Vanished), true)
	return intersect(spans, s.box.placesOf(r.Changed)), nil
}

// namedUIDs returns the UIDs of a set, whether or not they denote something.
func (b *selection) namedUIDs(set wire.NumSet) []UIDRange {
	if set.Saved {
		return append([]UIDRange{}, b.saved...)
	}
	return rangesOf(set, max(b.latest.UIDNext(), b.told.UIDNext(), 2)-1)
}

// unseen returns what of sorted ranges is no message in told.
func (b *selection) unseen(ranges []UIDRange) []UIDRange {
	var rest []UIDRange
	for _, r := range ranges {
		i, _ := b.told.Find(r.From)
		for ; i < b.told.Len() && b.told.UIDAt(i) <= r.To; i++ {
			if uid := b.told.UIDAt(i); uid > r.From {
				rest = append(rest, UIDRange{r.From, uid - 1})
			}
			r.From = b.told.UIDAt(i) + 1
		}
		if r.From <= r.To && r.From > 0 {
			rest = append(rest, r)
		}
	}
	return rest
}
