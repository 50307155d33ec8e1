package wire

import (
	"strings"
	"unicode/utf8"
)

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
