package bench

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// BigboxOptions are those of [Bigbox].
type BigboxOptions struct {
	Options
	K       int    // messages
	Rounds  int    // how often each command is measured
	Conns   int    // connections that build the mailbox
	Batch   int    // messages in one APPEND, where the server offers MULTIAPPEND
	Mailbox string // its name
	NoBuild bool   // the mailbox is there already
	NoStore bool   // leave out the STORE commands
	Drop    bool   // delete the mailbox at the end
}

// bigSteps are measured in this order. %b is the mailbox, %l the first of the
// last 50 messages. An empty command is SELECT.
var bigSteps = []struct {
	name, cmd string
	store     bool
}{
	{"SELECT", "", false},
	{"STATUS", "STATUS %b (MESSAGES UNSEEN UIDNEXT)", false},
	{"FETCH 1:* FLAGS", "FETCH 1:* (FLAGS)", false},
	{"FETCH 1:* UID FLAGS", "FETCH 1:* (UID FLAGS)", false},
	{"FETCH last50 ENV", "FETCH %l:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)", false},
	{"SEARCH ALL", "UID SEARCH ALL", false},
	{"SEARCH UNSEEN", "UID SEARCH UNSEEN", false},
	{"SEARCH FLAGGED", "UID SEARCH FLAGGED", false},
	{"SEARCH LARGER", "UID SEARCH LARGER 4000", false},
	{"SEARCH SUBJECT", "UID SEARCH SUBJECT harbour", false},
	{"SEARCH FROM", "UID SEARCH FROM harbour", false},
	{"SEARCH TEXT hit", "UID SEARCH TEXT harbour", false},
	{"SEARCH TEXT none", "UID SEARCH TEXT zzqqxx", false},
	{"STORE 1:* +Seen", `STORE 1:* +FLAGS.SILENT (\Seen)`, true},
	{"STORE 1:* -Seen", `STORE 1:* -FLAGS (\Seen)`, true},
}

// Bigbox makes one mailbox with many messages and times commands on it, each
// round on a connection of its own; the first round is reported apart.
func Bigbox(ctx context.Context, o BigboxOptions) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.K < 1 || o.Rounds < 1 || o.Conns < 1 || o.Batch < 1 || o.Mailbox == "" {
		return nil, fmt.Errorf("bigbox: messages %d, rounds %d, connections %d, batch %d: out of range", o.K, o.Rounds, o.Conns, o.Batch)
	}
	run := o.begin()
	var building time.Duration
	if !o.NoBuild {
		if err := o.build(ctx); err != nil {
			return nil, fmt.Errorf("bigbox: build: %w", err)
		}
		building = time.Since(run.start)
	}
	rec := newRecorder()
	var err error
	for i := 0; i < o.Rounds && err == nil; i++ {
		prefix := "warm "
		if i == 0 {
			prefix = "1st "
		}
		err = o.round(ctx, rec, prefix)
	}
	wall, extra := run.end()
	extra["messages"] = float64(o.K)
	if building > 0 {
		extra["build_s"], extra["build_msgs_s"] = building.Seconds(), float64(o.K)/building.Seconds()
	}
	if len(o.PIDs) > 0 {
		u := measure(o.PIDs, true)
		extra["rss_mib"], extra["pss_mib"] = float64(u.rss)/(1<<20), float64(u.pss)/(1<<20)
	}
	res := &Result{Errors: rec.errText}
	res.Rows = rec.rows(Row{Label: o.Label, Mode: "bigbox", Mix: fmt.Sprint(o.K), Conns: 1}, wall, extra)
	for i := range res.Rows {
		res.Rows[i].OpsS, res.Rows[i].MixPct = 0, 0
	}
	if o.Drop {
		o.drop()
	}
	return res, err
}

// build fills the mailbox over several connections.
func (o *BigboxOptions) build(ctx context.Context) error {
	c, err := o.connect(ctx, o.Target, 0, newRecorder())
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.Do("CREATE "+imapc.Quote(o.Mailbox), nil); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs := make([]error, o.Conns)
	for w := range errs {
		n := o.K*(w+1)/o.Conns - o.K*w/o.Conns
		wg.Go(func() { errs[w] = o.fill(ctx, uint64(w), n) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (o *BigboxOptions) fill(ctx context.Context, stream uint64, left int) error {
	c, err := o.connect(ctx, o.Target, 0, newRecorder())
	if err != nil {
		return err
	}
	defer c.Close()
	batch := 1
	if c.Caps["MULTIAPPEND"] {
		batch = o.Batch
	}
	for gen := o.messages(stream); left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		ms := make([][]byte, min(batch, left))
		for i := range ms {
			ms[i] = gen.next("")
		}
		left -= len(ms)
		if _, err := c.AppendMulti(o.Mailbox, "", ms, c.Caps["LITERAL+"]); err != nil {
			return err
		}
	}
	return nil
}

// round measures every step once.
func (o *BigboxOptions) round(ctx context.Context, rec *recorder, prefix string) error {
	c, err := o.connect(ctx, o.Target, 0, newRecorder())
	if err != nil {
		return err
	}
	defer c.Close()
	for _, s := range bigSteps {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if s.store && o.NoStore {
			continue
		}
		if err := o.step(c, rec, prefix+s.name, s.cmd); fatal(err) {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

func (o *BigboxOptions) step(c *imapc.Conn, rec *recorder, name, cmd string) error {
	if cmd == "" {
		if err := rec.time(name, func() error { return c.Select(o.Mailbox) }); err != nil {
			return err
		}
		if int(c.Exists) < o.K {
			return fmt.Errorf("%s has %d messages, want %d", o.Mailbox, c.Exists, o.K)
		}
		return nil
	}
	cmd = strings.NewReplacer("%b", imapc.Quote(o.Mailbox), "%l", fmt.Sprint(max(1, int(c.Exists)-49))).Replace(cmd)
	return rec.time(name, func() error {
		answers := 0
		_, err := c.Do(cmd, func(r *imapc.Response) {
			if r.Name == "FETCH" {
				answers++
			}
		})
		if err == nil && strings.HasPrefix(cmd, "FETCH 1:*") && answers < int(c.Exists) {
			return wrongData("%d answers of %d", answers, c.Exists)
		}
		return err
	})
}

// drop deletes the mailbox even when the run was interrupted.
func (o *BigboxOptions) drop() {
	c, err := o.connect(context.Background(), o.Target, 0, newRecorder())
	if err != nil {
		return
	}
	defer c.Close()
	deleteAll(c, []string{o.Mailbox})
}
