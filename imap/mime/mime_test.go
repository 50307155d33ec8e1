package mime

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// check checks what must hold for the structure of any message.
func check(t *testing.T, data []byte, s *Structure) {
	t.Helper()
	if s.Size() != int64(len(data)) {
		t.Fatalf("size is %d, want %d", s.Size(), len(data))
	}
	head, _ := s.Locate(Section{Specifier: Header})
	text, _ := s.Locate(Section{Specifier: Text})
	all, _ := s.Locate(Section{})
	if head.Offset != 0 || head.End() != text.Offset || text.End() != s.Size() || all != (Range{0, s.Size()}) {
		t.Fatalf("header %v and text %v are not the message", head, text)
	}
	if s.Len() > MaxParts {
		t.Fatalf("%d parts", s.Len())
	}
	for i := range s.parts {
		p := s.At(i)
		if d := depthOf(s, i); d > MaxDepth {
			t.Fatalf("part %d is %d deep", i, d)
		}
		r := Range{p.Header().Offset, p.Body().End() - p.Header().Offset}
		if got := int64(bytes.Count(data[p.Body().Offset:p.Body().End()], newline)); got != p.Lines() {
			t.Fatalf("part %d has %d lines, says %d", i, got, p.Lines())
		}
		if n := s.parts[i].parent; n >= 0 {
			around := s.At(int(n)).Body()
			if r.Offset < around.Offset || r.End() > around.End() {
				t.Fatalf("part %d %v is not in its parent's body %v", i, r, around)
			}
		}
		end, count := p.Body().Offset, 0
		for c := p.i + 1; c < p.node().after; c = s.parts[c].after {
			if s.parts[c].header.Offset < end {
				t.Fatalf("part %d overlaps what is before it", c)
			}
			end = s.parts[c].end()
			count++
		}
		if last, ok := p.Child(p.Children()); count != p.Children() || ok != (count > 0) || ok && last.Body().End() != end {
			t.Fatalf("part %d has %d children, says %d", i, count, p.Children())
		}
	}
	again, err := Decode(s.Encode())
	if err != nil {
		t.Fatalf("decode: %v", err)
	}
	if !bytes.Equal(again.Encode(), s.Encode()) || !reflect.DeepEqual(again.parts, s.parts) {
		t.Fatal("encoding does not go round")
	}
	if !bytes.Equal(again.AppendEnvelope(nil), s.AppendEnvelope(nil)) || !bytes.Equal(again.AppendBody(nil, true), s.AppendBody(nil, true)) {
		t.Fatal("the decoded structure says something else")
	}
	wellFormed(t, s.AppendEnvelope(nil))
	wellFormed(t, s.AppendBody(nil, false))
	wellFormed(t, s.AppendBody(nil, true))
}

// depthOf returns on which level a part is; the message is on the first.
func depthOf(s *Structure, i int) int {
	depth := 0
	for n := int32(i); n >= 0; n = s.parts[n].parent {
		depth++
	}
	return depth
}

// wellFormed checks that a response is one parenthesised list.
func wellFormed(t *testing.T, b []byte) {
	t.Helper()
	depth := 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth == 0 && i != len(b)-1 {
				t.Fatalf("ends early: %q", b)
			}
		case c == '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
				if b[i] == 0 || b[i] == '\r' || b[i] == '\n' || b[i] >= 0x80 {
					t.Fatalf("%q in a quoted string: %q", b[i], b)
				}
			}
		case c == '{':
			end := i + bytes.Index(b[i:], []byte("}\r\n"))
			n := 0
			for _, d := range b[i+1 : end] {
				n = n*10 + int(d-'0')
			}
			if bytes.IndexByte(b[end:end+3+n], 0) >= 0 {
				t.Fatalf("NUL in a literal: %q", b)
			}
			i = end + 2 + n
		}
	}
	if depth != 0 {
		t.Fatalf("unbalanced: %q", b)
	}
}

func TestSamples(t *testing.T) {
	for _, sample := range samples(t) {
		t.Run(sample.name, func(t *testing.T) {
			s := parse(t, sample.data)
			check(t, sample.data, s)
			lf := bytes.ReplaceAll(sample.data, []byte("\r\n"), newline)
			check(t, lf, parse(t, lf))
		})
	}
}

// However the bytes arrive, the structure is the same.
func TestParseAnyReads(t *testing.T) {
	for _, sample := range samples(t) {
		want := parse(t, sample.data).Encode()
		for _, r := range []io.Reader{
			iotest.OneByteReader(bytes.NewReader(sample.data)),
			iotest.DataErrReader(bytes.NewReader(sample.data)),
			&oddReader{data: sample.data},
		} {
			s, err := Parse(r)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(s.Encode(), want) {
				t.Errorf("%s: %T makes another structure", sample.name, r)
			}
		}
	}
}

// oddReader returns pieces of prime lengths, and sometimes nothing.
type oddReader struct {
	data []byte
	n    int
}

func (r *oddReader) Read(p []byte) (int, error) {
	if len(r.data) == 0 {
		return 0, io.EOF
	}
	r.n++
	size := []int{0, 7, 8191, 1, 3, 32749}[r.n%6]
	n := copy(p[:min(size, len(p))], r.data)
	r.data = r.data[n:]
	return n, nil
}

func TestParseReadError(t *testing.T) {
	want := errors.New("disk on fire")
	for _, text := range []string{"", "Subject: x\r\n", "Subject: x\r\n\r\nbody"} {
		r := io.MultiReader(strings.NewReader(text), iotest.ErrReader(want))
		if s, err := Parse(r); err != want || s != nil {
			t.Errorf("after %q: %v, %v", text, s, err)
		}
	}
	if _, err := Parse(stuckReader{}); err != io.ErrNoProgress {
		t.Errorf("reader without progress: %v", err)
	}
}

type stuckReader struct{}

func (stuckReader) Read([]byte) (int, error) { return 0, nil }
