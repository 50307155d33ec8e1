package distributor

import (
	"context"
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/tunnel"
)

// restAfter is how long a client may be silent, or half of that, before the goroutine that
// reads from it makes room for one that has a small stack.
const restAfter = 4 * time.Second

// relay moves bytes between a client and its session: one goroutine reads from the
// client, another one from the session. When the session's node is
// lost, or another one is to have it, it goes on there (move.go).
type relay struct {
	client *client
	open   *tunnel.Open // as it was opened first
	list   []Replica    // that can have it, the preferred first
	bytes  unconfirmed
	ctx    context.Context // ends when the client is gone
	cancel context.CancelFunc
	read   chan struct{} // closed when nothing is read from the client any more
	until  time.Time     // how long the goroutine that reads waits, which owns it; zero: for ever

	// sending is held while bytes go to the session: by who read them, and by who
	// moves the session from before it ends at one node until the next one has all
	// that the client has said.
	sending  sync.Mutex
	swallow  *upload // what the client sends of it goes nowhere
	attempts uint32  // how often the session has moved

	mu        sync.Mutex // writing to the client
	session   *opened    // changed with sending held too, by set
	heard     uint64     // messages of sessions so far
	delivered *delivered // of an answer that comes in pieces, nil: none
	repeat    *repeat    // while an answer comes a second time
	fresh     bool       // the session has not said yet that it goes on
	wanted    string     // why the session is to be moved when it can be; "": it is not
	ended     bool       // nothing is written any more
	draining  bool
	left      bool // the client did, by itself
	again     bool // the client is to log in again

	at atomic.Pointer[opened] // session, for those who must not wait for the client

	moved   time.Time // when the session has moved last
	hurried int       // moves each soon after the one before; the mover's
}

func newRelay(c *client, s *opened) *relay {
	r := &relay{client: c, open: s.open, list: s.list, read: make(chan struct{})}
	r.ctx, r.cancel = context.WithCancel(c.ctx)
	r.bytes.chunks = &c.server.chunks
	r.set(s)
	return r
}

// start moves bytes until the session has ended, beginning with those that were read
// too early; then it calls ended, with whether the client was told. It does not wait:
// none of the goroutines that a session rests in has done anything before that needed
// a large stack.
func (r *relay) start(early []byte, ended func(told bool)) {
	r.client.server.running.Add(1)
	go func() {
		defer r.client.server.running.Done()
		r.down()
		<-r.read
		r.finish()
		ended(!r.left)
	}()
	r.client.raw.awaited = true
	go func() {
		// Behind the login, TLS may have more.
		if r.pass(early) && r.take() {
			go r.up()
		} else {
			close(r.read)
		}
	}()
}

// finish ends the last session, and waits for who moves it.
func (r *relay) finish() {
	r.cancel()
	r.current().end() // whoever sends to it is let go
	r.sending.Lock()
	defer r.sending.Unlock()
	r.session.end()
	r.bytes.release()
	r.count(-1)
}

// up passes on what the client says until it is gone or the session has ended, and
// closes r.read then. After a silence another goroutine goes on: its stack is small
// while it waits.
func (r *relay) up() {
	r.client.readDeadline(time.Time{})
	r.until = time.Time{}
	for {
		if err := r.client.raw.await(); err != nil {
			if r.rests(err) {
				go r.up()
				return
			}
			r.clientLeft()
			break
		}
		if !r.take() {
			break
		}
		r.waitShortly()
	}
	close(r.read)
}

// waitShortly has the next waiting for the client end after some time, which is not set
// anew for each command.
func (r *relay) waitShortly() {
	after := r.client.server.opts.restAfter
	if now := time.Now(); r.until.Sub(now) < after/2 {
		r.until = now.Add(after)
		r.client.readDeadline(r.until)
	}
}

// rests reports whether waiting has ended because the client says nothing.
func (r *relay) rests(err error) bool {
	return !r.until.IsZero() && errors.Is(err, os.ErrDeadlineExceeded) && !r.client.isStopped()
}

// take passes on what has come. It reports whether there may be more to come.
func (r *relay) take() bool {
	buf := reads.Get().(*[readSize]byte)
	defer reads.Put(buf)
	for {
		n, err := r.client.read(buf[:])
		if n > 0 && !r.pass(buf[:n]) {
			return false
		}
		if err == errNothing {
			return true
		}
		if err != nil {
			r.clientLeft()
			return false
		}
	}
}

// pass sends bytes to the session. They are kept: that a session is lost is for
// who reads from it to see. It reports whether there is a session to come.
func (r *relay) pass(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	r.client.server.metrics.fromClients.Add(float64(len(p)))
	r.sending.Lock()
	defer r.sending.Unlock()
	if !r.bytes.add(p) {
		return false // the client has been sent away: nothing of it is done
	}
	if r.swallow != nil {
		r.standIn()
	} else {
		_ = r.session.Send(p) // see above
	}
	return !r.isEnded()
}

// clientLeft tells the session that its client is gone.
func (r *relay) clientLeft() {
	r.mu.Lock()
	r.left = !r.ended
	session := r.session
	r.mu.Unlock()
	session.Close()
	r.leaving()
}

func (r *relay) isEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// down passes on what the session says until it has ended, and ends the reading then.
func (r *relay) down() {
	session, err := r.current(), error(nil)
	for session != nil {
		if m := session.first; m != nil {
			session.first = nil
			err = r.handle(session, m)
		}
		for err == nil {
			var m *tunnel.Down
			if m, err = session.Recv(); err == nil {
				err = r.handle(session, m)
			}
		}
		session, err = r.next(session, err)
	}
	r.end(err)
}

// errBye is the clean end of a session.
var errBye = errors.New("session has ended")

// handle passes one message on, unless its session is one no more.
func (r *relay) handle(session *opened, m *tunnel.Down) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if session != r.session {
		return errReplaced
	}
	r.heard++
	switch m := m.Message.(type) {
	case *tunnel.Down_Partial:
		return r.partial(m.Partial)
	case *tunnel.Down_Answer:
		return r.answer(m.Answer)
	case *tunnel.Down_Bye:
		data, err := r.whole(m.Bye.GetData())
		if err == nil {
			err = r.write(data)
		}
		r.ended = true
		if err != nil {
			return err
		}
		return errBye
	case *tunnel.Down_Leave:
		return errLeave
	}
	return tunnel.ErrProtocol
}

// partial passes a piece of an answer on. r.mu is held.
func (r *relay) partial(p *tunnel.Partial) error {
	data := p.GetData()
	if r.repeat != nil {
		if data = r.repeat.pass(nil, data); r.repeat.failed {
			return errTorn
		}
	}
	if r.delivered == nil {
		r.delivered = newDelivered()
	}
	r.delivered.once = r.delivered.once || p.GetOnce()
	return r.write(r.delivered.pass(nil, data))
}

// answered returns what the client is to get of an answer. r.mu is held.
func (r *relay) answered(a *tunnel.Answer) ([]byte, error) {
	fresh := r.fresh
	if r.fresh = false; !fresh || r.repeat == nil {
		return r.whole(a.GetData())
	}
	// It says that the session goes on; the answer is still to come.
	if r.repeat.begun > 0 {
		r.repeat.late = append(r.repeat.late, a.GetData()...)
		return nil, nil
	}
	return a.GetData(), nil
}

// whole returns what the client is to get of the last piece of an answer. r.mu is held.
func (r *relay) whole(data []byte) ([]byte, error) {
	if r.repeat != nil {
		data = r.repeat.pass(nil, data)
		r.repeat.finish()
		if r.repeat.failed {
			return nil, errTorn
		}
		r.repeat = nil
	}
	if r.delivered != nil && len(r.delivered.held) > 0 {
		data = append(r.delivered.held, data...)
	}
	r.delivered = nil
	return data, nil
}

// answer passes an answer on, and does what it says about what follows. r.mu is
// held.
func (r *relay) answer(a *tunnel.Answer) error {
	early := a.GetCompress() && r.bytes.total() > a.GetCheckpoint().GetConsumed()
	if a.GetCompress() {
		r.client.compress() // before the client can know
	}
	data, err := r.answered(a)
	if err != nil {
		return err
	}
	if err := r.write(data); err != nil {
		return err
	}
	if err := r.bytes.confirm(a); err != nil {
		return err
	}
	switch {
	case a.GetCompress():
		r.client.deflater = new(deflater)
		if early {
			// It is not clear what is compressed of what the client said early.
			return r.bye("Nothing may follow COMPRESS before its answer")
		}
	case a.GetUnauthenticate():
		if _, ok := r.bytes.rest(); !ok {
			return r.bye("Too much follows UNAUTHENTICATE")
		}
		r.again, r.ended = true, true
		return errBye
	}
	if err := r.sendAway(); err != nil {
		return err
	}
	r.moveIfWanted()
	return nil
}

// bye ends the session. r.mu is held.
func (r *relay) bye(text string) error {
	if err := r.write([]byte("* BYE " + text + "\r\n")); err != nil {
		return err
	}
	r.ended = true
	return errBye
}

// rest returns, after the session, what the client has said to whoever it logs in as
// next. ok is false if it does not: the connection ends.
func (r *relay) rest() (early []byte, ok bool) {
	if !r.again || r.left {
		return nil, false
	}
	return r.bytes.rest()
}

// write writes to the client unless that is over. A client that cannot be
// written to is gone. r.mu is held.
func (r *relay) write(p []byte) error {
	if r.ended || len(p) == 0 {
		return nil
	}
	if err := r.client.write(p); err != nil {
		r.ended, r.left = true, true
		level.Debug(r.client.log).Log("msg", "client cannot be written to", "err", err)
		return errClientGone
	}
	r.client.server.metrics.toClients.Add(float64(len(p)))
	return nil
}

var errClientGone = errors.New("client is gone")

// drain sends the client away, now or with its next answer.
func (r *relay) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
	if r.sendAway() == errBye {
		r.session.Close()
		r.client.stopReading()
	}
}

// sendAway says BYE if the server is shutting down and the client waits for
// nothing. r.mu is held.
func (r *relay) sendAway() error {
	if !r.draining || r.delivered != nil || r.ended || !r.bytes.closeIdle() {
		return nil
	}
	return r.bye("[UNAVAILABLE] Server is shutting down")
}

// end ends the connection after the session has.
func (r *relay) end(err error) {
	r.cancel()
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost := !r.ended && !r.left; lost && !errors.Is(err, errBye) {
		r.lost(err)
	}
	r.ended = true
	r.session.Close()
	r.client.stopReading()
}

// lost tells the client, if it is between two responses, that its session is gone.
func (r *relay) lost(err error) {
	c, text := r.client, "Server was lost, please reconnect"
	if moved := (*movedError)(nil); errors.As(err, &moved) {
		text = "Account is being moved, please reconnect"
		level.Info(c.log).Log("msg", "session ended", "user", r.open.UserId, "err", moved)
	} else {
		c.server.metrics.lost.WithLabelValues(r.session.replica.Name).Inc()
		level.Warn(c.log).Log("msg", "session lost", "replica", r.session.replica.Name, "err", err)
	}
	if !r.delivered.torn() {
		r.write([]byte("* BYE [UNAVAILABLE] " + text + "\r\n")) // it has ended anyway
	}
}
