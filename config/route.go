package config

import (
	"fmt"
	"slices"
	"strings"
)

// Replica is a node that can run a user's sessions.
type Replica struct {
	Name string
	Addr string // where it opens sessions
}

// WorkerNamed returns the worker whose section or Name is as given.
func (c *Config) WorkerNamed(name string) (*Worker, error) {
	var known []string
	for _, w := range c.Workers {
		if w.Key == name || w.Name == name {
			return w, nil
		}
		known = append(known, w.Key)
	}
	if s := suggest(name, known); s != "" {
		return nil, fmt.Errorf("%s has no worker %q; did you mean %s?", c.Path, name, s)
	}
	if len(known) == 0 {
		return nil, fmt.Errorf("%s has no worker %q, nor any other; write a section [Workers.%s]", c.Path, name, name)
	}
	return nil, fmt.Errorf("%s has no worker %q; it has %s", c.Path, name, strings.Join(known, ", "))
}

// WorkerOf returns the worker of this region that is responsible for a user,
// nil if there is none.
func (c *Config) WorkerOf(user uint32) *Worker {
	for _, w := range c.Workers {
		if w.Users().Contains(user) {
			return w
		}
	}
	return nil
}

// SubnetOf returns the name of the subnet that has a user's mail, "" if none
// of this file has.
func (c *Config) SubnetOf(user uint32) string {
	if w := c.WorkerOf(user); w != nil {
		return w.Subnet().Name
	}
	if c.Storage == nil {
		return ""
	}
	for _, s := range c.Storage.Subnets {
		if s.Users.Contains(user) {
			return s.Name
		}
	}
	return ""
}

// SubnetNames returns the names of all subnets of this file, each once.
func (c *Config) SubnetNames() []string {
	var names []string
	add := func(name string) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	for _, w := range c.Workers {
		add(w.Subnet().Name)
	}
	if c.Storage != nil {
		for _, s := range c.Storage.Subnets {
			add(s.Name)
		}
	}
	return names
}

// Replicas returns the nodes that have a user's mail in the order in which a
// distributor tries them: the region's own worker, storage, then the nodes under
// Failover, which may be storage of another region's file. It is empty if nobody keeps
// the user.
func (c *Config) Replicas(user uint32) []Replica {
	var list []Replica
	w := c.WorkerOf(user)
	if w != nil {
		list = append(list, Replica{w.Name, w.PublicMailAddr})
	}
	if s := c.Storage; s != nil && slices.ContainsFunc(s.Subnets, func(n Subnet) bool { return n.Users.Contains(user) }) {
		list = append(list, Replica{s.Name, s.PublicMailAddr})
	}
	if w != nil {
		for _, p := range w.Failover {
			list = append(list, Replica{p.Name, p.Addr})
		}
	}
	return list
}

// AllReplicas returns every node that [Config.Replicas] returns for some user,
// each once.
func (c *Config) AllReplicas() []Replica {
	var list []Replica
	add := func(r Replica) {
		if !slices.Contains(list, r) {
			list = append(list, r)
		}
	}
	for _, w := range c.Workers {
		add(Replica{w.Name, w.PublicMailAddr})
	}
	if c.Storage != nil {
		add(Replica{c.Storage.Name, c.Storage.PublicMailAddr})
	}
	for _, w := range c.Workers {
		for _, p := range w.Failover {
			add(Replica{p.Name, p.Addr})
		}
	}
	return list
}

// ReplicasIn returns the nodes that keep a subnet, in the order of
// [Config.Replicas]. It is empty if this file names none.
func (c *Config) ReplicasIn(subnet string) []Replica {
	var list []Replica
	for _, w := range c.Workers {
		if w.Subnet().Name == subnet {
			list = append(list, Replica{w.Name, w.PublicMailAddr})
		}
	}
	if s := c.Storage; s != nil && slices.ContainsFunc(s.Subnets, func(n Subnet) bool { return n.Name == subnet }) {
		list = append(list, Replica{s.Name, s.PublicMailAddr})
	}
	for _, w := range c.Workers {
		if w.Subnet().Name == subnet {
			for _, p := range w.Failover {
				list = append(list, Replica{p.Name, p.Addr})
			}
		}
	}
	return list
}
