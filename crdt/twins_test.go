package crdt

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// caused is an instance that an operation with a cause has added.
type caused struct {
	key     TwinKey
	attempt uint32
	at      Instance
	dot     Dot
	deps    VC
}

// observeCauses finds out which instances supersede which, by the definition.
func (t *truth) observeCauses(op *Op) {
	dst := func() MailboxID {
		switch p := op.Payload.(type) {
		case *Append:
			return p.Box
		case *Move:
			return p.Dst
		case *RenameInbox:
			return p.Move.Dst
		}
		return 0
	}()
	for i, m := range causesOf(op) {
		key, ok := m.causeKey()
		if !ok {
			continue
		}
		n := caused{key, m.Cause.Attempt, Instance{dst, op.tag(i)}, op.Dot, op.Deps.Clone()}
		for _, o := range t.caused {
			if o.key != key || o.attempt == n.attempt || n.deps.Has(o.dot) {
				continue
			}
			loser, winner := o, n
			if o.attempt > n.attempt {
				loser, winner = n, o
			}
			t.gone[loser.at] = true
			t.superseded[loser.at] = append(slices.Clip(t.superseded[loser.at]), winner.dot)
		}
		t.caused = append(slices.Clip(t.caused), n)
	}
}

// lookCauses checks that replica i has nothing that a replay has superseded of
// which it knows.
func (w *world) lookCauses(i int) {
	r := w.reps[i]
	if r.loading.begun() {
		return // its vector says more than is there
	}
	for at := range r.mem.messages {
		for _, d := range w.truth.superseded[at] {
			if r.vec.Has(d) {
				w.truth.fail("C21: replica %d has %v, which %v has superseded", i, at.Tag, d)
			}
		}
	}
}

// forget lets replica i forget what is stable, in small steps.
func (w *world) forget(i int) {
	r := w.reps[i]
	for at := (Forgetting{}); !at.Done(); {
		var err error
		if at, err = (&Site{State: r.mem, Self: r.self}).Forget(r.bodies.stable, at, 2); err != nil {
			w.truth.fail("forget at %d: %v", i, err)
			return
		}
	}
}

// finalCauses checks that nothing is on file when all is stable but what two
// MOVEs compete for.
func (w *world) finalCauses() {
	w.finalContents()
	for i, r := range w.reps {
		if len(r.mem.replays) > 0 || r.mem.account.Replays != 0 {
			w.truth.fail("%d remembers %d replays, counts %d", i, len(r.mem.replays), r.mem.account.Replays)
		}
		for key, group := range r.mem.twins {
			if len(group) < 2 {
				w.truth.fail("%d keeps %v under %v", i, group, key)
			}
		}
		for at, m := range r.mem.messages {
			if filed := r.mem.twins[m.twinKey()][at]; (!m.Src.IsZero() || !m.Cause.IsZero()) && !filed {
				w.truth.fail("%d keeps the cause of %v", i, at.Tag)
			}
		}
	}
}

// command is a client's command and the attempts at it.
type command struct {
	cause    Cause
	what     string
	box      MailboxID
	targets  []Instance // MOVE and COPY
	flags    []string
	n        int // APPEND
	attempts []Dot
}

// sessions are commands that may be executed at several replicas.
type sessions struct {
	*act
	commands []*command
}

// begin executes a new command at replica i.
func (s *sessions) begin(i int) {
	c := &command{cause: Cause{Session: [16]byte{1}, Command: uint64(len(s.commands) + 1)}, flags: s.flags()}
	c.what = []string{"append", "append", "move", "copy"}[s.pick(4, "command")]
	from, _ := s.box(i)
	c.box, _ = s.box(i)
	switch c.what {
	case "append":
		c.n = 1 + s.pick(2, "count")
	default:
		c.targets = s.shown(i, from)
	}
	s.commands = append(s.commands, c)
	s.execute(c, i)
}

// again executes a command once more: at a replica that knows of no attempt, as
// happens when a session moves, or anywhere.
func (s *sessions) again(i int) {
	if len(s.commands) == 0 {
		return
	}
	c := s.commands[len(s.commands)-1-s.pick(min(3, len(s.commands)), "which")]
	known := slices.ContainsFunc(c.attempts, func(d Dot) bool { return s.w.reps[i].mem.account.Vector.Has(d) })
	if known && s.pick(8, "careless") > 0 {
		return
	}
	c.cause.Attempt++
	s.execute(c, i)
}

func (s *sessions) execute(c *command, i int) {
	w := s.w
	w.cause = c.cause
	op, err := w.do(i, func(site *Site) (Payload, error) {
		switch c.what {
		case "append":
			var list []Added
			for range c.n { // the content is the same, its root is not
				s.n++
				list = append(list, Added{Root: Root{byte(s.n), byte(s.n >> 8), 2}, Flags: c.flags})
			}
			return site.PrepareAppend(c.box, list, true)
		case "move":
			return site.PrepareMove(c.targets, c.box)
		}
		var list []Added
		for _, at := range c.targets {
			if m := w.reps[i].mem.messages[at]; m != nil {
				list = append(list, Added{Root: m.Root, Flags: m.FlagNames()})
			}
		}
		return site.PrepareAppend(c.box, list, false)
	})
	w.cause = Cause{}
	if err != nil && !expected(err) {
		s.t.Fatalf("%s at %d: %v", c.what, i, err)
	}
	if op != nil {
		c.attempts = append(c.attempts, op.Dot)
	}
}

// TestReplays executes commands and replays them elsewhere, with whatever other
// sessions do meanwhile, and holds all replicas to the definition of what is
// superseded (crdt.md 2.3): at once, at the end, and whatever was forgotten.
func TestReplays(t *testing.T) {
	actions := slices.Concat([]string{"store", "store", "expunge", "move", "sync"}, systemActions,
		[]string{"command", "command", "replay", "replay", "replay"})
	for _, load := range []bool{false, true} {
		more := []string{"collect", "ack"}
		if load {
			more = []string{"snapshot", "load", "load", "load all"}
		}
		actions := append(slices.Clip(actions), more...)
		t.Run(more[0], func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := &sessions{act: &act{t: t, w: newWorld(rapid.IntRange(2, 4).Draw(t, "replicas"))}}
				w := s.w
				w.clients = []*client{{map[MailboxID]*cached{}}}
				if _, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") }); err != nil {
					t.Fatal(err)
				}
				w.flow()
				if load { // who has which contents is not the subject, see TestLoadConverges
					for _, r := range w.reps {
						r.bodies.all = true
					}
				}
				for range rapid.IntRange(5, 60).Draw(t, "steps") {
					i := s.pick(len(w.reps), "replica")
					switch what := actions[s.pick(len(actions), "action")]; {
					case what == "command":
						s.begin(i)
					case what == "replay":
						s.again(i)
					default:
						s.step([]string{what})
					}
					if len(w.truth.errs) > 0 {
						t.Fatal(strings.Join(w.truth.errs, "\n"))
					}
				}
				w.final()
				if !load {
					w.finalCauses()
				}
				if len(w.truth.errs) > 0 {
					t.Fatal(strings.Join(w.truth.errs, "\n"))
				}
			})
		})
	}
}

// TestSuperseded: a replica that knows of a later attempt makes no earlier one.
func TestSuperseded(t *testing.T) {
	w := newWorld(2)
	add := []Added{{Root: Root{1}}}
	cause := Cause{Session: [16]byte{1}, Command: 5}
	appendTo := func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, add, true) }
	w.cause = Cause{Session: cause.Session, Command: 5, Attempt: 1}
	if _, err := w.do(0, appendTo); err != nil {
		t.Fatal(err)
	}
	w.flow()
	s := w.site(1)
	p, err := appendTo(s)
	if err != nil {
		t.Fatal(err)
	}
	op := &Op{Dot: Dot{2, 1}, Deps: w.reps[1].vec, Time: s.Mod, Cause: cause, Payload: p}
	if _, err := s.Apply(op); !errors.Is(err, ErrSuperseded) {
		t.Errorf("first attempt after the second: %v", err)
	}
	if w.reps[1].mem.account.Vector.Has(op.Dot) {
		t.Error("it was applied")
	}
	op.Cause.Command = 6
	if _, err := s.Apply(op); err != nil {
		t.Errorf("another command: %v", err)
	}
}

// TestReplaysExhaustive goes through all orders in which three replicas can get
// the attempts at one command and what users do to them.
func TestReplaysExhaustive(t *testing.T) {
	type step struct {
		at   int
		what string // of the message that is shown here
	}
	for _, c := range []struct {
		name  string
		steps []step
	}{
		{"expunged", []step{{0, "try"}, {1, "try"}, {1, "expunge"}}},
		{"moved", []step{{0, "try"}, {1, "try"}, {1, "move"}, {1, "expunge"}}},
		{"stored", []step{{0, "try"}, {1, "try"}, {1, "store"}}},
		{"both stored", []step{{0, "try"}, {0, "store"}, {1, "try"}, {1, "store"}}},
		{"original moved", []step{{0, "try"}, {0, "move"}, {1, "try"}, {1, "expunge"}}},
		{"original expunged", []step{{0, "try"}, {0, "expunge"}, {1, "try"}}},
		{"two replays", []step{{0, "try"}, {1, "try"}, {2, "try"}, {2, "expunge"}}},
		{"two replays, the first expunged", []step{{0, "try"}, {1, "try"}, {1, "expunge"}, {2, "try"}}},
		{"replay first", []step{{1, "second"}, {1, "expunge"}, {0, "first"}}},
	} {
		for _, what := range []string{"append", "move", "copy"} {
			t.Run(c.name+" "+what, func(t *testing.T) {
				if len(c.steps) > 3 && !*exhaustive {
					t.Skip("takes many seconds: make exhaustive")
				}
				x := &replayed{what: what, seen: map[[16]byte]bool{}}
				w := newWorld(3)
				w.noAudit = true
				if _, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") }); err != nil {
					t.Fatal(err)
				}
				if _, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{'a'}}}, true) }); err != nil {
					t.Fatal(err)
				}
				w.flow()
				list := make([]func(*world) bool, len(c.steps))
				for i, s := range c.steps {
					list[i] = func(w *world) bool { return x.step(w, s.at, s.what) }
				}
				x.explore(w, list)
				t.Logf("%d states, %d ends", x.states, x.ends)
				for _, e := range x.errs {
					t.Error(e)
				}
			})
		}
	}
}

// replayed explores a world in which the steps happen in order, and deliveries
// and collections at any time.
type replayed struct {
	what         string
	seen         map[[16]byte]bool
	states, ends int
	errs         []string
}

func (x *replayed) explore(w *world, steps []func(*world) bool) {
	k := w.key(left{ops: len(steps)})
	if x.seen[k] || len(x.errs) > 0 {
		return
	}
	x.seen[k] = true
	x.states++
	try := func(steps []func(*world) bool, f func(*world) bool) {
		if v := w.clone(); f(v) {
			x.fail(v)
			x.explore(v, steps)
		}
	}
	if len(steps) > 0 {
		v := w.clone()
		steps[0](v) // there may be nothing to do
		x.fail(v)
		x.explore(v, steps[1:])
	}
	for i := range w.reps {
		for j := range w.reps {
			try(steps, func(v *world) bool { return v.deliver(i, j) })
		}
	}
	try(steps, func(v *world) bool {
		v.ackAll()
		for i := range v.reps {
			v.collect(i)
		}
		return true
	})
	if len(steps) == 0 && !w.inFlight() {
		x.ends++
		v := w.clone()
		v.final()
		v.finalCauses()
		x.fail(v)
	}
}

func (x *replayed) fail(w *world) {
	if len(w.truth.errs) > 0 {
		x.errs = append(x.errs, strings.Join(w.truth.errs, "\n"))
	}
}

// step does something at replica i: an attempt at the command if none is known
// there, or a user's command on what is in A.
func (x *replayed) step(w *world, i int, what string) bool {
	if what == "try" || what == "first" || what == "second" {
		return x.try(w, i, what)
	}
	a := NewMailboxID("A", 1)
	var in []Instance
	for _, at := range slices.SortedFunc(maps.Keys(w.reps[i].mem.messages), Instance.Compare) {
		if at.Box == a {
			in = append(in, at)
		}
	}
	op, err := w.do(i, func(s *Site) (Payload, error) {
		switch what {
		case "expunge":
			return s.PrepareExpunge(in)
		case "move":
			return s.PrepareMove(in, a)
		}
		return s.PrepareStore(in, StoreAdd, []string{FlagFlagged})
	})
	return err == nil && op != nil
}

func (x *replayed) try(w *world, i int, what string) bool {
	c := Cause{Session: [16]byte{9}, Command: 7}
	for _, o := range w.truth.caused {
		if w.reps[i].vec.Has(o.dot) {
			return false // it is known here what became of it
		}
		c.Attempt = max(c.Attempt, o.attempt+1)
	}
	switch what {
	case "first":
		c.Attempt = 0
	case "second":
		c.Attempt = 1
	}
	w.cause = c
	a := NewMailboxID("A", 1)
	op, err := w.do(i, func(s *Site) (Payload, error) {
		switch x.what {
		case "append":
			return s.PrepareAppend(a, []Added{{Root: Root{byte(c.Attempt), 1}, Flags: []string{FlagSeen}}}, true)
		case "move":
			return s.PrepareMove(w.instances(i, Inbox), a)
		}
		return s.PrepareAppend(a, []Added{{Root: Root{'a'}}}, false)
	})
	w.cause = Cause{}
	return err == nil && op != nil
}
