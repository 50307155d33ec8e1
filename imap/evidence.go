package imap

import (
	"context"
	"math"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/imap/wire"
)

// Witness is what a [Mailbox] may implement that wants to know what its clients
// know from other servers of the same mail.
type Witness interface {
	// Evidence says that the client asked for all messages from a UID on, which
	// is above the UIDNEXT that it was told here: another server told it of
	// more. It will never ask for what is below (crdt.md 4.3).
	Evidence(ctx context.Context, from UID) error
}

// openFrom returns the largest UID from which on a set names everything, as in
// "100:*", 0 if none.
func openFrom(set wire.NumSet) UID {
	from := UID(0)
	for _, r := range set.Ranges {
		if r.Stop == 0 || r.Stop == math.MaxUint32 {
			from = max(from, UID(r.Start))
		}
	}
	return from
}

// witness passes on that the client asked for everything from a UID on, if that
// says something. A mailbox that cannot take it answers nevertheless.
func (s *session) witness(from UID) error {
	b := s.box
	w, ok := b.mailbox.(Witness)
	if !ok || from <= b.told.UIDNext() {
		return nil
	}
	err := w.Evidence(s.ctx, from)
	if err != nil && isMailError(err) {
		level.Debug(s.log).Log("msg", "evidence not taken", "err", err)
		return nil
	}
	return err
}
