package mime

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPreview(t *testing.T) {
	const html = "Content-Type: text/html; charset=utf-8\n\n"
	const alternative = "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain\n\n"
	for _, tt := range []struct{ name, message, want string }{
		{"plain", "\nHello\nBob,\n\n how   are\tyou?\n", "Hello Bob, how are you?"},
		{"empty", "Subject: x\n\n", ""},
		{"charset", "Content-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nGr=FC=DFe =\nan alle", "Grüße an alle"},
		{"quotation first", "\nOn Monday Ann wrote:\n> what?\n>> why?\n\nBecause.\n", "Because."},
		{"quotation last", "\nYes.\n\nAnn wrote:\n\n> really?\n", "Yes."},
		{"all is quoted", "\n> one\n> two\n", "> one > two"},
		{"signature", "\nBye\n-- \nBob, Inc.\n", "Bye"},
		{"html", html + "<html><head><title>T</title><style>p > a {x: y}</style></head><body>\n<p>Hello <b>B</b>ob</p><p>A&nbsp;&amp;&#32;B &lt;b&gt;", "Hello Bob A & B <b>"},
		{"comments and scripts", html + "a<!-- <p>no</p> -->b<script>if (1<2) x('</p>')</script >c<!doctype x>d", "ab cd"},
		{"attributes", html + "<a title=\"x > y\" href='>'>link</a> 1 < 2 <", "link 1 < 2 <"},
		{"hidden characters", html + "\u200c\u00ad&zwnj;&#847;<p>\ufeffnow\u200b here", "now here"},
		{"no end", html + "before<style>after", "before"},
		{"html instead of nothing", alternative + " \n\n--b\nContent-Type: text/html\n\n<i>see</i>\n--b--\n", "see"},
		{"plain before html", alternative + "text\n--b\nContent-Type: text/html\n\n<i>see</i>\n--b--\n", "text"},
		{"attachment", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Disposition: attachment\n\nno\n--b\n\nyes\n--b--\n", "yes"},
		{"nothing to see", "Content-Type: multipart/encrypted; boundary=b\n\n--b\nContent-Type: application/pgp-encrypted\n\nVersion: 1\n--b--\n", ""},
		{"forwarded", "Content-Type: message/rfc822\n\nSubject: x\n\ninner\n", "inner"},
	} {
		data := crlf(tt.message)
		got, err := parse(t, data).Preview(bytes.NewReader(data), 200)
		if err != nil || got != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.name, got, err, tt.want)
		}
	}
}

// Characters are counted, not bytes, and none is cut.
func TestPreviewLength(t *testing.T) {
	for _, text := range []string{strings.Repeat("ü", 500), strings.Repeat("ü ", 500), strings.Repeat("a", 16<<10-1) + "ü"} {
		data := []byte("Content-Type: text/plain; charset=utf-8\r\n\r\n" + text)
		got, err := parse(t, data).Preview(bytes.NewReader(data), 200)
		if n := utf8.RuneCountInString(got); err != nil || n < 199 || n > 200 || !utf8.ValidString(got) {
			t.Errorf("%d characters, %v: %q", n, err, got)
		}
	}
}

// FuzzPreview: any text has a preview that is UTF-8, short, and in one line. (What
// does not take linear time runs into the limit of TestHostile's kind.)
func FuzzPreview(f *testing.F) {
	f.Add("html", "<p>a<!-- x --><style>y</style>&lt;b title='>'")
	f.Add("plain", "Ann wrote:\n> x\n\ny\n-- \nz")
	f.Add("html", strings.Repeat("<style>", 100))
	f.Fuzz(func(t *testing.T, subtype, text string) {
		if strings.ContainsAny(subtype, "\r\n") {
			return
		}
		data := []byte("Content-Type: text/" + subtype + "\r\n\r\n" + text)
		got, err := parse(t, data).Preview(bytes.NewReader(data), 20)
		if err != nil || !utf8.ValidString(got) || utf8.RuneCountInString(got) > 20 || strings.ContainsAny(got, "\r\n\t\x00") {
			t.Fatalf("%q, %v", got, err)
		}
	})
}
