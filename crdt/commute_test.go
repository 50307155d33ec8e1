package crdt

import (
	"fmt"
	"strings"
	"testing"
)

// prepared is a way to prepare an operation in the world of commuteBase.
type prepared struct {
	name    string
	prepare func(*Site) (Payload, error)
}

// commuteBase is an account that four replicas agree on: mailboxes A and B, a
// deleted one, messages with flags, two copies of one message by concurrent
// MOVEs, and a message that replica 1 refuses to show under its UID.
func commuteBase(t *testing.T) *world {
	t.Helper()
	w := newWorld(4)
	must := func(i int, f func(*Site) (Payload, error)) *Op {
		t.Helper()
		op, err := w.do(i, f)
		if err != nil {
			t.Fatal(err)
		}
		return op
	}
	a, b := NewMailboxID("A", 1), NewMailboxID("B", 1)
	for _, name := range []string{"A", "A/x", "B", "Dead"} {
		must(0, func(s *Site) (Payload, error) { return s.PrepareCreate(name, "") })
	}
	must(0, func(s *Site) (Payload, error) { return s.PrepareDelete("Dead") })
	for i := range byte(4) {
		must(0, func(s *Site) (Payload, error) {
			return s.PrepareAppend(a, []Added{{Root: Root{i + 1}, Size: 10, Flags: []string{FlagSeen, "$Old"}[i%2:]}}, true)
		})
	}
	must(0, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{9}}}, true) })
	w.flow()
	moved := w.instances(0, a)[3:4]
	must(0, func(s *Site) (Payload, error) { return s.PrepareMove(moved, b) })
	must(1, func(s *Site) (Payload, error) { return s.PrepareMove(moved, b) })
	must(0, func(s *Site) (Payload, error) { return s.PrepareAppend(b, []Added{{Root: Root{7}}}, true) })
	must(1, func(s *Site) (Payload, error) { return s.PrepareAppend(b, []Added{{Root: Root{8}}}, true) })
	w.announce(1, b)
	w.flow()
	return w
}

// instances lists what a replica has in a mailbox, by tag.
func (w *world) instances(i int, box MailboxID) []Instance {
	tags, _ := w.reps[i].mem.Tags(box)
	var out []Instance
	for _, t := range tags {
		out = append(out, Instance{box, t})
	}
	return out
}

// everyOperation prepares each kind of operation in its variants.
func everyOperation(w *world) []prepared {
	a, ax, b, dead := NewMailboxID("A", 1), NewMailboxID("A/x", 1), NewMailboxID("B", 1), NewMailboxID("Dead", 1)
	inA, inB, inbox := w.instances(0, a), w.instances(0, b), w.instances(0, Inbox)
	payload := func(p Payload) func(*Site) (Payload, error) {
		return func(*Site) (Payload, error) { return p, nil }
	}
	list := []prepared{
		{"append", func(s *Site) (Payload, error) {
			return s.PrepareAppend(a, []Added{{Root: Root{20}}, {Root: Root{21}}}, true)
		}},
		{"append to B", func(s *Site) (Payload, error) { return s.PrepareAppend(b, []Added{{Root: Root{22}}}, true) }},
		{"copy", func(s *Site) (Payload, error) {
			return s.PrepareAppend(b, []Added{{Root: Root{1}, Flags: []string{FlagSeen}}}, false)
		}},
		{"deliver", func(s *Site) (Payload, error) {
			return s.PrepareDelivery(a, []Added{{Root: Root{23}}}, 100)
		}},
		{"expunge", func(s *Site) (Payload, error) { return s.PrepareExpunge(inA[:2]) }},
		{"expunge twins", func(s *Site) (Payload, error) { return s.PrepareExpunge(inB[:1]) }},
		{"expunge one twin", payload(&Expunge{inB[1:2]})},
		{"move", func(s *Site) (Payload, error) { return s.PrepareMove(inA[:2], b) }},
		{"move to INBOX", func(s *Site) (Payload, error) { return s.PrepareMove(inA[1:], Inbox) }},
		{"move to itself", func(s *Site) (Payload, error) { return s.PrepareMove(inA[:1], a) }},
		{"move twins", func(s *Site) (Payload, error) { return s.PrepareMove(inB, a) }},
		{"reissue", func(s *Site) (Payload, error) { return s.reissueAll(inA) }},
		{"reissue in B", func(s *Site) (Payload, error) { return s.reissueAll(inB) }},
		{"nudge", payload(&Nudge{Box: b, H: 4000, List: []TagUID{{inB[0].Tag, 17}}})},
		{"renumber", func(s *Site) (Payload, error) { return first(s.PrepareRenumber(a)) }},
		{"renumber B", func(s *Site) (Payload, error) { return first(s.PrepareRenumber(b)) }},
		{"raise epoch", func(s *Site) (Payload, error) { return s.PrepareEpoch(1) }},
		{"raise it twice", func(s *Site) (Payload, error) { return s.PrepareEpoch(2) }},
		{"create", func(s *Site) (Payload, error) { return s.PrepareCreate("C/y", `\Sent`) }},
		{"revive", func(s *Site) (Payload, error) { return s.PrepareCreate("Dead", "") }},
		{"provision", func(s *Site) (Payload, error) { return s.PrepareProvision() }},
		{"delete A", func(s *Site) (Payload, error) { return s.PrepareDelete("A") }},
		{"delete B", func(s *Site) (Payload, error) { return s.PrepareDelete("B") }},
		{"rename", func(s *Site) (Payload, error) { return s.PrepareRename("A", "C") }},
		{"rename to Dead", func(s *Site) (Payload, error) { return s.PrepareRename("B", "Dead") }},
		{"rename inferior", func(s *Site) (Payload, error) { return s.PrepareRename("A/x", "C") }},
		{"rename INBOX", func(s *Site) (Payload, error) { return s.PrepareRename("INBOX", "C") }},
		{"rename INBOX to Dead", func(s *Site) (Payload, error) { return s.PrepareRename("INBOX", "Dead") }},
		{"touch", payload(&Touch{ax, 9})},
		{"touch dead", payload(&Touch{dead, 7})},
		{"subscribe", func(s *Site) (Payload, error) { return s.PrepareSubscribe("A", true) }},
		{"unsubscribe", payload(&Subscribe{"A", false})},
		{"annotate", func(s *Site) (Payload, error) {
			return s.PrepareAnnotate([]Annotated{{Annotation{Box: ax, Entry: "/private/x"}, Note{true, "1"}}, {Annotation{Server: true, Entry: "/shared/x"}, Note{true, "1"}}})
		}},
		{"annotate otherwise", payload(&Annotate{[]Annotated{{Annotation{Box: ax, Entry: "/private/x"}, Note{true, "2"}}}})},
		{"unannotate", payload(&Annotate{[]Annotated{{Annotation{Box: ax, Entry: "/private/x"}, Note{}}, {Annotation{Server: true, Entry: "/shared/x"}, Note{}}}})},
		{"annotate dead", payload(&Annotate{[]Annotated{{Annotation{Box: dead, Entry: "/private/x"}, Note{true, ""}}}})},
		{"special use", func(s *Site) (Payload, error) { return s.PrepareSpecialUse("A", `\Junk`) }},
		{"other special use", func(s *Site) (Payload, error) { return s.PrepareSpecialUse("A", `\Trash`) }},
		{"bind", func(s *Site) (Payload, error) { return s.PrepareBindLogin("user") }},
		{"bind other", func(s *Site) (Payload, error) { return s.PrepareBindLogin("other") }},
		{"send away", payload(&SetHome{Subnet: "elsewhere", Target: "worker"})},
		{"arrive", payload(&SetHome{Subnet: "here", Boxes: []RaisedMailbox{{ID: a, N: 5000, C: 3}, {ID: dead, N: 9, C: 1}}})},
	}
	for _, mode := range []StoreMode{StoreAdd, StoreRemove, StoreReplace} {
		for _, flags := range [][]string{{FlagSeen}, {"$old", FlagDeleted}, {"$OLD"}} {
			list = append(list, prepared{fmt.Sprintf("store %d %v", mode, flags), payload(&Store{Targets: inA, Mode: mode, Flags: flags})})
		}
		list = append(list, prepared{fmt.Sprintf("store %d elsewhere", mode), payload(&Store{Targets: append(inB, inbox...), Mode: mode, Flags: []string{FlagSeen}})})
	}
	return list
}

// first returns the first of the payloads that are prepared.
func first(list []Payload, err error) (Payload, error) {
	if len(list) == 0 {
		return nil, err
	}
	return list[0], err
}

func (s *Site) reissueAll(list []Instance) (Payload, error) {
	b, err := s.mailbox(list[0].Box)
	if err != nil {
		return nil, err
	}
	messages := make([]*Message, len(list))
	for i, x := range list {
		messages[i] = &Message{Tag: x.Tag}
	}
	p, err := s.reissue(b, messages)
	return p[0], err
}

// TestConcurrentOperationsCommute prepares every pair of operations concurrently
// and applies them in both orders; then everybody must come to agree.
func TestConcurrentOperationsCommute(t *testing.T) {
	base := commuteBase(t)
	base.noAudit = true // but at the end
	ops := everyOperation(base)
	kinds := map[kind]bool{}
	for i, x := range ops {
		for j, y := range ops {
			if testing.Short() && (i+j)%5 != 0 {
				continue
			}
			w := base.clone()
			p, err := w.do(0, x.prepare)
			if err != nil || p == nil {
				t.Fatalf("%s: %v %v", x.name, p, err)
			}
			q, err := w.do(1, y.prepare)
			if err != nil || q == nil {
				t.Fatalf("%s: %v %v", y.name, q, err)
			}
			kinds[p.Payload.kind()] = true
			v := w.clone()
			v.apply(2, v.site(2), p)
			v.apply(2, v.site(2), q)
			v.apply(3, v.site(3), q)
			v.apply(3, v.site(3), p)
			if a, b := v.reps[2].mem.replicated(), v.reps[3].mem.replicated(); a != b {
				t.Errorf("%s and %s do not commute:\n%s\n%s", x.name, y.name, a, b)
			}
			w.final()
			for i, r := range w.reps {
				if err := Audit(r.mem); err != nil {
					t.Errorf("%s at 0, %s at 1: audit of %d: %v", x.name, y.name, i, err)
				}
			}
			if len(w.truth.errs) > 0 {
				t.Errorf("%s at 0, %s at 1: %s", x.name, y.name, strings.Join(w.truth.errs, "\n"))
			}
		}
	}
	for k := kindAppend; newPayload(k) != nil; k++ {
		if !kinds[k] {
			t.Errorf("no pair with %T", newPayload(k))
		}
	}
}

// TestConditionsAreNeeded drops the conditions under which operations commute,
// one after the other: that what an operation refers to was delivered before it,
// and that times are unique. Each has an example that diverges.
func TestConditionsAreNeeded(t *testing.T) {
	a := NewMailboxID("A", 1)
	append0 := &Append{Box: a, Messages: []Added{{Root: Root{20}, UID: 4113}}}
	added := Tag{Origin: 1, N: 100}
	for _, c := range []struct {
		name string
		x, y Payload
		same bool // the two operations have the same time
	}{
		{"append happens before expunge", append0, &Expunge{[]Instance{{a, added}}}, false},
		{"append happens before store", append0, &Store{Targets: []Instance{{a, added}}, Flags: []string{FlagSeen}}, false},
		{"append happens before move", append0, &Move{Dst: Inbox, Entries: []Moved{{From: Instance{a, added}, New: Added{UID: 4114}}}}, false},
		{"append happens before re-issue", append0, &Reissue{Box: a, List: []TagUID{{added, 4369}}}, false},
		{"append happens before delete of the mailbox", append0, &DeleteMailbox{ID: a, Tags: []Tag{added}}, false},
		{
			"create happens before delete",
			&CreateMailbox{[]NewMailbox{{ID: a, Name: "A", Generation: 1, C: 1}}}, &DeleteMailbox{ID: a, Dots: []Dot{added.Dot()}}, false,
		},
		{"times are unique: names", &Rename{[]Renamed{{a, "P", 1}}}, &Rename{[]Renamed{{a, "Q", 1}}}, true},
		{"times are unique: subscriptions", &Subscribe{"A", true}, &Subscribe{"A", false}, true},
		{
			"times are unique: annotations", &Annotate{[]Annotated{{Annotation{Box: a, Entry: "/shared/x"}, Note{true, "1"}}}},
			&Annotate{[]Annotated{{Annotation{Box: a, Entry: "/shared/x"}, Note{true, "2"}}}}, true,
		},
		{"times are unique: special uses", &SetSpecialUse{a, `\Sent`}, &SetSpecialUse{a, `\Junk`}, true},
		{"times are unique: logins", &BindLogin{"a"}, &BindLogin{"b"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := commuteBase(t)
			time := w.site(0).Mod
			p := &Op{Dot: added.Dot(), Time: time, Payload: c.x}
			q := &Op{Dot: Dot{2, 100}, Time: time + 1<<20, Payload: c.y}
			if c.same {
				q.Time = time
			}
			w.apply(2, w.site(2), p)
			w.apply(2, w.site(2), q)
			w.apply(3, w.site(3), q)
			w.apply(3, w.site(3), p)
			if len(w.truth.errs) > 0 {
				t.Fatal(w.truth.errs)
			}
			if w.reps[2].mem.replicated() == w.reps[3].mem.replicated() {
				t.Error("the order does not matter")
			}
		})
	}
}

// TestFlagTies: equal times cannot happen, but if they do flags agree still.
func TestFlagTies(t *testing.T) {
	for _, order := range [][]bool{{true, false}, {false, true}} {
		m := new(Message)
		for _, on := range order {
			m.setFlag(FlagSeen, 5, on)
		}
		if !m.Has(FlagSeen) {
			t.Errorf("set %v: off", order)
		}
	}
}
