package crdt

import "fmt"

// Origin names one incarnation of a replica: a random number drawn when an
// empty disk is first used. Version vectors and the log are keyed by it.
type Origin uint64

// String returns the origin as 16 hexadecimal digits.
func (o Origin) String() string { return fmt.Sprintf("%016x", uint64(o)) }

// Slot is a replica's number in its subnet, 1..15, from the configuration. It
// appears only in UID classes and in the low bits of [Time]. 0 is never
// assigned: a MODSEQ that a client rounded must not look like ours.
type Slot uint8

// MaxSlot is the largest slot.
const MaxSlot Slot = 15

// Dot names one operation: the n-th (from 1) of its origin.
type Dot struct {
	Origin Origin
	N      uint64
}

// Tag names a message instance for ever: the dot of the operation that added
// it and its place in that operation's list.
type Tag struct {
	Origin Origin
	N      uint64
	Index  uint32
}

// IsZero reports whether t names nothing.
func (t Tag) IsZero() bool { return t == Tag{} }

// Dot returns the operation that added the instance.
func (t Tag) Dot() Dot { return Dot{t.Origin, t.N} }

// Compare orders tags by origin, number and index.
func (t Tag) Compare(u Tag) int {
	switch {
	case t.Origin != u.Origin:
		return less(t.Origin < u.Origin)
	case t.N != u.N:
		return less(t.N < u.N)
	case t.Index != u.Index:
		return less(t.Index < u.Index)
	}
	return 0
}

func less(b bool) int {
	if b {
		return -1
	}
	return 1
}

// Root is the identity of a message's content (RFC 8474 EMAILID): random, drawn
// before the message is stored. Copies and moves keep it.
type Root [16]byte

// MailboxID is the permanent identity of a mailbox record, derived from the
// name at creation and a generation, so that concurrent creations of one name
// make one record (crdt.md section 5). INBOX is 0.
type MailboxID uint64

// Inbox is the identity of every account's INBOX.
const Inbox MailboxID = 0

// AccountID is the user's number.
type AccountID uint32

// Time is a hybrid logical clock value and, on the replica that drew it, a
// MODSEQ: 41 bits of milliseconds since 2020-01-01 UTC, 8 bits of counter, 4
// bits of slot; 53 bits in all, so that clients that keep a MODSEQ in a double
// lose nothing.
type Time uint64

const (
	slotBits    = 4
	counterBits = 8
	// EpochMillis is the Unix time, in milliseconds, at which Time counts 0.
	EpochMillis = 1577836800000
)

// TimeAt returns the smallest time of a slot at Unix milliseconds ms.
func TimeAt(ms int64, s Slot) Time {
	if ms < EpochMillis {
		ms = EpochMillis
	}
	return Time(ms-EpochMillis)<<(slotBits+counterBits) | Time(s)
}

// Slot returns the slot of the replica that drew t.
func (t Time) Slot() Slot { return Slot(t & (1<<slotBits - 1)) }

// UnixMillis returns the wall-clock part in Unix milliseconds.
func (t Time) UnixMillis() int64 { return int64(t>>(slotBits+counterBits)) + EpochMillis }

// Clock is a replica's hybrid logical clock. Not safe for concurrent use.
type Clock struct {
	Slot Slot
	Last Time
}

// Bump draws the next time, larger than every one drawn or observed before.
// now is in Unix milliseconds.
func (c *Clock) Bump(now int64) Time {
	t := c.Last>>slotBits + 1
	if p := TimeAt(now, 0) >> slotBits; p > t {
		t = p
	}
	c.Last = t<<slotBits | Time(c.Slot)
	return c.Last
}

// Observe makes the clock run past t (Lamport's receive rule).
func (c *Clock) Observe(t Time) {
	if o := t>>slotBits<<slotBits | Time(c.Slot); o > c.Last {
		c.Last = o
	}
}

// Register is a last-writer-wins register: the value with the largest time
// (slot included, so times never tie) stays.
type Register[T any] struct {
	Time  Time
	Value T
}

// Set takes v if t is later than what is there, and reports whether it did.
func (r *Register[T]) Set(t Time, v T) bool {
	if t <= r.Time {
		return false
	}
	r.Time, r.Value = t, v
	return true
}
