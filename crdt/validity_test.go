package crdt

import "testing"

func TestUIDValidity(t *testing.T) {
	for v, want := range map[Validity]uint32{
		0:                         0,
		1<<20 | 5:                 1<<20 | 5,
		1<<32 - 1:                 1<<32 - 1,
		1 << 32:                   1,
		4097<<20 | 5:              1<<20 | 6,
		2*4096<<20 | 1<<20 | 5:    1<<20 | 7,
		2 * validityRange:         validityRange,
		2*validityRange + 1:       1,
		Validity(MaxC)<<20 | 5<<1: uint32((Validity(MaxC)<<20 | 10) % validityRange),
	} {
		if got := v.UIDValidity(); got != want {
			t.Errorf("%#x: %#x, want %#x", uint64(v), got, want)
		}
	}
}

// TestUIDValidityRounds: a name goes on when the 12 bits that grow in a
// UIDVALIDITY are used up. It rises but for once in 4,095 times, is never 0, and
// never is what one of the mailbox's other eras or rounds had.
func TestUIDValidityRounds(t *testing.T) {
	for _, id := range []MailboxID{Inbox, 1, 0xfffff, NewMailboxID("A", 1)} {
		b := newMailbox(id, "A", 1)
		b.C = 1
		seen := map[uint32]bool{}
		drops := 0
		var last Validity
		for range 3 * 4096 {
			for range 2 {
				v := b.Validity()
				u := v.UIDValidity()
				if v <= last || u == 0 || seen[u] {
					t.Fatalf("%#x: validity %#x, UIDVALIDITY %#x after %#x", uint64(id), v, u, last)
				}
				if u < last.UIDValidity() {
					drops++
				}
				seen[u], last = true, v
				b.C++
			}
			b.N += 1 << 32
		}
		if want := int((last - 1) / validityRange); drops != want {
			t.Errorf("%#x: decreased %d times, not %d", uint64(id), drops, want)
		}
	}
}

// TestRenameRounds: renames over one name go on for ever.
func TestRenameRounds(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	w.reps[0].mem.used["B"] = 4095<<20 | 5
	do(func(s *Site) (Payload, error) { return s.PrepareRename("A", "B") })
	b, err := w.site(0).Lookup("B")
	if err != nil || b == nil || b.C != 4096 || b.UIDValidity() == 0 {
		t.Fatalf("%+v, %v", b, err)
	}
	w.final()
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}
