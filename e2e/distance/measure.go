package distance

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/bench/wan"
	"github.com/go-pluto/pluto/e2e/cluster"
)

func ms(us float64) float64 { return us / 1e3 }

// lag measures changes at a steady rate, over each distance.
func lag(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 0")
	if err != nil {
		return err
	}
	defer s.stop()
	o.print("\nLag at %g APPENDs a second (8 KiB median) from eu to us, AckPeers = 0, from the first byte sent until the other region shows it; ms", o.Rate)
	o.print("%12s %8s %8s %8s %8s %10s %8s %14s %14s", "one-way", "median", "p95", "p99", "max", "bar (p99)", "", "OK, median", "OK, p99")
	for _, d := range append([]time.Duration{0}, o.Delays...) { // 0: what this machine takes by itself
		o.say("lag over %v", d)
		s.far(wan.Conditions{Delay: d})
		r, err := s.paced(ctx, d)
		if err != nil {
			return err
		}
		row, _ := r.Row("visible after send")
		bar := d + 20*time.Millisecond
		ack, _ := r.Row("ack")
		o.print("%12v %8.1f %8.1f %8.1f %8.1f %10v %8s %14.1f %14.1f", d, ms(row.P50Us), ms(row.P95Us), ms(row.P99Us), ms(row.MaxUs),
			bar, verdict(ms(row.P99Us) <= ms(float64(bar.Microseconds()))), ms(ack.P50Us), ms(ack.P99Us))
	}
	return nil
}

func verdict(ok bool) string {
	if ok {
		return "within"
	}
	return "MISSED"
}

func (s *system) paced(ctx context.Context, d time.Duration) (*bench.Result, error) {
	opts, err := s.options(d.String(), bench.MessageSize{Median: 8 << 10, Sigma: 1, Cap: 256 << 10})
	if err != nil {
		return nil, err
	}
	b, err := s.Target(s.US)
	if err != nil {
		return nil, err
	}
	b.Timeout = time.Minute
	return bench.Paced(ctx, bench.PacedOptions{Options: opts, B: b, Conns: s.o.Pairs, Rate: s.o.Rate,
		N: max(s.o.Pairs, int(s.o.Rate*s.o.LagTime.Seconds())), Max: time.Minute})
}

// throughput measures the write mix near and far, in turns, so that what else the
// machine does meets both.
func throughput(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 0")
	if err != nil {
		return err
	}
	defer s.stop()
	o.print("\nThroughput of the mix write, %d connections at eu, AckPeers = 0, medians of %d rounds; and the time after the last OK until us had everything", o.Conns, o.Rounds)
	o.print("%12s %12s %10s %10s %14s", "one-way", "commands/s", "of LAN", "bar", "caught up, ms")
	delays := append([]time.Duration{0}, o.Delays...)
	rates, after := make([][]float64, len(delays)), make([][]float64, len(delays))
	for round := range o.Rounds {
		for i, d := range delays {
			o.say("throughput over %v, round %d of %d", d, round+1, o.Rounds)
			s.far(wan.Conditions{Delay: d})
			rate, caughtUp, err := s.closed(ctx, d)
			if err != nil {
				return err
			}
			rates[i], after[i] = append(rates[i], rate), append(after[i], caughtUp)
		}
	}
	lan := median(rates[0])
	for i, d := range delays {
		part := median(rates[i]) / lan
		bar, is := "", ""
		if i > 0 {
			bar, is = "80 %", verdict(part >= 0.8)
		}
		o.print("%12v %12.0f %9.0f%% %10s %14.0f %s", d, median(rates[i]), 100*part, bar, median(after[i]), is)
	}
	return nil
}

func (s *system) closed(ctx context.Context, d time.Duration) (rate, caughtUp float64, err error) {
	opts, err := s.options(d.String(), bench.MessageSize{Median: 8 << 10, Sigma: 1, Cap: 256 << 10})
	if err != nil {
		return 0, 0, err
	}
	r, err := bench.Closed(ctx, bench.ClosedOptions{Options: opts, Conns: s.o.Conns, Ops: s.o.Ops, Mix: bench.WriteMix, Page: 50, NoClean: true})
	if err != nil {
		return 0, 0, err
	}
	if n := r.Failed(); n > 0 {
		return 0, 0, fmt.Errorf("%d commands failed: %v", n, r.Errors)
	}
	began := time.Now()
	if err := s.caughtUp(ctx); err != nil {
		return 0, 0, err
	}
	total, _ := r.Row("TOTAL")
	return total.OpsS, float64(time.Since(began).Milliseconds()), nil
}

// caughtUp waits until us has everything that was done at eu: one change more,
// and what comes after it in the order of eu's worker comes after everything.
func (s *system) caughtUp(ctx context.Context) error {
	here, err := s.dial(ctx, s.EU, cluster.Users)
	if err != nil {
		return err
	}
	defer here.Close()
	there, err := s.dial(ctx, s.US, cluster.Users)
	if err != nil {
		return err
	}
	defer there.Close()
	if err := there.Select("Drafts"); err != nil {
		return err
	}
	before := there.Exists
	if _, err := here.Append("Drafts", "", []byte("Subject: the last\r\n\r\n"), false); err != nil {
		return err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for there.Exists == before {
		if _, err := there.Do("NOOP", nil); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
	return nil
}

// attachment measures small changes alone, and beside a large message.
func attachment(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 1")
	if err != nil {
		return err
	}
	defer s.stop()
	delay := o.Delays[0]
	s.far(wan.Conditions{Delay: delay, Rate: o.Line})
	o.print("\nSmall changes (STORE) of other users, from the first byte sent until the other region shows it, while a message of %d MiB is stored at eu; %.0f Mbit/s and %v one-way between any two nodes, AckPeers = 1; ms",
		o.Attachment>>20, float64(o.Line)*8/1e6, delay)
	o.print("%24s %8s %8s %8s %8s %8s", "", "changes", "median", "p95", "p99", "max")
	o.say("small changes alone")
	alone, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.stores(alone, "alone"); err != nil {
		return err
	}
	o.say("small changes beside a large message")
	beside, cancel := context.WithCancel(ctx)
	defer cancel()
	began := time.Now()
	large, took := make(chan error, 1), time.Duration(0)
	go func() {
		defer cancel()
		err := s.appendLarge(ctx)
		took = time.Since(began)
		large <- err
	}()
	err = s.stores(beside, "beside the large one")
	cancel()
	if e := <-large; e != nil {
		return e
	}
	o.print("the large message was acknowledged after %.1f s (the line alone takes %.1f s)", took.Seconds(), float64(o.Attachment)/float64(o.Line))
	return err
}

// stores makes small changes until ctx ends, and prints how they fared.
func (s *system) stores(ctx context.Context, label string) error {
	opts, err := s.options(label, bench.MessageSize{Median: 1000})
	if err != nil {
		return err
	}
	opts.Users.First = 2 // the large message is the first one's
	b, err := s.Target(s.US)
	if err != nil {
		return err
	}
	b.Timeout = 5 * time.Minute
	r, err := bench.Lag(ctx, bench.LagOptions{Options: opts, B: b, Poll: "idle", Op: "store", N: 1 << 20, Burst: 1, Every: time.Millisecond,
		Gap: 20 * time.Millisecond, Max: 5 * time.Minute})
	if err != nil {
		return err
	}
	row, _ := r.Row("visible after send")
	s.o.print("%24s %8d %8.1f %8.1f %8.1f %8.1f", label, row.N, ms(row.P50Us), ms(row.P95Us), ms(row.P99Us), ms(row.MaxUs))
	return nil
}

// appendLarge stores a message that does not compress, as user 1.
func (s *system) appendLarge(ctx context.Context) error {
	conn, err := s.dial(ctx, s.EU, 1)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = conn.Append("INBOX", "", noise(s.o.Seed, s.o.Attachment), false)
	return err
}

func (s *system) dial(ctx context.Context, r *cluster.Region, user int) (*imapc.Conn, error) {
	t, err := s.Target(r)
	if err != nil {
		return nil, err
	}
	t.Timeout = 5 * time.Minute
	conn, err := t.Dial(ctx)
	if err != nil {
		return nil, err
	}
	name, password := cluster.User(user)
	if err := conn.Login(name, password); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// noise returns a message of random bytes but for NUL and line ends.
func noise(seed uint64, size int) []byte {
	m := []byte("Subject: large\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/octet-stream\r\n\r\n")
	rng := rand.New(rand.NewPCG(seed, 9))
	for i := 1; len(m) < size; i++ {
		if i%900 == 0 {
			m = append(m, "\r\n"...)
			continue
		}
		m = append(m, byte(32+rng.IntN(224)))
	}
	return m
}

// traffic measures what an operation costs on the line to one peer.
func traffic(ctx context.Context, o *Options) error {
	s, err := o.start(ctx, "AckPeers = 1")
	if err != nil {
		return err
	}
	defer s.stop()
	o.print("\nBytes on the line from eu's worker to one peer, and back from it, TLS, HTTP/2 and heartbeats included; each operation alone")
	o.print("%32s %10s %10s", "", "to", "back")
	conn, err := s.dial(ctx, s.EU, 1)
	if err != nil {
		return err
	}
	defer conn.Close()
	began, to, back := time.Now(), s.Network.Carried(eu, us), s.Network.Carried(us, eu)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * time.Second):
	}
	seconds := time.Since(began).Seconds()
	o.print("%32s %10.0f %10.0f", "idle, a second", float64(s.Network.Carried(eu, us)-to)/seconds, float64(s.Network.Carried(us, eu)-back)/seconds)

	text := textMessage(o.Seed, 8<<10)
	random := noise(o.Seed, 8<<10)
	each := []struct {
		name string
		do   func(i int) error
	}{
		{"APPEND, 8 KiB of text", func(int) error { _, err := conn.Append("INBOX", "", text, false); return err }},
		{"APPEND, 8 KiB of noise", func(int) error { _, err := conn.Append("INBOX", "", random, false); return err }},
		{"STORE", func(i int) error {
			_, err := conn.Do(fmt.Sprintf(`STORE 1 %cFLAGS.SILENT (\Flagged)`, "+-"[i%2]), nil)
			return err
		}},
		{"COPY, 8 KiB of text", func(int) error { _, err := conn.Do("COPY 1 Archive", nil); return err }},
	}
	if err := conn.Select("INBOX"); err != nil {
		return err
	}
	if err := s.caughtUp(ctx); err != nil { // users and mailboxes of the marker are made
		return err
	}
	for _, x := range each {
		o.say("traffic of %s", x.name)
		to, back := s.Network.Carried(eu, us), s.Network.Carried(us, eu)
		for i := range o.Count {
			if err := x.do(i); err != nil {
				return fmt.Errorf("%s: %w", x.name, err)
			}
		}
		if err := s.caughtUp(ctx); err != nil {
			return err
		}
		o.print("%32s %10.0f %10.0f", x.name, float64(s.Network.Carried(eu, us)-to)/float64(o.Count), float64(s.Network.Carried(us, eu)-back)/float64(o.Count))
	}
	return nil
}

// textMessage returns a message of words.
func textMessage(seed uint64, size int) []byte {
	words := []string{"the", "replica", "mailbox", "of", "and", "message", "we", "agree", "that", "tomorrow", "please", "regards", "in", "region",
		"flag", "every", "hour", "quick", "answer", "is", "not", "with", "attached", "report", "about", "network", "delay"}
	m := []byte("Subject: text\r\nFrom: a@example.org\r\nTo: b@example.org\r\n\r\n")
	rng := rand.New(rand.NewPCG(seed, 8))
	for line := 0; len(m) < size; {
		w := words[rng.IntN(len(words))] + strconv.Itoa(rng.IntN(10)) + " "
		if line += len(w); line > 70 {
			m, line = append(m, "\r\n"...), 0
		}
		m = append(m, w...)
	}
	return m[:size]
}
