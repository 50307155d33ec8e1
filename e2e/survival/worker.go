package survival

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/go-pluto/pluto/bench"
	"github.com/go-pluto/pluto/bench/imapc"
	"github.com/go-pluto/pluto/e2e/cluster"
)

const (
	sessionCommands = 30 // of the workload's session, before it begins another one
	storeEvery      = 4  // commands between two numbered messages
)

// worker is a pair of clients of one user: one works, the other is in IDLE on the
// mailbox in which the first one stores numbered messages.
type worker struct {
	run      *run
	name     string
	user     int
	rng      *rand.Rand
	region   int
	fronts   []bench.Target // of its region
	conn     *imapc.Conn
	front    int    // conn's
	selected string // in conn

	mu        sync.Mutex // guards idling
	idling    *imapc.Conn
	idleFront int // idling's

	spans  []span
	stored []string // subjects that were acknowledged
	shown  uint32   // messages that IDLE has told of
}

// span is when a command was under way.
type span struct {
	what     string
	from, to time.Time
}

func newWorker(r *run, i int) *worker {
	return &worker{
		run: r, name: fmt.Sprintf("w%d", i), user: 1 + i%cluster.Users, rng: rand.New(rand.NewPCG(r.o.Seed, uint64(i))),
		region: i % len(r.fronts), fronts: r.fronts[i%len(r.fronts)],
	}
}

func (w *worker) box() string { return w.name + "numbered" }

// dial connects to a front, or to the next one if it does not answer; front says which.
func (w *worker) dial(ctx context.Context, front *int) (conn *imapc.Conn, err error) {
	for range w.fronts {
		if conn, err = w.fronts[*front%len(w.fronts)].Dial(ctx); err == nil {
			break
		}
		*front++
	}
	if err != nil {
		return nil, err
	}
	name, password := cluster.User(w.user)
	if err := conn.Login(name, password); err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s: %w", w.name, err)
	}
	return conn, nil
}

// connect brings both clients to where their work begins.
func (w *worker) connect(ctx context.Context) (err error) {
	if w.conn, err = w.dial(ctx, &w.front); err != nil {
		return err
	}
	if _, err := w.conn.Do("CREATE "+w.box(), nil); err != nil {
		return err
	}
	return w.beginIdle(ctx)
}

// beginIdle connects the client that is in IDLE.
func (w *worker) beginIdle(ctx context.Context) error {
	conn, err := w.dial(ctx, &w.idleFront)
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.idling = conn
	w.mu.Unlock()
	if err := conn.Select(w.box()); err != nil {
		return err
	}
	if conn.Exists < w.shown {
		w.run.seen("%s: SELECT tells of %d messages after %d", w.name, conn.Exists, w.shown)
	}
	w.shown = conn.Exists
	_, err = conn.Idle()
	return err
}

func (w *worker) close() {
	if w.conn != nil {
		w.conn.Close()
	}
	w.closeIdle()
}

func (w *worker) closeIdle() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.idling != nil {
		w.idling.Close()
	}
}

// goodbye is what a client is told whose distributor stops: it may go on at another.
const goodbye = "[UNAVAILABLE] Server is shutting down"

// sentAway reports whether a connection has ended so. The next one is to another front:
// each of the two clients leaves its own, or they would send each other back.
func (w *worker) sentAway(conn *imapc.Conn, front *int) bool {
	if len(w.fronts) < 2 || conn.Farewell() != goodbye {
		return false
	}
	w.run.farewells.Add(1)
	*front++
	return true
}

// reconnect goes on elsewhere, after sentAway, with what was selected.
func (w *worker) reconnect() error {
	w.conn.Close()
	conn, err := w.dial(w.run.ctx, &w.front)
	if err != nil {
		return fmt.Errorf("connect elsewhere: %w", err)
	}
	if w.conn = conn; w.selected == "" {
		return nil
	}
	return w.conn.Select(w.selected)
}

// work does the workload until ctx ends, or the connection.
func (w *worker) work(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		model := bench.NewSession(w.rng, fmt.Sprintf("%ss%d", w.name, n), bench.AllForms)
		for k := 0; k < sessionCommands && ctx.Err() == nil; k++ {
			if !w.step(model.Next()) || k%storeEvery == 0 && !w.store() {
				return
			}
			if sleep(ctx, time.Duration(w.rng.ExpFloat64()*float64(w.run.o.Think))) != nil {
				break
			}
		}
		if !w.finish(model) {
			return
		}
	}
}

// timed does a command. It reports whether the connection is still good.
func (w *worker) timed(what string, f func() error) bool {
	from := time.Now()
	err := f()
	for err != nil && !imapc.IsStatus(err) && w.sentAway(w.conn, &w.front) {
		// It was not answered, so it was not done.
		if err = w.reconnect(); err == nil {
			err = f()
		}
	}
	w.spans = append(w.spans, span{what, from, time.Now()})
	if err != nil {
		w.run.seen("%s: %s: %v", w.name, what, err)
	}
	return err == nil || imapc.IsStatus(err)
}

func (w *worker) step(st bench.Step) bool {
	if st.Op != bench.OpAppend {
		ok := w.timed(st.Op.String(), func() error { return st.Send(w.conn) })
		if st.Op == bench.OpSelect {
			w.selected = st.Mailbox
		}
		return ok
	}
	m := bench.OpodisMessage(w.rng, bench.Lines{Min: 10, Max: 512, Length: 64})
	return w.timed("APPEND", func() error {
		_, err := w.conn.Append(st.Mailbox, "", m, w.rng.IntN(2) == 0)
		return err
	})
}

// store stores a numbered message.
func (w *worker) store() bool {
	subject := fmt.Sprintf("%s-%d", w.name, len(w.stored))
	return w.timed("APPEND", func() error {
		_, err := w.conn.Append(w.box(), "", []byte("Subject: "+subject+"\r\n\r\ntext\r\n"), w.rng.IntN(2) == 0)
		if err == nil {
			w.stored = append(w.stored, subject)
		}
		return err
	})
}

// finish compares the folders of a session with what it did to them, and deletes them.
func (w *worker) finish(model *bench.Session) bool {
	if !w.timed("SELECT", func() error { return w.conn.Select("INBOX") }) {
		return false
	}
	w.selected = "INBOX"
	for name, want := range model.Messages() {
		got := ""
		ok := w.timed("STATUS", func() error {
			_, err := w.conn.Do("STATUS "+imapc.Quote(name)+" (MESSAGES)", func(r *imapc.Response) {
				if r.Name == "STATUS" {
					got = string(r.Rest)
				}
			})
			return err
		})
		if !strings.Contains(got, fmt.Sprintf("(MESSAGES %d)", want)) {
			w.run.differs("%s: %s has %q, want %d messages", w.name, name, got, want)
		}
		if !ok || !w.timed("DELETE", func() error { _, err := w.conn.Do("DELETE "+imapc.Quote(name), nil); return err }) {
			return false
		}
	}
	return true
}

// idleWait is longer than a run.
const idleWait = time.Hour

// idle takes what IDLE tells until ctx ends.
func (w *worker) idle(ctx context.Context) {
	defer context.AfterFunc(ctx, w.closeIdle)()
	for {
		r, err := w.idling.IdleNext(idleWait)
		switch {
		case ctx.Err() != nil:
			return
		case (err != nil || r.Name == "BYE") && w.sentAway(w.idling, &w.idleFront):
			w.closeIdle()
			if err := w.beginIdle(ctx); err != nil && ctx.Err() == nil {
				w.run.seen("%s: IDLE elsewhere: %v", w.name, err)
				return
			}
		case err != nil:
			w.run.seen("%s: IDLE: %v", w.name, err)
			return
		case r.Name == "BYE":
			w.run.seen("%s: IDLE: BYE %s", w.name, r.Rest)
			return
		case r.Name == "EXISTS" && r.Num < w.shown:
			w.run.seen("%s: IDLE tells of %d messages after %d", w.name, r.Num, w.shown)
		case r.Name == "EXISTS":
			w.shown = r.Num
		}
	}
}

// check compares the numbered messages with those that were acknowledged.
func (w *worker) check(ctx context.Context) {
	conn, err := w.dial(ctx, new(int))
	if err != nil {
		w.run.differs("%s: cannot look: %v", w.name, err)
		return
	}
	defer conn.Close()
	there := map[string]int{}
	if err := conn.Select(w.box()); err != nil {
		w.run.differs("%s: cannot look: %v", w.name, err)
		return
	}
	_, err = conn.Do("FETCH 1:* (BODY.PEEK[HEADER.FIELDS (SUBJECT)])", func(r *imapc.Response) {
		_, rest, ok := strings.Cut(string(r.Rest), "Subject: ")
		if subject, _, found := strings.Cut(rest, "\r\n"); ok && found {
			there[subject]++
			return
		}
		if v, ok := imapc.FetchItem(r.Rest, "BODY[HEADER.FIELDS (SUBJECT)]"); ok {
			subject := strings.TrimSpace(strings.TrimPrefix(string(v.Str), "Subject: "))
			there[strings.TrimSpace(subject)]++
		}
	})
	if err != nil && len(w.stored) > 0 {
		w.run.differs("%s: cannot look: %v", w.name, err)
	}
	for _, subject := range w.stored {
		if n := there[subject]; n != 1 {
			w.run.differs("%s: message %s is there %d times", w.name, subject, n)
		}
		delete(there, subject)
	}
	for subject, n := range there {
		if n > 1 {
			w.run.differs("%s: message %s, which was not acknowledged, is there %d times", w.name, subject, n)
		}
	}
}

// pause returns the longest time that the session had to wait for an answer from a
// moment to another, and for which.
func (w *worker) pause(from, to time.Time) (longest time.Duration, what string) {
	i := sort.Search(len(w.spans), func(i int) bool { return w.spans[i].to.After(from) })
	for ; i < len(w.spans) && w.spans[i].from.Before(to); i++ {
		s := w.spans[i]
		if s.from.Before(from) {
			s.from = from
		}
		if s.to.After(to) {
			s.to = to
		}
		if took := s.to.Sub(s.from); took > longest {
			longest, what = took, fmt.Sprintf("%s: %s at %s", w.name, s.what, s.from.Format(clock))
		}
	}
	return longest, what
}
