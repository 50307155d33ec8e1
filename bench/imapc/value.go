package imapc

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// Kind is the kind of a Value.
type Kind uint8

// The kinds of values.
const (
	Atom Kind = iota
	String
	Nil
	List
)

// Value is one parsed datum of a response. Its bytes are those of the response
// and live as long.
type Value struct {
	Kind Kind
	Str  []byte  // atom or string
	List []Value // list
}

// Is tells whether v is the atom s, ignoring case.
func (v Value) Is(s string) bool { return v.Kind == Atom && strings.EqualFold(string(v.Str), s) }

// Uint returns the number v stands for.
func (v Value) Uint() (uint64, bool) {
	if v.Kind != Atom {
		return 0, false
	}
	n, err := strconv.ParseUint(string(v.Str), 10, 64)
	return n, err == nil
}

// maxDepth bounds the nesting of lists.
const maxDepth = 64

// Parse parses response data: a sequence of values parted by spaces.
func Parse(b []byte) ([]Value, error) {
	p := parser{b: b}
	return p.values(0, 0)
}

// FetchItem returns the value of a data item in the Rest of a FETCH response.
func FetchItem(rest []byte, name string) (Value, bool) {
	vs, err := Parse(rest)
	if err != nil || len(vs) != 1 || vs[0].Kind != List {
		return Value{}, false
	}
	items := vs[0].List
	for i := 0; i+1 < len(items); i += 2 {
		if items[i].Is(name) {
			return items[i+1], true
		}
	}
	return Value{}, false
}

type parser struct {
	b []byte
	i int
}

// values parses up to the byte end (0: the end of the data).
func (p *parser) values(end byte, depth int) ([]Value, error) {
	if depth > maxDepth {
		return nil, errors.New("imapc: lists nested too deep")
	}
	var vs []Value
	for {
		for p.i < len(p.b) && p.b[p.i] == ' ' {
			p.i++
		}
		if p.i >= len(p.b) {
			if end != 0 {
				return nil, errors.New("imapc: list not closed")
			}
			return vs, nil
		}
		if p.b[p.i] == ')' {
			if end != ')' {
				return nil, errors.New("imapc: unexpected )")
			}
			p.i++
			return vs, nil
		}
		v, err := p.value(depth)
		if err != nil {
			return nil, err
		}
		vs = append(vs, v)
	}
}

func (p *parser) value(depth int) (v Value, err error) {
	switch c := p.b[p.i]; {
	case c == '(':
		p.i++
		v.Kind = List
		v.List, err = p.values(')', depth+1)
	case c == '"':
		v.Kind = String
		v.Str, err = p.quoted()
	case c == '{' || c == '~' && p.i+1 < len(p.b) && p.b[p.i+1] == '{':
		v.Kind = String
		v.Str, err = p.literal()
	default:
		v.Str, err = p.atom()
		if len(v.Str) == 3 && strings.EqualFold(string(v.Str), "NIL") {
			v = Value{Kind: Nil}
		}
	}
	return v, err
}

func (p *parser) quoted() ([]byte, error) {
	start, escaped := p.i+1, false
	for j := start; j < len(p.b); j++ {
		switch p.b[j] {
		case '\\':
			escaped = true
			j++
		case '\r', '\n':
			return nil, errors.New("imapc: line break in quoted string")
		case '"':
			s := p.b[start:j]
			p.i = j + 1
			if !escaped {
				return s, nil
			}
			return unescape(s), nil
		}
	}
	return nil, errors.New("imapc: quoted string not closed")
}

func unescape(s []byte) []byte {
	u := make([]byte, 0, len(s))
	for k := 0; k < len(s); k++ {
		if s[k] == '\\' && k+1 < len(s) {
			k++
		}
		u = append(u, s[k])
	}
	return u
}

func (p *parser) literal() ([]byte, error) {
	if p.b[p.i] == '~' {
		p.i++
	}
	e := bytes.Index(p.b[p.i:], []byte("}\r\n"))
	if e < 0 {
		return nil, errors.New("imapc: bad literal")
	}
	n, ok := literalAtEnd(p.b[p.i : p.i+e+1])
	at := p.i + e + 3
	if !ok || at+n > len(p.b) {
		return nil, errors.New("imapc: bad literal")
	}
	p.i = at + n
	return p.b[at : at+n], nil
}

// atom reads an atom. A section such as BODY[HEADER.FIELDS (A B)]<0> is one
// atom, spaces and lists within the brackets included.
func (p *parser) atom() ([]byte, error) {
	start, depth := p.i, 0
	for p.i < len(p.b) {
		c := p.b[p.i]
		switch {
		case depth > 0 && c == '"':
			if _, err := p.quoted(); err != nil {
				return nil, err
			}
			continue
		case c == '[':
			depth++
		case c == ']' && depth > 0:
			depth--
		case c == '\r' || c == '\n':
			return nil, errors.New("imapc: line break in atom")
		case depth == 0 && (c == ' ' || c == '(' || c == ')' || c == '"'):
			return p.b[start:p.i], nil
		}
		p.i++
	}
	if depth != 0 {
		return nil, errors.New("imapc: section not closed")
	}
	return p.b[start:p.i], nil
}
