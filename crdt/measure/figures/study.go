package figures

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/go-pluto/pluto/crdt/measure"
)

// Scale says how much is measured.
type Scale struct {
	Seeds    int           // runs of each case, with the seeds from 1
	Messages int           // messages of a run under steady load, about
	Cut      time.Duration // length of the cut that the tables are about
	Cuts     []time.Duration
	Futile   time.Duration // length of the cut after which the naive rule is watched
	Watch    time.Duration // for how long
	Days     int           // age of a replica whose tables are measured
}

// Full returns the scale of the document's figures.
func Full() Scale {
	return Scale{
		Seeds: 9, Messages: 2000, Cut: time.Minute, Futile: 30 * time.Second, Watch: 2 * time.Second, Days: 100,
		Cuts: []time.Duration{time.Second, 3 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 5 * time.Minute},
	}
}

const (
	rtt    = 100 * time.Millisecond
	jitter = 0.2
	poll   = 20 * time.Second
	limit  = time.Hour // what has not settled then is a failure
)

// study makes runs, each case once, and keeps what came out.
type study struct {
	ctx      context.Context // of the one call that the study is made for
	scale    Scale
	progress io.Writer
	known    map[string]outcome
	err      error // the first; all outcomes after it are zero
}

// outcome is what the runs of one case cost.
type outcome struct {
	reissues, depth, span   spread // per message
	idle, polling           spread // re-downloads per message and client
	operations, bytes       spread // that only UIDs made necessary, per message
	settled                 spread // seconds
	median, most, slowest   spread // seconds until all agree on a message: half of them, 99 %, all
	endless                 int    // runs that had not ended at the limit
	timeline                []float64
	smallest, largest, runs int // messages of a run; runs
}

// steady is the case of messages that arrive all the time. load is λ·RTT:
// messages per round trip and replica.
func (s *study) steady(load float64, replicas int) measure.Config {
	rate := load / rtt.Seconds()
	return measure.Config{
		Replicas: replicas, Rate: rate, RTT: rtt, Jitter: jitter, Poll: poll, Limit: limit,
		Load: time.Duration(float64(s.scale.Messages) / rate / float64(replicas) * float64(time.Second)),
	}
}

// cut is the case of replicas that hear nothing of each other for a time, with
// a message per second at each.
func (s *study) cut(length time.Duration, replicas int) measure.Config {
	return measure.Config{
		Replicas: replicas, Rate: 1, RTT: rtt, Jitter: jitter, Poll: poll, Limit: limit,
		Load: length, Cut: true,
	}
}

// futile is the case of the naive rule after a cut, without the
// variation of delays if that is wanted.
func (s *study) futile(replicas int, rule measure.Rule, vary bool) measure.Config {
	c := s.cut(s.scale.Futile, replicas)
	c.Rule, c.Limit = rule, s.scale.Watch
	if !vary {
		c.Jitter = 0
	}
	return c
}

// of returns the outcome of a case.
func (s *study) of(c measure.Config) outcome {
	key := fmt.Sprintf("%+v", c)
	if o, ok := s.known[key]; ok || s.err != nil {
		return o
	}
	var runs []measure.Result
	for seed := range s.scale.Seeds {
		if s.err = s.ctx.Err(); s.err != nil {
			return outcome{}
		}
		c.Seed = uint64(seed) + 1
		r, err := measure.Run(c)
		if err != nil {
			s.err = fmt.Errorf("%d replicas, seed %d: %w", c.Replicas, c.Seed, err)
			return outcome{}
		}
		runs = append(runs, r)
	}
	o := summarise(runs)
	s.known[key] = o
	fmt.Fprintf(s.progress, "%d replicas, %.3g messages/s, load %v, cut %v: %s re-issues per message\n",
		c.Replicas, c.Rate, c.Load.Round(time.Millisecond), c.Cut, o.reissues.number())
	return o
}

func summarise(runs []measure.Result) outcome {
	of := func(f func(r *measure.Result) float64) spread {
		var all []float64
		for i := range runs {
			all = append(all, f(&runs[i]))
		}
		return spreadOf(all)
	}
	perMessage := func(f func(r *measure.Result) int) spread {
		return of(func(r *measure.Result) float64 { return float64(f(r)) / float64(max(r.Messages, 1)) })
	}
	agreed := func(part float64) spread {
		return of(func(r *measure.Result) float64 { return quantile(r.Agreed, part) })
	}
	o := outcome{
		reissues:   perMessage(func(r *measure.Result) int { return r.Reissues }),
		idle:       perMessage(func(r *measure.Result) int { return r.Idle }),
		polling:    perMessage(func(r *measure.Result) int { return r.Polling }),
		operations: perMessage(func(r *measure.Result) int { return r.Operations }),
		bytes:      perMessage(func(r *measure.Result) int { return r.Bytes }),
		span:       perMessage(func(r *measure.Result) int { return int(r.Highest) }),
		depth:      of(func(r *measure.Result) float64 { return float64(r.Depth) }),
		settled:    of(func(r *measure.Result) float64 { return r.Settled.Seconds() }),
		median:     agreed(0.5), most: agreed(0.99), slowest: agreed(1),
		runs: len(runs), smallest: runs[0].Messages,
	}
	clients := float64(max(runs[0].Clients, 1))
	o.idle, o.polling = o.idle.over(clients), o.polling.over(clients)
	for i := range runs {
		o.smallest, o.largest = min(o.smallest, runs[i].Messages), max(o.largest, runs[i].Messages)
		if !runs[i].Ended {
			o.endless++
		}
	}
	o.timeline = timeline(&runs[0])
	return o
}

// timeline returns how many re-issues per message there were until the end of
// each interval.
func timeline(r *measure.Result) []float64 {
	var out []float64
	sum := 0
	for _, n := range r.Timeline {
		sum += n
		out = append(out, float64(sum)/float64(max(r.Messages, 1)))
	}
	return out
}

// quantile returns in seconds what that part of sorted durations does not exceed.
func quantile(sorted []time.Duration, part float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := int(part*float64(len(sorted))+0.999999) - 1
	return sorted[max(0, min(i, len(sorted)-1))].Seconds()
}

// spread is the same figure of several runs.
type spread struct{ low, median, high float64 }

func spreadOf(all []float64) spread {
	slices.Sort(all)
	n := len(all)
	return spread{all[0], (all[(n-1)/2] + all[n/2]) / 2, all[n-1]}
}

// over returns the spread divided by a number.
func (s spread) over(n float64) spread { return spread{s.low / n, s.median / n, s.high / n} }
