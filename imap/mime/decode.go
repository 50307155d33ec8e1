package mime

import (
	"bytes"
	"strings"
)

// DecodeHeader returns a header field value in UTF-8, with its encoded words
// (RFC 2047) decoded. What is broken stays as it is; bytes above 127 are UTF-8
// (RFC 6532) or else windows-1252. The value may be folded.
func DecodeHeader(raw []byte) string {
	if bytes.IndexByte(raw, '\n') >= 0 {
		raw = unfold(raw)
	}
	if !bytes.Contains(raw, []byte("=?")) {
		return toUTF8("", raw)
	}
	var d wordDecoder
	done := 0
	for at := 0; ; {
		i := bytes.Index(raw[at:], []byte("=?"))
		if i < 0 {
			break
		}
		at += i
		charset, content, n := parseWord(raw[at:])
		if n == 0 {
			at++
			continue
		}
		// Space between two words does not count (RFC 2047 section 6.2).
		if between := raw[done:at]; !d.hasWord || len(bytes.Trim(between, " \t")) > 0 {
			d.text(between)
		}
		d.word(charset, content)
		at += n
		done = at
	}
	d.text(raw[done:])
	return d.out.String()
}

// unfold takes the line breaks out of a folded value.
func unfold(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for len(raw) > 0 {
		line, rest, found := bytes.Cut(raw, newline)
		if found {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		out = append(out, line...)
		raw = rest
	}
	return out
}

// maxCharset is more than any name of a charset has.
const maxCharset = 64

// parseWord reads =?charset?encoding?text?= at the start of raw and returns its
// length, 0 if it is no encoded word. Spaces in the text, which are against the
// rules but do occur, do no harm.
func parseWord(raw []byte) (charset string, content []byte, n int) {
	rest := raw[2:]
	i := bytes.IndexByte(rest[:min(len(rest), maxCharset)], '?')
	if i <= 0 || len(rest) < i+3 || rest[i+2] != '?' || bytes.ContainsAny(rest[:i], " \t=") {
		return "", nil, 0
	}
	name, method := rest[:i], lowerByte(rest[i+1])
	text := rest[i+3:]
	end := bytes.IndexByte(text, '?')
	if end >= 0 && method == 'q' && bytes.HasPrefix(text[end:], []byte("??=")) {
		end++ // a question that was not encoded
	}
	if end < 0 || !bytes.HasPrefix(text[end:], []byte("?=")) {
		return "", nil, 0
	}
	switch method {
	case 'b':
		content = decodeBase64(text[:end])
	case 'q':
		content = decodeQ(text[:end])
	default:
		return "", nil, 0
	}
	return lower(name), content, 2 + i + 3 + end + 2
}

// decodeQ decodes the Q encoding (RFC 2047 section 4.2).
func decodeQ(text []byte) []byte {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '_':
			out = append(out, ' ')
		case c == '=' && i+2 < len(text) && unhex(text[i+1]) >= 0 && unhex(text[i+2]) >= 0:
			out = append(out, byte(unhex(text[i+1])<<4|unhex(text[i+2])))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return out
}

func decodeBase64(text []byte) []byte {
	var d base64Decoder
	return d.decode(make([]byte, 0, len(text)*3/4+3), text)
}

// wordDecoder puts decoded words and the text between them together. Words of
// one charset side by side are decoded as one, because some mailers split
// characters.
type wordDecoder struct {
	out     strings.Builder
	hasWord bool // the last thing was a word, of which pending is left
	charset string
	pending []byte
}

func (d *wordDecoder) word(charset string, content []byte) {
	if charset != d.charset {
		d.flush()
	}
	d.hasWord, d.charset = true, charset
	d.pending = append(d.pending, content...)
}

func (d *wordDecoder) text(raw []byte) {
	d.flush()
	d.hasWord = false
	d.out.WriteString(toUTF8("", raw))
}

func (d *wordDecoder) flush() {
	if len(d.pending) > 0 {
		d.out.WriteString(toUTF8(d.charset, d.pending))
		d.pending = d.pending[:0]
	}
}
