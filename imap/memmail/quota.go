package memmail

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/imap"
)

// Quota implements [imap.Account].
func (a *account) Quota(context.Context) (imap.Quota, error) {
	if err := a.store.fail("quota"); err != nil {
		return imap.Quota{}, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.quota(), nil
}

// quota counts what is there. The caller holds mu.
func (a *account) quota() imap.Quota {
	q := a.store.Limits
	for _, b := range a.boxes {
		q.Messages.Used += uint64(len(b.view.messages))
		for i := range b.view.messages {
			q.Storage.Used += uint64(b.view.messages[i].Size)
		}
	}
	return q
}

// fits says why there is no room for messages in the place of others. The caller
// holds mu.
func (a *account) fits(added, gone []imap.Message) error {
	q := a.quota()
	more, less := sizeOf(added), sizeOf(gone)
	if l := q.Storage.Limit; l > 0 && more > less && q.Storage.Used+more-less > l {
		return fmt.Errorf("%d bytes: %w", more, imap.ErrOverQuota)
	}
	if l := q.Messages.Limit; l > 0 && len(added) > len(gone) && q.Messages.Used+uint64(len(added)-len(gone)) > l {
		return fmt.Errorf("%d messages: %w", len(added), imap.ErrOverQuota)
	}
	return nil
}

func sizeOf(messages []imap.Message) (sum uint64) {
	for i := range messages {
		sum += uint64(messages[i].Size)
	}
	return sum
}
