package crdt

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
)

// explorer goes through every interleaving of a bounded number of commands,
// synchronisations of one roaming client, timeouts, restarts and deliveries, and
// lets every state in which commands and deliveries are used up run dry and be checked.
type explorer struct {
	budget         int // states
	names, eras    bool
	ms             int64 // pass with each step
	seen           map[[32]byte]bool
	states, leaves int
	errs           []string
}

// left is what may still happen on a path.
type left struct{ ops, syncs, fires, restarts, hears int }

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
			step(next, fmt.Sprintf("sync@%d", i), func(v *world) bool { v.sync(v.clients[0], i, Inbox); return true })
		}
		for j := range w.reps {
			if next := l; l.hears > 0 && i != j {
				next.hears--
				step(next, fmt.Sprintf("%d hears %d", i, j), func(v *world) bool { v.note(i); v.hear(i, j); return true })
			}
			step(l, fmt.Sprintf("%d>%d", i, j), func(v *world) bool { return v.deliver(i, j) })
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
		x.failed(v, append(slices.Clip(path), "final"))
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

// commands are those that a client may give at replica i.
func (x *explorer) commands(w *world, i int) []prepared {
	if x.names {
		return nameCommands()
	}
	out := []prepared{{"append", func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{{Root: Root{byte(len(w.truth.added) + 1)}}}, true)
	}}}
	if x.eras {
		touch := w.reps[i].mem.boxes[Inbox].C + 1
		out = append(out,
			prepared{"renumber", func(s *Site) (Payload, error) { return first(s.PrepareRenumber(Inbox)) }},
			prepared{"touch", func(*Site) (Payload, error) { return &Touch{Inbox, touch}, nil }})
	}
	for _, at := range w.instances(i, Inbox) {
		m := w.reps[i].mem.messages[at]
		if m.Exp == 0 {
			continue
		}
		in, mode := []Instance{at}, StoreAdd
		if m.Has(FlagSeen) {
			mode = StoreRemove
		}
		out = append(out,
			prepared{fmt.Sprintf("store(%d)", m.Exp), func(s *Site) (Payload, error) { return s.PrepareStore(in, mode, []string{FlagSeen}) }},
			prepared{fmt.Sprintf("expunge(%d)", m.Exp), func(s *Site) (Payload, error) { return s.PrepareExpunge(in) }},
			prepared{fmt.Sprintf("move(%d)", m.Exp), func(s *Site) (Payload, error) { return s.PrepareMove(in, Inbox) }})
	}
	return out
}

func nameCommands() []prepared {
	var out []prepared
	for _, n := range [][2]string{{"A", "B"}, {"B", "A"}} {
		a, b := n[0], n[1]
		out = append(out,
			prepared{"create " + a, func(s *Site) (Payload, error) { return s.PrepareCreate(a, "") }},
			prepared{"delete " + a, func(s *Site) (Payload, error) { return s.PrepareDelete(a) }},
			prepared{"rename " + a, func(s *Site) (Payload, error) { return s.PrepareRename(a, b) }},
			prepared{"append " + a, func(s *Site) (Payload, error) {
				box, err := s.Lookup(a)
				if err != nil || box == nil {
					return nil, err
				}
				return s.PrepareAppend(box.ID, []Added{{Root: Root{1}}}, true)
			}})
	}
	return out
}

// key identifies a state of the world: everything but what the checker knows,
// which differs only by the way there.
func (w *world) key(l left) (k [32]byte) {
	var b []byte
	b = fmt.Append(b, l, w.now)
	for i, r := range w.reps {
		b = r.mem.append(b)
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
	for _, c := range w.clients {
		for _, id := range slices.Sorted(maps.Keys(c.cache)) {
			x := c.cache[id]
			b = fmt.Append(b, id, x.UIDValidity, x.Rows, x.ModSeq, x.vec)
		}
	}
	return sha256.Sum256(b)
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
	return fmt.Append(b, s.used)
}

// TestExhaustive explores small worlds completely.
func TestExhaustive(t *testing.T) {
	for _, c := range []struct {
		name     string
		replicas int
		left     left
		names    bool
		eras     bool
		watched  bool
		long     bool
		roaming  bool  // MODSEQs are translated
		hidden   int64 // ms that a message may be hidden when one is given
	}{
		{name: "3 commands", replicas: 2, left: left{ops: 3}},
		{name: "2 commands, 2 syncs, timeout", replicas: 2, left: left{ops: 2, syncs: 2, fires: 1}},
		{name: "2 commands, 1 sync, timeout, restart", replicas: 2, left: left{ops: 2, syncs: 1, fires: 1, restarts: 1}},
		{name: "2 commands, timeout, watched", replicas: 2, left: left{ops: 2, syncs: 1, fires: 1}, watched: true},
		{name: "3 commands, 2 syncs", replicas: 2, left: left{ops: 3, syncs: 2}, long: true},
		{name: "3 commands, timeout, watched", replicas: 2, left: left{ops: 3, fires: 1}, watched: true, long: true},
		{name: "4 commands", replicas: 2, left: left{ops: 4}, long: true},
		{name: "3 replicas, 2 commands, 1 sync", replicas: 3, left: left{ops: 2, syncs: 1}, long: true},
		{name: "eras, 3 commands", replicas: 2, left: left{ops: 3}, eras: true},
		{name: "eras, 2 commands, 2 syncs, timeout", replicas: 2, left: left{ops: 2, syncs: 2, fires: 1}, eras: true},
		{name: "eras, 2 commands, sync, restart, watched", replicas: 2, left: left{ops: 2, syncs: 1, restarts: 1}, eras: true, watched: true},
		{name: "eras, 3 commands, 1 sync", replicas: 2, left: left{ops: 3, syncs: 1}, eras: true, long: true},
		{name: "eras, 3 replicas, 2 commands", replicas: 3, left: left{ops: 2}, eras: true, long: true},
		{name: "names, 3 commands", replicas: 2, left: left{ops: 3}, names: true},
		{name: "roaming, 2 commands, 2 syncs, 1 sign of life", replicas: 2, left: left{ops: 2, syncs: 2, hears: 1}, roaming: true, long: true},
		{name: "roaming, the same, messages hidden for long", replicas: 2, left: left{ops: 2, syncs: 2, hears: 1}, roaming: true, hidden: 25, long: true},
		{name: "names, 4 commands", replicas: 2, left: left{ops: 4}, names: true, long: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.long && testing.Short() {
				t.Skip("takes seconds")
			}
			w := newWorld(c.replicas)
			w.noAudit = true
			w.clients = []*client{{map[MailboxID]*cached{}}}
			for _, r := range w.reps {
				r.watched[Inbox] = c.watched
			}
			x := &explorer{budget: 150000, names: c.names, eras: c.eras, seen: map[[32]byte]bool{}}
			if w.roaming = c.roaming; c.hidden > 0 {
				x.ms = 10
			}
			for _, r := range w.reps {
				r.self.Policy.Hidden = c.hidden
				r.tokens = NewTokens(r.self, 0, Spacing{Keep: 1 << 40})
			}
			x.explore(w, c.left, nil)
			t.Logf("%d states, %d ends", x.states, x.leaves)
			for _, e := range x.errs {
				t.Error(e)
			}
			if x.states >= x.budget {
				t.Errorf("not complete after %d states", x.states)
			}
		})
	}
}
