package mailstore

import (
	"context"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Amount is how much mail there is, or may be (RFC 9208).
type Amount struct {
	Storage  uint64 // bytes
	Messages uint64
}

// SetQuota limits how much mail the account may have while this session adds some;
// 0 stands for no limit. What is there already stays, whatever the limit, and so
// does what other replicas add at the same time: the counters that it is compared
// with are those of the mailboxes, which converge.
func (s *Account) SetQuota(limit Amount) { s.quota = limit }

// Usage returns the account's limits, and how much mail it has; that is not counted
// if nothing is limited. It costs a record for each mailbox, all of which are in
// memory.
func (s *Account) Usage(ctx context.Context) (limit, used Amount, err error) {
	if s.quota == (Amount{}) {
		return Amount{}, Amount{}, nil
	}
	err = s.look(ctx, func(t *tx) error {
		used, err = t.usage()
		return err
	})
	if err != nil {
		return Amount{}, Amount{}, fmt.Errorf("usage: %w", err)
	}
	return s.quota, used, nil
}

// usage sums up the counters of all mailboxes.
func (t *tx) usage() (Amount, error) {
	if t.a.names == nil {
		if err := t.loadNames(); err != nil {
			return Amount{}, err
		}
	}
	var sum Amount
	for _, id := range t.a.names {
		b, err := t.peek(id)
		if err != nil {
			return Amount{}, err
		}
		if b != nil {
			sum.Storage += b.Bytes
			sum.Messages += uint64(b.Messages)
		}
	}
	return sum, nil
}

// fits returns ErrOverQuota if there is no room for what is to be added, after
// less has been taken away. What makes the account no larger always fits.
func (s *Account) fits(t *tx, more, less Amount) error {
	if s.quota == (Amount{}) {
		return nil
	}
	used, err := t.usage()
	if err != nil {
		return err
	}
	if !fits(s.quota.Storage, used.Storage, more.Storage, less.Storage) {
		return fmt.Errorf("%w: %d bytes more than %d of %d", ErrOverQuota, more.Storage, used.Storage, s.quota.Storage)
	}
	if !fits(s.quota.Messages, used.Messages, more.Messages, less.Messages) {
		return fmt.Errorf("%w: %d messages more than %d of %d", ErrOverQuota, more.Messages, used.Messages, s.quota.Messages)
	}
	return nil
}

func fits(limit, used, more, less uint64) bool {
	return limit == 0 || more <= less || used+more <= limit+less
}

// amount returns how much messages are that are to be added.
func amount(added []crdt.Added) Amount {
	sum := Amount{Messages: uint64(len(added))}
	for i := range added {
		sum.Storage += added[i].Size
	}
	return sum
}
