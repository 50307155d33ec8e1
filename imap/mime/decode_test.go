package mime

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func TestDecodeHeader(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"", ""},
		{"plain text", "plain text"},
		{"a\r\n b\n\tc", "a b\tc"},
		// RFC 2047 section 8
		{"(=?ISO-8859-1?Q?a?=)", "(a)"},
		{"(=?ISO-8859-1?Q?a?= b)", "(a b)"},
		{"(=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=)", "(ab)"},
		{"(=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-1?Q?b?=)", "(ab)"},
		{"(=?ISO-8859-1?Q?a_b?=)", "(a b)"},
		{"(=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?=)", "(a b)"},
		{"=?US-ASCII?Q?Keith_Moore?= <moore@cs.utk.edu>", "Keith Moore <moore@cs.utk.edu>"},
		{"=?ISO-8859-1?B?SWYgeW91IGNhbiByZWFkIHRoaXMgeW8=?= =?ISO-8859-2?B?dSB1bmRlcnN0YW5kIHRoZSBleGFtcGxlLg==?=", "If you can read this you understand the example."},
		// RFC 2231 section 5
		{"=?US-ASCII*EN?Q?Keith_Moore?=", "Keith Moore"},
		// Characters split between words.
		{"=?utf-8?b?w7=?= =?utf-8?b?w7w=?=", "Ãü"},
		{"=?utf-8?q?=C3?= =?utf-8?q?=BC?=", "ü"},
		{"=?utf-8?q?=C3?= =?UTF-8?Q?=BC?=", "ü"},
		{"=?iso-2022-jp?b?GyRCRnxLXBsoQg==?=", "日本"},
		{"=?koi8-r?b?8NLJ18XU?=", "Привет"},
		{"=?utf-7?q?+AOQ-?=", "ä"},
		{"=?gb18030?b?xOO6ww==?=", "你好"},
		{"=?big5?b?p0Gmbg==?=", "你好"},
		{"=?x-nobody-knows?q?a=FC?=", "aü"},
		// Words within words' distance.
		{"a=?utf-8?q?b?=c", "abc"},
		{"=?utf-8?q?a?==?utf-8?q?b?=", "ab"},
		{"=?utf-8?q?What??=", "What?"},
		{"=?utf-8?q?with space?=", "with space"},
		// Broken ones.
		{"=?", "=?"},
		{"=?utf-8?q?open", "=?utf-8?q?open"},
		{"=?utf-8?x?a?=", "=?utf-8?x?a?="},
		{"=??q?a?=", "=??q?a?="},
		{"=?utf-8?q?a=?=", "a="},
		{"=?utf-8?q?=4?= =?utf-8?q?=zz?=", "=4=zz"},
		{"=?a?=?utf-8?q?b?=", "=?a?b"},
		{"=?=?utf-8?q?b?=", "=?b"},
		{"=?utf-8?b?!!?=", ""},
		{"=?utf-8?q??= x", " x"},
		// Bytes that should not be there.
		{"gr\xfc\xdfe", "grüße"},
		{"grüße", "grüße"},
		{"\xff\x80", "ÿ€"},
	} {
		if got := DecodeHeader([]byte(tt.raw)); got != tt.want {
			t.Errorf("DecodeHeader(%q) = %q, want %q", tt.raw, got, tt.want)
		}
	}
}

func TestParam(t *testing.T) {
	for raw, want := range map[string]string{
		"text/plain; name=a":                                    "a",
		"text/plain; NAME=\"a b\"":                              "a b",
		"text/plain; name*=utf-8''%C3%BC%20x":                   "ü x",
		"text/plain; name*=iso-8859-1'de'%fc":                   "ü",
		"text/plain; name*0*=utf-8''%C3; name*1*=%BC; name*2=x": "üx",
		"text/plain; name*0=a; name*1=b":                        "ab",
		"text/plain; name=\"=?utf-8?q?=C3=BC?=\"":               "ü",
		"text/plain; name*=broken":                              "broken",
		"text/plain; name*=utf-8''%C3%BC%4":                     "ü%4",
		"text/plain; other=a":                                   "",
	} {
		if got := parse(t, []byte("Content-Type: "+raw+"\r\n\r\n")).Root().Param("name"); got != want {
			t.Errorf("name of %q is %q, want %q", raw, got, want)
		}
	}
}

func TestTransferDecoding(t *testing.T) {
	for _, tt := range []struct{ encoding, in, want string }{
		{"7bit", "a=41\r\n", "a=41\r\n"},
		{"x-unknown", "QQ==", "QQ=="},
		{"base64", "", ""},
		{"base64", "QUJD\r\nREVG\r\n", "ABCDEF"},
		{"base64", "QQ==", "A"},
		{"base64", "QUI=", "AB"},
		{"base64", "QQ==QUI=QUJD", "AABABC"},
		{"base64", "Q-U*J D\x00", "ABC"},
		{"base64", "QUJ", "AB"},
		{"base64", "Q", ""},
		{"quoted-printable", "a=3Db=3d", "a=b="},
		{"quoted-printable", "a=\r\nb=\nc", "abc"},
		{"quoted-printable", "a= \t \r\nb", "ab"},
		{"quoted-printable", "a=zz=4=4z=", "a=zz=4=4z="},
		{"quoted-printable", "==41=", "=A="},
		{"quoted-printable", "a= b", "a= b"},
		{"quoted-printable", "a=\rb", "a=\rb"},
		{"quoted-printable", "=C3=BC  \r\n", "ü  \r\n"},
		{"quoted-printable", "=" + strings.Repeat(" ", 500) + "\nx", "=" + strings.Repeat(" ", 500) + "\nx"},
	} {
		for name, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "by bytes": iotest.OneByteReader, "early end": iotest.DataErrReader,
		} {
			got, err := io.ReadAll(transferReader(tt.encoding, wrap(strings.NewReader(tt.in))))
			if err != nil || string(got) != tt.want {
				t.Errorf("%s of %q, %s: %q, %v; want %q", tt.encoding, tt.in, name, got, err, tt.want)
			}
		}
	}
}

func TestParseDate(t *testing.T) {
	for _, tt := range []struct{ raw, want string }{
		{"Fri, 21 Nov 1997 09:55:06 -0600", "1997-11-21T09:55:06-06:00"},
		{"21 Nov 97 09:55:06 GMT", "1997-11-21T09:55:06Z"},
		{"Fri,21 Nov 1997 09:55:06 EST", "1997-11-21T09:55:06-05:00"},
		{"Fri, 21 Nov 1997 09(comment):   55  :  06 -0600", "1997-11-21T00:00:00Z"},
		{"Thu,\r\n      13\r\n        Feb\r\n          1969\r\n      23:32\r\n               -0330 (Newfoundland Time)", "1969-02-13T23:32:00-03:30"},
		{"(x) Fri, (y) 21 Nov 1997 (z) 09:55 +0100", "1997-11-21T09:55:00+01:00"},
		{"Fri Nov 21 09:55:06 1997", "1997-11-21T09:55:06Z"},
		{"Fri Nov 21 09:55:06 MST 1997", "1997-11-21T09:55:06-07:00"},
		{"21-Nov-1997 09:55:06 +0000", "1997-11-21T09:55:06Z"},
		{"1997-11-21 09:55:06 +0000", "1997-11-21T09:55:06Z"},
		{"Friday, 21 November 1997", "1997-11-21T00:00:00Z"},
		{"1 Jan 49 00:00 Z", "2049-01-01T00:00:00Z"},
		{"1 Jan 50 00:00 Z", "1950-01-01T00:00:00Z"},
		{"1 Jan 102 00:00 Z", "2002-01-01T00:00:00Z"},
		{"31 Dec 2016 23:59:60 +0000", "2016-12-31T23:59:59Z"},
		{"1 Jan 2001 00:00:00 +01:00", "2001-01-01T00:00:00+01:00"},
		{"1 Jan 2001 00:00:00.123 +0100", "2001-01-01T00:00:00+01:00"},
		{"1 Jan 2001 25:00:00 +0100", "2001-01-01T00:00:00Z"},
		{"1 Jan 2001 00:00:00 +9999", "2001-01-01T00:00:00Z"},
		{"1 Jan 2001 00:00:00 XYZ", "2001-01-01T00:00:00Z"},
	} {
		got, ok := ParseDate([]byte(tt.raw))
		if s := got.Format(time.RFC3339); !ok || s != tt.want {
			t.Errorf("ParseDate(%q) = %s, %v; want %s", tt.raw, s, ok, tt.want)
		}
	}
	for _, raw := range []string{"", "x", "1 Jan", "Jan 2001", "1 2001", "32 Jan 2001", "31 Apr 2001", "0 Jan 2001", "(1 Jan 2001", ",,,", "1 Jan 20011", "99999999999999999999 Jan 2001"} {
		if got, ok := ParseDate([]byte(raw)); ok {
			t.Errorf("ParseDate(%q) = %v", raw, got)
		}
	}
	if got, ok := parse(t, crlf("Date: 1 Jan 2001\nDate: 2 Jan 2001\n\n")).SentDate(); !ok || got.Day() != 2 {
		t.Errorf("SentDate = %v, %v", got, ok)
	}
	if _, ok := parse(t, crlf("Subject: x\n\n")).SentDate(); ok {
		t.Error("a message without Date has a date")
	}
}

func TestUTF8OrLatinInPieces(t *testing.T) {
	text := []byte("a\xc3\xbc\xfc\xe2\x82\xac\xe2\x82x\xf0\x9f\x98\x80\xf0")
	want := "aüü€â‚x😀ð"
	r := transferReader("", iotest.OneByteReader(bytes.NewReader(text)))
	got, err := io.ReadAll(newTextReader("", r))
	if err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}
