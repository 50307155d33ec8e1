package crdt

import (
	"errors"
	"strings"
	"testing"
)

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
		"append hidden for ever":    {Payload: &Append{Messages: []Added{good}, Hold: 1 << 30}},
		"append without UID":        {Payload: &Append{Messages: []Added{good, {}}}},
		"append beyond the UIDs":    {Payload: &Append{Messages: []Added{{UID: MaxNumber + 1}}}},
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
		"epoch 0":                   {Payload: &RaiseEpoch{}},
		"epoch of no mailbox":       {Payload: &RaiseEpoch{1, []RaisedMailbox{{77, 5, 1}}}},
		"epoch in a later era":      {Payload: &RaiseEpoch{1, []RaisedMailbox{{a, NewUID(1, 5), 1}}}},
		"epoch without validity":    {Payload: &RaiseEpoch{1, []RaisedMailbox{{a, 5, 0}}}},
		"renumber nowhere":          {Payload: &Renumber{Box: 77, Era: 1}},
		"renumber to era 0":         {Payload: &Renumber{}},
		"renumber to a far era":     {Payload: &Renumber{Era: 2}},
		"renumber beyond the era":   {Payload: &Renumber{Era: 1, List: []TagUID{{UID: NewUID(2, 17)}}}},
		"renumber to an old UID":    {Payload: &Renumber{Era: 1, List: []TagUID{{UID: 17}}}},
		"renumber of another slot":  {Payload: &Renumber{Era: 1, List: []TagUID{{UID: NewUID(1, 33)}}}},
		"nudge nowhere":             {Payload: &Nudge{Box: 77}},
		"append in a later era":     {Payload: &Append{Messages: []Added{{UID: NewUID(1, 17)}}}},
		"move in a later era":       {Payload: &Move{Entries: []Moved{{From: Instance{a, Tag{1, 1, 1}}, New: Added{UID: NewUID(1, 17)}}}}},
		"re-issue in a later era":   {Payload: &Reissue{List: []TagUID{{UID: NewUID(1, 17)}}}},
		"nudge in a later era":      {Payload: &Nudge{H: NewUID(1, 0)}},
		"nudge too far":             {Payload: &Nudge{H: MaxNumber + 1}},
		"create of another":         {Payload: &CreateMailbox{[]NewMailbox{{ID: a, Name: "B", Generation: 1, C: 1}}}},
		"create of generation 0":    {Payload: &CreateMailbox{[]NewMailbox{{ID: NewMailboxID("B", 0), Name: "B", C: 1}}}},
		"create with C 0":           {Payload: &CreateMailbox{[]NewMailbox{{ID: a, Name: "A", Generation: 1}}}},
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
		"annotation of nothing":     {Payload: &Annotate{noted(Annotation{Box: 77, Entry: "/shared/x"}, Note{})}},
		"annotation of both":        {Payload: &Annotate{noted(Annotation{Box: a, Server: true, Entry: "/shared/x"}, Note{})}},
		"annotation in capitals":    {Payload: &Annotate{noted(Annotation{Box: a, Entry: "/shared/X"}, Note{})}},
		"long annotation":           {Payload: &Annotate{noted(Annotation{Box: a, Entry: "/shared/x"}, Note{true, strings.Repeat("x", MaxNoteLen+1)})}},
		"many annotations":          {Payload: &Annotate{make([]Annotated, maxNoteList+1)}},
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
	do(func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{{Root: Root{1}}, {Root: Root{2}}}, true)
	})
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
	do(func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{{Root: Root{1}, Flags: []string{FlagSeen}}}, true)
	})
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
