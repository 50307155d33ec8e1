package causal

import "time"

// join finds out whether a new replica has caught up with its subnet: it has all
// that some member had when it first told of it. Members that are new themselves
// and have nothing that is missing here count only if all are so, or nobody else
// came within LoadDelay: then the whole subnet is new.
func (m *Machine) join(now time.Time) {
	if m.joined {
		return
	}
	connected, blank := 0, 0
	for _, p := range m.peers {
		if !p.connected || p.stands == nil {
			continue
		}
		connected++
		switch {
		case p.stands.Joined && !p.greeted:
			p.greeted, p.goal = true, p.durable()
		case !p.stands.Joined && p.durable().LessEqual(m.logged):
			blank++
		}
		if p.greeted && p.goal.LessEqual(m.logged) {
			m.joined = true
			return
		}
	}
	if connected == 0 || blank < connected {
		m.alone = time.Time{}
		return
	}
	if m.alone.IsZero() {
		m.alone = now
	}
	m.joined = blank == len(m.peers) || now.Sub(m.alone) >= m.cfg.LoadDelay
}

// Joined reports whether this replica has caught up with its subnet once. Before
// that what it shows may be less than what clients have seen elsewhere.
func (m *Machine) Joined() bool { return m.joined }
