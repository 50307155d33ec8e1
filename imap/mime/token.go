package mime

import "bytes"

// lexer walks over an unfolded header field value (RFC 5322 section 3.2, RFC
// 2045 section 5.1). Its methods never go back, so that whatever is built from
// them takes linear time as long as it goes back a fixed number of times.
type lexer struct {
	in  []byte
	pos int

	// comment is the content of the last comment skipped, if wanted.
	wantComment bool
	comment     []byte
}

// more reports whether input is left.
func (l *lexer) more() bool { return l.pos < len(l.in) }

// at reports whether the next byte is c.
func (l *lexer) at(c byte) bool { return l.pos < len(l.in) && l.in[l.pos] == c }

// accept consumes the next byte if it is c.
func (l *lexer) accept(c byte) bool {
	if !l.at(c) {
		return false
	}
	l.pos++
	return true
}

// space skips white space and comments. It reports false if a comment has no
// end; the lexer is at the end of the input then.
func (l *lexer) space() bool {
	for l.pos < len(l.in) {
		switch l.in[l.pos] {
		case ' ', '\t', '\r', '\n':
			l.pos++
		case '(':
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return true
}

func (l *lexer) skipComment() bool {
	var text []byte
	depth := 0
	for l.pos < len(l.in) {
		c := l.in[l.pos]
		l.pos++
		switch c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				l.comment = text
				return true
			}
		case '\\':
			if !l.more() {
				return false
			}
			c = l.in[l.pos]
			l.pos++
		}
		if l.wantComment {
			text = append(text, c)
		}
	}
	return false
}

// quoted reads a quoted string and the space after it. ok is false if its end
// or the end of a comment after it is missing.
func (l *lexer) quoted() (text []byte, ok bool) {
	l.pos++
	start := l.pos
	for l.pos < len(l.in) {
		switch c := l.in[l.pos]; c {
		case '"':
			text = append(text, l.in[start:l.pos]...)
			l.pos++
			return nonNil(text), l.space()
		case '\\':
			text = append(text, l.in[start:l.pos]...)
			l.pos++
			start = l.pos
		}
		l.pos++
	}
	l.pos = len(l.in)
	if start < len(l.in) {
		text = append(text, l.in[start:]...)
	}
	return nonNil(text), false
}

// run reads the longest run of bytes of a class.
func (l *lexer) run(class byte) []byte {
	start := l.pos
	for l.pos < len(l.in) && classes[l.in[l.pos]]&class != 0 {
		l.pos++
	}
	return l.in[start:l.pos]
}

// token reads a MIME token, which may be empty, and the space after it.
func (l *lexer) token() (text []byte, ok bool) {
	text = l.run(tokenByte)
	return text, l.space()
}

// Classes of bytes.
const (
	atomByte  = 1 << iota // atext of RFC 5322, and all bytes above 127
	tokenByte             // of a MIME token (RFC 2045), and all bytes above 127
	dotByte               // "."
)

var classes = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= 0x80, '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z',
			bytes.IndexByte([]byte("!#$%&'*+-^_`{|}~"), byte(c)) >= 0:
			t[c] = atomByte | tokenByte
		case c == '.':
			t[c] = tokenByte | dotByte
		case c == '/' || c == '=' || c == '?':
			t[c] = atomByte
		}
	}
	return t
}()

func nonNil(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
