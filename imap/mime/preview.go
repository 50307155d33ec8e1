package mime

import (
	"io"
	"strings"
	"unicode"
)

// Bounds of what a preview looks at.
const (
	previewParts = 10        // text parts
	previewPlain = 16 << 10  // bytes of a plain text
	previewHTML  = 128 << 10 // bytes of HTML, which may begin with much style
)

// Preview returns the beginning of what a reader of the message would see, at
// most so many characters, without line breaks and markup: of the first text
// that has something to say, without what it quotes. It is "" if there is
// none, as in an encrypted message. An error is one of body.
func (s *Structure) Preview(body io.ReaderAt, runes int) (string, error) {
	looked := 0
	for i := 0; i < s.Len() && looked < previewParts; i++ {
		p := s.At(i)
		if !p.isShown() || p.isAttachment() {
			continue
		}
		looked++
		text, err := p.preview(body, runes)
		if err != nil || text != "" {
			return text, err
		}
	}
	return "", nil
}

// isShown reports whether the part is a text that is made to be read.
func (p Part) isShown() bool {
	if p.node().kind != leaf {
		return false
	}
	typ, subtype := p.Type()
	return typ == "text" && (subtype == "plain" || subtype == "html" || subtype == "markdown")
}

// isAttachment reports whether the part is not meant to be shown with the others
// (RFC 2183 section 2.2).
func (p Part) isAttachment() bool {
	raw, _ := p.Raw(FieldDisposition)
	d, ok := parseDisposition(raw)
	return ok && equalFold(d.value, "attachment")
}

func (p Part) preview(body io.ReaderAt, runes int) (string, error) {
	_, subtype := p.Type()
	limit := int64(previewPlain)
	if subtype == "html" {
		limit = previewHTML
	}
	data, err := io.ReadAll(io.LimitReader(p.DecodedText(body), limit))
	if err != nil {
		return "", err
	}
	text := strings.ToValidUTF8(string(data), "") // the limit may cut a character
	switch subtype {
	case "html":
		text = textOfHTML(text)
	default:
		text = withoutQuotes(text)
	}
	return oneLine(text, runes), nil
}

// withoutQuotes returns what the writer of a plain text has added to it: not
// lines with ">" and the one that announces them, nor the signature. If that is
// nothing, it returns all.
func withoutQuotes(text string) string {
	var own strings.Builder
	blank, last := false, "" // last: a line that may announce a quotation
	for line := range strings.Lines(text) {
		plain := strings.TrimRight(line, "\r\n")
		switch {
		case plain == "-- ": // RFC 3676 section 4.3
			own.WriteString(last)
			return orAll(own.String(), text)
		case strings.HasPrefix(plain, ">"):
			if !strings.HasSuffix(strings.TrimSpace(last), ":") {
				own.WriteString(last)
			}
			last, blank = "", false
		case strings.TrimSpace(plain) == "":
			blank = true
		default:
			own.WriteString(last)
			if blank {
				own.WriteByte('\n')
			}
			last, blank = line, false
		}
	}
	own.WriteString(last)
	return orAll(own.String(), text)
}

// orAll returns own, unless it is blank.
func orAll(own, all string) string {
	if strings.TrimSpace(own) == "" {
		return all
	}
	return own
}

// oneLine returns the first characters of a text with single spaces in place of
// whatever is blank or not to be seen.
func oneLine(text string, runes int) string {
	var out strings.Builder
	n, gap := 0, false
	for _, r := range text {
		if isGap(r) {
			gap = true
			continue
		}
		if isUnseen(r) {
			continue
		}
		if gap && n > 0 {
			if n++; n >= runes {
				break
			}
			out.WriteByte(' ')
		}
		gap = false
		if n++; n > runes {
			break
		}
		out.WriteRune(r)
	}
	return strings.TrimSuffix(out.String(), " ")
}

func isGap(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r)
}

// isUnseen reports whether a character has no width: senders put such before
// the text, so that nothing of it gets into a preview. Those that join others
// (U+200D) and variation selectors stay.
func isUnseen(r rune) bool {
	switch r {
	case '\u00ad', '\u034f', '\u061c', '\u180e', '\u200b', '\u200c', '\u200e', '\u200f', '\u2060', '\ufeff', '\ufffd':
		return true
	}
	return false
}
