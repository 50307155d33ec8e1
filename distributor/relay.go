package distributor

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/go-kit/log/level"
	"github.com/go-pluto/pluto/imap/tunnel"
)

const (
	smallRead = 1 << 10  // the buffer of a client that says little
	largeRead = 16 << 10 // that of one that uploads: a TLS record
	keepLarge = time.Second

	inflatedRead = 4 << 10 // the buffer of a client that compresses
)

var largeReads = sync.Pool{New: func() any { return new([largeRead]byte) }}

// relay moves bytes between a client and its session: run reads from the
// client, a second goroutine reads from the session.
type relay struct {
	client  *client
	session *opened
	bytes   unconfirmed

	mu       sync.Mutex // writing to the client
	torn     bool       // in the middle of an answer
	ended    bool       // nothing is written any more
	draining bool
	left     bool // the client did, by itself
	again    bool // the client is to log in again
}

func newRelay(c *client, s *opened) *relay { return &relay{client: c, session: s} }

// run moves bytes until the session has ended, beginning with those that were
// read too early. It reports whether the client was told.
func (r *relay) run(early []byte) bool {
	defer r.session.end()
	down := make(chan struct{})
	go func() {
		defer close(down)
		r.down()
	}()
	r.client.readDeadline(time.Time{})
	if r.pass(early) {
		r.up()
	}
	<-down
	return !r.left
}

// up passes on what the client says until it is gone or the session has ended.
func (r *relay) up() {
	small := make([]byte, smallRead)
	var large *[largeRead]byte
	defer func() {
		if large != nil {
			largeReads.Put(large)
		}
	}()
	for {
		if r.client.inflater != nil {
			r.upCompressed()
			return
		}
		buf := small
		if large != nil {
			buf = large[:]
			r.client.readDeadline(time.Now().Add(keepLarge))
		}
		n, err := r.client.read(buf)
		if n > 0 && !r.pass(buf[:n]) {
			return
		}
		switch {
		case err == nil && n == len(small) && large == nil:
			large = largeReads.Get().(*[largeRead]byte)
		case err == nil:
		case large != nil && errors.Is(err, os.ErrDeadlineExceeded) && !r.isEnded():
			largeReads.Put(large)
			large = nil
			r.client.readDeadline(time.Time{})
		default:
			r.clientLeft()
			return
		}
	}
}

// upCompressed is up for a client that compresses. It keeps one buffer, because
// waiting for the next byte cannot be interrupted.
func (r *relay) upCompressed() {
	buf := make([]byte, inflatedRead)
	for {
		n, err := r.client.read(buf)
		if n > 0 && !r.pass(buf[:n]) {
			return
		}
		if err != nil {
			r.clientLeft()
			return
		}
	}
}

// pass sends bytes to the session.
func (r *relay) pass(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	r.client.server.metrics.fromClients.Add(float64(len(p)))
	r.bytes.add(p)
	return r.session.Send(p) == nil
}

// clientLeft tells the session that its client is gone.
func (r *relay) clientLeft() {
	r.mu.Lock()
	r.left = !r.ended
	r.mu.Unlock()
	r.session.Close()
}

func (r *relay) isEnded() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ended
}

// down passes on what the session says until it has ended, and ends the reading then.
func (r *relay) down() {
	message, err := r.session.first, error(nil)
	r.session.first = nil
	for err == nil {
		if err = r.handle(message); err == nil {
			message, err = r.session.Recv()
		}
	}
	r.end(err)
}

// errBye is the clean end of a session.
var errBye = errors.New("session has ended")

// handle passes one message on.
func (r *relay) handle(m *tunnel.Down) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch m := m.Message.(type) {
	case *tunnel.Down_Partial:
		r.torn = true
		return r.write(m.Partial.GetData())
	case *tunnel.Down_Answer:
		return r.answer(m.Answer)
	case *tunnel.Down_Bye:
		err := r.write(m.Bye.GetData())
		r.torn = false
		r.ended = true
		if err != nil {
			return err
		}
		return errBye
	}
	return tunnel.ErrProtocol
}

// answer passes an answer on, and does what it says about what follows. r.mu is
// held.
func (r *relay) answer(a *tunnel.Answer) error {
	if a.GetCompress() {
		r.client.compress() // before the client can know
	}
	if err := r.write(a.GetData()); err != nil {
		return err
	}
	r.torn = false
	if err := r.bytes.confirm(a); err != nil {
		return err
	}
	switch {
	case a.GetCompress():
		r.client.deflater = new(deflater)
		if !r.bytes.silent() {
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
	return r.sendAway()
}

// bye ends the session. r.mu is held.
func (r *relay) bye(text string) error {
	if err := r.write([]byte("* BYE " + text + "\r\n")); err != nil {
		return err
	}
	r.ended = true
	return errBye
}

// rest returns, after run, what the client has said to whoever it logs in as
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
	if !r.draining || r.torn || r.ended || !r.bytes.idle() {
		return nil
	}
	return r.bye("[UNAVAILABLE] Server is shutting down")
}

// end ends the connection after the session has.
func (r *relay) end(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if lost := !r.ended && !r.left; lost && !errors.Is(err, errBye) {
		r.lost(err)
	}
	r.ended = true
	r.session.Close()
	r.client.stopReading()
}

// lost tells the client, if it is between two answers, that its session is gone.
func (r *relay) lost(err error) {
	c := r.client
	c.server.metrics.lost.WithLabelValues(r.session.replica.Name).Inc()
	if err == io.EOF {
		err = errors.New("ended by the node")
	}
	level.Warn(c.log).Log("msg", "session lost", "replica", r.session.replica.Name, "err", err)
	if !r.torn {
		r.write([]byte("* BYE [UNAVAILABLE] Server was lost, please reconnect\r\n")) // it has ended anyway
	}
}
