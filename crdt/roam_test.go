package crdt

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/go-pluto/pluto/crdt/crdttest"
)

// append describes what tokens know, for [world.key].
func (k *Tokens) append(b []byte) []byte {
	b = fmt.Append(b, k.own.list)
	for _, slot := range slices.Sorted(maps.Keys(k.peers)) {
		b = fmt.Append(b, slot, k.peers[slot].list.list)
	}
	return b
}

// hear is a sign of life of replica i that reaches j.
func (w *world) hear(j, i int) {
	r := w.reps[i]
	if i != j && !w.cut[[2]int{i, j}] {
		w.reps[j].tokens.HeardPeer(r.self.Origin, Checkpoint{max(r.clock.Last, TimeAt(w.now, r.self.Slot)), r.vec})
	}
}

// note is the moment at which replica i keeps a checkpoint of its own.
func (w *world) note(i int) {
	if w.reps[i].isLoading() {
		return // what was loaded is not in its vector
	}
	w.reps[i].tokens.Note(Checkpoint{w.reps[i].clock.Last, w.reps[i].vec})
}

// unhide shows what is hidden at replica i for too long to give a MODSEQ.
func (w *world) unhide(i int, box MailboxID) {
	list, err := w.site(i).Unhide(box)
	if err != nil {
		w.truth.fail("unhide: %v", err)
	}
	w.followUp(i, list)
	w.look(i)
	for at, m := range w.reps[i].mem.messages {
		if at.Box == box && m.Exp == 0 && m.Refused != 0 &&
			max(w.reps[i].mem.boxes[box].High, TimeAt(w.now, 1)) >= m.Arrived.add(w.reps[i].self.policy().Hidden) {
			w.truth.fail("I11: %v is hidden at %d since %d while a MODSEQ is given", at, i, m.Arrived)
		}
	}
}

// floor translates the MODSEQ of a client. A world that is not roaming knows
// only own ones.
func (w *world) floor(i int, have Time) Floor {
	r := w.reps[i]
	f := r.tokens.Floor(have, r.clock.Last, w.now)
	if !w.roaming && !f.Own {
		return Floor{}
	}
	return f
}

// report is what replica i answers to a client that has a MODSEQ and knows UIDs.
// Only in a roaming world that is what the product does: elsewhere a client that
// comes from another replica is told all that ever vanished.
func (w *world) report(i int, box MailboxID, x *crdttest.QResync) (crdttest.Report, Floor) {
	r, have := w.reps[i], Time(x.ModSeq)
	if w.roaming {
		if r.tokens.Credible(have, w.now) {
			r.clock.Observe(have)
		}
		w.unhide(i, box)
	}
	f := w.floor(i, have)
	if w.roaming {
		f = r.mem.boxes[box].Certain(f)
	}
	next, high := w.announceAbove(i, box, have)
	b := r.mem.boxes[box]
	out := crdttest.Report{UIDValidity: b.UIDValidity(), HighestModSeq: uint64(high), Fetched: map[uint32]string{}}
	vanished := func(u UID) {
		if u.Era() == b.N.Era() {
			out.Vanished = append(out.Vanished, crdttest.Range{First: u.Number(), Last: u.Number()})
		}
	}
	for at, m := range r.mem.messages {
		if at.Box != box {
			continue
		}
		changed, others := m.Reports(f)
		if changed {
			out.Fetched[m.Exp.Number()] = row(m)
		}
		for _, u := range m.All {
			if others && u != m.Exp {
				vanished(u)
			}
		}
	}
	for u, mod := range r.mem.vanished[box] {
		if mod > f.Time {
			vanished(u)
		}
	}
	if w.roaming && b.Forgot(f) {
		out.Vanished = complement(x.Known(), w.rows(i, box, 0))
	}
	if w.roaming && r.tokens.Credible(have, w.now) && high < have {
		w.truth.fail("I4: a client that had MODSEQ %d was given %d at %d", have, high, i)
	}
	slices.SortFunc(out.Vanished, func(a, b crdttest.Range) int { return int(a.First) - int(b.First) })
	out.Vanished = slices.Compact(out.Vanished)
	r.told[box] = next
	return out, f
}

// complement returns the known UIDs that are not shown.
func complement(known []crdttest.Range, rows map[UID]string) (out []crdttest.Range) {
	shown := map[uint32]bool{}
	for u := range rows {
		shown[u.Number()] = true
	}
	for _, k := range known {
		for u := k.First; u <= k.Last; u++ {
			if !shown[u] {
				out = append(out, crdttest.Range{First: u, Last: u})
			}
		}
	}
	return out
}

// announceAbove is announce for a client with a MODSEQ.
func (w *world) announceAbove(i int, box MailboxID, have Time) (UID, Time) {
	next, high := w.announce(i, box)
	if !w.roaming || high >= have && high.Slot() == w.reps[i].self.Slot {
		return next, high
	}
	next, high, err := w.site(i).AnnounceAbove(box, have)
	if err != nil {
		w.truth.fail("announce: %v", err)
	}
	return next, high
}

// sync lets a client resynchronise a mailbox at replica i.
func (w *world) sync(c *client, i int, box MailboxID) (crdttest.Report, Floor) {
	if w.reps[i].mem.boxes[box] == nil {
		return crdttest.Report{}, Floor{}
	}
	x := c.cache[box]
	if uv := w.reps[i].mem.boxes[box].UIDValidity(); x == nil || x.UIDValidity != uv {
		x = &cached{QResync: crdttest.QResync{UIDValidity: uv, Rows: map[uint32]string{}}}
		c.cache[box] = x
	}
	answer, f := w.report(i, box, &x.QResync)
	if f.Time > 0 && !f.Own {
		w.partial++
	}
	x.Take(answer)
	// Not the replica's vector: while accounts are loaded it says less than this one has.
	shows := w.reps[i].mem.account.Vector
	// What a client has from elsewhere that is still to be loaded here only a report
	// of everything that it knows would take from it.
	told := w.roaming && f == (Floor{}) || !w.reps[i].loading.begun()
	if told && x.vec.LessEqual(shows) {
		view := map[uint32]string{}
		for u, text := range w.rows(i, box, 0) {
			view[u.Number()] = text
		}
		if diff := x.Diff(view); diff != "" {
			w.truth.fail("I5: client at %d: %s", i, diff)
		}
	}
	x.vec.Merge(shows)
	return answer, f
}

var roamActions = []string{
	"append", "append", "store", "store", "expunge", "move", "sync", "sync", "sync", "sync", "announce",
	"hear", "hear", "hear", "note", "note", "write", "prune", "wait", "partition",
}

// TestRoaming lets clients that cache roam between replicas that translate
// MODSEQs, with partitions, crashes that lose the newest checkpoints, pruned
// vanished lists, and messages hidden for as long as that is allowed. After each
// synchronisation at a replica that has all that the client has seen, its cache
// is the view (I5); MODSEQs only rise for it (I4), and none is given while a
// message is hidden for too long (I11).
func TestRoaming(t *testing.T) {
	partial := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "replicas")
		a := &act{t: t, w: newWorld(n)}
		a.w.roaming = true
		a.w.clients = []*client{{map[MailboxID]*cached{}}, {map[MailboxID]*cached{}}}
		hidden := int64(rapid.SampledFrom([]int{0, 100, 1000}).Draw(t, "hidden"))
		spacing := rapid.SampledFrom([]Spacing{{Keep: 1 << 40}, {Dense: 20, Recent: 200, Sparse: 100, Keep: 2000}}).Draw(t, "spacing")
		for _, r := range a.w.reps {
			r.self.Policy.Hidden = hidden
			r.tokens = NewTokens(r.self, 0, spacing)
			r.written = r.tokens.Clone()
		}
		a.w.reps[0].self.Leader = rapid.Bool().Draw(t, "leader")
		for range rapid.IntRange(5, 80).Draw(t, "steps") {
			a.step(slices.Concat(roamActions, systemActions))
		}
		a.w.final()
		if len(a.w.truth.errs) > 0 {
			t.Fatal(strings.Join(a.w.truth.errs, "\n"))
		}
		partial += a.w.partial
	})
	if partial == 0 {
		t.Error("no client that came from another replica was ever told less than everything")
	}
}

// roam does what only roaming worlds do.
func (a *act) roam(what string, i int) {
	w, r := a.w, a.w.reps[i]
	switch what {
	case "hear":
		w.hear(i, a.pick(len(w.reps), "from"))
	case "note":
		w.note(i)
	case "write":
		r.written = r.tokens.Clone()
	case "prune":
		box, _ := a.box(i)
		w.prune(i, box, a.pick(4, "left"))
	case "partition":
		if w.cut = nil; a.pick(2, "heal") == 0 {
			j := a.pick(len(w.reps), "from")
			w.cut = map[[2]int]bool{{i, j}: true, {j, i}: a.pick(2, "both ways") == 0}
		}
	}
}

// prune forgets all but the newest vanished UIDs of a mailbox at replica i.
func (w *world) prune(i int, box MailboxID, left int) {
	mem := w.reps[i].mem
	b, van := mem.boxes[box], mem.vanished[box]
	if b == nil {
		return
	}
	mods := slices.Sorted(maps.Values(van))
	if len(mods) <= left {
		return
	}
	b.VanFloor = max(b.VanFloor, mods[len(mods)-1-left])
	maps.DeleteFunc(van, func(_ UID, mod Time) bool { return mod <= b.VanFloor })
}

// TestEvictionLeavesNothingCertain: a client that was here, then at a member that
// is lost with what it alone had, is told everything when it is back, once.
func TestEvictionLeavesNothingCertain(t *testing.T) {
	w := newWorld(2)
	w.roaming = true
	do := func(i int, what func(*Site) (Payload, error)) {
		t.Helper()
		if _, err := w.do(i, what); err != nil {
			t.Fatal(err)
		}
	}
	appends := func(n byte) func(*Site) (Payload, error) {
		return func(s *Site) (Payload, error) {
			return s.PrepareAppend(Inbox, []Added{{Root: Root{n}, Size: 1}}, true)
		}
	}
	do(0, appends(1))
	w.flow()
	c := &client{map[MailboxID]*cached{}}
	w.sync(c, 0, Inbox)
	w.note(0)
	w.hear(0, 1)
	do(1, appends(2))
	do(1, func(s *Site) (Payload, error) {
		return s.PrepareStore(slices.Collect(maps.Keys(w.reps[0].mem.messages)), StoreAdd, []string{`\Seen`})
	})
	w.sync(c, 1, Inbox)
	w.hear(0, 1)
	w.sync(c, 0, Inbox) // a MODSEQ of this one, and a message and a flag that it will never get
	x := c.cache[Inbox]
	if len(x.Rows) != 2 {
		t.Fatalf("the client has %v", x.Rows)
	}
	w.queue[1][0] = nil
	w.reps[0].tokens.Evicted(2, w.reps[1].self.Origin)
	do(0, func(s *Site) (Payload, error) { return s.PrepareEpoch(1) })
	x.vec = nil // what it saw at the other one counts no more
	report, f := w.sync(c, 0, Inbox)
	if f != (Floor{}) || len(x.Rows) != 1 || len(report.Vanished) != 1 || len(report.Fetched) != 1 {
		t.Errorf("%+v is certain; the client has %v after %+v", f, x.Rows, report)
	}
	do(0, appends(3))
	if report, f = w.sync(c, 0, Inbox); !f.Own || len(report.Fetched) != 1 || len(report.Vanished) != 0 {
		t.Errorf("when it is back again: %+v, %+v", f, report)
	}
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}

// TestArrivalLeavesNothingCertain: a MODSEQ of the subnet from which an account has
// come says nothing here, whoever seems to have given it. A client that has one is told
// everything, once.
func TestArrivalLeavesNothingCertain(t *testing.T) {
	w := newWorld(1)
	w.roaming = true
	do := func(what func(*Site) (Payload, error)) {
		t.Helper()
		if _, err := w.do(0, what); err != nil {
			t.Fatal(err)
		}
	}
	do(func(s *Site) (Payload, error) {
		return s.PrepareAppend(Inbox, []Added{{Root: Root{1}, Size: 1}}, true)
	})
	c := &client{map[MailboxID]*cached{}}
	w.sync(c, 0, Inbox)
	do(func(*Site) (Payload, error) {
		b := w.reps[0].mem.boxes[Inbox]
		return &SetHome{Subnet: "here", Boxes: []RaisedMailbox{{Inbox, b.N + 100, b.C}}}, nil
	})
	if report, f := w.sync(c, 0, Inbox); f != (Floor{}) || len(report.Fetched) != 1 {
		t.Errorf("%+v is certain: %+v", f, report)
	}
	if report, f := w.sync(c, 0, Inbox); !f.Own || len(report.Fetched) != 0 {
		t.Errorf("%+v of a MODSEQ that was given here: %+v", f, report)
	}
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}
