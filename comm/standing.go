package comm

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// standing is what this replica tells of itself beside what it has.
func (g *Group) standing() *Standing {
	cut := g.store.Cut()
	g.mu.Lock()
	joined, lost := g.core.Joined(), make([]uint64, 0, len(g.lost))
	for o := range g.lost {
		lost = append(lost, uint64(o))
	}
	g.mu.Unlock()
	slices.Sort(lost)
	return &Standing{Cut: cut.AppendBinary(nil), Joined: joined, Loading: g.load.active(), Evicted: g.roster.evictions(), Lost: lost}
}

// stands passes on what a peer tells of itself.
func (g *Group) stands(name string, s *Standing) error {
	if s == nil {
		return nil
	}
	if err := g.learn(name, s.GetEvicted()); err != nil {
		return err
	}
	cut, err := decodeVC(s.GetCut())
	if err != nil {
		return fmt.Errorf("beginning of the log: %w", err)
	}
	var lost []crdt.Origin
	for _, o := range s.GetLost()[:min(len(s.GetLost()), causal.MaxOrigins)] {
		lost = append(lost, crdt.Origin(o))
	}
	g.step(func(now time.Time, m *causal.Machine) {
		m.Stands(now, name, causal.Standing{Cut: cut, Joined: s.GetJoined(), Loading: s.GetLoading(), Lost: lost})
	})
	g.noteJoined()
	g.wakeLoader()
	return nil
}

// noteJoined tells and remembers, once, that this replica has caught up with its
// subnet, or begins it.
func (g *Group) noteJoined() {
	g.mu.Lock()
	begins := g.core.Joined() && !g.noted
	g.noted = g.noted || begins
	g.mu.Unlock()
	if !begins {
		return
	}
	var err error
	if g.fresh {
		err = g.store.Joined(g.replaces())
	}
	g.mu.Lock()
	g.joined, g.noted = err == nil, err == nil
	g.mu.Unlock()
	if err != nil { // the next tick tries again
		level.Error(g.logger).Log("msg", "this replica has caught up and cannot serve", "err", err)
		return
	}
	level.Info(g.logger).Log("msg", "caught up with the subnet")
	if err := g.roster.note(joinedKey, true); err != nil {
		// It will be found out again.
		level.Warn(g.logger).Log("msg", "remember that this replica has joined", "err", err)
	}
	g.wakeInbound() // peers are told
}

// replaces reports whether another incarnation had this replica's slot.
func (g *Group) replaces() bool {
	had := func(e *Evicted) bool { return crdt.Slot(e.GetSlot()) == g.slot }
	return g.cfg.Replaces != 0 || slices.ContainsFunc(g.roster.evictions(), had)
}

// isNew reports whether a replica has not joined its subnet in any life. One with
// operations of its own has, or had taken no writes.
func isNew(logged crdt.VC, store Store, r *roster) (bool, error) {
	if logged.Get(store.Origin()) > 0 {
		return false, nil
	}
	joined, err := r.noted(joinedKey)
	return !joined, err
}
