package comm

import (
	"time"

	"github.com/go-kit/log/level"

	"github.com/go-pluto/pluto/comm/causal"
)

// applyLoop applies what has arrived: everything that is ready at this moment
// in one go, so that it shares one disk sync, then what became ready meanwhile.
func (g *Group) applyLoop() {
	for {
		var batch []Entry
		g.step(func(_ time.Time, m *causal.Machine) { batch = m.Batch() })
		if len(batch) == 0 {
			select {
			case <-g.applyWake:
			case <-g.ctx.Done():
				return
			}
			continue
		}
		if !g.applyBatch(batch) {
			return
		}
		g.noteJoined()
		g.wakeSenders()
		g.wakeInbound()
	}
}

// applyBatch tries until the batch is durable. It reports false if the group
// was closed before.
func (g *Group) applyBatch(batch []Entry) bool {
	pause := newBackoff(g.cfg.MaxBackoff)
	for {
		err := g.store.Apply(g.ctx, batch)
		if g.ctx.Err() != nil && err != nil {
			return false
		}
		g.step(func(_ time.Time, m *causal.Machine) {
			if g.applied = err; err == nil {
				m.Applied()
				g.passBarriers()
			}
		})
		if err == nil {
			g.appliedOps.Add(float64(len(batch)))
			g.batchSize.Observe(float64(len(batch)))
			return true
		}
		g.applyErrors.Inc()
		level.Error(g.logger).Log("msg", "apply operations of peers; it will be tried again", "operations", len(batch), "first", batch[0].Dot.N, "origin", batch[0].Dot.Origin, "err", err)
		if !pause.wait(g.ctx, nil) {
			return false
		}
	}
}

// wakeInbound has new acknowledgements sent.
func (g *Group) wakeInbound() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, in := range g.inbound {
		notify(in.wake)
	}
}
