package imap

import (
	"bytes"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// output collects response bytes and passes them to the connection in large
// pieces. Handlers append to buf directly and call spill now and then; an error
// of the connection stays in err, so that appending needs no checks.
type output struct {
	conn Conn
	buf  []byte
	err  error
	torn bool // inside a literal: no text can follow any more
	held bool // what is collected stays until the next answer
}

// line appends an untagged response.
func (o *output) line(text string) {
	o.buf = append(o.buf, "* "...)
	o.buf = append(o.buf, text...)
	o.buf = append(o.buf, '\r', '\n')
}

// number appends an untagged response such as "* 3 EXISTS".
func (o *output) number(n int, text string) {
	o.buf = append(o.buf, "* "...)
	o.buf = strconv.AppendInt(o.buf, int64(n), 10)
	o.buf = append(o.buf, ' ')
	o.buf = append(o.buf, text...)
	o.buf = append(o.buf, '\r', '\n')
}

// tagged appends a status response. code is a response code without brackets,
// or empty; an empty tag makes the response untagged.
func (o *output) tagged(tag, status, code, text string) {
	if tag == "" {
		tag = "*"
	}
	o.buf = append(o.buf, tag...)
	o.buf = append(o.buf, ' ')
	o.buf = append(o.buf, status...)
	o.buf = append(o.buf, ' ')
	if code != "" {
		o.buf = append(o.buf, '[')
		o.buf = append(o.buf, code...)
		o.buf = append(o.buf, "] "...)
	}
	o.buf = append(o.buf, text...)
	o.buf = append(o.buf, '\r', '\n')
}

// broken reports whether a response was begun and not finished.
func (o *output) broken() bool {
	return o.torn || len(o.buf) > 0 && !bytes.HasSuffix(o.buf, []byte("\r\n"))
}

// spill passes on what was collected when it is much, and returns the error of
// the connection if there is one.
func (o *output) spill() error {
	if len(o.buf) >= pieceBytes && !o.held {
		o.pass()
	}
	return o.err
}

// hold passes on what was collected, and keeps what follows until the answer.
func (o *output) hold() {
	o.pass()
	h, ok := o.conn.(Holder)
	if o.held = ok; ok {
		h.Hold()
	}
}

// pass passes on what was collected.
func (o *output) pass() {
	if len(o.buf) > 0 && o.err == nil {
		_, o.err = o.conn.Write(o.buf)
	}
	o.buf = o.buf[:0]
}

// buffers are kept by no session that waits for its client, so that idle
// sessions cost little and busy ones make no garbage.
var buffers = sync.Pool{New: func() any { return new([pieceBytes + pieceSlack]byte) }}

// acquire gets a buffer for the responses to come.
func (o *output) acquire() {
	if o.buf == nil {
		o.buf = buffers.Get().(*[pieceBytes + pieceSlack]byte)[:0]
	}
}

// release gives the buffer back, which is empty. One that had to grow is dropped.
func (o *output) release() {
	if cap(o.buf) == pieceBytes+pieceSlack {
		buffers.Put((*[pieceBytes + pieceSlack]byte)(o.buf[:pieceBytes+pieceSlack]))
	}
	o.buf = nil
}

// input is the client's stream. Before a Read that may block it sends the
// answers that are due, so that the session never waits for a client that waits
// for the session, whatever was pipelined.
type input struct {
	session  *session
	deadline ReadDeadliner // nil: the connection has none
	err      error         // of the stream; stays

	idling    bool        // the other goroutine writes
	started   time.Time   // first byte of the command being read; zero between commands
	received  int64       // bytes of it
	cancelled atomic.Bool // Read is not to wait any more
}

// Read implements [io.Reader].
func (i *input) Read(p []byte) (int, error) {
	if i.err != nil {
		return 0, i.err
	}
	if !i.idling {
		if err := i.session.flush(); err != nil {
			i.err = err
			return 0, err
		}
	}
	i.arm()
	read := i.session.conn.Read
	if !i.idling && i.started.IsZero() && i.session.listens() {
		read = i.session.readListening
	}
	n, err := read(p)
	if n > 0 {
		i.count(n)
		return n, nil
	}
	if err != nil {
		i.err = err
	}
	return 0, err
}

// arm sets until when the next byte has to come.
func (i *input) arm() {
	if i.deadline == nil || i.cancelled.Load() {
		return
	}
	if err := i.deadline.SetReadDeadline(i.until(time.Now())); err != nil {
		i.err = err
	}
	if i.cancelled.Load() { // between the look above and the setting
		i.expire()
	}
}

// until returns when a client gives up that sends nothing more. Between commands
// that is the autologout; inside one it depends on how fast the client has
// been so far.
func (i *input) until(now time.Time) time.Time {
	silence := i.session.opts.Autologout
	if i.started.IsZero() {
		return now.Add(silence)
	}
	until := now.Add(min(commandStall, silence))
	allowed := commandGrace + time.Duration(i.received/commandSpeed)*time.Second
	if slow := i.started.Add(allowed); slow.Before(until) {
		return slow
	}
	return until
}

func (i *input) count(n int) {
	if i.started.IsZero() {
		i.started = time.Now()
	}
	i.received += int64(n)
}

// boundary says that a command is done with.
func (i *input) boundary() {
	i.started, i.received = time.Time{}, 0
}

// cancel makes a Read of another goroutine return, now or when it comes.
func (i *input) cancel() {
	i.cancelled.Store(true)
	i.expire()
}

func (i *input) expire() {
	if i.deadline != nil {
		i.deadline.SetReadDeadline(time.Unix(1, 0)) // an error means that Read returns anyway
	}
}

// timedOut reports whether the stream ended because the client was silent.
func (i *input) timedOut() bool { return os.IsTimeout(i.err) }
