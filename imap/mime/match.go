package mime

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Matcher looks for a substring as SEARCH does: ignoring case and the ways
// Unicode has to write one character (like i;unicode-casemap, RFC 5051). It
// never changes, so any number of goroutines may use it.
type Matcher struct {
	needle []byte // folded
}

// NewMatcher returns a matcher for a string in UTF-8. The empty string is in
// every text.
func NewMatcher(needle string) *Matcher {
	return &Matcher{needle: appendFolded(nil, []byte(needle))}
}

// Match reports whether the needle is in a text in UTF-8.
func (m *Matcher) Match(text string) bool {
	if len(m.needle) == 0 {
		return true
	}
	return bytes.Contains(appendFolded(make([]byte, 0, len(text)), []byte(text)), m.needle)
}

// appendFolded appends text in the form in which texts are compared:
// characters decomposed, letters without case.
func appendFolded(dst, text []byte) []byte {
	for len(text) > 0 {
		if n := asciiPrefix(text); n > 0 {
			start := len(dst)
			dst = append(dst, text[:n]...)
			for i, c := range dst[start:] {
				dst[start+i] = lowerByte(c)
			}
			text = text[n:]
			continue
		}
		r, n := utf8.DecodeRune(text)
		if isHangul(r) {
			dst = appendJamo(dst, r)
		} else if parts := norm.NFKD.Properties(text[:n]).Decomposition(); parts != nil {
			for len(parts) > 0 {
				r, n := utf8.DecodeRune(parts)
				dst = appendCaseless(dst, r)
				parts = parts[n:]
			}
		} else {
			dst = appendCaseless(dst, r)
		}
		text = text[n:]
	}
	return dst
}

// appendCaseless appends a character in lower case. Going through upper case
// unites those that have several, like the two sigmas.
func appendCaseless(dst []byte, r rune) []byte {
	return utf8.AppendRune(dst, unicode.ToLower(unicode.ToUpper(r)))
}

// The Hangul syllables, whose decomposition is a calculation (The Unicode
// Standard, section 3.12).
const (
	hangulBase, hangulEnd      = 0xAC00, 0xD7A4
	leadBase, vowelBase, tails = 0x1100, 0x1161, 28
	tailBase, vowels           = 0x11A7, 21
)

func isHangul(r rune) bool { return hangulBase <= r && r < hangulEnd }

func appendJamo(dst []byte, r rune) []byte {
	i := r - hangulBase
	dst = utf8.AppendRune(dst, leadBase+i/(vowels*tails))
	dst = utf8.AppendRune(dst, vowelBase+i%(vowels*tails)/tails)
	if tail := i % tails; tail != 0 {
		dst = utf8.AppendRune(dst, tailBase+tail)
	}
	return dst
}

// textSink takes the texts of a message, each in pieces of UTF-8.
type textSink interface {
	write(text []byte) // a piece; not kept
	end()              // of a text: nothing spans what comes next
	done() bool        // nothing more is wanted
}

// folding folds a text that comes in pieces, which may end within a character.
type folding struct {
	partial []byte // bytes of a character that is not complete
}

// fold appends a piece of a text to dst, folded, as far as its characters are complete.
func (f *folding) fold(dst, text []byte) []byte {
	if len(f.partial) > 0 {
		text = append(f.partial, text...)
		f.partial = nil
	}
	if n := incompleteTail(text); n > 0 {
		f.partial = bytes.Clone(text[len(text)-n:])
		text = text[:len(text)-n]
	}
	return appendFolded(dst, text)
}

// finish appends what is left of a text that has ended.
func (f *folding) finish(dst []byte) []byte {
	dst = appendFolded(dst, f.partial)
	f.partial = nil
	return dst
}

// scanner looks for several needles in a text that comes in pieces.
type scanner struct {
	matchers []*Matcher
	found    []bool
	left     int    // matchers that have not found theirs
	overlap  int    // bytes to keep: one less than the longest needle
	window   []byte // folded text: what is kept, then what is not yet searched
	folding  folding
}

func newScanner(matchers []*Matcher) *scanner {
	s := &scanner{matchers: matchers, found: make([]bool, len(matchers)), left: len(matchers)}
	for i, m := range matchers {
		s.overlap = max(s.overlap, len(m.needle)-1)
		if len(m.needle) == 0 {
			s.mark(i)
		}
	}
	return s
}

func (s *scanner) mark(i int) {
	s.found[i] = true
	s.left--
}

// done reports whether all needles have been found.
func (s *scanner) done() bool { return s.left == 0 }

// minWindow is the amount of text from which on it is searched.
const minWindow = 16 << 10

// write takes a piece of UTF-8.
func (s *scanner) write(text []byte) {
	s.window = s.folding.fold(s.window, text)
	if len(s.window) >= max(minWindow, 2*s.overlap) {
		s.search()
		keep := min(s.overlap, len(s.window))
		s.window = append(s.window[:0], s.window[len(s.window)-keep:]...)
	}
}

// end ends a text: no match spans what comes next.
func (s *scanner) end() {
	s.window = s.folding.finish(s.window)
	s.search()
	s.window = s.window[:0]
}

func (s *scanner) search() {
	for i, m := range s.matchers {
		if !s.found[i] && bytes.Contains(s.window, m.needle) {
			s.mark(i)
		}
	}
}

// incompleteTail returns the length of the character at the end of text that
// lacks bytes, 0 if none does.
func incompleteTail(text []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(text); n++ {
		if tail := text[len(text)-n:]; utf8.RuneStart(tail[0]) {
			if utf8.FullRune(tail) {
				return 0
			}
			return n
		}
	}
	return 0
}
