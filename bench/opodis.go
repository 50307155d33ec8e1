package bench

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"

	"github.com/go-pluto/pluto/bench/imapc"
)

// OpodisOptions are the numbers of the 2017 evaluation; [OpodisDefaults] gives
// those that were used.
type OpodisOptions struct {
	Options
	Threads  int
	Sessions int
	Base     int // commands of a session: Base + U{0..Spread}, and a final SELECT INBOX
	Spread   int
	Lines    Lines
	NoClean  bool // leave the folders there at the end of each session, as in 2017
}

// OpodisDefaults are the numbers of the paper.
func OpodisDefaults() OpodisOptions {
	return OpodisOptions{Threads: 20, Sessions: 5000, Base: 15, Spread: 24, Lines: Lines{Min: 10, Max: 512, Length: 64},
		Options: Options{Users: Users{Name: "user%d", Password: "pass%d", First: 1, Last: 120}, Seed: 1}}
}

// Opodis runs the workload of "Evaluation" in Jungnickel, Oldenburg, Loibl (OPODIS
// 2017): a closed loop without think time. Each thread takes one session after
// another: a new connection, LOGIN as a random user, the commands that a
// [Session] draws, SELECT INBOX, LOGOUT. Connecting, LOGIN and LOGOUT are not in
// the totals. It ends after the given number of sessions or with the context,
// at a command boundary.
//
// The folders that a session leaves are deleted after its LOGOUT, unmeasured,
// unless NoClean is set.
func Opodis(ctx context.Context, o OpodisOptions) (*Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	if o.Threads < 1 || o.Sessions < 1 || o.Base < 0 || o.Spread < 0 || o.Lines.Min < 0 || o.Lines.Max < o.Lines.Min || o.Lines.Length < 1 {
		return nil, fmt.Errorf("opodis: numbers out of range: %+v", o)
	}
	run := o.begin()
	var next atomic.Int64
	var wg sync.WaitGroup
	recs := make([]*recorder, o.Threads)
	for i := range recs {
		th := &opodisThread{o: &o, index: i, rng: o.rng(uint64(i)), rec: newRecorder()}
		recs[i] = th.rec
		wg.Go(func() {
			for ctx.Err() == nil && next.Add(1) <= int64(o.Sessions) {
				th.session(ctx)
			}
		})
	}
	wg.Wait()
	wall, extra := run.end()
	all := newRecorder()
	for _, r := range recs {
		all.merge(r)
	}
	extra["sessions"] = float64(min(next.Load(), int64(o.Sessions)))
	res := &Result{Errors: all.errText}
	res.Rows = all.rows(Row{Label: o.Label, Mode: "opodis", Mix: "opodis2017", Conns: o.Threads}, wall, extra)
	if ctx.Err() != nil {
		res.Notes = append(res.Notes, "stopped by the time limit or a signal")
	}
	return res, nil
}

type opodisThread struct {
	o     *OpodisOptions
	index int
	rng   *rand.Rand
	rec   *recorder
}

// session runs one session. What fails is in the recorder.
func (t *opodisThread) session(ctx context.Context) {
	user := t.rng.IntN(t.o.Users.Count())
	conn, err := t.o.connect(ctx, t.o.Target, user, t.rec)
	if err != nil {
		return
	}
	defer conn.Close()
	model := NewSession(t.rng, fmt.Sprintf("%dX", t.index), ReplaceOnly)
	for range Length(t.rng, t.o.Base, t.o.Spread) {
		if ctx.Err() != nil {
			break
		}
		if err := t.step(conn, model.Next()); err != nil && !imapc.IsStatus(err) {
			return
		}
	}
	if err := t.rec.time("SELECT", func() error { return conn.Select("INBOX") }); err != nil && !imapc.IsStatus(err) {
		return
	}
	if !t.o.NoClean {
		deleteAll(conn, model.Folders())
	}
	t.rec.time("LOGOUT", conn.Logout)
}

func (t *opodisThread) step(conn *imapc.Conn, st Step) error {
	if st.Op == OpAppend {
		m := OpodisMessage(t.rng, t.o.Lines)
		return t.rec.time("APPEND", func() error {
			_, err := conn.Append(st.Mailbox, "", m, t.o.nonSync(conn))
			return err
		})
	}
	return t.rec.time(st.Op.String(), func() error { return st.Send(conn) })
}

// Send runs a step that has no literal: any but APPEND.
func (st Step) Send(conn *imapc.Conn) (err error) {
	switch st.Op {
	case OpSelect:
		return conn.Select(st.Mailbox)
	case OpStore:
		_, err = conn.Do(fmt.Sprintf("STORE %d %s", st.Seq, st.Store), nil)
	case OpExpunge:
		_, err = conn.Do("EXPUNGE", nil)
	default:
		_, err = conn.Do(st.Op.String()+" "+imapc.Quote(st.Mailbox), nil)
	}
	return err
}

// deleteAll deletes mailboxes as far as that goes.
func deleteAll(conn *imapc.Conn, names []string) {
	for _, name := range names {
		if _, err := conn.Do("DELETE "+imapc.Quote(name), nil); err != nil && !imapc.IsStatus(err) {
			return
		}
	}
}

// published are the medians of the 2017 paper in milliseconds, measured on six
// one-core nodes in each of two regions; the totals are commands per second.
var published = []struct {
	cmd                    string
	dovecotMs, pluto2017Ms float64
}{
	{"CREATE", 12.5, 28.3}, {"DELETE", 27.8, 28.3}, {"APPEND", 38.4, 57.2}, {"STORE", 11.9, 31.8}, {"EXPUNGE", 6.2, 25.6},
}

const publishedDovecotOps, publishedPlutoOps = 481, 256

// WriteOpodisComparison writes the medians of an Opodis run beside those of the
// paper. The machines differ, so only orders of magnitude can be compared.
func WriteOpodisComparison(w io.Writer, r *Result) {
	fmt.Fprintf(w, "\n%-12s %12s %22s %16s\n", "median, ms", "this run", "Dovecot+dsync (2017)", "pluto (2017)")
	for _, p := range published {
		row, _ := r.Row(p.cmd)
		fmt.Fprintf(w, "%-12s %12.3f %22.1f %16.1f\n", p.cmd, row.P50Us/1e3, p.dovecotMs, p.pluto2017Ms)
	}
	total, _ := r.Row("TOTAL")
	fmt.Fprintf(w, "%-12s %12.1f %22d %16d\n", "commands/s", total.OpsS, publishedDovecotOps, publishedPlutoOps)
}
