package memmail

import (
	"context"
	"slices"

	"github.com/go-pluto/pluto/imap"
)

// vanished is a UID that denotes nothing since a MODSEQ.
type vanished struct {
	uid imap.UID
	mod imap.ModSeq
}

// Forget makes a mailbox forget which UIDs vanished so far, as a replica does after
// some months: clients that come back from before are told all that is missing.
func (s *Store) Forget(user imap.UserID, name string) {
	s.mu.Lock()
	a := s.accounts[user]
	s.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	if b := a.boxes[name]; b != nil {
		b.vanished, b.forgotten = nil, b.view.high
	}
}

// Resync implements [imap.Mailbox]. A MODSEQ that was not given here is worth
// nothing, as that of a replica that nobody knows.
func (m *mailbox) Resync(_ context.Context, known imap.Known) (imap.Resync, error) {
	if err := m.account.store.fail("resync"); err != nil {
		return imap.Resync{}, err
	}
	m.account.mu.Lock()
	defer m.account.mu.Unlock()
	b := m.box
	floor := known.ModSeq
	if uint64(floor) > m.account.last {
		m.account.last = uint64(floor)
		b.publish(b.view.messages, b.view.uidNext, imap.ModSeq(m.account.next()))
		floor = 0
	}
	r := imap.Resync{View: b.view, Reset: known.UIDValidity != b.uidValidity, Own: floor > 0}
	if r.Reset {
		floor = 0
	}
	for i := range b.view.messages {
		if msg := &b.view.messages[i]; msg.ModSeq > floor {
			r.Changed = append(r.Changed, msg.UID)
		}
	}
	if !r.Reset {
		r.Vanished = b.missing(known.UIDs, floor)
	}
	return r, nil
}

// missing returns which of the UIDs in ranges (nil: all) denote nothing since a MODSEQ.
func (b *box) missing(ranges []imap.UIDRange, floor imap.ModSeq) []imap.UIDRange {
	if ranges == nil {
		ranges = []imap.UIDRange{{From: 1, To: b.view.uidNext - 1}}
	}
	gone := make(map[imap.UID]bool)
	for _, v := range b.vanished {
		gone[v.uid] = gone[v.uid] || v.mod > floor
	}
	var out []imap.UIDRange
	for uid := imap.UID(1); uid < b.view.uidNext; uid++ {
		named := slices.ContainsFunc(ranges, func(r imap.UIDRange) bool { return r.From <= uid && uid <= r.To })
		_, shown := b.view.Find(uid)
		if !named || shown || floor >= b.forgotten && floor > 0 && !gone[uid] {
			continue
		}
		if n := len(out); n > 0 && out[n-1].To+1 == uid {
			out[n-1].To = uid
		} else {
			out = append(out, imap.UIDRange{From: uid, To: uid})
		}
	}
	return out
}
