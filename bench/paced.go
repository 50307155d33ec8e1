package bench

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// PacedOptions are those of [Paced]. The changes are made at Options.Target.
type PacedOptions struct {
	Options
	B     Target        // where the changes are looked for
	Conns int           // pairs of a writer at A and a reader in IDLE at B, one user each
	Rate  float64       // APPENDs a second, all writers together
	N     int           // APPENDs in all
	Max   time.Duration // longest wait for a change after the last one was made
}

// Paced makes changes at one server at a steady rate, whether or not the ones
// before have been seen, and reports how long each took to be seen at the other, in
// the rows of [Lag]. A writer that the server holds up falls behind the rate; the
// wall time tells.
func Paced(ctx context.Context, o PacedOptions) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.B.Addr == "" || o.Conns < 1 || o.Conns > o.Users.Count() || o.Rate <= 0 || o.N < o.Conns || o.Max <= 0 {
		return nil, fmt.Errorf("paced: second server %q, pairs %d (of %d users), rate %g, changes %d, max %s: out of range",
			o.B.Addr, o.Conns, o.Users.Count(), o.Rate, o.N, o.Max)
	}
	pairs, errs := make([]*pacedPair, o.Conns), make([]error, o.Conns)
	for i := range pairs {
		pairs[i] = newPacedPair(&o, i)
		defer pairs[i].lag.close()
	}
	eachPair(pairs, errs, func(p *pacedPair) error { return p.open(ctx) })
	if err := firstError(errs); err != nil {
		return nil, err
	}
	run := o.begin()
	eachPair(pairs, errs, func(p *pacedPair) error { return p.run(ctx, run.start) })
	wall, extra := run.end()
	all := newRecorder()
	for _, p := range pairs {
		all.merge(p.lag.rec)
	}
	res := &Result{Errors: all.errText}
	res.Rows = all.rows(Row{Label: o.Label, Mode: "paced", Mix: "append/idle", Conns: o.Conns}, wall, extra)
	res.Rows = res.Rows[:len(res.Rows)-1] // a total makes no sense here
	for i := range res.Rows {
		res.Rows[i].MixPct, res.Rows[i].Extra = 0, nil
	}
	if ctx.Err() != nil {
		res.Notes = append(res.Notes, "stopped by the time limit or a signal")
		return res, nil
	}
	return res, firstError(errs)
}

func eachPair(pairs []*pacedPair, errs []error, f func(p *pacedPair) error) {
	var wg sync.WaitGroup
	for i, p := range pairs {
		wg.Go(func() { errs[i] = f(p) })
	}
	wg.Wait()
}

func firstError(errs []error) error {
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("pair %d: %w", i, err)
		}
	}
	return nil
}

// pacedPair is a writer and a reader of one mailbox.
type pacedPair struct {
	o     *PacedOptions
	index int
	n     int
	lag   *lagRun
	seen  []time.Time // when the k-th change was seen; the reader's until it ends
}

func newPacedPair(o *PacedOptions, index int) *pacedPair {
	n := o.N / o.Conns
	if index < o.N%o.Conns {
		n++
	}
	own := &LagOptions{Options: o.Options, B: o.B, Poll: "idle", Max: o.Max, Every: time.Millisecond}
	own.Users.First, own.Users.Last = o.Users.First+index, o.Users.First+index
	own.UsersB = own.Users
	l := &lagRun{o: own, rec: newRecorder(), gen: o.messages(uint64(index) + 5e6), mailbox: fmt.Sprintf("paced%sx%d", runID(), index)}
	return &pacedPair{o: o, index: index, n: n, lag: l}
}

func (p *pacedPair) open(ctx context.Context) error {
	if err := p.lag.open(ctx); err != nil {
		return err
	}
	return p.lag.w.arm()
}

// run makes the pair's changes at their times and waits until all were seen.
func (p *pacedPair) run(ctx context.Context, began time.Time) error {
	done := make(chan error, 1)
	go func() { done <- p.read() }()
	sent, acked, err := p.write(ctx, began)
	if err != nil || ctx.Err() != nil {
		p.lag.w.conn.Close() // ends the reader
		<-done
		return err
	}
	if err := <-done; err != nil {
		return err
	}
	for k := range sent {
		p.lag.rec.add("ack", acked[k].Sub(sent[k]), nil)
		p.lag.rec.add("visible after send", p.seen[k].Sub(sent[k]), nil)
		p.lag.rec.add("visible after ack", max(0, p.seen[k].Sub(acked[k])), nil)
	}
	return nil
}

func (p *pacedPair) write(ctx context.Context, began time.Time) (sent, acked []time.Time, err error) {
	every := time.Duration(float64(p.o.Conns) / p.o.Rate * float64(time.Second))
	next := began.Add(every * time.Duration(p.index) / time.Duration(p.o.Conns)) // not all at once
	for range p.n {
		rest(ctx, time.Until(next))
		if ctx.Err() != nil {
			return sent, acked, nil
		}
		next = next.Add(every)
		m := p.lag.gen.next("")
		sent = append(sent, time.Now())
		if _, err := p.lag.a.Append(p.lag.mailbox, "", m, p.lag.o.nonSync(p.lag.a)); err != nil {
			return sent, acked, fmt.Errorf("APPEND at A: %w", err)
		}
		acked = append(acked, time.Now())
	}
	return sent, acked, nil
}

// read notes when each change was seen.
func (p *pacedPair) read() error {
	w := p.lag.w
	const first = 1 // the message by which the mailbox was waited for
	for len(p.seen) < p.n {
		if _, err := w.conn.IdleNext(p.o.Max); err != nil {
			return fmt.Errorf("IDLE at B, %d of %d changes seen: %w", len(p.seen), p.n, err)
		}
		now := time.Now()
		for len(p.seen) < int(w.messages-first) {
			p.seen = append(p.seen, now)
		}
	}
	return w.conn.Done(w.idleTag)
}
