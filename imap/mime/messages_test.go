package mime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sample is a message for tests.
type sample struct {
	name string
	data []byte // lines end in CRLF
}

// ownSamples are messages that are broken, or odd, or meant to be hard.
// Lines end in LF here.
var ownSamples = []struct{ name, text string }{
	{"empty", ""},
	{"only-newline", "\n"},
	{"no-header", "\nbody\nmore\n"},
	{"header-only", "Subject: x\nFrom: a@b\n"},
	{"header-only-no-newline", "Subject: x\nFrom: a@b"},
	{"header-and-empty-line", "Subject: x\n\n"},
	{"no-final-newline", "Subject: x\n\nbody"},
	{"line-without-colon", "Subject: x\nthis is no header\nFrom: a@b.c\n\nbody\n"},
	{"first-line-folded", " folded\nSubject: x\n\nbody\n"},
	{"mbox-from", "From foo Mon Jan  1 00:00:00 2001\nSubject: x\n\nbody\n"},
	{"nul", "Subject: a\x00b\nFrom: x\x00y <a@b>\nX-Nul: \x00\n\nbo\x00dy\n"},
	{"eight-bit", "Subject: gr\xfc\xdfe\nFrom: J\xf6rg <j\xf6rg@b\xfccher.example>\nTo: =?utf-8?q?gr=C3=BC=C3=9Fe?= <a@b>\nContent-Type: text/plain; name=\"\xe4.txt\"\n\nk\xf6rper\n"},
	{"utf8-header", "Subject: grüße\nFrom: Jörg <jörg@bücher.example>\n\nkörper\n"},
	{"bare-cr", "Subject: a\rb\nTo: a\rb <c@d>\n\nbo\rdy\n"},
	{"tabs", "Subject:\ta\tb\nFrom:\tA\tB\t<a@b>\n\nx\n"},
	{"space-runs", "Subject:   a   b   \nFrom:  \"A   B\"   <a@b>\nMessage-ID:   <a   b>   \nDate:  1   Jan  \n\nx\n"},
	{"blank-values", "Subject: \nFrom:\nTo:   \nDate:\nMessage-ID:\t\n\nx\n"},
	{"name-with-space", "Subject : x\nFrom\t: a@b\n\nx\n"},
	{"folded", "Subject: a\n b\n\tc\nFrom: a\n <x@\n y>\nReferences: <a>\n <b>\nMessage-ID:\n <foo@bar>\nDate: a\n  b\n\nx\n"},
	{"folded-blank", "Subject: a\n \nFrom: a@b\n\nx\n"},
	{"folded-first-empty", "Subject:\n x\nTo:\n   \n\nx\n"},
	{"quotes", "Subject: \"a\" \\ \"b\" \"c\" \"d\"\nMessage-ID: <\"a\"\\>\nIn-Reply-To: \"\\\"\nFrom: \"a \\\"b\\\" c\" <\"x y\"@z>\n\nx\n"},
	{"many-quotes", "Subject: \"\"\"\"\"\"\nMessage-ID: \"\"\"\"\"\n\nx\n"},
	{"duplicates", "Subject: one\nSubject: two\nFrom: a@b\nFrom: c@d\nDate: 1\nDate: 2\nMessage-ID: <1>\nMessage-ID: <2>\nTo: x@y\nTo: z@y\nSender:\nSender: q@r\n\nx\n"},
	{"duplicate-empty", "Subject: one\nSubject:\nFrom: a@b\nFrom:\nTo: a@b\nTo: <\n\nx\n"},
	{"group", "To: friends: a@b, C <c@d>;\nCc: undisclosed-recipients:;\nBcc: empty group : ;, x@y\n\nx\n"},
	{"group-broken", "To: friends: a@b, c@d\nCc: x:\nBcc: y: a@b, ;\nReply-To: z: broken, c@d;, e@f\n\nx\n"},
	{"group-comment", "To: (c) g (d): (e) a@b (f), c@d (g); (h)\n\nx\n"},
	{"group-in-group", "To: a: b: c@d;, e@f;\n\nx\n"},
	{"comments", "From: a@b (Joe Doe)\nTo: (x) Name (y) <(z) c@d (w)> (v)\nCc: a(b)@(c)d(e)\nBcc: (only)\nSender: a@b (one) (two)\n\nx\n"},
	{"comment-nested", "From: a@b (J (x) \\) D)\nTo: a@b (unclosed\nCc: (unclosed a@b\nBcc: a@b, (unclosed\n\nx\n"},
	{"route", "From: <@a,@b:c@d>\nTo: N <@a:c@d>, <@a, @b : c@d>\nCc: <@a c@d>, <@:c@d>\nBcc: <@a:>, x@y\n\nx\n"},
	{"angle", "From: <>\nTo: N <>\nCc: <a>\nBcc: <a@>\nReply-To: <@b>\nSender: N <a@b\n\nx\n"},
	{"angle2", "From: a@b>\nTo: N < a @ b >\nCc: <a@b> trailing\nBcc: <a@b> x, <c@d>\nReply-To: <<a@b>>\nSender: a <b@c> <d@e>\n\nx\n"},
	{"bare-words", "From: joe\nTo: Joe Doe\nCc: joe, doe\nBcc: \"quoted only\"\nReply-To: \"quoted\" word\nSender: joe doe@x\n\nx\n"},
	{"bare-words2", "From: joe.doe\nTo: joe..doe@x..y\nCc: .joe@x\nBcc: joe.@x.\nReply-To: J. Doe <j@d>\nSender: .J Doe <j@d>\n\nx\n"},
	{"at", "From: @\nTo: @b\nCc: a@\nBcc: a@b@c\nReply-To: a@b c@d\nSender: a @ b . c\n\nx\n"},
	{"commas", "From: ,a@b\nTo: a@b,,c@d\nCc: a@b,\nBcc: , ,\nReply-To: a@b;c@d\n\nx\n"},
	{"literals", "From: a@[1.2.3.4]\nTo: a@[x\\]y] , b@c\nCc: a@[unclosed\nBcc: <a@[IPv6:::1]>\n\nx\n"},
	{"quoted-local", "From: \"a b\"@c\nTo: \"a\\\"b\"@c\nCc: \"\"@c\nBcc: \"\" <a@b>\nReply-To: \"unclosed <a@b>\nSender: \"a\".b@c\n\nx\n"},
	{"encoded-names", "From: =?utf-8?q?J=C3=B6rg?= <a@b>\nTo: \"=?utf-8?q?J=C3=B6rg?=\" <a@b>\nSubject: =?iso-8859-1?q?a=FC?=\n =?broken\n\nx\n"},
	{"apostrophe", "From: o'neill@x, 'q' <a@b>\nTo: a+b@c, a=b@c, a/b@c, a?b@c\nCc: a:b\n\nx\n"},
	{"outlook", "To: a@b; c@d\nCc: 'a@b'\nBcc: [x] <a@b>\nFrom: a b. c (d) e <f@g>\n\nx\n"},
	{"ct-none", "MIME-Version: 1.0\n\nx\ny\n"},
	{"ct-empty", "Content-Type:\n\nx\n"},
	{"ct-text", "Content-Type: text\n\nx\n"},
	{"ct-text-slash", "Content-Type: text/\n\nx\n"},
	{"ct-text-params", "Content-Type: text; charset=utf-8\n\nx\n"},
	{"ct-slash", "Content-Type: /plain\n\nx\n"},
	{"ct-word", "Content-Type: foo\n\nx\n"},
	{"ct-word-slash", "Content-Type: foo/\n\nx\n"},
	{"ct-case", "CONTENT-TYPE: TEXT/HTML; CHARSET=UTF-8; Format=Flowed\nCONTENT-TRANSFER-ENCODING: BASE64\n\neA==\n"},
	{"ct-comments", "Content-Type: (a) text (b) / (c) plain (d); (e) charset (f) = (g) utf-8 (h); x=y\n\nx\n"},
	{"ct-spaces", "Content-Type: text / plain ; charset = utf-8 ; a = \"b c\"\n\nx\n"},
	{"ct-no-value", "Content-Type: text/plain; charset; a=; b=c; d\n\nx\n"},
	{"ct-double-semicolon", "Content-Type: text/plain;; charset=utf-8;\n\nx\n"},
	{"ct-unclosed", "Content-Type: text/plain; charset=\"utf-8; a=b\n\nx\n"},
	{"ct-unclosed-comment", "Content-Type: text/plain (foo; charset=utf-8\n\nx\n"},
	{"ct-garbage", "Content-Type: text/plain garbage; charset=utf-8\n\nx\n"},
	{"ct-garbage2", "Content-Type: text/plain charset=utf-8\n\nx\n"},
	{"ct-equals", "Content-Type: text/plain; name==?utf-8?b?w7w=?=; a=b\n\nx\n"},
	{"ct-tspecials", "Content-Type: text/plain; name=a/b?c; a=b@c\n\nx\n"},
	{"ct-dup-param", "Content-Type: text/plain; charset=a; charset=b\n\nx\n"},
	{"ct-dup", "Content-Type: text/html; a=b\nContent-Type: image/png\nContent-ID: <1>\nContent-ID: <2>\nContent-Transfer-Encoding: 8bit\nContent-Transfer-Encoding: base64\nContent-Disposition: inline\nContent-Disposition: attachment; filename=x\nContent-Disposition: foo\n\nx\n"},
	{"ct-8bit", "Content-Type: text/plain; name=\"\xfc\"; a\xe4=b\n\nx\n"},
	{"ct-message", "Content-Type: message/partial; id=\"x\"; number=1\n\nSubject: y\n\nx\n"},
	{"ct-quoted-type", "Content-Type: \"text/html\"\n\nx\n"},
	{"ct-nul", "Content-Type: text/pl\x00ain; a=\"b\x00c\"\nContent-ID: a\x00b\n\nx\n"},
	{"ct-utf8-star", "Content-Type: text/plain; name*=utf-8''%C3%BC\n\nx\n"},
	{"2231-continued", "Content-Type: text/plain; name*0=a; name*1=\"b c\"; x=y\n\nx\n"},
	{"2231-mixed", "Content-Type: text/plain; name*0*=utf-8''%C3%BC; name*1=\"50%\"; name*2*=%20z\n\nx\n"},
	{"2231-mixed2", "Content-Type: text/plain; name*0=a; name*1*=%20z\n\nx\n"},
	{"2231-order", "Content-Type: text/plain; name*2=c; name*0=a; name*1=b; b*=''x; a*0=1\n\nx\n"},
	{"2231-missing", "Content-Type: text/plain; name*0=a; name*2=c; n*1*=''x\n\nx\n"},
	{"2231-broken", "Content-Type: text/plain; name*x=a; *=b; name**=c; name*0*1=d; name*99999999999=e; name*01=f\n\nx\n"},
	{"2231-dup", "Content-Type: text/plain; name*0=a; name*0=b; NAME*1=c; name=plain\n\nx\n"},
	{"2231-case", "Content-Type: text/plain; Name*0=a; name*1=b\n\nx\n"},
	{"2231-boundary", "Content-Type: multipart/mixed; boundary*0=a; boundary*1=b\n\n--ab\n\nx\n--ab--\n"},
	{"2231-boundary-ext", "Content-Type: multipart/mixed; boundary*=us-ascii''ab\n\n--ab\n\nx\n--ab--\n"},
	{"cte-odd", "Content-Transfer-Encoding: quoted-printable; foo\n\nx\n"},
	{"cte-quoted", "Content-Transfer-Encoding: \"base64\"\n\nx\n"},
	{"cte-comment", "Content-Transfer-Encoding: (a) 8bit (b)\n\nx\n"},
	{"cte-empty", "Content-Transfer-Encoding:\n\nx\n"},
	{"cte-two-words", "Content-Transfer-Encoding: 8 bit\n\nx\n"},
	{"disposition", "Content-Disposition: attachment; filename=\"a b\"; size=12\nContent-Language: en, de-DE\nContent-Location: http://x/ y\nContent-MD5: abc==\nContent-Description: a  b\nContent-ID: <a@b>\n\nx\n"},
	{"disposition-odd", "Content-Disposition: ; filename=x\nContent-Language: en de\nContent-Location:\nContent-MD5:\nContent-Description:\nContent-ID:\n\nx\n"},
	{"disposition-empty", "Content-Disposition:\nContent-Language:\n\nx\n"},
	{"disposition-quoted", "Content-Disposition: \"attachment\"; filename=x\nContent-Language: \"en\"\n\nx\n"},
	{"language-odd", "Content-Language: en,, de\n\nx\n"},
	{"language-comment", "Content-Language: (x) en (y), de (z)\n\nx\n"},
	{"folded-content", "Content-Type: text/plain;\n\tcharset=utf-8;\n  name=\"a\n b\"\nContent-ID:\n <x>\nContent-Description: a\n  b\nContent-Disposition: attachment;\n filename*0=\"x\n y\";\n filename*1=z\n\nx\n"},
	{"multipart", "Content-Type: multipart/mixed; boundary=b\n\npre\n--b\nContent-Type: text/plain\n\none\n--b\nContent-Type: text/html\n\ntwo\n\n--b--\nepilogue\n"},
	{"multipart-no-close", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\n\ntwo\n"},
	{"multipart-no-boundary-param", "Content-Type: multipart/mixed\n\n--b\n\none\n--b--\n"},
	{"multipart-no-boundary-line", "Content-Type: multipart/mixed; boundary=b\n\nnothing here\n"},
	{"multipart-empty-boundary", "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n\none\n--x\n\ntwo\n----\nepi\n"},
	{"multipart-empty-body", "Content-Type: multipart/mixed; boundary=b\n\n"},
	{"multipart-no-body", "Content-Type: multipart/mixed; boundary=b\n"},
	{"multipart-only-close", "Content-Type: multipart/mixed; boundary=b\n\n--b--\n"},
	{"multipart-only-open", "Content-Type: multipart/mixed; boundary=b\n\n--b\n"},
	{"multipart-only-open-no-newline", "Content-Type: multipart/mixed; boundary=b\n\n--b"},
	{"multipart-open-close", "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b--\n"},
	{"multipart-open-blank-close", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n--b--\n"},
	{"multipart-open-blank2-close", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n\n--b--\n"},
	{"multipart-header-close", "Content-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: text/html\n--b\nContent-Type: text/html\n\n--b--\n"},
	{"multipart-open-open", "Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n--b--\n"},
	{"multipart-trailing-space", "Content-Type: multipart/mixed; boundary=b\n\n--b  \n\none\n--b \t\n\ntwo\n--b--  \nepi\n"},
	{"multipart-space-in-boundary", "Content-Type: multipart/mixed; boundary=\"b c \"\n\n--b c \n\none\n--b c\n\ntwo\n--b c --\n"},
	{"multipart-prefix", "Content-Type: multipart/mixed; boundary=b\n\n--bc\n\none\n--b\n\ntwo\n--b--\n--b\n\nthree\n"},
	{"multipart-dashes", "Content-Type: multipart/mixed; boundary=\"b--\"\n\n--b--\n\none\n--b----\nepi\n"},
	{"multipart-text-after", "Content-Type: multipart/mixed; boundary=b\n\n--b text\n\none\n--b--text\ntwo\n"},
	{"multipart-indent", "Content-Type: multipart/mixed; boundary=b\n\n --b\n\none\n --b--\n"},
	{"multipart-long-boundary", "Content-Type: multipart/mixed; boundary=\"" + strings.Repeat("x", 100) + "\"\n\n--" + strings.Repeat("x", 100) + "\n\none\n--" + strings.Repeat("x", 85) + "\n\ntwo\n--" + strings.Repeat("x", 100) + "--\n"},
	{"multipart-long-line", "Content-Type: multipart/mixed; boundary=b\n\n--b\n\n" + strings.Repeat("0123456789", 9000) + "\n--b" + strings.Repeat(" ", 200) + "\n\ntwo\n--b--\n"},
	{"multipart-8bit-type", "Content-Type: multipart/m\xfc; boundary=b\n\n--b\n\none\n--b--\n"},
	{"multipart-params", "Content-Type: multipart/related; type=\"text/html\"; boundary=\"b\"; start=\"<x>\"\nContent-Disposition: inline\nContent-Language: en\nContent-Location: here\nContent-MD5: x\nContent-ID: <y>\n\n--b\n\none\n--b--\n"},
	{"multipart-no-subtype", "Content-Type: multipart; boundary=b\n\n--b\n\none\n--b--\n"},
	{"multipart-slash", "Content-Type: multipart/; boundary=b\n\n--b\n\none\n--b--\n"},
	{"multipart-broken-type", "Content-Type: multipart/mixed (x; boundary=b\n\n--b\n\none\n--b--\n"},
	{"multipart-encoded", "Content-Type: multipart/mixed; boundary=b\nContent-Transfer-Encoding: base64\n\n--b\n\none\n--b--\n"},
	{"nested", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--b\n\ntwo\n--b--\n--a\n\nthree\n--a--\n"},
	{"nested-epilogue", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\npre\n--b\n\none\n--b--\nepi\n\n--a\n\nthree\n--a--\nepi\n"},
	{"nested-unclosed", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--a\n\nthree\n--a--\n"},
	{"nested-unclosed-header", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n--a\n\nthree\n--a--\n"},
	{"nested-same", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=a\n\n--a\n\none\n--a--\n--a\n\ntwo\n--a--\n"},
	{"nested-prefix", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=ab\n\n--ab\n\none\n--ab--\n--a\n\ntwo\n--a--\n"},
	{"nested-prefix2", "Content-Type: multipart/mixed; boundary=ab\n\n--ab\nContent-Type: multipart/alternative; boundary=a\n\n--a\n\none\n--a--\n--ab\n\ntwo\n--ab--\n"},
	{"nested-empty", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--a\n\nthree\n--a--\n"},
	{"nested-close-outer", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative; boundary=b\n\n--b\n\none\n--a--\n--b\n\ntwo\n"},
	{"nested-no-boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: multipart/alternative\n\n--b\n\none\n--b--\n--a\n\nthree\n--a--\n"},
	{"message", "Subject: outer\nContent-Type: message/rfc822\n\nSubject: inner\nFrom: a@b\n\nbody\n"},
	{"message-empty", "Subject: outer\nContent-Type: message/rfc822\n\n"},
	{"message-no-body", "Subject: outer\nContent-Type: message/rfc822\n"},
	{"message-multipart", "Subject: outer\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: image/png\n\ntwo\n--b--\n"},
	{"message-in-multipart", "Subject: outer\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\ntext\n--a\nContent-Type: message/rfc822; x=y\nContent-Disposition: attachment\n\nSubject: inner\nTo: <x@y>\n\nbody\n--a--\n"},
	{"message-multipart-in-multipart", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: inner\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\none\n--b\nContent-Type: message/rfc822\n\nSubject: innermost\n\nbody\n--b--\nepi\n--a--\n"},
	{"message-unfinished", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: inner\n--a\nContent-Type: message/rfc822\n--a\nContent-Type: message/rfc822\n\n--a\nContent-Type: message/rfc822\n\n\n--a--\n"},
	{"message-blank-boundary", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\n\n\n--a--\n"},
	{"many-parts", "Content-Type: multipart/mixed; boundary=a\n\n" + strings.Repeat("--a\n\nx\n", 10010) + "--a--\nepilogue\n"},
	{"message-message", "Content-Type: message/rfc822\n\nContent-Type: message/rfc822\nSubject: two\n\nSubject: three\n\nx\n"},
	{"message-base64", "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdDogeA0KDQp4DQo=\n"},
	{"message-global", "Content-Type: message/global\n\nSubject: x\n\ny\n"},
	{"digest", "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: one\n\nx\n--a\nContent-Type: text/plain\n\ny\n--a\nContent-Type: message/rfc822\n\nSubject: three\n\nz\n--a\nContent-ID: <x>\n\nSubject: four\n\nz\n--a--\n"},
	{"digest-nested", "Content-Type: multipart/digest; boundary=a\n\n--a\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nSubject: one\n\nx\n--b--\n--a\n\nSubject: two\n\nx\n--a--\n"},
	{"digest-empty-type", "Content-Type: multipart/digest; boundary=a\n\n--a\nContent-Type:\n\nSubject: one\n\nx\n--a--\n"},
	{"delivery-status", "Content-Type: multipart/report; report-type=delivery-status; boundary=a\n\n--a\n\ntext\n--a\nContent-Type: message/delivery-status\n\nReporting-MTA: dns; x\n\nFinal-Recipient: rfc822; y\n--a\nContent-Type: text/rfc822-headers\n\nSubject: z\n--a--\n"},
	{"boundary-in-message-header", "Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-Type: message/rfc822\n\nSubject: x\n--a--\nepi\n"},
	{"mime-version-odd", "MIME-Version: 2.0\nContent-Type: text/html\n\nx\n"},
	{"content-without-mime-version", "Content-Type: multipart/mixed; boundary=b\nContent-Description: x\n\n--b\nContent-Type: text/html\n\nx\n--b--\n"},
	{"huge-subject", "Subject: " + strings.Repeat("word ", 5000) + "\nFrom: a@b\n\nx\n"},
	{"many-recipients", "Subject: x\nTo: " + strings.Repeat("A <a@b>,\n ", 300) + "<c@d>\n\nx\n"},
	{"many-headers", strings.Repeat("X-Header: value\n", 2000) + "Subject: x\n\nx\n"},
	{"long-header-name", strings.Repeat("X", 3000) + ": value\nSubject: x\n\nx\n"},
	{"date-odd", "Date: (comment) Mon,  1 Jan 2001\n 00:00:00 +0000\nIn-Reply-To: Your \"message\" of\n today <a@b>\n\nx\n"},
	{"reply-to-broken", "From: a@b\nReply-To: (only a comment)\nSender: \n\nx\n"},
	{"from-none", "Sender: s@t\nReply-To: r@t\n\nx\n"},
	{"dots", "From: a . b@c\nTo: a. b@c, a .b@c\nCc: a b.c@d\nBcc: a.b c <d@e>\nReply-To: <.a@b>, <a..@b>, <..>\nSender: <a.b>\n\nx\n"},
	{"bare-cr2", "Message-ID: <a\rb>\nContent-ID: a\rb\nContent-Type: text/plain; name=\"a\rb\"\nIn-Reply-To: a\rb\n\nx\n"},
	{"spaces-content", "MIME-Version: 1.0\nContent-ID:   <a   b>  \nContent-Description: a \t b\n\tc  \nContent-Location: a\n b\nIn-Reply-To: <a>\n\t<b>  \nDate: 1\n\t2\nMessage-ID: <x>\n\n"},
	{"cte-mime-version", "MIME-Version: 1.0\nContent-Transfer-Encoding: (a) 8bit (b)\n\nx\n"},
	{"cte-mime-version2", "MIME-Version: 1.0\nContent-Transfer-Encoding: \"base64\"\n\nx\n"},
	{"cte-mime-version3", "MIME-Version: 1.0\nContent-Transfer-Encoding: 8bit; x=y\n\nx\n"},
	{"disposition-mime", "MIME-Version: 1.0\nContent-Disposition: attachment; filename=\"a b\"; size=12\nContent-Language: en, de-DE\nContent-Location: http://x/ y\nContent-MD5: abc==\nContent-Description: a  b\nContent-ID: <a@b>\n\nx\n"},
	{"disposition-odd-mime", "MIME-Version: 1.0\nContent-Disposition: ; filename=x\nContent-Language: en de\nContent-Location:\nContent-MD5:\nContent-Description:\nContent-ID:\n\nx\n"},
	{"disposition-empty-mime", "MIME-Version: 1.0\nContent-Disposition:\nContent-Language:\n\nx\n"},
	{"disposition-quoted-mime", "MIME-Version: 1.0\nContent-Disposition: \"attachment\"; filename=x\nContent-Language: \"en\"\n\nx\n"},
	{"disposition-comment-mime", "MIME-Version: 1.0\nContent-Disposition: (x) attachment (y\nContent-Language: (x) en (y), de (z)\n\nx\n"},
	{"language-odd-mime", "MIME-Version: 1.0\nContent-Language: en,, de\n\nx\n"},
	{"language-odd2-mime", "MIME-Version: 1.0\nContent-Language: en, de, \n\nx\n"},
	{"embedded-no-mime-version", "Content-Type: message/rfc822\n\nSubject: y\nContent-ID: <x>\nContent-Transfer-Encoding: base64\n\nx\n"},
	{"deep-100", deep(100)},
	{"deep-messages-100", deepMessages(100)},
}

// deep nests multiparts n deep.
func deep(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"b%03d\"\n\n--b%03d\n", i, i)
	}
	b.WriteString("\nbody\n")
	for i := n - 1; i >= 0; i-- {
		fmt.Fprintf(&b, "--b%03d--\n", i)
	}
	return b.String()
}

// deepMessages nests messages n deep.
func deepMessages(n int) string {
	return strings.Repeat("Content-Type: message/rfc822\nSubject: x\n\n", n) + "\nbody\n"
}

func crlf(text string) []byte {
	return []byte(strings.ReplaceAll(text, "\n", "\r\n"))
}

// samples returns the messages of the tests: our own, and those of a corpus
// beside the repository if it is there.
func samples(t testing.TB) (all []sample) {
	t.Helper()
	for _, s := range ownSamples {
		all = append(all, sample{s.name, crlf(s.text)})
	}
	return append(all, corpus(t)...)
}

// corpus returns the messages beside the repository, none if they are not there.
func corpus(t testing.TB) (all []sample) {
	t.Helper()
	dir := filepath.Join("..", "..", "..", "shared", "corpus")
	files, err := filepath.Glob(filepath.Join(dir, "messages", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, sample{"corpus-" + filepath.Base(file), normalise(data)})
	}
	mbox, err := os.ReadFile(filepath.Join(dir, "content-length.mbox"))
	if err != nil {
		return all
	}
	for i, data := range bytes.Split(normalise(mbox), []byte("From - \r\n")) {
		if i > 0 {
			all = append(all, sample{fmt.Sprintf("corpus-mbox-%d", i), data})
		}
	}
	return all
}

// normalise makes all line ends CRLF.
func normalise(data []byte) []byte {
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))
}

func parse(t testing.TB, data []byte) *Structure {
	t.Helper()
	s, err := Parse(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
