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
	Stored    int           // numbered messages that were acknowledged
	Farewells int           // clients that a distributor sent away, as it stopped, and that went on at another
	Errors    []string      // what clients saw that they should not have
	Wrong     []string      // what differs from what was acknowledged
	Pauses    Pauses        // of each working session at each fault that could hit it
	At        []NodePauses  // the same for each node, if all are restarted
	Slowest   []string      // what the longest of them were
	Longest   time.Duration // that any command took, whatever faults there were meanwhile
}

// NodePauses is what a node's faults did.
type NodePauses struct {
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
	fmt.Fprintf(w, "longest that a command took in all: %v\n", r.Longest.Round(time.Millisecond))
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
	err := r.loseAll(ctx)
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
	ended     time.Time // the last one
	farewells atomic.Int64

	mu     sync.Mutex // guards what follows
	errors []string
	wrong  []string
}

// victim is a node that is to be lost.
type victim struct {
	*cluster.Node
	sessions []int // that it has, of each region's clients
}

func (v *victim) hit() (n int) {
	for _, s := range v.sessions {
		n += s
	}
	return n
}

// fault is the loss of a node.
type fault struct {
	victim
	at time.Time
}

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

// loseAll loses one node after the other until the time is over.
func (r *run) loseAll(ctx context.Context) error {
	end := time.Now().Add(r.o.Time)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		v, err := r.choose(ctx, n)
		if err != nil {
			return err
		}
		if r.o.Progress != nil {
			fmt.Fprintf(r.o.Progress, "%s %s %s with %d sessions\n", time.Now().Format(clock), r.o.Fault, v.Name, v.hit())
		}
		if err := r.lose(ctx, v); err != nil {
			return fmt.Errorf("%s %s: %w", r.o.Fault, v.Name, err)
		}
	}
	defer func() { r.ended = time.Now() }()
	return sleep(ctx, r.o.Every/2)
}

// choose returns the node to be lost as the n-th: that which has most sessions, or all in
// turn if they are restarted.
func (r *run) choose(ctx context.Context, n int) (victim, error) {
	c := r.cluster
	regions := []*cluster.Region{c.EU, c.US}
	var nodes, fronts []victim
	for _, node := range []*cluster.Node{c.EU.Worker, c.Storage, c.US.Worker} {
		nodes = append(nodes, victim{node, make([]int, len(regions))})
	}
	for i := range c.EU.Fronts {
		for at, region := range regions {
			f := region.Fronts[i]
			text, err := f.Metrics(ctx)
			if err != nil {
				return victim{}, err
			}
			front := victim{f.Node, make([]int, len(regions))}
			for _, v := range nodes {
				sessions := gauge(text, fmt.Sprintf("pluto_distributor_replica_sessions{replica=%q}", v.Name))
				v.sessions[at] += sessions
				front.sessions[at] += sessions
			}
			fronts = append(fronts, front)
		}
	}
	if r.o.Fault != Rolling {
		return slices.MaxFunc(nodes, func(a, b victim) int { return a.hit() - b.hit() }), nil
	}
	all := append(nodes, fronts...)
	return all[n%len(all)], nil
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

// lose loses a node and has it back.
func (r *run) lose(ctx context.Context, v victim) error {
	switch r.o.Fault {
	case Kill:
		v.Kill()
		r.happened(v)
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		return v.Restart(ctx)
	case Stop:
		if err := v.Pause(); err != nil {
			return err
		}
		r.happened(v)
		return errors.Join(sleep(ctx, away), v.Resume())
	case Cut:
		r.cluster.Network.Partition(v.Name, "")
		r.happened(v)
		err := sleep(ctx, away)
		r.cluster.Network.Heal()
		return err
	}
	r.happened(v)
	if err := v.Stop(ctx); err != nil {
		return err
	}
	return v.Restart(ctx)
}

func (r *run) happened(v victim) { r.faults = append(r.faults, fault{v, time.Now()}) }

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
	out := &Report{Faults: len(r.faults), Farewells: int(r.farewells.Load()), Errors: r.errors, Wrong: r.wrong}
	for _, w := range r.workers {
		out.Commands += len(w.spans)
		out.Stored += len(w.stored)
		for _, s := range w.spans {
			out.Longest = max(out.Longest, s.to.Sub(s.from))
		}
	}
	for i := range r.faults {
		out.Hit += r.faults[i].hit()
	}
	pauses := r.pauses()
	at := map[string]Pauses{}
	for _, p := range pauses {
		out.Pauses = append(out.Pauses, p.took)
		at[p.Name] = append(at[p.Name], p.took)
	}
	if r.o.Fault == Rolling {
		for _, name := range slices.Sorted(maps.Keys(at)) {
			out.At = append(out.At, NodePauses{name, at[name]})
		}
	}
	for _, p := range pauses[max(0, len(pauses)-slowest):] {
		out.Slowest = append(out.Slowest, fmt.Sprintf("%v: %s, %s was lost at %s", p.took.Round(time.Millisecond), p.what, p.Name, p.at.Format(clock)))
	}
	return out
}

// pause is what a fault did to a session.
type pause struct {
	fault
	took time.Duration
	what string
}

// pauses returns those of all working sessions of regions that had sessions at a lost
// node, the shortest first.
func (r *run) pauses() (list []pause) {
	for i, f := range r.faults {
		until := r.ended
		if i+1 < len(r.faults) {
			until = r.faults[i+1].at
		}
		for _, w := range r.workers {
			if f.sessions[w.region] > 0 {
				took, what := w.pause(f.at, until)
				list = append(list, pause{f, took, what})
			}
		}
	}
	slices.SortFunc(list, func(a, b pause) int { return cmp.Compare(a.took, b.took) })
	return list
}
