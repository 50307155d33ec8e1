package mailstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// tellContents tells of contents that came and went with a transaction that was committed.
func (t *tx) tellContents() {
	if tell := t.a.r.opts.Contents; tell != nil && len(t.came)+len(t.went) > 0 {
		tell(t.a.id, t.came, t.went)
	}
}

// ContentsOf returns the contents that messages of an account refer to, each once and
// rising. Messages that cannot be read are left out.
func (r *Replica) ContentsOf(ctx context.Context, account crdt.AccountID) (list []crdt.Root, err error) {
	err = r.inStore(func() error {
		prefix := r.keys.record(nil, account, recMessage)
		it, err := r.store.db.NewIter(iterBounds(prefix, after(prefix)))
		if err != nil {
			return err
		}
		var m crdt.Message
		for ok := it.First(); ok && ctx.Err() == nil; ok = it.Next() {
			v, err := it.ValueAndErr()
			if err != nil {
				return errors.Join(err, it.Close())
			}
			if m.UnmarshalBinary(v) == nil {
				list = append(list, m.Root)
			}
		}
		return errors.Join(ctx.Err(), it.Close())
	})
	if err != nil {
		return nil, fmt.Errorf("contents of account %d: %w", account, unreadableBlock(err))
	}
	slices.SortFunc(list, func(a, b crdt.Root) int { return slices.Compare(a[:], b[:]) })
	return slices.Compact(list), nil
}

// ReadContents reads all contents that messages of an account refer to, and returns
// how many there are. The error, ErrUnavailable, is about the first one that is not
// here as it was written.
func (r *Replica) ReadContents(ctx context.Context, account crdt.AccountID) (int, error) {
	s := &Account{a: r.acquire(account)}
	defer r.release(s.a)
	if err := s.enter(ctx); err != nil { // it is in quarantine, or elsewhere
		return 0, err
	}
	s.leave()
	list, err := r.ContentsOf(ctx, account)
	if err != nil {
		return 0, err
	}
	for _, root := range list {
		if _, err := r.checkContent(ctx, root); err != nil && !errors.Is(err, ErrExpunged) {
			return 0, fmt.Errorf("content %x: %w", root, err)
		}
	}
	return len(list), nil
}

// LocalContent opens a content, with what was computed of it when it was appended, as far
// as it is on this disk: what is missing is not got from other members. Errors, of the
// body's reads too: ErrUnavailable for what is missing or damaged, ErrExpunged where no
// message refers to it, although it may lie on the disk until all members know that.
func (r *Replica) LocalContent(ctx context.Context, root crdt.Root) (*Body, []byte, error) {
	if err := r.contents.pin(ctx, root); err != nil {
		return nil, nil, err
	}
	b := &Body{r: r, root: root, pinned: true, local: true}
	var structure []byte
	err := r.inStore(func() error {
		live, err := r.isLive(root)
		if err == nil && !live {
			err = ErrExpunged
		}
		if err != nil {
			return err
		}
		t, err := r.trailer(root)
		b.size, structure = int64(t.size), t.structure
		return err
	})
	if err != nil {
		b.Close()
		return nil, nil, err
	}
	return b, structure, nil
}

// Room returns ErrDiskFull if so many bytes more would leave too little room on the disk.
func (r *Replica) Room(n int64) error {
	return r.inStore(func() error { return r.store.room(n) })
}
