package crdt

import (
	"fmt"
	"strconv"
)

// UID is the number of a message in its mailbox: the era of the mailbox in the
// upper half, the IMAP unique identifier (RFC 9051 section 2.3.1.1) in the
// lower; 0 is none. When the identifiers of an era run out, the mailbox begins
// another one with another UIDVALIDITY ([Renumber], crdt.md 6.5). UIDs of a
// later era are larger than all of an earlier one, so that nothing but
// UIDVALIDITY needs to know of eras.
type UID uint64

// MaxNumber is the largest IMAP unique identifier that is issued: UIDNEXT after
// it must still be a number of 32 bits.
const MaxNumber = 1<<32 - 2

// MaxEra is the largest era of a mailbox. The eras stay below the growing part
// of a [Validity].
const MaxEra = 1<<20 - 1

// maxUID is the largest UID of all.
const maxUID = UID(MaxEra)<<32 | MaxNumber

// NewUID returns the UID of an era that IMAP clients know as number.
func NewUID(era, number uint32) UID { return UID(era)<<32 | UID(number) }

// Era returns the era to which u belongs, from 0.
func (u UID) Era() uint32 { return uint32(u >> 32) }

// Number returns what IMAP clients know as the UID.
func (u UID) Number() uint32 { return uint32(u) }

// String returns the number, behind its era and a slash if that is not the first.
func (u UID) String() string {
	if u.Era() == 0 {
		return strconv.FormatUint(uint64(u), 10)
	}
	return fmt.Sprintf("%d/%d", u.Era(), u.Number())
}

// Era returns the mailbox's era: that of the largest UID heard of.
func (b *Mailbox) Era() uint32 { return b.N.Era() }
