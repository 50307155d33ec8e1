package causal

import "github.com/go-pluto/pluto/crdt"

// Evict tells that a member's incarnation is lost for ever (crdt.md 6.4). What it
// has does not count any more, and it is not listened to; what others have of it
// stays good. Another incarnation of the same name counts again.
func (m *Machine) Evict(name string, origin crdt.Origin) {
	p := m.peer(name)
	if p == nil {
		return
	}
	p.evicted = append(p.evicted, origin)
	if p.origin == origin && p.connected {
		m.Lost(name)
	}
}

// isEvicted reports whether what is known of a peer is of an evicted incarnation.
func (p *peer) isEvicted() bool { return p.seen.origin != 0 && p.wasEvicted(p.seen.origin) }

func (p *peer) wasEvicted(origin crdt.Origin) bool {
	for _, o := range p.evicted {
		if o == origin {
			return true
		}
	}
	return false
}
