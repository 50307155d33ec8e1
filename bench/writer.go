package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-pluto/pluto/bench/imapc"
)

// convergeWriter changes the mailboxes at one side. Messages whose identity
// begins with keepPrefix are never removed by anybody, so that there is always
// something whose presence can be asserted.
type convergeWriter struct {
	c       *convergence
	side    int
	name    string // in identities
	rng     *rand.Rand
	gen     *messages
	session int // changes with every connection
	n       int // messages made
	kept    int // messages added that nobody removes
	v       *view
}

const keepPrefix = "keep-"

// sessions numbers the sessions of all writers of all runs.
var sessions atomic.Int64

func newConvergeWriter(c *convergence, side, n int) *convergeWriter {
	stream := uint64(side*1000 + n)
	o := Options{Seed: c.o.Seed, Size: c.o.Size}
	return &convergeWriter{c: c, side: side, name: fmt.Sprintf("%s%d", sideName(side), n), rng: c.rng(stream), gen: o.messages(stream)}
}

func (w *convergeWriter) run(ctx context.Context) {
	defer func() { w.v.close() }()
	for ctx.Err() == nil {
		if w.v == nil {
			v, err := w.c.open(ctx, w.side, w.rng.IntN(2))
			if err != nil {
				w.c.lost(ctx, "writer", err)
				continue
			}
			w.v, w.session = v, int(sessions.Add(1))
		}
		if err := w.step(); fatal(err) {
			w.c.lost(ctx, "writer", err)
			w.v.close()
			w.v = nil
			continue
		}
		rest(ctx, w.c.o.Pause)
	}
}

// writerSteps are what a writer does, with weights.
var writerSteps = []struct {
	weight int
	run    func(w *convergeWriter) error
}{
	{30, (*convergeWriter).append},
	{25, (*convergeWriter).store},
	{12, (*convergeWriter).uidExpunge},
	{6, (*convergeWriter).mark},
	{3, (*convergeWriter).expunge},
	{8, (*convergeWriter).copy},
	{8, (*convergeWriter).move},
	{4, (*convergeWriter).changeMailbox},
	{4, (*convergeWriter).noop},
}

// step does one command and then learns what is new.
func (w *convergeWriter) step() error {
	total := 0
	for _, s := range writerSteps {
		total += s.weight
	}
	x := w.rng.IntN(total)
	for _, s := range writerSteps {
		if x -= s.weight; x < 0 {
			if err := s.run(w); fatal(err) {
				return err
			}
			break
		}
	}
	return w.v.sync()
}

// done notes the outcome of a command and passes its error on.
func (w *convergeWriter) done(cmd string, err error) error {
	l := w.c.ledger
	status, isStatus := err.(*imapc.StatusError)
	switch {
	case err == nil:
		l.acknowledged(cmd)
	case !isStatus:
		l.unknown(cmd)
	case status.Code() == "EXPUNGEISSUED":
		l.refused(cmd + ": [EXPUNGEISSUED]")
	default:
		l.refused(cmd + ": " + err.Error())
		if status.Status != "NO" || !w.c.o.TolerateDisconnects {
			l.violate("%s at %s: %v", cmd, w.v.where, err)
		}
	}
	return err
}

// newMessage makes a message with an identity of its own. A quarter of what the
// mailboxes may hold is made to stay.
func (w *convergeWriter) newMessage() (id string, message []byte) {
	w.n++
	id = w.name + "-" + strconv.Itoa(w.n)
	if w.kept < w.c.o.MaxMessages/(4*w.c.o.Writers) && w.rng.IntN(2) == 0 {
		w.kept++
		id = keepPrefix + id
	}
	return id, w.gen.next(idHeader + ": " + id + "\r\n")
}

func (w *convergeWriter) append() error {
	if len(w.v.rows) >= w.c.o.MaxMessages {
		return w.uidExpunge()
	}
	id, m := w.newMessage()
	w.c.ledger.trying(w.v.box, id)
	uid, err := w.v.conn.Append(w.v.name, "", m, false)
	if w.done("APPEND", err) == nil {
		w.c.ledger.added(w.v.box, id)
		if uid.UIDValidity == w.v.conn.UIDValidity {
			w.c.ledger.saw(w.v.box, uid.UIDValidity, uid.UID, id, "APPENDUID at "+w.v.where)
		}
	}
	return err
}

// any returns a message of the view; removable tells that it must not be one of
// those that stay.
func (w *convergeWriter) any(removable bool) (viewRow, bool) {
	const tries = 8
	for range tries {
		if len(w.v.rows) == 0 {
			break
		}
		r := w.v.rows[w.rng.IntN(len(w.v.rows))]
		if r.uid != 0 && r.id != "" && !(removable && strings.HasPrefix(r.id, keepPrefix)) {
			return r, true
		}
	}
	return viewRow{}, false
}

// writerFlags are the flags that STORE changes.
var writerFlags = [...]string{`\Seen`, `\Flagged`, `\Answered`, `\Draft`, "$Load"}

func (w *convergeWriter) store() error {
	r, ok := w.any(false)
	if !ok {
		return nil
	}
	change := map[string]bool{}
	var names []string
	for _, i := range w.rng.Perm(len(writerFlags))[:1+w.rng.IntN(2)] {
		names = append(names, writerFlags[i])
	}
	item := "+FLAGS"
	switch w.rng.IntN(5) {
	case 0: // replaces all
		item = "FLAGS"
		for _, f := range append(writerFlags[:], `\Deleted`) {
			change[f] = false
		}
	case 1, 2:
		item = "-FLAGS"
	}
	for _, n := range names {
		change[n] = item != "-FLAGS"
	}
	return w.change(r, item+" ("+strings.Join(names, " ")+")", change)
}

// change sends a STORE. It is certain only when the server showed the message's
// new flags: one that somebody expunged meanwhile may be passed over.
func (w *convergeWriter) change(r viewRow, item string, change map[string]bool) error {
	l := w.c.ledger
	command := fmt.Sprintf("UID STORE %d %s", r.uid, item)
	l.flagging(w.v.box, r.id, w.session, fmt.Sprintf("%s at %s, %s", command, w.v.where, time.Now().Format("15:04:05.000")), change)
	told := false
	_, err := w.v.conn.Do(command, func(x *imapc.Response) {
		if x.Name != "FETCH" {
			return
		}
		got, err := parseViewRow(x.Rest)
		told = told || err == nil && got.uid == r.uid
	})
	if w.done("STORE", err) != nil || !told {
		l.unflagged(w.v.box, r.id, change)
	}
	return err
}

// mark sets \Deleted, so that any EXPUNGE may take the message away.
func (w *convergeWriter) mark() error {
	r, ok := w.any(true)
	if !ok {
		return nil
	}
	return w.markRow(r)
}

func (w *convergeWriter) markRow(r viewRow) error {
	w.c.ledger.marking(r.id)
	return w.change(r, `+FLAGS (\Deleted)`, map[string]bool{`\Deleted`: true})
}

// uidExpunge removes one message (RFC 4315 section 2.1).
func (w *convergeWriter) uidExpunge() error {
	r, ok := w.any(true)
	if !ok {
		return nil
	}
	if err := w.markRow(r); err != nil {
		return err
	}
	return w.expungeBy(fmt.Sprintf("UID EXPUNGE %d", r.uid), "UID EXPUNGE", r.uid)
}

func (w *convergeWriter) expunge() error { return w.expungeBy("EXPUNGE", "EXPUNGE", 0) }

// expungeBy sends an expunging command and notes what the server said is gone:
// the message with the UID only, or all if it is 0. A message that is still to
// be seen afterwards only changed its UID.
func (w *convergeWriter) expungeBy(text, cmd string, only uint32) error {
	w.v.takeGone()
	err := w.done(cmd, w.v.do(text))
	if err != nil {
		return err
	}
	gone := w.v.takeGone()
	if err := w.v.do("NOOP"); err != nil {
		return err
	}
	if err := w.v.sync(); err != nil {
		return err
	}
	for _, r := range gone {
		if r.id != "" && (only == 0 || r.uid == only) && !w.v.has(r.id) {
			w.c.ledger.removed(w.v.box, r.id)
		}
	}
	return nil
}

func (w *convergeWriter) copy() error {
	r, ok := w.any(w.rng.IntN(4) > 0)
	if !ok {
		return nil
	}
	if strings.HasPrefix(r.id, keepPrefix) {
		if w.kept >= w.c.o.MaxMessages/(4*w.c.o.Writers) {
			return nil
		}
		w.kept++
	}
	to := 1 - w.v.box
	w.c.ledger.trying(to, r.id)
	resp, err := w.v.conn.Do(fmt.Sprintf("UID COPY %d %s", r.uid, imapc.Quote(w.c.boxes[to])), nil)
	if w.done("COPY", err) != nil {
		return err
	}
	w.copied(resp, r, to)
	return nil
}

// copied notes a COPYUID (RFC 4315 section 3) that names the one message. It
// returns whether there was one.
func (w *convergeWriter) copied(resp *imapc.Response, r viewRow, to int) bool {
	name, args := resp.Code()
	f := strings.Fields(args)
	if name != "COPYUID" || len(f) != 3 || f[1] != strconv.FormatUint(uint64(r.uid), 10) {
		return false
	}
	w.c.ledger.added(to, r.id)
	validity, _ := strconv.ParseUint(f[0], 10, 32)
	uid, _ := strconv.ParseUint(f[2], 10, 32)
	w.c.ledger.saw(to, uint32(validity), uint32(uid), r.id, "COPYUID at "+w.v.where)
	return true
}

func (w *convergeWriter) move() error {
	r, ok := w.any(true)
	if !ok || !w.v.conn.Caps["MOVE"] {
		return nil
	}
	to, told := 1-w.v.box, false
	w.c.ledger.leaving(w.v.box, r.id)
	w.c.ledger.trying(to, r.id)
	w.v.takeGone()
	resp, err := w.v.conn.Do(fmt.Sprintf("UID MOVE %d %s", r.uid, imapc.Quote(w.c.boxes[to])), func(x *imapc.Response) {
		told = told || w.copied(x, r, to)
	})
	if w.done("MOVE", err) != nil {
		return err
	}
	if told || w.copied(resp, r, to) {
		w.c.ledger.removed(w.v.box, r.id)
	}
	return nil
}

func (w *convergeWriter) changeMailbox() error {
	return w.done("SELECT", w.c.selectBox(w.v, 1-w.v.box))
}

func (w *convergeWriter) noop() error { return w.done("NOOP", w.v.do("NOOP")) }
