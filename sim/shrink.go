package sim

import "slices"

// maxReplays bounds how often [Shrink] runs a script.
const maxReplays = 3000

// Shrink returns a shorter script that breaks the same rule, with its result: a
// script from which no step can be left out, unless that took too long to find
// out. A script that breaks nothing comes back as it is.
func Shrink(s *Script, o Options) (*Result, error) {
	h := &shrinker{options: o, left: maxReplays}
	best, err := h.replay(s.Config, s.Steps)
	if err != nil || best.Violation == nil {
		return best, err
	}
	h.best = best
	if err := h.config(); err != nil {
		return nil, err
	}
	for before := -1; before != len(h.best.Script.Steps); {
		before = len(h.best.Script.Steps)
		if err := h.steps(); err != nil {
			return nil, err
		}
		if err := h.lists(); err != nil {
			return nil, err
		}
	}
	return h.best, nil
}

type shrinker struct {
	options Options
	best    *Result
	left    int
}

func (h *shrinker) replay(c Config, steps []Step) (*Result, error) {
	h.left--
	return Replay(&Script{Config: c, Steps: steps}, h.options)
}

// try makes a script the best one if it breaks the same rule.
func (h *shrinker) try(c Config, steps []Step) (bool, error) {
	if h.left <= 0 {
		return false, nil
	}
	r, err := h.replay(c, steps)
	if err != nil || r.Violation == nil || r.Violation.Rule != h.best.Violation.Rule {
		return false, err
	}
	h.best = r
	return true, nil
}

// config tries a smaller and simpler world.
func (h *shrinker) config() error {
	for _, simpler := range []func(*Config){
		func(c *Config) { c.Replicas, c.Leader = 2, min(c.Leader, 2) },
		func(c *Config) { c.Replicas, c.Leader = 3, min(c.Leader, 3) },
		func(c *Config) { c.Replicas, c.Leader = 4, min(c.Leader, 4) },
		func(c *Config) { c.Accounts = 1 },
		func(c *Config) { c.Window = 1 << 20 },
		func(c *Config) { c.Batch = 1000 },
		func(c *Config) { c.Idle = 8 },
		func(c *Config) { c.Vanished = 0 },
		func(c *Config) { c.Leader = 1 },
	} {
		c := h.best.Script.Config
		simpler(&c)
		if c == h.best.Script.Config || c.Replicas > h.best.Script.Config.Replicas {
			continue
		}
		if _, err := h.try(c, h.best.Script.Steps); err != nil {
			return err
		}
	}
	return nil
}

// steps leaves out steps, in large pieces first (ddmin). What does not lie
// before the violation is gone already: the run ended there.
func (h *shrinker) steps() error {
	for size := len(h.best.Script.Steps) / 2; size > 0; size /= 2 {
		for at := len(h.best.Script.Steps) - size; at > -size; at -= size {
			all := h.best.Script.Steps
			from, to := max(at, 0), min(at+size, len(all))
			if from >= to {
				continue
			}
			if _, err := h.try(h.best.Script.Config, slices.Concat(all[:from], all[to:])); err != nil {
				return err
			}
		}
	}
	return nil
}

// lists shortens the lists in arguments.
func (h *shrinker) lists() error {
	for i := range h.best.Script.Steps {
		for j := range h.best.Script.Steps[i].Args {
			if err := h.list(i, j); err != nil {
				return err
			}
		}
	}
	return nil
}

func (h *shrinker) list(i, j int) error {
	list := (&args{list: []string{h.best.Script.Steps[i].Args[j]}}).texts()
	if len(list) < 2 {
		return nil
	}
	for k := len(list) - 1; k >= 0 && len(list) > 1; k-- {
		shorter := slices.Delete(slices.Clone(list), k, k+1)
		steps := slices.Clone(h.best.Script.Steps)
		steps[i].Args = slices.Clone(steps[i].Args)
		steps[i].Args[j] = words(shorter)[0]
		ok, err := h.try(h.best.Script.Config, steps)
		if err != nil {
			return err
		}
		if ok {
			list = shorter
		}
	}
	return nil
}
