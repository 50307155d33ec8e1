package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"

	"github.com/go-pluto/pluto/bench/imapc"
)

// ClosedOptions are those of [Closed].
type ClosedOptions struct {
	Options
	Conns     int    // connections
	Ops       int    // commands of each connection
	Mix       string // see [ParseMix], or [WriteMix]
	Prefill   int    // messages put into each mailbox beforehand (not for the write mix)
	Page      int    // messages of one range of envelopes
	Shared    bool   // the connections of one user share one mailbox
	Reconnect bool   // write mix: a new connection for each session
	NoClean   bool   // leave the mailboxes there
}

// parallelSetup is how many connections are set up at one time.
const parallelSetup = 16

// Closed runs a closed loop: each of Conns connections sends its next command
// as soon as the last is answered, Ops of them. Each connection has a mailbox of
// its own, filled beforehand and deleted afterwards, both not measured.
func Closed(ctx context.Context, o ClosedOptions) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	pick, err := o.picker()
	if err != nil {
		return nil, err
	}
	l := newLoop(&o)
	defer l.close()
	l.each(parallelSetup, func(c *loopClient) error { return c.setup(ctx, pick) })
	for i, e := range l.errs {
		if e != nil {
			return nil, fmt.Errorf("connection %d: %w", i, e)
		}
	}
	run := o.begin()
	l.each(o.Conns, func(c *loopClient) error {
		if pick == nil {
			return c.writeLoop(ctx)
		}
		return c.mixLoop(ctx, pick)
	})
	wall, extra := run.end()
	all := l.records()
	if !o.NoClean {
		l.each(parallelSetup, func(c *loopClient) error { c.clean(); return nil })
	}
	if n := all.count(); n > 0 && len(o.PIDs) > 0 {
		extra["server_cpu_ms_per_op"] = 1e3 * extra["server_cpu_s"] / float64(n)
	}
	res := &Result{Errors: all.errText}
	res.Rows = all.rows(Row{Label: o.Label, Mode: "closed", Mix: o.Mix, Conns: o.Conns}, wall, extra)
	if ctx.Err() != nil {
		res.Notes = append(res.Notes, "stopped by the time limit or a signal")
	}
	return res, nil
}

// picker returns the mix to draw from, nil for the write mix.
func (o *ClosedOptions) picker() (*picker, error) {
	if o.Conns < 1 || o.Ops < 1 || o.Prefill < 0 || o.Page < 1 {
		return nil, fmt.Errorf("closed: connections %d, commands %d, prefill %d, page %d: out of range", o.Conns, o.Ops, o.Prefill, o.Page)
	}
	if o.Mix == WriteMix {
		return nil, nil
	}
	m, err := ParseMix(o.Mix)
	if err != nil {
		return nil, err
	}
	return newPicker(m)
}

// loop is all connections of a closed loop.
type loop struct {
	clients []*loopClient
	errs    []error // what ended a connection
}

func newLoop(o *ClosedOptions) *loop {
	l := &loop{clients: make([]*loopClient, o.Conns), errs: make([]error, o.Conns)}
	id := runID()
	for i := range l.clients {
		l.clients[i] = &loopClient{o: o, index: i, rng: o.rng(uint64(i) + 1e6), gen: o.messages(uint64(i)),
			rec: newRecorder(), prefix: fmt.Sprintf("b%sc%dn", id, i)}
	}
	return l
}

// each runs f for every connection that still works, par at one time.
func (l *loop) each(par int, f func(c *loopClient) error) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, par)
	for i, c := range l.clients {
		if l.errs[i] != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			l.errs[i] = f(c)
			<-slots
		})
	}
	wg.Wait()
}

func (l *loop) records() *recorder {
	all := newRecorder()
	for i, c := range l.clients {
		all.merge(c.rec)
		if l.errs[i] != nil {
			all.note(fmt.Sprintf("connection ended: %v", l.errs[i]))
		}
	}
	return all
}

func (l *loop) close() {
	for _, c := range l.clients {
		if c.conn != nil {
			c.conn.Close()
		}
	}
}

// loopClient is one connection of a closed loop.
type loopClient struct {
	o       *ClosedOptions
	index   int
	conn    *imapc.Conn
	rng     *rand.Rand
	gen     *messages
	rec     *recorder
	mailbox string
	uids    []uint32 // of the selected mailbox, by sequence number
	extra   []string // mailboxes made by CREATE
	made    []string // further mailboxes to clean up
	nameN   int
	prefix  string
}

// fatal tells the errors that end a connection's run; NO and BAD do not.
func fatal(err error) bool { return err != nil && !imapc.IsStatus(err) }

func (c *loopClient) do(text string) error {
	_, err := c.conn.Do(text, nil)
	return err
}

// track keeps uids in step with untagged responses.
func (c *loopClient) track(r *imapc.Response) {
	if r.Name == "EXPUNGE" && r.Num >= 1 && int(r.Num) <= len(c.uids) {
		c.uids = append(c.uids[:r.Num-1], c.uids[r.Num:]...)
	}
}

// syncUIDs learns the UIDs of messages that appeared. It is not measured.
func (c *loopClient) syncUIDs() error {
	if len(c.uids) == int(c.conn.Exists) {
		return nil
	}
	if len(c.uids) > int(c.conn.Exists) {
		c.uids = c.uids[:0]
	}
	_, err := c.conn.Do(fmt.Sprintf("FETCH %d:* (UID)", len(c.uids)+1), func(r *imapc.Response) {
		if r.Name != "FETCH" || int(r.Num) != len(c.uids)+1 {
			return
		}
		if v, ok := imapc.FetchItem(r.Rest, "UID"); ok {
			if n, ok := v.Uint(); ok {
				c.uids = append(c.uids, uint32(n))
			}
		}
	})
	return err
}

func (c *loopClient) anyUID() uint32 { return c.uids[c.rng.IntN(len(c.uids))] }

// anyPage returns a range of sequence numbers; newer messages are likelier.
func (c *loopClient) anyPage() (lo, hi int) {
	n := len(c.uids)
	size := min(c.o.Page, n)
	hi = max(size, n-int(c.rng.ExpFloat64()*float64(size)))
	return hi - size + 1, hi
}

func (c *loopClient) newName() string {
	c.nameN++
	return c.prefix + strconv.Itoa(c.nameN) + "x" + randomName(c.rng, 5)
}

func (c *loopClient) selectMailbox(name string) error {
	c.uids = c.uids[:0]
	return c.conn.Select(name)
}

func (c *loopClient) dial(ctx context.Context) (err error) {
	if c.conn, err = c.o.connect(ctx, c.o.Target, c.index, c.rec); err == nil {
		c.conn.Unsolicited = c.track
	}
	return err
}

// setup connects, and makes and fills the connection's mailbox. It is not
// measured.
func (c *loopClient) setup(ctx context.Context, p *picker) error {
	if err := c.dial(ctx); err != nil || p == nil {
		return err
	}
	c.mailbox = c.prefix + "box"
	if c.o.Shared {
		c.mailbox = "Load"
	} else {
		c.made = append(c.made, c.mailbox)
	}
	if err := c.do("CREATE " + imapc.Quote(c.mailbox)); err != nil && !(c.o.Shared && imapc.IsStatus(err)) {
		return fmt.Errorf("CREATE %s: %w", c.mailbox, err)
	}
	for range c.o.Prefill {
		if _, err := c.conn.Append(c.mailbox, "", c.gen.next(""), c.o.nonSync(c.conn)); err != nil {
			return fmt.Errorf("APPEND: %w", err)
		}
	}
	if err := c.selectMailbox(c.mailbox); err != nil || !p.needsMessages() {
		return err
	}
	return c.syncUIDs()
}

// mixLoop draws commands from a mix.
func (c *loopClient) mixLoop(ctx context.Context, p *picker) error {
	for n := 0; n < c.o.Ops && ctx.Err() == nil; n++ {
		if p.needsMessages() {
			if err := c.syncUIDs(); fatal(err) {
				return err
			}
		}
		name, f, ready := operations[p.pick(c.rng)](c)
		if !ready { // nothing to work on: put something there
			name, f, _ = opAppend(c)
		}
		if err := c.rec.time(name, f); fatal(err) {
			return err
		}
	}
	return nil
}

// writeLoop runs sessions until the connection has done its commands.
func (c *loopClient) writeLoop(ctx context.Context) error {
	const base, spread = 15, 24
	for n := 0; n < c.o.Ops && ctx.Err() == nil; n++ {
		s := NewSession(c.rng, c.newName(), AllForms)
		for k := Length(c.rng, base, spread); k > 0 && n < c.o.Ops && ctx.Err() == nil; k-- {
			n++
			if err := c.writeStep(s.Next()); fatal(err) {
				return err
			}
		}
		c.made = append(c.made, s.Folders()...)
		if err := c.endSession(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *loopClient) writeStep(st Step) error {
	if st.Op != OpAppend {
		return c.rec.time(st.Op.String(), func() error { return st.Send(c.conn) })
	}
	m := c.gen.next("")
	return c.rec.time("APPEND", func() error {
		_, err := c.conn.Append(st.Mailbox, "", m, c.o.nonSync(c.conn))
		return err
	})
}

func (c *loopClient) endSession(ctx context.Context) error {
	if err := c.rec.time("SELECT", func() error { return c.selectMailbox("INBOX") }); fatal(err) {
		return err
	}
	if !c.o.Reconnect {
		return nil
	}
	if err := c.rec.time("LOGOUT", c.conn.Logout); err != nil {
		return err
	}
	return c.dial(ctx)
}

// clean removes what the run made. It is not measured.
func (c *loopClient) clean() {
	if c.conn == nil || fatal(c.conn.Select("INBOX")) {
		return
	}
	deleteAll(c.conn, append(c.made, c.extra...))
}
