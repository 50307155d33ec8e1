package crdt

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// simNames are few, so that replicas meet on them.
var simNames = []string{"A", "B", "A/x", "B/x", "INBOX"}

// act does one random thing in the world.
type act struct {
	t *rapid.T
	w *world
	n int // contents drawn
}

func (a *act) pick(n int, what string) int { return rapid.IntRange(0, n-1).Draw(a.t, what) }

// box draws a mailbox that is shown at replica i.
func (a *act) box(i int) (MailboxID, string) {
	list, err := (&Site{State: a.w.reps[i].mem, Self: a.w.reps[i].self}).List()
	if err != nil {
		a.t.Fatal(err)
	}
	l := list[a.pick(len(list), "mailbox")]
	return l.Box.ID, l.Name
}

// shown draws up to three messages that are shown in a mailbox at replica i.
func (a *act) shown(i int, box MailboxID) []Instance {
	tags, _ := a.w.reps[i].mem.Tags(box)
	var list []Instance
	for _, t := range tags {
		if a.w.reps[i].mem.messages[Instance{box, t}].Exp != 0 {
			list = append(list, Instance{box, t})
		}
	}
	var out []Instance
	for range min(len(list), 1+a.pick(3, "messages")) {
		k := a.pick(len(list), "message")
		out = append(out, list[k])
		list = slices.Delete(list, k, k+1)
	}
	return out
}

func (a *act) name() string { return simNames[a.pick(len(simNames), "name")] }

func (a *act) flags() []string {
	all := []string{FlagSeen, FlagDeleted, "$Work", "$work"}
	return all[a.pick(len(all), "from"):][:1]
}

// step does something; which names the actions that are allowed.
func (a *act) step(actions []string) {
	w, i := a.w, a.pick(len(a.w.reps), "replica")
	w.now += int64(a.pick(40, "ms"))
	what := actions[a.pick(len(actions), "action")]
	_, err := w.do(i, func(s *Site) (Payload, error) {
		switch what {
		case "append":
			box, _ := a.box(i)
			return s.PrepareAppend(box, a.fresh(), true)
		case "post":
			box, _ := a.box(i)
			return s.PrepareDelivery(box, a.fresh(), int64(a.pick(600, "hold")))
		case "copy":
			box, _ := a.box(i)
			dst, _ := a.box(i)
			return s.PrepareAppend(dst, a.copies(i, box), false)
		case "store":
			box, _ := a.box(i)
			return s.PrepareStore(a.shown(i, box), StoreMode(a.pick(3, "mode")), a.flags())
		case "expunge":
			box, _ := a.box(i)
			return s.PrepareExpunge(a.shown(i, box))
		case "move":
			box, _ := a.box(i)
			dst, _ := a.box(i)
			return s.PrepareMove(a.shown(i, box), dst)
		case "epoch":
			return s.PrepareEpoch(uint32(a.pick(4, "epoch")))
		case "create":
			return s.PrepareCreate(a.name(), "")
		case "delete":
			_, name := a.box(i)
			return s.PrepareDelete(name)
		case "rename":
			_, name := a.box(i)
			return s.PrepareRename(name, a.name())
		case "annotate":
			return s.PrepareAnnotate(a.notes(i))
		case "subscribe":
			return s.PrepareSubscribe(a.name(), a.pick(2, "on") == 1)
		case "provision":
			return s.PrepareProvision()
		case "bind":
			return s.PrepareBindLogin(a.name())
		}
		a.local(what, i)
		return nil, nil
	})
	if err != nil && !expected(err) {
		a.t.Fatalf("%s at %d: %v", what, i, err)
	}
	if len(w.truth.errs) > 0 {
		a.t.Fatalf("after %s at %d: %s", what, i, strings.Join(w.truth.errs, "\n"))
	}
}

// local does what is no operation.
func (a *act) local(what string, i int) {
	w := a.w
	switch what {
	case "deliver":
		w.deliver(i, a.pick(len(w.reps), "to"))
	case "flow":
		w.flow()
	case "ack":
		w.ack(i, a.pick(len(w.reps), "by"))
	case "collect":
		w.collect(i)
		w.lookContents(i)
	case "announce":
		box, _ := a.box(i)
		w.announce(i, box)
	case "renumber":
		box, _ := a.box(i)
		w.renumber(i, box)
	case "evidence":
		box, _ := a.box(i)
		w.now += 60_000
		w.evidence(i, box, w.reps[i].mem.boxes[box].N+UID(a.pick(100, "above")))
	case "approach":
		// All replicas have heard of the UIDs that lie between.
		box, _ := a.box(i)
		if w.flow(); a.pick(2, "all") == 0 {
			w.settle()
		}
		w.approach(box, UID(a.pick(600, "left")))
	case "sync":
		box, _ := a.box(i)
		w.sync(w.clients[a.pick(len(w.clients), "client")], i, box)
	case "tick":
		w.tick(i, a.pick(4, "force") == 0)
	case "wait":
		w.now += 400
		w.tick(i, false)
	case "restart":
		w.restart(i)
	case "watch":
		box, _ := a.box(i)
		w.reps[i].watched[box] = !w.reps[i].watched[box]
		w.announce(i, box)
	case "snapshot", "load", "load all":
		a.load(what, i)
	default:
		a.roam(what, i)
	}
}

// notes returns annotations of a mailbox or of the account, set or removed.
func (a *act) notes(i int) []Annotated {
	id, _ := a.box(i)
	of := Annotation{Box: id, Entry: "/private/a"}
	if a.pick(3, "server") == 0 {
		of = Annotation{Server: true, Entry: "/shared/b"}
	}
	a.n++
	return []Annotated{{of, Note{There: a.pick(3, "there") > 0}}}
}

func (a *act) fresh() []Added {
	var out []Added
	for range 1 + a.pick(2, "count") {
		a.n++
		out = append(out, Added{Root: Root{byte(a.n), byte(a.n >> 8), 1}, Size: uint64(a.n), Date: int64(a.n), Flags: a.flags()})
	}
	return out
}

func (a *act) copies(i int, box MailboxID) []Added {
	var out []Added
	for _, x := range a.shown(i, box) {
		m := a.w.reps[i].mem.messages[x]
		out = append(out, Added{Root: m.Root, Size: m.Size, Date: m.Date, Zone: m.Zone, Flags: m.FlagNames()})
	}
	return out
}

var (
	messageActions = []string{"append", "append", "store", "store", "expunge", "move", "copy", "sync", "announce", "watch"}
	moveActions    = []string{"append", "store", "expunge", "move", "move", "move", "move", "sync", "sync"}
	mailboxActions = []string{"create", "create", "delete", "rename", "append", "subscribe", "annotate", "provision", "bind"}
	eraActions     = []string{"renumber", "renumber", "approach", "append", "move", "post", "evidence"}
	systemActions  = []string{"deliver", "deliver", "deliver", "deliver", "deliver", "flow", "tick", "wait", "restart"}
)

// TestConvergence runs random commands at random replicas with random causal
// delivery, and checks the invariants of crdt.md section 7 after each.
func TestConvergence(t *testing.T) {
	for _, c := range []struct {
		name    string
		actions []string
		leader  bool
		setup   []string
	}{
		{"messages", slices.Concat(messageActions, systemActions), true, []string{"A", "B"}},
		{"moves", slices.Concat(moveActions, systemActions), true, []string{"A"}},
		{"no leader", slices.Concat(messageActions, systemActions), false, []string{"A"}},
		{"mailboxes", slices.Concat(mailboxActions, systemActions), true, nil},
		{"deliveries", slices.Concat(messageActions, systemActions, []string{"post", "post", "post", "evidence"}), true, []string{"A"}},
		{"epochs", slices.Concat(mailboxActions, messageActions, eraActions, systemActions, []string{"epoch", "epoch", "epoch"}), true, nil},
		{"eras", slices.Concat(messageActions, eraActions, systemActions), true, []string{"A"}},
		{"eras and names", slices.Concat(mailboxActions, messageActions, eraActions, systemActions), false, []string{"A"}},
		{"all", slices.Concat(messageActions, mailboxActions, systemActions), true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				n := rapid.IntRange(2, 4).Draw(t, "replicas")
				a := &act{t: t, w: newWorld(n)}
				a.w.clients = []*client{{map[MailboxID]*cached{}}, {map[MailboxID]*cached{}}}
				a.w.reps[0].self.Leader = c.leader
				for _, name := range c.setup {
					if _, err := a.w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate(name, "") }); err != nil {
						t.Fatal(err)
					}
				}
				a.w.flow()
				for range rapid.IntRange(5, 60).Draw(t, "steps") {
					a.step(c.actions)
				}
				a.w.final()
				if len(a.w.truth.errs) > 0 {
					t.Fatal(strings.Join(a.w.truth.errs, "\n"))
				}
			})
		})
	}
}

func expected(err error) bool {
	for _, e := range []error{ErrUIDSpace, ErrNonexistent, ErrAlreadyExists, ErrCannot, ErrOtherLogin} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
