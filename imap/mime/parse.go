package mime

import (
	"bytes"
	"io"
	"slices"
	"sync"
)

const (
	bufSize = 32 << 10
	// lookahead is what must be in the buffer to recognise a boundary line: the
	// dashes around the boundary and the line break.
	lookahead = 2 + maxBoundary + 2 + 2
)

var newline = []byte{'\n'}

// Parse reads a message to its end and returns its structure. It reads once,
// front to back, in time proportional to the length, and holds a buffer and
// the kept header fields, not the message. Any bytes are a message; an error is
// one of r.
//
// Lines end in LF, with or without CR before it. A line that starts with a
// boundary of one of the multiparts around it ends a part (RFC 2046 section
// 5.1.2), in a header too.
func Parse(r io.Reader) (*Structure, error) {
	p := parsers.Get().(*parser)
	defer p.release()
	p.r = r
	p.run()
	if p.err != nil {
		return nil, p.err
	}
	return p.structure(), nil
}

// parsers saves allocating the buffers for every message.
var parsers = sync.Pool{New: func() any { return &parser{buf: make([]byte, bufSize)} }}

// parser is the state of one Parse.
type parser struct {
	r      io.Reader
	buf    []byte
	lo, hi int   // buf[lo:hi] is read and not consumed
	base   int64 // offset in the message of buf[0]
	lines  int64 // line feeds consumed
	eof    bool
	err    error

	parts  []part
	fields []field
	text   []byte
	sofar  Structure
	cur    int32 // the part that is being read
	depth  int
	bounds []boundary // of the multiparts that cur is in, outermost first

	hit      int  // index in bounds of the boundary that was found
	hitClose bool // it was the closing one
	// afterClose is set at the start of the line after a closing boundary.
	afterClose bool
	end        int64 // offset where the parts that it ends, end
	endLines   int64 // line feeds up to there
}

// boundary is what separates the parts of an open multipart.
type boundary struct {
	text   []byte
	part   int32
	depth  int
	digest bool
}

type state uint8

const (
	inHeader state = iota
	inBody
	atBoundary
	atEnd
)

func (p *parser) run() {
	p.open(-1)
	for st := inHeader; st != atEnd; {
		switch st {
		case inHeader:
			st = p.readHeader()
		case inBody:
			st = p.readBody()
		case atBoundary:
			st = p.passBoundary()
		}
	}
	for i := p.cur; i >= 0; i = p.parts[i].parent {
		p.close(i, p.pos(), p.lines)
	}
}

// structure copies what was found out of the parser's own memory.
func (p *parser) structure() *Structure {
	return &Structure{
		size:   p.pos(),
		parts:  slices.Clone(p.parts),
		fields: slices.Clone(p.fields),
		text:   bytes.Clone(p.text),
	}
}

func (p *parser) release() {
	const keep = 64 << 10
	fresh := parser{buf: p.buf, parts: p.parts[:0], fields: p.fields[:0], text: p.text[:0], bounds: p.bounds[:0]}
	clear(p.bounds)
	if cap(fresh.text) > keep || cap(fresh.parts) > keep/64 || cap(fresh.fields) > keep/16 {
		fresh.parts, fresh.fields, fresh.text = nil, nil, nil
	}
	*p = fresh
	parsers.Put(p)
}

// part is a view of a part read so far, good until the next one.
func (p *parser) part(i int32) Part {
	p.sofar = Structure{parts: p.parts, fields: p.fields, text: p.text}
	return Part{&p.sofar, i}
}

func (p *parser) pos() int64 { return p.base + int64(p.lo) }

// fill sees to it that n bytes can be looked at, or all that are left.
func (p *parser) fill(n int) {
	if p.hi-p.lo >= n || p.eof {
		return
	}
	if p.lo > 0 {
		copy(p.buf, p.buf[p.lo:p.hi])
		p.base += int64(p.lo)
		p.hi -= p.lo
		p.lo = 0
	}
	const maxEmptyReads = 100
	for empty := 0; p.hi < n; {
		m, err := p.r.Read(p.buf[p.hi:])
		p.hi += m
		if err != nil {
			p.eof = true
			if err != io.EOF {
				p.err = err
			}
			return
		}
		if m > 0 {
			empty = 0
		} else if empty++; empty == maxEmptyReads {
			p.eof, p.err = true, io.ErrNoProgress
			return
		}
	}
}

func (p *parser) consume(n int) {
	p.lines += int64(bytes.Count(p.buf[p.lo:p.lo+n], newline))
	p.lo += n
}

// open starts a part at the current position.
func (p *parser) open(parent int32) {
	p.cur = int32(len(p.parts))
	p.parts = append(p.parts, part{
		header: Range{Offset: p.pos()},
		parent: parent,
		field0: int32(len(p.fields)),
	})
	if parent >= 0 {
		p.parts[parent].children++
		p.depth++
	}
}

// startBody ends the header of the current part at the current position.
func (p *parser) startBody() {
	n := &p.parts[p.cur]
	n.header.Length = p.pos() - n.header.Offset
	n.lines = p.lines // until close
}

// close ends a part. The end may be before the end of its header: the line
// break before a boundary belongs to the boundary (RFC 2046 section 5.1.1), even
// if it is all there is of the empty line after a header.
func (p *parser) close(i int32, end, lines int64) {
	n := &p.parts[i]
	n.after = int32(len(p.parts))
	if end < n.header.End() {
		n.header.Length = end - n.header.Offset
		n.lines = 0
		return
	}
	n.bodyLen = end - n.header.End()
	n.lines = lines - n.lines
}

// readHeader reads the header of the current part and decides what its body is.
func (p *parser) readHeader() state {
	for {
		p.fill(lookahead)
		rest := p.buf[p.lo:p.hi]
		switch {
		case len(rest) == 0:
			return p.enter()
		case rest[0] == '\n':
			p.consumeLine(1)
			return p.enter()
		case rest[0] == '\r' && len(rest) > 1 && rest[1] == '\n':
			p.consumeLine(2)
			return p.enter()
		case p.findBoundary():
			return p.enter()
		}
		p.readField()
	}
}

// enter ends the header of the current part here and decides what its body is.
func (p *parser) enter() state {
	p.startBody()
	n := &p.parts[p.cur]
	raw, ok := p.part(p.cur).Raw(FieldType)
	if !ok {
		if p.inDigest() {
			return p.enterMessage(n)
		}
		return inBody
	}
	ct := parseContentType(raw)
	switch {
	case equalFold(ct.typ, "message") && equalFold(ct.subtype, "rfc822"):
		return p.enterMessage(n)
	case equalFold(ct.typ, "multipart"):
		p.enterMultipart(n, &ct)
	}
	return inBody
}

// enterMultipart makes the current part a multipart. Without a boundary it has
// no parts.
func (p *parser) enterMultipart(n *part, ct *contentType) {
	if p.depth+1 >= MaxDepth {
		n.kind = tooDeep
		return
	}
	n.kind = multipart
	text := ct.boundary()
	if text == nil {
		return
	}
	p.bounds = append(p.bounds, boundary{
		text:   bytes.Clone(text[:min(len(text), maxBoundary)]),
		part:   p.cur,
		depth:  p.depth,
		digest: equalFold(ct.subtype, "digest"),
	})
}

func (p *parser) enterMessage(n *part) state {
	if p.depth+1 >= MaxDepth || len(p.parts) >= MaxParts {
		n.kind = tooDeep
		return inBody
	}
	n.kind = message
	p.open(p.cur)
	return inHeader
}

// inDigest reports whether the current part is one of a multipart/digest.
func (p *parser) inDigest() bool {
	if len(p.bounds) == 0 {
		return false
	}
	b := &p.bounds[len(p.bounds)-1]
	return b.digest && b.part == p.parts[p.cur].parent
}

// readBody reads on to the next boundary, or to the end of the message.
func (p *parser) readBody() state {
	if len(p.bounds) == 0 {
		return p.readToEnd()
	}
	p.fill(lookahead)
	if p.findBoundary() {
		return atBoundary
	}
	for {
		i := bytes.Index(p.buf[p.lo:p.hi], []byte("\n--"))
		if i >= 0 {
			p.consumeLine(i + 1)
			p.fill(lookahead)
			if p.findBoundary() {
				return atBoundary
			}
			continue
		}
		if p.eof {
			p.consume(p.hi - p.lo)
			return atEnd
		}
		const keep = len("\r\n-") // may begin a line break and a boundary
		if n := p.hi - p.lo - keep; n > 0 {
			p.consume(n)
		}
		p.fill(lookahead)
	}
}

// consumeLine consumes n bytes of which the last is a line feed, and remembers
// the place before the line break.
func (p *parser) consumeLine(n int) {
	p.consume(n)
	p.afterClose = false
	p.lineBreak()
}

// lineBreak sets end to the place before the line break that was just consumed.
func (p *parser) lineBreak() {
	p.end, p.endLines = p.pos()-1, p.lines-1
	if p.lo > 1 && p.buf[p.lo-2] == '\r' {
		p.end--
	}
}

func (p *parser) readToEnd() state {
	for {
		p.consume(p.hi - p.lo)
		if p.eof {
			return atEnd
		}
		p.fill(1)
	}
}

// findBoundary reports whether a boundary starts here, at the start of a line.
// The longest one that fits is meant, the innermost if there are several.
func (p *parser) findBoundary() bool {
	rest := p.buf[p.lo:p.hi]
	if len(p.bounds) == 0 || len(rest) < 2 || rest[0] != '-' || rest[1] != '-' {
		return false
	}
	line := rest[2:min(len(rest), lookahead)]
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	best := -1
	for i := len(p.bounds) - 1; i >= 0; i-- {
		text := p.bounds[i].text
		if bytes.HasPrefix(line, text) && (best < 0 || len(text) > len(p.bounds[best].text)) {
			best = i
			if len(text) == len(line) {
				break
			}
		}
	}
	if best < 0 {
		return false
	}
	p.hit = best
	p.hitClose = bytes.HasPrefix(rest[2+len(p.bounds[best].text):], []byte("--"))
	return true
}

// passBoundary ends the parts that the boundary found ends, and starts the next one.
func (p *parser) passBoundary() state {
	b := p.bounds[p.hit]
	end, lines := p.partEnd()
	for p.cur != b.part {
		p.close(p.cur, end, lines)
		p.cur = p.parts[p.cur].parent
	}
	p.depth = b.depth
	p.bounds = p.bounds[:p.hit+1]
	if p.hitClose {
		p.bounds = p.bounds[:p.hit]
	}
	if !p.skipLine() {
		return atEnd
	}
	if p.hitClose || len(p.parts) >= MaxParts {
		p.afterClose = true
		return inBody
	}
	p.open(p.cur)
	return inHeader
}

// partEnd returns where the current part ends, now that a boundary was found,
// and the line feeds up to there: before the last line break. But a line break
// stays that ends the line of a closing boundary, or the header of an embedded
// message without a body.
func (p *parser) partEnd() (end, lines int64) {
	n := &p.parts[p.cur]
	if p.afterClose {
		return p.pos(), p.lines
	}
	if n.parent < 0 || p.parts[n.parent].kind != message {
		if p.end < n.header.Offset {
			return p.pos(), p.lines
		}
		return p.end, p.endLines
	}
	switch {
	case n.header.Length == 0 && p.end >= p.parts[n.parent].header.Offset:
		// A message without a byte: the line break is of the header around it.
		n.header.Offset, n.lines = p.end, p.endLines
		return p.end, p.endLines
	case n.header.End() == p.pos():
		return p.pos(), p.lines
	}
	return p.end, p.endLines
}

// skipLine goes to the start of the next line; false if there is none.
func (p *parser) skipLine() bool {
	for {
		if i := bytes.IndexByte(p.buf[p.lo:p.hi], '\n'); i >= 0 {
			p.consumeLine(i + 1)
			return true
		}
		// One byte stays: it may be the CR of the line break.
		if p.eof {
			p.consume(p.hi - p.lo)
			return false
		}
		if n := p.hi - p.lo - 1; n > 0 {
			p.consume(n)
		}
		p.fill(2)
	}
}
