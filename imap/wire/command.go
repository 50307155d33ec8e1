package wire

import "strings"

// Command is one command of a client, read from left to right. Its methods
// return a [*SyntaxError] when what is next is not what was asked for; nothing is
// said then about how much has been read, and only Finish makes sense.
// Other errors are fatal.
type Command struct {
	Tag  string
	Name string // in upper case: "FETCH", "UID", "LOGIN"

	reader   *Reader
	open     bool // not finished
	lineLeft int  // bytes that further lines may have
	literals int  // number of literals so far
	drained  int64
	marker   marker        // at the end of the current line
	literal  LiteralReader // the literal being read, or the last one
	failed   error         // of a line that could not be read
}

// names are the commands whose names cost no allocation.
var names = func() map[string]string {
	m := map[string]string{}
	for _, name := range strings.Fields(`APPEND AUTHENTICATE CANCELUPDATE CAPABILITY CHECK CLOSE COMPRESS COPY CREATE
		DELETE ENABLE EXAMINE EXPUNGE FETCH GETMETADATA GETQUOTA GETQUOTAROOT ID IDLE LIST LOGIN LOGOUT LSUB MOVE
		NAMESPACE NOOP NOTIFY RENAME REPLACE SEARCH SELECT SETMETADATA SETQUOTA SORT STARTTLS STATUS STORE SUBSCRIBE
		THREAD UID UNAUTHENTICATE UNSELECT UNSUBSCRIBE XLIST`) {
		m[name] = name
	}
	return m
}()

// begin reads the first line, the tag and the name.
func (c *Command) begin() error {
	if err := c.readLine(); err != nil {
		return err
	}
	if c.Tag = c.take(tagChar); c.Tag == "" {
		return c.SyntaxError("Expected a tag")
	}
	if c.reader.pos == c.reader.end {
		return c.SyntaxError("Expected a command")
	}
	if !c.Byte(' ') {
		c.Tag = ""
		return c.SyntaxError("Expected a tag and a command")
	}
	r := c.reader
	start := r.pos
	for r.pos < r.end && classes[r.buf[r.pos]]&atomChar != 0 {
		r.buf[r.pos] = upper(r.buf[r.pos])
		r.pos++
	}
	if r.pos == start {
		return c.SyntaxError("Expected a command")
	}
	if name, ok := names[string(r.buf[start:r.pos])]; ok {
		c.Name = name
	} else {
		c.Name = string(r.buf[start:r.pos])
	}
	return nil
}

// readLine reads the first or a further line.
func (c *Command) readLine() error {
	r := c.reader
	err := r.readLine(c.lineLeft)
	if r.err != nil {
		c.open = false
		return r.err
	}
	c.marker = parseMarker(r.buf[r.pos:r.end])
	if c.marker.found && !c.marker.nonSync && r.TakeAsked() {
		c.marker.nonSync = true // the client is sending it
	}
	if err != nil {
		if e, ok := err.(*SyntaxError); ok && c.Tag != "" {
			e.Tag = c.Tag
		}
		c.failed = err
		return err
	}
	c.lineLeft -= r.end - r.pos
	return nil
}

// advance makes the current line the one to read from: after a literal it reads
// the line that follows. It returns why there is none.
func (c *Command) advance() error {
	if c.failed != nil {
		return c.failed
	}
	if !c.open {
		return c.SyntaxError("Command has ended")
	}
	switch c.literal.state {
	case literalUnasked, literalRefused:
		return c.SyntaxError("Literal was not read")
	case literalReading:
		if c.literal.left > 0 {
			return c.SyntaxError("Literal was not read")
		}
		c.literal.state = literalNone
		return c.readLine()
	}
	return nil
}

// SyntaxError is a [*SyntaxError] of this command for the caller's own grammar. The
// message is constant: what a client sent is not repeated.
func (c *Command) SyntaxError(message string) error {
	return &SyntaxError{Tag: c.Tag, Message: message}
}

func (c *Command) limitError(message string) error {
	return &SyntaxError{Tag: c.Tag, Message: message, Limit: true}
}

// Peek returns the next byte, or 0 at the end of the command. It may be the first
// byte of a literal, '{' or '~'.
func (c *Command) Peek() byte {
	if c.advance() != nil || c.reader.pos == c.reader.end {
		return 0
	}
	return c.reader.buf[c.reader.pos]
}

// Byte consumes the next byte if it is b.
func (c *Command) Byte(b byte) bool {
	if b == 0 || c.Peek() != b {
		return false
	}
	c.reader.pos++
	return true
}

// Rest returns what is left of the command, not consumed. ok is false if there are
// literals in it.
func (c *Command) Rest() (text string, ok bool) {
	if c.advance() != nil || c.marker.found {
		return "", false
	}
	return string(c.reader.buf[c.reader.pos:c.reader.end]), true
}

// Skip consumes the text if that is what comes next, in any case of its letters.
func (c *Command) Skip(text string) bool {
	if c.advance() != nil {
		return false
	}
	r := c.reader
	if r.end-r.pos < len(text) || !strings.EqualFold(string(r.buf[r.pos:r.pos+len(text)]), text) {
		return false
	}
	r.pos += len(text)
	return true
}

// Expect demands the byte b.
func (c *Command) Expect(b byte) error {
	if c.Byte(b) {
		return nil
	}
	if c.failed != nil {
		return c.failed
	}
	return c.SyntaxError("Expected " + string(rune(b)))
}

// SP demands a space. More than one are taken as one: the grammar has no place
// where they could mean something else, and there are clients that send them.
func (c *Command) SP() error {
	if !c.Byte(' ') {
		return c.wrong("Expected a space")
	}
	for c.Byte(' ') {
	}
	return nil
}

// EOL reports whether the command's end is reached. Spaces before it count for
// nothing, for the same reason as those of SP, and are skipped.
func (c *Command) EOL() bool {
	if c.advance() != nil {
		return false
	}
	r := c.reader
	pos := r.pos
	for pos < r.end && r.buf[pos] == ' ' {
		pos++
	}
	if pos < r.end {
		return false
	}
	r.pos = pos
	return true
}

// End demands the end of the command.
func (c *Command) End() error {
	if c.EOL() {
		return nil
	}
	return c.wrong("Expected the end of the line")
}

// wrong is the error of an argument that was not found: why there was no line to
// look at, or the message.
func (c *Command) wrong(message string) error {
	if err := c.advance(); err != nil {
		return err
	}
	return c.SyntaxError(message)
}

// Finish skips what is left of the command, with the literals that the client
// sends without being asked, so that the next command can be read. Errors are
// fatal: of the stream, or a [*ProtocolError] when there would be too much to skip.
// Finishing twice does nothing.
func (c *Command) Finish() error {
	r := c.reader
	if !c.open {
		if r != nil && r.err != nil {
			return r.err
		}
		return nil
	}
	for c.skipLine() {
		if err := c.skipLiteral(); err != nil {
			c.open = false
			return err
		}
		if err := c.readLine(); err != nil && r.err != nil {
			return err
		}
	}
	c.open, r.asked = false, 0
	r.pos, r.end = r.next, r.next
	r.consumed = r.base + uint64(r.next)
	return r.err
}

// skipLine drops the current line and reports whether a literal follows that
// must be skipped too.
func (c *Command) skipLine() bool {
	switch c.literal.state {
	case literalReading:
		return true
	case literalUnasked, literalRefused:
		return c.literal.NonSync
	}
	return c.marker.found && c.marker.nonSync
}

// skipLiteral skips the literal after the current line, or the rest of it.
func (c *Command) skipLiteral() error {
	size := c.marker.size
	if c.literal.state == literalReading {
		size = c.literal.left
	}
	c.literal.state, c.marker = literalNone, marker{}
	if size < 0 || size > c.reader.limits.Drain-c.drained {
		return c.reader.fail(&ProtocolError{Message: "Literal is too big to be skipped"})
	}
	c.drained += size
	// The rest of the command is of no interest, but still not without bound.
	c.lineLeft = c.reader.limits.Line
	if c.literals++; c.literals > 2*c.reader.limits.Literals+1 {
		return c.reader.fail(&ProtocolError{Message: "Too many literals"})
	}
	return c.reader.discard(size)
}

func upper(b byte) byte {
	if 'a' <= b && b <= 'z' {
		return b - 'a' + 'A'
	}
	return b
}
