package mailstore

import (
	"crypto/rand"
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
// recorded, as the deletion of contents will need (crdt.md 6.2). This version
// deletes no content but that which no operation ever referred to.
const (
	chunkSize = 256 << 10
	// MaxStructure is the largest structure, in bytes.
	MaxStructure = chunkSize - 64

	trailerVersion = 1
)

// newRoot draws the identity of a content: 6 bytes of time, so that contents
// lie on the disk in the order in which they came, and 10 random ones.
func newRoot(now time.Time) crdt.Root {
	var root crdt.Root
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(now.UnixMilli()))
	copy(root[:6], ms[2:])
	rand.Read(root[6:]) // never fails (crypto/rand)
	return root
}

func random64() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
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
// referred to but not here yet, ErrExpunged if nothing is known of it.
func (r *Replica) trailer(root crdt.Root) (trailer, error) {
	b, err := r.store.get(r.keys.content(nil, kindStructure, root))
	if err != nil {
		return trailer{}, err
	}
	if b != nil {
		return parseTrailer(b)
	}
	count, err := r.store.get(r.keys.content(nil, kindCount, root))
	if err != nil {
		return trailer{}, err
	}
	if count == nil {
		return trailer{}, ErrExpunged
	}
	return trailer{}, fmt.Errorf("%w: the message's content is not on this replica yet", ErrUnavailable)
}

// Body is random access to a message's bytes. A read fetches only the chunks
// that it needs and keeps nothing open. Not for concurrent use.
type Body struct {
	r    *Replica
	root crdt.Root
	size int64

	tail      []byte // of a staged message: the chunk that is still in memory
	tailIndex uint32
}

// Size returns the number of bytes.
func (b *Body) Size() int64 { return b.size }

// ReadAt reads from offset off. A piece that is missing is ErrUnavailable.
func (b *Body) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("read of a message at a negative offset")
	}
	done := 0
	for done < len(p) {
		if off >= b.size {
			return done, io.EOF
		}
		n, err := b.read(p[done:], off)
		if err != nil {
			return done, err
		}
		done += n
		off += int64(n)
	}
	return done, nil
}

// read copies what one chunk has of [off, off+len(p)).
func (b *Body) read(p []byte, off int64) (int, error) {
	index := uint32(off / chunkSize)
	if b.tail != nil && index == b.tailIndex {
		return copy(p, b.tail[off%chunkSize:]), nil
	}
	s := b.r.store
	if err := s.enter(); err != nil {
		return 0, err
	}
	defer s.leave()
	data, closer, err := s.db.Get(b.r.keys.chunk(nil, b.root, index))
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, fmt.Errorf("%w: a piece of the message's content is missing", ErrUnavailable)
	}
	if err != nil {
		return 0, fmt.Errorf("read message: %w", err)
	}
	if want := min(b.size-int64(index)*chunkSize, chunkSize); int64(len(data)) != want {
		return 0, errors.Join(fmt.Errorf("%w: piece of a message has %d bytes, not %d", errCorrupt, len(data), want), closer.Close())
	}
	return copy(p, data[off%chunkSize:]), closer.Close()
}

// Close ends the use.
func (b *Body) Close() error { return nil }

// body opens a content.
func (r *Replica) body(root crdt.Root) (*Body, error) {
	t, err := r.trailer(root)
	if err != nil {
		return nil, err
	}
	return &Body{r: r, root: root, size: int64(t.size)}, nil
}

// BodyChunk returns a piece of a complete content, and whether it is the last
// one; nil and false when the content is not here. See comm.Store.
func (r *Replica) BodyChunk(root crdt.Root, index int) ([]byte, bool, error) {
	if err := r.store.enter(); err != nil {
		return nil, false, err
	}
	defer r.store.leave()
	t, err := r.trailer(root)
	if errors.Is(err, ErrUnavailable) || errors.Is(err, ErrExpunged) {
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
	have, err := r.store.get(r.keys.content(nil, kindStructure, root))
	if err != nil || have != nil {
		return err
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

// markStaged puts a staging marker in b, unless the content is referred to:
// then it is to stay, complete or not.
func (r *Replica) markStaged(b *pebble.Batch, root crdt.Root) error {
	count, err := r.store.get(r.keys.content(nil, kindCount, root))
	if err != nil || count != nil {
		return err
	}
	return b.Set(r.keys.content(nil, kindStaging, root), nil, nil)
}

// sweepStaged deletes contents that were staged and never referred to: those
// of clients and peers that were cut off by the last stop. A content that
// instances are counted of stays even if it is marked: two streams may have
// brought it, and one of them marked it again when its operation was applied.
func (r *Replica) sweepStaged() error {
	prefix := r.keys.kind(nil, spaceContent, kindStaging)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return err
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	for ok := it.First(); ok; ok = it.Next() {
		var root crdt.Root
		if copy(root[:], it.Key()[len(prefix):]) != rootLen {
			continue
		}
		count, e := r.store.get(r.keys.content(nil, kindCount, root))
		err = errors.Join(err, e, b.Delete(it.Key(), nil))
		if count != nil || e != nil {
			continue
		}
		chunks := r.keys.chunks(nil, root)
		err = errors.Join(err,
			b.DeleteRange(chunks, after(chunks), nil),
			b.Delete(r.keys.content(nil, kindStructure, root), nil))
	}
	if err := errors.Join(err, it.Close()); err != nil {
		return fmt.Errorf("sweep staged messages: %w", err)
	}
	if b.Empty() {
		return nil
	}
	return b.Commit(pebble.Sync)
}
