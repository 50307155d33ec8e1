package mime

import (
	"bytes"
	"strconv"
)

// maxEscapes is the number of quotes and backslashes up to which a string is
// sent quoted; with more of them a literal is no longer than that.
const maxEscapes = 4

// appendString appends an IMAP string (RFC 9051 section 4.3): quoted if
// possible, or else a literal. A bare CR or LF becomes a space, and NUL, which
// no string may contain, the replacement character U+FFFD.
func appendString(dst, s []byte) []byte {
	escapes := 0
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			escapes++
		case c == 0 || c == '\r' || c == '\n':
			return appendString(dst, printable(s))
		case c >= 0x80:
			escapes = maxEscapes + 1
		}
	}
	if escapes > maxEscapes {
		return appendLiteral(dst, s)
	}
	dst = append(dst, '"')
	for _, c := range s {
		if c == '"' || c == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, c)
	}
	return append(dst, '"')
}

func printable(s []byte) []byte {
	out := make([]byte, 0, len(s))
	for _, c := range s {
		switch c {
		case 0:
			out = append(out, "\uFFFD"...)
		case '\r', '\n':
			out = append(out, ' ')
		default:
			out = append(out, c)
		}
	}
	return out
}

func appendLiteral(dst, s []byte) []byte {
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, int64(len(s)), 10)
	dst = append(dst, "}\r\n"...)
	return append(dst, s...)
}

// appendNString appends a string, or NIL for nil.
func appendNString(dst, s []byte) []byte {
	if s == nil {
		return append(dst, "NIL"...)
	}
	return appendString(dst, s)
}

// appendText appends a string that people read: runs of white space become one
// space, and those at the ends go.
func appendText(dst, s []byte) []byte {
	tidy := true
	space := true // so that none is wanted at the start
	for _, c := range s {
		isSpace := c == ' '
		if c == '\t' || c == '\r' || c == '\n' || isSpace && space {
			tidy = false
			break
		}
		space = isSpace
	}
	if tidy && (!space || len(s) == 0) {
		return appendString(dst, s)
	}
	return appendString(dst, bytes.Join(bytes.FieldsFunc(s, isBlank), []byte(" ")))
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }
