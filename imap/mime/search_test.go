package mime

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
	"golang.org/x/text/encoding/unicode"
)

func TestMatcher(t *testing.T) {
	for _, tt := range []struct {
		needle, text string
		want         bool
	}{
		{"", "", true},
		{"", "x", true},
		{"x", "", false},
		{"abc", "xxABCxx", true},
		{"ABC", "xxabcxx", true},
		{"abd", "xxabcxx", false},
		{"straße", "STRAßE", true},
		{"straße", "STRASSE", false}, // RFC 5051 section 2: ß is in title case already
		{"ſ", "s", true},
		{"ÄÖÜ", "xäöüx", true},
		{"ä", "a\u0308", true},
		{"a\u0308", "Ä", true},
		{"σας", "ΣΑΣ", true},
		{"привет", "ПРИВЕТ", true},
		{"k", "\u212A", true}, // Kelvin
		{"ﬁ", "FI", true},
		{"한", "\u1112\u1161\u11ab", true},
		{"日本", "これは日本語", true},
		{"日木", "これは日本語", false},
	} {
		if got := NewMatcher(tt.needle).Match(tt.text); got != tt.want {
			t.Errorf("%q in %q: %v", tt.needle, tt.text, got)
		}
	}
}

func TestMatchHeader(t *testing.T) {
	const header = "Received: one\r\nRECEIVED : two\r\n three\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe_aus?=\r\n =?utf-8?q?_K=C3=B6ln?=\r\nTo: =?utf-8?b?SsO2cmc=?= <J@Example.org>\r\nX-Empty:\r\n\r\nBody: x\r\n"
	s := parse(t, []byte(header))
	for _, tt := range []struct {
		field, needle string
		want          bool
	}{
		{"received", "ONE", true},
		{"Received", "two three", true},
		{"Received", "four", false},
		{"subject", "grüße AUS köln", true},
		{"SUBJECT", "=?utf-8", false},
		{"to", "jörg", true},
		{"to", "j@example", true},
		{"X-Empty", "", true},
		{"X-Empty", "x", false},
		{"X-None", "", false},
		{"Body", "", false},
		{"Cc", "", false},
	} {
		m := NewMatcher(tt.needle)
		if got := MatchHeader([]byte(header), tt.field, m); got != tt.want {
			t.Errorf("%s %q: %v", tt.field, tt.needle, got)
		}
		if got, known := s.MatchField(tt.field, m); known && got != tt.want {
			t.Errorf("by structure: %s %q: %v", tt.field, tt.needle, got)
		}
	}
	for field, want := range map[string]bool{"Subject": true, "to": true, "Cc": true, "X-None": false, "Content-Type": false} {
		if _, known := s.MatchField(field, NewMatcher("x")); known != want {
			t.Errorf("%s is known: %v", field, known)
		}
	}
}

// A value that is not kept whole may still contain what is looked for.
func TestMatchFieldCut(t *testing.T) {
	s := parse(t, []byte("Subject: start"+strings.Repeat(" word", MaxField)+" end\r\n\r\n"))
	if match, known := s.MatchField("subject", NewMatcher("start")); !match || !known {
		t.Errorf("start: %v, %v", match, known)
	}
	if _, known := s.MatchField("subject", NewMatcher("end")); known {
		t.Error("a cut value is taken for the whole")
	}
	again, err := Decode(s.Encode())
	if err != nil {
		t.Fatal(err)
	}
	if _, known := again.MatchField("subject", NewMatcher("end")); known {
		t.Error("a cut value is taken for the whole after decoding")
	}
}

func matchBody(t *testing.T, data []byte, headers bool, needles ...string) []bool {
	t.Helper()
	var ms []*Matcher
	for _, n := range needles {
		ms = append(ms, NewMatcher(n))
	}
	got, err := parse(t, data).MatchBody(bytes.NewReader(data), ms, headers)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMatchBodyCharsets(t *testing.T) {
	for _, tt := range []struct {
		charset, text string
		encoding      encoding.Encoding // nil: text is encoded already
		needle        string
	}{
		{"utf-8", "schöne Grüße", encoding.Nop, "SCHÖNE"},
		{"iso-8859-1", "schöne Grüße", charmap.ISO8859_1, "grüße"},
		{"iso-8859-15", "zehn €", charmap.ISO8859_15, "N €"},
		{"windows-1250", "žluťoučký", charmap.Windows1250, "ŽLUŤ"},
		{"windows-1251", "Привет", charmap.Windows1251, "привет"},
		{"windows-1252", "“quoted”", charmap.Windows1252, "“QUOTED”"},
		{"windows-1253", "Καλημέρα", charmap.Windows1253, "καλημέρα"},
		{"windows-1254", "ığdır", charmap.Windows1254, "ığdır"},
		{"windows-1255", "שלום", charmap.Windows1255, "שלום"},
		{"windows-1256", "مرحبا", charmap.Windows1256, "مرحبا"},
		{"windows-1257", "ačiū", charmap.Windows1257, "AČIŪ"},
		{"windows-1258", "\xf0\xf4\xccng", nil, "đồng"},
		{"koi8-r", "Привет", charmap.KOI8R, "ПРИВЕТ"},
		{"koi8-u", "Привіт", charmap.KOI8U, "ПРИВІТ"},
		{"ibm866", "Привет", charmap.CodePage866, "ПРИВЕТ"},
		{"cp437", "naïve", charmap.CodePage437, "NAÏVE"},
		{"iso-2022-jp", "これは日本語です", japanese.ISO2022JP, "日本語"},
		{"shift_jis", "これは日本語です", japanese.ShiftJIS, "日本語"},
		{"euc-jp", "これは日本語です", japanese.EUCJP, "日本語"},
		{"gb2312", "你好世界", simplifiedchinese.GBK, "好世"},
		{"gbk", "你好世界", simplifiedchinese.GBK, "好世"},
		{"gb18030", "你好世界𠀀", simplifiedchinese.GB18030, "界𠀀"},
		{"hz-gb-2312", "你好世界", simplifiedchinese.HZGB2312, "好世"},
		{"big5", "你好世界", traditionalchinese.Big5, "好世"},
		{"euc-kr", "안녕하세요", korean.EUCKR, "녕하"},
		{"ks_c_5601-1987", "안녕하세요", korean.EUCKR, "녕하"},
		{"utf-16", "grüße", unicode.UTF16(unicode.LittleEndian, unicode.UseBOM), "GRÜ"},
		{"utf-16le", "grüße", unicode.UTF16(unicode.LittleEndian, unicode.IgnoreBOM), "grüße"},
		{"utf-16be", "grüße", unicode.UTF16(unicode.BigEndian, unicode.IgnoreBOM), "grüße"},
		{"utf-7", "Hi Mom +Jjo-! 1 +- 1 = 2, +ZeVnLIqe-, +2D3eAA-, A+ImIDkQ.", nil, "☺! 1 + 1"},
		{"utf-7", "+ZeVnLIqe-", nil, "日本語"},
		{"utf-7", "+2D3eAA-x", nil, "😀x"},
		{"utf-7", "A+ImIDkQ.", nil, "A≢Α."},
		{"us-ascii", "gr\xfc\xdfe", nil, "grüße"},
		{"x-nobody-knows", "gr\xfc\xdfe", nil, "grüße"},
		{"x-nobody-knows", "grüße", nil, "grüße"},
		{"", "grüße", nil, "grüße"},
	} {
		text := tt.text
		if tt.encoding != nil {
			var err error
			if text, err = tt.encoding.NewEncoder().String(tt.text); err != nil {
				t.Fatalf("%s: %v", tt.charset, err)
			}
		}
		for _, transfer := range []string{"8bit", "base64", "quoted-printable"} {
			data := fmt.Sprintf("Content-Type: text/plain; charset=\"%s\"\r\nContent-Transfer-Encoding: %s\r\n\r\n%s", tt.charset, transfer, encodeTransfer(transfer, text))
			if got := matchBody(t, []byte(data), false, tt.needle, "no such thing"); !slices.Equal(got, []bool{true, false}) {
				t.Errorf("%s, %s: %q in %q: %v", tt.charset, transfer, tt.needle, text, got)
			}
		}
	}
}

func encodeTransfer(encoding, text string) string {
	var b strings.Builder
	switch encoding {
	case "base64":
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		var bits, n uint
		for i := range len(text) {
			bits, n = bits<<8|uint(text[i]), n+8
			for n >= 6 {
				n -= 6
				b.WriteByte(digits[bits>>n&63])
			}
		}
		if n > 0 {
			b.WriteByte(digits[bits<<(6-n)&63])
		}
	case "quoted-printable":
		for i := range len(text) {
			fmt.Fprintf(&b, "=%02X", text[i])
			if i%20 == 19 {
				b.WriteString("=\r\n")
			}
		}
	default:
		return text
	}
	return b.String()
}

func TestMatchBodyPlaces(t *testing.T) {
	data := crlf("Subject: =?utf-8?q?outer-s=C3=BCbject?=\nContent-Type: multipart/mixed; boundary=a\n\npreamble\n" +
		"--a\nContent-Type: text/html\nContent-Description: =?utf-8?q?descr=C3=BCption?=\n\n<b>hyper</b>text\n" +
		"--a\nContent-Type: application/octet-stream\n\nbinary\n" +
		"--a\nContent-Type: image/png; name=picture\nContent-Transfer-Encoding: base64\n\naGlkZGVu\n" +
		"--a\nContent-Type: message/rfc822\n\nSubject: inner-subject\n\ninner body\n" +
		"--a\nContent-Type: message/delivery-status\n\nstatus report\n" +
		"--a--\nepilogue\n")
	for _, tt := range []struct {
		needle     string
		text, body bool
	}{
		{"outer-SÜBJECT", true, false},
		{"multipart/mixed", true, false},
		{"subject: outer", true, false},
		{"descrüption", true, false},
		{"picture", true, false},
		{"inner-subject", true, false},
		{"hyper</b>TEXT", true, true},
		{"inner body", true, true},
		{"status report", true, true},
		{"binary", false, false},
		{"hidden", false, false},
		{"aGlkZGVu", false, false},
		{"preamble", false, false},
		{"epilogue", false, false},
		{"textbinary", false, false},
		{"", true, true},
	} {
		if got := matchBody(t, data, true, tt.needle)[0]; got != tt.text {
			t.Errorf("TEXT %q: %v", tt.needle, got)
		}
		if got := matchBody(t, data, false, tt.needle)[0]; got != tt.body {
			t.Errorf("BODY %q: %v", tt.needle, got)
		}
	}
}

// What is looked for is found wherever buffers end.
func TestMatchBodyBorders(t *testing.T) {
	for _, needle := range []string{"nädel", strings.Repeat("längere Nädel ", 1500)} {
		for _, around := range []int{0, 4 << 10, 16 << 10, 64 << 10} {
			for shift := -20; shift < 20; shift += 3 {
				data := []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + strings.Repeat("x", max(0, around+shift)) + needle + "y")
				if got := matchBody(t, data, false, strings.ToUpper(needle), "y", "xy"); !got[0] || !got[1] {
					t.Fatalf("%.10q at %d+%d: %v", needle, around, shift, got)
				}
			}
		}
	}
}

func TestMatchBodyLongHeader(t *testing.T) {
	data := []byte("X-Long: " + strings.Repeat("word ", 100000) + "last\r\nX-Next: next\r\n\r\n")
	if got := matchBody(t, data, true, "word last", "x-next: next", "last x-next", "lastx-next"); !slices.Equal(got, []bool{true, true, false, false}) {
		t.Errorf("found %v", got)
	}
}

func TestMatchBodyReadError(t *testing.T) {
	data := crlf("Subject: x\n\nbody\n")
	want := errors.New("chunk is gone")
	for _, headers := range []bool{true, false} {
		_, err := parse(t, data).MatchBody(failingReader{want}, []*Matcher{NewMatcher("y")}, headers)
		if !errors.Is(err, want) {
			t.Errorf("error is %v", err)
		}
	}
}

type failingReader struct{ err error }

func (r failingReader) ReadAt([]byte, int64) (int, error) { return 0, r.err }

func TestDecodedPart(t *testing.T) {
	data := crlf("Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\ngr=FC=DFe\n")
	p := parse(t, data).Root()
	raw, err := io.ReadAll(p.Decoded(bytes.NewReader(data)))
	if err != nil || string(raw) != "gr\xfc\xdfe\r\n" {
		t.Errorf("decoded: %q, %v", raw, err)
	}
	text, err := io.ReadAll(p.DecodedText(bytes.NewReader(data)))
	if err != nil || string(text) != "grüße\r\n" {
		t.Errorf("text: %q, %v", text, err)
	}
}
