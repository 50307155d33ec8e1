package mime

// Specifier says what of a part a section means (RFC 9051 section 6.4.5.1).
type Specifier uint8

// The specifiers. Everything is the part itself: BODY[] or BODY[1.2].
const (
	Everything      Specifier = iota
	Header                    // HEADER
	HeaderFields              // HEADER.FIELDS
	HeaderFieldsNot           // HEADER.FIELDS.NOT
	Text                      // TEXT
	MIME                      // MIME
)

// Section is what stands in the brackets of BODY[...].
type Section struct {
	Part      []int // part numbers, from 1; none is the message itself
	Specifier Specifier
	Fields    []string // of HEADER.FIELDS and HEADER.FIELDS.NOT
}

// Locate returns where a section is in the message. Of HEADER.FIELDS and
// HEADER.FIELDS.NOT it is the header that [FilterHeader] is to filter. ok is
// false if the message has no such section.
func (s *Structure) Locate(sec Section) (r Range, ok bool) {
	if len(sec.Part) == 0 {
		return s.locateMessage(s.Root(), sec.Specifier)
	}
	p, ok := s.Find(sec.Part)
	if !ok {
		return Range{}, false
	}
	switch sec.Specifier {
	case Everything:
		return p.Body(), true
	case MIME:
		return p.Header(), true
	}
	if !p.IsMessage() {
		return Range{}, false
	}
	return s.locateMessage(Part{s, p.i + 1}, sec.Specifier)
}

// locateMessage resolves the specifier for a whole message, embedded or not.
func (s *Structure) locateMessage(m Part, spec Specifier) (Range, bool) {
	switch spec {
	case Everything:
		return Range{m.Header().Offset, m.Header().Length + m.Body().Length}, true
	case Header, HeaderFields, HeaderFieldsNot:
		return m.Header(), true
	case Text:
		return m.Body(), true
	}
	return Range{}, false
}

// Find returns the part with the given numbers (RFC 9051 section 6.4.5.1): part
// 1 of a message that is no multipart is the message's own body.
func (s *Structure) Find(path []int) (Part, bool) {
	p, ok := s.Root(), true
	for i, n := range path {
		// A number counts the parts of a multipart, or of the message here.
		if i > 0 && !p.IsMultipart() {
			if !p.IsMessage() {
				return Part{}, false
			}
			p = Part{s, p.i + 1}
		}
		if !p.IsMultipart() && n == 1 {
			continue
		}
		if p, ok = p.Child(n); !ok || !p.inMultipart() {
			return Part{}, false
		}
	}
	return p, true
}

// inMultipart reports whether the part is one of a multipart.
func (p Part) inMultipart() bool {
	parent := p.node().parent
	return parent >= 0 && p.s.parts[parent].kind == multipart
}
