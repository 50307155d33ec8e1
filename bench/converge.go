package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// ConvergeOptions are those of [Converge].
type ConvergeOptions struct {
	A, B           Target // two fronts of the same account
	User, Password string
	Seed           uint64
	Size           MessageSize
	Writers        int           // at each front
	Duration       time.Duration // how long they write
	Pause          time.Duration // rest of a writer after each command
	Settle         time.Duration // longest wait, after the last command, until both fronts show the same
	MaxMessages    int           // a writer appends no more to a mailbox that has so many
	Prefix         string        // of the names of the two mailboxes; empty: a fresh one

	// TolerateDisconnects lets connections break and be opened again, and
	// commands be refused, so that nodes can be killed meanwhile. What a command
	// did whose answer did not come is then unknown: it may have happened or not.
	TolerateDisconnects bool
	// Keep leaves the mailboxes there.
	Keep bool
	// Progress, when set, gets a line now and then.
	Progress io.Writer
}

func (o *ConvergeOptions) check() error {
	switch {
	case o.A.Addr == "" || o.B.Addr == "":
		return errors.New("converge: two server addresses are needed")
	case o.Writers < 1 || o.Duration <= 0 || o.Settle <= 0 || o.MaxMessages < 4:
		return fmt.Errorf("converge: writers %d, duration %s, settle %s, messages %d: out of range", o.Writers, o.Duration, o.Settle, o.MaxMessages)
	}
	return nil
}

// ConvergeReport is what [Converge] found. The run passed if Violations is empty.
type ConvergeReport struct {
	Violations   []string
	Dropped      int            // violations above the number that is kept
	Acknowledged map[string]int // by command
	Unknown      map[string]int // the answer did not come
	Refused      map[string]int // NO, by command and text
	Reconnects   int
	Observations int // pairs of UID and message seen by anybody
	Messages     int // in both mailboxes, in the end
	Settled      time.Duration
}

// OK tells whether nothing was wrong.
func (r *ConvergeReport) OK() bool { return len(r.Violations) == 0 }

// WriteText writes the report for people to read.
func (r *ConvergeReport) WriteText(w io.Writer) {
	for _, k := range slices.Sorted(maps.Keys(r.Acknowledged)) {
		fmt.Fprintf(w, "%-10s acknowledged %6d  unknown %4d\n", k, r.Acknowledged[k], r.Unknown[k])
	}
	for _, k := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "refused x%d  %s\n", r.Refused[k], k)
	}
	fmt.Fprintf(w, "reconnects %d, observations %d, messages in the end %d, equal after %s\n",
		r.Reconnects, r.Observations, r.Messages, r.Settled.Round(time.Millisecond))
	for _, v := range r.Violations {
		fmt.Fprintln(w, "VIOLATION", v)
	}
	if r.Dropped > 0 {
		fmt.Fprintf(w, "VIOLATION and %d more\n", r.Dropped)
	}
}

// Converge lets writers change the same two mailboxes of one account at two
// fronts (APPEND, STORE, EXPUNGE, COPY, MOVE), with observers beside them, and
// then compares. It reports a violation where
//
//   - a session was told what the protocol forbids: a UID not above those before
//     it, fewer messages than it saw without an EXPUNGE, a changed UIDVALIDITY;
//   - a pair of UIDVALIDITY and UID denoted two messages, at any two places or
//     times (RFC 3501 section 2.3.1.1);
//   - the two fronts do not show the same UIDs, messages and flags within Settle
//     after the last command;
//   - a message whose APPEND, COPY or MOVE was acknowledged and that nobody
//     tried to remove is missing, one whose removal was acknowledged is there, or
//     one is there more often than it was added;
//   - an acknowledged flag change of a message that only one session changed is
//     not to be seen;
//   - a message comes back with other bytes.
//
// An error means that the check could not be made.
func Converge(ctx context.Context, o ConvergeOptions) (*ConvergeReport, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = "converge" + runID()
	}
	c := &convergence{o: &o, ledger: newLedger(), boxes: [2]string{o.Prefix + "a", o.Prefix + "b"}}
	if err := c.prepare(ctx); err != nil {
		return nil, err
	}
	c.write(ctx)
	if err := c.settle(ctx); err != nil {
		return nil, err
	}
	if !o.Keep {
		c.drop(ctx)
	}
	return c.ledger.finish(), nil
}

// convergence is one run. The sides are 0 (A) and 1 (B), the mailboxes 0 and 1.
type convergence struct {
	o        *ConvergeOptions
	ledger   *ledger
	boxes    [2]string
	validity [2]uint32
}

func sideName(side int) string { return [...]string{"A", "B"}[side] }

func (c *convergence) target(side int) Target { return [...]Target{c.o.A, c.o.B}[side] }

func (c *convergence) rng(stream uint64) *rand.Rand {
	return rand.New(rand.NewPCG(c.o.Seed, stream))
}

// retryEvery is the rest between two attempts of what may become possible.
const retryEvery = 50 * time.Millisecond

// dial logs in at a side, again and again if disconnects are tolerated.
func (c *convergence) dial(ctx context.Context, side int) (conn *imapc.Conn, err error) {
	err = c.retry(ctx, func() error {
		conn, err = c.dialOnce(ctx, side)
		return err
	})
	return conn, err
}

func (c *convergence) dialOnce(ctx context.Context, side int) (*imapc.Conn, error) {
	conn, err := c.target(side).Dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", sideName(side), err)
	}
	if err := conn.Login(c.o.User, c.o.Password); err != nil {
		conn.Close()
		return nil, fmt.Errorf("LOGIN at %s: %w", sideName(side), err)
	}
	return conn, nil
}

// prepare makes the mailboxes at A and waits until both sides show them.
func (c *convergence) prepare(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.o.Settle)
	defer cancel()
	for side := range 2 {
		conn, err := c.dial(ctx, side)
		if err != nil {
			return err
		}
		err = c.prepareSide(ctx, side, conn)
		conn.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *convergence) prepareSide(ctx context.Context, side int, conn *imapc.Conn) error {
	if !conn.Caps["UIDPLUS"] {
		return fmt.Errorf("%s does not offer UIDPLUS, which the check needs", sideName(side))
	}
	for box, name := range c.boxes {
		if side == 0 {
			if _, err := conn.Do("CREATE "+imapc.Quote(name), nil); err != nil {
				return fmt.Errorf("CREATE %s: %w", name, err)
			}
		}
		if err := selectWhenThere(ctx, conn, name); err != nil {
			return fmt.Errorf("SELECT %s at %s: %w", name, sideName(side), err)
		}
		if side == 0 {
			c.validity[box] = conn.UIDValidity
		} else if conn.UIDValidity != c.validity[box] {
			c.ledger.violate("%s: UIDVALIDITY %d at A, %d at B", name, c.validity[box], conn.UIDValidity)
		}
	}
	return nil
}

// selectWhenThere selects a mailbox that may still be under way.
func selectWhenThere(ctx context.Context, conn *imapc.Conn, name string) error {
	for {
		err := conn.Select(name)
		if err == nil || fatal(err) || ctx.Err() != nil {
			return err
		}
		rest(ctx, retryEvery)
	}
}

// write runs writers and observers for the duration.
func (c *convergence) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, c.o.Duration)
	defer cancel()
	var wg sync.WaitGroup
	for side := range 2 {
		for n := range c.o.Writers {
			w := newConvergeWriter(c, side, n)
			wg.Go(func() { w.run(ctx) })
		}
		for box := range 2 {
			wg.Go(func() { c.observe(ctx, side, box) })
		}
	}
	wg.Go(func() { c.progress(ctx) })
	wg.Wait()
}

func (c *convergence) progress(ctx context.Context) {
	if c.o.Progress == nil {
		return
	}
	t := time.NewTicker(5 * time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			fmt.Fprintln(c.o.Progress, c.ledger.line())
		}
	}
}

// observe follows a mailbox at one side: new messages at once, all again now
// and then, because a server could change its mind about those it told before.
func (c *convergence) observe(ctx context.Context, side, box int) {
	const fullEvery = 20
	var v *view
	defer func() { v.close() }()
	for n := 0; ctx.Err() == nil; n++ {
		if v == nil {
			var err error
			if v, err = c.open(ctx, side, box); err != nil {
				c.lost(ctx, "observer", err)
				continue
			}
		}
		err := v.do("NOOP")
		if n%fullEvery == 0 && err == nil {
			err = v.fetchAll()
		} else if err == nil {
			err = v.sync()
		}
		if err != nil && !imapc.IsStatus(err) {
			c.lost(ctx, "observer", err)
			v.close()
			v = nil
			continue
		}
		rest(ctx, 25*time.Millisecond)
	}
}

// open connects to a side and selects a mailbox, checking its UIDVALIDITY.
func (c *convergence) open(ctx context.Context, side, box int) (*view, error) {
	conn, err := c.dial(ctx, side)
	if err != nil {
		return nil, err
	}
	v := &view{ledger: c.ledger, conn: conn, where: sideName(side)}
	conn.Unsolicited = v.on
	if err := c.selectBox(v, box); err != nil {
		conn.Close()
		return nil, err
	}
	return v, nil
}

func (c *convergence) selectBox(v *view, box int) error {
	v.reset(box, c.boxes[box])
	if err := v.conn.Select(c.boxes[box]); err != nil {
		return fmt.Errorf("SELECT %s at %s: %w", c.boxes[box], v.where, err)
	}
	if v.conn.UIDValidity != c.validity[box] {
		c.ledger.violate("%s at %s: UIDVALIDITY %d became %d", c.boxes[box], v.where, c.validity[box], v.conn.UIDValidity)
	}
	return v.sync()
}

// lost notes that a connection ended.
func (c *convergence) lost(ctx context.Context, who string, err error) {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return
	}
	if !c.o.TolerateDisconnects {
		c.ledger.violate("connection of a %s ended: %v", who, err)
	}
	c.ledger.reconnect()
	rest(ctx, retryEvery)
}

// drop deletes the mailboxes, as far as that goes.
func (c *convergence) drop(ctx context.Context) {
	conn, err := c.dialOnce(ctx, 0)
	if err != nil {
		return
	}
	defer conn.Close()
	deleteAll(conn, c.boxes[:])
}

func flagSet(flags []string) string {
	s := slices.Clone(flags)
	slices.Sort(s)
	return strings.Join(slices.Compact(s), " ")
}
