package mime

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

// addSamples seeds a fuzz target with the small samples.
func addSamples(f *testing.F) {
	for _, s := range ownSamples {
		if len(s.text) < 1000 {
			f.Add([]byte(s.text))
			f.Add(crlf(s.text))
		}
	}
	f.Add(crlf(rfcExample))
}

// FuzzParse: any message has a sound structure, whose parts can be read.
func FuzzParse(f *testing.F) {
	addSamples(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := parse(t, data)
		check(t, data, s)
		for _, sec := range comparedSections {
			content, ok := sectionOf(s, data, sec)
			if !ok && content != nil {
				t.Fatal("content of a section that does not exist")
			}
		}
		s.SentDate()
		for _, headers := range []bool{true, false} {
			if _, err := s.MatchBody(bytes.NewReader(data), []*Matcher{NewMatcher("x")}, headers); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzDecode: bytes that are a stored structure give one that can be used.
func FuzzDecode(f *testing.F) {
	for _, s := range ownSamples {
		if len(s.text) < 1000 {
			f.Add(parse(f, crlf(s.text)).Encode())
		}
	}
	f.Add(parse(f, crlf(rfcExample)).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Decode(data)
		if err != nil {
			if s != nil {
				t.Fatal("a structure and an error")
			}
			return
		}
		wellFormed(t, s.AppendEnvelope(nil))
		wellFormed(t, s.AppendBody(nil, true))
		for _, sec := range comparedSections {
			if r, ok := s.Locate(parseSection(sec)); ok && (r.Offset < 0 || r.Length < 0 || r.End() > s.Size()) {
				t.Fatalf("%s is at %v of %d", sec, r, s.Size())
			}
		}
		again, err := Decode(s.Encode())
		if err != nil || !bytes.Equal(again.Encode(), s.Encode()) {
			t.Fatalf("encoding does not go round: %v", err)
		}
	})
}

// FuzzHeader: header values and headers of any bytes can be decoded, searched
// and filtered.
func FuzzHeader(f *testing.F) {
	addSamples(f)
	for _, word := range []string{"=?utf-7?q?+AOQ-?=", "=?iso-2022-jp?b?GyRCRnxLXBsoQg==?= =?utf-8?q?a?=", "Fri, 21 Nov 1997 09:55:06 -0600"} {
		f.Add([]byte(word))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text := DecodeHeader(data)
		if !utf8.ValidString(text) {
			t.Fatalf("%q is no UTF-8", text)
		}
		if !NewMatcher(text).Match("x" + text + "y") {
			t.Fatalf("%q does not match itself", text)
		}
		ParseDate(data)
		parseAddresses(data)
		parseContentType(data)
		parseDisposition(data)
		parseLanguages(data)
		MatchHeader(data, "subject", NewMatcher("x"))
		names := []string{"subject", "to"}
		in, out := FilterHeader(data, names, false), FilterHeader(data, names, true)
		if len(in)+len(out) > len(data)+2*len("\r\n") {
			t.Fatalf("%q and %q are more than %q", in, out, data)
		}
	})
}

// FuzzText: text of any charset and transfer encoding becomes UTF-8.
func FuzzText(f *testing.F) {
	f.Add("utf-7", "base64", []byte("+AOQ-"))
	f.Add("iso-2022-jp", "quoted-printable", []byte("=1B$BF|=\r\nK\\"))
	f.Add("gb18030", "8bit", []byte("\x81\x30\x81\x30"))
	f.Add("hz-gb-2312", "7bit", []byte("~{<:Ky2;~}"))
	f.Fuzz(func(t *testing.T, charset, encoding string, data []byte) {
		if strings.ContainsAny(charset+encoding, "\r\n\"\\") {
			return
		}
		msg := append([]byte("Content-Type: text/plain; charset=\""+charset+"\"\r\nContent-Transfer-Encoding: "+encoding+"\r\n\r\n"), data...)
		s := parse(t, msg)
		var b bytes.Buffer
		if _, err := b.ReadFrom(s.Root().DecodedText(bytes.NewReader(msg))); err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(b.Bytes()) {
			t.Fatalf("%q is no UTF-8", b.Bytes())
		}
		needle := b.String()
		if found, err := s.MatchBody(bytes.NewReader(msg), []*Matcher{NewMatcher(needle)}, false); err != nil || !found[0] && s.Root().isText() {
			t.Fatalf("%q does not contain itself: %v", needle, err)
		}
	})
}

// Input that is hard on parsers that go back: all of it takes time in
// proportion to its length. (Any that did not would run into the time limit.)
func TestHostile(t *testing.T) {
	const size = 512 << 10
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for name, text := range map[string]string{
		"comments":         "To: " + fill("("),
		"closed comments":  "To: " + fill("()"),
		"nested comments":  "To: " + fill("(a") + fill(")"),
		"quotes":           "To: " + fill("\""),
		"groups":           "To: " + fill("a:"),
		"routes":           "To: <" + fill("@a,"),
		"commas":           "To: " + fill(","),
		"words":            "To: " + fill("a "),
		"angles":           "To: " + fill("<a@b>,"),
		"open angles":      "To: " + fill("a <b,"),
		"parameters":       "Content-Type: text/plain" + fill("; a*1=b"),
		"pieces":           "Content-Type: text/plain" + fill("; a*0*=%"),
		"broken params":    "Content-Type: text/plain" + fill(";("),
		"open quotes":      "Content-Type: text/plain" + fill(";a=\"b;"),
		"languages":        "Content-Language: " + fill("a,"),
		"words to decode":  "Subject: " + fill("=?utf-8?q?a"),
		"words of charset": "Subject: " + fill("=?utf-8?q?a?="),
		"header lines":     fill("To: a@b\n"),
		"short lines":      fill("a\n"),
		"empty fields":     fill("To:\n"),
		"folding":          "Subject: x\n" + fill(" \n"),
		"boundaries":       "Content-Type: multipart/mixed; boundary=b\n\n" + fill("--b\n"),
		"near boundaries":  "Content-Type: multipart/mixed; boundary=" + strings.Repeat("b", 70) + "\n\n" + fill("--"+strings.Repeat("b", 69)+"\n"),
		"dashes":           "Content-Type: multipart/mixed; boundary=b\n\n" + fill("--"),
		"dash lines":       deep(MaxDepth-1) + fill("\n--b"),
		"multiparts":       "Content-Type: multipart/mixed; boundary=b\n\n" + fill("--b\nContent-Type: multipart/mixed; boundary=b\n\n"),
		"messages":         fill("Content-Type: message/rfc822\n\n"),
		"digests":          "Content-Type: multipart/digest; boundary=b; x=\"" + strings.Repeat("x", MaxField/2) + "\"\n\n" + fill("--b\n\n"),
		"base64":           "Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n" + fill("="),
		"quoted-printable": "Content-Type: text/plain\nContent-Transfer-Encoding: quoted-printable\n\n" + fill("= "),
		"utf-7":            "Content-Type: text/plain; charset=utf-7\n\n" + fill("+2AA"),
		"marks":            "Content-Type: text/plain; charset=utf-8\n\n" + fill("\u0308"),
		"open tags":        "Content-Type: text/html\n\n" + fill("<style>"),
		"closed tags":      "Content-Type: text/html\n\n" + fill("<style></"),
		"open comments":    "Content-Type: text/html\n\n" + fill("<!--"),
		"open values":      "Content-Type: text/html\n\n" + fill("<a x=\""),
		"blank lines":      "Content-Type: text/plain\n\n" + fill("\n"),
	} {
		t.Run(name, func(t *testing.T) {
			data := []byte(text)
			s := parse(t, data)
			stored := s.Encode()
			if len(stored) > MaxText+MaxParts*64 {
				t.Errorf("the stored form has %d bytes", len(stored))
			}
			if _, err := Decode(stored); err != nil {
				t.Error(err)
			}
			wellFormed(t, s.AppendEnvelope(nil))
			wellFormed(t, s.AppendBody(nil, true))
			if _, err := s.MatchBody(bytes.NewReader(data), []*Matcher{NewMatcher("nowhere")}, true); err != nil {
				t.Error(err)
			}
			if _, err := s.Preview(bytes.NewReader(data), 200); err != nil {
				t.Error(err)
			}
			header, _ := s.Locate(Section{Specifier: Header})
			FilterHeader(data[:header.Length], []string{"To"}, false)
			DecodeHeader(data)
			MatchHeader(data, "x", NewMatcher("x"))
		})
	}
}
