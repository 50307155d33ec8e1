package config

import (
	"net"
	"slices"
)

// check notes what does not fit together. It has to bear a Config of which
// parts are missing: what is wrong with single keys was noted before.
func check(c *Config, f *file) {
	if c.Distributor == nil && len(c.Workers) == 0 && c.Storage == nil {
		f.add("", nil, "no node; write at least one of [Distributor], [Workers.worker-1] and [Storage]")
	}
	checkNames(c, f)
	checkPublicAddrs(c, f)
	checkRanges(c, f)
	checkStorageRanges(c, f)
	checkMembers(c, f)
	checkSlots(c, f)
	checkLeaders(c, f)
	checkFailover(c, f)
}

// section is a node with the name of its table, for errors.
type section struct {
	key string
	*Node
}

func (w *Worker) section() section  { return section{"Workers." + w.Key, &w.Node} }
func (s *Storage) section() section { return section{"Storage", &s.Node} }

// slotKey returns the key of a slot in a section.
func (s section) slotKey(subnet string) string {
	if s.Role == RoleStorage {
		return "Storage.SyncAddrs." + subnet + ".Slot"
	}
	return s.key + ".Slot"
}

// peersKey returns the table of peers in a section.
func (s section) peersKey(subnet string) string { return s.key + ".Peers." + subnet }

// sections returns all nodes that keep mail.
func (c *Config) sections() []section {
	var list []section
	for _, w := range c.Workers {
		list = append(list, w.section())
	}
	if c.Storage != nil {
		list = append(list, c.Storage.section())
	}
	return list
}

func checkNames(c *Config, f *file) {
	seen := map[string]string{}
	note := func(key, name string) {
		if name == "" {
			return
		}
		if first, ok := seen[name]; ok {
			f.add(key+".Name", name, "the name of %s too; every node needs a name of its own", first)
			return
		}
		seen[name] = key
	}
	if c.Distributor != nil {
		note("Distributor", c.Distributor.Name)
	}
	for _, s := range c.sections() {
		note(s.key, s.Name)
	}
	for _, w := range c.Workers {
		for _, other := range c.Workers {
			if w != other && w.Key == other.Name {
				f.add("Workers."+other.Key+".Name", other.Name, "the section of another worker; `-worker %s` would mean either", w.Key)
			}
		}
	}
}

func checkPublicAddrs(c *Config, f *file) {
	seen := map[string]string{}
	note := func(key, addr string) {
		if addr == "" {
			return
		}
		if first, ok := seen[addr]; ok {
			f.add(key, addr, "the address of %s too; give each its own port", first)
			return
		}
		seen[addr] = key
	}
	for _, s := range c.sections() {
		note(s.key+".PublicMailAddr", s.PublicMailAddr)
		for _, n := range s.Subnets {
			if s.Role == RoleStorage {
				note("Storage.SyncAddrs."+n.Name+".Public", n.PublicSyncAddr)
			} else {
				note(s.key+".PublicSyncAddr", n.PublicSyncAddr)
			}
		}
	}
}

func checkRanges(c *Config, f *file) {
	for i, w := range c.Workers {
		for _, other := range c.Workers[:i] {
			if name := w.Subnet().Name; name != "" && name == other.Subnet().Name {
				f.add("Workers."+w.Key+".Peers."+name, nil, "the subnet of Workers.%s too; a region has one worker in each subnet: choose another name", other.Key)
				continue
			}
			if w.Users().IsZero() || other.Users().IsZero() || !w.Users().Overlaps(other.Users()) {
				continue
			}
			f.add("Workers."+w.Key+".UserStart", w.Users().Start, "users %v overlap with users %v of Workers.%s; give each user to one worker of the region",
				w.Users(), other.Users(), other.Key)
		}
	}
}

// checkStorageRanges gives each of storage's subnets the range of the worker
// that is in it, and compares it with what the file says.
func checkStorageRanges(c *Config, f *file) {
	if c.Storage == nil {
		return
	}
	for i := range c.Storage.Subnets {
		s := &c.Storage.Subnets[i]
		key := "Storage.Users." + s.Name
		w := c.workerIn(s.Name)
		switch {
		case w == nil && s.Users.IsZero():
			f.add(key, nil, "missing; no worker of this file is in %s: write [%s] with Start and End", s.Name, key)
		case w == nil || w.Users().IsZero():
		case s.Users.IsZero():
			s.Users = w.Users()
		case s.Users != w.Users():
			f.add(key, s.Users, "Workers.%s, which is in %s, has users %v; remove the table or make them equal", w.Key, s.Name, w.Users())
		}
	}
	for i, s := range c.Storage.Subnets {
		for _, other := range c.Storage.Subnets[:i] {
			if !s.Users.IsZero() && !other.Users.IsZero() && s.Users.Overlaps(other.Users) && c.workerIn(s.Name) == nil {
				f.add("Storage.Users."+s.Name, s.Users, "overlap with users %v of %s; a user is in one subnet", other.Users, other.Name)
			}
		}
	}
}

// workerIn returns the first worker that is in a subnet.
func (c *Config) workerIn(subnet string) *Worker {
	for _, w := range c.Workers {
		if subnet != "" && w.Subnet().Name == subnet {
			return w
		}
	}
	return nil
}

// checkMembers compares who is in a subnet with whom its members know.
func checkMembers(c *Config, f *file) {
	all := c.sections()
	for _, s := range all {
		for i := range s.Subnets {
			checkPeers(s, &s.Subnets[i], all, f)
		}
	}
}

func checkPeers(s section, n *Subnet, all []section, f *file) {
	for i := range n.Peers {
		p := &n.Peers[i]
		key := s.peersKey(n.Name) + "." + p.Name
		if p.Name == s.Name {
			f.add(key, p.Addr, "the node itself; list only the others")
		}
		for _, q := range n.Peers[:i] {
			if p.Addr != "" && p.Addr == q.Addr {
				f.add(key, p.Addr, "the address of %s too; write each peer's own", q.Name)
			}
		}
	}
	for _, other := range all {
		if other.Node == s.Node || other.Name == "" {
			continue
		}
		theirs := other.subnet(n.Name)
		i := slices.IndexFunc(n.Peers, func(p Peer) bool { return p.Name == other.Name })
		switch {
		case theirs != nil && i < 0:
			f.add(s.peersKey(n.Name)+"."+other.Name, nil, `missing; %s is in %s: write %s = "%s"`, other.key, n.Name, other.Name, theirs.PublicSyncAddr)
		case theirs == nil && i >= 0:
			f.add(s.peersKey(n.Name)+"."+other.Name, n.Peers[i].Addr, "%s is not in %s; remove the line or add the subnet there", other.key, n.Name)
		case theirs != nil:
			n.Peers[i].Slot = theirs.Slot
			checkPeerAddr(s, n, n.Peers[i], theirs, f)
		}
	}
}

// checkPeerAddr finds the slip of the pen: the right host with another port.
// Another host is left alone: a peer may be reached over another network.
func checkPeerAddr(s section, n *Subnet, p Peer, theirs *Subnet, f *file) {
	host, _, err := net.SplitHostPort(p.Addr)
	other, _, err2 := net.SplitHostPort(theirs.PublicSyncAddr)
	if err == nil && err2 == nil && host == other && p.Addr != theirs.PublicSyncAddr {
		f.add(s.peersKey(n.Name)+"."+p.Name, p.Addr, "%s says %s of itself; make them equal", p.Name, theirs.PublicSyncAddr)
	}
}

// subnet returns the node's replica of a subnet, nil if it has none.
func (n *Node) subnet(name string) *Subnet {
	for i := range n.Subnets {
		if name != "" && n.Subnets[i].Name == name {
			return &n.Subnets[i]
		}
	}
	return nil
}

func checkSlots(c *Config, f *file) {
	used := map[string]map[uint8]string{} // subnet, slot, who has it
	for _, s := range c.sections() {
		for _, n := range s.Subnets {
			if used[n.Name] == nil {
				used[n.Name] = map[uint8]string{}
			}
			if _, taken := used[n.Name][n.Slot]; !taken && n.Slot != 0 {
				used[n.Name][n.Slot] = s.Name
			}
		}
	}
	for _, s := range c.sections() {
		for _, n := range s.Subnets {
			key, first := s.slotKey(n.Name), used[n.Name][n.Slot]
			switch {
			case n.Name == "" || f.has(key):
			case n.Slot == 0:
				f.add(key, nil, "missing; write a number from 1 to %d that no other member of %s has: %s", MaxSlot, n.Name, freeSlot(used[n.Name]))
			case first != s.Name:
				f.add(key, n.Slot, "the slot of %s too; every member of %s needs its own: %s", first, n.Name, freeSlot(used[n.Name]))
			}
		}
	}
}

// has reports whether a problem with the key was noted.
func (p *problems) has(key string) bool {
	return slices.ContainsFunc(p.list, func(q Problem) bool { return q.Key == key })
}

// checkLeaders looks at who leads each subnet; storage follows the worker of
// this file where it says nothing.
func checkLeaders(c *Config, f *file) {
	for _, s := range c.sections() {
		for i := range s.Subnets {
			n := &s.Subnets[i]
			key := s.key + ".Peers." + leaderKey
			if s.Role == RoleStorage {
				key = "Storage.Leaders." + n.Name
				if w := c.workerIn(n.Name); w != nil && w.Subnet().Leader != n.Leader {
					if n.Leader != "" {
						f.add(key, n.Leader, "Workers.%s says %q; make them equal", w.Key, w.Subnet().Leader)
						continue
					}
					n.Leader = w.Subnet().Leader
				}
			}
			if n.Leader == "" || n.Leader == s.Name || slices.ContainsFunc(n.Peers, func(p Peer) bool { return p.Name == n.Leader }) {
				continue
			}
			f.add(key, n.Leader, "not a member of %s; name the node itself or one of its peers", n.Name)
		}
	}
}

func checkFailover(c *Config, f *file) {
	for _, w := range c.Workers {
		for _, p := range w.Failover {
			key := "Workers." + w.Key + ".Failover." + p.Name
			if c.Storage != nil && p.Name == c.Storage.Name {
				f.add(key, p.Addr, "storage takes over anyway; remove the line")
				continue
			}
			if !slices.ContainsFunc(w.Subnet().Peers, func(q Peer) bool { return q.Name == p.Name }) {
				f.add(key, p.Addr, "not a peer of Workers.%s; only members of its subnet have its users' mail", w.Key)
			}
		}
	}
}
