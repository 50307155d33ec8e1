package crdt

import "fmt"

// Shown is called when a session comes from another replica, which told its
// client that UIDNEXT is next: the strongest evidence there is (crdt.md 4.3), and
// without the bounds of [Site.Evidence], because a replica says it and no client.
// Nothing below next becomes visible here any more under a UID that the client
// does not expect. N, if it has changed, must be durable before UIDNEXT is told.
func (s *Site) Shown(box MailboxID, next UID) error {
	b, err := s.liveMailbox(box)
	if err != nil {
		return fmt.Errorf("shown: %w", err)
	}
	if next.Era() != b.Era() || next <= b.H+1 {
		return nil
	}
	b.H = min(next-1, NewUID(b.Era(), MaxNumber))
	b.N = max(b.N, b.H)
	if err := s.State.PutMailbox(b); err != nil {
		return fmt.Errorf("shown: %w", err)
	}
	return nil
}

// PrepareReissue gives shown messages other UIDs, above all that were told here:
// a client that has come from another replica was not told of them there, and
// expects nothing new below the UIDNEXT that it knows. Those that are gone are
// left out. Errors: [ErrNonexistent], [ErrUIDSpace].
func (s *Site) PrepareReissue(box MailboxID, tags []Tag) ([]Payload, error) {
	b, err := s.liveMailbox(box)
	if err != nil {
		return nil, fmt.Errorf("re-issue: %w", err)
	}
	var list []*Message
	for _, tag := range tags {
		m, err := s.State.Message(box, tag)
		if err != nil {
			return nil, fmt.Errorf("re-issue: %w", err)
		}
		if m != nil {
			list = append(list, m)
		}
	}
	payloads, err := s.reissue(b, list)
	if err != nil {
		return nil, fmt.Errorf("re-issue: %w", err)
	}
	return payloads, nil
}
