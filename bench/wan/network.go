package wan

import (
	"fmt"
	"sync"
)

// Network is the links between nodes, by name. The zero value has none. Safe for
// concurrent use.
type Network struct {
	mu    sync.Mutex
	links map[pair]*Link
}

// pair is who connects and whom to.
type pair struct{ from, to string }

// Add makes the link by which one node connects to another, which listens on
// target, and returns where the first one is to connect.
func (n *Network) Add(from, to, listen, target string) (addr string, err error) {
	k, err := NewLink(listen, target)
	if err != nil {
		return "", fmt.Errorf("%s to %s: %w", from, to, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.links == nil {
		n.links = map[pair]*Link{}
	}
	if old := n.links[pair{from, to}]; old != nil {
		k.Close()
		return "", fmt.Errorf("%s to %s: there is a link already", from, to)
	}
	n.links[pair{from, to}] = k
	return k.Addr(), nil
}

// Link returns the one by which a node connects to another, nil if there is none.
func (n *Network) Link(from, to string) *Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.links[pair{from, to}]
}

// each calls f for the directions by which bytes get from one node to another,
// whoever has opened the connection; an empty name is any node.
func (n *Network) each(from, to string, f func(k *Link, d Direction)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	is := func(name, want string) bool { return want == "" || name == want }
	for p, k := range n.links {
		if is(p.from, from) && is(p.to, to) {
			f(k, Forward)
		}
		if is(p.to, from) && is(p.from, to) {
			f(k, Backward)
		}
	}
}

// Set changes the conditions for everything that one node sends to another; an
// empty name is any node.
func (n *Network) Set(from, to string, c Conditions) {
	n.each(from, to, func(k *Link, d Direction) { k.Set(d, c) })
}

// Cut keeps everything that one node sends to another from arriving. The other
// direction goes on; but no new connection comes about.
func (n *Network) Cut(from, to string) {
	n.each(from, to, func(k *Link, d Direction) {
		c := k.Conditions(d)
		c.Cut = true
		k.Set(d, c)
	})
}

// Partition cuts two nodes off from each other.
func (n *Network) Partition(a, b string) {
	n.Cut(a, b)
	n.Cut(b, a)
}

// Heal ends all cuts.
func (n *Network) Heal() {
	n.each("", "", func(k *Link, d Direction) {
		c := k.Conditions(d)
		c.Cut = false
		k.Set(d, c)
	})
}

// Break resets the connections between two nodes, once.
func (n *Network) Break(a, b string) {
	n.each(a, b, func(k *Link, _ Direction) { k.Break() })
}

// Carried returns how many bytes got from one node to another.
func (n *Network) Carried(from, to string) (bytes int64) {
	n.each(from, to, func(k *Link, d Direction) { bytes += k.Carried(d) })
	return bytes
}

// Close ends all links.
func (n *Network) Close() {
	n.mu.Lock()
	links := n.links
	n.links = nil
	n.mu.Unlock()
	for _, k := range links {
		k.Close()
	}
}
