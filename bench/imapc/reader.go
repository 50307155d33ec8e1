package imapc

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxResponse bounds one logical response (text and literals).
const MaxResponse = 256 << 20

// Reader reads logical responses. What it returns is valid until the next call.
type Reader struct {
	br   *bufio.Reader
	buf  []byte
	resp Response
}

// NewReader returns a Reader on r.
func NewReader(r io.Reader) *Reader { return &Reader{br: bufio.NewReaderSize(r, 64<<10)} }

var (
	errLine     = errors.New("imapc: response line without CRLF")
	errTooLarge = errors.New("imapc: response too large")
)

// readLine appends one line, CRLF included, to the buffer.
func (r *Reader) readLine() error {
	start := len(r.buf)
	for {
		p, err := r.br.ReadSlice('\n')
		r.buf = append(r.buf, p...)
		if err == bufio.ErrBufferFull {
			if len(r.buf) > MaxResponse {
				return errTooLarge
			}
			continue
		}
		if err != nil {
			return unexpected(err, len(p) > 0)
		}
		if n := len(r.buf); n < start+2 || r.buf[n-2] != '\r' {
			return errLine
		}
		return nil
	}
}

func unexpected(err error, inside bool) error {
	if err == io.EOF && inside {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readLiteral appends n bytes to the buffer.
func (r *Reader) readLiteral(n int) error {
	at := len(r.buf)
	if at+n > MaxResponse {
		return errTooLarge
	}
	if cap(r.buf)-at < n {
		grown := make([]byte, at, at+n+4096)
		copy(grown, r.buf)
		r.buf = grown
	}
	r.buf = r.buf[:at+n]
	_, err := io.ReadFull(r.br, r.buf[at:])
	return unexpected(err, true)
}

// literalAtEnd returns the size of the literal announced at the end of line
// (without CRLF), or ok=false.
func literalAtEnd(line []byte) (n int, ok bool) {
	if len(line) < 3 || line[len(line)-1] != '}' {
		return 0, false
	}
	i := bytes.LastIndexByte(line, '{')
	if i < 0 {
		return 0, false
	}
	digits := bytes.TrimSuffix(line[i+1:len(line)-1], []byte("+"))
	if len(digits) == 0 || len(digits) > 10 {
		return 0, false
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int(c-'0')
	}
	return n, true
}

// mayHoldLiterals tells whether a literal can follow the line. A status text
// may end in something that looks like one; it is one only inside a response
// code that is not closed.
func mayHoldLiterals(r *Response, rest []byte) bool {
	switch {
	case r.Tag == "+":
		return false
	case isStatusName(r.Name):
		return len(rest) > 0 && rest[0] == '[' && bytes.IndexByte(rest, ']') < 0
	}
	return true
}

// Next reads the next response.
func (r *Reader) Next() (*Response, error) {
	r.buf = r.buf[:0]
	if err := r.readLine(); err != nil {
		return nil, err
	}
	head := r.buf[:len(r.buf)-2]
	rest, err := r.resp.parseHead(head)
	if err != nil {
		return nil, err
	}
	literals, from := mayHoldLiterals(&r.resp, head[rest:]), 0
	for literals {
		n, ok := literalAtEnd(r.buf[from : len(r.buf)-2])
		if !ok {
			break
		}
		if err := r.readLiteral(n); err != nil {
			return nil, err
		}
		from = len(r.buf)
		if err := r.readLine(); err != nil {
			return nil, unexpected(err, true)
		}
	}
	r.resp.Size = len(r.buf)
	r.resp.Rest = r.buf[rest : len(r.buf)-2]
	return &r.resp, nil
}
