package memmail

import (
	"context"

	"github.com/go-pluto/pluto/imap"
)

var _ imap.Roaming = (*session)(nil)

// Attempt implements [imap.Roaming]; a replayed command is executed again.
func (s *session) Attempt(uint32) {}

// Done implements [imap.Roaming].
func (s *session) Done(context.Context) (imap.Appended, bool, error) {
	return imap.Appended{}, false, nil
}

// Resume implements [imap.Roaming]: what has a MODSEQ above that of the flags that
// the client knows may have changed.
func (s *session) Resume(_ context.Context, told imap.Told) (imap.Mailbox, imap.View, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, err := s.box(told.Name)
	if err != nil || b.id != told.MailboxID || b.uidValidity != told.UIDValidity {
		return nil, nil, imap.ErrNonexistent
	}
	v := &view{uidNext: told.UIDNext, high: told.High}
	for _, r := range told.UIDs {
		for uid := r[0]; uid <= r[1]; uid++ {
			m := imap.Message{UID: uid}
			if i, ok := b.view.Find(uid); ok {
				if m = b.view.messages[i]; m.ModSeq > told.Flags {
					m.ModSeq = 0
				}
			}
			v.messages = append(v.messages, m)
		}
	}
	return s.watch(b, told.ReadOnly), v, nil
}
