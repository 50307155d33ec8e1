package mailstore

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Evidence says that the client asked for every message from a UID of the
// mailbox on (number is what IMAP calls the UID): it was told, here or by another
// replica, that UIDNEXT is at least that. What arrives later below it gets another
// UID, so that the client finds it (crdt.md 4.3). It returns when that survives
// a crash.
func (m *Mailbox) Evidence(ctx context.Context, number uint32) error {
	v := m.View()
	from := crdt.NewUID(v.Era(), number)
	if from <= v.UIDNext() {
		return nil
	}
	err := m.s.look(ctx, func(t *tx) error { return t.site().Evidence(m.box.id, from) })
	if err != nil {
		return fmt.Errorf("evidence in %q: %w", m.name, err)
	}
	return nil
}
