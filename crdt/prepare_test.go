package crdt

import (
	"errors"
	"strings"
	"testing"
)

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
		"append of nothing":     func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, nil, true) },
		"flag that is set":      func(s *Site) (Payload, error) { return s.PrepareStore(here, StoreAdd, []string{`\seen`}) },
		"flag that is not set":  func(s *Site) (Payload, error) { return s.PrepareStore(here, StoreRemove, []string{"x"}) },
		"store of what is gone": func(s *Site) (Payload, error) { return s.PrepareStore(gone, StoreReplace, nil) },
		"expunge of nothing":    func(s *Site) (Payload, error) { return s.PrepareExpunge(gone) },
		"move of nothing":       func(s *Site) (Payload, error) { return s.PrepareMove(gone, Inbox) },
		"provision":             func(s *Site) (Payload, error) { return s.PrepareProvision() },
		"bind":                  func(s *Site) (Payload, error) { return s.PrepareBindLogin("me") },
		"subscribe":             func(s *Site) (Payload, error) { return s.PrepareSubscribe("Sent", true) },
		"unsubscribe":           func(s *Site) (Payload, error) { return s.PrepareSubscribe("None", false) },
		"no annotation":         func(s *Site) (Payload, error) { return s.PrepareAnnotate(nil) },
		"annotation not there": func(s *Site) (Payload, error) {
			return s.PrepareAnnotate(noted(Annotation{Entry: "/shared/x"}, Note{}))
		},
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
		"append to what never was": {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareAppend(77, one, true) }},
		"append to a dead mailbox": {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareAppend(a, one, true) }},
		"move to a dead mailbox":   {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareMove(nil, a) }},
		"append with a bad flag":   {ErrFlag, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Flags: []string{`\x`}}}, true) }},
		"append of a monster":      {ErrLimit, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Size: 1 << 60}}, true) }},
		"store of a bad flag":      {ErrFlag, func(s *Site) (Payload, error) { return s.PrepareStore(nil, StoreAdd, []string{`\x`}) }},
		"create of INBOX":          {ErrAlreadyExists, func(s *Site) (Payload, error) { return s.PrepareCreate("iNBOX", "") }},
		"create without name":      {ErrName, func(s *Site) (Payload, error) { return s.PrepareCreate("", "") }},
		"create of a long use":     {ErrLimit, func(s *Site) (Payload, error) { return s.PrepareCreate("B", strings.Repeat("x", 101)) }},
		"delete of what is dead":   {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareDelete("A") }},
		"delete of a bad name":     {ErrNonexistent, func(s *Site) (Payload, error) { return s.PrepareDelete("A//B") }},
		"annotation of a bad name": {ErrName, func(s *Site) (Payload, error) { return s.PrepareAnnotate(noted(Annotation{Entry: "/x"}, Note{})) }},
		"annotation that is long": {ErrLimit, func(s *Site) (Payload, error) {
			return s.PrepareAnnotate(noted(Annotation{Entry: "/shared/x"}, Note{true, strings.Repeat("x", MaxNoteLen+1)}))
		}},
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
