package sim

import (
	"errors"
	"fmt"
)

// Result is what came of a run.
type Result struct {
	Script    Script
	Violation *Violation // nil: all promises were kept
	Stats     Stats
	Trace     []string // if it was asked for: a line for each step
}

// Options say how to run.
type Options struct {
	Trace bool // keep the trace

	plant fakeFault
}

// Random does the random run of a seed.
func Random(seed uint64, o Options) (*Result, error) {
	g, cfg := newGenerator(seed)
	w, err := o.world(cfg)
	if err != nil {
		return nil, err
	}
	g.w = w
	return w.play(g.next)
}

// Replay does the run of a script.
func Replay(s *Script, o Options) (*Result, error) {
	w, err := o.world(s.Config)
	if err != nil {
		return nil, err
	}
	rest := s.Steps
	return w.play(func() (Step, bool) {
		if len(rest) == 0 {
			return Step{}, false
		}
		step := rest[0]
		rest = rest[1:]
		return step, true
	})
}

func (o Options) world(cfg Config) (*World, error) {
	w, err := newWorld(cfg)
	if err != nil {
		return nil, fmt.Errorf("make a world of seed %d: %w", cfg.Seed, err)
	}
	w.keepTrace, w.plant = o.Trace, o.plant
	return w, nil
}

// play runs steps until there are no more or a promise is broken, then finishes.
func (w *World) play(next func() (Step, bool)) (*Result, error) {
	err := w.playSteps(next)
	if err == nil && w.violation == nil {
		err = w.finish()
	}
	if e := w.close(); e != nil && w.violation == nil {
		err = errors.Join(err, e)
	}
	if err != nil {
		// Whatever the environment cannot do is a fault that wants to be found
		// and shortened as others.
		w.fail("error", "%v", err)
	}
	return &Result{w.script, w.violation, w.stats, w.trace}, nil
}

func (w *World) playSteps(next func() (Step, bool)) error {
	for w.violation == nil {
		step, ok := next()
		if !ok {
			return nil
		}
		if err := w.run(step); err != nil {
			return err
		}
	}
	return nil
}
