package mime

import (
	"encoding/hex"
	"errors"
	"testing"
)

// The stored form must stay readable for ever. This one was written by version
// 1; if the test fails, what changed needs a new version, and this one
// must still be read.
const storedV1 = "016602010100392d06021101011b00003e1b0401010109786d756c7469706172742f" +
	"6d697865643b20626f756e646172793d61746578742f68746d6c"

func TestDecodeRefuses(t *testing.T) {
	good := parse(t, crlf(rfcExample)).Encode()
	if _, err := Decode(good); err != nil {
		t.Fatal(err)
	}
	for i := range good {
		if _, err := Decode(good[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := Decode(append(good[:len(good):len(good)], 0)); !errors.Is(err, ErrCorrupt) {
		t.Errorf("with a byte more: %v", err)
	}
	if _, err := Decode(append([]byte{version + 1}, good[1:]...)); !errors.Is(err, ErrVersion) {
		t.Errorf("newer version: %v", err)
	}
	for name, s := range map[string]*Structure{
		"no parts":             {},
		"part beyond the end":  {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 6}}},
		"message not whole":    {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 4}}},
		"leaf with child":      {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 5, children: 1}, {header: Range{5, 5}}}},
		"message without":      {size: 10, parts: []part{{kind: message, header: Range{0, 5}, bodyLen: 5}}},
		"child missing":        {size: 10, parts: []part{{kind: multipart, header: Range{0, 5}, bodyLen: 5, children: 1}}},
		"child in header":      {size: 10, parts: []part{{kind: multipart, header: Range{0, 5}, bodyLen: 5, children: 1}, {header: Range{4, 2}}}},
		"message has no start": {size: 10, parts: []part{{kind: message, header: Range{0, 5}, bodyLen: 5, children: 1}, {header: Range{6, 4}}}},
		"two roots":            {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 5}, {header: Range{5, 5}}}},
		"children overlap": {size: 10, parts: []part{{kind: multipart, header: Range{0, 1}, bodyLen: 9, children: 2},
			{header: Range{2, 5}}, {header: Range{4, 3}}}},
		"unknown kind":   {size: 10, parts: []part{{kind: kinds, header: Range{0, 5}, bodyLen: 5}}},
		"unknown field":  {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 5, fields: 1}}, fields: []field{{name: 100}}},
		"too many lines": {size: 10, parts: []part{{header: Range{0, 5}, bodyLen: 5, lines: 6}}},
	} {
		if _, err := Decode(s.Encode()); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStoredForm(t *testing.T) {
	data := crlf("Subject: x\nContent-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: text/html\n\nx\ny\n--a--\n")
	got := hex.EncodeToString(parse(t, data).Encode())
	if got != storedV1 {
		t.Errorf("the stored form is\n%s, want\n%s", got, storedV1)
	}
}

func TestLimits(t *testing.T) {
	s := parse(t, crlf(deepMessages(1000)))
	if s.Len() != MaxDepth {
		t.Errorf("%d nested messages have %d parts", 1000, s.Len())
	}
	last := s.At(s.Len() - 1)
	if typ, sub := last.Type(); typ != "application" || sub != "octet-stream" {
		t.Errorf("the deepest part is %s/%s", typ, sub)
	}
	long := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = 'x'
		}
		return string(b)
	}
	s = parse(t, crlf("Subject: "+long(MaxField+1)+"\nTo: "+long(MaxField-1)+",\n a@b\nFrom: a@b\n\nx\n"))
	for name, want := range map[FieldName]int{FieldSubject: MaxField, FieldTo: MaxField, FieldFrom: 3} {
		if raw, _ := s.Root().Raw(name); len(raw) != want {
			t.Errorf("field %d has %d bytes, want %d", name, len(raw), want)
		}
	}
	many := ""
	for range 1000 {
		many += "To: a@b\n"
	}
	s = parse(t, crlf(many+"\n"))
	if n := len(s.Root().fields()); n != maxFields {
		t.Errorf("%d fields are kept", n)
	}
}
