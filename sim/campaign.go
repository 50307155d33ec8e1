package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Campaign is a number of random runs.
type Campaign struct {
	Seed    uint64 // of the first run
	Runs    int    // 0: until the context ends
	Workers int    // runs at the same time
	Whole   bool   // keep the scripts of failing runs as they are
	Trace   bool   // keep the traces of all runs
}

// maxFailures ends a campaign early: more of the same helps nobody.
const maxFailures = 5

// Failure is a run that broke a promise.
type Failure struct {
	Seed   uint64
	Result *Result // of the shortened script
	Steps  int     // of the whole one
}

// Report is what came of a campaign.
type Report struct {
	Stats    Stats
	Failures []Failure // ascending by seed
	Trace    []string

	mu  sync.Mutex
	err error // why runs are not possible at all
}

// Run does the runs until all are done, the context ends, or too many failed.
func (c Campaign) Run(ctx context.Context) (*Report, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	seeds := make(chan uint64)
	report := &Report{}
	var wg sync.WaitGroup
	for range max(c.Workers, 1) {
		wg.Go(func() {
			for seed := range seeds {
				if err := c.one(seed, report); err != nil {
					report.broken(err)
					cancel()
				}
			}
		})
	}
	for i := 0; (c.Runs == 0 || i < c.Runs) && ctx.Err() == nil && report.failed() < maxFailures; i++ {
		seeds <- c.Seed + uint64(i)
	}
	close(seeds)
	wg.Wait()
	slices.SortFunc(report.Failures, func(a, b Failure) int {
		if a.Seed < b.Seed {
			return -1
		}
		return 1
	})
	return report, report.err
}

func (c Campaign) one(seed uint64, report *Report) error {
	r, err := Random(seed, Options{Trace: c.Trace})
	if err != nil {
		return err
	}
	steps := len(r.Script.Steps)
	if r.Violation != nil && !c.Whole {
		short, err := Shrink(&r.Script, Options{})
		if err != nil {
			return err
		}
		if short.Violation != nil {
			short.Stats = r.Stats
			r = short
		}
	}
	report.mu.Lock()
	defer report.mu.Unlock()
	report.Stats.Add(r.Stats)
	report.Trace = append(report.Trace, r.Trace...)
	if r.Violation != nil {
		report.Failures = append(report.Failures, Failure{Seed: seed, Result: r, Steps: steps})
	}
	return nil
}

func (r *Report) broken(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = errors.Join(r.err, err)
}

func (r *Report) failed() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.Failures)
}

// Print writes the report for people.
func (r *Report) Print(out io.Writer, took time.Duration) {
	for _, line := range r.Trace {
		fmt.Fprintln(out, line)
	}
	for i := range r.Failures {
		r.Failures[i].print(out)
	}
	s := &r.Stats
	fmt.Fprintf(out, "%d runs in %v (%.0f/s), %d steps, %d operations, %d applied at peers, %d UIDs re-issued, %d violations\n",
		s.Runs, took.Round(time.Millisecond), float64(s.Runs)/took.Seconds(), s.Steps, s.Operations, s.Applied, s.Reissued, len(r.Failures))
	for _, g := range groups {
		var parts []string
		for i := range table {
			if table[i].group == g {
				parts = append(parts, fmt.Sprintf("%s %d", table[i].name, s.Done[table[i].name]))
			}
		}
		fmt.Fprintf(out, "%s: %s\n", g, strings.Join(parts, ", "))
	}
	var parts []string
	for _, at := range slices.Sorted(maps.Keys(s.Crashed)) {
		parts = append(parts, fmt.Sprintf("%s %d", at, s.Crashed[at]))
	}
	fmt.Fprintf(out, "power failures: %s\n", strings.Join(parts, ", "))
	parts = nil
	for _, name := range slices.Sorted(maps.Keys(s.Done)) {
		if actions[name] == nil {
			parts = append(parts, fmt.Sprintf("%s %d", strings.Trim(name, "()"), s.Done[name]))
		}
	}
	fmt.Fprintf(out, "other events: %s\n", strings.Join(parts, ", "))
}

func (f *Failure) print(out io.Writer) {
	v := f.Result.Violation
	fmt.Fprintf(out, "# seed %d broke %s after %d steps\n", f.Seed, v.Rule, f.Steps)
	for line := range strings.Lines(v.Text) {
		fmt.Fprintf(out, "#   %s\n", strings.TrimSuffix(line, "\n"))
	}
	// A writer that fails is the caller's affair.
	_, _ = f.Result.Script.WriteTo(out)
	fmt.Fprintln(out)
}
