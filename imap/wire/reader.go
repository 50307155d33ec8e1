package wire

import (
	"bytes"
	"io"
)

// Limits bounds what one command may cost.
type Limits struct {
	Line     int   // bytes of a command's lines together, without literals
	Literal  int64 // the largest ordinary literal, which is held in memory
	Literals int   // number of literals in a command, streamed ones included
	Drain    int64 // bytes of a command's unwanted literals, or of a line up to maxLineDrain, that are skipped
}

// The limits for clients that are not known yet, and for those that are.
var (
	BeforeLogin = Limits{Line: 8 << 10, Literal: 4 << 10, Literals: 4, Drain: 64 << 10}
	AfterLogin  = Limits{Line: 64 << 10, Literal: 64 << 10, Literals: 100, Drain: 256 << 20}
)

const (
	initialBuffer = 1 << 10  // most commands are short and most sessions idle
	keptBuffer    = 16 << 10 // a larger buffer is given back when it is empty
	maxEmptyReads = 100      // of a source that returns neither bytes nor an error
	maxLineDrain  = 16 << 20 // no program sends such a line by mistake
	maxTag        = 1 << 10  // looked at for the tag of a line that is too long
	markerWindow  = 32       // looked at for the literal marker of such a line
)

// Reader cuts a client's stream into commands. It is used by one goroutine at a
// time.
//
// Invariants: start <= pos <= end <= next <= filled where a line is held, and
// base is the stream offset of buf[0].
type Reader struct {
	src      io.Reader
	limits   Limits
	utf8     bool
	ask      func() error // sends the continuation request
	asked    int          // literals of the first command that were asked for by somebody else
	buf      []byte
	filled   int    // buf[:filled] has been read from src
	pos      int    // parsing position in the current line
	end      int    // end of the current line without its line end
	next     int    // beginning of what follows the current line
	base     uint64 // stream offset of buf[0]
	consumed uint64
	err      error // fatal; returned for ever
	command  Command
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader, l Limits) *Reader {
	return &Reader{src: r, limits: l}
}

// Reset makes the Reader read from another source, forgetting what was buffered
// and every setting but the limits. Offsets count from zero again.
func (r *Reader) Reset(src io.Reader) {
	*r = Reader{src: src, limits: r.limits, buf: r.buf}
}

// SetLimits changes the limits from the next command on.
func (r *Reader) SetLimits(l Limits) { r.limits = l }

// SetContinue sets what is called before a synchronising literal is read. The
// function sends "+ OK" and flushes. Its error is fatal. Without a function,
// literals are read without asking.
func (r *Reader) SetContinue(f func() error) { r.ask = f }

// SetAsked says that the client was asked to continue n times in the first command
// already, by who read it before: it is not asked again, and what it sends of
// literals that are not wanted after all is skipped.
func (r *Reader) SetAsked(n int) { r.asked = n }

// TakeAsked reports whether the client was asked once more than has been taken
// account of.
func (r *Reader) TakeAsked() bool {
	if r.asked == 0 {
		return false
	}
	r.asked--
	return true
}

// SetUTF8 says whether mailbox names are UTF-8 (after ENABLE UTF8=ACCEPT or
// IMAP4rev2) instead of modified UTF-7.
func (r *Reader) SetUTF8(on bool) { r.utf8 = on }

// Consumed returns how many bytes of the stream are done with: everything up to
// the end of the last finished command or raw line.
func (r *Reader) Consumed() uint64 { return r.consumed }

// Position returns how many bytes of the stream the current line and what was before
// it have: where a literal that is asked for begins.
func (r *Reader) Position() uint64 { return r.base + uint64(r.next) }

// Buffered returns how many bytes have been read from the source that do not
// belong to the current command's lines: when it is more than 0, pipelined input waits.
func (r *Reader) Buffered() int { return r.filled - r.next }

// Unread returns the bytes that Buffered counts, for whoever reads the source
// next. They are valid until the next call of a method.
func (r *Reader) Unread() []byte { return r.buf[r.next:r.filled] }

// Next finishes the current command, if there is one, and reads the tag and the
// name of the next. The Command is valid until the next call of Next or ReadLine.
//
// It returns io.EOF at the clean end of the stream, and a [*SyntaxError] for a
// line that is no command or is too long; the line has then been skipped.
// Other errors are fatal.
func (r *Reader) Next() (*Command, error) {
	c := &r.command
	if err := c.Finish(); err != nil {
		return nil, err
	}
	r.shrink()
	*c = Command{reader: r, open: true, lineLeft: r.limits.Line}
	err := c.begin()
	if err == nil {
		return c, nil
	}
	if fatal := c.Finish(); fatal != nil {
		return nil, fatal
	}
	return nil, err
}

// ReadLine reads one line outside any command: a SASL response, or the DONE of
// IDLE. A current command is finished first. The line is returned without its
// end and is valid until the next call of a method. A line of more than max
// bytes is skipped and is a [*SyntaxError], as is one with a NUL.
func (r *Reader) ReadLine(max int) ([]byte, error) {
	if err := r.command.Finish(); err != nil {
		return nil, err
	}
	r.shrink()
	err := r.readLine(max)
	if r.err != nil {
		return nil, r.err
	}
	line := r.buf[r.pos:r.end]
	r.pos, r.end = r.next, r.next
	r.consumed = r.base + uint64(r.next)
	if e, ok := err.(*SyntaxError); ok {
		e.Tag = ""
		return nil, e
	}
	return line, nil
}

// readLine makes the bytes up to the next LF the current line. The bytes of the
// previous line are gone with that.
//
// A line of more than max bytes is skipped but for what parseMarker needs of
// its end, and is a SyntaxError, with the tag if the command has none yet.
func (r *Reader) readLine(max int) error {
	if r.err != nil {
		return r.err
	}
	start, seen := r.next, 0
	for {
		if i := bytes.IndexByte(r.buf[start+seen:r.filled], '\n'); i >= 0 {
			r.setLine(start, start+seen+i)
			break
		}
		seen = r.filled - start
		if seen > max+len("\r") {
			return r.skipLine(start)
		}
		var err error
		if start, err = r.fill(start); err != nil {
			return r.failInside(err, seen > 0)
		}
	}
	if r.end-r.pos > max {
		return r.skipLine(start)
	}
	if bytes.IndexByte(r.buf[r.pos:r.end], 0) >= 0 {
		return &SyntaxError{Tag: lineTag(r.buf[r.pos:r.end]), Message: "NUL is not allowed"}
	}
	return nil
}

// setLine makes the bytes from start to the LF at index lf the current line.
func (r *Reader) setLine(start, lf int) {
	r.pos, r.end, r.next = start, lf, lf+1
	if lf > start && r.buf[lf-1] == '\r' {
		r.end--
	}
}

// skipLine reads to the end of a line that is too long, keeping only its tail.
func (r *Reader) skipLine(start int) error {
	tag := lineTag(r.buf[start:r.filled])
	for skipped := 0; ; {
		line := r.buf[start:r.filled]
		lf := bytes.IndexByte(line, '\n')
		if lf >= 0 {
			line = line[:lf]
		}
		if int64(skipped+len(line)) > min(r.limits.Drain, maxLineDrain) {
			return r.fail(&ProtocolError{Message: "Command line is too long"})
		}
		if lf >= 0 {
			r.setLine(start, start+lf)
			return r.tooLong(tag)
		}
		tail := max(0, len(line)-markerWindow)
		skipped += tail
		var err error
		if start, err = r.fill(start + tail); err != nil {
			return r.failInside(err, true)
		}
	}
}

func (r *Reader) tooLong(tag string) error {
	return &SyntaxError{Tag: tag, Message: "Command line is too long", Limit: true}
}

// fill reads more bytes, keeping those from start on, and returns where they are now.
func (r *Reader) fill(start int) (int, error) {
	if r.filled == len(r.buf) {
		start = r.makeRoom(start)
	}
	for range maxEmptyReads {
		n, err := r.src.Read(r.buf[r.filled:])
		if n > 0 {
			r.filled += n
			return start, nil
		}
		if err != nil {
			return start, err
		}
	}
	return start, io.ErrNoProgress
}

// makeRoom moves what is needed to the front of the buffer, and doubles the
// buffer when that is more than half of it.
func (r *Reader) makeRoom(start int) int {
	to := r.buf
	if kept := r.filled - start; kept >= len(r.buf)/2 {
		to = make([]byte, max(initialBuffer, 2*len(r.buf)))
	}
	r.filled = copy(to, r.buf[start:r.filled])
	r.buf = to
	r.base += uint64(start)
	r.pos, r.end, r.next = 0, 0, 0
	return 0
}

// shrink starts from the front of the buffer where it is empty, and gives a large one back.
func (r *Reader) shrink() {
	if r.next != r.filled {
		return
	}
	r.base += uint64(r.next)
	r.pos, r.end, r.next, r.filled = 0, 0, 0, 0
	if len(r.buf) > keptBuffer {
		r.buf = nil
	}
}

// fail makes an error permanent.
func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// failInside does so for an error of the source. The end of the stream inside
// something is not a clean end.
func (r *Reader) failInside(err error, inside bool) error {
	if err == io.EOF && inside {
		err = io.ErrUnexpectedEOF
	}
	return r.fail(err)
}

// readFull reads literal bytes that are in the stream after the current line.
func (r *Reader) readFull(p []byte) error {
	for len(p) > 0 {
		n, err := r.readSome(p)
		if err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// readSome reads at least one byte after the current line. Large pieces do not
// go through the buffer; small ones do, because more is likely to follow.
func (r *Reader) readSome(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	if r.next == r.filled && len(p) < initialBuffer {
		start, err := r.fill(r.next)
		if err != nil {
			return 0, r.failInside(err, true)
		}
		r.next = start
	}
	if r.next < r.filled {
		n := copy(p, r.buf[r.next:r.filled])
		r.next += n
		r.pos, r.end = r.next, r.next
		return n, nil
	}
	for range maxEmptyReads {
		n, err := r.src.Read(p)
		if n > 0 {
			r.base += uint64(n)
			return n, nil
		}
		if err != nil {
			return 0, r.failInside(err, true)
		}
	}
	return 0, r.fail(io.ErrNoProgress)
}

// discard skips n bytes after the current line.
func (r *Reader) discard(n int64) error {
	if n > keptBuffer && r.next == r.filled && len(r.buf) < keptBuffer {
		r.base += uint64(r.next)
		r.buf, r.next, r.filled = make([]byte, keptBuffer), 0, 0
	}
	for n > 0 {
		if r.err != nil {
			return r.err
		}
		have := min(n, int64(r.filled-r.next))
		r.next += int(have)
		r.pos, r.end = r.next, r.next
		n -= have
		if n == 0 {
			return nil
		}
		start, err := r.fill(r.next)
		if err != nil {
			return r.failInside(err, true)
		}
		r.pos, r.end, r.next = start, start, start
	}
	return nil
}

// lineTag returns the tag at the beginning of a line, or nothing.
func lineTag(line []byte) string {
	if len(line) > maxTag {
		line = line[:maxTag]
	}
	n := 0
	for n < len(line) && isTagChar(line[n]) {
		n++
	}
	if n == len(line) || line[n] != ' ' {
		return ""
	}
	return string(line[:n])
}
