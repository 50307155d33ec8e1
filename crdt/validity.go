package crdt

// Validity orders all that was ever shown under one name of a mailbox: a part
// that grows (C, above bit 20), plus 20 bits of the record's identity, plus its
// era. It never decreases under a name. Equal states have equal values; two eras
// of one mailbox never share one, whatever C does meanwhile, since no mailbox
// has 2^20 eras.
type Validity uint64

// validityRange is how many values a UIDVALIDITY has (RFC 9051 section 2.3.1.1:
// a non-zero number of 32 bits).
const validityRange = 1<<32 - 1

// UIDValidity returns the number that clients are shown. It is v itself as long
// as that has 32 bits. After 4,095 conflicts or renames over one name it starts
// again from below, one further for each round: that it decreases then cannot be
// helped (RFC 9051 wants it to grow, clients compare it for equality), but a
// mailbox never gets a value that it had before.
func (v Validity) UIDValidity() uint32 {
	if v == 0 {
		return 0
	}
	return uint32((v-1)%validityRange) + 1
}

// Validity returns the full value behind the mailbox's UIDVALIDITY.
func (b *Mailbox) Validity() Validity {
	return Validity(b.C)<<20 + Validity(b.ID.hash20()) + Validity(b.Era())
}

// UIDValidity returns the mailbox's UIDVALIDITY.
func (b *Mailbox) UIDValidity() uint32 { return b.Validity().UIDValidity() }
