package mime

import "iter"

// Limits of the parser. What lies beyond them is still part of the message and
// of the part around it; it is only not taken apart.
const (
	// MaxDepth is how many levels of parts there may be; the message is the first.
	MaxDepth = 100
	// MaxParts is the number of parts of one message.
	MaxParts = 10000
	// MaxField is how many bytes of one header field are kept, unfolded.
	MaxField = 64 << 10
	// MaxText is how many bytes of all header fields of a message are kept.
	MaxText = 1 << 20
	// maxBoundary is how many bytes of a multipart boundary count. RFC 2046
	// section 5.1.1 allows 70.
	maxBoundary = 80
)

// Range is a run of bytes of the message.
type Range struct {
	Offset, Length int64
}

// End is the offset of the first byte after the range.
func (r Range) End() int64 { return r.Offset + r.Length }

// kind says what a part's body consists of.
type kind uint8

const (
	leaf      kind = iota // bytes
	multipart             // parts between boundaries, none to many
	message               // exactly one part: the embedded message
	tooDeep               // a multipart or message beyond a limit, left whole
	kinds
)

// part is a node of the tree. Parts lie in a slice in the order of their
// headers (pre-order), so that the descendants of a part follow it.
type part struct {
	header   Range // with the empty line, if there is one
	bodyLen  int64 // the body starts where the header ends
	lines    int64 // line feeds in the body
	children int32 // direct ones
	after    int32 // index of the first part that is no descendant
	parent   int32 // -1: the message
	field0   int32 // first of the fields
	fields   int32 // number of fields
	kind     kind
}

func (p *part) body() Range { return Range{p.header.End(), p.bodyLen} }
func (p *part) end() int64  { return p.header.End() + p.bodyLen }

// field is a header field that is kept: its unfolded value is a run of text.
type field struct {
	off, len int32
	name     FieldName
	cut      bool // the value goes on in the message
}

// Structure is what is known of a message: where its parts are, and those
// header fields that FETCH ENVELOPE, BODY and BODYSTRUCTURE and most searches
// and sortings ask for, as they stand in the message. It never changes, so any
// number of goroutines may use it.
type Structure struct {
	size   int64
	parts  []part // never empty; the first one is the message itself
	fields []field
	text   []byte
}

// Size is the length of the message in bytes (RFC822.SIZE).
func (s *Structure) Size() int64 { return s.size }

// Root returns the message itself as a part.
func (s *Structure) Root() Part { return Part{s, 0} }

// Len is the number of parts, the message itself and embedded messages
// included.
func (s *Structure) Len() int { return len(s.parts) }

// At returns the i-th part in the order of the message; 0 is the message itself.
func (s *Structure) At(i int) Part { return Part{s, int32(i)} }

// Part is a node of a [Structure]: the message, a part of a multipart, or the
// message in a message/rfc822 part. The zero Part is not usable.
type Part struct {
	s *Structure
	i int32
}

func (p Part) node() *part { return &p.s.parts[p.i] }

// Header is where the part's header is, with the empty line that ends it.
func (p Part) Header() Range { return p.node().header }

// Body is where the part's body is, without the line break before a boundary.
func (p Part) Body() Range { return p.node().body() }

// Lines is the number of line feeds in the body.
func (p Part) Lines() int64 { return p.node().lines }

// IsMultipart reports whether the body consists of parts.
func (p Part) IsMultipart() bool { return p.node().kind == multipart }

// IsMessage reports whether the body is a message of its own, which then is
// the only child.
func (p Part) IsMessage() bool { return p.node().kind == message }

// HasEnvelope reports whether the part is a message: the whole one, or the
// child of a message/rfc822 part.
func (p Part) HasEnvelope() bool {
	n := p.node()
	return n.parent < 0 || p.s.parts[n.parent].kind == message
}

// Children is the number of direct children.
func (p Part) Children() int { return int(p.node().children) }

// Child returns the n-th child, counted from 1. ok is false if there is none.
func (p Part) Child(n int) (child Part, ok bool) {
	if n < 1 || n > p.Children() {
		return Part{}, false
	}
	i := p.i + 1
	for ; n > 1; n-- {
		i = p.s.parts[i].after
	}
	return Part{p.s, i}, true
}

// Raws yields the unfolded value of every field of a name, in the order of the
// header. Of Content- fields only the first one is kept.
func (p Part) Raws(name FieldName) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, f := range p.fields() {
			if f.name == name && !yield(p.s.value(f)) {
				return
			}
		}
	}
}

func (p Part) fields() []field {
	n := p.node()
	return p.s.fields[n.field0 : n.field0+n.fields]
}

func (s *Structure) value(f field) []byte { return s.text[f.off : f.off+f.len : f.off+f.len] }

// Raw returns the unfolded value of a header field, not decoded, and whether
// the part has it. Of several the last one counts, of address lists the first.
// Envelope fields are kept for messages only. A value longer than [MaxField] is
// cut.
func (p Part) Raw(name FieldName) (value []byte, ok bool) {
	for _, f := range p.fields() {
		if f.name != name {
			continue
		}
		value, ok = p.s.value(f), true
		if name.isAddress() {
			break
		}
	}
	return value, ok
}

// Type returns the media type of the part in lower case: what Content-Type
// says, or the default of RFC 2045 section 5.2 and RFC 2046 section 5.1.5.
func (p Part) Type() (typ, subtype string) {
	switch p.node().kind {
	case message:
		return "message", "rfc822"
	case tooDeep:
		return "application", "octet-stream"
	}
	ct := p.contentType()
	if len(ct.typ) == 0 {
		return "text", "plain"
	}
	return lower(ct.typ), lower(ct.subtype)
}

// Param returns a parameter of Content-Type, decoded, or "".
func (p Part) Param(name string) string {
	return decodedParam(p.contentType().params, name)
}

// Encoding returns Content-Transfer-Encoding in lower case; "7bit" if there is none.
func (p Part) Encoding() string {
	raw, _ := p.Raw(FieldEncoding)
	if enc := parseEncoding(raw); enc != nil {
		return lower(enc)
	}
	return "7bit"
}

func (p Part) contentType() contentType {
	raw, _ := p.Raw(FieldType)
	return parseContentType(raw)
}

// lower returns b with ASCII letters in lower case.
func lower(b []byte) string {
	out := make([]byte, len(b))
	for i, c := range b {
		out[i] = lowerByte(c)
	}
	return string(out)
}

func lowerByte(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}
