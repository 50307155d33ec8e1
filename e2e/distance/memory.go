package distance

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/go-pluto/pluto/bench"
)

// memory follows what a worker takes while both of its peers are dead and load
// goes on: what they lack is on the disk.
func memory(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 1")
	if err != nil {
		return err
	}
	defer s.stop()
	o.print("\nMemory of eu's worker under load of the mix append (8 KiB median), %d connections: first with its peers, then both are killed; MiB", o.Conns)
	o.print("%24s %10s %12s %12s %14s", "", "commands", "resident", "Go heap", "they lack")
	commands := 0
	for round := range 2 + 2*o.Rounds {
		label := "with peers"
		if round == 2 {
			s.US.Worker.Kill()
			s.Storage.Kill()
		}
		if round >= 2 {
			label = "peers dead"
		}
		o.say("memory, round %d", round+1)
		opts, err := s.options(label, bench.MessageSize{Median: 8 << 10, Sigma: 1, Cap: 256 << 10})
		if err != nil {
			return err
		}
		r, err := bench.Closed(ctx, bench.ClosedOptions{Options: opts, Conns: o.Conns, Ops: o.Ops, Mix: "append", Page: 50})
		if err != nil {
			return err
		}
		if n := r.Failed(); n > 0 {
			return fmt.Errorf("%d commands failed: %v", n, r.Errors)
		}
		total, _ := r.Row("TOTAL")
		commands += total.N
		if err := s.printMemory(ctx, label, commands); err != nil {
			return err
		}
	}
	return nil
}

func (s *system) printMemory(ctx context.Context, label string, commands int) error {
	pause := time.NewTimer(2 * time.Second) // the gauges are renewed every second
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	text, err := s.EU.Worker.Metrics(ctx)
	if err != nil {
		return err
	}
	const mib = 1 << 20
	s.o.print("%24s %10d %12.0f %12.0f %14.0f", label, commands, gauge(text, "process_resident_memory_bytes")/mib,
		gauge(text, "go_memstats_heap_inuse_bytes")/mib, gauge(text, "pluto_replication_lag_operations"))
	return nil
}

// gauge returns the largest value of a metric, -1 if it is not there.
func gauge(text, name string) float64 { return gaugeOf(text, name, `(?:\{[^}]*\})?`) }

// gaugeOf is gauge for those with some labels, as a regular expression.
func gaugeOf(text, name, labels string) float64 {
	largest := -1.0
	for _, m := range regexp.MustCompile(`(?m)^`+name+labels+` ([0-9.e+-]+)$`).FindAllStringSubmatch(text, -1) {
		if v, err := strconv.ParseFloat(m[1], 64); err == nil {
			largest = max(largest, v)
		}
	}
	return largest
}
