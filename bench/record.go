package bench

import (
	"slices"
	"time"
)

// series holds the latencies and failures of one kind of command.
type series struct {
	lat  []time.Duration
	errs int
}

// recorder gathers latencies by command. Each connection has its own; they are
// merged at the end, so recording takes no lock.
type recorder struct {
	by      map[string]*series
	errText map[string]int
}

const (
	maxErrTexts   = 50
	maxErrTextLen = 160
)

func newRecorder() *recorder {
	return &recorder{by: map[string]*series{}, errText: map[string]int{}}
}

func (r *recorder) get(cmd string) *series {
	s := r.by[cmd]
	if s == nil {
		s = &series{}
		r.by[cmd] = s
	}
	return s
}

// add records one finished command. A failed one leaves no latency.
func (r *recorder) add(cmd string, d time.Duration, err error) {
	s := r.get(cmd)
	if err == nil {
		s.lat = append(s.lat, d)
		return
	}
	s.errs++
	r.note(cmd + ": " + err.Error())
}

// note counts an error text.
func (r *recorder) note(text string) {
	if len(text) > maxErrTextLen {
		text = text[:maxErrTextLen]
	}
	if len(r.errText) < maxErrTexts || r.errText[text] > 0 {
		r.errText[text]++
	}
}

// time runs f and records it.
func (r *recorder) time(cmd string, f func() error) error {
	t := time.Now()
	err := f()
	r.add(cmd, time.Since(t), err)
	return err
}

func (r *recorder) merge(o *recorder) {
	for k, s := range o.by {
		d := r.get(k)
		d.lat = append(d.lat, s.lat...)
		d.errs += s.errs
	}
	for k, n := range o.errText {
		r.errText[k] += n
	}
}

// percentile returns the p-th percentile (0..100) of sorted values, by the
// nearest-rank method.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	i := int(p/100*float64(len(sorted))+0.999999) - 1
	return sorted[max(0, min(i, len(sorted)-1))]
}

// setup tells the commands that are shown but are no part of the total.
func setup(cmd string) bool { return cmd == "LOGIN" || cmd == "CONNECT" || cmd == "LOGOUT" }

// summarize turns a series into a row.
func summarize(base Row, cmd string, s *series, wall time.Duration) Row {
	slices.Sort(s.lat)
	base.Cmd, base.N, base.Errors = cmd, len(s.lat), s.errs
	base.WallS = wall.Seconds()
	if wall > 0 {
		base.OpsS = float64(len(s.lat)) / wall.Seconds()
	}
	if n := len(s.lat); n > 0 {
		var sum time.Duration
		for _, d := range s.lat {
			sum += d
		}
		base.MeanUs = micros(sum) / float64(n)
		base.MinUs, base.MaxUs = micros(s.lat[0]), micros(s.lat[n-1])
	}
	base.P50Us, base.P95Us, base.P99Us = micros(percentile(s.lat, 50)), micros(percentile(s.lat, 95)), micros(percentile(s.lat, 99))
	return base
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// rows returns one row for each command, by name, and last one for all together.
func (r *recorder) rows(base Row, wall time.Duration, extra map[string]float64) []Row {
	base.Time = time.Now().UTC().Format(time.RFC3339)
	base.Noise = extra["other_cpu_pct"] + extra["steal_pct"]
	var names []string
	all := &series{}
	for k, s := range r.by {
		names = append(names, k)
		if setup(k) {
			continue
		}
		all.lat = append(all.lat, s.lat...)
		all.errs += s.errs
	}
	slices.Sort(names)
	var out []Row
	for _, k := range names {
		out = append(out, summarize(base, k, r.by[k], wall))
	}
	for i := range out {
		if n := len(all.lat) + all.errs; n > 0 && !setup(out[i].Cmd) {
			out[i].MixPct = 100 * float64(out[i].N+out[i].Errors) / float64(n)
		}
	}
	total := summarize(base, "TOTAL", all, wall)
	total.Extra = extra
	return append(out, total)
}

// count returns how many commands succeeded, set-up included.
func (r *recorder) count() (n int) {
	for _, s := range r.by {
		n += len(s.lat)
	}
	return n
}
