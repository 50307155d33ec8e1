// Command sim runs the simulator of package sim: random runs from a seed on, for
// a number of runs or a time, or one script. It prints what happened, and of a
// failing run its seed and a shortened script. Its status is 1 if one failed.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/go-pluto/pluto/sim"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string, out io.Writer) error {
	flags := flag.NewFlagSet("sim", flag.ContinueOnError)
	var (
		seed    = flags.Uint64("seed", 1, "`seed` of the first run; the next ones have the next ones")
		runs    = flags.Int("runs", 1000, "how many `runs`; 0: as many as -for allows")
		limit   = flags.Duration("for", 0, "begin no run after this `time`; 0: no limit")
		workers = flags.Int("workers", runtime.GOMAXPROCS(0), "`runs` at the same time")
		replay  = flags.String("replay", "", "run the script in `file` and nothing else")
		trace   = flags.Bool("trace", false, "print what every step came to (with -replay, or one run)")
		whole   = flags.Bool("whole", false, "do not shorten the script of a failing run")
	)
	if err := flags.Parse(arguments); err != nil {
		return err
	}
	if *replay != "" {
		return replayFile(out, *replay, *trace)
	}
	c := sim.Campaign{Seed: *seed, Runs: *runs, Workers: *workers, Whole: *whole, Trace: *trace && *runs == 1}
	if *limit > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, *limit)
		defer cancel()
	}
	began := time.Now()
	report, err := c.Run(ctx)
	if err != nil {
		return err
	}
	report.Print(out, time.Since(began))
	if n := len(report.Failures); n > 0 {
		return fmt.Errorf("%d of %d runs broke a promise", n, report.Stats.Runs)
	}
	return nil
}

func replayFile(out io.Writer, name string, trace bool) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	script, err := sim.ReadScript(f)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r, err := sim.Replay(script, sim.Options{Trace: trace})
	if err != nil {
		return err
	}
	for _, line := range r.Trace {
		fmt.Fprintln(out, line)
	}
	if r.Violation != nil {
		return fmt.Errorf("%s: %w", name, r.Violation)
	}
	fmt.Fprintf(out, "%d of %d steps done, all promises kept\n", r.Stats.Steps, len(script.Steps))
	return nil
}
