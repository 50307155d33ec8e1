package mime

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// contentType is a parsed Content-Type field. The slices may point into the
// field.
type contentType struct {
	typ, subtype []byte
	params       []param
}

// param is a parameter of Content-Type or Content-Disposition. Continuations
// (RFC 2231 section 3) are joined; if a piece was in the extended notation
// (section 4), name ends in "*" and the value is in that notation, still encoded.
type param struct {
	name, value []byte
}

// boundary returns the boundary parameter, nil if there is none.
func (ct *contentType) boundary() []byte {
	for _, p := range ct.params {
		if equalFold(p.name, "boundary") {
			return nonNil(p.value)
		}
	}
	return nil
}

// parseContentType reads the value of a Content-Type field. If it is no media
// type the result is the zero value, which stands for the default (RFC 2045
// section 5.2).
func parseContentType(raw []byte) (ct contentType) {
	l := lexer{in: raw}
	l.space()
	typ, ok := l.token()
	if !ok || len(typ) == 0 || !l.accept('/') || !l.space() {
		return ct
	}
	subtype, ok := l.token()
	if !ok || len(subtype) == 0 {
		return ct
	}
	return contentType{typ: typ, subtype: subtype, params: parseParams(&l)}
}

// parseEncoding returns the value of a Content-Transfer-Encoding field, nil if
// it is not one token.
func parseEncoding(raw []byte) []byte {
	l := lexer{in: raw}
	l.space()
	token, ok := l.token()
	if !ok || l.more() || len(token) == 0 {
		return nil
	}
	return token
}

// disposition is a parsed Content-Disposition field.
type disposition struct {
	value  []byte
	params []param
}

// parseDisposition reads a Content-Disposition field (RFC 2183 section 2). ok
// is false if there is no value.
func parseDisposition(raw []byte) (d disposition, ok bool) {
	l := lexer{in: raw}
	l.space()
	if d.value, ok = l.token(); !ok {
		return d, false
	}
	d.params = parseParams(&l)
	return d, true
}

// parseLanguages reads a Content-Language field (RFC 3282 section 2).
func parseLanguages(raw []byte) (tags [][]byte) {
	l := lexer{in: raw}
	l.space()
	for {
		tag := l.run(atomByte)
		if len(tag) == 0 {
			return tags
		}
		tags = append(tags, tag)
		l.space()
		if !l.accept(',') {
			return tags
		}
		l.space()
	}
}

// parseParams reads the parameters of a field, from the first ";" on.
func parseParams(l *lexer) []param {
	var plain []param
	var pieces []piece
	for l.more() {
		name, value, ok := parseParam(l)
		if !ok {
			l.pos++ // skip what makes no sense
			continue
		}
		if pc, ok := parsePiece(name, value); ok {
			pieces = append(pieces, pc)
		} else {
			plain = append(plain, param{name, value})
		}
	}
	if len(pieces) == 0 {
		return plain
	}
	return append(plain, joinPieces(pieces)...)
}

// parseParam reads ";" name "=" value.
func parseParam(l *lexer) (name, value []byte, ok bool) {
	if !l.accept(';') || !l.space() || !l.more() {
		return nil, nil, false
	}
	if name, ok = l.token(); !ok || !l.accept('=') {
		return nil, nil, false
	}
	ok = l.space()
	switch {
	case !ok || !l.more():
	case l.at('"'):
		value, ok = l.quoted()
	case l.at('='):
		// Encoded words do not belong here, but this is how they look
		// when a mailer puts one after "name=".
		start := l.pos
		for l.more() && bytes.IndexByte([]byte("; \t\r\n"), l.in[l.pos]) < 0 {
			l.pos++
		}
		value = l.in[start:l.pos]
	default:
		value, ok = l.token()
	}
	return name, value, ok
}

// piece is a parameter value, or a part of one, with RFC 2231 notation in its
// name: name*, name*0, name*0*.
type piece struct {
	name     []byte
	value    []byte
	index    int
	extended bool
}

func parsePiece(name, value []byte) (piece, bool) {
	base, rest, ok := bytes.Cut(name, []byte("*"))
	if !ok {
		return piece{}, false
	}
	pc := piece{name: base, value: value}
	if len(rest) == 0 {
		pc.extended = true
		return pc, true
	}
	rest, pc.extended = bytes.CutSuffix(rest, []byte("*"))
	const maxDigits = 9
	if len(rest) > maxDigits {
		return piece{}, false
	}
	for _, c := range rest {
		if c < '0' || c > '9' {
			return piece{}, false
		}
		pc.index = pc.index*10 + int(c-'0')
	}
	return pc, true
}

// joinPieces makes whole parameters of pieces. Pieces of a parameter of which
// one is missing stay apart under their own names.
func joinPieces(pieces []piece) (out []param) {
	slices.SortStableFunc(pieces, func(a, b piece) int {
		return cmp.Or(bytes.Compare(a.name, b.name), cmp.Compare(a.index, b.index))
	})
	for len(pieces) > 0 {
		n, whole, extended := 0, true, false
		for n < len(pieces) && bytes.EqualFold(pieces[n].name, pieces[0].name) {
			whole = whole && pieces[n].index == n
			extended = extended || pieces[n].extended
			n++
		}
		if whole {
			out = append(out, joinWhole(pieces[:n], extended))
		} else {
			for _, pc := range pieces[:n] {
				out = append(out, param{pc.fullName(), pc.value})
			}
		}
		pieces = pieces[n:]
	}
	return out
}

func (pc *piece) fullName() []byte {
	name := append(bytes.Clone(pc.name), '*')
	name = strconv.AppendInt(name, int64(pc.index), 10)
	if pc.extended {
		name = append(name, '*')
	}
	return name
}

// joinWhole joins the pieces of one parameter. If one of them is in the
// extended notation the whole becomes so.
func joinWhole(pieces []piece, extended bool) param {
	if !extended {
		var value []byte
		for _, pc := range pieces {
			value = append(value, pc.value...)
		}
		return param{pieces[0].name, value}
	}
	var value []byte
	if !pieces[0].extended {
		value = append(value, "''"...)
	}
	for _, pc := range pieces {
		if pc.extended {
			value = append(value, pc.value...)
			continue
		}
		value = append(value, bytes.ReplaceAll(pc.value, []byte("%"), []byte("%25"))...)
	}
	return param{append(bytes.Clone(pieces[0].name), '*'), value}
}

// decodedParam returns the value of a parameter in UTF-8.
func decodedParam(params []param, name string) string {
	for _, p := range params {
		if equalFold(p.name, name) {
			return DecodeHeader(p.value)
		}
		if n := len(p.name) - 1; n == len(name) && p.name[n] == '*' && equalFold(p.name[:n], name) {
			return decodeExtended(p.value)
		}
	}
	return ""
}

// decodeExtended decodes charset'language'text with %XX (RFC 2231 section 4).
func decodeExtended(value []byte) string {
	charset, rest, ok := bytes.Cut(value, []byte("'"))
	if !ok {
		return toUTF8("", value)
	}
	_, text, ok := bytes.Cut(rest, []byte("'"))
	if !ok {
		return toUTF8("", value)
	}
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '%' && i+2 < len(text) {
			if hi, lo := unhex(text[i+1]), unhex(text[i+2]); hi >= 0 && lo >= 0 {
				out = append(out, byte(hi<<4|lo))
				i += 2
				continue
			}
		}
		out = append(out, text[i])
	}
	return toUTF8(string(charset), out)
}

// unhex returns the value of a hexadecimal digit, or -1.
func unhex(c byte) int {
	switch {
	case '0' <= c && c <= '9':
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
