package crdt

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestVC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := drawVC(t), drawVC(t)
		ref := map[Origin]uint64{}
		for o, n := range v.All() {
			ref[o] = n
		}
		less := true
		for o := Origin(0); o < 8; o++ {
			if v.Get(o) != ref[o] {
				t.Fatalf("%v: %s is %d, not %d", v, o, v.Get(o), ref[o])
			}
			less = less && v.Get(o) <= w.Get(o)
		}
		if v.LessEqual(w) != less {
			t.Fatalf("%v <= %v is %v", v, w, !less)
		}
		up, low := v.Clone(), v.Min(w)
		up.Merge(w)
		for o := Origin(0); o < 8; o++ {
			if up.Get(o) != max(v.Get(o), w.Get(o)) || low.Get(o) != min(v.Get(o), w.Get(o)) {
				t.Fatalf("%v, %v: merged %v, min %v", v, w, up, low)
			}
		}
		x := v.With(3, 77)
		if x.Get(3) != 77 || v.Get(3) != ref[3] || !slices.IsSortedFunc(x, func(a, b Dot) int { return less2(a, b) }) {
			t.Fatalf("%v with 3:77 is %v", v, x)
		}
		x.Set(3, 0)
		if x.Has(Dot{3, 1}) {
			t.Fatalf("%v has origin 3", x)
		}
		if !v.Equal(v.Clone()) || v.Equal(v.With(9, 1)) {
			t.Fatal("equality")
		}
	})
	v := VC{{1, 2}, {0xabc, 3}}
	if got, want := v.String(), "{0000000000000001:2 0000000000000abc:3}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, bad := range []VC{{{2, 1}, {1, 1}}, {{1, 1}, {1, 1}}, {{1, 0}}} {
		if _, err := DecodeVC(bad.AppendBinary(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v decodes: %v", bad, err)
		}
	}
}

func less2(a, b Dot) int { return Tag{a.Origin, a.N, 0}.Compare(Tag{b.Origin, b.N, 0}) }

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
		{MaxUID - 13, 0, 15, []UID{MaxUID - 12}},
		{MaxUID, 0, 15, nil},
		{MaxUID - 1, 0, 15, []UID{MaxUID}},
		{MaxUID - 100, 4000, 15, nil},
		{MaxUID - 16, 0, 1, nil},
		{MaxUID - 300, MaxUID, 1, nil},
		{0, 0, 0, nil},
		{0, 0, 16, nil},
	} {
		i := issuer{c.last, c.slot}
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
		i, j := issuer{last, a}, issuer{UID(rapid.Uint32Max(1000).Draw(t, "behind")) + last/2, b}
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

// one is a group of one replica.
func one(t *testing.T) (*world, func(func(*Site) (Payload, error)) *Op) {
	t.Helper()
	w := newWorld(1)
	return w, func(f func(*Site) (Payload, error)) *Op {
		t.Helper()
		op, err := w.do(0, f)
		if err != nil {
			t.Fatal(err)
		}
		if len(w.truth.errs) > 0 {
			t.Fatal(w.truth.errs)
		}
		return op
	}
}

func TestAppendKeepsWhatItIsGiven(t *testing.T) {
	w, do := one(t)
	a := Added{Root: Root{1}, Flags: []string{`\seen`, "$Work"}, Size: 10, Date: 1000, Zone: -90, Saved: 2000}
	op := do(func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{a, {Root: Root{2}, Size: 5}}, true)
	})
	if op == nil || len(a.Flags) != 2 || a.Flags[0] != `\seen` {
		t.Fatalf("changed its argument: %+v", a)
	}
	m, err := w.reps[0].mem.Message(Inbox, Tag{1, 1, 0})
	if err != nil || m == nil {
		t.Fatal(m, err)
	}
	if m.Size != 10 || m.Date != 1000 || m.Zone != -90 || m.Saved != 2000 || m.Exp != 17 || !m.Has(`\SEEN`) || !m.Has("$work") || m.Has(FlagDeleted) {
		t.Errorf("%+v", m)
	}
	if m, _ := w.reps[0].mem.Message(Inbox, Tag{1, 1, 1}); m == nil || m.Saved != simStart/1000 || m.Exp != 18 {
		t.Errorf("%+v", m)
	}
	b := w.reps[0].mem.boxes[Inbox]
	if b.Messages != 2 || b.Unseen != 1 || b.Bytes != 15 || b.Deleted != 0 || b.Instances != 2 {
		t.Errorf("%+v", b)
	}
}

func TestNothingToDo(t *testing.T) {
	w, do := one(t)
	op := do(func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{{Root: Root{1}, Flags: []string{FlagSeen}}}, true)
	})
	do(func(s *Site) (Payload, error) { return s.PrepareProvision() })
	do(func(s *Site) (Payload, error) { return s.PrepareBindLogin("me") })
	here := []Instance{{Inbox, Tag{op.Dot.Origin, op.Dot.N, 0}}}
	gone := []Instance{{Inbox, Tag{9, 9, 9}}}
	for name, f := range map[string]func(*Site) (Payload, error){
		"append of nothing":      func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, nil, true) },
		"flag that is set":       func(s *Site) (Payload, error) { return s.PrepareStore(here, StoreAdd, []string{`\seen`}) },
		"flag that is not set":   func(s *Site) (Payload, error) { return s.PrepareStore(here, StoreRemove, []string{"x"}) },
		"store of what is gone":  func(s *Site) (Payload, error) { return s.PrepareStore(gone, StoreReplace, nil) },
		"expunge of nothing":     func(s *Site) (Payload, error) { return s.PrepareExpunge(gone) },
		"move of nothing":        func(s *Site) (Payload, error) { return s.PrepareMove(gone, Inbox) },
		"provision":              func(s *Site) (Payload, error) { return s.PrepareProvision() },
		"bind":                   func(s *Site) (Payload, error) { return s.PrepareBindLogin("me") },
		"subscribe":              func(s *Site) (Payload, error) { return s.PrepareSubscribe("Sent", true) },
		"unsubscribe":            func(s *Site) (Payload, error) { return s.PrepareSubscribe("None", false) },
		"special use that it is": func(s *Site) (Payload, error) { return s.PrepareSpecialUse("Sent", `\Sent`) },
	} {
		if op := do(f); op != nil {
			t.Errorf("%s: %+v", name, op.Payload)
		}
	}
	if op := do(func(s *Site) (Payload, error) { return s.PrepareStore(here, StoreReplace, []string{FlagSeen}) }); op == nil {
		t.Error("replacing flags by the same is an operation")
	}
	if n := len(w.reps[0].mem.messages); n != 1 {
		t.Errorf("%d messages", n)
	}
}

func TestPrepareErrors(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	do(func(s *Site) (Payload, error) { return s.PrepareDelete("A") })
	do(func(s *Site) (Payload, error) { return s.PrepareBindLogin("me") })
	a := NewMailboxID("A", 1)
	one := []Added{{Root: Root{1}}}
	for name, c := range map[string]struct {
		want error
		f    func(*Site) (Payload, error)
	}{
		"append to what never was":   {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareAppend(77, one, true) }},
		"append to a dead mailbox":   {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareAppend(a, one, true) }},
		"move to a dead mailbox":     {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareMove(nil, a) }},
		"append with a bad flag":     {ErrFlag, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Flags: []string{`\x`}}}, true) }},
		"append of a monster":        {ErrLimit, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Size: 1 << 60}}, true) }},
		"store of a bad flag":        {ErrFlag, func(s *Site) (Payload, error) { return s.PrepareStore(nil, StoreAdd, []string{`\x`}) }},
		"create of INBOX":            {ErrAlreadyExists, func(s *Site) (Payload, error) { return s.PrepareCreate("iNBOX", "") }},
		"create without name":        {ErrName, func(s *Site) (Payload, error) { return s.PrepareCreate("", "") }},
		"create of a long use":       {ErrLimit, func(s *Site) (Payload, error) { return s.PrepareCreate("B", strings.Repeat("x", 101)) }},
		"delete of what is dead":     {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareDelete("A") }},
		"delete of a bad name":       {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareDelete("A//B") }},
		"delete of INBOX":            {ErrCannot, func(s *Site) (Payload, error) { return s.PrepareDelete("inbox") }},
		"rename of what is dead":     {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareRename("A", "B") }},
		"rename to INBOX":            {ErrAlreadyExists, func(s *Site) (Payload, error) { return s.PrepareRename("A", "inbox") }},
		"rename to no name":          {ErrName, func(s *Site) (Payload, error) { return s.PrepareRename("inbox", "/") }},
		"special use of nothing":     {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareSpecialUse("A", "") }},
		"subscription of a bad name": {ErrName, func(s *Site) (Payload, error) { return s.PrepareSubscribe("a//b", true) }},
		"login of somebody else":     {ErrOtherLogin, func(s *Site) (Payload, error) { return s.PrepareBindLogin("you") }},
		"login without name":         {ErrLimit, func(s *Site) (Payload, error) { return s.PrepareBindLogin("") }},
	} {
		if op, err := w.do(0, c.f); !errors.Is(err, c.want) || op != nil {
			t.Errorf("%s: %v, %v", name, op, err)
		}
	}
	if _, _, err := w.site(0).Announce(77); !errors.Is(err, ErrNonexistent) {
		t.Errorf("announce: %v", err)
	}
}

// TestImpossible: what no correct replica sends is refused before it changes anything.
func TestImpossible(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	a := NewMailboxID("A", 1)
	good := Added{UID: 17}
	time := w.site(0).Mod
	nowhere := []Instance{{77, Tag{1, 1, 0}}}
	deep := strings.Repeat("x", MaxNameLen+1)
	for name, op := range map[string]*Op{
		"nil":                       nil,
		"no payload":                {Dot: Dot{2, 1}, Time: time},
		"typed nil":                 {Dot: Dot{2, 1}, Time: time, Payload: (*Append)(nil)},
		"no origin":                 {Dot: Dot{0, 1}, Time: time, Payload: &Touch{a, 1}},
		"no number":                 {Dot: Dot{2, 0}, Time: time, Payload: &Touch{a, 1}},
		"no time":                   {Dot: Dot{2, 1}, Payload: &Touch{a, 1}},
		"time of slot 0":            {Dot: Dot{2, 1}, Time: time &^ 15, Payload: &Touch{a, 1}},
		"time beyond 53 bits":       {Dot: Dot{2, 1}, Time: 1<<53 | 1, Payload: &Touch{a, 1}},
		"depends on itself":         {Dot: Dot{2, 1}, Time: time, Deps: VC{{2, 1}}, Payload: &Touch{a, 1}},
		"append to nowhere":         {Payload: &Append{Box: 77}},
		"append without UID":        {Payload: &Append{Messages: []Added{good, {}}}},
		"append beyond the UIDs":    {Payload: &Append{Messages: []Added{{UID: MaxUID + 1}}}},
		"UID of another slot":       {Payload: &Append{Messages: []Added{{UID: 33}}}},
		"bad flag":                  {Payload: &Append{Messages: []Added{{UID: 17, Flags: []string{""}}}}},
		"huge message":              {Payload: &Append{Messages: []Added{{UID: 17, Size: 1 << 63}}}},
		"store nowhere":             {Payload: &Store{Targets: nowhere}},
		"store in no mode":          {Payload: &Store{Mode: 3}},
		"store of a bad flag":       {Payload: &Store{Flags: []string{`\Recent`}}},
		"store from the far future": {Payload: &Store{Mode: StoreReplace, Base: 1 << 60}},
		"expunge nowhere":           {Payload: &Expunge{nowhere}},
		"move to nowhere":           {Payload: &Move{Dst: 77}},
		"move from nowhere":         {Payload: &Move{Entries: []Moved{{From: nowhere[0], New: good}}}},
		"move of nothing":           {Payload: &Move{Entries: []Moved{{New: good}}}},
		"move twice":                {Payload: &Move{Entries: []Moved{{From: Instance{a, Tag{1, 1, 1}}, New: good}, {From: Instance{a, Tag{1, 1, 1}}, New: good}}}},
		"move of a copy nowhere":    {Payload: &Move{Entries: []Moved{{From: Instance{a, Tag{1, 1, 1}}, Copies: nowhere, New: good}}}},
		"move with a bad flag":      {Payload: &Move{Entries: []Moved{{From: Instance{a, Tag{1, 1, 1}}, New: good, State: []Flag{{Name: " "}}}}}},
		"move with a late flag":     {Payload: &Move{Entries: []Moved{{From: Instance{a, Tag{1, 1, 1}}, New: good, State: []Flag{{Name: "x", Time: 1 << 60}}}}}},
		"re-issue nowhere":          {Payload: &Reissue{Box: 77}},
		"re-issue of nothing":       {Payload: &Reissue{List: []TagUID{{}}}},
		"nudge nowhere":             {Payload: &Nudge{Box: 77}},
		"nudge too far":             {Payload: &Nudge{H: MaxUID + 1}},
		"create of another":         {Payload: &CreateMailbox{[]NewMailbox{{ID: a, Name: "B", Generation: 1, C: 1}}}},
		"create of generation 0":    {Payload: &CreateMailbox{[]NewMailbox{{ID: NewMailboxID("B", 0), Name: "B", C: 1}}}},
		"create with C 0":           {Payload: &CreateMailbox{[]NewMailbox{{ID: a, Name: "A", Generation: 1}}}},
		"create with C too large":   {Payload: &CreateMailbox{[]NewMailbox{{ID: a, Name: "A", Generation: 1, C: MaxC + 1}}}},
		"create of a long name":     {Payload: &CreateMailbox{[]NewMailbox{{ID: NewMailboxID(deep, 1), Name: deep, Generation: 1, C: 1}}}},
		"delete of INBOX":           {Payload: &DeleteMailbox{ID: Inbox}},
		"delete of nothing":         {Payload: &DeleteMailbox{ID: 77}},
		"rename of INBOX":           {Payload: &Rename{[]Renamed{{Inbox, "X", 1}}}},
		"rename of nothing":         {Payload: &Rename{[]Renamed{{a, "X", 1}, {77, "X", 1}}}},
		"rename to no name":         {Payload: &Rename{[]Renamed{{a, "", 1}}}},
		"rename with C 0":           {Payload: &Rename{[]Renamed{{a, "X", 0}}}},
		"INBOX moved to nowhere":    {Payload: &RenameInbox{Move: Move{Dst: a}}},
		"touch of nothing":          {Payload: &Touch{77, 1}},
		"touch with C 0":            {Payload: &Touch{a, 0}},
		"subscribe to no name":      {Payload: &Subscribe{"", true}},
		"special use of nothing":    {Payload: &SetSpecialUse{77, ""}},
		"long special use":          {Payload: &SetSpecialUse{a, deep}},
		"login without name":        {Payload: &BindLogin{""}},
	} {
		if op != nil && op.Dot == (Dot{}) {
			op.Dot, op.Time = Dot{2, 1}, time
		}
		before := string(w.reps[0].mem.append(nil))
		if more, err := w.site(0).Apply(op); !errors.Is(err, ErrImpossible) || more != nil {
			t.Errorf("%s: %v, %v", name, more, err)
		}
		if string(w.reps[0].mem.append(nil)) != before {
			t.Errorf("%s: changed something", name)
		}
	}
}

func TestApplyTwice(t *testing.T) {
	w, do := one(t)
	op := do(func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) })
	do(func(s *Site) (Payload, error) { return s.PrepareExpunge(w.instances(0, Inbox)) })
	if _, err := w.site(0).Apply(op); err != nil {
		t.Fatal(err)
	}
	if n := len(w.reps[0].mem.messages); n != 0 {
		t.Errorf("%d messages came back", n)
	}
}

func TestClockBehind(t *testing.T) {
	w, do := one(t)
	op := do(func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) })
	s := w.site(0)
	s.Mod = op.Time - 16
	p, err := s.PrepareExpunge(w.instances(0, Inbox))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Apply(&Op{Dot: Dot{1, 2}, Time: s.Mod, Payload: p}); !errors.Is(err, ErrClock) {
		t.Errorf("%v", err)
	}
}

// TestRemovalReportsEveryUID: a client may have a removed message under any UID
// that it ever had, from a replica that is behind; all vanish with the removal.
func TestRemovalReportsEveryUID(t *testing.T) {
	w := newWorld(2)
	do := func(i int, f func(*Site) (Payload, error)) *Op {
		t.Helper()
		op, err := w.do(i, f)
		if err != nil || op == nil {
			t.Fatal(op, err)
		}
		return op
	}
	do(0, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) })
	at := w.instances(0, Inbox)
	do(0, func(s *Site) (Payload, error) { return s.reissueAll(at) })
	w.flow()
	do(0, func(s *Site) (Payload, error) { return s.PrepareExpunge(at) })
	w.flow()
	for i, r := range w.reps {
		for _, u := range []UID{17, 26} {
			if got, want := r.mem.vanished[Inbox][u], r.mem.boxes[Inbox].High; got != want {
				t.Errorf("replica %d: UID %d vanished at %d, removal was %d", i, u, got, want)
			}
		}
	}
}

// TestNudgeCarriesHorizon: a client's evidence may have raised the nudger's horizon
// above all that the leader has heard of. The leader issues above it at once.
func TestNudgeCarriesHorizon(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}, {Root: Root{2}}}, true) })
	in := w.instances(0, Inbox)
	nudge := &Nudge{H: 4000, List: []TagUID{{in[0].Tag, 17}, {in[1].Tag, 3}}}
	more, err := w.site(0).Apply(&Op{Dot: Dot{2, 1}, Time: w.site(0).Mod, Payload: nudge})
	if err != nil || len(more) != 1 {
		t.Fatal(more, err)
	}
	// The second has another UID than the one that was refused: no need.
	p, ok := more[0].(*Reissue)
	if !ok || len(p.List) != 1 || p.List[0].Tag != in[0].Tag || p.List[0].UID <= 4000 {
		t.Errorf("%+v", more[0])
	}
	w.reps[0].self.Leader = false
	more, err = w.site(0).Apply(&Op{Dot: Dot{2, 2}, Time: w.site(0).Mod, Payload: nudge})
	if err != nil || len(more) != 0 {
		t.Errorf("not the leader: %v, %v", more, err)
	}
}

// TestSameValueLater: a write of what is there already, but later, gets a MODSEQ,
// because it may decide against a write between the two that only others had.
func TestSameValueLater(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}, Flags: []string{FlagSeen}}}, true) })
	m := func() *Message { return w.reps[0].mem.messages[Instance{Inbox, Tag{1, 1, 0}}] }
	before := m().Mod
	later := w.site(0).Mod
	store := func(n uint64, time Time, mode StoreMode) {
		t.Helper()
		p := &Store{Targets: w.instances(0, Inbox), Mode: mode, Flags: []string{FlagSeen}}
		if _, err := w.site(0).Apply(&Op{Dot: Dot{2, n}, Time: time, Payload: p}); err != nil {
			t.Fatal(err)
		}
	}
	store(1, later, StoreAdd)
	if m().Mod == before {
		t.Error("no MODSEQ for a later write of the same value")
	}
	before = m().Mod
	store(2, later-16, StoreRemove)
	if m().Mod != before || !m().Has(FlagSeen) {
		t.Error("an earlier write changed something")
	}
}

// TestFirstBindingWins in whatever order two arrive.
func TestFirstBindingWins(t *testing.T) {
	for _, order := range [][]int{{0, 1}, {1, 0}} {
		w, _ := one(t)
		first := w.site(0).Mod
		ops := []*Op{
			{Dot: Dot{2, 1}, Time: first, Payload: &BindLogin{"first"}},
			{Dot: Dot{3, 1}, Time: first + 16, Payload: &BindLogin{"second"}},
		}
		for _, i := range order {
			if _, err := w.site(0).Apply(ops[i]); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.reps[0].mem.account.Login.Value; got != "first" {
			t.Errorf("order %v: bound to %q", order, got)
		}
	}
}

// TestUIDSpaceEnds: near 2^32 there are errors, no wrap.
func TestUIDSpaceEnds(t *testing.T) {
	w := newWorld(2)
	for _, r := range w.reps {
		r.mem.boxes[Inbox].N = MaxUID - 5
	}
	if op, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) }); !errors.Is(err, ErrUIDSpace) {
		t.Errorf("append: %v, %v", op, err)
	}
	w = newWorld(2)
	add := func(i int) {
		t.Helper()
		if _, err := w.do(i, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}}, true) }); err != nil {
			t.Fatal(err)
		}
	}
	add(0)
	add(1)
	w.reps[1].mem.boxes[Inbox].N = MaxUID
	w.announce(1, Inbox)
	w.flow()
	w.reps[0].mem.boxes[Inbox].N = MaxUID
	w.now += 10000
	w.tick(1, true)
	w.flow()
	w.tick(0, true)
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
	if m := w.reps[1].mem.messages[Instance{Inbox, Tag{1, 1, 0}}]; m.Exp != 0 || m.Refused == 0 {
		t.Errorf("shown as %d", m.Exp)
	}
}

// TestUIDValidityEnds: the growing part is used up: an error, no wrap.
func TestUIDValidityEnds(t *testing.T) {
	w, do := one(t)
	do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
	w.reps[0].mem.used["B"] = MaxC<<20 | 5
	for name, f := range map[string]func(*Site) (Payload, error){
		"create": func(s *Site) (Payload, error) { return s.PrepareCreate("B", "") },
		"rename": func(s *Site) (Payload, error) { return s.PrepareRename("A", "B") },
	} {
		if op, err := w.do(0, f); !errors.Is(err, ErrUIDSpace) {
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

// TestAuditFinds: the checker sees what it is there to see.
func TestAuditFinds(t *testing.T) {
	for name, spoil := range map[string]func(*Memory, *Mailbox, *Message){
		"messages":       func(_ *Memory, b *Mailbox, _ *Message) { b.Messages++ },
		"unseen":         func(_ *Memory, b *Mailbox, _ *Message) { b.Unseen-- },
		"deleted":        func(_ *Memory, b *Mailbox, _ *Message) { b.Deleted++ },
		"bytes":          func(_ *Memory, b *Mailbox, _ *Message) { b.Bytes++ },
		"instances":      func(_ *Memory, b *Mailbox, _ *Message) { b.Instances++ },
		"N":              func(_ *Memory, b *Mailbox, _ *Message) { b.N = 1 },
		"largest shown":  func(_ *Memory, b *Mailbox, _ *Message) { b.MaxExp = 1 },
		"C":              func(_ *Memory, b *Mailbox, _ *Message) { b.C = 0 },
		"identity":       func(_ *Memory, b *Mailbox, _ *Message) { b.Created = "else" },
		"MODSEQ":         func(_ *Memory, _ *Mailbox, m *Message) { m.Mod++ },
		"used":           func(s *Memory, b *Mailbox, _ *Message) { s.used[b.Name.Value] = 1 },
		"shown UID":      func(_ *Memory, _ *Mailbox, m *Message) { m.Exp = 12 },
		"two of one UID": func(_ *Memory, _ *Mailbox, m *Message) { m.Exp, m.Reg, m.All = 17, 17, []UID{17} },
		"register":       func(_ *Memory, _ *Mailbox, m *Message) { m.Reg++ },
		"tag":            func(_ *Memory, _ *Mailbox, m *Message) { m.Tag.N++ },
		"flags":          func(_ *Memory, _ *Mailbox, m *Message) { m.Flags = []Flag{{Name: "b"}, {Name: "a"}} },
		"hidden":         func(_ *Memory, _ *Mailbox, m *Message) { m.Exp = 0 },
		"awaited":        func(s *Memory, b *Mailbox, m *Message) { s.awaiting[Instance{b.ID, m.Tag}] = true },
		"awaiting ghost": func(s *Memory, _ *Mailbox, _ *Message) { s.awaiting[Instance{5, Tag{}}] = true },
		"no twin":        func(s *Memory, _ *Mailbox, m *Message) { delete(s.twins, m.twinKey()) },
		"ghost twin":     func(s *Memory, _ *Mailbox, m *Message) { s.twins[m.twinKey()][Instance{5, Tag{}}] = true },
		"loser shown": func(s *Memory, b *Mailbox, m *Message) {
			o := s.messages[Instance{b.ID, Tag{1, 2, 0}}]
			o.Src, o.SrcTime = m.Src, m.SrcTime-1
			s.twins[m.twinKey()][Instance{b.ID, o.Tag}] = true
		},
	} {
		w, do := one(t)
		do(func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") })
		a := NewMailboxID("A", 1)
		do(func(s *Site) (Payload, error) {
			return s.PrepareAppend(a, []Added{{Root: Root{1}}, {Root: Root{2}}}, true)
		})
		do(func(s *Site) (Payload, error) { return s.PrepareMove(w.instances(0, a)[1:], a) })
		mem := w.reps[0].mem
		if err := Audit(mem); err != nil {
			t.Fatal(err)
		}
		spoil(mem, mem.boxes[a], mem.messages[Instance{a, Tag{1, 3, 0}}])
		if err := Audit(mem); err == nil {
			t.Errorf("%s: not found", name)
		}
	}
}
