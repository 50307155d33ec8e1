package mailstore

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2"
	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/crdt"
)

// errBlock says that the database found a block of the disk to be other than it
// was written: its checksum is wrong.
var errBlock = errors.New("block with a wrong checksum")

// unreadableBlock marks an error of the database that is about a damaged block.
func unreadableBlock(err error) error {
	if err != nil && pebble.IsCorruptionError(err) {
		return fmt.Errorf("%w: %w", errBlock, err)
	}
	return err
}

// maxMend bounds the neighbours that are looked at to find the end of a damage.
const maxMend = 10000

// cutOut takes a damaged block that pieces of a content lie in out of the
// database, which cannot compact a table that it cannot read. What else lay there
// is missing then, and is got from peers as the content itself is. The cut goes
// from the last readable piece before, which is written again, to the first one
// behind.
func (r *Replica) cutOut(root crdt.Root) error {
	r.store.mending.Lock()
	defer r.store.mending.Unlock()
	if sound, err := r.readable(root); sound || err != nil {
		return err // somebody else has
	}
	start, piece, err := r.soundBefore(root)
	if err != nil {
		return fmt.Errorf("cut out a damaged block: %w", err)
	}
	end, err := r.soundBehind(root)
	if err != nil {
		return fmt.Errorf("cut out a damaged block: %w", err)
	}
	if err := r.store.db.Excise(context.Background(), pebble.KeyRange{Start: start, End: end}); err != nil {
		return fmt.Errorf("cut out a damaged block: %w", err)
	}
	level.Warn(r.logger).Log("msg", "damaged block cut out of the database; what lay there comes from peers", "content", fmt.Sprintf("%x", root))
	if piece == nil {
		return nil
	}
	return r.store.db.Set(start, piece, pebble.Sync)
}

// readable reports whether no block under the pieces of a content is damaged.
func (r *Replica) readable(root crdt.Root) (bool, error) {
	prefix := r.keys.chunks(nil, root)
	it, err := r.store.db.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return false, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		if _, err = it.ValueAndErr(); err != nil {
			break
		}
	}
	if err == nil {
		err = it.Error()
	}
	if closing := it.Close(); err == nil {
		err = closing
	}
	if damaged(err) {
		return false, nil
	}
	return err == nil, err
}

// soundBefore returns the key and the bytes of the last readable piece of the
// contents before one; with nil bytes the beginning of all pieces.
func (r *Replica) soundBefore(root crdt.Root) (key, piece []byte, err error) {
	prefix := r.keys.kind(nil, spaceContent, kindStructure)
	it, err := r.store.db.NewIter(iterBounds(prefix, r.keys.content(nil, kindStructure, root)))
	if err != nil {
		return nil, nil, err
	}
	defer it.Close()
	for ok, n := it.Last(), 0; ok && n < maxMend; ok, n = it.Prev(), n+1 {
		t, err := parseTrailer(it.Value())
		if err != nil || t.chunks() == 0 {
			continue
		}
		key := r.keys.chunk(nil, crdt.Root(it.Key()[len(prefix):]), t.chunks()-1)
		if piece, err := r.store.get(key); err == nil && piece != nil {
			return key, piece, nil
		}
	}
	return r.keys.chunks(nil, crdt.Root{}), nil, it.Error()
}

// soundBehind returns the key of the first readable piece of the contents behind
// one. If there is none the cut goes no further than a second behind it: what
// comes now lies there.
func (r *Replica) soundBehind(root crdt.Root) ([]byte, error) {
	prefix := r.keys.kind(nil, spaceContent, kindStructure)
	it, err := r.store.db.NewIter(iterBounds(append(r.keys.content(nil, kindStructure, root), 0), after(prefix)))
	if err != nil {
		return nil, err
	}
	defer it.Close()
	for ok, n := it.First(), 0; ok && n < maxMend; ok, n = it.Next(), n+1 {
		key := r.keys.chunk(nil, crdt.Root(it.Key()[len(prefix):]), 0)
		if piece, err := r.store.get(key); err == nil && piece != nil {
			return key, nil
		}
	}
	var ms [8]byte
	copy(ms[2:], root[:6])
	binary.BigEndian.PutUint64(ms[:], binary.BigEndian.Uint64(ms[:])+1000)
	var end crdt.Root
	copy(end[:6], ms[2:])
	return r.keys.chunks(nil, end), it.Error()
}

// cutDamage cuts the log of an origin, of whose operations from..last some cannot be
// read, behind the last of those, and returns where it begins then. What else lay in a
// damaged block of the log is gone with it.
func (r *Replica) cutDamage(o crdt.Origin, from, last uint64) (cut uint64, err error) {
	cut, err = r.lastUnreadable(o, from, last)
	if err != nil {
		return from - 1, err
	}
	if err := r.CutLog(crdt.VC{}.With(o, cut)); err != nil {
		return from - 1, err
	}
	r.store.mending.Lock()
	defer r.store.mending.Unlock()
	first, behind := r.keys.log(nil, crdt.Dot{Origin: o, N: 1}), r.keys.log(nil, crdt.Dot{Origin: o, N: cut + 1})
	if err := r.store.db.Excise(context.Background(), pebble.KeyRange{Start: first, End: behind}); err != nil {
		// It is in no use any more; but its table cannot be compacted.
		r.warn("cut a damaged block out of the database", err)
	}
	level.Warn(r.logger).Log("msg", "log cut behind a damage; who lacks what was there takes a snapshot", "origin", o, "cut", cut)
	return cut, nil
}

// lastUnreadable returns the last of an origin's operations from..last that cannot be
// read.
func (r *Replica) lastUnreadable(o crdt.Origin, from, last uint64) (uint64, error) {
	it, err := r.store.db.NewIter(iterBounds(r.keys.log(nil, crdt.Dot{Origin: o, N: from}), append(r.keys.log(nil, crdt.Dot{Origin: o, N: last}), 0)))
	if err != nil {
		return 0, err
	}
	n := last
	for ok := it.Last(); ok && n >= from; ok = it.Prev() {
		d := crdt.Dot{Origin: o, N: n}
		v, err := it.ValueAndErr()
		if err == nil {
			_, err = parseLogEntry(d, v)
		}
		if err != nil || !bytes.Equal(it.Key(), r.keys.log(nil, d)) {
			break
		}
		n--
	}
	if err := it.Close(); err != nil && !damaged(err) {
		return 0, err
	}
	return n, nil
}
