package mime

import "bytes"

// readField reads one header field, its folded lines included, and keeps it if
// it is one of those kept.
func (p *parser) readField() {
	line, whole := p.readLine()
	name, value := p.splitField(line)
	k := p.keeper(name)
	k.add(value, true)
	for {
		for !whole {
			line, whole = p.readLine()
			k.add(line, true)
		}
		p.fill(lookahead)
		if p.lo == p.hi || p.buf[p.lo] != ' ' && p.buf[p.lo] != '\t' {
			break
		}
		line, whole = p.readLine()
		k.add(line, false)
	}
	if name != 0 {
		p.addField(name, k.start, k.cut)
	}
}

// keeper collects the lines of a field in the parser's text, as far as the
// limits go.
type keeper struct {
	p     *parser
	start int
	room  int
	cut   bool
}

func (p *parser) keeper(name FieldName) keeper {
	k := keeper{p: p, start: len(p.text)}
	if name != 0 {
		k.room = min(MaxField, MaxText-len(p.text))
	}
	return k
}

// add adds a line or a piece of one. A line that folding begins is cut only
// before it, which is between addresses.
func (k *keeper) add(piece []byte, divisible bool) {
	if len(piece) > k.room {
		k.cut = true
		if !divisible {
			k.room = 0
		}
		piece = piece[:k.room]
	}
	k.p.text = append(k.p.text, piece...)
	k.room -= len(piece)
}

// readLine consumes a line, or what of it fits the buffer, and returns it
// without the line break. It is valid until the next read.
func (p *parser) readLine() (line []byte, whole bool) {
	i := bytes.IndexByte(p.buf[p.lo:p.hi], '\n')
	if i < 0 {
		p.fill(bufSize)
		if i = bytes.IndexByte(p.buf[p.lo:p.hi], '\n'); i < 0 {
			return p.readPiece()
		}
	}
	line = p.buf[p.lo : p.lo+i]
	p.consumeLine(i + 1)
	return bytes.TrimSuffix(line, []byte("\r")), true
}

// readPiece consumes a full buffer without a line break, or the rest of the message.
func (p *parser) readPiece() (piece []byte, whole bool) {
	piece = p.buf[p.lo:p.hi]
	if !p.eof && piece[len(piece)-1] == '\r' {
		piece = piece[:len(piece)-1]
	}
	p.consume(len(piece))
	return piece, p.eof
}

// splitField returns what field of the current part a line starts, and the
// value's first line.
func (p *parser) splitField(line []byte) (FieldName, []byte) {
	colon := bytes.IndexByte(line, ':')
	if colon < 0 {
		return 0, nil
	}
	name := fieldName(bytes.TrimRight(line[:colon], " \t"))
	if name.ofMessage() && !p.part(p.cur).HasEnvelope() {
		name = 0
	}
	if name == 0 {
		return 0, nil
	}
	return name, bytes.TrimLeft(line[colon+1:], " \t")
}

// maxFields is how many header fields of one part are kept.
const maxFields = 64

// addField records that the text from start on is the value of a field of the
// current part. Of several Content- fields only the first one counts.
func (p *parser) addField(name FieldName, start int, cut bool) {
	n := &p.parts[p.cur]
	_, dup := p.part(p.cur).Raw(name)
	if n.fields == maxFields || dup && !name.ofMessage() {
		p.text = p.text[:start]
		return
	}
	p.fields = append(p.fields, field{off: int32(start), len: int32(len(p.text) - start), name: name, cut: cut})
	n.fields++
}

// FilterHeader returns the fields of a header that are named (or, with not,
// that are not), in their order and byte for byte, and an empty line at the end
// (RFC 9051 section 6.4.5.1, HEADER.FIELDS and HEADER.FIELDS.NOT). A header
// that has none itself gets one only after fields that were named.
func FilterHeader(header []byte, fields []string, not bool) []byte {
	out := make([]byte, 0, min(len(header), 1<<10))
	for len(header) > 0 {
		raw, name, rest := cutField(header)
		if name == nil {
			break
		}
		if (len(name) > 0 && containsFold(fields, name)) != not {
			out = append(out, raw...)
		}
		header = rest
	}
	if len(header) == 0 && (not || len(out) == 0) {
		return out
	}
	return append(out, "\r\n"...)
}

// cutField splits the first field off a header. The name is nil at the empty
// line, and empty but not nil for a line without a colon.
func cutField(header []byte) (raw, name, rest []byte) {
	if header[0] == '\n' || bytes.HasPrefix(header, []byte("\r\n")) {
		return nil, nil, header
	}
	end := 0
	for {
		i := bytes.IndexByte(header[end:], '\n')
		if i < 0 {
			end = len(header)
			break
		}
		end += i + 1
		if end == len(header) || header[end] != ' ' && header[end] != '\t' {
			break
		}
	}
	raw, rest = header[:end], header[end:]
	line := raw
	if i := bytes.IndexByte(line, '\n'); i >= 0 {
		line = line[:i]
	}
	name = []byte{}
	if i := bytes.IndexByte(line, ':'); i >= 0 {
		name = bytes.TrimRight(line[:i], " \t")
		if name == nil {
			name = []byte{}
		}
	}
	return raw, name, rest
}

func containsFold(names []string, name []byte) bool {
	for _, n := range names {
		if equalFold(name, n) {
			return true
		}
	}
	return false
}

// equalFold compares ignoring the case of ASCII letters.
func equalFold(b []byte, s string) bool {
	if len(b) != len(s) {
		return false
	}
	for i := range b {
		if lowerByte(b[i]) != lowerByte(s[i]) {
			return false
		}
	}
	return true
}
