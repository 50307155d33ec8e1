package measure

import "github.com/go-pluto/pluto/crdt"

// state is a replica's state for the length of a transaction: it says whether
// sessions watch the mailbox, and notes what the transaction changed, as the
// mailstore's transaction does.
type state struct {
	*crdt.Memory
	watched bool
	changed []crdt.Tag             // messages written, in order, perhaps twice
	awaits  map[crdt.Instance]bool // whether what it concerns awaits another UID now
}

// begin forgets the transaction before.
func (s *state) begin() {
	s.changed = s.changed[:0]
	clear(s.awaits)
}

// Mailbox implements crdt.State.
func (s *state) Mailbox(id crdt.MailboxID) (*crdt.Mailbox, error) {
	b, err := s.Memory.Mailbox(id)
	if b != nil {
		b.Watched = s.watched
	}
	return b, err
}

// PutMessage implements crdt.State.
func (s *state) PutMessage(box crdt.MailboxID, m *crdt.Message) error {
	s.changed = append(s.changed, m.Tag)
	return s.Memory.PutMessage(box, m)
}

// Await implements crdt.State.
func (s *state) Await(i crdt.Instance) error {
	s.awaits[i] = true
	return s.Memory.Await(i)
}

// Settle implements crdt.State.
func (s *state) Settle(i crdt.Instance) error {
	s.awaits[i] = false
	return s.Memory.Settle(i)
}

// waits reports whether the transaction left a message that awaits another UID.
func (s *state) waits() bool {
	for _, w := range s.awaits {
		if w {
			return true
		}
	}
	return false
}
