package imap

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"

	"github.com/go-pluto/pluto/imap/mime"
)

// hasBinary reports whether a message has parts that cannot be shown as they
// are: unless it asks for BINARY[...], a client must not be sent unencoded binary
// strings (RFC 9051 section 4.3.1).
func hasBinary(s *mime.Structure) bool {
	for i := range s.Len() {
		if s.At(i).Encoding() == "binary" {
			return true
		}
	}
	return false
}

// encodeBinary replaces a staged message by one whose binary parts are in base64,
// as RFC 3516 section 4.4 allows. BINARY[...] of it is what the client sent.
func (s *session) encodeBinary(m *NewMessage, body Body, structure *mime.Structure) error {
	to, err := s.account.Stage(s.ctx, body.Size())
	if err != nil {
		return fmt.Errorf("stage a message: %w", err)
	}
	from := m.Staging
	defer from.Discard()
	m.Staging = to
	e := binaryEncoder{to: to, body: body}
	for i := range structure.Len() {
		if p := structure.At(i); p.Encoding() == "binary" && p.Header().Length <= maxHeaderBytes {
			e.part(p)
		}
	}
	e.copy(body.Size())
	if e.err != nil {
		return fmt.Errorf("encode a binary message: %w", e.err)
	}
	return s.parse(m, false)
}

// binaryEncoder copies a message and encodes parts of it on the way. An error
// stays.
type binaryEncoder struct {
	to   io.Writer
	body io.ReaderAt
	done int64 // how much of the body has been copied
	err  error
}

// copy copies up to an offset.
func (e *binaryEncoder) copy(to int64) {
	if e.err == nil {
		_, e.err = io.Copy(e.to, io.NewSectionReader(e.body, e.done, to-e.done))
	}
	e.done = to
}

// part copies what is before a part, and the part in another encoding. One that
// consists of parts has none of its own (RFC 2045 section 6.4).
func (e *binaryEncoder) part(p mime.Part) {
	leaf := !p.IsMultipart() && !p.IsMessage()
	encoding := "8bit"
	if leaf {
		encoding = "base64"
	}
	e.copy(p.Header().Offset)
	e.header(p.Header(), encoding)
	if !leaf || e.err != nil {
		return
	}
	lines := &lineWriter{to: e.to}
	encoder := base64.NewEncoder(base64.StdEncoding, lines)
	where := p.Body()
	_, e.err = io.Copy(encoder, io.NewSectionReader(e.body, where.Offset, where.Length))
	if err := encoder.Close(); e.err == nil {
		e.err = err
	}
	e.done = where.End()
}

// header copies a header with another Content-Transfer-Encoding.
func (e *binaryEncoder) header(where mime.Range, encoding string) {
	if e.err != nil {
		return
	}
	header, err := readHeader(e.body, where, nil)
	if err != nil {
		e.err = err
		return
	}
	field := []string{"Content-Transfer-Encoding"}
	others := mime.FilterHeader(header, field, true)
	end := len(others) - len(headerEnd(others))
	text := append(bytes.Clone(others[:end]), field[0]+": "+encoding+"\r\n"...)
	_, e.err = e.to.Write(append(text, others[end:]...))
	e.done = where.End()
}

// headerEnd returns the empty line that ends a header, if it has one.
func headerEnd(header []byte) []byte {
	for _, line := range []string{"\r\n", "\n"} {
		if rest, ok := bytes.CutSuffix(header, []byte(line)); ok {
			if len(rest) == 0 || rest[len(rest)-1] == '\n' {
				return header[len(rest):]
			}
		}
	}
	return nil
}

// base64Line is the length of a line of base64 (RFC 2045 section 6.8).
const base64Line = 76

// lineWriter puts line breaks between lines of base64.
type lineWriter struct {
	to     io.Writer
	column int
}

func (w *lineWriter) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if w.column == base64Line {
			if _, err := io.WriteString(w.to, "\r\n"); err != nil {
				return done, err
			}
			w.column = 0
		}
		n, err := w.to.Write(p[done:min(len(p), done+base64Line-w.column)])
		done += n
		w.column += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}
