package crdt

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// explorer goes through every interleaving of a bounded number of commands,
// synchronisations of one roaming client, timeouts, restarts and deliveries, and
// lets every state in which commands and deliveries are used up run dry and be checked.
type explorer struct {
	budget   int // states
	commands func(w *world, i int) []prepared
	ms       int64 // pass with each step
	seen     map[[16]byte]bool

	states, transitions, leaves int
	errs                        []string
}

// left is what may still happen on a path: commands, synchronisations of the
// client, polls of one that is driven by UIDNEXT, timeouts that come early,
// restarts, signs of life between replicas, snapshots.
type left struct{ ops, syncs, polls, fires, restarts, hears, loads int }

func (x *explorer) done() bool { return len(x.errs) > 0 || x.states >= x.budget }

func (x *explorer) explore(w *world, l left, path []string) {
	k := w.key(l)
	if x.seen[k] || x.done() {
		return
	}
	x.seen[k] = true
	x.states++
	step := func(l left, name string, f func(*world) bool) {
		if x.done() {
			return
		}
		v := w.clone()
		if !f(v) {
			return
		}
		v.now += x.ms
		x.transitions++
		p := append(slices.Clip(path), name)
		if x.failed(v, p) {
			return
		}
		x.explore(v, l, p)
	}
	if l.ops > 0 {
		next := l
		next.ops--
		for i := range w.reps {
			for _, c := range x.commands(w, i) {
				step(next, fmt.Sprintf("%s@%d", c.name, i), func(v *world) bool {
					op, err := v.do(i, c.prepare)
					return op != nil && err == nil
				})
			}
		}
	}
	for i := range w.reps {
		if l.syncs > 0 {
			next := l
			next.syncs--
			step(next, fmt.Sprintf("sync@%d", i), func(v *world) bool { v.syncAll(i); return true })
		}
		if l.polls > 0 {
			next := l
			next.polls--
			step(next, fmt.Sprintf("poll@%d", i), func(v *world) bool {
				v.now += evidencePause
				v.poll(v.pollers[0], i, Inbox, true)
				return true
			})
		}
		for j := range w.reps {
			if next := l; l.hears > 0 && i != j {
				next.hears--
				step(next, fmt.Sprintf("%d hears %d", i, j), func(v *world) bool { v.note(i); v.hear(i, j); return true })
			}
			step(l, fmt.Sprintf("%d>%d", i, j), func(v *world) bool { return v.deliver(i, j) })
			if next := l; l.loads > 0 && i != j {
				next.loads--
				step(next, fmt.Sprintf("snapshot@%d of %d", i, j), func(v *world) bool { return v.snapshot(i, j) })
			}
		}
		if w.reps[i].loading != nil {
			step(l, fmt.Sprintf("load@%d", i), func(v *world) bool { return v.loadStep(i) })
		}
		if l.fires > 0 && len(w.reps[i].mem.awaiting) > 0 {
			next := l
			next.fires--
			step(next, fmt.Sprintf("timeout@%d", i), func(v *world) bool { v.tick(i, true); return true })
		}
		if l.restarts > 0 {
			next := l
			next.restarts--
			step(next, fmt.Sprintf("restart@%d", i), func(v *world) bool { v.restart(i); return true })
		}
	}
	if l.ops == 0 && !w.inFlight() {
		x.leaves++
		v := w.clone()
		v.final()
		v.finalPolls()
		x.failed(v, append(slices.Clip(path), "final"))
	}
}

// syncAll lets the first client look at all mailboxes of replica i.
func (w *world) syncAll(i int) {
	for _, id := range slices.Sorted(maps.Keys(w.reps[i].mem.boxes)) {
		if w.reps[i].mem.boxes[id].Live() {
			w.sync(w.clients[0], i, id)
		}
	}
}

// finalPolls checks I9: clients driven by UIDNEXT have found every message.
func (w *world) finalPolls() {
	for _, p := range w.pollers {
		for i := range w.reps {
			w.now += evidencePause
			w.poll(p, i, Inbox, true)
			var live []string
			for _, at := range w.visible(i, Inbox) {
				live = append(live, string(w.reps[i].mem.messages[at].Root[:]))
			}
			if n := p.missing(live); n > 0 {
				w.truth.fail("I9: %d messages of replica %d are never found", n, i)
			}
		}
	}
}

// inFlight reports whether anything is left to deliver.
func (w *world) inFlight() bool {
	return slices.ContainsFunc(w.queue, func(row [][]*Op) bool {
		return slices.ContainsFunc(row, func(q []*Op) bool { return len(q) > 0 })
	})
}

func (x *explorer) failed(w *world, path []string) bool {
	if len(w.truth.errs) == 0 {
		return false
	}
	x.errs = append(x.errs, strings.Join(path, "; ")+":\n"+strings.Join(w.truth.errs, "\n"))
	return true
}

// key identifies a state of the world: everything but what the checker knows,
// which differs only by the way there.
func (w *world) key(l left) (k [16]byte) {
	var b []byte
	b = fmt.Append(b, l, w.now)
	for i, r := range w.reps {
		b = r.loading.append(r.mem.append(b))
		b = fmt.Append(b, r.clock, r.told)
		if w.roaming {
			b = r.tokens.append(b)
		}
		for j := range w.reps {
			b = append(b, '|')
			for _, op := range w.queue[i][j] {
				b, _ = op.AppendBinary(b)
			}
		}
	}
	for _, p := range w.pollers {
		b = fmt.Append(b, *p)
	}
	for _, c := range w.clients {
		for _, id := range slices.Sorted(maps.Keys(c.cache)) {
			x := c.cache[id]
			b = fmt.Append(b, id, x.UIDValidity, x.Rows, x.ModSeq, x.vec)
		}
	}
	sum := sha256.Sum256(b)
	return [16]byte(sum[:])
}

// append writes the whole state, volatile parts too.
func (s *Memory) append(b []byte) []byte {
	b = s.account.AppendBinary(b)
	for _, id := range slices.Sorted(maps.Keys(s.boxes)) {
		b = s.boxes[id].AppendBinary(b)
		tags, _ := s.Tags(id)
		for _, t := range tags {
			b = s.messages[Instance{id, t}].AppendBinary(b)
		}
		b = fmt.Append(b, s.vanished[id])
	}
	return fmt.Append(b, s.twins, s.replays, s.used, s.subs, s.notes, s.account.Provisioned, s.account.Login)
}

var exhaustive = flag.Bool("exhaustive", false, "TestExhaustive: also what takes many minutes")

// family is a small world and what may happen in it.
type family struct {
	name     string
	replicas int
	left     left
	commands func(w *world, i int) []prepared
	base     func(t *testing.T) func(w *world) // what is there before, nil: nothing
	watched  bool                              // a session has INBOX selected at every replica
	leaders  int                               // how many take themselves for the leader, less 1
	roaming  bool                              // MODSEQs are translated
	hidden   int64                             // ms that a message may be hidden when one is given
	size     size
}

// size says when a family is explored.
type size int

const (
	small size = iota // always
	large             // not with -short
	huge              // by make exhaustive
)

func families() []family {
	return []family{
		{name: "messages, 3 commands", replicas: 2, left: left{ops: 3}, commands: messageCommands},
		{name: "messages, 2 commands, 2 syncs, timeout", replicas: 2, left: left{ops: 2, syncs: 2, fires: 1}, commands: messageCommands},
		{name: "messages, 2 commands, sync, timeout, restart", replicas: 2, left: left{ops: 2, syncs: 1, fires: 1, restarts: 1}, commands: messageCommands},
		{name: "messages, 2 commands, sync, timeout, watched", replicas: 2, left: left{ops: 2, syncs: 1, fires: 1}, commands: messageCommands, watched: true},
		{name: "messages, 2 commands, sync, 2 timeouts, watched, no leader", replicas: 2, left: left{ops: 2, syncs: 1, fires: 2}, commands: messageCommands, watched: true, leaders: -1},
		{name: "messages, 2 commands, sync, 2 timeouts, watched, two leaders", replicas: 2, left: left{ops: 2, syncs: 1, fires: 2}, commands: messageCommands, watched: true, leaders: 1},
		{name: "eras, 3 commands", replicas: 2, left: left{ops: 3}, commands: eraCommands},
		{name: "eras, 2 commands, 2 syncs, timeout", replicas: 2, left: left{ops: 2, syncs: 2, fires: 1}, commands: eraCommands},
		{name: "eras, 2 commands, sync, restart, watched", replicas: 2, left: left{ops: 2, syncs: 1, restarts: 1}, commands: eraCommands, watched: true},
		{name: "copies, 2 commands", replicas: 2, left: left{ops: 2}, commands: copyCommands, base: twoMailboxes},
		{name: "names, 3 commands", replicas: 2, left: left{ops: 3}, commands: nameCommands},
		{name: "trees, 2 commands", replicas: 2, left: left{ops: 2}, commands: treeCommands, base: tree},
		{name: "all, 2 commands", replicas: 2, left: left{ops: 2}, commands: allCommands, base: everything},

		{name: "messages, 4 commands", replicas: 2, left: left{ops: 4}, commands: messageCommands, size: large},
		{name: "messages, 3 replicas, 2 commands, sync", replicas: 3, left: left{ops: 2, syncs: 1}, commands: messageCommands, size: large},
		{name: "eras, 3 commands, sync", replicas: 2, left: left{ops: 3, syncs: 1}, commands: eraCommands, size: large},
		{name: "eras, 3 replicas, 2 commands", replicas: 3, left: left{ops: 2}, commands: eraCommands, size: large},
		{name: "UIDNEXT, 2 commands, 2 polls, timeout", replicas: 2, left: left{ops: 2, polls: 2, fires: 1}, commands: messageCommands, size: large},
		{name: "roaming, 2 commands, 2 syncs, sign of life", replicas: 2, left: left{ops: 2, syncs: 2, hears: 1}, commands: messageCommands, roaming: true, size: large},
		{name: "roaming, the same, messages hidden for long", replicas: 2, left: left{ops: 2, syncs: 2, hears: 1}, commands: messageCommands, roaming: true, hidden: 25, size: huge},
		{name: "copies, 3 commands", replicas: 2, left: left{ops: 3}, commands: copyCommands, base: twoMailboxes, size: large},
		{name: "names, 4 commands", replicas: 2, left: left{ops: 4}, commands: nameCommands, size: large},

		{name: "messages, 3 commands, 2 syncs, timeout", replicas: 2, left: left{ops: 3, syncs: 2, fires: 1}, commands: messageCommands, size: huge},
		{name: "messages, 3 commands, sync, timeout, restart", replicas: 2, left: left{ops: 3, syncs: 1, fires: 1, restarts: 1}, commands: messageCommands, size: huge},
		{name: "messages, 4 commands, sync", replicas: 2, left: left{ops: 4, syncs: 1}, commands: messageCommands, size: huge},
		{name: "messages, 4 commands, timeout, watched", replicas: 2, left: left{ops: 4, fires: 1}, commands: messageCommands, watched: true, size: huge},
		{name: "messages, 3 replicas, 2 commands, 2 syncs", replicas: 3, left: left{ops: 2, syncs: 2}, commands: messageCommands, size: huge},
		{name: "messages, 3 replicas, 2 commands, sync, timeout, restart, watched", replicas: 3, left: left{ops: 2, syncs: 1, fires: 1, restarts: 1}, commands: messageCommands, watched: true, size: huge},
		{name: "eras, 4 commands", replicas: 2, left: left{ops: 4}, commands: eraCommands, size: huge},
		{name: "eras, 3 commands, sync, timeout, restart, watched", replicas: 2, left: left{ops: 3, syncs: 1, fires: 1, restarts: 1}, commands: eraCommands, watched: true, size: huge},
		{name: "UIDNEXT, 3 commands, 3 polls", replicas: 2, left: left{ops: 3, polls: 3}, commands: messageCommands, size: huge},
		{name: "UIDNEXT, 2 commands, 3 polls, timeout, restart", replicas: 2, left: left{ops: 2, polls: 3, fires: 1, restarts: 1}, commands: messageCommands, size: huge},
		{name: "UIDNEXT, 3 replicas, 2 commands, 2 polls", replicas: 3, left: left{ops: 2, polls: 2}, commands: messageCommands, size: huge},
		{name: "roaming, 3 commands, 2 syncs", replicas: 2, left: left{ops: 3, syncs: 2}, commands: messageCommands, roaming: true, size: huge},
		{name: "roaming, 2 commands, 2 syncs, timeout, sign of life", replicas: 2, left: left{ops: 2, syncs: 2, fires: 1, hears: 1}, commands: messageCommands, roaming: true, size: huge},
		{name: "copies, 3 commands, sync, timeout", replicas: 2, left: left{ops: 3, syncs: 1, fires: 1}, commands: copyCommands, base: twoMailboxes, size: huge},
		{name: "copies, 4 commands", replicas: 2, left: left{ops: 4}, commands: copyCommands, base: twoMailboxes, size: huge},
		{name: "copies, 3 replicas, 2 commands", replicas: 3, left: left{ops: 2}, commands: copyCommands, base: twoMailboxes, size: huge},
		{name: "names, 4 commands, sync", replicas: 2, left: left{ops: 4, syncs: 1}, commands: nameCommands, size: huge},
		{name: "names, 3 replicas, 3 commands", replicas: 3, left: left{ops: 3}, commands: nameCommands, size: huge},
		{name: "trees, 3 commands", replicas: 2, left: left{ops: 3}, commands: treeCommands, base: tree, size: huge},
		{name: "all, 2 commands, sync, timeout, restart", replicas: 2, left: left{ops: 2, syncs: 1, fires: 1, restarts: 1}, commands: allCommands, base: everything, size: huge},
		{name: "all, 3 commands", replicas: 2, left: left{ops: 3}, commands: allCommands, base: everything, size: huge},
		{name: "all, 3 replicas, 2 commands", replicas: 3, left: left{ops: 2}, commands: allCommands, base: everything, size: huge},
	}
}

// TestExhaustive explores small worlds completely: every interleaving of what is
// left, over all commands of crdt.md. It prints how many states (equal ones count
// once), transitions and ends there were.
func TestExhaustive(t *testing.T) {
	for _, f := range slices.Concat(families(), loadFamilies()) {
		t.Run(f.name, func(t *testing.T) {
			switch {
			case f.size == huge && !*exhaustive:
				t.Skip("takes minutes: make exhaustive")
			case f.size == large && !*exhaustive:
				t.Skip("takes a minute with the race detector: make exhaustive")
			}
			t.Parallel()
			began := time.Now()
			x := &explorer{budget: 5_000_000, commands: f.commands, seen: map[[16]byte]bool{}}
			if f.hidden > 0 {
				x.ms = 10
			}
			x.explore(f.world(t), f.left, nil)
			t.Logf("%s: %d states, %d transitions, %d ends, %d violations, %v",
				f.name, x.states, x.transitions, x.leaves, len(x.errs), time.Since(began).Round(time.Second/10))
			for _, e := range x.errs {
				t.Error(e)
			}
			if x.states >= x.budget {
				t.Errorf("not complete after %d states", x.states)
			}
		})
	}
}

// world makes the world in which a family begins.
func (f *family) world(t *testing.T) *world {
	w := newWorld(f.replicas)
	w.clients = []*client{{map[MailboxID]*cached{}}}
	w.roaming = f.roaming
	if f.left.polls > 0 {
		w.pollers = []*uidClient{{}}
	}
	for i, r := range w.reps {
		r.self.Leader = i <= f.leaders
		r.self.Policy.Hidden = f.hidden
		r.tokens = NewTokens(r.self, 0, Spacing{Keep: 1 << 40})
	}
	if f.base != nil {
		f.base(t)(w)
		w.flow()
	}
	for _, r := range w.reps {
		r.watched[Inbox] = f.watched
	}
	w.noAudit = true
	return w
}
