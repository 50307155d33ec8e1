package mailstore

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// migrate moves the test user's account from a subnet, all of whose members are given, to
// a member of another one, as plutoctl does.
func migrate(t testing.TB, to *node, from ...*node) {
	t.Helper()
	send(t, to, from...)
	pieces := from[0].pieces(testUser)
	to.bring(from[0], pieces)
	if err := to.Import(ctxOf(t), testUser, "taker", pieces); err != nil {
		t.Fatal(err)
	}
	if _, err := from[0].SetHome(ctxOf(t), testUser, to.Subnet(), ""); err != nil {
		t.Fatal(err)
	}
	settle(t, from...)
}

// send sends the account away.
func send(t testing.TB, to *node, from ...*node) {
	t.Helper()
	if _, err := from[0].SetHome(ctxOf(t), testUser, to.Subnet(), "taker"); err != nil {
		t.Fatal(err)
	}
	settle(t, from...)
}

// ownInventory is what of a node's inventory belongs to accounts and contents.
func (n *node) ownInventory() map[string]int {
	n.t.Helper()
	out := map[string]int{}
	for kind, count := range n.steady() {
		if strings.HasPrefix(kind, "10 a ") || strings.HasPrefix(kind, "20 ") || kind == "30" {
			out[kind] = count
		}
	}
	return out
}

// TestPurge deletes what is left of an account that has moved, at all members, also at
// one that was away, and nothing of another account; where it lives is known as before.
func TestPurge(t *testing.T) {
	a1, a2, b1 := newNode(t, 1), newNode(t, 2), newNodeIn(t, "subnet-2", 1)
	s, other := a1.session(), a1.sessionOf(testUser+1)
	mustAppend(t, other, "INBOX", "of somebody else")
	for i := range 3 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
	}
	m := mustSelect(t, s, "INBOX")
	if _, err := m.Copy(ctxOf(t), tags(m.View()), "Sent"); err != nil {
		t.Fatal(err)
	}
	for _, box := range []string{"", "INBOX"} {
		if err := s.Annotate(ctxOf(t), box, []Note{{"/private/comment", crdt.Note{There: true, Text: "a note"}}}); err != nil {
			t.Fatal(err)
		}
	}
	settle(t, a1, a2)
	if _, err := a1.Purge(ctxOf(t), testUser); !errors.Is(err, ErrCannot) {
		t.Errorf("purge where it lives: %v", err)
	}
	send(t, b1, a1, a2)
	if _, err := a1.Purge(ctxOf(t), testUser); !errors.Is(err, ErrCannot) {
		t.Errorf("purge while it is on its way: %v", err)
	}
	migrate(t, b1, a1, a2)
	want := b1.fullPicture(testUser)

	for again, want := range []int{6, 0} {
		if n, err := a1.Purge(ctxOf(t), testUser); n != want || err != nil {
			t.Errorf("purge %d: %d messages, %v", again, n, err)
		}
		stabilise(t, a1, a2) // a2 has not heard of it
		if n := count(t, a1, a1.keys.kind(nil, spaceContent, kindStructure)); n != 4 {
			t.Errorf("%d contents while a member may still want them", n)
		}
		a1.reopen()
	}
	settle(t, a1, a2)
	stabilise(t, a1, a2)
	for _, n := range []*node{a1, a2} {
		for _, kind := range []byte{kindStructure, kindCount} {
			if got := count(t, n, n.keys.kind(nil, spaceContent, kind)); got != 1 {
				t.Errorf("%d records %q of contents, want that of the other account", got, kind)
			}
		}
		if got := bodyKeys(t, n); got != 1 {
			t.Errorf("%d pieces of contents, want that of the other account", got)
		}
		if got := count(t, n, n.keys.record(nil, testUser, recMessage)); got != 0 {
			t.Errorf("%d messages", got)
		}
		if list, err := n.ContentsOf(ctxOf(t), testUser); len(list) > 0 || err != nil {
			t.Errorf("contents %v, %v", list, err)
		}
		if home, target, err := n.Home(testUser); home != "subnet-2" || target != "" || err != nil {
			t.Errorf("home is %q, %q, %v", home, target, err)
		}
		wantLines(t, n.linesOf(testUser+1, "INBOX"), "17 00000 [] of somebody else")
		n.audit(testUser, testUser+1)
	}
	if a, b := a1.ownInventory(), a2.ownInventory(); fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("members differ:\n%v\n%v", a, b)
	}
	if got := b1.fullPicture(testUser); got != want {
		t.Errorf("where it lives\n%s\nwas\n%s", got, want)
	}
}

// backAgain changes an account where it has come to: what it was before must not show.
func backAgain(t *testing.T, s *Account) {
	t.Helper()
	m := mustSelect(t, s, "INBOX")
	defer m.Close()
	list := tags(m.View())
	mustExpunge(t, m, list[:1])
	if _, _, err := m.Store(ctxOf(t), list[1:2], FlagChange{Op: crdt.StoreRemove, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Copy(ctxOf(t), list[1:3], "Sent"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "INBOX", "written there", `\Flagged`)
	for _, err := range []error{
		s.Delete(ctxOf(t), "deleted there"),
		s.Rename(ctxOf(t), "renamed there", "has another name"),
		s.Create(ctxOf(t), "made there", ""),
		s.Create(ctxOf(t), "deleted here", ""), // the same record again
		s.Subscribe(ctxOf(t), "made there", true),
		s.Annotate(ctxOf(t), "", []Note{{"/private/changed", crdt.Note{There: true, Text: "there"}}, {"/private/gone", crdt.Note{}}}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, s, "deleted here", "in a mailbox that is there again")
}

// TestMoveBack moves an account back to where its remains are, purged or not, with
// members that know all or nothing of that, or take a snapshot: it is there as it was
// elsewhere.
func TestMoveBack(t *testing.T) {
	for name, how := range map[string]struct{ purged, away, snapshot bool }{
		"remains":              {},
		"purged":               {purged: true},
		"purged, one away":     {purged: true, away: true},
		"remains, one away":    {away: true},
		"purged, by snapshot":  {purged: true, away: true, snapshot: true},
		"remains, by snapshot": {away: true, snapshot: true},
	} {
		t.Run(name, func(t *testing.T) {
			a1, a2 := newNode(t, 1), newNode(t, 2)
			b1, b2 := newNodeIn(t, "subnet-2", 1), newNodeIn(t, "subnet-2", 2)
			s := a1.session()
			for i := range 4 {
				mustAppend(t, s, "INBOX", fmt.Sprint("m", i), `\Seen`, "$Label")
			}
			for _, box := range []string{"deleted there", "renamed there", "deleted here"} {
				if err := s.Create(ctxOf(t), box, ""); err != nil {
					t.Fatal(err)
				}
				mustAppend(t, s, box, "in "+box)
			}
			if err := errors.Join(s.Delete(ctxOf(t), "deleted here"), s.Annotate(ctxOf(t), "", []Note{
				{"/private/changed", crdt.Note{There: true, Text: "here"}}, {"/private/gone", crdt.Note{There: true, Text: "x"}},
			})); err != nil {
				t.Fatal(err)
			}
			settle(t, a1, a2)
			modSeqs := []crdt.Time{modSeqOf(t, a1), modSeqOf(t, a2)}
			validity := mustSelect(t, s, "INBOX").UIDValidity()

			migrate(t, b1, a1, a2)
			settle(t, b1, b2)
			backAgain(t, b2.session())
			settle(t, b1, b2)
			modSeqs = append(modSeqs, modSeqOf(t, b1), modSeqOf(t, b2))
			want := b1.fullPicture(testUser)
			if how.purged {
				if _, err := a1.Purge(ctxOf(t), testUser); err != nil {
					t.Fatal(err)
				}
				if !how.away {
					settle(t, a1, a2)
					stabilise(t, a1, a2)
				}
				a1.reopen() // which raises all horizons
			}
			migrate(t, a1, b1, b2)
			if how.snapshot {
				a2.loadAll(a1)
				a2.pullMissing(a1)
			}
			settle(t, a1, a2)
			stabilise(t, a1, a2)
			for _, n := range []*node{a1, a2} {
				if got := n.fullPicture(testUser); got != want {
					t.Errorf("%d: has come back as\n%s\nwas\n%s", n.slot, got, want)
				}
				n.audit(testUser)
				n.reopen()
				n.wantResync(validity, modSeqs)
			}
			next := mustSelect(t, b1.mover(testUser), "INBOX").View().UIDNext() // of the remains there
			if uid := mustAppend(t, a2.session(), "INBOX", "new"); uid < next {
				t.Errorf("UID %v was given again, UIDNEXT was %v", uid, next)
			}
			settle(t, a1, a2)
			if x, y := a1.fullPicture(testUser), a2.fullPicture(testUser); x != y {
				t.Errorf("members differ:\n%s\n%s", x, y)
			}
			// And once more: the other subnet has remains now.
			want = a1.fullPicture(testUser)
			migrate(t, b2, a1, a2)
			settle(t, b1, b2)
			for _, n := range []*node{b1, b2} {
				if got := n.fullPicture(testUser); got != want {
					t.Errorf("%d: has come once more as\n%s\nwas\n%s", n.slot, got, want)
				}
				n.audit(testUser)
			}
		})
	}
}

// modSeqOf returns what a session at a node is told of INBOX.
func modSeqOf(t *testing.T, n *node) crdt.Time {
	t.Helper()
	s := n.sessionOf(testUser)
	defer s.Close()
	status, err := s.Status(ctxOf(t), "INBOX")
	if err != nil {
		t.Fatal(err)
	}
	return status.HighestModSeq
}

// wantResync checks that clients with any of the MODSEQs are told everything, and
// none a lower one.
func (n *node) wantResync(validity uint32, modSeqs []crdt.Time) {
	n.t.Helper()
	s := n.sessionOf(testUser)
	defer s.Close()
	m := mustSelect(n.t, s, "INBOX")
	defer m.Close()
	for _, mod := range modSeqs {
		if high := m.View().HighestModSeq(); high <= mod {
			n.t.Errorf("HIGHESTMODSEQ is %d, was %d elsewhere", high, mod)
		}
		r, err := m.Resync(ctxOf(n.t), Known{UIDValidity: validity, ModSeq: mod, UIDs: []UIDRange{{1, 100}}})
		if err != nil || r.Reset || r.ModSeq <= mod || !slices.Equal(r.Changed, uids(m.View())) {
			n.t.Errorf("MODSEQ %d: told %+v, %v", mod, r, err)
		}
		if len(r.Vanished) == 0 || r.Vanished[0].First > 17 || r.Vanished[0].Last < 17 {
			n.t.Errorf("MODSEQ %d: told that %v vanished: 17 was expunged elsewhere", mod, r.Vanished)
		}
	}
}

// TestMoveFromClockAhead: a MODSEQ that a client got elsewhere from a clock that is ahead
// is not taken for one of here later.
func TestMoveFromClockAhead(t *testing.T) {
	a1, a2, b := newNode(t, 1), newNode(t, 2), newNodeIn(t, "subnet-2", 1)
	for ahead, n := range map[time.Duration]*node{20 * time.Minute: a1, 40 * time.Minute: a2} {
		n.set = func(o *ReplicaOptions) { o.Now = func() time.Time { return time.Now().Add(ahead) } }
		n.reopen()
	}
	mustAppend(t, a1.session(), "INBOX", "one")
	settle(t, a1, a2)
	mustAppend(t, a2.session(), "INBOX", "two")
	told := []crdt.Time{modSeqOf(t, a1), modSeqOf(t, a2)}
	send(t, b, a1, a2)
	a1.Heard(a2.Origin(), a2.Clock(), a2.Logged()) // as replication does all the time
	migrate(t, b, a1, a2)
	for _, mod := range told {
		if high := modSeqOf(t, b); high <= mod {
			t.Errorf("HIGHESTMODSEQ is %d, was %d elsewhere", high, mod)
		}
	}
}

// TestImportKeepsContents: what is still here of a purged account is not copied when that
// comes back, and does not go between the look at it and the import.
func TestImportKeepsContents(t *testing.T) {
	a, b := newNode(t, 1), newNodeIn(t, "subnet-2", 1)
	mustAppend(t, a.session(), "INBOX", "one")
	migrate(t, b, a)
	want := b.fullPicture(testUser)
	if _, err := a.Purge(ctxOf(t), testUser); err != nil {
		t.Fatal(err)
	}
	send(t, a, b)
	pieces := b.pieces(testUser)
	if list, err := a.MissingOf(ctxOf(t), pieces); len(list) > 0 || err != nil {
		t.Fatalf("%d contents are missing, %v", len(list), err)
	}
	stabilise(t, a) // they would go now
	if err := a.Import(ctxOf(t), testUser, "taker", pieces); err != nil {
		t.Fatal(err)
	}
	stabilise(t, a)
	if got := a.fullPicture(testUser); got != want {
		t.Errorf("moved to\n%s\nwas\n%s", got, want)
	}
	a.audit(testUser)
}

// TestImportTakenBack: what an import has brought before the move was taken back is
// not there when the account comes later.
func TestImportTakenBack(t *testing.T) {
	a, b := newNode(t, 1), newNodeIn(t, "subnet-2", 1)
	s := a.session()
	for i := range 3 {
		mustAppend(t, s, "INBOX", fmt.Sprint("m", i))
	}
	send(t, b, a)
	pieces := a.pieces(testUser)
	b.bring(a, pieces)
	b.importSome(pieces, "taker", 3)
	if _, err := b.SetHome(ctxOf(t), testUser, "subnet-2", ""); !errors.Is(err, ErrCannot) {
		t.Errorf("served where it is only in part: %v", err)
	}
	if _, err := a.SetHome(ctxOf(t), testUser, "subnet-3", "other"); !errors.Is(err, ErrCannot) {
		t.Errorf("sent to two subnets: %v", err)
	}
	if _, err := b.SetHome(ctxOf(t), testUser, "subnet-1", ""); err != nil {
		t.Fatal(err)
	}
	in, err := readArrival(pieces)
	if err != nil {
		t.Fatal(err)
	}
	in.node = "taker"
	late := b.mover(testUser)
	defer late.Close()
	if err := late.importStep(ctxOf(t), in, in.home); !errors.Is(err, ErrCannot) {
		t.Errorf("an import goes on that was taken back: %v", err)
	}
	if _, err := a.SetHome(ctxOf(t), testUser, "subnet-1", ""); err != nil {
		t.Fatal(err)
	}
	s = a.session()
	m := mustSelect(t, s, "INBOX")
	list := tags(m.View())
	mustExpunge(t, m, list[:1])
	if _, _, err := m.Store(ctxOf(t), list[1:], FlagChange{Op: crdt.StoreAdd, Flags: Seen}); err != nil {
		t.Fatal(err)
	}
	want := a.fullPicture(testUser)
	migrate(t, b, a)
	if got := b.fullPicture(testUser); got != want {
		t.Errorf("moved to\n%s\nwas\n%s", got, want)
	}
	b.audit(testUser)
}

// TestImportSparesMail: an account that has never left is not taken for remains.
func TestImportSparesMail(t *testing.T) {
	a, b := newNode(t, 1), newNodeIn(t, "subnet-2", 1)
	mustAppend(t, a.session(), "INBOX", "one")
	mustAppend(t, b.session(), "INBOX", "mail")
	send(t, b, a)
	pieces := a.pieces(testUser)
	b.bring(a, pieces)
	if err := b.Import(ctxOf(t), testUser, "taker", pieces); !errors.Is(err, ErrCannot) {
		t.Errorf("import: %v", err)
	}
	wantLines(t, b.linesOf(testUser, "INBOX"), "17 00000 [] mail")
}

// TestMoveEra moves a mailbox that has used up its UIDs, twice.
func TestMoveEra(t *testing.T) {
	a, b := newNode(t, 1), newNodeIn(t, "subnet-2", 1)
	s := a.session()
	for era := range 2 {
		mustAppend(t, s, "INBOX", fmt.Sprint("of era ", era))
		approach(t, a, "INBOX", 5)
		mustAppend(t, s, "INBOX", fmt.Sprint("the first of era ", era+1))
	}
	want := a.fullPicture(testUser)
	for _, way := range [][2]*node{{a, b}, {b, a}} {
		migrate(t, way[1], way[0])
		if got := way[1].fullPicture(testUser); got != want {
			t.Errorf("moved to\n%s\nwas\n%s", got, want)
		}
		way[1].audit(testUser)
	}
	m := mustSelect(t, a.session(), "INBOX")
	last := m.View().UIDAt(m.View().Len() - 1)
	if uid := mustAppend(t, a.session(), "INBOX", "new"); uid <= last || uid.Era() != 2 {
		t.Errorf("appended as %v behind %v", uid, last)
	}
}

// TestEpochOfMovedAccount: a member of the old subnet can be evicted; the account is
// raised when it is back.
func TestEpochOfMovedAccount(t *testing.T) {
	a, b := newNode(t, 1), newNodeIn(t, "subnet-2", 1)
	mustAppend(t, a.session(), "INBOX", "one")
	migrate(t, b, a)
	if err := a.RaiseEpoch(ctxOf(t), 1); err != nil {
		t.Fatal(err)
	}
	if _, done := a.Epoch(); !done {
		t.Error("not done")
	}
	want := b.fullPicture(testUser)
	migrate(t, a, b)
	if got := a.fullPicture(testUser); got != want {
		t.Errorf("moved to\n%s\nwas\n%s", got, want)
	}
	if uid := mustAppend(t, a.session(), "INBOX", "two"); uid <= skipped {
		t.Errorf("appended as %v", uid)
	}
	a.audit(testUser)
}
