package distance

import (
	"context"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/bench"
)

// absence measures how long a member takes to catch up with what was done while it
// was away. An hour of it is as many operations as come in an hour, made as fast as
// they can be; load goes on while the member catches up.
func absence(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 1") // storage's
	if err != nil {
		return err
	}
	defer s.stop()
	o.print("\nAbsence of us's worker (kill -9) while eu does %d commands or more of the mix %s (8 KiB median), then its return, while 2 connections go on with the mix write", o.Away, o.Mix)
	s.US.Worker.Kill()
	began := time.Now()
	done, err := s.write(ctx, "away", o.Mix, o.Conns, max(1, o.Away/o.Conns))
	if err != nil {
		return err
	}
	took := time.Since(began)
	lacks, err := s.lacks(ctx)
	if err != nil {
		return err
	}
	o.say("absence: %d commands in %v, %.0f operations are missing at us", done, took.Round(time.Second), lacks)
	if err := s.US.Worker.Start(); err != nil {
		return err
	}
	began = time.Now()
	beside, end := context.WithCancel(ctx)
	meanwhile := make(chan result, 1)
	go func() { meanwhile <- s.writeOn(beside) }()
	still, err := s.awaitReturn(ctx, o.Rate)
	back := time.Since(began)
	end()
	load := <-meanwhile
	if err != nil {
		return err
	}
	if load.err != nil {
		return fmt.Errorf("beside the return: %w", load.err)
	}
	text, err := s.US.Worker.Metrics(ctx)
	if err != nil {
		return err
	}
	from := "the log"
	if n := gauge(text, "pluto_snapshot_loaded_bytes_total"); n > 0 {
		from = fmt.Sprintf("snapshots and contents (%.0f MiB)", n/(1<<20))
	}
	o.print("%14s %14s %16s %16s %16s %14s", "operations", "at 200/s, min", "made in, s", "caught up, s", "operations/s", "commands beside")
	o.print("%14.0f %14.1f %16.1f %16.1f %16.0f %14d   from %s, %.0f missing still", lacks, lacks/200/60, took.Seconds(), back.Seconds(),
		lacks/back.Seconds(), load.commands, from, still)
	return nil
}

// write does commands of a mix at eu, and returns how many.
func (s *system) write(ctx context.Context, label, mix string, conns, each int) (int, error) {
	opts, err := s.options(label, bench.MessageSize{Median: 8 << 10, Sigma: 1, Cap: 256 << 10})
	if err != nil {
		return 0, err
	}
	r, err := bench.Closed(ctx, bench.ClosedOptions{Options: opts, Conns: conns, Ops: each, Mix: mix, Prefill: prefill, Page: 50, NoClean: true})
	if err != nil {
		return 0, err
	}
	if n := r.Failed(); n > 0 {
		return 0, fmt.Errorf("%d commands failed: %v", n, r.Errors)
	}
	total, _ := r.Row("TOTAL")
	return total.N, nil
}

// prefill is how many messages a connection has to begin with, where the mix needs some.
const prefill = 50

type result struct {
	commands int
	err      error
}

// writeOn writes with two connections until ctx ends.
func (s *system) writeOn(ctx context.Context) (r result) {
	for ctx.Err() == nil {
		n, err := s.write(ctx, "beside", bench.WriteMix, 2, 100)
		if err != nil && ctx.Err() == nil {
			r.err = err
			return r
		}
		r.commands += n
	}
	return r
}

// lacks returns how many operations of eu's worker us's lacks; the gauge is renewed
// every second.
func (s *system) lacks(ctx context.Context) (float64, error) {
	pause := time.NewTimer(2 * time.Second)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	text, err := s.EU.Worker.Metrics(ctx)
	return gaugeOf(text, "pluto_replication_lag_operations", toUS), err
}

// toUS are the labels of a metric that is about us's worker.
const toUS = `\{[^}]*peer="` + us + `"[^}]*\}`

// awaitReturn waits until us's worker is connected and lacks no more than what comes
// in a second, and returns how much that is.
func (s *system) awaitReturn(ctx context.Context, rate float64) (lag float64, err error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		text, err := s.EU.Worker.Metrics(ctx)
		if err != nil {
			return 0, err
		}
		up := gaugeOf(text, "pluto_replication_connected", toUS) == 1
		if lag = gaugeOf(text, "pluto_replication_lag_operations", toUS); up && lag <= rate {
			return lag, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return lag, fmt.Errorf("us lacks %.0f operations still: %w", lag, ctx.Err())
		}
	}
}
