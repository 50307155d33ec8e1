package imap

import (
	"bytes"
	"fmt"
	"io"
	"strconv"

	"github.com/go-pluto/pluto/imap/wire"
)

// errUnknownCTE is the answer to the wish for a part whose transfer encoding is
// not known (RFC 3516 section 4.3).
var errUnknownCTE = &refusal{"UNKNOWN-CTE", "Content-Transfer-Encoding is not known"}

// readBinaryItem reads what follows BINARY or BINARY.PEEK (RFC 3516 section 7).
func readBinaryItem(c *wire.Command) (it fetchItem, err error) {
	it.kind = fetchBinary
	if err := it.readBinarySection(c); err != nil {
		return it, err
	}
	if c.Byte('<') {
		if err := it.readPartial(c); err != nil {
			return it, err
		}
	}
	it.name = it.responseName("BINARY")
	return it, nil
}

// readBinarySize reads what follows BINARY.SIZE.
func readBinarySize(c *wire.Command) (it fetchItem, err error) {
	it.kind = fetchBinarySize
	err = it.readBinarySection(c)
	it.name = it.responseName("BINARY.SIZE")
	return it, err
}

// readBinarySection reads "[part]".
func (it *fetchItem) readBinarySection(c *wire.Command) error {
	if err := c.Expect('['); err != nil {
		return err
	}
	if _, err := readPart(c, &it.section); err != nil {
		return err
	}
	return c.Expect(']')
}

// decodable reports whether the transfer encodings of all parts that are asked
// for are known.
func (f *fetcher) decodable() bool {
	for i := range f.items {
		it := &f.items[i]
		if it.kind != fetchBinary && it.kind != fetchBinarySize || it.whole() {
			continue
		}
		if part, ok := f.structure.Find(it.section.Part); ok && !part.Decodable() {
			return false
		}
	}
	return true
}

// decoded returns the content that an item asks for, and its size where that
// is known without reading it (else -1). The whole message has no transfer encoding.
func (f *fetcher) decoded(it *fetchItem) (r io.Reader, size int64, ok bool) {
	if it.whole() {
		return io.NewSectionReader(f.body, 0, f.body.Size()), f.body.Size(), true
	}
	part, ok := f.structure.Find(it.section.Part)
	if !ok {
		return nil, 0, false
	}
	size = -1
	if !part.Encoded() {
		size = part.Body().Length
	}
	return part.Decoded(f.body), size, true
}

// binary appends content without its transfer encoding (RFC 3516 section 4.3).
// It is decoded twice, because size and form are sent before it and it may be
// too large to be held.
func (f *fetcher) binary(it *fetchItem) error {
	f.out.buf = append(append(f.out.buf, it.name...), ' ')
	r, _, ok := f.decoded(it)
	if !ok {
		f.out.buf = append(f.out.buf, "NIL"...)
		return nil
	}
	seen := measure{from: 0, to: -1}
	if it.partial {
		seen.from, seen.to = it.offset, it.offset+it.length
	}
	if _, err := io.Copy(&seen, r); err != nil {
		return f.unreadable(fmt.Errorf("decode a part: %w", err))
	}
	offset, length := it.cut(seen.size)
	r, _, _ = f.decoded(it)
	if _, err := io.CopyN(io.Discard, r, offset); err != nil {
		return f.unreadable(fmt.Errorf("decode a part: %w", err))
	}
	return f.stream(r, length, seen.nul)
}

// binarySize appends the size that the content has when it is decoded.
func (f *fetcher) binarySize(it *fetchItem) error {
	f.out.buf = append(append(f.out.buf, it.name...), ' ')
	r, size, ok := f.decoded(it)
	if ok && size < 0 {
		var err error
		if size, err = io.Copy(io.Discard, r); err != nil {
			return f.unreadable(fmt.Errorf("decode a part: %w", err))
		}
	}
	f.out.buf = strconv.AppendInt(f.out.buf, size, 10) // 0: there is no such part
	return nil
}

// measure counts what is written to it, and looks for NUL between two offsets.
// to may be -1: there is no end.
type measure struct {
	from, to int64
	size     int64
	nul      bool
}

func (m *measure) Write(p []byte) (int, error) {
	start, end := max(m.from-m.size, 0), int64(len(p))
	if m.to >= 0 {
		end = min(end, m.to-m.size)
	}
	m.nul = m.nul || start < end && bytes.IndexByte(p[start:end], 0) >= 0
	m.size += int64(len(p))
	return len(p), nil
}
