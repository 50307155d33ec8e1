// Package distance measures a whole system, five processes on this machine, whose
// regions are far from each other: package wan stands between the nodes.
//
//   - lag: how long a change takes to the other region at a steady rate, beside
//     the one-way delay, which is the part that nobody can change.
//   - throughput: commands a second with and without distance, side by side.
//   - attachment: how long small changes take while a large message goes through
//     a thin line, beside the same without it.
//   - traffic: bytes on the line for each operation.
//   - memory: what a worker takes while its peers are dead and load goes on.
//   - absence: how long a member that was away takes to catch up.
//
// The front of [Run] is `pluto-bench wan`. Nothing here asserts anything about
// time; bars are printed beside what was measured.
package distance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// Names of the nodes that replicate.
const (
	eu = "eu-worker-1"
	us = "us-worker-1"
)

// readyTime bounds the start of a system.
const readyTime = 2 * time.Minute

// Options say what to measure. The zero value of none of them is a default; see
// [Defaults].
type Options struct {
	Parts  []string        // of Parts()
	Delays []time.Duration // one-way, to measure one after the other
	Seed   uint64

	Rate    float64       // Lag: operations a second
	Pairs   int           // Lag: writers in one region, each with a reader in the other
	LagTime time.Duration // Lag: how long

	Conns  int // Throughput: connections, all in one region
	Ops    int // Throughput: commands of each
	Rounds int // Throughput: near and far alternate so often

	Attachment int   // Attachment: size of the large message, bytes
	Line       int64 // Attachment: what goes through between any two nodes, bytes a second

	Count int // Traffic: operations of each kind

	Away int    // Absence: commands done meanwhile
	Mix  string // Absence: of what kinds, as [bench.ParseMix] reads it, or [bench.WriteMix], which leaves mailboxes behind

	Out      io.Writer // the tables
	Progress io.Writer // what is being done
}

// Defaults are the figures of the bars.
func Defaults() Options {
	return Options{
		Parts:  Parts(),
		Delays: []time.Duration{40 * time.Millisecond, 150 * time.Millisecond}, Seed: 1,
		Rate: 200, Pairs: 16, LagTime: 20 * time.Second,
		Conns: 48, Ops: 150, Rounds: 3,
		Attachment: 60 << 20, Line: 10e6 / 8, Count: 300, Away: 36000, Mix: bench.WriteMix,
	}
}

var parts = map[string]func(ctx context.Context, o *Options) error{
	"lag": lag, "throughput": throughput, "attachment": attachment, "traffic": traffic, "memory": memory, "absence": absence,
}

// Parts returns the names of what can be measured.
func Parts() []string {
	return []string{"lag", "throughput", "attachment", "traffic", "memory", "absence"}
}

// Run measures the parts, each on a system of its own, and writes the tables.
func Run(ctx context.Context, o Options) error {
	for _, p := range o.Parts {
		if parts[p] == nil {
			return fmt.Errorf("%q is none of %v", p, Parts())
		}
	}
	if slices.ContainsFunc(o.Delays, func(d time.Duration) bool { return d < 0 }) {
		return errors.New("a delay is out of range")
	}
	if o.Rate <= 0 || o.Pairs < 1 || o.Conns < 1 || o.Ops < 1 || o.Rounds < 1 || o.Attachment < 1 || o.Line < 1 || o.Count < 1 || o.Away < 1 || len(o.Delays) == 0 {
		return errors.New("a number is out of range")
	}
	for _, p := range o.Parts {
		if err := parts[p](ctx, &o); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
	}
	return nil
}

// system is a running cluster with a network between its nodes.
type system struct {
	*cluster.Cluster
	o   *Options
	dir string
}

// start boots a system; ack are its lines about acknowledgements.
func (o *Options) start(ctx context.Context, ack string) (_ *system, err error) {
	s := &system{o: o}
	if s.dir, err = os.MkdirTemp("", "pluto-wan-"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.stop()
		}
	}()
	building, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	if s.Cluster, err = cluster.New(building, s.dir, cluster.Options{WAN: true, Ack: ack}); err != nil {
		return nil, err
	}
	starting, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	return s, s.Start(starting)
}

func (s *system) stop() {
	if s.Cluster != nil {
		s.Close()
	}
	os.RemoveAll(s.dir)
}

// options are those of a load on the front of eu.
func (s *system) options(label string, size bench.MessageSize) (bench.Options, error) {
	t, err := s.Target(s.EU)
	if err != nil {
		return bench.Options{}, err
	}
	t.Timeout = 5 * time.Minute
	return bench.Options{Target: t, Users: bench.Users{Name: "user%d", Password: "pass%d", First: 1, Last: cluster.Users},
		Seed: s.o.Seed, Size: size, Label: label}, nil
}

// far sets the network between all nodes.
func (s *system) far(c wan.Conditions) { s.Network.Set("", "", c) }

func (o *Options) say(format string, args ...any) {
	if o.Progress != nil {
		fmt.Fprintf(o.Progress, format+"\n", args...)
	}
}

func (o *Options) print(format string, args ...any) { fmt.Fprintf(o.Out, format+"\n", args...) }

// UseProgramsBeside has the programs that lie beside this one run, unless the
// environment names others; where there are none they are built.
func UseProgramsBeside(path string) error {
	if os.Getenv(cluster.EnvBin) != "" {
		return nil
	}
	dir := filepath.Dir(path)
	for _, name := range []string{"pluto", "pluto-pki", "plutoctl"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return nil
		}
	}
	return os.Setenv(cluster.EnvBin, dir)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
