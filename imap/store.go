package imap

import (
	"slices"
	"strings"

	"github.com/go-pluto/pluto/imap/wire"
)

// store: RFC 3501 section 6.4.6.
func (s *session) store(c *wire.Command) error { return s.storeFlags(c, false) }

// uidStore: RFC 3501 section 6.4.8.
func (s *session) uidStore(c *wire.Command) error { return s.storeFlags(c, true) }

func (s *session) storeFlags(c *wire.Command, uid bool) error {
	spans, err := s.readSet(c, uid)
	if err != nil {
		return err
	}
	change, silent, err := readFlagChange(c)
	if err != nil {
		return err
	}
	b := s.box
	if b.readOnly {
		return ErrReadOnly
	}
	if change.Conditional {
		s.switchOn(modeCondStore)
	}
	b.spell(change.Keywords)
	b.refresh()
	st := storer{session: s, change: change, silent: silent, uid: uid}
	if keys := b.keys(spans, &s.scratch); len(keys) > 0 {
		view, refused, err := b.mailbox.Store(s.ctx, keys, change)
		if err != nil {
			return err
		}
		b.advance(view)
		st.refused = pick(spans, refused)
		if err := st.retry(); err != nil {
			return err
		}
	}
	var more []string
	if change.Op != FlagsRemove {
		more = change.Keywords
	}
	if b.newKeywords(more...) {
		s.appendFlagsResponse(b)
	}
	st.tell(spans)
	return nil
}

// readFlagChange reads what STORE is to do, to the end of the command.
func readFlagChange(c *wire.Command) (change FlagChange, silent bool, err error) {
	if err := c.SP(); err != nil {
		return change, false, err
	}
	if err := change.readUnchangedSince(c); err != nil {
		return change, false, err
	}
	switch {
	case c.Byte('+'):
		change.Op = FlagsAdd
	case c.Byte('-'):
		change.Op = FlagsRemove
	}
	item, err := c.Atom()
	if err != nil {
		return change, false, err
	}
	switch {
	case strings.EqualFold(item, "FLAGS"):
	case strings.EqualFold(item, "FLAGS.SILENT"):
		silent = true
	default:
		return change, false, badSyntax("Unknown data item")
	}
	if err := c.SP(); err != nil {
		return change, false, err
	}
	if change.Flags, change.Keywords, err = readFlags(c); err != nil {
		return change, false, err
	}
	return change, silent, c.End()
}

// storer tells what a STORE has done.
type storer struct {
	*session
	change      FlagChange
	silent, uid bool
	refused     []span // the messages that were changed since (RFC 7162 section 3.1.3)
}

// pick returns the places with these indexes, rising, among those of spans.
func pick(spans []span, indexes []int) []span {
	var picked []span
	before := 0
	for _, sp := range spans {
		size := sp.to - sp.from
		for len(indexes) > 0 && indexes[0] < before+size {
			picked = addPlace(picked, sp.from+indexes[0]-before)
			indexes = indexes[1:]
		}
		before += size
	}
	return picked
}

// retry makes the change to those of the refused messages of which, since the client
// was told of them, only flags were changed that it does not ask about (RFC 7162
// section 3.1.12).
func (st *storer) retry() error {
	b, change := st.box, st.change
	if len(st.refused) == 0 || change.Op == FlagsReplace || b.shown != b.told.HighestModSeq() {
		return nil // or the client was told of flags that are not in the view
	}
	r, err := st.resync(Known{ModSeq: change.UnchangedSince, UIDs: []UIDRange{}})
	if err != nil || !r.Own { // of another replica: what it covers is not known exactly
		return err
	}
	var free, changed []span
	for _, sp := range st.refused {
		for i := sp.from; i < sp.to; i++ {
			if b.unaffected(i, &change, &st.scratch) {
				free = addPlace(free, i)
			} else {
				changed = addPlace(changed, i)
			}
		}
	}
	if len(free) == 0 {
		return nil
	}
	change.UnchangedSince = b.latest.HighestModSeq()
	view, refused, err := b.mailbox.Store(st.ctx, b.keys(free, &st.scratch), change)
	if err != nil {
		return err
	}
	b.latest, st.refused = view, normal(append(changed, pick(free, refused)...))
	return nil
}

// unaffected reports whether the client, by its MODSEQ, knows the message at place i
// as it was told, and none of the flags of the change has been changed since.
func (b *selection) unaffected(i int, change *FlagChange, m *Message) bool {
	var was Message
	b.told.At(i, &was)
	if was.ModSeq > change.UnchangedSince || !b.message(i, m) || (was.Flags^m.Flags)&change.Flags != 0 {
		return false
	}
	for _, k := range change.Keywords {
		if slices.Contains(was.Keywords, k) != slices.Contains(m.Keywords, k) {
			return false
		}
	}
	return true
}

// tell tells the flags that the messages have now: all of them, or with .SILENT
// those that are not what the client must expect, because somebody else changed
// them too (RFC 3501 section 6.4.6, note).
func (st *storer) tell(spans []span) {
	var modified []UID
	for _, sp := range spans {
		for i := sp.from; i < sp.to; i++ {
			if !st.tellOne(i) {
				modified = append(modified, UID(st.box.numberOf(i, st.uid)))
			}
			if st.out.spill() != nil {
				return
			}
		}
	}
	st.box.announce(spans)
	if len(modified) > 0 {
		st.code = appendUIDSet(append(st.code, "MODIFIED "...), modified)
	}
}

// tellOne tells of the message at a place and reports whether it was changed. For
// one that is no longer there under this UID the answer is what the change made
// of the flags that the client knows, unless the change was to be made only if
// nobody made another.
func (st *storer) tellOne(i int) bool {
	b, m := st.box, &st.scratch
	there := b.message(i, m)
	if contains(st.refused, i) || !there && st.change.Conditional {
		if there {
			st.appendFlagsOf(i, m, st.uid)
		}
		return false
	}
	if !there {
		st.change.apply(m)
		b.haunt(m)
	}
	if !st.silent || !b.expects(i, m, &st.change) {
		st.appendFlagsOf(i, m, st.uid)
		return true
	}
	if st.on(modeCondStore) && (st.change.Conditional || m.ModSeq > b.shown) {
		buf := appendUID(appendFetch(st.out.buf, i), m.UID)
		buf = st.appendModSeq(append(buf, ' '), m)
		st.out.buf = append(buf, ")\r\n"...)
	}
	return true
}

// expects reports whether the client must expect m, the message at place i, to
// have the flags that it has after the change.
func (b *selection) expects(i int, m *Message, change *FlagChange) bool {
	if b.told == b.latest {
		return true
	}
	var was Message
	b.told.At(i, &was)
	if _, ghost := b.ghosts[was.UID]; ghost {
		return true
	}
	if b.flags != nil { // while an EXPUNGE waits, flags are told all the same
		if j, ok := b.flags.Find(was.UID); ok {
			b.flags.At(j, &was)
		}
	}
	change.apply(&was)
	return was.Flags == m.Flags && slices.Equal(was.Keywords, m.Keywords)
}
