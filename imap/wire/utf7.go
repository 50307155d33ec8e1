package wire

import (
	"encoding/base64"
	"errors"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// ErrUTF7 is returned for what is not modified UTF-7.
var ErrUTF7 = errors.New("not modified UTF-7")

// utf7Base64 is base64 with "," for "/" and no padding (RFC 3501 section 5.1.3). It is
// strict: bits that are left over must be zero.
var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").
	WithPadding(base64.NoPadding).Strict()

// DecodeUTF7 decodes a mailbox name from modified UTF-7 (RFC 3501 section 5.1.3).
// Only the one form that EncodeUTF7 makes is accepted: names that differ on the wire differ.
func DecodeUTF7(s string) (string, error) {
	if isPlainUTF7(s) {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		if b := s[i]; b != '&' {
			if b < 0x20 || b > 0x7e {
				return "", ErrUTF7
			}
			out = append(out, b)
			i++
			continue
		}
		length := strings.IndexByte(s[i:], '-')
		if length < 0 {
			return "", ErrUTF7
		}
		var err error
		if out, err = appendShifted(out, s[i+1:i+length]); err != nil {
			return "", err
		}
		i += length + 1
	}
	name := string(out)
	if EncodeUTF7(name) != s {
		return "", ErrUTF7
	}
	return name, nil
}

// appendShifted decodes what is between "&" and "-".
func appendShifted(out []byte, s string) ([]byte, error) {
	if s == "" {
		return append(out, '&'), nil
	}
	b, err := utf7Base64.DecodeString(s)
	if err != nil || len(b)%2 != 0 {
		return nil, ErrUTF7
	}
	for i := 0; i < len(b); i += 2 {
		r := rune(b[i])<<8 | rune(b[i+1])
		if utf16.IsSurrogate(r) {
			if i+3 >= len(b) {
				return nil, ErrUTF7
			}
			i += 2
			if r = utf16.DecodeRune(r, rune(b[i])<<8|rune(b[i+1])); r == utf8.RuneError {
				return nil, ErrUTF7
			}
		}
		out = utf8.AppendRune(out, r)
	}
	return out, nil
}

// EncodeUTF7 encodes a mailbox name as modified UTF-7. The name must be valid
// UTF-8; bytes that are not become U+FFFD.
func EncodeUTF7(s string) string {
	if isPlainUTF7(s) {
		return s
	}
	return string(appendUTF7(nil, s))
}

func appendUTF7(dst []byte, s string) []byte {
	var shifted []byte // UTF-16 of the characters that cannot stand for themselves
	for _, r := range s {
		if r < 0x20 || r > 0x7e {
			shifted = appendUTF16(shifted, r)
			continue
		}
		dst = endShift(dst, shifted)
		shifted = shifted[:0]
		if dst = append(dst, byte(r)); r == '&' {
			dst = append(dst, '-')
		}
	}
	return endShift(dst, shifted)
}

func endShift(dst, shifted []byte) []byte {
	if len(shifted) == 0 {
		return dst
	}
	dst = append(dst, '&')
	dst = utf7Base64.AppendEncode(dst, shifted)
	return append(dst, '-')
}

func appendUTF16(dst []byte, r rune) []byte {
	if hi, lo := utf16.EncodeRune(r); hi != utf8.RuneError {
		return append(dst, byte(hi>>8), byte(hi), byte(lo>>8), byte(lo))
	}
	return append(dst, byte(r>>8), byte(r))
}

// isPlainUTF7 reports whether s is the same in UTF-8 and in modified UTF-7.
func isPlainUTF7(s string) bool {
	for i := range len(s) {
		if b := s[i]; b < 0x20 || b > 0x7e || b == '&' {
			return false
		}
	}
	return true
}
