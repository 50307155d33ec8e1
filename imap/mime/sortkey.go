package mime

import (
	"bytes"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// AppendCollation appends the key by which i;unicode-casemap orders a text in
// UTF-8: of two texts the one with the smaller key, byte by byte, comes first,
// and equal ones have equal keys. Characters are in title case and decomposed
// (RFC 5051 section 2).
func AppendCollation(dst []byte, text string) []byte {
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf {
			if 'a' <= c && c <= 'z' {
				c -= 'a' - 'A'
			}
			dst = append(dst, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		dst = appendTitle(dst, unicode.ToTitle(r))
		i += n
	}
	return dst
}

func appendTitle(dst []byte, r rune) []byte {
	if isHangul(r) {
		return appendJamo(dst, r)
	}
	var b [utf8.UTFMax]byte
	one := utf8.AppendRune(b[:0], r)
	if parts := norm.NFKD.Properties(one).Decomposition(); parts != nil {
		return append(dst, parts...)
	}
	return append(dst, one...)
}

// FirstMailbox returns the addr-mailbox of the first address in a field, empty
// if there is none: the sort criteria FROM, TO and CC (RFC 5256 section 3).
func (s *Structure) FirstMailbox(name FieldName) string {
	a, _ := s.firstAddress(name)
	return string(a.mailbox)
}

// FirstDisplay returns what is shown of the first address in a field: its
// decoded name, or else the address, empty if there is none: the sort criteria
// DISPLAYFROM and DISPLAYTO (RFC 5957 sections 3 and 4).
func (s *Structure) FirstDisplay(name FieldName) string {
	a, _ := s.firstAddress(name)
	if shown := DecodeHeader(a.name); shown != "" {
		return shown
	}
	if a.mailbox == nil || a.host == nil {
		return string(a.mailbox)
	}
	return string(a.mailbox) + "@" + string(a.host)
}

func (s *Structure) firstAddress(name FieldName) (address, bool) {
	for raw := range s.Root().Raws(name) {
		if list := parseAddresses(raw); len(list) > 0 {
			return list[0], true
		}
	}
	return address{}, false
}

// MessageID returns the message's identifier in the form in which References
// has it, empty if it has none that is valid.
func (s *Structure) MessageID() string {
	raw, _ := s.Root().Raw(FieldMessageID)
	id, _ := cutMessageID(raw)
	return id
}

// References returns the identifiers of the messages that this one follows,
// oldest first: those in References, or the first one in In-Reply-To (RFC 5256
// section 3, REFERENCES). Quoting does not count.
func (s *Structure) References() []string {
	raw, _ := s.Root().Raw(FieldReferences)
	var ids []string
	for {
		id, rest := cutMessageID(raw)
		if id == "" {
			break
		}
		ids, raw = append(ids, id), rest
	}
	if len(ids) > 0 {
		return ids
	}
	raw, _ = s.Root().Raw(FieldInReplyTo)
	if id, _ := cutMessageID(raw); id != "" {
		return []string{id}
	}
	return nil
}

// cutMessageID returns the first msg-id in raw, without its brackets and
// quoting, and what follows it. A valid one has an "@" with something on both
// sides of it (RFC 5322 section 3.6.4).
func cutMessageID(raw []byte) (id string, rest []byte) {
	for {
		start := bytes.IndexByte(raw, '<')
		if start < 0 {
			return "", nil
		}
		inner, after, ok := bracketed(raw[start+1:])
		if !ok {
			raw = raw[start+1:]
			continue
		}
		if at := bytes.LastIndexByte(inner, '@'); at > 0 && at < len(inner)-1 {
			return string(inner), after
		}
		raw = after
	}
}

// bracketed returns what is before ">", without quoting and space. A second "<"
// before it means that the first one opened nothing.
func bracketed(raw []byte) (inner, rest []byte, ok bool) {
	inner = make([]byte, 0, 64)
	quoted := false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			quoted = !quoted
		case c == '\\' && quoted && i+1 < len(raw):
			i++
			inner = append(inner, raw[i])
		case c == '>' && !quoted:
			return inner, raw[i+1:], true
		case c == '<' && !quoted:
			return nil, nil, false
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
		default:
			inner = append(inner, c)
		}
	}
	return nil, nil, false
}
