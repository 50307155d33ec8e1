package mailstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// TestMovesAtRandom moves an account between subnets at random, with interruptions,
// crashes, moves that are taken back and purges, while it is used. Nothing is lost or
// comes back, and a UID denotes one message for ever.
func TestMovesAtRandom(t *testing.T) {
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWanderer(t, rand.New(rand.NewPCG(seed, 1)))
			for range 20 {
				w.step()
			}
		})
	}
}

// wanderer is an account that moves, as a client should see it.
type wanderer struct {
	t       *testing.T
	rng     *rand.Rand
	subnets [2][2]*node
	at      int               // subnet
	live    map[string]bool   // contents of INBOX
	meant   map[string]string // what a UIDVALIDITY and UID has denoted
	count   int
}

func newWanderer(t *testing.T, rng *rand.Rand) *wanderer {
	w := &wanderer{t: t, rng: rng, live: make(map[string]bool), meant: make(map[string]string)}
	for i := range w.subnets {
		for j := range w.subnets[i] {
			w.subnets[i][j] = newNodeIn(t, fmt.Sprint("subnet-", i+1), crdt.Slot(j+1))
		}
	}
	return w
}

// pick returns the members of a subnet, one of them first.
func (w *wanderer) pick(subnet int) []*node {
	n := w.subnets[subnet]
	if w.rng.IntN(2) == 0 {
		return []*node{n[0], n[1]}
	}
	return []*node{n[1], n[0]}
}

func (w *wanderer) step() {
	w.t.Helper()
	here, there := w.pick(w.at), w.pick(1-w.at)
	switch k := w.rng.IntN(10); {
	case k < 4:
		w.change(here[0])
	case k == 4:
		w.change(here[0])
		w.change(here[1]) // at the same time
	case k == 5:
		w.crash(w.pick(w.rng.IntN(2))[0])
	case k == 6:
		w.purge(there[0])
	case k == 7:
		w.takeBack(here, there)
	default:
		w.move(here, there)
	}
	settle(w.t, w.subnets[w.at][:]...)
	if w.rng.IntN(3) > 0 { // else they lag
		other := w.subnets[1-w.at][:]
		settle(w.t, other...)
		stabilise(w.t, other...)
	}
	stabilise(w.t, w.subnets[w.at][:]...)
	for _, n := range w.subnets[w.at] {
		w.check(n)
	}
}

func (w *wanderer) change(n *node) {
	s := n.sessionOf(testUser)
	defer s.Close()
	m := mustSelect(w.t, s, "INBOX")
	defer m.Close()
	list := tags(m.View())
	if len(list) > 0 && w.rng.IntN(3) == 0 {
		i := w.rng.IntN(len(list))
		var x Message
		m.View().At(i, &x)
		delete(w.live, content(w.t, s, x.Root))
		mustExpunge(w.t, m, list[i:i+1])
		return
	}
	for range 1 + w.rng.IntN(3) {
		w.count++
		body := fmt.Sprint("message ", w.count)
		w.live[body] = true
		mustAppend(w.t, s, "INBOX", body)
	}
}

func (w *wanderer) crash(n *node) {
	if w.rng.IntN(2) == 0 {
		n.reopen()
		return
	}
	n.crash(w.rng)
}

func (w *wanderer) purge(n *node) {
	home, target, err := n.Home(testUser)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(ctxOf(w.t))
	if w.rng.IntN(3) == 0 {
		cancel()
	}
	_, err = n.Purge(ctx, testUser)
	cancel()
	if gone := home != "" && home != n.Subnet() && target == ""; gone && err != nil && ctx.Err() == nil || !gone && err == nil {
		w.t.Fatalf("purge of what lives in %q, %q: %v", home, target, err)
	}
}

// begin sends the account away and has a part of it arrive.
func (w *wanderer) begin(here, there []*node) {
	settle(w.t, here...)
	send(w.t, there[0], here...)
	if w.rng.IntN(2) == 0 {
		return
	}
	pieces := here[1].pieces(testUser)
	there[0].bring(here[1], pieces)
	ctx, cancel := context.WithCancel(ctxOf(w.t))
	go cancel()
	if err := there[0].Import(ctx, testUser, "taker", pieces); err == nil {
		w.arrived(here)
		return
	}
	if w.rng.IntN(2) == 0 {
		w.crash(there[0])
	}
	if w.rng.IntN(2) == 0 {
		there[1].pullAll(there[0])
	}
}

func (w *wanderer) arrived(here []*node) {
	if _, err := here[0].SetHome(ctxOf(w.t), testUser, w.subnets[1-w.at][0].Subnet(), ""); err != nil {
		w.t.Fatal(err)
	}
	settle(w.t, here...)
	w.at = 1 - w.at
}

func (w *wanderer) move(here, there []*node) {
	was := w.at
	for range 1 + w.rng.IntN(2) {
		if w.begin(here, there); w.at != was {
			return
		}
	}
	migrate(w.t, there[0], here...)
	w.at = 1 - w.at
}

func (w *wanderer) takeBack(here, there []*node) {
	was := w.at
	if w.begin(here, there); w.at != was {
		return
	}
	if home, _, err := there[0].Home(testUser); err != nil {
		w.t.Fatal(err)
	} else if home == there[0].Subnet() {
		if _, err := there[0].SetHome(ctxOf(w.t), testUser, here[0].Subnet(), ""); err != nil {
			w.t.Fatal(err)
		}
		settle(w.t, there...) // another one may take it over next time
	}
	if _, err := here[0].SetHome(ctxOf(w.t), testUser, here[0].Subnet(), ""); err != nil {
		w.t.Fatal(err)
	}
}

// check compares what a member shows with what it should.
func (w *wanderer) check(n *node) {
	w.t.Helper()
	n.audit(testUser)
	s := n.sessionOf(testUser)
	defer s.Close()
	m := mustSelect(w.t, s, "INBOX")
	defer m.Close()
	got := make(map[string]bool)
	var x Message
	for i := range m.View().Len() {
		m.View().At(i, &x)
		body := content(w.t, s, x.Root)
		got[body] = true
		id := fmt.Sprint(m.UIDValidity(), " ", x.UID)
		if was, ok := w.meant[id]; ok && was != body {
			w.t.Errorf("%s is %q and was %q", id, body, was)
		}
		w.meant[id] = body
	}
	if m.View().Len() != len(w.live) || fmt.Sprint(got) != fmt.Sprint(w.live) {
		w.t.Fatalf("%s %d has %v, want %v", n.Subnet(), n.slot, got, w.live)
	}
}
