package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// SnapshotList is what a replica has to hand out: its accounts at one moment, and
// the operations that it had applied by then. An account that is not listed has
// no operation in Vector.
type SnapshotList struct {
	Vector   crdt.VC
	Cut      crdt.VC // where the log begins
	Accounts []crdt.AccountID
}

// ListSnapshots lists the accounts. Whoever loads them all has [Replica.Hold] keep
// the log behind Vector meanwhile.
func (r *Replica) ListSnapshots() (SnapshotList, error) {
	if err := r.store.enter(); err != nil {
		return SnapshotList{}, err
	}
	defer r.store.leave()
	snap := r.store.db.NewSnapshot()
	out, err := r.listSnapshots(snap)
	if err = errors.Join(err, snap.Close(), r.flushed()); err != nil {
		return SnapshotList{}, fmt.Errorf("list accounts: %w", err)
	}
	return out, nil
}

func (r *Replica) listSnapshots(snap *pebble.Snapshot) (out SnapshotList, err error) {
	if _, out.Vector, err = r.vectorIn(snap); err != nil {
		return out, err
	}
	out.Cut = r.Cut()
	kind := r.keys.kind(nil, spaceState, kindAccount)
	it, err := snap.NewIter(iterBounds(kind, after(kind)))
	if err != nil {
		return out, err
	}
	for ok := it.First(); ok; {
		id, err := parseAccount(it.Key()[len(kind):])
		if err != nil {
			return out, errors.Join(err, it.Close())
		}
		out.Accounts = append(out.Accounts, id)
		ok = id+1 != 0 && it.SeekGE(r.keys.record(nil, id+1, 0))
	}
	if err := it.Close(); err != nil {
		return out, err
	}
	return out, r.listQuarantined(snap, &out)
}

// listQuarantined adds the accounts of which nothing is here but that operations
// were withheld: they are not empty.
func (r *Replica) listQuarantined(snap *pebble.Snapshot, out *SnapshotList) error {
	prefix := r.keys.kind(nil, spaceState, kindQuarantine)
	it, err := snap.NewIter(iterBounds(prefix, after(prefix)))
	if err != nil {
		return err
	}
	for ok := it.First(); ok; ok = it.Next() {
		id, err := parseAccount(it.Key()[len(prefix):])
		if err != nil {
			return errors.Join(err, it.Close())
		}
		if at, found := slices.BinarySearch(out.Accounts, id); !found {
			out.Accounts = slices.Insert(out.Accounts, at, id)
		}
	}
	return it.Close()
}

// vectorIn reads the replica's clock and vector.
func (r *Replica) vectorIn(db pebble.Reader) (crdt.Time, crdt.VC, error) {
	b, err := getFrom(db, r.keys.vector(nil))
	if err != nil || b == nil {
		return 0, nil, err
	}
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("%w: vector", errCorrupt)
	}
	v, err := crdt.DecodeVC(b[8:])
	return crdt.Time(binary.BigEndian.Uint64(b)), v, err
}

// getFrom returns a value, nil if there is none.
func getFrom(db pebble.Reader, key []byte) ([]byte, error) {
	v, closer, err := db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return append(make([]byte, 0, len(v)), v...), closer.Close()
}

// flushed returns when everything that can be read is durable. What a peer is
// given must be: an operation that this replica loses in a crash and that lives on
// elsewhere would share its number with another one.
func (r *Replica) flushed() error {
	if err := r.store.db.LogData(nil, pebble.Sync); err != nil {
		return r.store.fail(err)
	}
	return r.store.Err()
}

// SnapshotReader hands out one account as it was at one moment, in pieces of
// bounded size. It delays no writer; what it holds of the past is given up by
// Close. Not for concurrent use.
type SnapshotReader struct {
	r       *Replica
	id      pieceID
	head    snapshotHead
	snap    *pebble.Snapshot
	it      *pebble.Iterator
	ok      bool // it is at a record that is to be handed out
	done    bool
	release func()
}

// Snapshot begins to hand out an account (crdt.md 6.3). ErrUnavailable: it is in
// quarantine here, or being loaded itself.
func (r *Replica) Snapshot(user crdt.AccountID) (*SnapshotReader, error) {
	if err := r.store.enter(); err != nil {
		return nil, err
	}
	id, err := r.store.random64()
	if err != nil {
		r.store.leave()
		return nil, err
	}
	s := &SnapshotReader{r: r, id: pieceID{snapshot: id, account: user}, snap: r.store.db.NewSnapshot()}
	s.release = r.Hold(nil)
	if err := errors.Join(s.open(), r.flushed()); err != nil {
		return nil, errors.Join(fmt.Errorf("snapshot of account %d: %w", user, err), s.Close())
	}
	return s, nil
}

func (s *SnapshotReader) open() error {
	r, user := s.r, s.id.account
	q, err := getFrom(s.snap, r.keys.quarantine(nil, user))
	if err != nil {
		return err
	}
	if q != nil {
		return fmt.Errorf("%w: it is in quarantine on this replica", ErrUnavailable)
	}
	rec, err := r.loadRecordIn(s.snap, user)
	if err != nil {
		return err
	}
	if rec.merging() {
		return fmt.Errorf("%w: it is being loaded on this replica", ErrUnavailable)
	}
	if s.head.clock, s.head.vector, err = r.vectorIn(s.snap); err != nil {
		return err
	}
	s.release()
	s.release = r.Hold(s.head.vector)
	s.head.account = new(crdt.Account)
	b, err := getFrom(s.snap, r.keys.account(nil, user))
	if err != nil {
		return err
	}
	if b != nil {
		if s.head.account, err = crdt.DecodeAccount(b); err != nil {
			return err
		}
	}
	if s.head.account.Left(r.opts.Subnet) { // what is told where it goes is to be above all that was told here
		s.head.clock = max(s.head.clock, r.lastHeard())
	}
	prefix := r.keys.record(nil, user, 0)
	prefix = prefix[:len(prefix)-1]
	if s.it, err = s.snap.NewIter(iterBounds(prefix, after(prefix))); err != nil {
		return err
	}
	s.ok = s.it.First()
	return nil
}

// ID names the snapshot in its pieces.
func (s *SnapshotReader) ID() uint64 { return s.id.snapshot }

// Vector returns the operations that the replica had applied, of all accounts.
func (s *SnapshotReader) Vector() crdt.VC { return s.head.vector.Clone() }

// Next returns the next piece, io.EOF behind the last one.
func (s *SnapshotReader) Next() ([]byte, error) {
	if s.done {
		return nil, io.EOF
	}
	b := s.id.begin()
	if s.id.number == 0 {
		b = appendEntry(b, stagedHead, s.head.append(nil))
	}
	var err error
	for s.ok && len(b) < pieceTarget {
		v, e := s.it.ValueAndErr()
		if e != nil {
			return nil, fmt.Errorf("snapshot of account %d: %w", s.id.account, e)
		}
		if b, err = appendRecord(b, s.it.Key()[accountPrefixLen-1:], v); err != nil {
			return nil, fmt.Errorf("snapshot of account %d: %w", s.id.account, err)
		}
		s.ok = s.it.Next()
	}
	if err := s.it.Error(); err != nil {
		return nil, fmt.Errorf("snapshot of account %d: %w", s.id.account, err)
	}
	s.id.number++
	if !s.ok {
		s.done = true
		b = appendEntry(b, stagedEnd, binary.BigEndian.AppendUint32(nil, s.id.number))
	}
	return seal(b), nil
}

// appendRecord appends a record of an account to a piece, if it is one that
// travels. key is the part of its key that begins with its kind.
func appendRecord(b, key, v []byte) ([]byte, error) {
	switch key[0] {
	case recMailbox:
		if len(v) < boxHeader {
			return nil, errCorrupt
		}
		rec, err := crdt.DecodeMailbox(v[boxHeader:])
		if err != nil {
			return nil, fmt.Errorf("%w: mailbox: %w", errCorrupt, err)
		}
		return appendEntry(b, stagedMailbox, rec.AppendShared(nil)), nil
	case recMessage:
		if len(key) < 9 {
			return nil, errCorrupt
		}
		return appendEntry(b, stagedMessage, key[1:9], v), nil
	case recUsed:
		return appendEntry(b, stagedUsed, v, key[1:]), nil
	case recSubscription:
		return appendEntry(b, stagedSubscription, v, key[1:]), nil
	case recNote:
		if len(key) < 1+annotationPrefix || len(key) > 1+annotationPrefix+crdt.MaxEntryLen {
			return nil, errCorrupt
		}
		return appendEntry(b, stagedNote, []byte{byte(len(key) - 1 - annotationPrefix)}, key[1:], v), nil
	case recReplay:
		return appendEntry(b, stagedReplay, v, key[1:]), nil
	case recVanished:
		return appendRuns(b, key[1:], v)
	}
	return b, nil // an index, or what is local
}

// appendRuns appends an entry of vanished UIDs: mailbox, MODSEQ, UID; how many
// follow it.
func appendRuns(b, key, v []byte) ([]byte, error) {
	n, k := binary.Uvarint(v)
	if k <= 0 || len(key) != 24 {
		return nil, errCorrupt
	}
	first := binary.BigEndian.Uint64(key[16:])
	for count := n + 1; count > 0; {
		run := min(count, maxRun)
		rest := binary.AppendUvarint(binary.BigEndian.AppendUint64(nil, first), run-1)
		b = appendEntry(b, stagedVanished, key[:8], rest)
		first, count = first+run, count-run
	}
	return b, nil
}

// Close ends the use.
func (s *SnapshotReader) Close() error {
	if s.snap == nil {
		return nil
	}
	defer s.r.store.leave()
	var err error
	if s.it != nil {
		err = s.it.Close()
	}
	err = errors.Join(err, s.snap.Close())
	s.snap = nil
	s.release()
	return err
}
