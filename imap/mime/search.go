package mime

import (
	"bufio"
	"bytes"
	"fmt"
	"io"

	"golang.org/x/text/transform"
)

// MatchField looks for the matcher's string in a header field of the message,
// decoded, without needing the message (RFC 9051 section 6.4.4: BCC, CC, FROM,
// HEADER, SUBJECT, TO). An empty string asks whether the field exists. known is
// false for a field that the structure does not keep, or not whole: use
// [MatchHeader] then.
func (s *Structure) MatchField(field string, m *Matcher) (match, known bool) {
	name := fieldName([]byte(field))
	root := s.Root()
	if !name.ofMessage() || len(root.fields()) == maxFields {
		return false, false
	}
	known = true
	for _, f := range root.fields() {
		if f.name != name {
			continue
		}
		if len(m.needle) == 0 || m.Match(DecodeHeader(s.value(f))) {
			return true, true
		}
		known = known && !f.cut
	}
	return false, known
}

// MatchHeader looks for the matcher's string in every field of a name in a
// header, decoded. An empty string asks whether the field exists.
func MatchHeader(header []byte, field string, m *Matcher) bool {
	for len(header) > 0 {
		raw, name, rest := cutField(header)
		if name == nil {
			return false
		}
		header = rest
		if !equalFold(name, field) {
			continue
		}
		if len(m.needle) == 0 {
			return true
		}
		_, value, _ := bytes.Cut(raw, []byte(":"))
		if m.Match(DecodeHeader(bytes.Trim(value, " \t\r\n"))) {
			return true
		}
	}
	return false
}

// MatchBody looks for the strings of several matchers in the texts of a
// message, in one pass, and reports for each whether it is there. The texts are
// those of all text parts, without transfer encoding and in UTF-8 (RFC 9051
// section 6.4.4, BODY), and with includeHeaders also all headers, decoded: the
// message's, the parts', and those of embedded messages (TEXT). A string has to
// be in one text to match. HTML is searched as it is.
//
// body is the message that s was parsed from. Memory is bounded however long
// that is; reading stops when all strings have been found. An error is one of
// body.
func (s *Structure) MatchBody(body io.ReaderAt, ms []*Matcher, includeHeaders bool) ([]bool, error) {
	sc := newScanner(ms)
	var headers textSink
	if includeHeaders {
		headers = sc
	}
	if err := s.texts(body, headers, sc); err != nil {
		return nil, err
	}
	return sc.found, nil
}

// texts hands out the texts that a search looks at: headers to one sink, which may be
// nil, the texts of parts to another. It ends when the latter is done.
func (s *Structure) texts(body io.ReaderAt, headers, texts textSink) error {
	r := bufio.NewReader(nil)
	for i := range s.parts {
		p := Part{s, int32(i)}
		if texts.done() {
			break
		}
		if headers != nil {
			if err := scanHeader(headers, r, section(body, p.Header())); err != nil {
				return fmt.Errorf("search header: %w", err)
			}
		}
		if !p.isText() {
			continue
		}
		if err := scanText(texts, p.DecodedText(body)); err != nil {
			return fmt.Errorf("search text: %w", err)
		}
	}
	return nil
}

func section(body io.ReaderAt, r Range) io.Reader {
	return io.NewSectionReader(body, r.Offset, r.Length)
}

// isText reports whether the part's body is text of its own.
func (p Part) isText() bool {
	if p.node().kind != leaf {
		return false
	}
	typ, _ := p.Type()
	return typ == "text" || typ == "message" // such as message/delivery-status
}

// Decoded returns the part's body without its transfer encoding. body is the
// message. For a multipart or a message, which have none that counts (RFC 2045
// section 6.4), it is the body as it is.
func (p Part) Decoded(body io.ReaderAt) io.Reader {
	r := section(body, p.Body())
	if p.node().kind != leaf {
		return r
	}
	return transferReader(p.Encoding(), r)
}

// Encoded reports whether Decoded returns other bytes than those of the body.
func (p Part) Encoded() bool {
	e := p.Encoding()
	return p.node().kind == leaf && (e == "base64" || e == "quoted-printable")
}

// Decodable reports whether the transfer encoding of the part is known (RFC 2045
// section 6.1), or there is none that counts.
func (p Part) Decodable() bool {
	if p.node().kind != leaf {
		return true
	}
	switch p.Encoding() {
	case "7bit", "8bit", "binary", "base64", "quoted-printable":
		return true
	}
	return false
}

// DecodedText is Decoded, and turned into UTF-8 from the charset of the part. A
// charset that is not known is taken for UTF-8 or else windows-1252.
func (p Part) DecodedText(body io.ReaderAt) io.Reader {
	return newTextReader(p.Param("charset"), p.Decoded(body))
}

func newTextReader(charset string, r io.Reader) io.Reader {
	return transform.NewReader(r, decoderFor(charset))
}

func scanText(sc textSink, r io.Reader) error {
	defer sc.end()
	var buf [4 << 10]byte
	for !sc.done() {
		n, err := r.Read(buf[:])
		sc.write(buf[:n])
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// maxDecoded is how much of one header field is decoded at once.
const maxDecoded = 64 << 10

// scanHeader scans the fields of a header, each a text of its own.
func scanHeader(sc textSink, br *bufio.Reader, r io.Reader) error {
	br.Reset(r)
	var field []byte
	emit := func() {
		if len(field) > 0 {
			sc.write([]byte(DecodeHeader(field)))
			sc.end()
			field = field[:0]
		}
	}
	atStart := true
	for !sc.done() {
		line, err := br.ReadSlice('\n')
		if atStart && len(line) > 0 && line[0] != ' ' && line[0] != '\t' || len(field) > maxDecoded {
			emit()
		}
		field = append(field, line...)
		atStart = err == nil
		if err == io.EOF {
			emit()
			return nil
		}
		if err != nil && err != bufio.ErrBufferFull {
			return err
		}
	}
	return nil
}
