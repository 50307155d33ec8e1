package wire

import (
	"bytes"
	"io"
	"math"
)

// marker is the announcement of a literal at the end of a line.
type marker struct {
	found   bool
	nonSync bool
	binary  bool
	size    int64 // -1 when it is not a number of 63 bits
	length  int   // of the marker's text
}

// maxDigits is how many digits the size of a literal may have: those of 2^64-1.
const maxDigits = 20

// parseMarker looks for a literal marker at the end of a line. More than
// maxDigits digits before the brace are a marker whatever is before them, so
// that the last bytes of a line are enough to know: one of an impossible size.
func parseMarker(line []byte) marker {
	i := len(line)
	if i == 0 || line[i-1] != '}' {
		return marker{}
	}
	i--
	m := marker{found: true, size: -1}
	if i > 0 && line[i-1] == '+' {
		m.nonSync = true
		i--
	}
	digits := i
	for i > 0 && '0' <= line[i-1] && line[i-1] <= '9' {
		i--
	}
	braced := i > 0 && line[i-1] == '{'
	switch {
	case digits-i > maxDigits:
	case digits == i || !braced:
		return marker{}
	default:
		m.size = parseSize(line[i:digits])
	}
	if braced {
		i--
	}
	if braced && i > 0 && line[i-1] == '~' {
		m.binary = true
		i--
	}
	m.length = len(line) - i
	return m
}

// parseSize returns -1 for what does not fit 63 bits.
func parseSize(digits []byte) int64 {
	var n int64
	for _, d := range digits {
		if n > (math.MaxInt64-9)/10 {
			return -1
		}
		n = 10*n + int64(d-'0')
	}
	return n
}

type literalState uint8

const (
	literalNone    literalState = iota
	literalUnasked              // its marker was read, nothing else
	literalReading              // the client sends it, or has sent it
	literalRefused
)

// LiteralReader is a literal that is not held in memory. It is valid until the
// command is finished. A literal that is neither read nor refused is refused by
// [Command.Finish].
type LiteralReader struct {
	Size    int64 // in bytes
	NonSync bool  // {n+}: the client sends it without being asked
	Binary  bool  // ~{n}: may have NUL (RFC 3516)

	command *Command
	state   literalState
	left    int64
}

// Literal reads the announcement of a literal of any size that fits 63 bits. The
// bytes follow with Read; the command goes on after the last of them.
// They are passed on as they are: NUL is for the caller to judge.
func (c *Command) Literal() (*LiteralReader, error) {
	if b := c.Peek(); b != '{' && b != '~' || !c.atMarker() {
		return nil, c.wrong("Expected a literal")
	}
	if c.marker.size < 0 {
		return nil, c.limitError("Literal is too big")
	}
	if c.literals++; c.literals > c.reader.limits.Literals {
		return nil, c.limitError("Too many literals in a command")
	}
	c.literal = LiteralReader{
		Size: c.marker.size, NonSync: c.marker.nonSync, Binary: c.marker.binary,
		command: c, state: literalUnasked, left: c.marker.size,
	}
	c.reader.pos = c.reader.end
	return &c.literal, nil
}

// atMarker reports whether what is left of the line is the literal's marker.
func (c *Command) atMarker() bool {
	return c.marker.found && c.reader.end-c.reader.pos == c.marker.length
}

// Accept asks the client for the literal where that is necessary. Read does it too.
func (l *LiteralReader) Accept() error {
	c := l.command
	if l.state == literalReading {
		return nil
	}
	if l.state != literalUnasked || !c.open {
		return c.SyntaxError("Literal was refused")
	}
	l.state, c.marker = literalReading, marker{}
	if l.NonSync || c.reader.ask == nil {
		return nil
	}
	if err := c.reader.ask(); err != nil {
		return c.reader.fail(err)
	}
	return nil
}

// Refuse says that the literal is not wanted. The command can only be finished
// then: the client sends nothing more of it, or what it sends is skipped.
func (l *LiteralReader) Refuse() {
	if l.state == literalUnasked {
		l.state = literalRefused
	}
}

// Read reads the literal's bytes, and returns io.EOF after the last one. Other
// errors are fatal.
func (l *LiteralReader) Read(p []byte) (int, error) {
	if err := l.Accept(); err != nil {
		return 0, err
	}
	if l.left == 0 {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if int64(len(p)) > l.left {
		p = p[:l.left]
	}
	n, err := l.command.reader.readSome(p)
	l.left -= int64(n)
	return n, err
}

// held reads a literal into memory.
func (c *Command) held() (string, error) {
	if c.atMarker() && c.marker.size > c.reader.limits.Literal {
		return "", c.limitError("Literal is too big")
	}
	l, err := c.Literal()
	if err != nil {
		return "", err
	}
	if l.Binary {
		return "", c.SyntaxError("Binary literal is not allowed here")
	}
	if err := l.Accept(); err != nil {
		return "", err
	}
	p := make([]byte, l.Size)
	if err := c.reader.readFull(p); err != nil {
		return "", err
	}
	l.left = 0
	if bytes.IndexByte(p, 0) >= 0 {
		return "", c.SyntaxError("NUL is not allowed")
	}
	return string(p), nil
}

// LiteralAt returns the size of the literal that a line, with its end, announces;
// false: it announces none.
func LiteralAt(line []byte) (size int64, ok bool) {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	m := parseMarker(line)
	return max(m.size, 0), m.found
}
