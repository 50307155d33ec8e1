package survival

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/e2e/cluster"
)

// Ways to lose a node.
const (
	Kill    = "kill"    // SIGKILL, started again soon
	Stop    = "stop"    // SIGSTOP for a while
	Rolling = "rolling" // SIGTERM and start, one node after the other
)

// Options are those of [Run].
type Options struct {
	Fault    string
	Sessions int           // half of them work, half are in IDLE
	Time     time.Duration // of the faults
	Every    time.Duration // from one to the next
	Think    time.Duration // between the commands of a session, on average
	Seed     uint64
	Progress io.Writer // what happens, may be nil
}

// Report is what a run has found.
type Report struct {
	Faults   int
	Commands int
	Stored   int             // numbered messages that were acknowledged
	Errors   []string        // what clients saw that they should not have
	Wrong    []string        // what differs from what was acknowledged
	Pauses   []time.Duration // of each working session at each fault, sorted
}

// Failed reports whether anybody could have noticed anything.
func (r *Report) Failed() bool { return len(r.Errors)+len(r.Wrong) > 0 }

// Pause returns the p-th part of the pauses, 0 to 1.
func (r *Report) Pause(p float64) time.Duration {
	if len(r.Pauses) == 0 {
		return 0
	}
	return r.Pauses[min(int(p*float64(len(r.Pauses))), len(r.Pauses)-1)]
}

// Write writes the report for people.
func (r *Report) Write(w io.Writer) {
	fmt.Fprintf(w, "%d faults, %d commands, %d messages acknowledged\n", r.Faults, r.Commands, r.Stored)
	fmt.Fprintf(w, "pause of a session at a fault: median %v, p99 %v, longest %v (%d of them)\n",
		r.Pause(.5).Round(time.Millisecond), r.Pause(.99).Round(time.Millisecond), r.Pause(1).Round(time.Millisecond), len(r.Pauses))
	fmt.Fprintf(w, "errors seen by clients: %d; lost, doubled or otherwise wrong: %d\n", len(r.Errors), len(r.Wrong))
	for _, e := range append(slices.Clone(r.Errors), r.Wrong...) {
		fmt.Fprintln(w, "  ", e)
	}
}

// Run makes a system, loses its nodes under its clients' sessions, and reports.
func Run(ctx context.Context, o Options) (*Report, error) {
	if o.Sessions < 2 || o.Every <= 0 || !slices.Contains([]string{Kill, Stop, Rolling}, o.Fault) {
		return nil, fmt.Errorf("failover: numbers out of range: %+v", o)
	}
	dir, err := os.MkdirTemp("", "pluto-failover-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	c, err := cluster.New(ctx, dir, cluster.Options{})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if err := c.Start(ctx); err != nil {
		return nil, err
	}
	return On(ctx, c, o)
}

// On is Run on a system that is there.
func On(ctx context.Context, c *cluster.Cluster, o Options) (*Report, error) {
	target, err := c.Target(c.EU)
	if err != nil {
		return nil, err
	}
	r := &run{o: o, cluster: c, target: target}
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
	err = r.lose(ctx)
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
	o       Options
	cluster *cluster.Cluster
	target  bench.Target
	workers []*worker

	mu     sync.Mutex
	faults []time.Time
	errors []string
	wrong  []string
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

// seen notes what a client should not have seen.
func (r *run) seen(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.errors = append(r.errors, time.Now().Format("15:04:05.000 ")+fmt.Sprintf(format, args...))
}

// differs notes what is not as it was acknowledged.
func (r *run) differs(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.wrong = append(r.wrong, fmt.Sprintf(format, args...))
}

// lose loses one node after the other until the time is over.
func (r *run) lose(ctx context.Context) error {
	nodes := []*cluster.Node{r.cluster.EU.Worker, r.cluster.Storage}
	if r.o.Fault == Rolling {
		nodes = append(nodes, r.cluster.US.Worker)
	}
	end := time.Now().Add(r.o.Time)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		node := nodes[n%len(nodes)]
		if err := r.fault(ctx, node); err != nil {
			return fmt.Errorf("%s %s: %w", r.o.Fault, node.Name, err)
		}
		if r.o.Progress != nil {
			fmt.Fprintf(r.o.Progress, "%s %s\n", r.o.Fault, node.Name)
		}
	}
	return sleep(ctx, r.o.Every/2)
}

// stopped is how long a stopped process does not run: longer than a lease.
const stopped = 4 * time.Second

// fault loses a node and has it back.
func (r *run) fault(ctx context.Context, n *cluster.Node) error {
	switch r.o.Fault {
	case Kill:
		n.Kill()
		r.happened()
		if err := sleep(ctx, r.o.Every/2); err != nil {
			return err
		}
		return n.Restart(ctx)
	case Stop:
		if err := n.Pause(); err != nil {
			return err
		}
		r.happened()
		return errors.Join(sleep(ctx, stopped), n.Resume())
	}
	r.happened()
	if err := n.Stop(ctx); err != nil {
		return err
	}
	return n.Restart(ctx)
}

func (r *run) happened() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, time.Now())
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

func (r *run) report() *Report {
	out := &Report{Faults: len(r.faults), Errors: r.errors, Wrong: r.wrong}
	for _, w := range r.workers {
		out.Commands += len(w.spans)
		out.Stored += len(w.stored)
		for _, at := range r.faults {
			out.Pauses = append(out.Pauses, w.pauseAt(at))
		}
	}
	slices.Sort(out.Pauses)
	return out
}
