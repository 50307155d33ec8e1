package mailstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// recoverWorld is three nodes, of which the second is cut off at some time.
type recoverWorld struct {
	t     *testing.T
	wall  *wall
	nodes []*node
}

// step does what a random number says at a node. What is not possible there is not
// done. The commands leave out what a recovery decides otherwise than a merge: a
// message is either flagged or moved, and moved at one side alone; a mailbox is renamed at
// the second node alone, and not deleted then.
func (w *recoverWorld) step(at int, rng *rand.Rand, n int) {
	w.wall.wait(10 * time.Millisecond)
	s := w.nodes[at].session()
	defer s.Close()
	boxes := []string{"INBOX", "INBOX", "x0", "x1", "x2", "x3", "r1", fmt.Sprint("n", at)}
	box, other := boxes[rng.IntN(len(boxes))], boxes[rng.IntN(len(boxes))]
	kind, pick, on := rng.IntN(12), rng.IntN(1<<20), rng.IntN(2) == 0
	fl := []Flags{Seen, Flagged, Answered}[rng.IntN(3)]
	ctx := ctxOf(w.t)
	possible := func(err error) {
		if err != nil && !errors.Is(err, ErrNonexistent) && !errors.Is(err, ErrAlreadyExists) && !errors.Is(err, ErrCannot) {
			w.t.Fatal(err)
		}
	}
	switch kind {
	case 0, 1, 2:
		class := []string{"flag", "move"}[pick%2]
		flags := []string{}
		if on && class == "flag" {
			flags = append(flags, `\Seen`, "$Label")
		}
		_, err := tryAppend(ctx, s, box, fmt.Sprint(class, " ", n), flags...)
		possible(err)
		return
	case 3:
		possible(s.Create(ctx, []string{"x2", "x3", "both", fmt.Sprint("n", at)}[pick%4], ""))
		return
	case 4:
		possible(s.Delete(ctx, []string{"x2", "x3", "both"}[pick%3]))
		return
	case 5:
		possible(s.Subscribe(ctx, box, on))
		return
	case 6:
		if at == 1 {
			possible(s.Rename(ctx, "x1", "r1"))
		}
		possible(s.Annotate(ctx, box, []Note{{"/private/comment", crdt.Note{There: true, Text: fmt.Sprint(n)}}}))
		return
	}
	m, err := s.Select(ctx, box, false)
	if err != nil {
		possible(err)
		return
	}
	defer m.Close()
	list := tags(m.View())
	if len(list) == 0 {
		return
	}
	var msg Message
	m.View().At(pick%len(list), &msg)
	text := content(w.t, s, msg.Root)
	switch {
	case kind == 7:
		mustExpunge(w.t, m, []crdt.Tag{msg.Tag})
	case strings.HasPrefix(text, "flag"):
		op := crdt.StoreRemove
		if on {
			op = crdt.StoreAdd
		}
		if kind == 8 {
			op = crdt.StoreReplace
		}
		setFlag(w.t, m, op, fl, msg.Tag)
	default:
		// Moves of one message at both sides are decided otherwise.
		var number int
		fmt.Sscanf(text, "move %d", &number)
		if (number%2 == 1) == (at == 1) {
			_, _, err := m.Move(ctx, []crdt.Tag{msg.Tag}, other)
			possible(err)
		}
	}
}

// run does the same in each world: some steps together, and then others while the
// second node is cut off.
func (w *recoverWorld) run(seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	s := w.nodes[0].session()
	for i := range 4 {
		do(w.t, s.Create(ctxOf(w.t), fmt.Sprint("x", i), ""))
	}
	s.Close()
	settle(w.t, w.nodes...)
	for i := range 25 {
		w.step(i%3, rand.New(rand.NewPCG(seed, rng.Uint64())), i)
		settle(w.t, w.nodes...)
	}
	for i := 100; i < 160; i++ {
		w.step([]int{0, 1, 1, 2}[rng.IntN(4)], rand.New(rand.NewPCG(seed, rng.Uint64())), i)
		if rng.IntN(4) == 0 {
			settle(w.t, w.nodes[0], w.nodes[2])
		}
	}
	w.wall.wait(10 * time.Millisecond)
	settle(w.t, w.nodes[0], w.nodes[2])
}

// TestRecoverLikeMerge: what is recovered from an evicted node looks as if the node
// had come back, but for UIDs.
func TestRecoverLikeMerge(t *testing.T) {
	var sum Recovered
	for seed := range uint64(10) {
		merged := &recoverWorld{t: t, wall: newWall()}
		merged.nodes = timed(t, merged.wall, 3, nil)
		merged.run(seed)
		settle(t, merged.nodes...)
		want := merged.nodes[0].mail(testUser)

		w := &recoverWorld{t: t, wall: newWall()}
		w.nodes = timed(t, w.wall, 3, nil)
		w.run(seed)
		a, lost, b := w.nodes[0], w.nodes[1], w.nodes[2]
		evict(t, lost, a, b)
		from, rng := remains(t, lost), rand.New(rand.NewPCG(seed, 2))
		var out []Recovered
		for range rng.IntN(4) { // interrupted, here and there
			n := []*node{a, b}[rng.IntN(2)]
			some, err := n.tryRecover(&countdown{ctxOf(t), rng.IntN(60)}, from, false, lost)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			out = append(out, some...)
			if rng.IntN(2) == 0 {
				n.crash(rng)
			}
			if rng.IntN(2) == 0 {
				settle(t, a, b)
			}
		}
		out = append(out, a.recover(from, lost)...)
		out = append(out, b.recover(from, lost)...)
		settle(t, a, b)
		for _, n := range []*node{a, b} {
			if got := n.mail(testUser); got != want {
				t.Fatalf("seed %d, slot %d: recovered\n%s\nmerged\n%s\n%+v", seed, n.slot, got, want, out)
			}
			n.audit(testUser)
		}
		for _, o := range out {
			for _, p := range o.Problems {
				t.Errorf("seed %d: %s", seed, p)
			}
			sum.Added, sum.Moved, sum.Flags, sum.Removed = sum.Added+o.Added, sum.Moved+o.Moved, sum.Flags+o.Flags, sum.Removed+o.Removed
			sum.Mailboxes, sum.Settings = sum.Mailboxes+o.Mailboxes, sum.Settings+o.Settings
		}
	}
	if sum.Added == 0 || sum.Moved == 0 || sum.Flags == 0 || sum.Removed == 0 || sum.Mailboxes == 0 || sum.Settings == 0 {
		t.Errorf("not everything happened: %+v", sum)
	}
}
