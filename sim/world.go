package sim

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/comm/causal"
	"github.com/go-pluto/pluto/crdt"
)

// epoch is the true time at which worlds begin, Unix milliseconds.
const epoch = 1_600_000_000_000

// World is a subnet with its network, clocks, disks and clients. It is used by
// one goroutine.
type World struct {
	cfg      Config
	now      int64 // true time, Unix milliseconds
	nodes    []*node
	sessions map[int]*session
	orphans  map[int]*session // whose replica stopped, until they go on elsewhere
	roamers  map[int]*roamer
	truth    *truth
	rand     *source // identities of sessions
	blocked  map[[2]int]bool
	lost     int // replicas invented by exhaust

	evicted []eviction // in order
	remains []remains  // of these, in the same order

	script    Script // the steps that were run, skipped ones too
	trace     []string
	keepTrace bool
	stats     Stats
	violation *Violation
	final     bool // all faults are over, and everybody has everything

	plant fakeFault
}

// Violation is a promise that was broken.
type Violation struct {
	Rule string // "I6", "N3", "durable", ...
	Text string
}

// Error implements error.
func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// Stats counts what happened.
type Stats struct {
	Runs, Steps int
	Done        map[string]int // actions that were possible, and other events in parentheses
	Crashed     map[string]int // crashes by their moment
	Operations  int            // of crdt, by all replicas
	Applied     int            // of peers
	Reissued    int            // UIDs
}

// Add adds what another run counted.
func (s *Stats) Add(t Stats) {
	s.Runs += t.Runs
	s.Steps += t.Steps
	s.Operations += t.Operations
	s.Applied += t.Applied
	s.Reissued += t.Reissued
	s.Done = added(s.Done, t.Done)
	s.Crashed = added(s.Crashed, t.Crashed)
}

func added(m, n map[string]int) map[string]int {
	if m == nil {
		m = make(map[string]int)
	}
	for k, v := range n {
		m[k] += v
	}
	return m
}

// newWorld makes a world with all replicas running and not connected.
func newWorld(cfg Config) (*World, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	w := &World{
		cfg: cfg, now: epoch,
		sessions: make(map[int]*session),
		orphans:  make(map[int]*session),
		roamers:  make(map[int]*roamer),
		truth:    newTruth(),
		rand:     newSource(cfg.Seed, 0),
		blocked:  make(map[[2]int]bool),
		script:   Script{Config: cfg},
		stats:    Stats{Runs: 1, Done: make(map[string]int), Crashed: make(map[string]int)},
	}
	for i := range cfg.Replicas {
		w.nodes = append(w.nodes, newNode(w, i+1))
	}
	for _, n := range w.nodes {
		for _, peer := range w.nodes {
			if peer != n {
				n.streams[peer.id] = &stream{from: n, to: peer}
			}
		}
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *World) machineConfig(n *node) causal.Config {
	c := causal.Config{Self: n.replica.Origin(), Window: w.cfg.Window, BatchEntries: w.cfg.Batch}
	for _, peer := range w.nodes {
		if peer != n {
			c.Peers = append(c.Peers, peer.name)
		}
	}
	return c
}

// close ends everything.
func (w *World) close() error {
	var err error
	for _, n := range w.nodes {
		if n.up {
			err = errors.Join(err, n.stop())
		}
	}
	return err
}

// wall is true time, which runs without jumps: what Go's monotonic clock is.
func (w *World) wall() time.Time { return time.UnixMilli(w.now).UTC() }

// fail notes the first violation.
func (w *World) fail(rule, format string, args ...any) {
	if w.violation == nil {
		w.violation = &Violation{rule, fmt.Sprintf(format, args...)}
	}
}

// node returns a replica by its number.
func (w *World) node(i int) *node {
	if i < 1 || i > len(w.nodes) {
		return nil
	}
	return w.nodes[i-1]
}

// users returns the accounts.
func (w *World) users() []crdt.AccountID {
	out := make([]crdt.AccountID, w.cfg.Accounts)
	for i := range out {
		out[i] = crdt.AccountID(i + 1)
	}
	return out
}

// sessionID draws the identity of a session.
func (w *World) sessionID() (id [16]byte) {
	_, _ = w.rand.Read(id[:]) // never fails
	return id
}

// run does one step and checks what came of it. An error is one of the
// simulator's own environment, not a violation.
func (w *World) run(step Step) error {
	a := actions[step.Action]
	if a == nil {
		return fmt.Errorf("no action %q", step.Action)
	}
	w.script.Steps = append(w.script.Steps, step)
	result, err := a.run(w, &args{list: step.Args})
	if errors.Is(err, errSkip) {
		w.note("%v: skipped", step)
		return nil
	}
	if err != nil {
		return fmt.Errorf("step %d, %v: %w", len(w.script.Steps), step, err)
	}
	w.stats.Steps++
	w.stats.Done[step.Action]++
	if err := w.endStep(); err != nil {
		return fmt.Errorf("step %d, %v: %w", len(w.script.Steps), step, err)
	}
	w.note("%v: %s", step, result)
	return nil
}

// endStep lets the replicas crash that were to crash in the step, send what is
// new, and checks those to which something has happened.
func (w *World) endStep() error {
	for _, n := range w.nodes {
		if n.up && n.fuse.burnt() {
			w.stats.Crashed[string(n.fuse.armed)]++
			if err := n.crash(); err != nil {
				return err
			}
		}
	}
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		if err := w.observe(n); err != nil {
			return err
		}
		if err := n.pump(); err != nil {
			return err
		}
		if n.changed {
			if err := w.check(n); err != nil {
				return err
			}
		}
	}
	return nil
}

// note adds a line to the trace.
func (w *World) note(format string, args ...any) {
	if !w.keepTrace {
		return
	}
	line := fmt.Sprintf(format, args...)
	for _, n := range w.nodes {
		if n.up {
			line += fmt.Sprintf(" %s=%v", n.name, n.replica.Logged())
		} else {
			line += fmt.Sprintf(" %s=down", n.name)
		}
	}
	w.trace = append(w.trace, line)
}

// background is the context of everything: nothing in a simulation is cancelled.
var background = context.Background()

// fakeFault falsifies what a replica is about to apply, to test the simulator.
type fakeFault func(n *node, batch []causal.Entry)
