package imap

import (
	"github.com/go-pluto/pluto/imap/wire"
)

// sync announces what has happened to the selected mailbox since it was told,
// as far as the mode allows. uid says whether untagged FETCH responses have the
// UID. It returns an error when the mailbox is gone or the client is.
func (s *session) sync(mode syncMode, uid bool) error {
	b := s.box
	if b == nil || mode == syncNone {
		return nil
	}
	if b.mailbox.Gone() {
		return errDeselected
	}
	if s.selectedWish() == 0 && !s.removing { // RFC 5465 section 3.1
		b.announced = nil
		return nil
	}
	vector := s.account.Vector() // what is in the view at least
	b.refresh()
	if b.latest != b.told {
		if err := s.announce(b, mode, uid || s.notify != nil); err != nil { // RFC 5465 section 5.1
			return err
		}
	}
	b.vector = vector
	b.announced = nil
	if s.saidModSeq && b.latest != b.told { // an EXPUNGE has to wait
		s.highest = b.told.HighestModSeq()
	}
	return s.out.spill()
}

func (s *session) announce(b *selection, mode syncMode, uid bool) (err error) {
	changes := b.latest.Since(b.told)
	if len(changes.Changed)+len(changes.Added) > 0 && b.newKeywords() {
		s.appendFlagsResponse(b)
	}
	changed := b.unknownOf(changes.Changed, &s.scratch)
	if s.selectedWish()&eventFlags == 0 {
		changed = nil
	}
	if len(changes.Expunged) > 0 && mode != syncAll {
		// Numbers must stay, and what is new comes after what is expunged:
		// until they may change, flags are all that can be told.
		s.announceFlags(b, changed, uid)
		err = s.updateContexts(b, changes.Changed, nil)
	} else {
		s.renumber(b, &changes)
		s.announceFlags(b, changed, uid)
		err = s.updateContexts(b, changes.Changed, changes.Added)
	}
	b.flags = b.latest
	if high := b.latest.HighestModSeq(); high != b.shown {
		b.shown, b.high = high, max(b.high, high)
		s.stateDirty = max(s.stateDirty, stateNewModSeq)
	}
	return err
}

// renumber announces which messages went and came. The client's numbers change
// with the first byte of that: it is kept until the state after it goes along.
func (s *session) renumber(b *selection, changes *Changes) {
	if len(changes.Expunged) > 0 {
		s.out.hold()
	}
	s.shrinkContexts(b, changes.Expunged)
	s.announceExpunged(b, changes.Expunged)
	b.told, b.ghosts = b.latest, nil
	if len(changes.Expunged)+len(changes.Added) == 0 {
		return
	}
	s.announceSize(b, len(changes.Added) > 0)
	b.recut(changes.Expunged, changes.Added)
	s.stateDirty = stateChanged
	if len(s.out.buf) >= pieceBytes || len(changes.Changed) >= manyChanges {
		s.inside()
	}
}

// inside sends what there is as a point from which another replica could execute
// the present command again.
func (s *session) inside() {
	s.out.pass()
	if s.out.err == nil {
		s.out.err = s.conn.Answer(s.checkpoint())
	}
	s.out.held = false
}

// unknownOf returns those of the changed messages whose flags the client does
// not know already.
func (b *selection) unknownOf(changed []UID, m *Message) []UID {
	var unknown []UID
	for _, uid := range changed {
		place, _ := b.told.Find(uid)
		now, ok := b.latest.Find(uid)
		if !ok {
			continue
		}
		if b.latest.At(now, m); !b.knows(place, m.ModSeq) {
			unknown = append(unknown, uid)
		}
	}
	return unknown
}

// announceExpunged appends EXPUNGE responses with the numbers that the messages
// have after those before (RFC 3501 section 7.4.1), or VANISHED with their UIDs, and then
// what the client knows by that (RFC 7162 sections 3.2.7 and 3.2.10).
func (s *session) announceExpunged(b *selection, expunged []UID) {
	if s.on(modeQResync) && len(expunged) > 0 {
		s.highest = b.latest.HighestModSeq()
		var gone uidRanges
		for _, uid := range expunged {
			gone.add(UIDRange{uid, uid})
		}
		s.tellVanished(gone, false)
		return
	}
	for k, uid := range expunged {
		i, _ := b.told.Find(uid)
		s.out.number(i+1-k, "EXPUNGE")
		if s.out.spill() != nil {
			return
		}
	}
}

// announceSize appends EXISTS if there are new messages, and RECENT then or when it
// is another number.
func (s *session) announceSize(b *selection, added bool) {
	if added {
		b.claim()
		s.out.number(b.told.Len(), "EXISTS")
	}
	if n := b.countRecent(); (added || n != b.recents) && !b.noRecent {
		b.recents = n
		s.out.number(n, "RECENT")
	}
}

// announceFlags appends the flags of messages that are in told and in latest.
func (s *session) announceFlags(b *selection, uids []UID, withUID bool) {
	m := &s.scratch
	for _, uid := range uids {
		i, _ := b.told.Find(uid)
		if !b.message(i, m) {
			continue
		}
		s.appendFlagsOf(i, m, withUID)
		if s.out.spill() != nil {
			return
		}
	}
}

// appendFlagsOf appends an untagged FETCH with the flags of a message. A client that
// knows CONDSTORE is always told UID and MODSEQ (RFC 7162 section 3.2.4), one that
// knows IMAP4rev2 the UID (RFC 9051 section 7.5.2).
func (s *session) appendFlagsOf(place int, m *Message, withUID bool) {
	buf := appendFetch(s.out.buf, place)
	if withUID || s.on(modeCondStore|modeRev2) {
		buf = appendUID(buf, m.UID)
		buf = append(buf, ' ')
	}
	buf = appendFlags(buf, m, s.box.isRecent(m.UID))
	if s.on(modeCondStore) {
		buf = s.appendModSeq(append(buf, ' '), m)
	}
	s.out.buf = append(buf, ")\r\n"...)
}

// appendFlagsResponse appends the FLAGS and PERMANENTFLAGS that a mailbox has now.
func (s *session) appendFlagsResponse(b *selection) {
	s.out.buf = append(s.out.buf, "* FLAGS ("...)
	s.out.buf = appendDefinedFlags(s.out.buf, b.keywords)
	s.out.buf = append(s.out.buf, ")\r\n* OK [PERMANENTFLAGS ("...)
	if !b.readOnly {
		s.out.buf = appendDefinedFlags(s.out.buf, b.keywords)
		s.out.buf = append(s.out.buf, ` \*`...)
	}
	s.out.buf = append(s.out.buf, ")] Flags that are kept\r\n"...)
}

// appendUIDSet appends UIDs in their order, runs as a:b, as UIDPLUS wants them
// (RFC 4315 section 3).
func appendUIDSet(dst []byte, uids []UID) []byte { return wire.AppendNumSet(dst, uids) }
