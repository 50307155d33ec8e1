package sim

import (
	"fmt"
	"math"
	"time"

	"github.com/go-pluto/pluto/crdt"
)

// heartbeat is how often replicas tell each other how far they are.
const heartbeat = time.Second

// maxRounds bounds how often the world is given time until nothing is left to do.
const maxRounds = 400

// finish ends all faults, waits until nothing is under way any more, and checks
// that everybody agrees.
func (w *World) finish() error {
	if err := w.heal(); err != nil {
		return err
	}
	if err := w.settle(); err != nil || w.violation != nil {
		return err
	}
	w.settled()
	if err := w.agree(false); err != nil || w.violation != nil {
		return err
	}
	if err := w.finishClients(); err != nil || w.violation != nil {
		return err
	}
	if err := w.forget(); err != nil || w.violation != nil {
		return err
	}
	if err := w.agree(true); err != nil || w.violation != nil {
		return err
	}
	return w.restartAll()
}

// settled says that from now on nothing may be missing: until replicas that were
// away have come up, they may show what others have removed, with its content.
func (w *World) settled() {
	w.final = true
	for _, n := range w.nodes {
		n.changed = true
	}
}

// heal starts all replicas and connects them.
func (w *World) heal() error {
	clear(w.blocked)
	for _, n := range w.nodes {
		n.changed = true
		if n.up {
			n.fuse.arm("")
			continue
		}
		if err := n.start(); err != nil {
			return err
		}
	}
	if err := w.connectAll(); err != nil {
		return err
	}
	return w.endStep()
}

// connectAll opens the streams that are not open.
func (w *World) connectAll() error {
	for _, n := range w.nodes {
		for _, peer := range w.nodes {
			if s := n.streams[peer.id]; s != nil && !s.open {
				if err := s.connect(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// settle delivers everything and lets time pass until all replicas have all
// operations and none has anything left to do.
func (w *World) settle() error {
	for range maxRounds {
		if err := w.loadAll(); err != nil || w.violation != nil {
			return err
		}
		if err := w.connectAll(); err != nil {
			return err
		}
		busy, err := w.exchange()
		if err != nil || w.violation != nil {
			return err
		}
		if busy {
			continue
		}
		step := w.idle()
		if step == 0 {
			return w.endStep() // what the last ticks came to
		}
		if err := w.pass(step); err != nil {
			return err
		}
		if err := w.endStep(); err != nil || w.violation != nil {
			return err
		}
	}
	w.fail("I6", "does not come to rest: %d UIDs re-issued", w.stats.Reissued)
	return nil
}

// exchange delivers what is under way. It reports whether there was something.
func (w *World) exchange() (busy bool, err error) {
	for _, n := range w.nodes {
		if waiting, _ := n.machine.Queued(); waiting > 0 { // it was received and left
			if err := n.apply(); err != nil {
				return true, err
			}
			busy = busy || n.changed
		}
		for _, peer := range w.nodes {
			s := n.streams[peer.id]
			if s == nil || len(s.up)+len(s.down) == 0 {
				continue
			}
			busy = true
			if err := s.deliver(len(s.up)); err != nil {
				return true, err
			}
			if err := s.to.apply(); err != nil {
				return true, err
			}
			s.answer()
			if err := w.endStep(); err != nil || w.violation != nil {
				return true, err
			}
		}
	}
	if busy {
		return true, w.endStep()
	}
	return false, nil
}

// idle returns for how long nothing happens; 0 if nothing ever will.
func (w *World) idle() time.Duration {
	wait := time.Duration(0)
	shorter := func(d time.Duration) {
		d = max(d, time.Millisecond)
		if wait == 0 || d < wait {
			wait = d
		}
	}
	all := w.nodes[0].replica.Logged()
	for _, n := range w.nodes {
		n.tick() // what was applied since the last one may have asked for another
		if !n.next.IsZero() {
			shorter(n.next.Sub(n.clock()))
		}
		if !n.replica.Logged().Equal(all) {
			shorter(time.Second) // for operations to be forwarded
		}
	}
	return wait
}

// agree checks that all replicas have, show and tell the same (I6, I7, N1); when
// settled, also that they have forgotten the same.
func (w *World) agree(settled bool) error {
	first := w.nodes[0]
	for _, user := range w.users() {
		picture, err := first.picture(user)
		if err != nil {
			return err
		}
		state, err := first.replicated(user, settled)
		if err != nil {
			return err
		}
		for _, n := range w.nodes {
			p, err := n.picture(user)
			if err != nil {
				return err
			}
			if p != picture {
				w.fail("I6", "account %d: %s shows\n%s%s shows\n%s", user, first.name, picture, n.name, p)
			}
			s, err := n.replicated(user, settled)
			if err != nil {
				return err
			}
			if s != state {
				w.fail("converge", "account %d: %s has\n%s%s has\n%s", user, first.name, state, n.name, s)
			}
			if err := w.complete(n, user); err != nil {
				return err
			}
		}
	}
	for _, n := range w.nodes {
		if err := n.pullMissing(); err != nil {
			return err
		}
		if err := n.audit(true); err != nil {
			return err
		}
	}
	return nil
}

// pullMissing gets the contents that neither snapshots nor operations have
// brought, as the puller does that a replica has (6.6).
func (n *node) pullMissing() error {
	missing, err := n.replica.MissingContents(crdt.Root{}, math.MaxInt)
	if err != nil {
		return err
	}
	for _, root := range missing {
		if _, err := n.pull(root); err != nil {
			return err
		}
	}
	return nil
}

// complete checks that a replica has exactly what was added and not removed, and
// that nothing waits (I6, I7, I8).
func (w *World) complete(n *node, user crdt.AccountID) error {
	return n.replica.Examine(user, func(s crdt.State) error {
		for p, a := range w.truth.added {
			if p.user != user || !n.replica.Logged().Has(a.dot) {
				continue // another account's, or lost with a disk
			}
			m, err := s.Message(p.Box, p.Tag)
			if err != nil {
				return err
			}
			_, gone := w.truth.ended(p, n.replica.Logged())
			switch {
			case m == nil && !gone:
				w.fail("I7", "%s has lost %v (%q), which nobody removed", n.name, p.Tag, w.truth.label[a.root])
			case m != nil && gone:
				w.fail("I8", "%s has %v (%q), which was removed", n.name, p.Tag, w.truth.label[a.root])
			case m != nil && m.Held:
				w.fail("I11", "%s still hides %v (%q)", n.name, p.Tag, w.truth.label[a.root])
			case m != nil && m.Exp != 0 && m.Exp != m.Reg:
				w.fail("I6", "%s shows %v (%q) as %d, not %d", n.name, p.Tag, w.truth.label[a.root], m.Exp, m.Reg)
			}
		}
		waiting, err := s.Awaiting()
		if len(waiting) > 0 {
			w.fail("I6", "%s: %d messages await a UID", n.name, len(waiting))
		}
		return err
	})
}

// forget lets all replicas learn that everything is stable, and checks that
// nothing is kept of what is gone: neither the log nor contents (6.1, 6.2).
func (w *World) forget() error {
	// The last wait is for contents that were received and belong to nothing: they
	// are kept for a day, by a clock that may have been set back.
	for _, d := range []time.Duration{heartbeat, heartbeat, 25*time.Hour + 2*maxSkew*time.Millisecond} {
		if err := w.pass(d); err != nil {
			return err
		}
		if err := w.settle(); err != nil || w.violation != nil {
			return err
		}
	}
	live := w.truth.live(w.nodes[0].replica.Logged())
	for _, n := range w.nodes {
		for o, last := range n.replica.Logged().All() {
			if cut := n.replica.Cut().Get(o); cut+1 < last {
				w.fail("garbage", "%s has the log of %v from %d to %d, all of it is stable", n.name, o, cut+1, last)
			}
		}
		for root, label := range w.truth.label {
			text, err := n.body(root)
			if err != nil {
				return err
			}
			if !live[root] && text != "" {
				w.fail("garbage", "%s has the content of %q, which nobody has any more", n.name, label)
			}
		}
	}
	return nil
}

// restartAll lets the power fail everywhere: what was shown must still be there.
func (w *World) restartAll() error {
	for _, n := range w.nodes {
		var before []string
		for _, user := range w.users() {
			p, err := n.picture(user)
			if err != nil {
				return err
			}
			before = append(before, p)
		}
		if err := n.crash(); err != nil {
			return err
		}
		if err := n.start(); err != nil {
			return err
		}
		if err := w.check(n); err != nil {
			return err
		}
		for i, user := range w.users() {
			p, err := n.picture(user)
			if err != nil {
				return err
			}
			if p != before[i] {
				w.fail("durable", "account %d: %s showed\n%safter a crash it shows\n%s", user, n.name, before[i], p)
			}
		}
	}
	return nil
}

// pass lets time pass.
func (w *World) pass(d time.Duration) error {
	w.now += d.Milliseconds()
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		n.stabilize()
		n.tick()
		n.machine.Tick(w.wall())
		if d >= heartbeat {
			n.beat()
			n.remember()
		}
	}
	return nil
}

// userOf returns an account by its number.
func (w *World) userOf(i int) (crdt.AccountID, bool) {
	return crdt.AccountID(i), i >= 1 && i <= w.cfg.Accounts
}

func (w *World) login(user crdt.AccountID) string { return fmt.Sprint("user", user) }
