package crdt

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// bodies is what a replica of the world has of message contents, and what it
// knows of the others' vectors, as comm/causal does it.
type bodies struct {
	here    map[Root]bool
	all     bool // whatever is missing can be had
	newest  []VC // by replica: the last vector heard
	pending []VC // one that is not all here yet
	sure    []VC // one that is all here
	stable  VC
}

func newBodies(n int) bodies {
	return bodies{here: map[Root]bool{}, newest: make([]VC, n), pending: make([]VC, n), sure: make([]VC, n)}
}

func (b *bodies) clone() bodies {
	c := bodies{here: maps.Clone(b.here), all: b.all, stable: b.stable.Clone()}
	for i := range b.newest {
		c.newest = append(c.newest, b.newest[i].Clone())
		c.pending = append(c.pending, b.pending[i].Clone())
		c.sure = append(c.sure, b.sure[i].Clone())
	}
	return c
}

// take stores the contents that come with an operation.
func (b *bodies) take(op *Op) {
	if p, ok := op.Payload.(*Append); ok && p.NewBody {
		for i := range p.Messages {
			b.here[p.Messages[i].Root] = true
		}
	}
}

// ack is a heartbeat or acknowledgement of replica i that arrives at j at once,
// before operations that i has sent earlier.
func (w *world) ack(i, j int) { w.reps[j].bodies.newest[i].Merge(w.reps[i].vec) }

func (w *world) ackAll() {
	for i := range w.reps {
		for j := range w.reps {
			w.ack(i, j)
		}
	}
}

// collect deletes at replica i what nothing needs any more.
func (w *world) collect(i int) []Root {
	r := w.reps[i]
	b := &r.bodies
	stable := r.vec.Clone()
	for j := range w.reps {
		if j == i {
			continue
		}
		if b.newest[j].LessEqual(r.vec) {
			b.pending[j] = b.newest[j].Clone()
		}
		if b.pending[j].LessEqual(r.vec) {
			b.sure[j].Merge(b.pending[j])
			b.pending[j] = b.newest[j].Clone()
		}
		stable = stable.Min(b.sure[j])
	}
	b.stable.Merge(stable)
	w.forget(i)
	deleted, err := Collect(r.mem, r.mem.Removals(), b.stable)
	if err != nil {
		w.truth.fail("collect at %d: %v", i, err)
	}
	for _, root := range deleted {
		delete(b.here, root)
	}
	return deleted
}

// lookContents checks I10, and that only what nobody needs was deleted.
func (w *world) lookContents(i int) {
	r := w.reps[i]
	for at, m := range r.mem.messages {
		if !r.bodies.all && !r.bodies.here[m.Root] {
			w.truth.fail("I10: replica %d has %v without its content %x", i, at, m.Root[:2])
		}
	}
}

// finalContents lets everybody hear of everybody and checks that what is left is
// what is referred to.
func (w *world) finalContents() {
	w.ackAll()
	for i, r := range w.reps {
		w.collect(i)
		live := r.mem.Roots()
		for root := range r.bodies.here {
			if live[root] == 0 {
				w.truth.fail("content %x stays at %d for ever: %+v", root[:2], i, r.mem.contents[root])
			}
		}
		if len(r.mem.removals) > 0 || len(r.mem.contents) != len(live) {
			w.truth.fail("%d keeps %d removals, and %d contents of which %d are live", i, len(r.mem.removals), len(r.mem.contents), len(live))
		}
		w.lookContents(i)
	}
}

// TestCollect holds Collect to the cases of its rule.
func TestCollect(t *testing.T) {
	a, b := Root{'a'}, Root{'b'}
	d := func(o Origin, n uint64) Dot { return Dot{o, n} }
	for _, c := range []struct {
		name    string
		do      func(*Memory)
		stable  VC
		deleted []Root
		left    int // removals
	}{
		{"not stable", func(m *Memory) { m.Retain(a); m.Release(a, d(1, 2)) }, VC{d(1, 1)}, nil, 1},
		{"stable", func(m *Memory) { m.Retain(a); m.Release(a, d(1, 2)) }, VC{d(1, 2)}, []Root{a}, 0},
		{"another instance", func(m *Memory) { m.Retain(a); m.Retain(a); m.Release(a, d(1, 2)) }, VC{d(1, 2)}, nil, 0},
		{"C20", func(m *Memory) { m.Retain(a); m.Release(a, d(1, 2)); m.Retain(a); m.Release(a, d(2, 1)) }, VC{d(1, 2)}, nil, 1},
		{"both stable", func(m *Memory) { m.Retain(a); m.Release(a, d(1, 2)); m.Retain(a); m.Release(a, d(2, 1)) }, VC{d(1, 2), d(2, 1)}, []Root{a}, 0},
		{"two by one operation", func(m *Memory) { m.Retain(a); m.Retain(a); m.Release(a, d(1, 2)); m.Release(a, d(1, 2)) }, VC{d(1, 2)}, []Root{a}, 0},
		{"two contents by one operation", func(m *Memory) { m.Retain(a); m.Retain(b); m.Release(a, d(1, 2)); m.Release(b, d(1, 2)) }, VC{d(1, 2)}, []Root{a, b}, 0},
		{"more removals than instances", func(m *Memory) { m.Release(a, d(1, 2)) }, VC{d(1, 2)}, []Root{a}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := NewMemory()
			c.do(m)
			list := m.Removals()
			for range 2 { // told of twice, it does nothing
				got, err := Collect(m, list, c.stable)
				if err != nil || !slices.Equal(got, c.deleted) || len(m.removals) != c.left {
					t.Fatalf("deleted %v, %v; %d removals left", got, err, len(m.removals))
				}
				c.deleted = nil
			}
		})
	}
}

// TestContentsRandom deletes contents while replicas copy, move and expunge, with
// vectors that overtake operations: no instance is ever without its content
// anywhere, and in the end only what is referred to is left.
func TestContentsRandom(t *testing.T) {
	actions := []string{"append", "copy", "move", "move", "expunge", "expunge", "deliver", "deliver", "deliver", "flow", "ack", "ack", "collect", "restart"}
	rapid.Check(t, func(t *rapid.T) {
		a := &act{t: t, w: newWorld(rapid.IntRange(2, 5).Draw(t, "replicas"))}
		a.w.noAudit = true
		if _, err := a.w.do(0, func(s *Site) (Payload, error) { return s.PrepareCreate("A", "") }); err != nil {
			t.Fatal(err)
		}
		a.w.flow()
		for range rapid.IntRange(5, 80).Draw(t, "steps") {
			a.step(actions)
		}
		a.w.final()
		a.w.finalContents()
		if len(a.w.truth.errs) > 0 {
			t.Fatal(strings.Join(a.w.truth.errs, "\n"))
		}
	})
}
