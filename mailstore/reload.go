package mailstore

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// ErrLoading is returned by ReloadAccount while accounts are being loaded.
var ErrLoading = errors.New("accounts are being loaded already")

// ReloadAccount loads one account anew from a peer's snapshot, whose pieces next
// returns until io.EOF, and so ends its quarantine. It returns when all is
// durable. If it is interrupted when all pieces have come, the next start goes on
// with it, else nothing has changed. Errors as those of FeedLoad and MergeLoad.
func (r *Replica) ReloadAccount(ctx context.Context, user crdt.AccountID, next func() ([]byte, error)) error {
	if _, err := r.LoadProgress(); err == nil {
		return ErrLoading
	} else if !errors.Is(err, ErrNoLoad) {
		return err
	}
	if err := r.BeginLoad(SnapshotList{Accounts: []crdt.AccountID{user}}); err != nil {
		return err
	}
	for {
		piece, err := next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = r.FeedLoad(piece)
		}
		if err != nil {
			return errors.Join(err, r.endReload(user))
		}
	}
	if err := r.MergeLoad(ctx, user); err != nil {
		return errors.Join(err, r.endReload(user))
	}
	return r.FinishLoad()
}

// endReload forgets a reload that failed. What was merged of it stays; the
// account stays in quarantine until another one succeeds.
func (r *Replica) endReload(user crdt.AccountID) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	r.loading.Lock()
	defer r.loading.Unlock()
	l, err := r.loadRecordIn(r.store.db, user)
	if err != nil || l.merging() {
		return err // the next start goes on
	}
	load := r.keys.kind(nil, spaceState, kindLoad)
	if err := r.store.db.DeleteRange(load, after(load), pebble.Sync); err != nil {
		return fmt.Errorf("end a reload: %w", r.store.fail(err))
	}
	r.SuspendCheckpoints(false)
	return nil
}

// resumeReload is part of opening a replica: it goes on with a reload that was
// interrupted. Other loads are for whoever replicates to go on with.
func (r *Replica) resumeReload() error {
	v, err := r.store.get(r.keys.load(nil))
	if err != nil || v == nil {
		return err
	}
	if vector, err := crdt.DecodeVC(v); err != nil || len(vector) > 0 {
		return err
	}
	var users []crdt.AccountID
	if err := r.eachLoad(func(id crdt.AccountID, _ *accountLoad) error {
		users = append(users, id)
		return nil
	}); err != nil {
		return err
	}
	for _, id := range users {
		if err := r.MergeLoad(r.ctx, id); err != nil {
			r.warn("a reload of an account was interrupted", fmt.Errorf("account %d: %w", id, err))
			return r.endReload(id)
		}
	}
	return r.FinishLoad()
}
