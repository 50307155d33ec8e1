package config

import "slices"

// CheckTogether compares files of several regions that share a CA: what their
// nodes would refuse each other for when they connect is found before. Each
// file must be valid by itself. Two files of one region, for two distributors, have the
// same workers, which must be equal. The error is an [*Error] whose keys begin with the
// path of the file.
func CheckTogether(configs ...*Config) error {
	p := &problems{path: "configurations compared"}
	for i, a := range configs {
		for _, b := range configs[:i] {
			compareIMAP(p, a, b)
			compareNames(p, a, b)
			compareSubnets(p, a, b)
		}
	}
	return p.err()
}

func compareIMAP(p *problems, a, b *Config) {
	if a.IMAP.HierarchySeparator != b.IMAP.HierarchySeparator {
		p.add(a.Path+": IMAP.HierarchySeparator", string(a.IMAP.HierarchySeparator), "%q in %s; make them equal", b.IMAP.HierarchySeparator, b.Path)
	}
	if a.IMAP.MaxMessageSize != b.IMAP.MaxMessageSize {
		p.add(a.Path+": IMAP.MaxMessageSize", a.IMAP.MaxMessageSize, "%v in %s; make them equal", b.IMAP.MaxMessageSize, b.Path)
	}
	if a.IMAP.QuotaStorage != b.IMAP.QuotaStorage {
		p.add(a.Path+": IMAP.QuotaStorage", a.IMAP.QuotaStorage, "%v in %s; make them equal", b.IMAP.QuotaStorage, b.Path)
	}
	if a.IMAP.QuotaMessages != b.IMAP.QuotaMessages {
		p.add(a.Path+": IMAP.QuotaMessages", a.IMAP.QuotaMessages, "%v in %s; make them equal", b.IMAP.QuotaMessages, b.Path)
	}
}

// compareNames finds names that two nodes have. Storage is one node that may
// be in every file, and a worker with the same addresses is the same one.
func compareNames(p *problems, a, b *Config) {
	if a.Distributor != nil && b.Distributor != nil && a.Distributor.Name == b.Distributor.Name {
		p.add(a.Path+": Distributor.Name", a.Distributor.Name, "the name of %s's distributor too; give each its own", b.Path)
	}
	for _, w := range a.Workers {
		for _, s := range b.sections() {
			if w.Name == s.Name && !sameNode(w.section(), s) {
				p.add(a.Path+": Workers."+w.Key+".Name", w.Name, "the name of %s in %s too; give each its own", s.key, b.Path)
			}
		}
	}
}

// sameNode reports whether two sections of one name are of one node: it listens where
// it does, and keeps what it keeps, in both files.
func sameNode(a, b section) bool {
	if a.Role != b.Role || a.ListenMailAddr != b.ListenMailAddr || a.PrometheusAddr != b.PrometheusAddr ||
		a.DataRoot != b.DataRoot || len(a.Subnets) != len(b.Subnets) {
		return false
	}
	for i, n := range a.Subnets {
		if m := b.Subnets[i]; n.Name != m.Name || n.ListenSyncAddr != m.ListenSyncAddr {
			return false
		}
	}
	return true
}

func compareSubnets(p *problems, a, b *Config) {
	for _, s := range a.sections() {
		for i := range s.Subnets {
			for _, t := range b.sections() {
				if n := t.subnet(s.Subnets[i].Name); n != nil {
					compareReplicas(p, a.Path+": ", s, &s.Subnets[i], b.Path+": ", t, n)
				}
			}
		}
	}
}

func compareReplicas(p *problems, pathA string, a section, n *Subnet, pathB string, b section, m *Subnet) {
	same := a.Role == b.Role && a.Name == b.Name
	if n.Users != m.Users {
		p.add(pathA+a.key, n.Users, "users of %s; %s%s has %v: make them equal", n.Name, pathB, b.key, m.Users)
	}
	if n.Leader != m.Leader {
		p.add(pathA+a.key, n.Leader, "leader of %s; %s%s has %q: make them equal", n.Name, pathB, b.key, m.Leader)
	}
	if same != (n.Slot == m.Slot) {
		text := "the slot of %s%s too; every member of %s needs its own"
		if same {
			text = "%s%s says another of the same node in %s; make them equal"
		}
		p.add(pathA+a.slotKey(n.Name), n.Slot, text, pathB, b.key, n.Name)
	}
	if same {
		return
	}
	if !slices.ContainsFunc(n.Peers, func(q Peer) bool { return q.Name == b.Name }) {
		p.add(pathA+a.peersKey(n.Name)+"."+b.Name, nil, `missing; write %s = "%s"`, b.Name, m.PublicSyncAddr)
	}
	if !slices.ContainsFunc(m.Peers, func(q Peer) bool { return q.Name == a.Name }) {
		p.add(pathB+b.peersKey(m.Name)+"."+a.Name, nil, `missing; write %s = "%s"`, a.Name, n.PublicSyncAddr)
	}
}
