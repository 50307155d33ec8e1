package imapc

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Response is one logical server response: a line and all its literals. It is
// valid until the next response is read.
type Response struct {
	Tag  string // "*", "+" or a command tag
	Num  uint32 // message number or count, for "* n NAME"
	Name string // upper case: OK, NO, BAD, BYE, PREAUTH, EXISTS, FETCH, LIST, ...
	// Rest holds the wire bytes behind the name, without the final CRLF.
	// Literals are in it as they were sent: {n} CRLF and n bytes.
	Rest []byte
	Size int // bytes on the wire
}

// IsStatus tells whether the response is OK, NO, BAD, BYE or PREAUTH.
func (r *Response) IsStatus() bool { return isStatusName(r.Name) }

func isStatusName(s string) bool {
	switch s {
	case "OK", "NO", "BAD", "BYE", "PREAUTH":
		return true
	}
	return false
}

// Code returns the response code of a status response (RFC 3501 section 7.1):
// its upper-case name and its arguments. Both are empty when there is none.
func (r *Response) Code() (name, args string) {
	if !r.IsStatus() {
		return "", ""
	}
	return splitCode(r.Rest)
}

func splitCode(rest []byte) (name, args string) {
	if len(rest) == 0 || rest[0] != '[' {
		return "", ""
	}
	i := bytes.IndexByte(rest, ']')
	if i < 0 {
		return "", ""
	}
	name, args, _ = strings.Cut(string(rest[1:i]), " ")
	return strings.ToUpper(name), args
}

// Text returns the response as printable text, shortened for messages.
func (r *Response) Text() string {
	s := r.Name
	if r.Num > 0 {
		s = fmt.Sprintf("%d %s", r.Num, s)
	}
	if len(r.Rest) > 0 {
		s += " " + string(r.Rest)
	}
	s = strings.ToValidUTF8(s, "?")
	if len(s) > 200 {
		s = s[:200] + "..."
	}
	return s
}

// parseHead splits the first line of a response (without CRLF) into tag, number
// and name and returns where the rest begins.
func (r *Response) parseHead(head []byte) (rest int, err error) {
	tag, after, _ := bytes.Cut(head, space)
	if len(tag) == 0 {
		return 0, fmt.Errorf("imapc: response without tag: %.80q", head)
	}
	r.Tag, r.Num, r.Name = intern(tag), 0, ""
	at := len(tag) + 1
	if r.Tag == "+" {
		return min(at, len(head)), nil
	}
	name, after, _ := bytes.Cut(after, space)
	at += len(name) + 1
	if n, ok := number(name); ok && r.Tag == "*" {
		r.Num = n
		name, _, _ = bytes.Cut(after, space)
		at += len(name) + 1
	}
	r.Name = intern(name)
	return min(at, len(head)), nil
}

var space = []byte(" ")

func number(b []byte) (uint32, bool) {
	if len(b) == 0 || b[0] < '0' || b[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(b), 10, 32)
	return uint32(n), err == nil
}

// intern returns the words that responses are mostly made of without an
// allocation, and any other in upper case. Tags of commands are lower case
// ("a12") and returned as they are.
func intern(b []byte) string {
	switch string(b) {
	case "*":
		return "*"
	case "+":
		return "+"
	case "OK":
		return "OK"
	case "NO":
		return "NO"
	case "FETCH":
		return "FETCH"
	case "EXISTS":
		return "EXISTS"
	case "RECENT":
		return "RECENT"
	case "EXPUNGE":
		return "EXPUNGE"
	case "FLAGS":
		return "FLAGS"
	case "LIST":
		return "LIST"
	case "STATUS":
		return "STATUS"
	case "SEARCH":
		return "SEARCH"
	}
	if len(b) > 1 && b[0] == tagPrefix && b[1] >= '0' && b[1] <= '9' {
		return string(b)
	}
	return strings.ToUpper(string(b))
}
