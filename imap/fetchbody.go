package imap

import (
	"fmt"
	"io"
	"slices"

	"github.com/go-pluto/pluto/imap/mime"
	"github.com/go-pluto/pluto/imap/wire"
)

// section appends content. Only the bytes that are asked for are read; they go
// to the client in pieces.
func (f *fetcher) section(it *fetchItem) error {
	f.out.buf = append(append(f.out.buf, it.name...), ' ')
	where, ok := mime.Range{Length: f.body.Size()}, true
	if !it.whole() {
		where, ok = f.structure.Locate(it.section)
	}
	if !ok {
		f.out.buf = append(f.out.buf, "NIL"...)
		return nil
	}
	if spec := it.section.Specifier; spec == mime.HeaderFields || spec == mime.HeaderFieldsNot {
		return f.fields(it, where)
	}
	offset, length := it.cut(where.Length)
	return f.stream(io.NewSectionReader(f.body, where.Offset+offset, length), length, false)
}

// cut returns which part of so many bytes the item asks for. What lies beyond
// the end is empty (RFC 3501 section 6.4.5).
func (it *fetchItem) cut(size int64) (offset, length int64) {
	if !it.partial {
		return 0, size
	}
	offset = min(it.offset, size)
	return offset, min(it.length, size-offset)
}

// fields appends selected fields of the header that is at where.
func (f *fetcher) fields(it *fetchItem, where mime.Range) error {
	header, err := readHeader(f.body, where, f.header)
	if err != nil {
		return f.unreadable(err)
	}
	f.header = header
	text := mime.FilterHeader(header, it.section.Fields, it.section.Specifier == mime.HeaderFieldsNot)
	offset, length := it.cut(int64(len(text)))
	f.out.buf = wire.AppendLiteralHeader(f.out.buf, length, false)
	f.out.buf = append(f.out.buf, text[offset:offset+length]...)
	return nil
}

// readHeader reads the header that is at where, up to maxHeaderBytes of it, into buf.
func readHeader(body io.ReaderAt, where mime.Range, buf []byte) ([]byte, error) {
	n := int(min(where.Length, maxHeaderBytes))
	buf = slices.Grow(buf[:0], n)[:n]
	return buf, readFull(body, buf, where.Offset)
}

// readFull fills p with the bytes at an offset.
func readFull(body io.ReaderAt, p []byte, offset int64) error {
	n, err := body.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes of a message at %d: %w", len(p), offset, err)
}

// stream appends a literal of so many bytes of the body, in the form of RFC 3516
// if it is binary.
func (f *fetcher) stream(from io.Reader, length int64, binary bool) error {
	f.out.buf = wire.AppendLiteralHeader(f.out.buf, length, binary)
	f.out.torn = true
	for length > 0 {
		if len(f.out.buf) >= pieceBytes {
			f.out.pass()
			if f.out.err != nil {
				return f.out.err
			}
		}
		n := int(min(length, int64(pieceBytes-len(f.out.buf))))
		start := len(f.out.buf)
		f.out.buf = slices.Grow(f.out.buf, n)[:start+n]
		if _, err := io.ReadFull(from, f.out.buf[start:]); err != nil {
			f.out.buf = f.out.buf[:start]
			return f.unreadable(fmt.Errorf("read %d bytes of a message: %w", n, err))
		}
		length -= int64(n)
	}
	f.out.torn = false
	return nil
}

// unreadable ends the session: a response that was begun cannot be finished.
func (f *fetcher) unreadable(err error) error {
	f.out.torn = true
	return &endError{cause: err}
}
