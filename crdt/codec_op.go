package crdt

import (
	"errors"
	"fmt"
	"math"
)

// Header is the part of an operation that replication needs.
type Header struct {
	Dot     Dot
	Deps    VC
	Time    Time
	Account AccountID
}

// Bits of an operation that say what is special about it.
const (
	opCause   = 1 << iota // Cause follows
	opPartial             // Partial
	opMore                // More
	opFailed              // Failed follows

	opKnown = opCause | opPartial | opMore | opFailed
)

func (op *Op) rare() (x byte) {
	if !op.Cause.IsZero() {
		x |= opCause
	}
	if op.Partial {
		x |= opPartial
	}
	if op.More {
		x |= opMore
	}
	if len(op.Failed) > 0 {
		x |= opFailed
	}
	return x
}

// EncodeOp returns the encoding of an operation; see [Op.AppendBinary].
func EncodeOp(op *Op) ([]byte, error) { return op.AppendBinary(nil) }

// AppendBinary appends the encoding of op to dst: a version, the header, the
// kind, the payload. The error is about an operation without payload.
func (op *Op) AppendBinary(dst []byte) ([]byte, error) {
	if IsNil(op.Payload) {
		return dst, errors.New("encode operation: no payload")
	}
	w := writer{b: dst, origins: op.Deps, own: op.Dot.Origin}
	w.byte(opVersion)
	w.dot(op.Dot)
	w.time(op.Time)
	w.uint(uint64(op.Account))
	w.vector(op.Deps)
	w.byte(byte(op.Payload.kind()))
	w.byte(op.rare())
	if !op.Cause.IsZero() {
		w.cause(op.Cause)
	}
	if len(op.Failed) > 0 {
		w.places(op.Failed)
	}
	op.Payload.encode(&w)
	return w.b, nil
}

// DecodeOp reads what [Op.AppendBinary] wrote. For any other bytes it returns
// an error that wraps [ErrVersion] or [ErrMalformed]; it never panics, and the
// memory it takes is bounded by a small multiple of the input's length.
func DecodeOp(b []byte) (*Op, error) {
	r := reader{b: b}
	r.version(opVersion)
	h := r.header()
	op := &Op{Dot: h.Dot, Deps: h.Deps, Time: h.Time, Account: h.Account}
	r.origins, r.own = op.Deps, op.Dot.Origin
	k := kind(r.byte())
	rare := r.byte()
	if rare&^opKnown != 0 {
		r.fail(errNumber)
	}
	if rare&opCause != 0 {
		op.Cause = r.cause()
	}
	op.Partial, op.More = rare&opPartial != 0, rare&opMore != 0
	if rare&opFailed != 0 {
		op.Failed = r.places()
	}
	if r.err != nil {
		return nil, fmt.Errorf("decode operation: %w", r.err)
	}
	if op.Payload = newPayload(k); op.Payload == nil {
		return nil, fmt.Errorf("decode operation %s/%d: %w: kind %d", op.Dot.Origin, op.Dot.N, ErrVersion, k)
	}
	op.Payload.decode(&r)
	if err := r.finish(); err != nil {
		return nil, fmt.Errorf("decode operation %s/%d: %w", op.Dot.Origin, op.Dot.N, err)
	}
	return op, nil
}

// DecodeHeader reads just the header of an encoded operation, also of one whose
// kind this version does not know, or that was written by a newer version: the
// header is the same in all of them, so that such an operation can be logged and
// passed on, and its account be found.
func DecodeHeader(b []byte) (Header, error) {
	r := reader{b: b}
	r.version(math.MaxUint8)
	h := r.header()
	if r.err != nil {
		return Header{}, fmt.Errorf("decode header: %w", r.err)
	}
	return h, nil
}

// AccountOf reads of the header just whose account it is.
func AccountOf(b []byte) (AccountID, error) {
	r := reader{b: b}
	r.version(math.MaxUint8)
	r.dot()
	r.time()
	id := AccountID(r.uint32())
	if r.err != nil {
		return 0, fmt.Errorf("decode header: %w", r.err)
	}
	return id, nil
}

func (r *reader) header() Header {
	h := Header{Dot: r.dot(), Time: r.time(), Account: AccountID(r.uint32())}
	h.Deps = r.vector()
	return h
}

// tag writes a tag with its origin as a place in the operation's header (0 its
// own, then those of Deps, then one that is written out) and its number as the
// difference to the tag before: three bytes for most. Bit 0 of the place is the
// caller's.
func (w *writer) tag(t Tag, bit uint64) {
	place := uint64(len(w.origins)) + 1
	if t.Origin == w.own {
		place = 0
	} else if i, ok := w.origins.find(t.Origin); ok {
		place = uint64(i) + 1
	}
	w.uint(place<<1 | bit)
	if place > uint64(len(w.origins)) {
		w.fixed(uint64(t.Origin))
	}
	w.int(int64(t.N - w.lastN))
	w.lastN = t.N
	w.uint(uint64(t.Index))
}

func (r *reader) tag() (t Tag, bit uint64) {
	place := r.uint()
	place, bit = place>>1, place&1
	switch n := uint64(len(r.origins)); {
	case place == 0:
		t.Origin = r.own
	case place <= n:
		t.Origin = r.origins[place-1].Origin
	case place == n+1:
		t.Origin = Origin(r.fixed())
	default:
		r.fail(errNumber)
	}
	r.lastN += uint64(r.int())
	t.N, t.Index = r.lastN, r.uint32()
	return t, bit
}

// instance writes a tag, and its mailbox if that is not the one before.
func (w *writer) instance(i Instance) {
	if i.Box == w.lastBox {
		w.tag(i.Tag, 0)
		return
	}
	w.lastBox = i.Box
	w.tag(i.Tag, 1)
	w.fixed(uint64(i.Box))
}

func (r *reader) instance() Instance {
	t, other := r.tag()
	if other == 1 {
		r.lastBox = MailboxID(r.fixed())
	}
	return Instance{r.lastBox, t}
}

const (
	minTag    = 3
	minString = 1
	minAdded  = 16 + 6
)

func (w *writer) instances(list []Instance) {
	w.uint(uint64(len(list)))
	for _, i := range list {
		w.instance(i)
	}
}

func (r *reader) instances() []Instance {
	list := elements[Instance](r, minTag)
	for i := range list {
		list[i] = r.instance()
	}
	return list
}

// elements makes room for a list whose count comes next; nil for an empty one.
func elements[T any](r *reader, size int) []T {
	n := r.count(size)
	if n == 0 {
		return nil
	}
	return make([]T, n)
}

func (w *writer) strings(list []string) {
	w.uint(uint64(len(list)))
	for _, s := range list {
		w.string(s)
	}
}

func (r *reader) strings() []string {
	list := elements[string](r, minString)
	for i := range list {
		list[i] = r.flagName()
	}
	return list
}

func (w *writer) flags(list []Flag) {
	w.uint(uint64(len(list)))
	for i := range list {
		w.flag(&list[i])
	}
}

func (w *writer) added(a *Added) {
	w.root(a.Root)
	w.uint(uint64(a.UID))
	w.strings(a.Flags)
	w.uint(a.Size)
	w.int(a.Date)
	w.int(int64(a.Zone))
	w.int(a.Saved)
}

func (r *reader) added() Added {
	return Added{
		Root: r.root(), UID: r.uid(), Flags: r.strings(), Size: r.uint(),
		Date: r.int(), Zone: r.int16(), Saved: r.int(),
	}
}

func (w *writer) places(list []uint32) {
	w.uint(uint64(len(list)))
	for _, n := range list {
		w.uint(uint64(n))
	}
}

func (r *reader) places() []uint32 {
	n := r.count(1)
	if n == 0 {
		r.fail(errNumber) // none is not written
		return nil
	}
	list := make([]uint32, n)
	for i := range list {
		list[i] = r.uint32()
	}
	return list
}
