package mime

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// decoderFor returns what turns a charset into UTF-8. Names that nobody knows,
// and no name, are taken for UTF-8 or else Western European, which is what
// such text mostly is: ASCII in it is found in any case.
func decoderFor(charset string) transform.Transformer {
	charset = strings.ToLower(strings.Trim(charset, " \t\"'"))
	charset, _, _ = strings.Cut(charset, "*") // RFC 2231 section 5: a language
	switch charset {
	case "", "us-ascii", "ascii", "utf-8", "utf8", "unicode-1-1-utf-8", "unknown-8bit", "x-unknown":
		return &utf8OrLatin{}
	case "utf-7", "unicode-1-1-utf-7", "x-unicode-2-0-utf-7":
		return &utf7{}
	case "hz-gb-2312":
		return simplifiedchinese.HZGB2312.NewDecoder()
	case "utf-16":
		return unicode.UTF16(unicode.BigEndian, unicode.UseBOM).NewDecoder()
	}
	if e, err := htmlindex.Get(charset); err == nil && e != encoding.Replacement {
		return e.NewDecoder()
	}
	if e, err := ianaindex.MIME.Encoding(charset); err == nil && e != nil {
		return e.NewDecoder()
	}
	return &utf8OrLatin{}
}

// toUTF8 decodes a piece of text that is held in memory.
func toUTF8(charset string, text []byte) string {
	out, _, err := transform.Bytes(decoderFor(charset), text)
	if err != nil {
		// Cannot be: the decoders replace what they cannot decode.
		return string(bytes.ToValidUTF8(text, []byte("\uFFFD")))
	}
	return string(out)
}

// utf8OrLatin passes UTF-8 through and takes every other byte for one of
// windows-1252.
type utf8OrLatin struct{ transform.NopResetter }

func (*utf8OrLatin) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if n := asciiPrefix(src[nSrc:]); n > 0 {
			if n = copy(dst[nDst:], src[nSrc:nSrc+n]); n == 0 {
				return nDst, nSrc, transform.ErrShortDst
			}
			nDst, nSrc = nDst+n, nSrc+n
			continue
		}
		r, size := utf8.DecodeRune(src[nSrc:])
		if r == utf8.RuneError && size == 1 {
			if !atEOF && !utf8.FullRune(src[nSrc:]) {
				return nDst, nSrc, transform.ErrShortSrc
			}
			r = charmap.Windows1252.DecodeByte(src[nSrc])
		}
		if len(dst)-nDst < utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += utf8.EncodeRune(dst[nDst:], r)
		nSrc += size
	}
	return nDst, nSrc, nil
}

// asciiPrefix returns the number of ASCII bytes that b starts with.
func asciiPrefix(b []byte) int {
	for i, c := range b {
		if c >= utf8.RuneSelf {
			return i
		}
	}
	return len(b)
}

// utf7 decodes UTF-7 (RFC 2152).
type utf7 struct {
	shifted bool
	fresh   bool   // nothing yet after the "+"
	bits    uint32 // not yet used, right-aligned
	nbits   uint
	high    rune // first half of a surrogate pair, or 0
}

func (u *utf7) Reset() { *u = utf7{} }

func (u *utf7) Transform(dst, src []byte, _ bool) (nDst, nSrc int, err error) {
	for ; nSrc < len(src); nSrc++ {
		// At most a replacement character and one more.
		if len(dst)-nDst < 2*utf8.UTFMax {
			return nDst, nSrc, transform.ErrShortDst
		}
		nDst += u.decode(dst[nDst:], src[nSrc])
	}
	return nDst, nSrc, nil
}

// decode takes one byte and writes what is complete with it.
func (u *utf7) decode(dst []byte, c byte) int {
	if !u.shifted {
		if c == '+' {
			*u = utf7{shifted: true, fresh: true}
			return 0
		}
		return utf8.EncodeRune(dst, latinRune(c))
	}
	if v := base64Values[c]; v < 64 {
		u.fresh = false
		u.bits, u.nbits = u.bits<<6|uint32(v), u.nbits+6
		if u.nbits < 16 {
			return 0
		}
		u.nbits -= 16
		unit := rune(u.bits >> u.nbits & 0xFFFF)
		u.bits &= 1<<u.nbits - 1
		return u.unit(dst, unit)
	}
	n := 0
	if u.high != 0 {
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	fresh := u.fresh
	u.Reset()
	switch {
	case c == '-' && fresh:
		return n + utf8.EncodeRune(dst[n:], '+')
	case c == '-':
		return n
	}
	return n + utf8.EncodeRune(dst[n:], latinRune(c))
}

// unit takes one UTF-16 code unit.
func (u *utf7) unit(dst []byte, unit rune) int {
	const surrogate1, surrogate2, surrogateEnd = 0xD800, 0xDC00, 0xE000
	n := 0
	if u.high != 0 {
		high := u.high
		u.high = 0
		if surrogate2 <= unit && unit < surrogateEnd {
			return utf8.EncodeRune(dst, (high-surrogate1)<<10+(unit-surrogate2)+0x10000)
		}
		n = utf8.EncodeRune(dst, utf8.RuneError)
	}
	if surrogate1 <= unit && unit < surrogate2 {
		u.high = unit
		return n
	}
	return n + utf8.EncodeRune(dst[n:], unit) // a lone second half is replaced
}

func latinRune(c byte) rune { return charmap.Windows1252.DecodeByte(c) }
