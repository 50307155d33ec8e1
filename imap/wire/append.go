package wire

import (
	"strconv"
	"strings"
	"time"
)

// maxQuoted is the longest string that is quoted; clients may limit their lines.
const maxQuoted = 1 << 10

// AppendAtom appends s as an atom, or as a string when it cannot be an atom or
// would be read as NIL.
func AppendAtom(dst []byte, s string) []byte {
	if IsAtom(s) && !strings.EqualFold(s, "NIL") {
		return append(dst, s...)
	}
	return AppendString(dst, s)
}

// AppendString appends s as a quoted string, or as a literal when it has 8-bit
// bytes, line ends or NUL, or is long. A NUL, which a literal cannot have either (RFC 9051
// section 9, CHAR8), becomes 0x80.
func AppendString(dst []byte, s string) []byte { return appendString(dst, s, false) }

// AppendUTF8String is AppendString for clients that enabled UTF-8: valid UTF-8 is quoted.
func AppendUTF8String(dst []byte, s string) []byte { return appendString(dst, s, true) }

func appendString(dst []byte, s string, utf8 bool) []byte {
	if !isQuotable(s, utf8) {
		return appendLiteral(dst, s)
	}
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}

// isQuotable reports whether all of s are QUOTED-CHARs.
func isQuotable(s string, utf8 bool) bool {
	if len(s) > maxQuoted {
		return false
	}
	plain := true
	for i := range len(s) {
		switch b := s[i]; {
		case b == 0 || b == '\r' || b == '\n':
			return false
		case b >= 0x80:
			plain = false
		}
	}
	return plain || utf8 && strings.ToValidUTF8(s, "") == s
}

func appendLiteral(dst []byte, s string) []byte {
	dst = AppendLiteralHeader(dst, int64(len(s)), false)
	start := len(dst)
	dst = append(dst, s...)
	for i, b := range dst[start:] {
		if b == 0 {
			dst[start+i] = 0x80
		}
	}
	return dst
}

// AppendNString appends s as a string, or NIL.
func AppendNString(dst []byte, s string, isNil bool) []byte {
	if isNil {
		return append(dst, "NIL"...)
	}
	return AppendString(dst, s)
}

// AppendMailbox appends a mailbox name: in modified UTF-7 (RFC 3501 section
// 5.1.3), or as it is for a client that enabled UTF-8. A name that can be an atom is one.
func AppendMailbox(dst []byte, name string, utf8 bool) []byte {
	if !utf8 {
		name = EncodeUTF7(name)
	}
	if IsAtom(name) && !strings.EqualFold(name, "NIL") {
		return append(dst, name...)
	}
	return appendString(dst, name, utf8)
}

// AppendFlagList appends flags in parentheses. They must be such as
// [Command.Flag] reads.
func AppendFlagList(dst []byte, flags []string) []byte {
	dst = append(dst, '(')
	for i, flag := range flags {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, flag...)
	}
	return append(dst, ')')
}

// AppendDateTime appends a date-time with its quotes, in the zone of t (RFC 9051
// section 9). A year of more or less than four digits becomes the nearest that has four.
func AppendDateTime(dst []byte, t time.Time) []byte {
	if year := t.Year(); year < 0 || year > 9999 {
		t = t.AddDate(min(max(year, 0), 9999)-year, 0, 0)
	}
	return t.AppendFormat(dst, `"_2-Jan-2006 15:04:05 -0700"`)
}

// AppendNumSet appends sorted numbers as a sequence set, runs as a:b. Without
// numbers it appends nothing, which is no sequence set.
func AppendNumSet[N ~uint32](dst []byte, nums []N) []byte {
	for i := 0; i < len(nums); {
		j := i + 1
		for j < len(nums) && nums[j] == nums[j-1]+1 {
			j++
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = strconv.AppendUint(dst, uint64(nums[i]), 10)
		if j > i+1 {
			dst = append(dst, ':')
			dst = strconv.AppendUint(dst, uint64(nums[j-1]), 10)
		}
		i = j
	}
	return dst
}

// AppendLiteralHeader appends the announcement of a literal with its line end;
// size bytes must follow. Binary is the form of RFC 3516.
func AppendLiteralHeader(dst []byte, size int64, binary bool) []byte {
	if binary {
		dst = append(dst, '~')
	}
	dst = append(dst, '{')
	dst = strconv.AppendInt(dst, size, 10)
	return append(dst, "}\r\n"...)
}
