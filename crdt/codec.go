package crdt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// Encodings begin with a version byte. A newer version than a reader knows is
// ErrVersion, so that the account waits for an upgrade instead of being read wrongly.
// Of an operation the header that follows it is the same in every version.
const (
	opVersion     = 1
	recordVersion = 1
)

var (
	// ErrVersion says that bytes were written by a newer version of this package.
	ErrVersion = errors.New("written by a newer version")
	// ErrMalformed says that bytes are no encoding at all.
	ErrMalformed = errors.New("malformed encoding")
)

// writer appends the encoding's primitives. Numbers are varints; origins, roots
// and times, which would fill one anyway, are of fixed size.
type writer struct {
	b       []byte
	origins VC     // of the operation: tags name origins by their place in it
	own     Origin // of the operation: place 0
	lastN   uint64 // of the tag before, since neighbours are similar
	lastBox MailboxID
}

func (w *writer) byte(x byte)     { w.b = append(w.b, x) }
func (w *writer) uint(x uint64)   { w.b = binary.AppendUvarint(w.b, x) }
func (w *writer) int(x int64)     { w.b = binary.AppendVarint(w.b, x) }
func (w *writer) fixed(x uint64)  { w.b = binary.BigEndian.AppendUint64(w.b, x) }
func (w *writer) time(t Time)     { w.fixed(uint64(t)) }
func (w *writer) root(x Root)     { w.b = append(w.b, x[:]...) }
func (w *writer) string(s string) { w.uint(uint64(len(s))); w.b = append(w.b, s...) }

func (w *writer) bool(x bool) {
	if x {
		w.byte(1)
		return
	}
	w.byte(0)
}

func (w *writer) dot(d Dot) {
	w.fixed(uint64(d.Origin))
	w.uint(d.N)
}

func (w *writer) vector(v VC) {
	w.uint(uint64(len(v)))
	for _, d := range v {
		w.dot(d)
	}
}

func (w *writer) cause(c Cause) {
	w.b = append(w.b, c.Session[:]...)
	w.uint(c.Command)
	w.uint(uint64(c.Index))
	w.uint(uint64(c.Attempt))
}

// reader is the counterpart of writer. The first error sticks; after it every
// method returns zero. It never reads beyond its input, and a count is believed
// only if the rest of the input can hold that many elements.
type reader struct {
	b       []byte
	err     error
	origins VC
	own     Origin
	lastN   uint64
	lastBox MailboxID
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err, r.b = fmt.Errorf("%w: %w", ErrMalformed, err), nil
	}
}

var (
	errShort    = errors.New("input ends early")
	errNumber   = errors.New("number out of range")
	errTrailing = errors.New("bytes after the end")
)

// finish returns the error, also if bytes are left.
func (r *reader) finish() error {
	if r.err == nil && len(r.b) > 0 {
		r.fail(errTrailing)
	}
	return r.err
}

// version checks the leading byte of an encoding.
func (r *reader) version(known byte) {
	v := r.byte()
	switch {
	case r.err != nil:
	case v > known:
		r.err, r.b = fmt.Errorf("%w: version %d, this is %d", ErrVersion, v, known), nil
	case v == 0:
		r.fail(errors.New("version 0"))
	}
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.fail(errShort)
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *reader) uint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		x := uint64(r.b[0])
		r.b = r.b[1:]
		return x
	}
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail(errNumber)
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) uint32() uint32 {
	x := r.uint()
	if x > math.MaxUint32 {
		r.fail(errNumber)
		return 0
	}
	return uint32(x)
}

// uid reads a UID: as small as the number of IMAP in era 0.
func (r *reader) uid() UID {
	x := UID(r.uint())
	if x > maxUID {
		r.fail(errNumber)
		return 0
	}
	return x
}

func (r *reader) int() int64 {
	x, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail(errNumber)
		return 0
	}
	r.b = r.b[n:]
	return x
}

func (r *reader) int16() int16 {
	x := r.int()
	if x < math.MinInt16 || x > math.MaxInt16 {
		r.fail(errNumber)
		return 0
	}
	return int16(x)
}

func (r *reader) fixed() uint64 {
	if len(r.b) < 8 {
		r.fail(errShort)
		return 0
	}
	x := binary.BigEndian.Uint64(r.b)
	r.b = r.b[8:]
	return x
}

func (r *reader) time() Time { return Time(r.fixed()) }

// bytes returns the next n bytes, shared with the input, nil if there are fewer.
func (r *reader) bytes(n int) []byte {
	if n > len(r.b) {
		r.fail(errShort)
		return nil
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

func (r *reader) root() (x Root) {
	copy(x[:], r.bytes(len(x)))
	return x
}

func (r *reader) string() string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.fail(errShort)
		return ""
	}
	return string(r.bytes(int(n)))
}

func (r *reader) bool() bool {
	x := r.byte()
	if x > 1 {
		r.fail(errNumber)
	}
	return x == 1
}

// count reads how many elements follow, each of which takes at least size bytes.
func (r *reader) count(size int) int {
	n := r.uint()
	if n > uint64(len(r.b)/size) {
		r.fail(errShort)
		return 0
	}
	return int(n)
}

func (r *reader) dot() Dot { return Dot{Origin(r.fixed()), r.uint()} }

func (r *reader) vector() VC {
	n := r.count(9)
	if n == 0 {
		return nil
	}
	v := make(VC, n)
	for i := range v {
		v[i] = r.dot()
		if r.err == nil && (v[i].N == 0 || i > 0 && v[i].Origin <= v[i-1].Origin) {
			r.fail(errVectorOrder)
		}
	}
	return v
}

func (r *reader) cause() (c Cause) {
	copy(c.Session[:], r.bytes(len(c.Session)))
	c.Command, c.Index, c.Attempt = r.uint(), r.uint32(), r.uint32()
	return c
}
