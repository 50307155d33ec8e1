package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// LagOptions are those of [Lag]. The changes are made at Options.Target.
type LagOptions struct {
	Options
	B      Target        // where the changes are looked for
	UsersB Users         // accounts at B; zero: the same as at A
	Poll   string        // "idle", "noop", "status", or "auto": idle where offered, else noop
	Op     string        // "append" or "store" (sets and clears \Flagged)
	N      int           // changes
	Burst  int           // append: messages sent in a row before waiting
	Every  time.Duration // time between two polls
	Gap    time.Duration // rest after each change was seen
	Jitter time.Duration // further rest of random length up to this, so that the changes do not fall in step with a timer of the server
	Max    time.Duration // longest wait for one change
}

// ErrLate is returned when a change was not seen in time.
var ErrLate = errors.New("not seen in time")

// Lag makes changes at one server and waits until a session at another is told
// (IDLE) or can see them (polls). It reports the time to the tagged OK ("ack")
// and the time until the change was seen, from the first byte sent and from the OK.
func Lag(ctx context.Context, o LagOptions) (*Result, error) {
	if err := o.checkLag(); err != nil {
		return nil, err
	}
	l := &lagRun{o: &o, rec: newRecorder(), gen: o.messages(77), mailbox: "lag" + runID()}
	defer l.close()
	if err := l.open(ctx); err != nil {
		return nil, err
	}
	run := o.begin()
	var err error
	for i := 0; i < o.N && ctx.Err() == nil && err == nil; i++ {
		if err = l.change(ctx, i); err == nil {
			rest(ctx, o.Gap+l.jitter())
		}
	}
	wall, extra := run.end()
	res := &Result{Errors: l.rec.errText}
	res.Rows = l.rec.rows(Row{Label: o.Label, Mode: "lag", Mix: o.Op + "/" + l.w.poll, Conns: 1}, wall, extra)
	res.Rows = res.Rows[:len(res.Rows)-1] // a total makes no sense here
	for i := range res.Rows {
		res.Rows[i].MixPct, res.Rows[i].Extra = 0, nil
	}
	if ctx.Err() != nil {
		res.Notes = append(res.Notes, "stopped by the time limit or a signal")
		err = nil // says nothing of the server
	}
	return res, err
}

func (o *LagOptions) checkLag() error {
	if err := o.check(); err != nil {
		return err
	}
	if o.UsersB == (Users{}) {
		o.UsersB = o.Users
	}
	switch {
	case o.B.Addr == "":
		return errors.New("lag: no second server given")
	case o.Op != "append" && o.Op != "store":
		return fmt.Errorf("lag: unknown operation %q: append or store", o.Op)
	case o.Poll != "auto" && o.Poll != "idle" && o.Poll != "noop" && o.Poll != "status":
		return fmt.Errorf("lag: unknown poll %q: auto, idle, noop or status", o.Poll)
	case o.Poll == "status" && o.Op == "store":
		return errors.New("lag: STATUS does not show a flag: poll by idle or noop")
	case o.N < 1 || o.Burst < 1 || o.Every <= 0 || o.Max <= 0:
		return fmt.Errorf("lag: changes %d, burst %d, every %s, max %s: out of range", o.N, o.Burst, o.Every, o.Max)
	}
	return nil
}

type lagRun struct {
	o       *LagOptions
	rec     *recorder
	gen     *messages
	mailbox string
	a       *imapc.Conn
	w       *watcher
}

func (l *lagRun) jitter() time.Duration {
	if l.o.Jitter <= 0 {
		return 0
	}
	return time.Duration(l.gen.rng.Int64N(int64(l.o.Jitter)))
}

// open makes the mailbox with its first message at A and waits for both at B.
func (l *lagRun) open(ctx context.Context) (err error) {
	unmeasured := newRecorder()
	if l.a, err = l.o.connect(ctx, l.o.Target, 0, unmeasured); err != nil {
		return err
	}
	if _, err := l.a.Do("CREATE "+l.mailbox, nil); err != nil {
		return fmt.Errorf("CREATE at A: %w", err)
	}
	if _, err := l.a.Append(l.mailbox, "", l.gen.next(""), l.o.nonSync(l.a)); err != nil {
		return fmt.Errorf("APPEND at A: %w", err)
	}
	if err := l.a.Select(l.mailbox); err != nil {
		return fmt.Errorf("SELECT at A: %w", err)
	}
	ob := l.o.Options
	ob.Users = l.o.UsersB
	b, err := ob.connect(ctx, l.o.B, 0, unmeasured)
	if err != nil {
		return fmt.Errorf("at B: %w", err)
	}
	l.w = newWatcher(b, l.o, l.mailbox)
	return l.w.begin(ctx)
}

func (l *lagRun) close() {
	if l.w != nil {
		l.w.conn.Close()
	}
	if l.a == nil {
		return
	}
	l.a.Select("INBOX")
	deleteAll(l.a, []string{l.mailbox})
	l.a.Close()
}

// change makes the i-th change and waits for it.
func (l *lagRun) change(ctx context.Context, i int) error {
	send, done := l.appends()
	if l.o.Op == "store" {
		send, done = l.store(i%2 == 0)
	}
	if err := l.w.arm(); err != nil {
		return fmt.Errorf("at B: %w", err)
	}
	type sight struct {
		at  time.Time
		err error
	}
	seen := make(chan sight, 1)
	go func() {
		at, err := l.w.until(ctx, done)
		seen <- sight{at, err}
	}()
	first := time.Now()
	err := send()
	acked := time.Now()
	if err != nil {
		l.w.conn.Close() // ends the waiting
		<-seen
		return fmt.Errorf("at A: %w", err)
	}
	visible := <-seen
	if visible.err != nil && ctx.Err() != nil {
		return nil
	}
	l.rec.add("ack", acked.Sub(first), nil)
	l.rec.add("visible after send", visible.at.Sub(first), visible.err)
	l.rec.add("visible after ack", max(0, visible.at.Sub(acked)), visible.err)
	return visible.err
}

func (l *lagRun) appends() (send func() error, done func() bool) {
	batch := make([][]byte, l.o.Burst)
	for i := range batch {
		batch[i] = l.gen.next("")
	}
	want := l.w.messages + uint32(len(batch))
	send = func() error {
		for _, m := range batch {
			if _, err := l.a.Append(l.mailbox, "", m, l.o.nonSync(l.a)); err != nil {
				return err
			}
		}
		return nil
	}
	return send, func() bool { return l.w.messages >= want }
}

func (l *lagRun) store(set bool) (send func() error, done func() bool) {
	sign := "-"
	if set {
		sign = "+"
	}
	send = func() error {
		_, err := l.a.Do("STORE 1 "+sign+`FLAGS (\Flagged)`, nil)
		return err
	}
	return send, func() bool { return l.w.flagged[1] == set }
}

// watcher sees what a session at B is told.
type watcher struct {
	o        *LagOptions
	conn     *imapc.Conn
	mailbox  string
	poll     string
	idleTag  string
	messages uint32          // seen so far
	flagged  map[uint32]bool // \Flagged, by sequence number
}

func newWatcher(conn *imapc.Conn, o *LagOptions, mailbox string) *watcher {
	w := &watcher{o: o, conn: conn, mailbox: mailbox, poll: o.Poll, flagged: map[uint32]bool{}}
	if w.poll == "auto" {
		w.poll = "noop"
		if conn.Caps["IDLE"] {
			w.poll = "idle"
		}
	}
	conn.Unsolicited = w.see
	return w
}

func (w *watcher) see(r *imapc.Response) {
	switch r.Name {
	case "EXISTS":
		w.messages = r.Num
	case "STATUS":
		vs, err := imapc.Parse(r.Rest)
		if err == nil && len(vs) == 2 && len(vs[1].List) == 2 {
			n, _ := vs[1].List[1].Uint()
			w.messages = uint32(n)
		}
	case "FETCH":
		v, ok := imapc.FetchItem(r.Rest, "FLAGS")
		if !ok {
			return
		}
		set := false
		for _, f := range v.List {
			set = set || f.Is(`\Flagged`)
		}
		w.flagged[r.Num] = set
	}
}

// begin waits until the mailbox and its first message are at B.
func (w *watcher) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.o.Max)
	defer cancel()
	for {
		err := w.conn.Select(w.mailbox)
		if fatal(err) {
			return fmt.Errorf("SELECT at B: %w", err)
		}
		if err == nil && w.conn.Exists >= 1 {
			break
		}
		if ctx.Err() != nil {
			return fmt.Errorf("mailbox at B: %w", ErrLate)
		}
		rest(ctx, 20*time.Millisecond)
	}
	if w.poll != "status" {
		return nil
	}
	// STATUS is for mailboxes that are not selected (RFC 3501 section 6.3.10).
	if err := w.conn.Select("INBOX"); err != nil {
		return fmt.Errorf("SELECT INBOX at B: %w", err)
	}
	w.messages = 1
	return nil
}

// arm makes B listen. When it returns no change that follows can be missed.
func (w *watcher) arm() (err error) {
	if w.poll == "idle" {
		w.idleTag, err = w.conn.Idle()
	}
	return err
}

// until waits for done and returns when it was so.
func (w *watcher) until(ctx context.Context, done func() bool) (time.Time, error) {
	end := time.Now().Add(w.o.Max)
	if w.poll == "idle" {
		return w.idleUntil(ctx, end, done)
	}
	text := "NOOP"
	if w.poll == "status" {
		text = "STATUS " + imapc.Quote(w.mailbox) + " (MESSAGES)"
	}
	for {
		if _, err := w.conn.Do(text, nil); err != nil {
			return time.Now(), err
		}
		now := time.Now()
		if done() {
			return now, nil
		}
		if now.After(end) || ctx.Err() != nil {
			return now, ErrLate
		}
		rest(ctx, w.o.Every)
	}
}

func (w *watcher) idleUntil(ctx context.Context, end time.Time, done func() bool) (time.Time, error) {
	for !done() {
		left := time.Until(end)
		if left <= 0 || ctx.Err() != nil {
			return time.Now(), ErrLate
		}
		if _, err := w.conn.IdleNext(left); err != nil {
			return time.Now(), fmt.Errorf("IDLE: %w", err)
		}
	}
	now := time.Now()
	return now, w.conn.Done(w.idleTag)
}
