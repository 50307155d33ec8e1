package distributor

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/tunnel"
)

const (
	examineEvery = 250 * time.Millisecond // whether a node still sends beats
	callEvery    = time.Second            // sessions home, those that could not come before
)

// A node that was lost has its sessions back when it has been well for some time,
// which doubles with each loss: one that comes and goes does not have them.
const (
	maxHomeDoubled = 5
	lossForgotten  = 5 * time.Minute
)

// health is what is known of how a node does.
type health struct {
	mu     sync.Mutex
	well   bool      // it can be reached, sends beats and does not drain
	since  time.Time // when that began
	losses int       // lately
	lost   time.Time // the last one
	called time.Time // when sessions were called home last

	opening map[*context.CancelCauseFunc]struct{} // attempts to open a session
}

// examine follows a node's health until the replicas are closed.
func (r *replicas) examine(n *node) {
	tick := time.NewTicker(examineEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
		case <-n.client.Changed():
		}
		r.judge(n)
	}
}

// judge looks at a node, and has sessions moved when something has changed.
func (r *replicas) judge(n *node) {
	silence, known := n.client.Silence()
	silent, draining := known && silence > tunnel.SilentTime, n.client.Draining()
	well := n.up.Load() && known && !silent && !draining
	was, home := n.health.note(well, r.opts.Limits.HomeDelay)
	if well != was {
		level.Info(r.log).Log("msg", "health of a replica", "replica", n.Name, "well", well, "silent", silent, "draining", draining)
	}
	if well != was {
		r.opts.Metrics.well.WithLabelValues(n.Name).Set(map[bool]float64{true: 1}[well])
	}
	switch {
	case silent && was:
		n.giveUp()
		r.moving(n, moveSilent)
	case known && draining:
		r.moving(n, moveDrained)
	case home:
		r.moving(n, moveHome)
	}
}

// note takes what was seen, and returns how it was before, and whether sessions may
// come home now.
func (h *health) note(well bool, delay time.Duration) (was, home bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	was = h.well
	if h.well = well; well && !was {
		h.since = now
	}
	if was && !well {
		if now.Sub(h.lost) > lossForgotten {
			h.losses = 0
		}
		h.losses, h.lost = h.losses+1, now
	}
	if home = h.atHome(now, delay) && now.Sub(h.called) >= callEvery; home {
		h.called = now
	}
	return was, home
}

// atHome reports whether sessions may go to the node although they are elsewhere.
// The lock is held.
func (h *health) atHome(now time.Time, delay time.Duration) bool {
	wait := delay << min(max(h.losses-1, 0), maxHomeDoubled)
	return h.well && now.Sub(h.since) >= wait
}

// opening notes an attempt to open a session at the node, to be ended when the node
// falls silent; done is to be called when it is over.
func (n *node) opening(cancel context.CancelCauseFunc) (done func()) {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	if n.health.opening == nil {
		n.health.opening = make(map[*context.CancelCauseFunc]struct{})
	}
	n.health.opening[&cancel] = struct{}{}
	return func() {
		n.health.mu.Lock()
		defer n.health.mu.Unlock()
		delete(n.health.opening, &cancel)
	}
}

// giveUp ends the attempts to open a session at the node.
func (n *node) giveUp() {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	for cancel := range n.health.opening {
		(*cancel)(errOpenTimeout)
	}
}

func (n *node) isWell() bool {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	return n.health.well
}

func (n *node) atHome(delay time.Duration) bool {
	n.health.mu.Lock()
	defer n.health.mu.Unlock()
	return n.health.atHome(time.Now(), delay)
}

// shunned reports whether a login has nothing to look for at the node.
func (n *node) shunned() bool {
	silence, known := n.client.Silence()
	return known && silence > tunnel.SilentTime || n.client.Draining()
}

// wellOf returns the nodes of a list that are well, in order, and the others.
func (r *replicas) wellOf(list []Replica) (well, others []Replica) {
	for _, which := range list {
		if n, err := r.get(which); err == nil && n.isWell() {
			well = append(well, which)
		} else {
			others = append(others, which)
		}
	}
	return well, others
}

// preferred returns a list in the order in which its replicas are to be tried by a
// session that was lost at one of them: that one and those that are not well last,
// because what looks so may be better by now.
func (r *replicas) preferred(list []Replica, was Replica) []Replica {
	well, others := r.wellOf(list)
	if i := slices.Index(well, was); i >= 0 {
		well = append(slices.Delete(well, i, i+1), was)
	}
	return append(well, others...)
}

// ordered returns a list in the order in which a login tries it: its own, but for
// nodes that do not answer or want to be left alone.
func (r *replicas) ordered(list []Replica) []Replica {
	var last []Replica
	out := make([]Replica, 0, len(list))
	for _, which := range list {
		if n, err := r.get(which); err == nil && n.shunned() {
			last = append(last, which)
		} else {
			out = append(out, which)
		}
	}
	return append(out, last...)
}

// better returns the replicas to which a session may be moved by plan from where it is.
func (r *replicas) better(list []Replica, from Replica) []Replica {
	at := slices.Index(list, from)
	var out []Replica
	for i, which := range list {
		n, err := r.get(which)
		if err != nil || which == from || !n.isWell() {
			continue
		}
		if r.isWell(from) && (i > at || !n.atHome(r.opts.Limits.HomeDelay)) {
			continue
		}
		out = append(out, which)
	}
	return out
}

func (r *replicas) isWell(which Replica) bool {
	n, err := r.get(which)
	return err == nil && n.isWell()
}

// movingFrom moves the sessions of a node whose health has changed, or those of
// others to it.
func (s *Server) movingFrom(n *node, why string) {
	if why == moveHome && s.away.Load() == 0 {
		return
	}
	s.mu.Lock()
	relays := make([]*relay, 0, len(s.clients))
	for c := range s.clients {
		if r := c.relaying(); r != nil {
			relays = append(relays, r)
		}
	}
	s.mu.Unlock()
	for _, r := range relays {
		session := r.at.Load()
		at, of := slices.Index(r.list, session.replica), slices.Index(r.list, n.Replica)
		switch {
		case why == moveSilent && session.replica == n.Replica:
			session.cancel(errSilent)
		case why == moveDrained && session.replica == n.Replica:
			r.want(why)
		case why == moveHome && of >= 0 && of < at:
			r.want(why)
		}
	}
}
