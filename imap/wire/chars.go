package wire

// class is a set of the character classes of RFC 9051 section 9.
type class uint8

const (
	atomChar    class = 1 << iota // ATOM-CHAR
	astringChar                   // ASTRING-CHAR
	listChar                      // list-char: may be in a pattern of LIST
	tagChar                       // ASTRING-CHAR without "+"
)

var classes = func() (t [256]class) {
	for b := byte(0x21); b < 0x7f; b++ {
		switch b {
		case '(', ')', '{', '"', '\\':
		case '%', '*':
			t[b] = listChar
		case ']':
			t[b] = astringChar | listChar | tagChar
		case '+':
			t[b] = atomChar | astringChar | listChar
		default:
			t[b] = atomChar | astringChar | listChar | tagChar
		}
	}
	return t
}()

func isTagChar(b byte) bool { return classes[b]&tagChar != 0 }

// IsAtom reports whether s may be written as an atom (RFC 9051 section 9), which
// is what a keyword must be.
func IsAtom(s string) bool { return isAll(s, atomChar) }

func isAll(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return s != ""
}
