package mailstore

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// epochs is how far the replica is with the group's epoch: the largest that it
// was told of, and the last to which all accounts that it knew were raised.
type epochs struct{ want, done uint32 }

func (e epochs) append(b []byte) []byte {
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, e.want), e.done)
}

func (r *Replica) loadEpochs() error {
	b, err := r.store.get(r.keys.epochs(nil))
	if err != nil || b == nil {
		return err
	}
	if len(b) != 8 {
		return fmt.Errorf("%w: epochs", errCorrupt)
	}
	r.epochs.want, r.epochs.done = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
	return nil
}

// Epoch returns the largest epoch of the group that the replica was told of, and
// whether all accounts were raised to it.
func (r *Replica) Epoch() (epoch uint32, done bool) {
	r.epochs.Lock()
	defer r.epochs.Unlock()
	return r.epochs.want, r.epochs.want == r.epochs.done
}

// RaiseEpoch is called at each member that stays when another one was evicted
// (crdt.md 6.4), with a number that counts evictions. Every account then skips
// what the evicted member may have shown without anybody having heard of it. The
// epoch is durable before the first account is raised: when it is interrupted, by
// ctx or a crash, it goes on where it was if it is called again with that epoch or
// a later one, and accounts that are used meanwhile or seen later are raised when
// they are opened. When several members do it at once, nothing is done twice that
// one knew of from the other.
func (r *Replica) RaiseEpoch(ctx context.Context, epoch uint32) error {
	r.epochs.raising.Lock()
	defer r.epochs.raising.Unlock()
	if err := r.setEpochs(func(e *epochs) { e.want = max(e.want, epoch) }); err != nil {
		return fmt.Errorf("raise epoch: %w", err)
	}
	want, done := r.Epoch()
	if done {
		return nil
	}
	accounts, err := r.accountIDs()
	if err != nil {
		return fmt.Errorf("raise epoch: %w", err)
	}
	for _, id := range accounts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("raise epoch: %w", err)
		}
		if err := r.raiseAccount(ctx, id); err != nil {
			return fmt.Errorf("raise epoch of account %d: %w", id, err)
		}
	}
	return r.setEpochs(func(e *epochs) { e.done = max(e.done, want) })
}

// setEpochs changes what is remembered, durably.
func (r *Replica) setEpochs(f func(*epochs)) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	if err := r.store.Err(); err != nil {
		return err
	}
	r.epochs.Lock()
	defer r.epochs.Unlock()
	next := r.epochs.epochs
	if f(&next); next == r.epochs.epochs {
		return nil
	}
	if err := r.store.db.Set(r.keys.epochs(nil), next.append(nil), pebble.Sync); err != nil {
		return fmt.Errorf("write epochs: %w", err)
	}
	r.epochs.epochs = next
	return nil
}

// raiseAccount raises one account, unless a peer's operation has. One that is
// quarantined is left to the others; one that lives elsewhere is raised when it is
// used here again.
func (r *Replica) raiseAccount(ctx context.Context, id crdt.AccountID) error {
	s := &Account{a: r.acquire(id)}
	defer r.release(s.a)
	c, err := s.commit(ctx, func(t *tx) ([]crdt.Payload, error) { return t.raiseEpoch() }, nil)
	if err != nil {
		if !s.isServed() {
			return nil
		}
		return err
	}
	if len(c.dots) == 0 {
		s.a.settle(c, nil)
		return nil
	}
	return r.conclude(ctx, c)
}

func (s *Account) isServed() bool {
	s.a.mu.Lock()
	defer s.a.mu.Unlock()
	return s.a.quarantined == nil && !s.a.left()
}

// raiseEpoch returns what raises the account to the group's epoch, nothing if it
// is there.
func (t *tx) raiseEpoch() ([]crdt.Payload, error) {
	epoch, _ := t.a.r.Epoch()
	if t.a.rec.Epoch >= epoch {
		return nil, nil
	}
	return payload(t.site().PrepareEpoch(epoch))
}
