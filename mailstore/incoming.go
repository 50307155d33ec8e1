package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// PutBodyChunk stores a piece of a content that an operation will refer to or
// already does. It is durable with the next Apply. See comm.Store.
func (r *Replica) PutBodyChunk(root crdt.Root, index int, data []byte, last bool) error {
	if index < 0 || len(data) > chunkSize || int64(index) > r.opts.MaxMessageSize/chunkSize+1 {
		return fmt.Errorf("%w: piece %d (%d bytes) of a message", ErrTooBig, index, len(data))
	}
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	if err := r.store.Err(); err != nil {
		return err
	}
	if err := r.contents.pin(r.ctx, root); err != nil {
		return err
	}
	defer r.contents.unpin(root)
	have, err := r.store.get(r.keys.content(nil, kindStructure, root))
	if err != nil {
		return err
	}
	if have != nil && !r.puller.busy(root) { // of what is here a piece may be missing
		return r.restage(root)
	}
	if err := r.store.room(int64(len(data))); err != nil {
		return err
	}
	if last {
		return r.completeContent(root, index, data)
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	if err := r.markStaged(b, root); err != nil {
		return err
	}
	if err := b.Set(r.keys.chunk(nil, root, uint32(index)), data, nil); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// completeContent stores the trailer of a content received from a peer.
func (r *Replica) completeContent(root crdt.Root, index int, data []byte) error {
	t, err := parseTrailer(data)
	if err != nil {
		return err
	}
	if int(t.chunks()) != index {
		return fmt.Errorf("%w: trailer of a message of %d pieces behind %d", errCorrupt, t.chunks(), index)
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	if err := r.markStaged(b, root); err != nil {
		return err
	}
	if err := b.Set(r.keys.content(nil, kindStructure, root), data, nil); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// keepContent reports whether a content is here, and has it kept for some time: an
// operation that refers to it is to come.
func (r *Replica) keepContent(ctx context.Context, root crdt.Root) (here bool, err error) {
	if err := r.contents.pin(ctx, root); err != nil {
		return false, err
	}
	defer r.contents.unpin(root)
	err = r.inStore(func() error {
		have, err := r.store.get(r.keys.content(nil, kindStructure, root))
		if here = have != nil; !here || err != nil {
			return err
		}
		return r.restage(root)
	})
	return here, err
}

// restage marks a content that is here as staged: should what refers to it be removed
// before the operation comes for which it was brought again, it stays
// ([tx.DeleteContent]). Whoever calls it has pinned it.
func (r *Replica) restage(root crdt.Root) error {
	b := r.store.db.NewBatch()
	defer b.Close()
	if err := r.mark(b, root); err != nil {
		return err
	}
	return b.Commit(pebble.NoSync)
}

// markStaged puts a staging marker in b, unless the content is referred to:
// then it is to stay, complete or not.
func (r *Replica) markStaged(b *pebble.Batch, root crdt.Root) error {
	count, err := r.store.get(r.keys.content(nil, kindCount, root))
	if err != nil || count != nil {
		return err
	}
	return r.mark(b, root)
}

// mark puts a staging marker in b: since when, in Unix milliseconds.
func (r *Replica) mark(b *pebble.Batch, root crdt.Root) error {
	return b.Set(r.keys.content(nil, kindStaging, root), binary.BigEndian.AppendUint64(nil, uint64(r.now())), nil)
}

// staged is a content that was staged.
type staged struct {
	root  crdt.Root
	since time.Time // of its last piece
}

// sweepStaged deletes contents that were staged before a time and never referred
// to: with the zero time all, as those of clients and peers that were cut off by
// the last stop. A content that instances are counted of stays even if it is
// marked: two streams may have brought it, and one of them marked it again when
// its operation was applied. If the operation of one that is swept up comes late,
// the content is pulled from a peer.
func (r *Replica) sweepStaged(before time.Time) error {
	list, err := r.listStaged()
	if err != nil {
		return fmt.Errorf("list staged messages: %w", err)
	}
	for _, x := range list {
		if !before.IsZero() && x.since.After(before) {
			continue
		}
		if err := r.sweep(x.root, before.IsZero()); err != nil {
			return fmt.Errorf("sweep staged message: %w", err)
		}
	}
	return nil
}

func (r *Replica) listStaged() (list []staged, err error) {
	prefix := r.keys.kind(nil, spaceContent, kindStaging)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		if err != nil {
			return nil, errors.Join(err, it.Close())
		}
		key := it.Key()[len(prefix):]
		if len(key) != rootLen || len(v) != 8 {
			return nil, errors.Join(fmt.Errorf("%w: staging marker", errCorrupt), it.Close())
		}
		list = append(list, staged{crdt.Root(key), time.UnixMilli(int64(binary.BigEndian.Uint64(v)))})
	}
	return list, it.Close()
}

// sweep deletes one staged content, or the marker of one that is in use. starts: one
// whose account is loaded anew stays, because that is gone on with.
func (r *Replica) sweep(root crdt.Root, starts bool) error {
	free, release := r.contents.reserve([]removal{{Removal: crdt.Removal{Root: root}}})
	defer release()
	if len(free) == 0 {
		return nil
	}
	count, err := r.store.get(r.keys.content(nil, kindCount, root))
	if err != nil {
		return err
	}
	c, bad := parseCount(count)
	b := r.store.db.NewBatch()
	defer b.Close()
	switch loaded := count != nil && bad == nil && c.Garbage(); {
	case loaded && starts:
		return nil
	case count == nil || loaded:
		err = r.deleteContent(b, root)
	}
	return errors.Join(err, b.Delete(r.keys.content(nil, kindStaging, root), nil), b.Commit(pebble.NoSync))
}
