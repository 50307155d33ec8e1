package crdt

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// What an evicted replica had and nobody else is done again by another one, which
// reads it from the lost one's disk (crdt.md 6.4): as operations of its own, since
// nobody would take those of an evicted origin any more. A message must be added
// once only, although the work may be interrupted, and done twice at two replicas.
// So the cause of the operation that adds it says whose place it takes
// ([RecoveryCause]): of each origin the account remembers the last one that was
// recovered ([Account.Recovered]), in the order in which they are, and of two that
// are recovered concurrently, one supersedes the other as the replay of a command
// does.

// recoveryMark is what the session of such a cause begins with; the origin follows.
var recoveryMark = []byte("evicted\x00")

// RecoveryCause returns the cause of the operation by which the replica in a slot
// adds again what an evicted one had added as tag.
func RecoveryCause(tag Tag, by Slot) Cause {
	c := Cause{Command: tag.N, Index: tag.Index, Attempt: uint32(by)}
	binary.BigEndian.PutUint64(c.Session[copy(c.Session[:], recoveryMark):], uint64(tag.Origin))
	return c
}

// Recovers returns the instance whose place an operation with this cause takes;
// false: it is a command's, or nobody's.
func (c Cause) Recovers() (Tag, bool) {
	origin, ok := bytes.CutPrefix(c.Session[:], recoveryMark)
	if !ok {
		return Tag{}, false
	}
	return Tag{Origin(binary.BigEndian.Uint64(origin)), c.Command, c.Index}, true
}

// HasRecovered reports whether an instance that an evicted replica added, or one
// behind it, was added again.
func (a *Account) HasRecovered(tag Tag) bool {
	i, ok := a.findRecovered(tag.Origin)
	return ok && tag.Compare(a.Recovered[i]) <= 0
}

func (a *Account) findRecovered(o Origin) (int, bool) {
	return slices.BinarySearchFunc(a.Recovered, o, func(t Tag, o Origin) int {
		switch {
		case t.Origin < o:
			return -1
		case t.Origin > o:
			return 1
		}
		return 0
	})
}

// noteRecovered notes that an instance was added again. Copies of the account keep
// what they have.
func (a *Account) noteRecovered(tag Tag) {
	i, ok := a.findRecovered(tag.Origin)
	switch {
	case a.HasRecovered(tag):
	case ok:
		a.Recovered = slices.Clone(a.Recovered)
		a.Recovered[i] = tag
	default:
		a.Recovered = slices.Insert(slices.Clip(a.Recovered), i, tag)
	}
}

// recovered returns the instance whose place an operation takes. What it brings
// about has the same cause, and takes nobody's.
func (op *Op) recovered() (Tag, bool) {
	switch op.Payload.(type) {
	case *Append, *Move:
		return op.Cause.Recovers()
	}
	return Tag{}, false
}
