package survival

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// Ways to lose a node.
const (
	Kill    = "kill"    // SIGKILL, started again soon
	Stop    = "stop"    // SIGSTOP for a while
	Cut     = "cut"     // cut off from all others and from the distributors for a while
	Rolling = "rolling" // SIGTERM and start, one node after the other, distributors too
)

// Faults are all of them.
var Faults = []string{Kill, Stop, Cut, Rolling}

// Options are those of [Run].
type Options struct {
	Fault    string
	Sessions int           // half of them work, half are in IDLE
	Time     time.Duration // of the faults
	Every    time.Duration // from one to the next
	Think    time.Duration // between the commands of a session, on average
	Seed     uint64
	Dir      string    // where the system's files are left; "": they are removed
	Progress io.Writer // what happens, may be nil
}

// System returns what kind of system [On] needs for a fault.
func System(fault string) cluster.Options {
	switch fault {
	case Cut:
		return cluster.Options{WAN: true, Fronts: true}
	case Rolling:
		return cluster.Options{Distributors: 2}
	}
	return cluster.Options{}
}

// Report is what a run has found.
type Report struct {
	Faults    int
	Hit       int // sessions that were at the node of each fault, in all
	Commands  int
	Stored    int      // numbered messages that were acknowledged
	Farewells int      // clients that a distributor sent away, as it stopped, and that went on at another
	Errors    []string // what clients saw that they should not have
	Wrong     []string // what differs from what was acknowledged
	Pauses    Pauses   // of each working session at each fault that could hit it
	At        []Node   // the same for each node, if all are restarted
	Slowest   []string // what the longest of them were
}

// Node is what a node's faults did.
type Node struct {
	Name   string
	Pauses Pauses
}

// Pauses are the longest times without an answer that sessions had at faults, sorted.
type Pauses []time.Duration

// Part returns the p-th part of the pauses, 0 to 1.
func (p Pauses) Part(part float64) time.Duration {
	if len(p) == 0 {
		return 0
	}
	return p[min(int(part*float64(len(p))), len(p)-1)]
}

func (p Pauses) String() string {
	return fmt.Sprintf("median %v, p99 %v, longest %v (%d of them)",
		p.Part(.5).Round(time.Millisecond), p.Part(.99).Round(time.Millisecond), p.Part(1).Round(time.Millisecond), len(p))
}

// Failed reports whether anybody could have noticed anything.
func (r *Report) Failed() bool { return len(r.Errors)+len(r.Wrong) > 0 }

// Write writes the report for people.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "%d faults, which hit %d sessions; %d commands, %d messages acknowledged\n", r.Faults, r.Hit, r.Commands, r.Stored)
	if r.Farewells > 0 {
		fmt.Fprintf(w, "sent away by a distributor that stopped, and gone on at another: %d\n", r.Farewells)
	}
	fmt.Fprintf(w, "pause of a session at a fault: %v\n", r.Pauses)
	for _, n := range r.At {
		fmt.Fprintf(w, "   at those of %s: %v\n", n.Name, n.Pauses)
	}
	for _, s := range r.Slowest {
		fmt.Fprintln(w, "  ", s)
	}
	fmt.Fprintf(w, "errors seen by clients: %d; lost, doubled or otherwise wrong: %d\n", len(r.Errors), len(r.Wrong))
	for _, e := range append(slices.Clone(r.Errors), r.Wrong...) {
		fmt.Fprintln(w, "  ", e)
	}
}

// Run makes a system, loses its nodes under its clients' sessions, and reports.
func Run(ctx context.Context, o Options) (_ *Report, err error) {
	if o.Sessions < 2 || o.Every <= 0 || !slices.Contains(Faults, o.Fault) {
		return nil, fmt.Errorf("failover: numbers out of range: %+v", o)
	}
	dir := o.Dir
	if dir == "" {
		if dir, err = os.MkdirTemp("", "pluto-failover-"); err != nil {
			return nil, err
		}
		defer os.RemoveAll(dir)
	} else if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	c, err := cluster.New(ctx, dir, System(o.Fault))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return On(ctx, c, o)
}

// On is Run on a system that is there, of the kind that [System] says.
func On(ctx context.Context, c *cluster.Cluster, o Options) (*Report, error) {
	r := &run{ctx: ctx, o: o, cluster: c}
	if err := r.findFronts(); err != nil {
		return nil, err
	}
	for i := range o.Sessions / 2 {
		r.workers = append(r.workers, newWorker(r, i))
	}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	defer r.close()
	working, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	for _, w := range r.workers {
		running.Go(func() { w.work(working) })
		running.Go(func() { w.idle(working) })
	}
	err := r.lose(ctx)
	stop()
	running.Wait()
	if err != nil {
		return nil, err
	}
	for _, w := range r.workers {
		w.check(ctx)
	}
	return r.report(), nil
}

// run is a run under way.
type run struct {
	ctx     context.Context
	o       Options
	cluster *cluster.Cluster
	fronts  [][]bench.Target // of each region that has clients
	workers []*worker

	faults    []fault
	hit       int
	farewells atomic.Int64

	mu     sync.Mutex // guards what follows
	errors []string
	wrong  []string
}

// fault is the loss of a node.
type fault struct {
	at     time.Time
	node   string
	region int // whose clients it can hit: an index of fronts, or all
}

// all stands for the clients of all regions.
const all = -1

// findFronts finds where clients connect to: one distributor, or all of both regions
// if those are restarted as well.
func (r *run) findFronts() error {
	target, err := r.cluster.Target(r.cluster.EU)
	if r.o.Fault != Rolling {
		r.fronts = [][]bench.Target{{target}}
		return err
	}
	for _, region := range []*cluster.Region{r.cluster.EU, r.cluster.US} {
		var list []bench.Target
		for _, f := range region.Fronts {
			target.Addr = f.IMAP
			list = append(list, target)
		}
		r.fronts = append(r.fronts, list)
	}
	return err
}

func (r *run) connect(ctx context.Context) error {
	const parallel = 16
	var wg sync.WaitGroup
	slots := make(chan struct{}, parallel)
	errs := make([]error, len(r.workers))
	for i, w := range r.workers {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = w.connect(ctx)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (r *run) close() {
	for _, w := range r.workers {
		w.close()
	}
}

// clock is how a moment is shown.
const clock = "15:04:05.000"

// seen notes what a client should not have seen.
func (r *run) seen(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, time.Now().Format(clock+" ")+fmt.Sprintf(format, args...))
}

// differs notes what is not as it was acknowledged.
func (r *run) differs(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// lose loses one node after the other until the time is over.
func (r *run) lose(ctx context.Context) error {
	end := time.Now().Add(r.o.Time)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		node, sessions, err := r.victim(ctx, n)
		if err != nil {
			return err
		}
		if r.o.Progress != nil {
			fmt.Fprintf(r.o.Progress, "%s %s %s with %d sessions\n", time.Now().Format(clock), r.o.Fault, node.Name, sessions)
		}
		r.hit += sessions
		if err := r.fault(ctx, node); err != nil {
			return fmt.Errorf("%s %s: %w", r.o.Fault, node.Name, err)
		}
	}
	return sleep(ctx, r.o.Every/2)
}

// victim returns the node to be lost as the n-th, and how many sessions it has: that
// which has most, or all in turn if they are restarted.
func (r *run) victim(ctx context.Context, n int) (*cluster.Node, int, error) {
	c := r.cluster
	nodes := []*cluster.Node{c.EU.Worker, c.Storage, c.US.Worker}
	has := make(map[*cluster.Node]int)
	var fronts []cluster.Front
	for i := range c.EU.Fronts {
		fronts = append(fronts, c.EU.Fronts[i], c.US.Fronts[i])
	}
	for _, f := range fronts {
		text, err := f.Metrics(ctx)
		if err != nil {
			return nil, 0, err
		}
		for _, node := range nodes {
			at := gauge(text, fmt.Sprintf("pluto_distributor_replica_sessions{replica=%q}", node.Name))
			has[node] += at
			has[f.Node] += at
		}
	}
	if r.o.Fault != Rolling {
		node := slices.MaxFunc(nodes, func(a, b *cluster.Node) int { return has[a] - has[b] })
		return node, has[node], nil
	}
	for _, f := range fronts {
		nodes = append(nodes, f.Node)
	}
	node := nodes[n%len(nodes)]
	return node, has[node], nil
}

// gauge finds a value in the text of /metrics; 0 if it is not there.
func gauge(text, name string) (n int) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, _ = strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return n
}

// away is how long a process is stopped or cut off: longer than a lease.
const away = 4 * time.Second

// fault loses a node and has it back.
func (r *run) fault(ctx context.Context, n *cluster.Node) error {
	switch r.o.Fault {
	case Kill:
		n.Kill()
		r.happened(n)
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		return n.Restart(ctx)
	case Stop:
		if err := n.Pause(); err != nil {
			return err
		}
		r.happened(n)
		return errors.Join(sleep(ctx, away), n.Resume())
	case Cut:
		r.cluster.Network.Partition(n.Name, "")
		r.happened(n)
		err := sleep(ctx, away)
		r.cluster.Network.Heal()
		return err
	}
	r.happened(n)
	if err := n.Stop(ctx); err != nil {
		return err
	}
	return n.Restart(ctx)
}

func (r *run) happened(n *cluster.Node) {
	f := fault{at: time.Now(), node: n.Name, region: all}
	if len(r.fronts) > 1 {
		for i, region := range []*cluster.Region{r.cluster.EU, r.cluster.US} {
			if n == region.Worker || slices.ContainsFunc(region.Fronts, func(f cluster.Front) bool { return f.Node == n }) {
				f.region = i
			}
		}
	}
	r.faults = append(r.faults, f)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// slowest is how many of the longest pauses are told in detail.
const slowest = 5

func (r *run) report() *Report {
	out := &Report{Faults: len(r.faults), Hit: r.hit, Farewells: int(r.farewells.Load()), Errors: r.errors, Wrong: r.wrong}
	for _, w := range r.workers {
		out.Commands += len(w.spans)
		out.Stored += len(w.stored)
	}
	pauses := r.pauses()
	at := map[string]Pauses{}
	for _, p := range pauses {
		out.Pauses = append(out.Pauses, p.took)
		at[p.node] = append(at[p.node], p.took)
	}
	if r.o.Fault == Rolling {
		for _, name := range slices.Sorted(maps.Keys(at)) {
			out.At = append(out.At, Node{name, at[name]})
		}
	}
	for _, p := range pauses[max(0, len(pauses)-slowest):] {
		out.Slowest = append(out.Slowest, fmt.Sprintf("%v: %s, %s was lost at %s", p.took.Round(time.Millisecond), p.what, p.node, p.at.Format(clock)))
	}
	return out
}

// pause is what a fault did to a session.
type pause struct {
	fault
	took time.Duration
	what string
}

// pauses returns those of all working sessions, the shortest first.
func (r *run) pauses() (list []pause) {
	for i, f := range r.faults {
		until := f.at.Add(r.o.Every)
		if i+1 < len(r.faults) {
			until = r.faults[i+1].at
		}
		for _, w := range r.workers {
			if f.region == all || f.region == w.region {
				took, what := w.pause(f.at, until)
				list = append(list, pause{f, took, what})
			}
		}
	}
	slices.SortFunc(list, func(a, b pause) int { return cmp.Compare(a.took, b.took) })
	return list
}
