package mailstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// A content is the bytes of a message with what was computed of them once. It
// is written once, by the operation that brings it, and shared by all copies.
// It lies as pieces of exactly chunkSize bytes (the last one may be shorter)
// and a trailer: size, number of pieces, structure. The trailer is written
// last: a content that has one is complete. It travels as the last chunk, so
// that a structure is computed once for all replicas.
//
// Live instances are counted for each content, and each removal of one is
// recorded until it is causally stable: then the content can go (collect.go).
const (
	chunkSize = 256 << 10
	// MaxStructure is the largest structure, in bytes.
	MaxStructure = chunkSize - 64

	trailerVersion = 1
)

// newRoot draws the identity of a content: 6 bytes of time, so that contents
// lie on the disk in the order in which they came, and 10 random ones.
func (s *Store) newRoot(now time.Time) (root crdt.Root, err error) {
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(root[:6], ms[2:])
	if _, err := io.ReadFull(s.opts.Random, root[6:]); err != nil {
		return root, fmt.Errorf("draw the identity of a message: %w", err)
	}
	return root, nil
}

func (s *Store) random64() (uint64, error) {
	var b [8]byte
	if _, err := io.ReadFull(s.opts.Random, b[:]); err != nil {
		return 0, fmt.Errorf("draw an identity: %w", err)
	}
	return binary.BigEndian.Uint64(b[:]), nil
}

type trailer struct {
	size      uint64
	structure []byte
}

func (t trailer) chunks() uint32 { return uint32((t.size + chunkSize - 1) / chunkSize) }

func (t trailer) append(b []byte) []byte {
	b = append(b, trailerVersion)
	b = binary.AppendUvarint(b, t.size)
	return append(b, t.structure...)
}

func parseTrailer(b []byte) (trailer, error) {
	if len(b) == 0 || b[0] != trailerVersion {
		return trailer{}, fmt.Errorf("%w: trailer of a message", errCorrupt)
	}
	size, n := binary.Uvarint(b[1:])
	if n <= 0 || size > 1<<40 {
		return trailer{}, fmt.Errorf("%w: size in the trailer of a message", errCorrupt)
	}
	return trailer{size: size, structure: b[1+n:]}, nil
}

// trailer returns a content's trailer; ErrUnavailable if the content is
// referred to but not here, ErrExpunged if nothing refers to it.
func (r *Replica) trailer(root crdt.Root) (trailer, error) {
	b, err := r.store.get(r.keys.content(nil, kindStructure, root))
	if err != nil {
		return trailer{}, err
	}
	if b != nil {
		t, err := parseTrailer(b)
		if err != nil {
			err = fmt.Errorf("%w: %w: %w", ErrUnavailable, errMissing, err)
		}
		return t, err
	}
	live, err := r.isLive(root)
	if err != nil {
		return trailer{}, err
	}
	if !live {
		return trailer{}, ErrExpunged
	}
	return trailer{}, fmt.Errorf("%w: %w", ErrUnavailable, errMissing)
}

// isLive reports whether there are instances with a content.
func (r *Replica) isLive(root crdt.Root) (bool, error) {
	v, err := r.store.get(r.keys.content(nil, kindCount, root))
	if err != nil || v == nil {
		return false, err
	}
	c, err := parseCount(v)
	if err != nil {
		return false, fmt.Errorf("count of content %x: %w", root, err)
	}
	return c.Live > 0, nil
}

// Body is random access to a message's bytes. A read fetches only the chunks
// that it needs. Until Close the content is not deleted. Not for concurrent use.
type Body struct {
	r    *Replica
	root crdt.Root
	size int64

	pinned bool
	local  bool // what is missing is not got from other members

	tail      []byte // of a staged message: the chunk that is still in memory
	tailIndex uint32
}

// Size returns the number of bytes.
func (b *Body) Size() int64 { return b.size }

// ReadAt reads from offset off. A piece that is missing, and that no other member
// has, is ErrUnavailable.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read of a message at a negative offset")
	}
	done := 0
	for done < len(p) {
		if off >= b.size {
			return done, io.EOF
		}
		var n int
		read := func() (err error) {
			n, err = b.read(p[done:], off)
			return err
		}
		var err error
		if b.local {
			err = b.r.inStore(read)
		} else {
			err = b.r.whole(b.r.ctx, b.root, read)
		}
		if err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	return done, nil
}

// read copies what one chunk has of [off, off+len(p)). The database is open.
func (b *Body) read(p []byte, off int64) (int, error) {
	index := uint32(off / chunkSize)
	if b.tail != nil && index == b.tailIndex {
		return copy(p, b.tail[off%chunkSize:]), nil
	}
	data, closer, err := b.r.store.db.Get(b.r.keys.chunk(nil, b.root, index))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, fmt.Errorf("%w: piece %d: %w", ErrUnavailable, index, errMissing)
	}
	if err = unreadableBlock(err); errors.Is(err, errBlock) {
		return 0, fmt.Errorf("%w: piece %d: %w: %w", ErrUnavailable, index, errMissing, err)
	}
	if err != nil {
		return 0, fmt.Errorf("read message: %w", err)
	}
	if want := min(b.size-int64(index)*chunkSize, chunkSize); int64(len(data)) != want {
		err := fmt.Errorf("%w: piece %d has %d bytes, not %d: %w: %w", ErrUnavailable, index, len(data), want, errCorrupt, errMissing)
		return 0, errors.Join(err, closer.Close())
	}
	return copy(p, data[off%chunkSize:]), closer.Close()
}

// Close ends the use.
func (b *Body) Close() error {
	if b.pinned {
		b.pinned = false
		b.r.contents.unpin(b.root)
	}
	return nil
}

// body opens a content, and gets it from other members if it is missing here. The
// first piece is looked for at once: a caller who has begun to tell what it reads
// can no longer say that it is not there.
func (r *Replica) body(ctx context.Context, root crdt.Root) (*Body, error) {
	if err := r.contents.pin(ctx, root); err != nil {
		return nil, err
	}
	b := &Body{r: r, root: root, pinned: true}
	err := r.whole(ctx, root, func() error {
		t, err := r.trailer(root)
		if err != nil || t.size == 0 {
			return err
		}
		b.size = int64(t.size)
		_, err = b.read(make([]byte, 1), 0)
		return err
	})
	if err != nil {
		b.Close()
		return nil, err
	}
	return b, nil
}

// structure returns what was computed of a content when it was appended.
func (r *Replica) structure(ctx context.Context, root crdt.Root) (s []byte, err error) {
	if err := r.contents.pin(ctx, root); err != nil {
		return nil, err
	}
	defer r.contents.unpin(root)
	err = r.whole(ctx, root, func() error {
		t, err := r.trailer(root)
		s = t.structure
		return err
	})
	return s, err
}

// BodyChunk returns a piece of a complete content, and whether it is the last
// one; nil and false when the content is not here. See comm.Store.
func (r *Replica) BodyChunk(root crdt.Root, index int) ([]byte, bool, error) {
	if err := r.store.enter(); err != nil {
		return nil, false, err
	}
	defer r.store.leave()
	t, err := r.trailer(root)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrExpunged) || damaged(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	switch n := int(t.chunks()); {
	case index < 0 || index > n:
		return nil, false, fmt.Errorf("piece %d of a message of %d pieces", index, n)
	case index == n:
		return t.append(nil), true, nil
	}
	off := int64(index) * chunkSize
	b := Body{r: r, root: root, size: int64(t.size)}
	data := make([]byte, min(b.size-off, chunkSize))
	_, err = b.read(data, off)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, errCorrupt) {
		// Damaged. Its operation must go on without it: everything that
		// this replica has for its peers lies behind.
		r.warn("content of a message is damaged", fmt.Errorf("%x: %w", root, err))
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return data, false, nil
}

// StagedChunk returns a full piece of a content that was staged here; nil when it
// has gone. See comm.Store.
func (r *Replica) StagedChunk(root crdt.Root, index int) ([]byte, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	defer r.store.leave()
	return r.store.get(r.keys.chunk(nil, root, uint32(index)))
}
