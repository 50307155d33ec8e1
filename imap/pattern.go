package imap

import (
	"math/bits"
	"strings"
)

// pattern matches mailbox names with the wildcards of LIST: "*" is anything,
// "%" anything but the separator (RFC 3501 section 6.3.8).
//
// All ways through the pattern are followed at once as a set of bits, so that the
// time is at most proportional to the product of the lengths, and usually to that of
// the name, whatever the wildcards.
type pattern struct {
	text      string // without wildcards that follow one another
	separator byte
	percent   bool // there is a "%"
	stars     []uint64
	percents  []uint64
	inbox     *pattern // for INBOX, which is the same in any case; nil: as it is
}

// newPattern compiles a pattern. Its first level is INBOX if it is that in any case.
func newPattern(text string, separator byte) *pattern {
	const inbox = "INBOX"
	if len(text) > len(inbox) && text[len(inbox)] == separator && strings.EqualFold(text[:len(inbox)], inbox) {
		text = inbox + text[len(inbox):]
	}
	p := compilePattern(text, separator)
	if upper := strings.ToUpper(text); upper != text {
		p.inbox = compilePattern(upper, separator)
	}
	return p
}

func compilePattern(text string, separator byte) *pattern {
	p := &pattern{text: joinWildcards(text), separator: separator}
	p.stars, p.percents = p.places(), p.places()
	for i := range len(p.text) {
		switch p.text[i] {
		case '*':
			setBit(p.stars, i)
		case '%':
			setBit(p.percents, i)
			p.percent = true
		}
	}
	return p
}

// joinWildcards makes one wildcard of those that follow one another.
func joinWildcards(text string) string {
	joined := make([]byte, 0, len(text))
	for i := range len(text) {
		last := len(joined) - 1
		if !isWildcard(text[i]) || last < 0 || !isWildcard(joined[last]) {
			joined = append(joined, text[i])
		} else if text[i] == '*' {
			joined[last] = '*'
		}
	}
	return string(joined)
}

func isWildcard(b byte) bool { return b == '*' || b == '%' }

// places returns a set of places in the pattern, its end included.
func (p *pattern) places() []uint64 { return make([]uint64, len(p.text)/64+1) }

func setBit(set []uint64, i int) { set[i/64] |= 1 << (i % 64) }

// matches reports whether a name matches as a whole.
func (p *pattern) matches(name string) bool {
	if p.inbox != nil && name == "INBOX" {
		return p.inbox.run(name)
	}
	return p.run(name)
}

// run follows all ways through the pattern. Bit i of at says that the name so
// far can be matched by the first i bytes of the pattern.
func (p *pattern) run(name string) bool {
	at, next := p.places(), p.places()
	at[0] = 1
	p.skipWildcards(at)
	for i := range len(name) {
		if !p.step(at, next, name[i]) {
			return false
		}
		at, next = next, at
	}
	end := len(p.text)
	return at[end/64]&(1<<(end%64)) != 0
}

// step follows one byte of the name and reports whether any way is left.
func (p *pattern) step(at, next []uint64, b byte) bool {
	for w := range at {
		next[w] = at[w] & p.stars[w]
		if b != p.separator {
			next[w] |= at[w] & p.percents[w]
		}
	}
	for w, set := range at {
		for set &^= p.stars[w] | p.percents[w]; set != 0; set &= set - 1 {
			i := w*64 + bits.TrailingZeros64(set)
			if i < len(p.text) && p.text[i] == b {
				setBit(next, i+1)
			}
		}
	}
	p.skipWildcards(next)
	for _, set := range next {
		if set != 0 {
			return true
		}
	}
	return false
}

// skipWildcards adds what is reached by wildcards that match nothing. A
// wildcard is never followed by another, so one step is enough.
func (p *pattern) skipWildcards(set []uint64) {
	var carry uint64
	for w := range set {
		wild := set[w] & (p.stars[w] | p.percents[w])
		set[w] |= wild<<1 | carry
		carry = wild >> 63
	}
}
