package mailstore

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// What a command has changed is recorded with its session and number, by every
// replica that applies it, so that the command is answered and not executed again
// when a session has moved and its client's bytes come once more (crdt.md 2.3).
//
// A session has a fixed number of places, which are written in turn; the records of
// two hours are kept apart and dropped whole. So a record costs a commit one key,
// and nobody looks for old ones.
const (
	recordPlaces = 16 // operations of a session that are remembered
	recordAge    = time.Hour
	maxRings     = 1024 // sessions of an account whose next place is known
)

// commandRecord is what one operation of a command has done.
type commandRecord struct {
	dot     crdt.Dot
	command uint64
	index   uint32 // as in the operation's cause
	next    uint32 // index behind what it added
	more    bool   // the change goes on with the next operation
	box     crdt.MailboxID
	sources []recordedSource // of a MOVE
	uids    []crdt.UID       // given
	failed  []uint32         // places of what a conditional STORE did not change
}

// recordedSource is a message that was moved away.
type recordedSource struct {
	tag crdt.Tag
	uid crdt.UID // under which it was shown here, 0 if it was not
}

// records reports whether an operation is one that a command makes by itself.
func records(op *crdt.Op) bool {
	if op.Cause.IsZero() || op.Cause.Command == 0 {
		return false
	}
	if _, ok := op.Cause.Recovers(); ok {
		return false
	}
	switch op.Payload.(type) {
	case *crdt.Reissue, *crdt.Nudge, *crdt.Renumber, *crdt.RaiseEpoch, *crdt.Touch, *crdt.BindLogin:
		return false
	}
	return true
}

// record writes what an operation that was applied has done. Under a.mu.
func (t *tx) record(op *crdt.Op) error {
	if !records(op) {
		return nil
	}
	c := commandRecord{
		dot: op.Dot, command: op.Cause.Command, index: op.Cause.Index, next: op.Cause.Index + instances(op.Payload),
		more: op.More, failed: op.Failed,
	}
	switch p := op.Payload.(type) {
	case *crdt.Append:
		c.box, c.uids = p.Box, newUIDs([]crdt.Payload{p})
	case *crdt.Move:
		c.box, c.uids = p.Dst, newUIDs([]crdt.Payload{p})
		c.sources = make([]recordedSource, len(p.Entries))
		for i := range p.Entries {
			c.sources[i].tag = p.Entries[i].From.Tag
			if m := t.messages[p.Entries[i].From]; m != nil {
				c.sources[i].uid = m.was
			}
		}
	}
	place := t.a.place(op.Cause.Session)
	t.key = t.keys.command(t.key[:0], recordHour(t.a.r.now()), t.a.id, op.Cause.Session, place)
	t.val = c.append(t.val[:0])
	return t.set(t.val)
}

// place returns the next place of a session. After a restart of the process it
// begins anywhere. Under a.mu.
func (a *account) place(session SessionID) byte {
	n, ok := a.rings[session]
	if !ok {
		n = byte(rand.IntN(recordPlaces))
	}
	if a.rings == nil || len(a.rings) >= maxRings && !ok {
		a.rings = make(map[SessionID]byte)
	}
	a.rings[session] = (n + 1) % recordPlaces
	return n
}

func recordHour(ms int64) uint32 { return uint32(ms / recordAge.Milliseconds()) }

// commands is the beginning of a session's records in an hour.
func (k keyspace) commands(b []byte, hour uint32, a crdt.AccountID, s SessionID) []byte {
	b = binary.BigEndian.AppendUint32(k.kind(b, spaceState, kindCommand), hour)
	b = binary.BigEndian.AppendUint32(b, uint32(a))
	return append(b, s[:]...)
}

func (k keyspace) command(b []byte, hour uint32, a crdt.AccountID, s SessionID, place byte) []byte {
	return append(k.commands(b, hour, a, s), place)
}

const recordMore = 1

func (c *commandRecord) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(c.dot.Origin))
	b = binary.AppendUvarint(b, c.dot.N)
	b = binary.AppendUvarint(b, c.command)
	b = binary.AppendUvarint(b, uint64(c.index))
	b = binary.AppendUvarint(b, uint64(c.next))
	var bits byte
	if c.more {
		bits |= recordMore
	}
	b = append(b, bits)
	b = binary.AppendUvarint(b, uint64(c.box))
	b = binary.AppendUvarint(b, uint64(len(c.sources)))
	for i := range c.sources {
		b = appendTag(b, c.sources[i].tag)
		b = binary.AppendUvarint(b, uint64(c.sources[i].uid))
	}
	b = appendUIDs(b, c.uids)
	b = binary.AppendUvarint(b, uint64(len(c.failed)))
	for _, n := range c.failed {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

// appendUIDs appends UIDs as differences.
func appendUIDs(b []byte, uids []crdt.UID) []byte {
	b = binary.AppendUvarint(b, uint64(len(uids)))
	var last crdt.UID
	for _, u := range uids {
		b = binary.AppendVarint(b, int64(u-last))
		last = u
	}
	return b
}

// recordReader reads a record; after a mistake everything is zero.
type recordReader struct {
	b   []byte
	bad bool
}

func (r *recordReader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *recordReader) bytes(n int) []byte {
	if len(r.b) < n {
		r.bad, r.b = true, nil
		return make([]byte, n)
	}
	p := r.b[:n]
	r.b = r.b[n:]
	return p
}

// count reads how many things of at least size bytes follow.
func (r *recordReader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.bad, r.b = true, nil
		return 0
	}
	return int(n)
}

func (r *recordReader) uids() []crdt.UID {
	n := r.count(1)
	if n == 0 {
		return nil
	}
	out := make([]crdt.UID, n)
	var last crdt.UID
	for i := range out {
		d, k := binary.Varint(r.b)
		if k <= 0 {
			r.bad, r.b = true, nil
			return nil
		}
		r.b = r.b[k:]
		last += crdt.UID(d)
		out[i] = last
	}
	return out
}

func parseRecord(b []byte) (commandRecord, error) {
	r := recordReader{b: b}
	c := commandRecord{dot: crdt.Dot{Origin: crdt.Origin(binary.BigEndian.Uint64(r.bytes(8))), N: r.uint()}}
	c.command, c.index, c.next = r.uint(), uint32(r.uint()), uint32(r.uint())
	c.more = r.bytes(1)[0]&recordMore != 0
	c.box = crdt.MailboxID(r.uint())
	for range r.count(tagLen + 1) {
		tag, err := parseTag(r.bytes(tagLen))
		if err != nil {
			return c, err
		}
		c.sources = append(c.sources, recordedSource{tag, crdt.UID(r.uint())})
	}
	c.uids = r.uids()
	for range r.count(1) {
		c.failed = append(c.failed, uint32(r.uint()))
	}
	if r.bad || len(r.b) > 0 {
		return c, fmt.Errorf("%w: record of a command", errCorrupt)
	}
	return c, nil
}

// recordsOf returns what is recorded of a session, by command and index.
func (t *tx) recordsOf(session SessionID) ([]commandRecord, error) {
	var out []commandRecord
	hour := recordHour(t.a.r.now())
	for _, h := range []uint32{hour - 1, hour} {
		t.key = t.keys.commands(t.key[:0], h, t.a.id, session)
		if err := t.scan(func(_, v []byte) error {
			c, err := parseRecord(v)
			out = append(out, c)
			return err
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(out, func(a, b commandRecord) int {
		return cmp.Or(cmp.Compare(a.command, b.command), cmp.Compare(a.index, b.index))
	})
	return out, nil
}

// done is what a replayed change has done before.
type done struct {
	box     crdt.MailboxID
	sources []recordedSource
	uids    []crdt.UID
	failed  []int
	made    crdt.VC // the last operation of each replica that is part of it
	next    uint32
}

// find returns the change of a command that begins at an index, nil if it is not
// recorded whole.
func find(list []commandRecord, command uint64, index uint32) *done {
	d := &done{next: index}
	for i := range list {
		c := &list[i]
		if c.command != command || c.index != d.next {
			continue
		}
		d.next = c.next
		if len(c.uids) > 0 {
			d.box = c.box
		}
		d.sources = append(d.sources, c.sources...)
		d.uids = append(d.uids, c.uids...)
		for _, n := range c.failed {
			d.failed = append(d.failed, int(n))
		}
		d.made.Add(c.dot)
		if !c.more {
			return d
		}
	}
	return nil
}

// replayed returns what the change that the session is about to make did when it
// was made before, nil if it was not, as far as this replica knows. look, which
// may be nil, sees the transaction then. It returns when all of that may be told.
func (s *Account) replayed(ctx context.Context, look func(*tx, *done) error) (*done, error) {
	if s.attempt == 0 {
		return nil, nil
	}
	var d *done
	err := s.look(ctx, func(t *tx) error {
		list, err := t.recordsOf(s.session)
		if err != nil {
			return err
		}
		if d = find(list, s.command, s.index); d == nil || look == nil {
			return nil
		}
		return look(t, d)
	})
	if err != nil {
		return nil, err
	}
	m := s.a.r.store.opts.Metrics
	if d == nil {
		m.replays.WithLabelValues("executed").Inc()
		return nil, nil
	}
	m.replays.WithLabelValues("done").Inc()
	s.index = d.next
	// Whoever made it may have been lost before enough others had it.
	for _, made := range d.made {
		s.noteMade(made)
		if err := s.a.r.onPeers(ctx, made); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// errKnown says that the first attempt at a change has arrived while the second one
// was prepared: it is answered and not made.
var errKnown = errors.New("change has been made before")

// unknown returns errKnown if a change that is made again is recorded by now. What
// was looked at before the account was locked may be out of date: an operation that
// knows of its first attempt would not replace what that added. Under a.mu.
func (s *Account) unknown(t *tx) error {
	if s.attempt == 0 {
		return nil
	}
	list, err := t.recordsOf(s.session)
	if err == nil && find(list, s.command, s.index) != nil {
		err = errKnown
	}
	return err
}

// answer makes of what a COPY, MOVE or APPEND did what it returned.
func (d *done) answer(t *tx) (Appended, error) {
	b, err := t.peek(d.box)
	if err != nil || b == nil {
		return Appended{}, errors.Join(err, ErrNonexistent)
	}
	return Appended{UIDValidity: b.UIDValidity(), UIDs: d.uids}, t.announce(d.box)
}

// moved leaves of a MOVE's answer what the caller can name: places in tags.
func (d *done) moved(out *Appended, tags []crdt.Tag) {
	places := make(map[crdt.Tag]int, len(tags))
	for i, tag := range tags {
		places[tag] = i
	}
	uids := out.UIDs
	out.UIDs = nil
	for i := range min(len(d.sources), len(uids)) {
		if place, ok := places[d.sources[i].tag]; ok {
			out.Source = append(out.Source, place)
			out.UIDs = append(out.UIDs, uids[i])
		}
	}
}

// dropRecords deletes the records that are older than an hour.
func (r *Replica) dropRecords() error {
	hour := recordHour(r.now())
	if hour == r.recordsFrom || hour < 2 {
		return nil
	}
	lower := r.keys.kind(nil, spaceState, kindCommand)
	upper := binary.BigEndian.AppendUint32(slices.Clone(lower), hour-1)
	if err := r.store.db.DeleteRange(lower, upper, pebble.NoSync); err != nil {
		return fmt.Errorf("drop records of commands: %w", err)
	}
	r.recordsFrom = hour
	return nil
}

// Done returns what the present command has added before, of whose changes this
// is the first; false: as far as is known here it was not executed.
func (s *Account) Done(ctx context.Context) (Appended, bool, error) {
	var out Appended
	d, err := s.replayed(ctx, func(t *tx, d *done) (err error) {
		out, err = d.answer(t)
		return err
	})
	return out, d != nil, err
}
