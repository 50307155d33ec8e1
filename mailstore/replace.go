package mailstore

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Replace adds a staged message to a mailbox and removes one from this: two
// operations in one batch, so that both are there or neither. ErrExpunged if the
// message is gone.
func (m *Mailbox) Replace(ctx context.Context, message crdt.Tag, to string, by NewMessage) (Appended, *View, error) {
	prepare := func(t *tx, box crdt.MailboxID, added []crdt.Added) ([]crdt.Payload, error) {
		var less Amount
		targets, err := t.present(m.box.id, []crdt.Tag{message}, func(_ int, x *crdt.Message) bool {
			less = Amount{Storage: x.Size, Messages: 1}
			return true
		})
		if err != nil {
			return nil, err
		}
		if len(targets) == 0 {
			return nil, ErrExpunged
		}
		if err := m.s.fits(t, amount(added), less); err != nil {
			return nil, err
		}
		put, err := t.site().PrepareAppend(box, added, true)
		if err != nil {
			return nil, err
		}
		take, err := t.site().PrepareExpunge(targets)
		if err != nil {
			return nil, err
		}
		return []crdt.Payload{put, take}, nil
	}
	err := m.writable()
	var out Appended
	if err == nil {
		out, err = m.s.add(ctx, to, []NewMessage{by}, prepare, (*tx).announce)
	}
	if err != nil {
		return Appended{}, nil, fmt.Errorf("replace in %q by one in %q: %w", m.name, to, err)
	}
	return out, m.View(), nil
}
