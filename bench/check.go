package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"time"
)

// CheckOptions are those of [Check].
type CheckOptions struct {
	A              Target
	B              Target // a second front of the same account; without address there is none
	User, Password string
	Seed           uint64
	Sessions       int           // at each front
	Duration       time.Duration // how long commands are sent
	Settle         time.Duration // longest wait until two fronts show the same
	MaxMessages    int           // nobody adds to a mailbox that has so many
	Prefix         string        // of the names of the two mailboxes; empty: a fresh one
	Keep           bool          // leaves the mailboxes there
	Progress       io.Writer     // when set, gets a line now and then
}

func (o *CheckOptions) check() error {
	switch {
	case o.A.Addr == "":
		return errors.New("check: a server address is needed")
	case o.Sessions < 1 || o.Duration <= 0 || o.Settle <= 0 || o.MaxMessages < 4:
		return fmt.Errorf("check: sessions %d, duration %s, settle %s, messages %d: out of range", o.Sessions, o.Duration, o.Settle, o.MaxMessages)
	}
	return nil
}

// CheckReport is what [Check] found. The run passed if Violations is empty.
type CheckReport struct {
	Violations  []string
	Dropped     int            // violations above the number that is kept
	Commands    map[string]int // answered OK
	Refused     map[string]int // NO, by command and code
	Responses   int            // untagged ones that were checked
	Checkpoints int
	// Recent counts messages that two sessions of a front had as \Recent at a checkpoint.
	// That is wrong only where sessions stay at one replica: \Recent is the
	// replica's, and one that does not know gives it (RFC 3501 section 2.3.2).
	Recent int
}

// OK tells whether nothing was wrong.
func (r *CheckReport) OK() bool { return len(r.Violations) == 0 }

// WriteText writes the report for people to read.
func (r *CheckReport) WriteText(w io.Writer) {
	total := 0
	for _, k := range slices.Sorted(maps.Keys(r.Commands)) {
		fmt.Fprintf(w, "%-12s %7d\n", k, r.Commands[k])
		total += r.Commands[k]
	}
	for _, k := range slices.Sorted(maps.Keys(r.Refused)) {
		fmt.Fprintf(w, "refused x%d  %s\n", r.Refused[k], k)
	}
	fmt.Fprintf(w, "commands %d, responses %d, checkpoints %d, violations %d\n",
		total, r.Responses, r.Checkpoints, len(r.Violations)+r.Dropped)
	if r.Recent > 0 {
		fmt.Fprintf(w, "\\Recent for two sessions x%d: a violation, unless sessions were moved to other replicas\n", r.Recent)
	}
	for _, v := range r.Violations {
		fmt.Fprintln(w, "VIOLATION", v)
	}
}

// checking is a run of [Check].
type checking struct {
	o        *CheckOptions
	boxes    [2]string
	sessions []*checkSession

	mu       sync.Mutex
	report   CheckReport
	contents map[place]string // what a UID denotes, as anybody saw it
}

// place is where a message is.
type place struct {
	box           string
	validity, uid uint32
}

// Check lets many sessions change the same two mailboxes at random (APPEND, STORE,
// EXPUNGE, COPY, MOVE, with numbers and with UIDs) and look at them (FETCH, SEARCH,
// SORT, IDLE, NOOP, SELECT), each in one of several modes: as IMAP4rev1, with
// CONDSTORE, with QRESYNC, as IMAP4rev2. Each keeps a model of what it was told, and
// every response is checked against that. It reports a violation where
//
//   - a number is that of no message, messages go without EXPUNGE or VANISHED, or
//     with it where the protocol forbids that;
//   - a message has another UID than before, UIDs do not rise, UIDVALIDITY changes,
//     or UIDNEXT is not above all UIDs;
//   - a UID denotes other content than before, wherever it was seen;
//   - a keyword that only this session sets and takes away is not as it made it, or
//     a keyword is told that FLAGS has not announced;
//   - flags change and MODSEQ does not rise;
//   - an answer lacks messages that were asked for, or a command is answered BAD, or
//     NO without a reason that another session gives;
//   - at a checkpoint, when nobody has sent anything any more, sessions see
//     something different from each other, or from what they were told.
//
// An error means that the check could not be made.
func Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Prefix == "" {
		o.Prefix = "check" + runID()
	}
	c := &checking{o: &o, boxes: [2]string{o.Prefix + "a", o.Prefix + "b"}, contents: make(map[place]string)}
	c.report.Commands, c.report.Refused = make(map[string]int), make(map[string]int)
	defer c.close()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.run(ctx); err != nil {
		return nil, err
	}
	if !o.Keep {
		deleteAll(c.sessions[0].conn, c.boxes[:])
	}
	return &c.report, nil
}

// open makes the mailboxes and the sessions.
func (c *checking) open(ctx context.Context) error {
	fronts := []Target{c.o.A}
	if c.o.B.Addr != "" {
		fronts = append(fronts, c.o.B)
	}
	for f, target := range fronts {
		for i := range c.o.Sessions {
			n := len(c.sessions)
			s := &checkSession{
				checking: c, target: target, front: f, n: n, mode: checkModes[i%len(checkModes)],
				rng: rand.New(rand.NewPCG(c.o.Seed, uint64(n))),
			}
			c.sessions = append(c.sessions, s)
			if err := s.connect(ctx); err != nil {
				return err
			}
		}
	}
	for _, box := range c.boxes {
		if err := c.sessions[0].do("CREATE", "CREATE "+box, allows{expunge: true}, nil); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(c.o.Settle)
	for _, s := range c.sessions {
		for { // until replication has brought the mailboxes
			err := s.selectBox(s.n % 2)
			if err == nil {
				break
			}
			if s.front == 0 || time.Now().After(deadline) || ctx.Err() != nil {
				return fmt.Errorf("select: %w", err)
			}
			rest(ctx, 10*time.Millisecond)
		}
	}
	return nil
}

func (c *checking) close() {
	for _, s := range c.sessions {
		if s.conn != nil {
			s.conn.Close()
		}
	}
}

// run alternates between commands at random, of all sessions at once, and
// checkpoints.
func (c *checking) run(ctx context.Context) error {
	rng := rand.New(rand.NewPCG(c.o.Seed, 1<<32))
	end := time.Now().Add(c.o.Duration)
	for time.Now().Before(end) && len(c.report.Violations) < maxViolations {
		commands := 10 + rng.IntN(40)
		errs := make([]error, len(c.sessions))
		var wg sync.WaitGroup
		for i, s := range c.sessions {
			wg.Go(func() {
				for n := 0; n < commands && errs[i] == nil && ctx.Err() == nil; n++ {
					errs[i] = s.step(ctx)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(append(errs, ctx.Err())...); err != nil {
			return err
		}
		if err := c.checkpoint(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *checking) violation(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.report.Violations) >= maxViolations {
		c.report.Dropped++
		return
	}
	c.report.Violations = append(c.report.Violations, fmt.Sprintf(format, args...))
}

// denotes notes what a UID denotes, and reports whether it did so before.
func (c *checking) denotes(p place, content string) (before string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if before, ok = c.contents[p]; ok {
		return before, before == content
	}
	c.contents[p] = content
	return content, true
}

// content returns what a UID denotes, empty if nobody has seen it.
func (c *checking) content(p place) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.contents[p]
}

// checkpoint compares what all sessions see. Nobody else sends anything.
func (c *checking) checkpoint(ctx context.Context) error {
	c.report.Checkpoints++
	if c.o.Progress != nil && c.report.Checkpoints%20 == 0 {
		fmt.Fprintf(c.o.Progress, "checkpoint %d, %d violations\n", c.report.Checkpoints, len(c.report.Violations))
	}
	if ok, err := c.compare(ctx); !ok || err != nil {
		return err // what sessions know is of different times
	}
	c.countRecent()
	return nil
}

// compare has all sessions look, and compares what those see that have the same
// mailbox selected. What comes from the other front comes when it comes: fronts that
// show the same may have changes before them still, of UIDs for instance. Then all is
// done again, until nothing comes any more. It returns false if that does not end.
func (c *checking) compare(ctx context.Context) (bool, error) {
	deadline := time.Now().Add(c.o.Settle)
	for {
		settled := make(map[string]string)
		if c.o.B.Addr != "" {
			ok, err := c.settle(ctx, settled, deadline)
			if !ok || err != nil {
				return false, err
			}
		}
		still, err := c.look(settled)
		if still || err != nil {
			return still, err
		}
		if time.Now().After(deadline) {
			c.violation("checkpoint %d: changes still come after %s", c.report.Checkpoints, c.o.Settle)
			return false, nil
		}
	}
}

// look has all sessions look at what is settled, by mailbox, and reports whether it
// still is.
func (c *checking) look(settled map[string]string) (still bool, err error) {
	first := make(map[string]*checkSession)
	for _, s := range c.sessions {
		if still, err := s.look(settled[s.box]); !still || err != nil {
			return still, err
		}
		if other := first[s.box]; other == nil {
			first[s.box] = s
		} else if d := s.differs(other); d != "" {
			c.violation("checkpoint %d: sessions %d and %d in %s: %s", c.report.Checkpoints, other.n, s.n, s.box, d)
		}
	}
	for box, s := range first {
		if still, err := s.checkStatus(settled[box]); !still || err != nil {
			return still, err
		}
	}
	return true, nil
}

// settle waits until both fronts show the same, and says what. It returns false after a
// violation.
func (c *checking) settle(ctx context.Context, settled map[string]string, deadline time.Time) (bool, error) {
	for {
		same := true
		for b := range c.boxes {
			var views [2]string
			for f := range views {
				v, err := c.front(f).examine(b)
				if err != nil {
					return false, err
				}
				views[f] = v
			}
			same = same && views[0] == views[1]
			settled[c.boxes[b]] = views[0]
		}
		if same || ctx.Err() != nil {
			return same, ctx.Err()
		}
		if time.Now().After(deadline) {
			c.violation("checkpoint %d: the fronts do not show the same after %s", c.report.Checkpoints, c.o.Settle)
			return false, nil
		}
		rest(ctx, 20*time.Millisecond)
	}
}

// front returns the first session of a front.
func (c *checking) front(f int) *checkSession { return c.sessions[f*c.o.Sessions] }

// countRecent counts the messages that are \Recent for two sessions of a front.
func (c *checking) countRecent() {
	type key struct {
		front int
		box   string
		uid   uint32
	}
	owner := make(map[key]bool)
	for _, s := range c.sessions {
		for _, m := range s.messages {
			if !m.flags[`\recent`] {
				continue
			}
			k := key{s.front, s.box, m.uid}
			if owner[k] {
				c.report.Recent++
			}
			owner[k] = true
		}
	}
}
