package crdt

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// loading is a snapshot on its way into a replica of the world. It is never
// changed, only replaced, so that worlds can share it.
type loading struct {
	*taken
	load *Load // nil before LoadAccount
	next int   // step
}

// taken is a snapshot as it was taken.
type taken struct {
	snap    *Snapshot
	steps   []loadStep
	vec     VC                // of the source as a whole
	removed map[Instance]bool // by operations that it contains
	key     []byte
}

type loadStep struct {
	name string
	do   func(*Site, *Memory, *Load) ([]Payload, error)
}

// take takes a snapshot. Messages come one by one, so that a crash or a command
// may fall between any two.
func (m *Memory) take(clock Time) (*Snapshot, []loadStep) {
	c := m.Clone()
	snap := &Snapshot{
		Vector: c.account.Vector, Clock: clock, Login: c.account.Login, Provisioned: c.account.Provisioned, Epoch: c.account.Epoch,
		Used: c.used, Subscriptions: c.subs, Notes: c.notes,
	}
	snap.Boxes, _ = c.Mailboxes()
	var add, absent, vanished []loadStep
	for _, b := range snap.Boxes {
		var list []*Message
		tags, _ := c.Tags(b.ID)
		for _, t := range tags {
			list = append(list, c.messages[Instance{b.ID, t}])
		}
		SortForLoad(list)
		for _, x := range list {
			add = append(add, loadStep{"message", func(s *Site, _ *Memory, l *Load) ([]Payload, error) {
				return s.LoadMessages(l, b.ID, []*Message{x})
			}})
		}
		vanished = append(vanished, loadStep{"vanished", func(s *Site, here *Memory, l *Load) ([]Payload, error) {
			uids := slices.Sorted(maps.Keys(c.vanished[b.ID]))
			return nil, s.LoadVanished(l, b.ID, uids, func(u UID) bool { return here.shows(b.ID, u) })
		}})
	}
	absent = append(absent, loadStep{"absent", func(s *Site, here *Memory, l *Load) (more []Payload, err error) {
		boxes, _ := here.Mailboxes()
		for _, b := range boxes {
			tags, _ := here.Tags(b.ID)
			tags = slices.DeleteFunc(tags, func(t Tag) bool { return c.messages[Instance{b.ID, t}] != nil })
			p, err := s.LoadAbsent(l, b.ID, tags)
			if err != nil {
				return nil, err
			}
			more = append(more, p...)
		}
		return more, nil
	}})
	replays := loadStep{"replays", func(s *Site, _ *Memory, l *Load) ([]Payload, error) {
		list, _ := c.Replays(Replay{}, len(c.replays))
		return nil, s.LoadReplays(l, list)
	}}
	if len(c.replays) == 0 {
		return snap, slices.Concat(add, absent, vanished)
	}
	return snap, slices.Concat([]loadStep{replays}, add, absent, vanished)
}

func (m *Memory) shows(box MailboxID, u UID) bool {
	for at, x := range m.messages {
		if at.Box == box && x.Exp == u {
			return true
		}
	}
	return false
}

// isLoading reports whether the replica has something that its vector does not say.
func (r *replica) isLoading() bool {
	return !r.mem.account.Vector.LessEqual(r.vec) || r.loading.begun()
}

func (l *loading) begun() bool { return l != nil && l.load != nil }

// snapshot takes a snapshot of replica j for i, in place of one that was not
// begun. A replica that has half a snapshot gives none.
func (w *world) snapshot(i, j int) bool {
	r, p := w.reps[i], w.reps[j]
	if i == j || r.loading.begun() || p.loading.begun() {
		return false
	}
	t := &taken{vec: p.vec.Clone(), removed: maps.Clone(p.removed), key: p.mem.append(nil)}
	t.snap, t.steps = p.mem.take(p.clock.Last)
	r.loading = &loading{taken: t}
	return true
}

// loadStep does the next part of a load at replica i.
func (w *world) loadStep(i int) bool {
	r := w.reps[i]
	l := r.loading
	if l == nil {
		return false
	}
	r.tokens.Forget()
	r.clock.Observe(l.snap.Clock)
	var more []Payload
	var err error
	n := *l
	switch {
	case l.load == nil:
		n.load, more, err = w.site(i).LoadAccount(l.snap)
		if err == nil {
			n.load = &Load{n.load.Ours.Clone(), n.load.Theirs.Clone()}
		}
	case l.next < len(l.steps):
		more, err = l.steps[l.next].do(w.site(i), r.mem, l.load)
		n.next++
	}
	if err != nil {
		w.truth.fail("load at %d: %v", i, err)
		return false
	}
	r.loading = &n
	r.loads++
	w.pull(i)
	w.followUp(i, more)
	if n.load != nil && n.next == len(n.steps) {
		maps.Copy(r.removed, l.removed)
		r.loading = nil
		if w.loaded == nil {
			r.vec.Merge(l.vec)
		} else {
			w.loaded(i, l.vec)
		}
	}
	w.look(i)
	return true
}

// endLoad finishes a load that has begun at replica i.
func (w *world) endLoad(i int) {
	for w.reps[i].loading.begun() {
		if !w.loadStep(i) {
			return
		}
	}
}

// finishLoad loads all that there is to load at replica i.
func (w *world) finishLoad(i int) {
	for w.reps[i].loading != nil && w.loadStep(i) {
	}
}

// restartLoad is a crash: what was taken and not begun is lost.
func (w *world) restartLoad(i int) {
	if l := w.reps[i].loading; l != nil && l.load == nil {
		w.reps[i].loading = nil
	}
}

// pull gets the contents that a snapshot refers to, from anybody who has them.
func (w *world) pull(i int) {
	for _, m := range w.reps[i].mem.messages {
		for _, r := range w.reps {
			if r.bodies.here[m.Root] {
				w.reps[i].bodies.here[m.Root] = true
			}
		}
	}
}

// pullCopied gets what an operation copies or moves of a message that replica i,
// because of a snapshot, never had: somebody still has its content.
func (w *world) pullCopied(i int) {
	if w.reps[i].loads > 0 {
		w.pull(i)
	}
}

// keepBodies is about an operation whose effect a snapshot has brought. Its
// contents are dropped if nothing refers to them, or nobody would ever do it: what
// a message that is still to be loaded lacks is pulled.
func (r *replica) keepBodies(op *Op) {
	before := maps.Clone(r.bodies.here)
	r.bodies.take(op)
	for root := range r.bodies.here {
		if _, ok := r.mem.contents[root]; !ok && !before[root] {
			delete(r.bodies.here, root)
		}
	}
}

// append describes a load, for [world.key].
func (l *loading) append(b []byte) []byte {
	if l == nil {
		return b
	}
	return fmt.Append(append(b, l.key...), l.next, l.load, l.vec)
}

// load is what an actor may do about snapshots.
func (a *act) load(what string, i int) {
	w := a.w
	switch what {
	case "snapshot":
		w.snapshot(i, a.pick(len(w.reps), "of"))
	case "load":
		w.loadStep(i)
	case "load all":
		w.finishLoad(i)
	}
}

var loadActions = []string{"snapshot", "snapshot", "load", "load", "load", "load", "load", "load all", "ack", "ack", "collect", "collect"}

// TestLoadConverges runs random commands while snapshots are taken, also of
// replicas that lag behind, and loaded part by part at replicas that go on
// serving, with crashes in between.
func TestLoadConverges(t *testing.T) {
	for _, c := range []struct {
		name    string
		actions []string
		setup   []string
		roaming bool
	}{
		{"messages", slices.Concat(messageActions, systemActions, loadActions), []string{"A", "B"}, false},
		{"roaming", slices.Concat(messageActions, systemActions, loadActions, []string{"sync", "sync"}), []string{"A"}, true},
		{"moves", slices.Concat(moveActions, systemActions, loadActions), []string{"A"}, false},
		{"mailboxes", slices.Concat(mailboxActions, systemActions, loadActions), nil, false},
		{"all", slices.Concat(messageActions, mailboxActions, systemActions, loadActions), nil, false},
		{"eras", slices.Concat(messageActions, systemActions, loadActions, []string{"renumber", "renumber"}), []string{"A"}, false},
		{"epochs and deliveries", slices.Concat(messageActions, mailboxActions, systemActions, loadActions, []string{"epoch", "epoch", "renumber", "post", "post", "evidence"}), []string{"A"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				a := newAct(t, rapid.IntRange(2, 4).Draw(t, "replicas"), c.setup)
				a.w.roaming = c.roaming
				for range rapid.IntRange(10, 80).Draw(t, "steps") {
					a.step(c.actions)
				}
				a.end()
			})
		})
	}
}

func newAct(t *rapid.T, n int, setup []string) *act {
	a := &act{t: t, w: newWorld(n)}
	a.w.clients = []*client{{map[MailboxID]*cached{}}, {map[MailboxID]*cached{}}}
	for _, name := range setup {
		if _, err := a.w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate(name, "") }); err != nil {
			t.Fatal(err)
		}
	}
	a.w.flow()
	return a
}

func (a *act) end() {
	a.w.final()
	a.w.finalContents()
	if len(a.w.truth.errs) > 0 {
		a.t.Fatal(strings.Join(a.w.truth.errs, "\n"))
	}
}

// subnet is several accounts on the same replicas: one vector and one clock for all.
type subnet struct {
	worlds []*world
	todo   []map[int]VC // by replica: accounts of a load that are loaded, with their vectors
}

// share makes what one account's world did to the vector and clock of replica i
// known to the others.
func (s *subnet) share(k int) {
	for i, r := range s.worlds[k].reps {
		for _, o := range s.worlds {
			o.reps[i].vec, o.reps[i].clock = r.vec.Clone(), r.clock
		}
	}
}

// begin takes snapshots of all accounts of replica j for i, one after the other.
func (s *subnet) begin(i, j int) bool {
	for _, w := range s.worlds {
		if i == j || w.reps[i].loading != nil || w.reps[j].loading.begun() || w.reps[j].isLoading() {
			return false
		}
	}
	s.todo[i] = map[int]VC{}
	for _, w := range s.worlds {
		w.snapshot(i, j)
	}
	return true
}

// again takes a newer snapshot of one account.
func (s *subnet) again(k, i, j int) {
	if s.todo[i] == nil || s.worlds[k].reps[i].loading == nil {
		return
	}
	s.worlds[k].snapshot(i, j)
}

// loaded is called when an account is loaded; after the last one the vector
// rises to the minimum.
func (s *subnet) loaded(k, i int, v VC) {
	s.todo[i][k] = v
	if len(s.todo[i]) < len(s.worlds) {
		return
	}
	lowest := v
	for _, o := range s.todo[i] {
		lowest = lowest.Min(o)
	}
	s.todo[i] = nil
	s.worlds[k].reps[i].vec.Merge(lowest)
}

// TestLoadSubnet loads several accounts, each at a moment of its own: the vector
// of the replica may rise only when all are there.
func TestLoadSubnet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const accounts = 3
		n := rapid.IntRange(2, 4).Draw(t, "replicas")
		s := &subnet{todo: make([]map[int]VC, n)}
		var acts []*act
		for k := range accounts {
			a := &act{t: t, w: newWorld(n), n: k << 10}
			a.w.clients = []*client{{map[MailboxID]*cached{}}}
			a.w.loaded = func(i int, v VC) { s.loaded(k, i, v) }
			s.worlds, acts = append(s.worlds, a.w), append(acts, a)
		}
		actions := slices.Concat(messageActions, mailboxActions, systemActions, systemActions, []string{"load", "load", "load", "load", "load all"})
		for range rapid.IntRange(10, 100).Draw(t, "steps") {
			k := rapid.IntRange(0, accounts-1).Draw(t, "account")
			i, j := rapid.IntRange(0, n-1).Draw(t, "at"), rapid.IntRange(0, n-1).Draw(t, "of")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0:
				s.begin(i, j)
			case 1:
				s.again(k, i, j)
			default:
				acts[k].step(actions)
			}
			s.share(k)
		}
		s.end(t)
	})
}

// end delivers everything everywhere: an operation may wait for one of another account.
func (s *subnet) end(t *rapid.T) {
	for k, w := range s.worlds {
		for i := range w.reps {
			w.finishLoad(i)
			s.share(k)
		}
	}
	for busy := true; busy; {
		busy = false
		for k, w := range s.worlds {
			before := w.pending()
			w.flow()
			s.share(k)
			busy = busy || w.pending() < before
		}
	}
	for k, w := range s.worlds {
		w.final()
		s.share(k)
		if len(w.truth.errs) > 0 {
			t.Fatalf("account %d: %s", k, strings.Join(w.truth.errs, "\n"))
		}
	}
}

// pending counts the operations on their way.
func (w *world) pending() (n int) {
	for _, row := range w.queue {
		for _, q := range row {
			n += len(q)
		}
	}
	return n
}

// loadFamilies are small worlds, for TestExhaustive, in which snapshots are taken
// and loaded message by message at any time.
func loadFamilies() []family {
	return []family{
		{name: "loads, 2 commands, load, restart", replicas: 2, left: left{ops: 2, loads: 1, restarts: 1}, commands: messageCommands},
		{name: "loads, 2 commands, 2 loads", replicas: 2, left: left{ops: 2, loads: 2}, commands: messageCommands, size: huge},
		{name: "loads, names, 2 commands, load", replicas: 2, left: left{ops: 2, loads: 1}, commands: nameCommands},
		{name: "loads, copies, 2 commands, load", replicas: 2, left: left{ops: 2, loads: 1}, commands: copyCommands, base: twoMailboxes, size: large},
		{name: "loads, 2 commands, load, sync, watched", replicas: 2, left: left{ops: 2, loads: 1, syncs: 1}, commands: messageCommands, watched: true, size: large},
		{name: "loads, 3 commands, load", replicas: 2, left: left{ops: 3, loads: 1}, commands: messageCommands, size: huge},
		{name: "loads, eras, 2 commands, load", replicas: 2, left: left{ops: 2, loads: 1}, commands: eraCommands, size: large},
		{name: "loads, 3 replicas, 2 commands, load", replicas: 3, left: left{ops: 2, loads: 1}, commands: messageCommands, size: huge},
		{name: "loads, copies, 3 commands, load", replicas: 2, left: left{ops: 3, loads: 1}, commands: copyCommands, base: twoMailboxes, size: huge},
		{name: "loads, all, 2 commands, load, restart", replicas: 2, left: left{ops: 2, loads: 1, restarts: 1}, commands: allCommands, base: everything, size: huge},
	}
}

// TestPartialCheckpoint makes sure that nobody believes a replica to have of
// other accounts what it has loaded of one.
func TestPartialCheckpoint(t *testing.T) {
	op := &Op{Dot: Dot{2, 7}, Deps: VC{{1, 9}, {2, 6}}, Time: TimeAt(simStart, 2), Partial: true}
	if got, want := CheckpointOf(op), (Checkpoint{op.Time, VC{{2, 7}}}); got.Time != want.Time || !got.Vector.Equal(want.Vector) {
		t.Errorf("checkpoint %v, should be %v", got, want)
	}
	op.Partial = false
	if got, want := CheckpointOf(op).Vector, (VC{{1, 9}, {2, 7}}); !got.Equal(want) {
		t.Errorf("checkpoint of a whole vector: %v, should be %v", got, want)
	}
	op.Partial, op.Payload = true, &BindLogin{Login: "a"}
	data, err := EncodeOp(op)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := DecodeOp(data); err != nil || !back.Partial {
		t.Errorf("decoded %+v, %v", back, err)
	}
}

// TestLoadImpossible holds what no correct replica says in a snapshot.
func TestLoadImpossible(t *testing.T) {
	box := func(change func(*Mailbox)) *Snapshot {
		b := newMailbox(NewMailboxID("A", 1), "A", 1)
		b.C, b.N = 1, 20
		change(b)
		return &Snapshot{Vector: VC{{2, 5}}, Boxes: []*Mailbox{b}}
	}
	for name, s := range map[string]*Snapshot{
		"name":         box(func(b *Mailbox) { b.Name.Value = "" }),
		"identity":     box(func(b *Mailbox) { b.Generation = 2 }),
		"validity":     box(func(b *Mailbox) { b.C = 0 }),
		"UID":          box(func(b *Mailbox) { b.N = MaxNumber + 1 }),
		"time":         box(func(b *Mailbox) { b.Name.Time = maxTime + 1 }),
		"special use":  box(func(b *Mailbox) { b.SpecialUse.Value = strings.Repeat("x", maxUse+1) }),
		"used":         {Used: map[string]Validity{"A": maxValidity + 1}},
		"annotation":   {Notes: map[Annotation]Register[Note]{{Entry: "/x"}: {}}},
		"subscription": {Subscriptions: map[string]Register[bool]{"\x00": {}}},
		"login":        {Login: Register[string]{maxTime + 1, "a"}},
	} {
		w := newWorld(1)
		before := string(w.reps[0].mem.append(nil))
		if _, _, err := w.site(0).LoadAccount(s); !errors.Is(err, ErrImpossible) {
			t.Errorf("%s: %v", name, err)
		}
		if string(w.reps[0].mem.append(nil)) != before {
			t.Errorf("%s: the account has changed", name)
		}
	}
	for name, change := range map[string]func(*Message){
		"tag":      func(m *Message) { m.Tag.N = 6 },
		"register": func(m *Message) { m.Reg = 18 },
		"UID":      func(m *Message) { m.All, m.Reg = []UID{17, 21}, 21 },
		"size":     func(m *Message) { m.Size = maxSize + 1 },
		"base":     func(m *Message) { m.Base = maxTime + 1 },
		"flag":     func(m *Message) { m.Flags = []Flag{{"bad flag", 1, true}} },
	} {
		w := newWorld(1)
		l, _, err := w.site(0).LoadAccount(box(func(*Mailbox) {}))
		if err != nil {
			t.Fatal(err)
		}
		m := &Message{Tag: Tag{2, 5, 0}, Reg: 17, All: []UID{17}}
		change(m)
		if _, err := w.site(0).LoadMessages(l, NewMailboxID("A", 1), []*Message{m}); !errors.Is(err, ErrImpossible) {
			t.Errorf("message with a wrong %s: %v", name, err)
		}
	}
}
