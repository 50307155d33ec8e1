package distributor

import (
	"bytes"
	"hash/maphash"
	"maps"

	"github.com/go-pluto/pluto/imap/wire"
)

// A long answer is passed on in pieces. When its replica is lost in the middle, the
// command is executed again elsewhere, and what the client has of the answer must
// not come twice: of an answer that is not finished, delivered remembers each
// response, and repeat takes them out of the next attempt at it.

const (
	keyBytes     = 4 << 10  // of a response that make it known again
	maxDelivered = 16 << 10 // responses of an answer that are remembered; others come twice, which clients understand
	maxHeldBack  = 64 << 10 // of a line that is passed on only as a whole
)

// cutter cuts a server's stream into responses, with the literals in them.
type cutter struct {
	literal int64
	line    []byte // the end of the present line
	inside  bool   // behind a literal of the present response
}

// next returns how many bytes of p belong to the present response, and whether it
// ends with them. p is not empty.
func (c *cutter) next(p []byte) (n int, end bool) {
	if c.literal > 0 {
		n = int(min(c.literal, int64(len(p))))
		c.literal -= int64(n)
		return n, false
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		c.keep(p)
		return len(p), false
	}
	c.keep(p[:i+1])
	size, ok := wire.LiteralAt(c.line)
	c.line = c.line[:0]
	c.literal, c.inside = size, ok
	return i + 1, !ok
}

func (c *cutter) keep(p []byte) {
	c.line = append(c.line, p[max(0, len(p)-lineEnd):]...)
	if len(c.line) > 2*lineEnd {
		c.line = c.line[:copy(c.line, c.line[len(c.line)-lineEnd:])]
	}
}

var keySeed = maphash.MakeSeed()

// keyer makes of a response, or the beginning of a large one, a key.
type keyer struct {
	hash maphash.Hash
	n    int
}

func (k *keyer) reset() {
	k.hash.SetSeed(keySeed)
	k.n = 0
}

func (k *keyer) write(p []byte) {
	p = p[:min(len(p), keyBytes-k.n)]
	k.hash.Write(p)
	k.n += len(p)
}

func (k *keyer) full() bool { return k.n == keyBytes }

// delivered is what the client has of an answer that is not finished.
type delivered struct {
	cutter cutter
	key    keyer
	keys   map[uint64]int // of the responses that it has whole
	held   []byte         // of the next one, not passed on
	begun  int            // bytes of the next one that it has
	sum    maphash.Hash   // of those
	once   bool           // no other node can send the rest
}

func newDelivered() *delivered {
	d := &delivered{keys: map[uint64]int{}}
	d.key.reset()
	d.sum.SetSeed(keySeed)
	return d
}

// pass takes a piece of the answer and returns, appended to dst, what of it the
// client is to get now: whole responses, and literals as they come.
func (d *delivered) pass(dst, p []byte) []byte {
	for len(p) > 0 {
		n, end := d.cutter.next(p)
		d.key.write(p[:n])
		d.held = append(d.held, p[:n]...)
		p = p[n:]
		switch {
		case end:
			if len(d.keys) < maxDelivered {
				d.keys[d.key.hash.Sum64()]++
			}
			d.key.reset()
			dst = append(dst, d.held...)
			d.held, d.begun = d.held[:0], 0
			d.sum.Reset()
		case d.cutter.inside || d.begun > 0 || len(d.held) > maxHeldBack:
			d.sum.Write(d.held)
			d.begun += len(d.held)
			dst = append(dst, d.held...)
			d.held = d.held[:0]
		}
	}
	return dst
}

// cutOff drops what was not passed on of a response that is not finished.
func (d *delivered) cutOff() {
	d.held = d.held[:0]
	if d.begun == 0 {
		d.cutter = cutter{}
		d.key.reset()
	}
}

// torn reports whether the client is in the middle of a response.
func (d *delivered) torn() bool { return d != nil && d.begun > 0 }

// repeat takes what a client has out of the next attempt at an answer.
type repeat struct {
	keys   map[uint64]int // of the responses that the client has
	begun  int            // bytes of another one that it has
	had    uint64         // the hash of those
	first  uint64         // the key of that one
	known  bool           // first is of keyBytes
	cutter cutter
	key    keyer
	buf    []byte // of the present response: it is not decided yet
	choice choice
	sum    maphash.Hash // while resuming
	at     int          // bytes of it so far
	late   []byte       // what comes when the response that was begun is whole
	failed bool         // the response that was begun does not come again
}

// choice is what becomes of the present response.
type choice uint8

const (
	undecided choice = iota
	passed
	dropped
	resumed // the client has its beginning
)

// newRepeat begins anew with an answer of which d has been delivered. What passes
// repeat is to be passed to d again.
func newRepeat(d *delivered) *repeat {
	d.cutOff()
	r := &repeat{
		keys: maps.Clone(d.keys), begun: d.begun, had: d.sum.Sum64(),
		first: d.key.hash.Sum64(), known: d.key.full(),
	}
	r.key.reset()
	r.sum.SetSeed(keySeed)
	return r
}

// pass returns, appended to dst, what of the next piece is new to the client.
// failed is set when the client cannot be told the rest of what it has begun.
func (r *repeat) pass(dst, p []byte) []byte {
	for len(p) > 0 && !r.failed {
		n, end := r.cutter.next(p)
		piece := p[:n]
		p = p[n:]
		if r.choice == undecided {
			r.key.write(piece)
			r.buf = append(r.buf, piece...)
			if !end && !r.key.full() {
				continue
			}
			piece = r.decide(end)
		}
		dst = r.take(dst, piece)
		if end {
			dst = r.ended(dst)
		}
	}
	return dst
}

// decide says what becomes of a response of which enough is known, and returns that.
func (r *repeat) decide(end bool) []byte {
	key := r.key.hash.Sum64()
	switch {
	case r.keys[key] > 0:
		r.keys[key]--
		r.choice = dropped
	case r.begun > 0 && r.matches():
		r.choice = resumed
	default:
		r.choice = passed
	}
	buf := r.buf
	r.buf = nil
	return buf
}

// matches reports whether the response may be the one that the client has the
// beginning of, as far as it is known.
func (r *repeat) matches() bool {
	n := r.begun
	if n > len(r.buf) {
		return r.known && r.key.full() && r.key.hash.Sum64() == r.first
	}
	var sum maphash.Hash
	sum.SetSeed(keySeed)
	sum.Write(r.buf[:n])
	return sum.Sum64() == r.had
}

// take deals with a piece of a response that is decided.
func (r *repeat) take(dst, piece []byte) []byte {
	switch r.choice {
	case passed:
		if r.begun == 0 {
			return append(dst, piece...)
		}
		r.late = append(r.late, piece...)
		r.failed = len(r.late) > maxHeldBack
	case resumed:
		return r.resume(dst, piece)
	}
	return dst
}

// resume passes on what the client does not have of the response.
func (r *repeat) resume(dst, piece []byte) []byte {
	if left := r.begun - r.at; left > 0 {
		n := min(left, len(piece))
		r.sum.Write(piece[:n])
		r.at += n
		piece = piece[n:]
		if n == left && r.sum.Sum64() != r.had {
			r.failed = true
			return dst
		}
	}
	return append(dst, piece...)
}

// ended begins the next response.
func (r *repeat) ended(dst []byte) []byte {
	if r.choice == resumed {
		r.failed = r.failed || r.at < r.begun
		r.begun = 0
		dst = append(dst, r.late...)
		r.late = nil
	}
	r.choice = undecided
	r.key.reset()
	return dst
}

// finish is called at the end of the answer.
func (r *repeat) finish() {
	r.failed = r.failed || r.begun > 0
}
