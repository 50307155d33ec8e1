package crdt

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestIssue(t *testing.T) {
	for _, c := range []struct {
		last, gap UID
		slot      Slot
		want      []UID
	}{
		{0, 0, 1, []UID{17, 18, 19}},
		{30, 0, 1, []UID{31, 32, 273}},
		{0, 0, 15, []UID{241, 242}},
		{256, 0, 1, []UID{273}},
		{16, 8, 1, []UID{25}},
		{16, 128, 1, []UID{273}},
		{MaxNumber - 13, 0, 15, []UID{MaxNumber - 12}},
		{MaxNumber, 0, 15, nil},
		{MaxNumber - 1, 0, 15, []UID{MaxNumber}},
		{MaxNumber - 100, 4000, 15, nil},
		{MaxNumber - 16, 0, 1, nil},
		{MaxNumber - 300, MaxNumber, 1, nil},
		{NewUID(3, 0), 0, 1, []UID{NewUID(3, 17), NewUID(3, 18)}},
		{NewUID(3, 32), 8, 1, []UID{NewUID(3, 273)}},
		{NewUID(3, MaxNumber), 0, 15, nil},
		{NewUID(3, MaxNumber-16), 0, 1, nil},
		{0, 0, 0, nil},
		{0, 0, 16, nil},
	} {
		i := issuer{c.last, c.slot, 0}
		for _, want := range c.want {
			if u, err := i.next(c.gap); u != want || err != nil {
				t.Errorf("after %d, gap %d, slot %d: %d, %v, want %d", c.last, c.gap, c.slot, u, err, want)
			}
			c.gap = 0
		}
		if c.want == nil {
			if u, err := i.next(c.gap); err == nil || c.slot == 1 && !errors.Is(err, ErrUIDSpace) {
				t.Errorf("after %d, gap %d, slot %d: %d, %v", c.last, c.gap, c.slot, u, err)
			}
		}
	}
}

// TestClasses: whatever two slots issue after whatever they have heard, it is
// above that and never the same.
func TestClasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := Slot(rapid.IntRange(1, 15).Draw(t, "slot")), Slot(rapid.IntRange(1, 15).Draw(t, "other"))
		last := UID(rapid.Uint32().Draw(t, "last"))
		i, j := issuer{last, a, 0}, issuer{UID(rapid.Uint32Max(1000).Draw(t, "behind")) + last/2, b, 0}
		u, err := i.next(UID(rapid.Uint32Max(300).Draw(t, "gap")))
		if err != nil {
			t.Skip()
		}
		v, err := j.next(0)
		if u <= last || u.slot() != a || err == nil && (v.slot() != b || a != b && u == v) {
			t.Fatalf("slot %d: %d; slot %d: %d", a, u, b, v)
		}
	})
}

func TestCanonicalFlag(t *testing.T) {
	for in, want := range map[string]string{
		`\seen`: `\Seen`, `\DELETED`: `\Deleted`, `$forwarded`: `$Forwarded`, `NONJUNK`: `NonJunk`,
		`MyWord`: `MyWord`, `a.b/c`: `a.b/c`, `]x`: ``, `\Recent`: ``, `\Foo`: ``, `\`: ``, ``: ``,
		`two words`: ``, "tab\t": ``, `(x)`: ``, `x*`: ``, `"q"`: ``, "ü": ``, `a\b`: ``,
		strings.Repeat("x", MaxFlagLen): strings.Repeat("x", MaxFlagLen), strings.Repeat("x", MaxFlagLen+1): ``,
	} {
		got, err := CanonicalFlag(in)
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrFlag) {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
	got, err := CanonicalFlags([]string{"$Work", `\seen`, "$WORK", `\Seen`})
	if err != nil || !slices.Equal(got, []string{"$Work", `\Seen`}) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := CanonicalFlags(make([]string, MaxFlags+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("too many: %v", err)
	}
}

func TestCanonicalName(t *testing.T) {
	for in, want := range map[string]string{
		"inbox": "INBOX", "InBox/x": "INBOX/x", "inboxes": "inboxes", "a/inbox": "a/inbox", "a/b": "a/b", "a.b": "a.b", "Entwürfe": "Entwürfe",
		"": "", "/": "", "a/": "", "/a": "", "a//b": "", "a\x00b": "", "a\nb": "", "\xff": "",
		strings.Repeat("x", MaxNameLen): strings.Repeat("x", MaxNameLen), strings.Repeat("x", MaxNameLen+1): "",
		strings.Repeat("a/", MaxLevels-1) + "a": strings.Repeat("a/", MaxLevels-1) + "a", strings.Repeat("a/", MaxLevels) + "a": "",
	} {
		got, err := CanonicalName(in, '/')
		if got != want || (err == nil) != (want != "") || err != nil && !errors.Is(err, ErrName) {
			t.Errorf("%q: %q, %v, want %q", in, got, err, want)
		}
	}
}

// TestUIDSpaceEnds: near 2^32 a prepare says which mailbox is full, and whoever
// ticks begins another era of it, in which all messages are shown.
func TestUIDSpaceEnds(t *testing.T) {
	w := newWorld(2)
	add := func(i int) error {
		_, err := w.do(i, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) })
		return err
	}
	for i := range 2 {
		if err := add(i); err != nil {
			t.Fatal(err)
		}
	}
	w.announce(1, Inbox)
	w.flow() // 17 is refused at 1, which asks for another one
	w.approach(Inbox, 5)
	var full *SpaceError
	if err := add(0); !errors.Is(err, ErrUIDSpace) || !errors.As(err, &full) || full.Box != Inbox {
		t.Errorf("append: %v", err)
	}
	w.now += 1000
	w.tick(1, false) // not the leader, but the margin is hard
	w.tick(0, false)
	for i, r := range w.reps {
		if b := r.mem.boxes[Inbox]; b.Era() != 1 || b.Messages != 2 {
			t.Errorf("replica %d: era %d, %d messages", i, b.Era(), b.Messages)
		}
	}
	for i := range 2 {
		if err := add(i); err != nil {
			t.Error(err)
		}
	}
	if w.final(); len(w.truth.errs) > 0 || w.reps[1].mem.boxes[Inbox].Messages != 4 {
		t.Error(w.truth.errs, w.reps[1].mem.boxes[Inbox])
	}
}

// TestRenumberMargins: first the leader, then everybody.
func TestRenumberMargins(t *testing.T) {
	for _, c := range []struct {
		left             UID
		leader, follower bool
	}{
		{softMargin + 5, false, false},
		{softMargin - 5, true, false},
		{hardMargin + 5, true, false},
		{hardMargin - 5, true, true},
		{0, true, true},
	} {
		for i, want := range []bool{c.leader, c.follower} {
			w := newWorld(2)
			w.approach(Inbox, c.left)
			w.tick(i, false)
			if got := w.reps[i].mem.boxes[Inbox].Era() == 1; got != want {
				t.Errorf("%d left, replica %d: renumbers %v", c.left, i, got)
			}
		}
	}
}

// TestRenumberLarge: a list that is too long for one operation.
func TestRenumberLarge(t *testing.T) {
	w := newWorld(2)
	const n = maxRenumber + maxBatch + 5
	add := make([]Added, n)
	for i := range add {
		add[i] = Added{Root: Root{1}}
	}
	w.noAudit = true
	s := w.site(0)
	p, err := s.PrepareAppend(Inbox, add, false)
	if err != nil {
		t.Fatal(err)
	}
	w.commit(0, s, p)
	s = w.site(0)
	list, err := s.PrepareRenumber(Inbox)
	if err != nil || len(list) != 3 {
		t.Fatalf("%d operations, %v", len(list), err)
	}
	w.commit(0, s, list[0])
	w.followUp(0, list[1:])
	w.flow()
	for i, r := range w.reps {
		if b := r.mem.boxes[Inbox]; b.Messages != n || b.Era() != 1 || len(r.mem.awaiting) > 0 {
			t.Errorf("replica %d: %d messages in era %d, %d wait", i, b.Messages, b.Era(), len(r.mem.awaiting))
		}
		if err := Audit(r.mem); err != nil {
			t.Error(err)
		}
	}
}

// TestValidityEnds: the growing part is used up: an error, no wrap.
func TestValidityEnds(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	w.reps[0].mem.used["B"] = MaxC<<20 | 5
	for name, f := range map[string]func(*Site) (Payload, error){
		"create": func(s *Site) (Payload, error) { return s.PrepareCreate("B", "") },
		"rename": func(s *Site) (Payload, error) { return s.PrepareRename("A", "B") },
	} {
		if op, err := w.do(0, f); !errors.Is(err, ErrLimit) {
			t.Errorf("%s: %v, %v", name, op, err)
		}
	}
}

// TestTickTimes pins when a replica acts: the leader at once in one batch, the
// others ask first, then wait by rank while a message is hidden, and for quiet
// that doubles with every try while it is shown under an old UID.
func TestTickTimes(t *testing.T) {
	w := newWorld(3)
	for i := range 2 {
		if _, err := w.do(1-i, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{byte(i)}}}, true) }); err != nil {
			t.Fatal(err)
		}
	}
	for w.deliver(1, 2) {
	}
	w.announce(2, Inbox)
	w.deliver(0, 2) // 17, refused
	at := Instance{Inbox, Tag{1, 1, 0}}
	refused := w.now
	step := func(ms int64, want kind, next int64) {
		t.Helper()
		w.now = refused + ms
		list, at, err := w.site(2).Tick(false)
		if err != nil {
			t.Fatal(err)
		}
		if want == 0 && len(list) > 0 || want != 0 && (len(list) != 1 || list[0].kind() != want) {
			t.Errorf("after %d ms: %v", ms, list)
		}
		if next != 0 {
			next += refused
		}
		if at != next {
			t.Errorf("after %d ms: next at %d, want %d", ms, at-refused, next-refused)
		}
		w.followUp(2, list)
	}
	step(9, 0, 10)
	step(10, kindNudge, 600)
	step(11, 0, 600) // asked already
	step(599, 0, 600)
	step(600, kindReissue, 0)
	m := w.reps[2].mem.messages[at]
	if m.Exp != 49 || m.Tries != 1 || m.Refused != 0 {
		t.Fatalf("%+v", m)
	}
	// A later register that cannot be shown: it is stale now, and waits longer.
	next, _ := w.announce(2, Inbox)
	w.reps[2].mem.boxes[Inbox].H = 1000
	s := w.site(0)
	s.Mod |= 1
	refused = w.now
	w.followUp(2, w.apply(2, w.site(2), &Op{Dot: Dot{1, 2}, Time: s.Mod, Payload: &Reissue{List: []TagUID{{at.Tag, 273}}}}))
	if m := w.reps[2].mem.messages[at]; m.Exp != 49 || m.Reg != 273 || next != 50 {
		t.Fatalf("%+v, UIDNEXT %d", m, next)
	}
	step(10, kindNudge, 600+2*5000)
	step(10599, 0, 10600)
	step(10600, kindReissue, 0)
	if m := w.reps[2].mem.messages[at]; m.Exp != 1073 || m.Tries != 2 {
		t.Fatalf("%+v", m)
	}
}

// TestRanks: no two replicas of which one or none leads act at the same moment,
// and nobody waits longer than a message may be hidden.
func TestRanks(t *testing.T) {
	seen := map[int64]Slot{}
	policy := DefaultPolicy()
	for slot := Slot(1); slot <= MaxSlot; slot++ {
		for _, given := range []int{int(slot), 0} {
			self := Self{Slot: slot, Rank: given}
			n := self.rank()
			if other, ok := seen[n]; ok || n < 1 || n*policy.Wait >= policy.Hidden {
				t.Errorf("slot %d: rank %d, which slot %d has", slot, n, other)
			}
			seen[n] = slot
		}
	}
}

// TestListOfConflicts: names stay unique even if somebody took the suffixed one.
func TestListOfConflicts(t *testing.T) {
	w := newWorld(2)
	do := func(i int, f func(*Site) (Payload, error)) {
		t.Helper()
		if _, err := w.do(i, f); err != nil {
			t.Fatal(err)
		}
	}
	do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("B", "") })
	w.flow()
	do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("C~b4775", "") })
	do(0, func(s *Site) (Payload, error) { return s.PrepareRename("A", "C") })
	do(1, func(s *Site) (Payload, error) { return s.PrepareRename("B", "C") })
	w.final()
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
	list, err := w.site(0).List()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range list {
		got = append(got, l.Name)
	}
	if want := []string{"C", "C~b4775", "C~b4775~a4f9ae3763eb4775", "INBOX"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestLookup finds what List shows, and nothing else.
func TestLookup(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A/b", "") })
	for name, want := range map[string]bool{"A": true, "A/b": true, "a": false, "inbox": true, "A/": false, "": false, "A/b/c": false} {
		b, err := w.site(0).Lookup(name)
		if err != nil || (b != nil) != want {
			t.Errorf("%q: %v, %v", name, b, err)
		}
	}
}

// TestTickClockSetBack: a clock that is set back while a message waits does not
// make it wait until the clock is where it was.
func TestTickClockSetBack(t *testing.T) {
	w := newWorld(2)
	for i := range 2 {
		if _, err := w.do(1-i, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{byte(i)}}}, true) }); err != nil {
			t.Fatal(err)
		}
	}
	w.announce(1, Inbox)
	w.deliver(0, 1) // 17, refused
	for _, leader := range []bool{true, false} {
		s := w.site(1)
		s.Self.Leader = leader
		s.Now -= 8 * 3600 * 1000
		list, next, err := s.Tick(false)
		if err != nil || len(list) != 1 || list[0].kind() != kindReissue || next != 0 {
			t.Errorf("leader %v: %v, next %d, %v", leader, list, next, err)
		}
	}
}
