package mime

import (
	"testing"
)

// The message and the part numbers of RFC 9051 section 6.4.5.1.
const rfcExample = "Subject: all\nContent-Type: multipart/mixed; boundary=0\n\n" +
	"--0\n\n1\n" +
	"--0\nContent-Type: application/octet-stream\n\n2\n" +
	"--0\nContent-Type: message/rfc822\n\n" +
	"Subject: s3\nContent-Type: multipart/mixed; boundary=3\n\n" +
	"--3\n\n3.1\n--3\nContent-Type: application/octet-stream\n\n3.2\n--3--\n\n" +
	"--0\nContent-Type: multipart/mixed; boundary=4\n\n" +
	"--4\nContent-Type: image/gif\nContent-ID: 4.1\n\n4.1\n" +
	"--4\nContent-Type: message/rfc822\n\n" +
	"Subject: s4.2\nContent-Type: multipart/mixed; boundary=42\n\n" +
	"--42\nContent-Type: text/plain\n\n4.2.1\n" +
	"--42\nContent-Type: multipart/alternative; boundary=422\n\n" +
	"--422\n\n4.2.2.1\n--422\nContent-Type: text/richtext\n\n4.2.2.2\n--422--\n\n" +
	"--42--\n\n--4--\n\n--0--\n"

func TestLocate(t *testing.T) {
	data := crlf(rfcExample)
	s := parse(t, data)
	for _, tt := range []struct{ section, want string }{
		{"1", "1"},
		{"1.MIME", "\r\n"},
		{"2", "2"},
		{"2.MIME", "Content-Type: application/octet-stream\r\n\r\n"},
		{"3.HEADER", "Subject: s3\r\nContent-Type: multipart/mixed; boundary=3\r\n\r\n"},
		{"3.HEADER.FIELDS (SUBJECT)", "Subject: s3\r\n\r\n"},
		{"3.HEADER.FIELDS.NOT (SUBJECT)", "Content-Type: multipart/mixed; boundary=3\r\n\r\n"},
		{"3.MIME", "Content-Type: message/rfc822\r\n\r\n"},
		{"3.1", "3.1"},
		{"3.2", "3.2"},
		{"4.1", "4.1"},
		{"4.1.MIME", "Content-Type: image/gif\r\nContent-ID: 4.1\r\n\r\n"},
		{"4.2.HEADER", "Subject: s4.2\r\nContent-Type: multipart/mixed; boundary=42\r\n\r\n"},
		{"4.2.1", "4.2.1"},
		{"4.2.2.1", "4.2.2.1"},
		{"4.2.2.2", "4.2.2.2"},
		{"HEADER.FIELDS (subject)", "Subject: all\r\n\r\n"},
		{"HEADER.FIELDS (x)", "\r\n"},
	} {
		got, ok := sectionOf(s, data, tt.section)
		if !ok || string(got) != tt.want {
			t.Errorf("BODY[%s] is %q, %v; want %q", tt.section, got, ok, tt.want)
		}
	}
	for _, section := range []string{
		"MIME", "0", "5", "1.1", "1.2", "1.HEADER", "1.TEXT", "2.HEADER", "3.3", "3.0", "3.1.1", "4.HEADER",
		"4.1.1", "4.2.3", "4.2.2.3", "4.2.2.2.1", "3.1.HEADER", "99999999999",
	} {
		if got, ok := sectionOf(s, data, section); ok {
			t.Errorf("BODY[%s] is %q, but there is no such part", section, got)
		}
	}
}

func TestLocateSinglePart(t *testing.T) {
	data := crlf("Subject: x\n\nbody\n")
	s := parse(t, data)
	for section, want := range map[string]string{
		"": string(data), "1": "body\r\n", "TEXT": "body\r\n", "1.MIME": "Subject: x\r\n\r\n", "HEADER": "Subject: x\r\n\r\n",
	} {
		if got, ok := sectionOf(s, data, section); !ok || string(got) != want {
			t.Errorf("BODY[%s] is %q, %v; want %q", section, got, ok, want)
		}
	}
	for _, section := range []string{"2", "1.1", "1.HEADER", "1.TEXT"} {
		if _, ok := sectionOf(s, data, section); ok {
			t.Errorf("BODY[%s] exists", section)
		}
	}
}

func TestFilterHeader(t *testing.T) {
	const header = "Received: a\r\n\tb\r\nSubject : x\r\nno colon\r\nTO: y\r\nReceived: c\r\n\r\n"
	for _, tt := range []struct {
		header string
		fields []string
		not    bool
		want   string
	}{
		{header, []string{"received"}, false, "Received: a\r\n\tb\r\nReceived: c\r\n\r\n"},
		{header, []string{"SUBJECT", "to"}, false, "Subject : x\r\nTO: y\r\n\r\n"},
		{header, []string{"received"}, true, "Subject : x\r\nno colon\r\nTO: y\r\n\r\n"},
		{header, nil, false, "\r\n"},
		{header, nil, true, header},
		{header, []string{"receive", "no colon", ""}, false, "\r\n"},
		{"A: b\nC: d\n\n", []string{"a"}, false, "A: b\n\r\n"},
		{"A: b\r\n", []string{"x"}, true, "A: b\r\n"},
		{"A: b\r\n", []string{"a"}, false, "A: b\r\n\r\n"},
		{"A: b\r\n", []string{"x"}, false, ""},
		{"", []string{"x"}, false, ""},
		{"\r\n", []string{"x"}, false, "\r\n"},
		{" folded first\r\n\r\n", []string{"x"}, true, " folded first\r\n\r\n"},
	} {
		if got := string(FilterHeader([]byte(tt.header), tt.fields, tt.not)); got != tt.want {
			t.Errorf("FilterHeader(%q, %q, %v) = %q, want %q", tt.header, tt.fields, tt.not, got, tt.want)
		}
	}
}
