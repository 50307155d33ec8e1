package mime

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
)

// The stored form of a Structure. It lies beside the message for as long as
// that exists and goes to every replica, so a change of its meaning needs a new
// version. Numbers are varints (encoding/binary) unless a byte is said.
//
//	byte    version
//	        size of the message
//	        number of parts
//	each part, in the order of the headers:
//	byte    kind
//	        number of direct children
//	        where its header starts, from the start of the header before it
//	        length of the header, length of the body, line feeds in the body
//	        number of fields
//	  byte  name, plus 0x80 if the value is not whole
//	        length of the value
//	the values of all fields, in the same order
const version = 1

// Errors of [Decode].
var (
	// ErrVersion says that the data may be fine, but was written by a newer
	// pluto. The structure can be had from the message itself, with [Parse].
	ErrVersion = errors.New("mime: unknown version of a stored structure")
	// ErrCorrupt says that the data is no stored structure.
	ErrCorrupt = errors.New("mime: corrupt stored structure")
)

// Encode returns the stored form of the structure, which [Decode] reads.
func (s *Structure) Encode() []byte {
	out := make([]byte, 0, 16+12*len(s.parts)+4*len(s.fields)+len(s.text))
	out = append(out, version)
	out = appendUint(out, s.size)
	out = appendUint(out, int64(len(s.parts)))
	var before int64
	for i := range s.parts {
		p := &s.parts[i]
		out = append(out, byte(p.kind))
		out = appendUint(out, int64(p.children))
		out = appendUint(out, p.header.Offset-before)
		before = p.header.Offset
		out = appendUint(out, p.header.Length)
		out = appendUint(out, p.bodyLen)
		out = appendUint(out, p.lines)
		out = appendUint(out, int64(p.fields))
		for _, f := range s.fields[p.field0 : p.field0+p.fields] {
			name := byte(f.name)
			if f.cut {
				name |= cutMark
			}
			out = append(out, name)
			out = appendUint(out, int64(f.len))
		}
	}
	for _, f := range s.fields {
		out = append(out, s.value(f)...)
	}
	return out
}

func appendUint(dst []byte, n int64) []byte { return binary.AppendUvarint(dst, uint64(n)) }

// Decode reads what [Structure.Encode] wrote. Any other bytes are an error,
// [ErrVersion] or [ErrCorrupt]; a structure that is returned is sound, with
// every part inside the one around it. The structure keeps data, which must
// not change from then on.
func Decode(data []byte) (*Structure, error) {
	if len(data) == 0 {
		return nil, fmt.Errorf("%w: empty", ErrCorrupt)
	}
	if data[0] != version {
		return nil, fmt.Errorf("%w: %d", ErrVersion, data[0])
	}
	d := decoder{in: data[1:]}
	s := d.structure()
	if d.err != nil {
		return nil, d.err
	}
	return s, nil
}

// decoder reads the stored form. After an error, the first of which it keeps,
// it reads zeros.
type decoder struct {
	in   []byte
	text int64 // length of the values of the fields read so far
	err  error
}

func (d *decoder) fail(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%w: %s", ErrCorrupt, what)
		d.in = nil
	}
}

func (d *decoder) byte() byte {
	if len(d.in) == 0 {
		d.fail("it ends early")
		return 0
	}
	b := d.in[0]
	d.in = d.in[1:]
	return b
}

// uint reads a number that is at most limit.
func (d *decoder) uint(limit int64) int64 {
	n, size := binary.Uvarint(d.in)
	if size <= 0 || n > uint64(limit) {
		d.fail("a number is out of range")
		return 0
	}
	d.in = d.in[size:]
	return int64(n)
}

func (d *decoder) structure() *Structure {
	s := &Structure{size: d.uint(math.MaxInt64 / 2)}
	// A part takes at least minPart bytes, so that what is allocated is
	// bounded by what there is.
	const minPart = 7
	n := d.uint(min(MaxParts, int64(len(d.in)/minPart)))
	if n == 0 {
		d.fail("no parts")
		return nil
	}
	s.parts = make([]part, 0, n)
	s.fields = make([]field, 0, min(8*n, int64(len(d.in))/2))
	for range n {
		d.part(s)
		if d.err != nil {
			return nil
		}
	}
	if d.text != int64(len(d.in)) {
		d.fail("the text has another length")
		return nil
	}
	s.text = d.in
	d.link(s)
	return s
}

func (d *decoder) part(s *Structure) {
	p := part{kind: kind(d.byte()), field0: int32(len(s.fields))}
	if p.kind >= kinds {
		d.fail("unknown kind")
	}
	p.children = int32(d.uint(MaxParts))
	var before int64
	if n := len(s.parts); n > 0 {
		before = s.parts[n-1].header.Offset
	}
	p.header.Offset = before + d.uint(s.size-before)
	p.header.Length = d.uint(s.size - p.header.Offset)
	p.bodyLen = d.uint(s.size - p.header.End())
	p.lines = d.uint(p.bodyLen)
	p.fields = int32(d.uint(maxFields))
	for range p.fields {
		name := d.byte()
		f := field{name: FieldName(name &^ cutMark), cut: name&cutMark != 0}
		f.off, f.len = int32(d.text), int32(d.uint(MaxField))
		if d.text += int64(f.len); d.text > MaxText || !f.name.valid() {
			d.fail("unknown field, or too much text")
			return
		}
		s.fields = append(s.fields, f)
	}
	s.parts = append(s.parts, p)
}

// link makes the tree of the parts and checks it.
func (d *decoder) link(s *Structure) {
	type open struct{ index, left int32 }
	stack := make([]open, 0, 8)
	for i := range s.parts {
		p := &s.parts[i]
		p.parent = -1
		if i > 0 {
			for len(stack) > 0 && stack[len(stack)-1].left == 0 {
				done := &s.parts[stack[len(stack)-1].index]
				done.after = int32(i)
				stack = stack[:len(stack)-1]
				if done.end() > p.header.Offset {
					d.fail("parts overlap")
					return
				}
			}
			if len(stack) == 0 {
				d.fail("a part without a parent")
				return
			}
			top := &stack[len(stack)-1]
			top.left--
			p.parent = top.index
		}
		if len(stack) >= MaxDepth || !s.fits(i) {
			d.fail("a part that does not fit")
			return
		}
		stack = append(stack, open{int32(i), p.children})
	}
	for _, o := range stack {
		if o.left > 0 {
			d.fail("a part is missing")
			return
		}
		s.parts[o.index].after = int32(len(s.parts))
	}
}

// fits reports whether the i-th part is inside the one around it.
func (s *Structure) fits(i int) bool {
	p := &s.parts[i]
	switch p.kind {
	case message:
		if p.children != 1 {
			return false
		}
	case leaf, tooDeep:
		if p.children != 0 {
			return false
		}
	}
	if i == 0 {
		return p.header.Offset == 0 && p.end() == s.size
	}
	parent := &s.parts[p.parent]
	if parent.kind == message && p.header.Offset != parent.header.End() {
		return false
	}
	return p.header.Offset >= parent.header.End() && p.end() <= parent.end()
}
