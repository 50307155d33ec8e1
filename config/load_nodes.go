package config

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"
)

// leaderKey in a table of peers is not a peer.
const leaderKey = "Leader"

// readNode reads what workers and storage have in common.
func readNode(t *table, role Role) Node {
	n := Node{
		Role:           role,
		Name:           t.name("Name"),
		PublicMailAddr: t.addr("PublicMailAddr"),
		PrometheusAddr: t.listen("PrometheusAddr", ""),
		AckPeers:       int(t.int("AckPeers", DefaultAckPeers, 0, MaxSlot-1)),
		AckTimeout:     t.duration("AckTimeout", DefaultAckTimeout, time.Millisecond, time.Minute),
		AckStrict:      t.bool("AckStrict", DefaultAckStrict),
	}
	n.ListenMailAddr = t.listen("ListenMailAddr", n.PublicMailAddr)
	n.CertLoc = t.location("CertLoc", fmt.Sprintf(defaultInternalCertFormat, n.Name))
	n.KeyLoc = t.location("KeyLoc", fmt.Sprintf(defaultInternalKeyFormat, n.Name))
	n.DataRoot = t.location("DataRoot", fmt.Sprintf(defaultDataRootFormat, n.Name))
	for _, old := range []string{"MaildirRoot", "CRDTLayerRoot"} {
		if t.has(old) {
			t.bad(old, `DataRoot replaces MaildirRoot and CRDTLayerRoot; remove it and write DataRoot = "data/%s"`, n.Name)
		}
	}
	return n
}

func readWorkers(t *table) []*Worker {
	var workers []*Worker
	for _, key := range t.names() {
		s := t.sub(key)
		if s == nil {
			continue
		}
		if err := checkName(key); err != nil {
			t.file.add(s.path.String(), nil, "%v", err)
		}
		workers = append(workers, readWorker(s, key))
	}
	return workers
}

func readWorker(t *table, key string) *Worker {
	defer t.done()
	w := &Worker{Node: readNode(t, RoleWorker), Key: key}
	s := Subnet{
		Users:          readRange(t, "UserStart", "UserEnd", true),
		Slot:           uint8(t.int("Slot", 0, 1, MaxSlot)),
		PublicSyncAddr: t.addr("PublicSyncAddr"),
	}
	s.ListenSyncAddr = t.listen("ListenSyncAddr", s.PublicSyncAddr)
	if p := t.sub("Peers"); p != nil {
		readWorkerPeers(p, &s)
	} else {
		t.file.add(t.key("Peers"), nil, `missing; write [%s.subnet-1] with a line name = "host:port" for each other member of the subnet, or none for a worker that is alone`, t.key("Peers"))
	}
	if f := t.sub("Failover"); f != nil {
		w.Failover = readPeers(f)
	}
	checkListeners(t, map[string]string{
		"ListenMailAddr": w.ListenMailAddr,
		"ListenSyncAddr": s.ListenSyncAddr,
		"PrometheusAddr": w.PrometheusAddr,
	})
	w.Subnets = []Subnet{s}
	return w
}

// readWorkerPeers reads [Workers.x.Peers]: Leader, and one table that is named
// as the subnet.
func readWorkerPeers(t *table, s *Subnet) {
	s.Leader = t.str(leaderKey, "")
	for _, name := range t.names() {
		if name == leaderKey {
			continue
		}
		sub := t.sub(name)
		if sub == nil {
			continue
		}
		if err := checkName(name); err != nil {
			t.file.add(sub.path.String(), nil, "%v", err)
		}
		if s.Name != "" {
			t.file.add(sub.path.String(), nil, "a second subnet; a worker is in one subnet, and this one is in %s already: move the users to another worker", s.Name)
			continue
		}
		s.Name, s.Peers = name, readPeers(sub)
	}
	if s.Name == "" {
		t.file.add(t.path.String(), nil, `no subnet; write [%s.subnet-1] with a line name = "host:port" for each other member, or none for a worker that is alone`, t.path)
	}
}

// readPeers reads lines of the form name = "host:port".
func readPeers(t *table) []Peer {
	var peers []Peer
	for _, name := range t.names() {
		if name == leaderKey {
			t.bad(name, "the leader is named in the table above this one, or for storage in [Storage.Leaders]")
			continue
		}
		if err := checkName(name); err != nil {
			t.bad(name, "the name of a node is %v", err)
			continue
		}
		peers = append(peers, Peer{Name: name, Addr: t.addr(name)})
	}
	if len(peers) >= MaxSlot {
		t.file.add(t.path.String(), nil, "%d peers; a subnet has at most %d members", len(peers), MaxSlot)
	}
	return peers
}

// readRange reads the first and last user ID of a range.
func readRange(t *table, start, end string, required bool) UserRange {
	r := UserRange{
		Start: uint32(t.int(start, 0, 1, math.MaxUint32)),
		End:   uint32(t.int(end, 0, 1, math.MaxUint32)),
	}
	for _, k := range []string{start, end} {
		if required && !t.has(k) {
			t.bad(k, "missing; write the first and the last user ID, as in %s = 1 and %s = 1000", start, end)
		}
	}
	if r.Start != 0 && r.End != 0 && r.End < r.Start {
		t.bad(end, "smaller than %s = %d", start, r.Start)
		return UserRange{}
	}
	if r.Start == 0 || r.End == 0 {
		return UserRange{}
	}
	return r
}

func readStorage(t *table) *Storage {
	defer t.done()
	s := &Storage{Node: readNode(t, RoleStorage)}
	addrs, peers, users, leaders := t.sub("SyncAddrs"), t.sub("Peers"), t.sub("Users"), t.sub("Leaders")
	if addrs == nil {
		t.file.add(t.key("SyncAddrs"), nil, "missing; write [%s.subnet-1] with Public, Listen and Slot for each subnet", t.key("SyncAddrs"))
		return s
	}
	listeners := map[string]string{"ListenMailAddr": s.ListenMailAddr, "PrometheusAddr": s.PrometheusAddr}
	for _, name := range addrs.names() {
		a := addrs.sub(name)
		if a == nil {
			continue
		}
		subnet := readSyncAddr(a, name)
		if p := subTable(peers, name); p != nil {
			subnet.Peers = readPeers(p)
		}
		if len(subnet.Peers) == 0 {
			t.file.add(t.key("Peers")+"."+name, nil, `no peers; write [%s.%s] with a line name = "host:port" for each other member`, t.key("Peers"), name)
		}
		if u := subTable(users, name); u != nil {
			subnet.Users = readRange(u, "Start", "End", true)
			u.done()
		}
		if leaders != nil {
			subnet.Leader = leaders.str(name, "")
		}
		listeners["SyncAddrs."+name+".Listen"] = subnet.ListenSyncAddr
		s.Subnets = append(s.Subnets, subnet)
	}
	for _, other := range []*table{peers, users, leaders} {
		checkSubnetNames(other, s.Subnets)
	}
	checkListeners(t, listeners)
	return s
}

func subTable(t *table, name string) *table {
	if t == nil {
		return nil
	}
	return t.sub(name)
}

// readSyncAddr reads [Storage.SyncAddrs.subnet].
func readSyncAddr(t *table, name string) Subnet {
	defer t.done()
	if err := checkName(name); err != nil {
		t.file.add(t.path.String(), nil, "%v", err)
	}
	s := Subnet{
		Name:           name,
		Slot:           uint8(t.int("Slot", 0, 1, MaxSlot)),
		PublicSyncAddr: t.addr("Public"),
	}
	s.ListenSyncAddr = t.listen("Listen", s.PublicSyncAddr)
	return s
}

// checkSubnetNames complains about subnets that have no entry in SyncAddrs.
func checkSubnetNames(t *table, subnets []Subnet) {
	if t == nil {
		return
	}
	known := make([]string, len(subnets))
	for i, s := range subnets {
		known[i] = s.Name
	}
	for _, name := range t.names() {
		if slices.Contains(known, name) {
			continue
		}
		if s := suggest(name, known); s != "" {
			t.file.add(t.key(name), nil, "not a subnet of storage; did you mean %s?", s)
			continue
		}
		t.file.add(t.key(name), nil, "not a subnet of storage; write [Storage.SyncAddrs.%s] with Public, Listen and Slot", name)
	}
}

// checkListeners complains if one node is to listen twice on an address.
func checkListeners(t *table, addrs map[string]string) {
	seen := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(addrs)) {
		addr := addrs[key]
		if addr == "" {
			continue
		}
		if first, ok := seen[addr]; ok {
			t.file.add(t.path.String()+"."+key, addr, "the same address as %s; a node cannot listen on one address for two things", first)
			continue
		}
		seen[addr] = key
	}
}

// freeSlot returns a slot that is not used, as text for an error.
func freeSlot(used map[uint8]string) string {
	for s := uint8(1); s <= MaxSlot; s++ {
		if _, ok := used[s]; !ok {
			return strconv.Itoa(int(s)) + " is free as far as this file says"
		}
	}
	return "none is free"
}
