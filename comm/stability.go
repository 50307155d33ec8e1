package comm

import (
	"fmt"
	"time"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// heard passes on what a peer has logged and applied, as it told in an
// acknowledgement or a heartbeat.
func (g *Group) heard(name string, origin crdt.Origin, applied crdt.VC) {
	g.step(func(_ time.Time, m *causal.Machine) { m.Heard(name, origin, applied) })
}

// appliedOf returns what an acknowledgement says to be applied and logged.
func appliedOf(ack *Ack, logged crdt.VC) (crdt.VC, error) {
	if len(ack.GetApplied()) == 0 {
		return logged, nil
	}
	applied, err := decodeVC(ack.GetApplied())
	if err != nil {
		return nil, err
	}
	return logged.Min(applied), nil
}

// recallStability tells a new machine, which knows of evictions, what is remembered
// of its peers: what was noted before the last eviction is void.
func recallStability(core *causal.Machine, r *roster) error {
	for _, p := range r.cfg.Peers {
		rec := r.record(p.Name)
		if len(rec.GetSure()) == 0 || int(rec.GetEpoch()) != core.Epoch() {
			continue
		}
		v, err := crdt.DecodeVC(rec.GetSure())
		if err != nil {
			return fmt.Errorf("decode record of %q: %w", p.Name, err)
		}
		core.Remember(p.Name, crdt.Origin(rec.GetOrigin()), v)
		if rec.GetBeyond() {
			core.RememberBeyond(p.Name)
		}
	}
	return nil
}

// noteStability puts into the peer records what is to be remembered.
func (g *Group) noteStability() {
	for name := range g.senders {
		g.mu.Lock()
		origin, sure := g.core.Sure(name)
		beyond, epoch := g.core.IsBeyond(name), g.core.Epoch()
		g.mu.Unlock()
		g.roster.sure(name, origin, sure, beyond, epoch)
	}
}

// tellStable gives the store the stable vectors when they have grown.
func (g *Group) tellStable() {
	cut := g.store.Cut()
	var stable, expendable crdt.VC
	g.step(func(_ time.Time, m *causal.Machine) {
		m.SetCut(cut)
		stable, expendable = m.Stable(), m.Expendable()
	})
	if stable.LessEqual(g.stable) && expendable.LessEqual(g.expendable) {
		return
	}
	g.stable, g.expendable = stable, expendable
	g.store.Stable(stable.Clone(), expendable.Clone())
}

// saveRoster writes what is to be remembered of the peers.
func (g *Group) saveRoster() {
	g.noteStability()
	if err := g.roster.save(); err != nil {
		level.Warn(g.logger).Log("msg", "remember peers", "err", err)
	}
}
