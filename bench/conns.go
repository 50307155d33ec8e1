package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// ConnsOptions are those of [Conns].
type ConnsOptions struct {
	Options
	K        int           // connections
	Parallel int           // logins at one time
	Idle     float64       // share of the connections in IDLE, where the server offers it
	Hold     time.Duration // rest before the memory is read
	NoSelect bool          // select no mailbox
}

// Conns opens many connections, logs in, selects INBOX, puts a share of them in
// IDLE, rests, and reports logins per second and the memory per connection of
// the processes in Options.PIDs.
func Conns(ctx context.Context, o ConnsOptions) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.K < 1 || o.Parallel < 1 {
		return nil, fmt.Errorf("conns: connections %d, parallel %d: out of range", o.K, o.Parallel)
	}
	c := &connsRun{o: &o, conns: make([]*imapc.Conn, o.K)}
	defer c.close()
	before, cgBefore := measure(o.PIDs, true), cgroupMemory(o.Cgroup)
	start := time.Now()
	all := c.open(ctx)
	wall := time.Since(start)
	cpuLogin := measure(o.PIDs, false).cpu - before.cpu
	rest(ctx, o.Hold)
	after, cgAfter := measure(o.PIDs, true), cgroupMemory(o.Cgroup)

	open := float64(c.opened.Load())
	extra := map[string]float64{"open": open, "idling": float64(c.idling.Load()), "logins_s": open / wall.Seconds()}
	if len(o.PIDs) > 0 && open > 0 {
		extra["procs_before"], extra["procs_after"] = float64(before.procs), float64(after.procs)
		extra["rss_mib"], extra["pss_mib"] = float64(after.rss)/(1<<20), float64(after.pss)/(1<<20)
		extra["rss_kib_per_conn"] = float64(after.rss-before.rss) / 1024 / open
		extra["pss_kib_per_conn"] = float64(after.pss-before.pss) / 1024 / open
		extra["server_cpu_ms_per_login"] = 1e3 * cpuLogin / open
	}
	if cgAfter > 0 && open > 0 {
		extra["cgroup_kib_per_conn"] = float64(cgAfter-cgBefore) / 1024 / open
	}
	res := &Result{Errors: all.errText}
	res.Rows = all.rows(Row{Label: o.Label, Mode: "conns", Mix: fmt.Sprintf("idle=%.2f", o.Idle), Conns: o.K}, wall, extra)
	if ctx.Err() != nil {
		res.Notes = append(res.Notes, "stopped by the time limit or a signal")
	}
	return res, nil
}

type connsRun struct {
	o      *ConnsOptions
	conns  []*imapc.Conn
	opened atomic.Int64
	idling atomic.Int64
}

// open opens all connections, a few at one time.
func (c *connsRun) open(ctx context.Context) *recorder {
	var next atomic.Int64
	var wg sync.WaitGroup
	recs := make([]*recorder, c.o.Parallel)
	for p := range recs {
		recs[p] = newRecorder()
		wg.Go(func() {
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(c.conns) {
					return
				}
				c.conns[i] = c.one(ctx, i, recs[p])
			}
		})
	}
	wg.Wait()
	all := newRecorder()
	for _, r := range recs {
		all.merge(r)
	}
	return all
}

// one opens the i-th connection; nil when that failed.
func (c *connsRun) one(ctx context.Context, i int, rec *recorder) *imapc.Conn {
	conn, err := c.o.connect(ctx, c.o.Target, i, rec)
	if err != nil {
		return nil
	}
	c.opened.Add(1)
	if !c.o.NoSelect && rec.time("SELECT", func() error { return conn.Select("INBOX") }) != nil {
		return conn
	}
	if float64(i%100) < 100*c.o.Idle && conn.Caps["IDLE"] {
		err := rec.time("IDLE", func() error { _, err := conn.Idle(); return err })
		if err == nil {
			c.idling.Add(1)
		}
	}
	return conn
}

func (c *connsRun) close() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}
