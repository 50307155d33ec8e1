package crdt

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tokenWorld is a group of replicas reduced to what MODSEQs are about: which
// operation was applied where, when, and when it was shown there. The oracle is
// what each replica had shown when it gave a MODSEQ.
type tokenWorld struct {
	reps   []*tokenReplica
	now    int64
	ops    map[Dot]*Op
	tokens []givenToken
}

type tokenReplica struct {
	clock   Clock
	skew    int64
	vec     VC
	tokens  *Tokens
	mods    map[Dot]Time // MODSEQ of the change that an operation made here
	hidden  map[Dot]Time // delivered and not shown yet, since
	written *Tokens      // what a crash leaves
}

type givenToken struct {
	t     Time
	shown map[Dot]bool
}

func newTokenWorld(n int, s Spacing, hidMax int64) *tokenWorld {
	w := &tokenWorld{now: simStart, ops: map[Dot]*Op{}}
	for i := range n {
		r := &tokenReplica{clock: Clock{Slot: Slot(i + 1)}, mods: map[Dot]Time{}, hidden: map[Dot]Time{}}
		r.tokens = NewTokens(Self{Slot: Slot(i + 1), Policy: Policy{Batch: 1, Hidden: hidMax}}, 0, s)
		r.written = r.tokens.Clone()
		w.reps = append(w.reps, r)
	}
	return w
}

func (w *tokenWorld) clone() *tokenWorld {
	c := &tokenWorld{now: w.now, ops: maps.Clone(w.ops), tokens: slices.Clone(w.tokens)}
	for _, r := range w.reps {
		n := *r
		n.vec, n.tokens, n.written = r.vec.Clone(), r.tokens.Clone(), r.written.Clone()
		n.mods, n.hidden = maps.Clone(r.mods), maps.Clone(r.hidden)
		c.reps = append(c.reps, &n)
	}
	return c
}

func (w *tokenWorld) wall(i int) int64 { return w.now + w.reps[i].skew }

// op makes an operation at replica i.
func (w *tokenWorld) op(i int) {
	r := w.reps[i]
	o := &Op{Dot: Dot{Origin(i + 1), r.vec.Get(Origin(i+1)) + 1}, Deps: r.vec.Clone(), Time: r.clock.Bump(w.wall(i))}
	w.ops[o.Dot] = o
	r.vec.Add(o.Dot)
	r.mods[o.Dot] = o.Time
}

// deliver brings the next operation of origin j to replica i, shown or hidden.
func (w *tokenWorld) deliver(i, j int, hide bool) bool {
	r := w.reps[i]
	o := w.ops[Dot{Origin(j + 1), r.vec.Get(Origin(j+1)) + 1}]
	if i == j || o == nil || !o.Deps.LessEqual(r.vec) {
		return false
	}
	r.clock.Observe(o.Time)
	mod := r.clock.Bump(w.wall(i))
	r.vec.Add(o.Dot)
	r.mods[o.Dot] = mod
	if hide {
		r.hidden[o.Dot] = mod
	}
	r.tokens.HeardOp(o.Dot.Origin, CheckpointOf(o))
	return true
}

// beat is a sign of life of replica j that i hears.
func (w *tokenWorld) beat(i, j int) {
	p := w.reps[j]
	w.reps[i].tokens.HeardPeer(Origin(j+1), Checkpoint{max(p.clock.Last, TimeAt(w.wall(j), Slot(j+1))), p.vec})
}

func (w *tokenWorld) note(i int) {
	r := w.reps[i]
	r.tokens.Note(Checkpoint{r.clock.Last, r.vec})
}

// give hands out a MODSEQ at replica i, after showing what is hidden for too long.
func (w *tokenWorld) give(i int) {
	r := w.reps[i]
	var high Time
	for _, mod := range r.mods {
		high = max(high, mod)
	}
	shown := map[Dot]bool{}
	for d := range r.mods {
		if since, ok := r.hidden[d]; ok && r.clock.Last < since.add(r.tokens.hidden) && high < since.add(r.tokens.hidden) {
			continue
		}
		delete(r.hidden, d)
		shown[d] = true
	}
	w.tokens = append(w.tokens, givenToken{high, shown})
}

// check translates every MODSEQ ever given at every replica.
func (w *tokenWorld) check() (useful int, err error) {
	for i, r := range w.reps {
		for _, given := range w.tokens {
			f := r.tokens.Floor(given.t, r.clock.Last, w.wall(i))
			if f.Own && f.Time != given.t {
				return 0, fmt.Errorf("own MODSEQ %d became %d", given.t, f.Time)
			}
			if f.Own {
				continue
			}
			if f.Time > 0 {
				useful++
			}
			for d, mod := range r.mods {
				if mod <= f.Time && !given.shown[d] {
					return 0, fmt.Errorf("at %d MODSEQ %d became %d: the change %d of %v is taken for known, it was not shown", i, given.t, f.Time, mod, d)
				}
			}
		}
	}
	return useful, nil
}

// TestFloorRandom lets replicas with wrong clocks hear of each other late or
// never, lose the newest checkpoints in crashes, and hide what was delivered.
func TestFloorRandom(t *testing.T) {
	useful := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "replicas")
		s := rapid.SampledFrom([]Spacing{{Keep: 1 << 40}, {Dense: 20, Recent: 100, Sparse: 60, Keep: 400}, {Dense: 5, Recent: 0, Sparse: 50, Keep: 200}}).Draw(t, "spacing")
		w := newTokenWorld(n, s, int64(rapid.SampledFrom([]int{0, 30, 100}).Draw(t, "hidden")))
		for _, r := range w.reps {
			r.skew = int64(rapid.IntRange(-200, 200).Draw(t, "skew"))
		}
		for range rapid.IntRange(50, 200).Draw(t, "steps") {
			i, j := rapid.IntRange(0, n-1).Draw(t, "at"), rapid.IntRange(0, n-1).Draw(t, "from")
			r := w.reps[i]
			switch rapid.IntRange(0, 11).Draw(t, "action") {
			case 0, 1:
				w.op(i)
			case 2, 3, 4:
				w.deliver(i, j, rapid.Bool().Draw(t, "hide"))
			case 5, 6:
				w.beat(i, j)
			case 7:
				w.note(i)
			case 8:
				w.give(i)
			case 9:
				w.now += int64(rapid.IntRange(0, 60).Draw(t, "ms"))
			case 10:
				r.written = r.tokens.Clone()
			case 11:
				r.tokens = r.written.Clone()
				r.skew += int64(rapid.IntRange(-100, 100).Draw(t, "skew"))
			}
		}
		n, err := w.check()
		if err != nil {
			t.Fatal(err)
		}
		useful += n
	})
	if useful == 0 && !testing.Short() { // few runs may have none
		t.Error("no MODSEQ of another replica was ever translated to more than 0")
	}
}

// TestFloorExhaustive does all short sequences of two replicas.
func TestFloorExhaustive(t *testing.T) {
	states, useful := 0, 0
	var explore func(w *tokenWorld, depth int, path []string)
	explore = func(w *tokenWorld, depth int, path []string) {
		states++
		n, err := w.check()
		if err != nil {
			t.Fatalf("%v: %v", path, err)
		}
		useful += n
		if depth == 0 {
			return
		}
		step := func(name string, f func(*tokenWorld) bool) {
			if v := w.clone(); f(v) {
				v.now += 10
				explore(v, depth-1, append(slices.Clip(path), name))
			}
		}
		step("append@0", func(w *tokenWorld) bool { w.op(0); return true })
		step("append@1", func(w *tokenWorld) bool { w.op(1); return true })
		step("1>0", func(w *tokenWorld) bool { return w.deliver(0, 1, false) })
		step("0>1 hidden", func(w *tokenWorld) bool { return w.deliver(1, 0, true) })
		step("0 hears 1", func(w *tokenWorld) bool { w.beat(0, 1); return true })
		step("note@0", func(w *tokenWorld) bool { w.note(0); return true })
		step("sync@1", func(w *tokenWorld) bool { w.give(1); return true })
	}
	for _, hidMax := range []int64{0, 15} {
		w := newTokenWorld(2, Spacing{Keep: 1 << 40}, hidMax)
		w.reps[1].skew = 5
		depth := 7
		if testing.Short() {
			depth = 6
		}
		explore(w, depth, nil)
	}
	t.Logf("%d states, %d times a MODSEQ was worth something elsewhere", states, useful)
	if useful == 0 && !testing.Short() { // few runs may have none
		t.Error("no MODSEQ of another replica was ever translated to more than 0")
	}
}

func TestFloorOfNobody(t *testing.T) {
	const birth, last, hidMax = simStart + 1000, simStart + 5000, 10_000
	k := NewTokens(Self{Slot: 1}, TimeAt(birth, 1), DefaultSpacing())
	k.Note(Checkpoint{TimeAt(birth, 1), VC{{2, 1}}})
	k.HeardPeer(2, Checkpoint{TimeAt(birth, 2), VC{{2, 1}}})
	for _, c := range []struct {
		name string
		t    Time
		want Floor
	}{
		{"none", 0, Floor{}},
		{"own", TimeAt(birth+1, 1), Floor{TimeAt(birth+1, 1), true}},
		{"own slot, before the incarnation", TimeAt(birth-1, 1), Floor{}},
		{"own slot, not given yet", TimeAt(last+1, 1), Floor{}},
		{"rounded", TimeAt(birth+1, 0), Floor{}},
		{"peer, known", TimeAt(birth+hidMax, 2), Floor{TimeAt(birth, 1), false}},
		{"peer, too early", TimeAt(birth+hidMax-1, 2), Floor{}},
		{"peer never heard of", TimeAt(birth+hidMax, 3), Floor{}},
		{"hours ahead", TimeAt(last+2*MaxAhead, 2), Floor{}},
	} {
		if got := k.Floor(c.t, TimeAt(last, 1), last); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestNewIncarnation: a slot that another incarnation takes over starts anew,
// late operations of the old one do not bring its checkpoints back, and for an
// hour no MODSEQ of the slot is trusted.
func TestNewIncarnation(t *testing.T) {
	k := NewTokens(Self{Slot: 1}, 0, DefaultSpacing())
	k.Note(Checkpoint{TimeAt(simStart, 1), VC{{2, 1}}})
	k.HeardPeer(2, Checkpoint{TimeAt(simStart, 2), VC{{2, 5}}})
	const hidMax = 10_000
	token := TimeAt(simStart+hidMax, 2)
	if f := k.Floor(token, TimeAt(simStart, 1), simStart); f.Time == 0 {
		t.Fatal("known incarnation is worth nothing")
	}
	_, _, changed := k.HeardPeer(9, Checkpoint{TimeAt(simStart+1000, 2), VC{{2, 5}}})
	if !changed {
		t.Fatal("the change is not reported")
	}
	k.HeardOp(2, Checkpoint{TimeAt(simStart+2000, 2), VC{{2, 6}}})
	if f := k.Floor(token, TimeAt(simStart, 1), simStart); f != (Floor{}) {
		t.Errorf("MODSEQ of the old incarnation is worth %v", f)
	}
	k.HeardPeer(9, Checkpoint{TimeAt(simStart+1000+MaxAhead, 2), VC{{2, 5}}})
	token = TimeAt(simStart+1000+MaxAhead+hidMax, 2)
	if f := k.Floor(token, TimeAt(simStart, 1), simStart+MaxAhead); f.Time == 0 {
		t.Error("the new incarnation is worth nothing after an hour")
	}
}

func TestCheckpointsAreThin(t *testing.T) {
	s := DefaultSpacing()
	var c Checkpoints
	present := map[Time]bool{}
	const day = 24 * 60 * 60 * 1000
	for ms := int64(0); ms < 100*day; ms += 9_000 {
		at := TimeAt(simStart+ms, 1)
		kept, dropped := c.Add(Checkpoint{at, VC{{1, uint64(ms + 1)}}}, s)
		if kept {
			present[at] = true
		}
		for _, d := range dropped {
			if !present[d] {
				t.Fatal("dropped what is not there")
			}
			delete(present, d)
		}
	}
	if c.Len() > 13500 || c.Len() < 8000 {
		t.Errorf("%d checkpoints for 90 days", c.Len())
	}
	if len(present) != c.Len() {
		t.Errorf("%d were reported as kept, %d are there", len(present), c.Len())
	}
	for i := 1; i < len(c.list); i++ {
		if gap := c.gap(i-1, i); gap > 2*s.Sparse {
			t.Fatalf("a gap of %d ms", gap)
		}
	}
}

// FuzzCheckpoints: whatever a peer tells, the history rises.
func FuzzCheckpoints(f *testing.F) {
	f.Add([]byte{1, 1, 9, 3, 2, 0, 5, 5, 7, 1, 1, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		k := NewTokens(Self{Slot: 1}, 0, Spacing{Dense: 2, Recent: 10, Sparse: 5, Keep: 50})
		for ; len(b) >= 3; b = b[3:] {
			at := Time(b[0])<<12 | Time(b[1]&15)
			k.HeardPeer(Origin(b[1]>>6)+1, Checkpoint{at, VC{{1, uint64(b[2]&15) + 1}, {2, uint64(b[2]>>4) + 1}}})
		}
		for _, p := range k.peers {
			for i := 1; i < len(p.list.list); i++ {
				a, b := p.list.list[i-1], p.list.list[i]
				if a.Time >= b.Time || !a.Vector.LessEqual(b.Vector) {
					t.Fatalf("%v before %v", a, b)
				}
			}
		}
	})
}

// TestHiddenSinceArrival (C18): a message that was long under way has not been
// hidden for long where it arrives, even if nothing else had happened there since.
func TestHiddenSinceArrival(t *testing.T) {
	w := newWorld(2)
	for i := range 2 {
		if _, err := w.do(i, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, costMessages(1, byte(i)), true) }); err != nil {
			t.Fatal(err)
		}
	}
	w.announce(1, Inbox)
	const hidden = 10_000
	w.reps[1].self.Policy.Hidden = hidden
	w.now += 6 * hidden
	w.deliver(0, 1) // 17, refused
	if n := len(w.reps[1].mem.awaiting); n != 1 {
		t.Fatalf("%d messages wait", n)
	}
	for _, c := range []struct {
		after int64
		late  int
	}{{0, 0}, {hidden - 1, 0}, {1, 1}} {
		w.now += c.after
		if list, err := w.site(1).Unhide(Inbox); err != nil || len(list) != c.late {
			t.Errorf("at %d ms after it arrived: %v, %v", w.now-simStart-6*hidden, list, err)
		}
	}
}

// TestFloorEvicted: nothing is certain of a client that comes from an incarnation
// whose last operations are lost with it, nor does a late word of it change that.
func TestFloorEvicted(t *testing.T) {
	const gone, next = Origin(2), Origin(9)
	k := NewTokens(Self{Origin: 1, Slot: 1}, 0, DefaultSpacing())
	at := func(ms int64) Time { return TimeAt(simStart+ms, 2) }
	vector := VC{}.With(gone, 5)
	k.Note(Checkpoint{TimeAt(simStart, 1), vector})
	k.HeardPeer(gone, Checkpoint{at(0), vector})
	const hour = 3600_000
	floor := func(ms int64) Floor { return k.Floor(at(ms), TimeAt(simStart, 1), simStart+100*hour) }
	if floor(hour).Time == 0 {
		t.Error("nothing is certain although the peer lives")
	}
	k.Evicted(2, gone)
	k.HeardPeer(gone, Checkpoint{at(1), vector})
	k.HeardOp(gone, Checkpoint{at(2), vector})
	if f := floor(hour); f != (Floor{}) {
		t.Errorf("%+v is certain although the peer is evicted", f)
	}
	k.HeardPeer(next, Checkpoint{at(2 * hour), VC{}.With(next, 1)})
	k.HeardPeer(next, Checkpoint{at(4 * hour), VC{}.With(next, 2)})
	if k.Evicted(2, gone) {
		t.Error("the one that took the place is evicted with it")
	}
	if f := floor(hour); f != (Floor{}) {
		t.Errorf("%+v is certain of a client of the one before", f)
	}
}

// TestReborn: an incarnation that has the slot of a lost one takes no MODSEQ for
// its own that the lost one may have given by a clock that was an hour ahead of
// what was heard of it.
func TestReborn(t *testing.T) {
	const gone, next = Origin(2), Origin(9)
	peer := NewTokens(Self{Origin: 1, Slot: 1}, 0, DefaultSpacing())
	heard := TimeAt(simStart+5*MaxAhead, 2) // its clock was ahead by hours
	peer.HeardPeer(gone, Checkpoint{TimeAt(simStart, 2), VC{}.With(gone, 5)})
	peer.HeardPeer(gone, Checkpoint{heard, VC{}.With(gone, 5)}) // nothing new but the time
	peer.HeardPeer(gone, Checkpoint{TimeAt(simStart, 2), VC{}.With(gone, 5)})
	if got := peer.LastHeard(2); got != heard {
		t.Errorf("the peer has last heard of %v, not of %v", got, heard)
	}
	if peer.Evicted(2, gone); peer.LastHeard(2) != 0 || peer.LastHeard(3) != 0 {
		t.Error("a time of nobody was heard of")
	}
	k := NewTokens(Self{Origin: next, Slot: 2}, TimeAt(simStart, 2), DefaultSpacing())
	k.Reborn(heard)
	k.Reborn(TimeAt(simStart, 2)) // never back
	last := heard.add(10 * MaxAhead)
	for ms, own := range map[int64]bool{-MaxAhead: false, 0: false, MaxAhead - 1: false, MaxAhead: true, 2 * MaxAhead: true} {
		if f := k.Floor(heard.add(ms), last, simStart); f.Own != own {
			t.Errorf("%d ms after what was heard: %+v", ms, f)
		}
	}
}
