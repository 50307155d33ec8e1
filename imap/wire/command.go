package wire

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

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

// While consumes and returns the bytes for which ok holds; perhaps none.
func (c *Command) While(ok func(b byte) bool) string {
	if c.advance() != nil {
		return ""
	}
	r := c.reader
	start := r.pos
	for r.pos < r.end && ok(r.buf[r.pos]) {
		r.pos++
	}
	return string(r.buf[start:r.pos])
}

// take consumes the bytes of a class; perhaps none.
func (c *Command) take(of class) string {
	if c.advance() != nil {
		return ""
	}
	r := c.reader
	start := r.pos
	for r.pos < r.end && classes[r.buf[r.pos]]&of != 0 {
		r.pos++
	}
	return string(r.buf[start:r.pos])
}

// Atom reads an atom.
func (c *Command) Atom() (string, error) {
	if s := c.take(atomChar); s != "" {
		return s, nil
	}
	return "", c.wrong("Expected an atom")
}

// AString reads an atom or a string.
func (c *Command) AString() (string, error) {
	if s := c.take(astringChar); s != "" && !c.atLiteral8(s) {
		return s, nil
	} else if s != "" {
		return "", c.SyntaxError("Binary literal is not allowed here")
	}
	return c.String()
}

// atLiteral8 reports whether what was taken is the ~ of a binary literal.
func (c *Command) atLiteral8(s string) bool {
	return s == "~" && c.reader.pos < c.reader.end && c.reader.buf[c.reader.pos] == '{'
}

// NString reads a string or NIL.
func (c *Command) NString() (s string, isNil bool, err error) {
	if b := c.Peek(); b == '"' || b == '{' {
		s, err = c.String()
		return s, false, err
	}
	if s = c.take(atomChar); strings.EqualFold(s, "NIL") {
		return "", true, nil
	}
	return "", false, c.wrong("Expected a string or NIL")
}

// String reads a quoted string or an ordinary literal. Its bytes are as they
// were sent, 8-bit ones too, but never NUL, and in a quoted string no CR or LF.
func (c *Command) String() (string, error) {
	switch c.Peek() {
	case '"':
		return c.quoted()
	case '{':
		return c.held()
	}
	return "", c.wrong("Expected a string")
}

// quoted reads a quoted string, whose beginning has been seen.
func (c *Command) quoted() (string, error) {
	r := c.reader
	r.pos++
	start, escapes := r.pos, 0
	for ; r.pos < r.end; r.pos++ {
		switch r.buf[r.pos] {
		case '"':
			s := unescape(r.buf[start:r.pos], escapes)
			r.pos++
			if r.utf8 && !utf8.ValidString(s) { // RFC 6855 section 3
				return "", c.SyntaxError("Quoted string is not UTF-8")
			}
			return s, nil
		case '\r':
			return "", c.SyntaxError("Line end in a quoted string")
		case '\\':
			r.pos++
			escapes++
			if r.pos == r.end || r.buf[r.pos] != '"' && r.buf[r.pos] != '\\' {
				return "", c.SyntaxError("Wrong escape in a quoted string")
			}
		}
	}
	return "", c.SyntaxError("Quoted string without end")
}

// unescape removes the backslashes that quote.
func unescape(b []byte, escapes int) string {
	if escapes == 0 {
		return string(b)
	}
	var s strings.Builder
	s.Grow(len(b) - escapes)
	for i := 0; i < len(b); i++ {
		if b[i] == '\\' {
			i++
		}
		s.WriteByte(b[i])
	}
	return s.String()
}

// Mailbox reads a mailbox name and returns it as valid, NFC-normalised UTF-8;
// INBOX in any case is "INBOX". On the wire it is modified UTF-7 (RFC 3501
// section 5.1.3) or UTF-8, after [Reader.SetUTF8] always the latter. Whether a mailbox can be called
// so is not a question of grammar: the name may be empty or have control
// characters, and one that cannot be decoded is [NoName].
func (c *Command) Mailbox() (string, error) {
	name, _, err := c.MailboxAsSent()
	return name, err
}

// MailboxAsSent is Mailbox that also returns the name in UTF-8 as the client sent it.
func (c *Command) MailboxAsSent() (name, sent string, err error) {
	s, err := c.AString()
	if err != nil {
		return "", "", err
	}
	if len(s) == len("INBOX") && strings.EqualFold(s, "INBOX") {
		return "INBOX", s, nil
	}
	sent = c.mailboxName(s)
	return norm.NFC.String(sent), sent, nil
}

// ListMailbox reads a pattern of LIST or LSUB: a mailbox name that may have the
// wildcards "%" and "*". INBOX is not folded. What cannot be decoded is [NoName].
func (c *Command) ListMailbox() (string, error) {
	s := c.take(listChar)
	if s == "" {
		var err error
		if s, err = c.String(); err != nil {
			return "", err
		}
	} else if c.atLiteral8(s) {
		return "", c.SyntaxError("Binary literal is not allowed here")
	}
	return norm.NFC.String(c.mailboxName(s)), nil
}

// NoName stands for a mailbox name that is not in the encoding that names have on
// the wire. No mailbox may have U+FFFD in its name.
const NoName = "\ufffd"

// mailboxName decodes a name from the wire. Characters that modified UTF-7 cannot
// have are UTF-8 at any time (RFC 6855 section 3).
func (c *Command) mailboxName(s string) string {
	if !c.reader.utf8 && isASCII(s) {
		name, err := DecodeUTF7(s)
		if err != nil {
			return NoName
		}
		return name
	}
	if !utf8.ValidString(s) {
		return NoName
	}
	return s
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Flag reads a flag: a keyword, or a system flag with its backslash, as it was sent.
func (c *Command) Flag() (string, error) {
	system := c.Byte('\\')
	name := c.take(atomChar)
	if name == "" {
		return "", c.wrong("Expected a flag")
	}
	if system {
		return `\` + name, nil
	}
	return name, nil
}

// FlagList reads a parenthesised list of flags, which may be empty.
func (c *Command) FlagList() ([]string, error) {
	if !c.Byte('(') {
		return nil, c.wrong("Expected a list of flags")
	}
	var flags []string
	for !c.Byte(')') {
		if flags != nil {
			if err := c.SP(); err != nil {
				return nil, err
			}
		}
		flag, err := c.Flag()
		if err != nil {
			return nil, err
		}
		flags = append(flags, flag)
	}
	return flags, nil
}

func upper(b byte) byte {
	if 'a' <= b && b <= 'z' {
		return b - 'a' + 'A'
	}
	return b
}
