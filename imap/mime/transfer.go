package mime

import (
	"bytes"
	"io"
)

// transferReader returns what undoes a Content-Transfer-Encoding (RFC 2045
// section 6). Unknown ones are passed through. Broken input is decoded as far
// as it makes sense; an error is one of r.
func transferReader(encoding string, r io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return &transferDecoder{r: r, step: new(base64Decoder).decode}
	case "quoted-printable":
		return &transferDecoder{r: r, step: new(quotedDecoder).decode, finish: true}
	}
	return r
}

// transferDecoder reads in pieces and decodes each.
type transferDecoder struct {
	r      io.Reader
	step   func(dst, src []byte) []byte // decodes a piece; keeps what is incomplete
	finish bool                         // step wants a nil piece at the end
	in     [4 << 10]byte
	buf    []byte
	out    []byte // decoded and not yet read; lies in buf
	err    error
}

func (t *transferDecoder) Read(p []byte) (int, error) {
	for len(t.out) == 0 {
		if t.err != nil {
			return 0, t.err
		}
		var n int
		n, t.err = t.r.Read(t.in[:])
		t.buf = t.step(t.buf[:0], t.in[:n])
		if t.err == io.EOF && t.finish {
			t.buf = t.step(t.buf, nil)
		}
		t.out = t.buf
	}
	n := copy(p, t.out)
	t.out = t.out[n:]
	return n, nil
}

// base64Decoder decodes base64 in pieces. Bytes that are not of the alphabet
// are skipped; padding ends a group, and more may follow.
type base64Decoder struct {
	bits uint32
	n    uint // digits in bits
}

// base64Values has the value of each base64 digit, and 64 for other bytes.
var base64Values = func() (t [256]byte) {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	for i := range t {
		t[i] = 64
	}
	for i := range alphabet {
		t[alphabet[i]] = byte(i)
	}
	return t
}()

func (d *base64Decoder) decode(dst, src []byte) []byte {
	for _, c := range src {
		v := base64Values[c]
		switch {
		case v < 64:
			d.bits = d.bits<<6 | uint32(v)
			if d.n++; d.n == 2 || d.n == 3 {
				dst = append(dst, byte(d.bits>>(6*d.n-8*(d.n-1))))
			} else if d.n == 4 {
				dst = append(dst, byte(d.bits))
				d.n, d.bits = 0, 0
			}
		case c == '=':
			d.n, d.bits = 0, 0
		}
	}
	return dst
}

// quotedDecoder decodes quoted-printable in pieces.
type quotedDecoder struct {
	held []byte // "=" and what follows it, not yet understood
}

// decode with a nil src ends the text.
func (d *quotedDecoder) decode(dst, src []byte) []byte {
	if src == nil {
		dst = append(dst, d.held...)
		d.held = nil
		return dst
	}
	for len(src) > 0 {
		if len(d.held) == 0 {
			i := bytes.IndexByte(src, '=')
			if i < 0 {
				return append(dst, src...)
			}
			dst = append(dst, src[:i]...)
			src = src[i:]
		}
		d.held = append(d.held, src[0])
		src = src[1:]
		dst = d.resolve(dst)
	}
	return dst
}

// resolve writes what held means, once that is clear: a byte, nothing for a
// line break that was put in, or the very characters.
func (d *quotedDecoder) resolve(dst []byte) []byte {
	const maxPadding = 80 // of spaces after the "=" of a soft line break
	h := d.held
	last := h[len(h)-1]
	switch {
	case len(h) == 1, len(h) == 2 && unhex(last) >= 0:
		return dst
	case last == '\n' && len(bytes.Trim(h[1:], " \t\r\n")) == 0:
	case len(h) == 3 && unhex(h[1]) >= 0 && unhex(last) >= 0:
		dst = append(dst, byte(unhex(h[1])<<4|unhex(last)))
	case (last == ' ' || last == '\t' || last == '\r') && unhex(h[1]) < 0 && len(h) < maxPadding:
		return dst
	case last == '=':
		// The characters before it are themselves; it may begin something.
		dst = append(dst, h[:len(h)-1]...)
		d.held = append(h[:0], '=')
		return dst
	default:
		dst = append(dst, h...)
	}
	d.held = h[:0]
	return dst
}
