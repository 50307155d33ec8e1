package mime

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// plainMessage is like those of the load tests: a small header and 256 lines of
// 64 characters.
func plainMessage() []byte {
	var b bytes.Buffer
	b.WriteString("From: user1@example.org\r\nTo: user2@example.org\r\nSubject: A message of the usual size\r\n" +
		"Date: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <0123456789@example.org>\r\nMIME-Version: 1.0\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 7bit\r\nX-Mailer: none\r\n\r\n")
	for range 256 {
		for range 64 {
			b.WriteByte("abcdefghijklmnopqrstuvwxyz0123456789"[rand.IntN(36)])
		}
		b.WriteString("\r\n")
	}
	return b.Bytes()
}

// attachments is a message of about 5 MB: a text and two base64 attachments.
func attachments() []byte {
	var b bytes.Buffer
	b.WriteString("From: \"A. User\" <user1@example.org>\r\nTo: user2@example.org, \"Another, User\" <user3@example.org>\r\n" +
		"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Mon, 01 Jan 2024 00:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n" +
		"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"=_boundary\"\r\n\r\n" +
		"--=_boundary\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello\r\n")
	line := strings.Repeat("QUJD", 19) + "\r\n"
	for i := range 2 {
		fmt.Fprintf(&b, "--=_boundary\r\nContent-Type: application/octet-stream; name=\"file%d\"\r\n"+
			"Content-Disposition: attachment; filename=\"file%d\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", i, i)
		b.WriteString(strings.Repeat(line, 2500000/len(line)))
	}
	b.WriteString("--=_boundary--\r\n")
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	for _, m := range []sample{{"plain-17kB", plainMessage()}, {"multipart-5MB", attachments()}} {
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(m.data)))
			r := bytes.NewReader(nil)
			for b.Loop() {
				r.Reset(m.data)
				s, err := Parse(r)
				if err != nil || s.Size() != int64(len(m.data)) {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	s := parse(b, plainMessage())
	b.ReportAllocs()
	for b.Loop() {
		s.Encode()
	}
}

// What FETCH ENVELOPE and FETCH BODYSTRUCTURE cost for one message.
func BenchmarkFetch(b *testing.B) {
	for _, m := range []sample{{"plain", plainMessage()}, {"multipart", attachments()}} {
		stored := parse(b, m.data).Encode()
		run := func(name string, answer func(s *Structure, dst []byte) []byte) {
			b.Run(m.name+"/"+name, func(b *testing.B) {
				b.ReportAllocs()
				var dst []byte
				for b.Loop() {
					s, err := Decode(stored)
					if err != nil {
						b.Fatal(err)
					}
					dst = answer(s, dst[:0])
				}
			})
		}
		run("decode", func(s *Structure, dst []byte) []byte { return dst })
		run("envelope", (*Structure).AppendEnvelope)
		run("bodystructure", func(s *Structure, dst []byte) []byte { return s.AppendBody(dst, true) })
	}
}

func BenchmarkMatchBody(b *testing.B) {
	for _, m := range []sample{{"plain-17kB", plainMessage()}, {"multipart-5MB", attachments()}} {
		s := parse(b, m.data)
		ms := []*Matcher{NewMatcher("not to be found")}
		b.Run(m.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(m.data)))
			for b.Loop() {
				if _, err := s.MatchBody(bytes.NewReader(m.data), ms, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
