package wire

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"
)

// argument returns a command whose arguments begin at the given text.
func argument(t *testing.T, text string, utf8 bool) *Command {
	t.Helper()
	r := NewReader(strings.NewReader("a x "+text+"\r\n"), AfterLogin)
	r.SetUTF8(utf8)
	c, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SP(); err != nil {
		t.Fatal(err)
	}
	return c
}

// pair makes one value of a result and its error.
func pair[T any](v T, err error) string {
	if err != nil {
		var syntax *SyntaxError
		if !errors.As(err, &syntax) {
			return "fatal: " + err.Error()
		}
		return "syntax error"
	}
	return fmt.Sprintf("%#v", v)
}

func TestArguments(t *testing.T) {
	atom := func(c *Command) string { return pair(c.Atom()) }
	astring := func(c *Command) string { return pair(c.AString()) }
	number := func(c *Command) string { return pair(c.Number()) }
	number64 := func(c *Command) string { return pair(c.Number64()) }
	flags := func(c *Command) string { return pair(c.FlagList()) }
	mailbox := func(c *Command) string { return pair(c.Mailbox()) }
	pattern := func(c *Command) string { return pair(c.ListMailbox()) }
	set := func(c *Command) string {
		s, err := c.SequenceSet()
		return pair(fmt.Sprint(s.Ranges, s.Saved), err)
	}
	date := func(c *Command) string {
		d, err := c.Date()
		return pair(d.Format(time.RFC3339), err)
	}
	dateTime := func(c *Command) string {
		d, err := c.DateTime()
		return pair(d.Format(time.RFC3339), err)
	}
	nstring := func(c *Command) string {
		s, isNil, err := c.NString()
		return pair(fmt.Sprintf("%s %t", s, isNil), err)
	}
	const wrong = "syntax error"
	for _, test := range []struct {
		read     func(*Command) string
		in, want string
		rest     byte // of Peek afterwards
	}{
		{atom, `abc(`, `"abc"`, '('},
		{atom, `a+=/[<.>`, `"a+=/[<.>"`, 0},
		{atom, `a]b`, `"a"`, ']'},
		{atom, `(`, wrong, '('},
		{atom, "\xc3\xa4", wrong, 0xc3},
		{astring, `a]b`, `"a]b"`, 0},
		{astring, `""`, `""`, 0},
		{astring, `"a" `, `"a"`, ' '},
		{astring, `%`, wrong, '%'},
		{astring, "\"\xff\"", `"\xff"`, 0},
		{nstring, `nil)`, `" true"`, ')'},
		{nstring, `"nil"`, `"nil false"`, 0},
		{nstring, `nill`, wrong, 0},
		{number, `4294967295`, `0xffffffff`, 0},
		{number, `4294967296`, wrong, '6'},
		{number, `0`, `0x0`, 0},
		{number, `-1`, wrong, '-'},
		{number64, `9223372036854775807`, `0x7fffffffffffffff`, 0},
		{number64, `9223372036854775808`, wrong, '8'},
		{set, `1`, `"[{1 1}] false"`, 0},
		{set, `*`, `"[{0 0}] false"`, 0},
		{set, `$`, `"[] true"`, 0},
		{set, `1:*,*:2,7:5,*:* `, `"[{1 0} {2 0} {5 7} {0 0}] false"`, ' '},
		{set, `0`, wrong, 0},
		{set, `1:0`, wrong, 0},
		{set, `1,`, wrong, 0},
		{set, `1:`, wrong, 0},
		{set, `4294967295:4294967296`, wrong, '6'},
		{flags, `()`, `[]string(nil)`, 0},
		{flags, `(\Seen a $b)`, `[]string{"\\Seen", "a", "$b"}`, 0},
		{flags, `(\*)`, wrong, '*'},
		{flags, `(a  b)`, `[]string{"a", "b"}`, 0},
		{flags, `(a b )`, wrong, ')'},
		{flags, `(a`, wrong, 0},
		{flags, `a`, wrong, 'a'},
		{mailbox, `inBox`, `"INBOX"`, 0},
		{mailbox, `"inBox"`, `"INBOX"`, 0},
		{mailbox, `Entw&APw-rfe`, `"Entwürfe"`, 0},
		{mailbox, `u&AwgAqA-`, `"ü¨"`, 0},
		{mailbox, `a&-b`, `"a&b"`, 0},
		{mailbox, `a&b`, `"�"`, 0},
		{mailbox, "\"\xc3\xbc\"", `"ü"`, 0},
		{mailbox, "\"\xc3\"", `"�"`, 0},
		{pattern, `*&b`, `"�"`, 0},
		{mailbox, `../../etc/passwd`, `"../../etc/passwd"`, 0},
		{pattern, `*%a&-`, `"*%a&"`, 0},
		{pattern, `""`, `""`, 0},
		{pattern, `(`, wrong, '('},
		{date, `1-Feb-1994`, `"1994-02-01T00:00:00Z"`, 0},
		{date, `"29-fEB-2024"`, `"2024-02-29T00:00:00Z"`, 0},
		{date, `29-Feb-2023`, wrong, 0},
		{date, `"1-Feb-1994`, wrong, 0},
		{date, `0-Feb-1994`, wrong, 0},
		{date, `1-anF-1994`, wrong, '-'},
		{date, `1-Feb-94`, wrong, 0},
		{dateTime, `" 1-Feb-1994 21:52:25 -0800"`, `"1994-02-01T21:52:25-08:00"`, 0},
		{dateTime, `"31-Dec-1999 23:59:60 +0000"`, `"2000-01-01T00:00:00Z"`, 0},
		{dateTime, `"31-Dec-1999 24:00:00 +0000"`, wrong, 0},
		{dateTime, `"31-Dec-1999 23:00:00 +2400"`, wrong, '"'},
		{dateTime, `"31-Dec-1999 23:00:00 +0060"`, wrong, '"'},
		{dateTime, `"31-Dec-1999"`, wrong, '"'},
		{dateTime, `31-Dec-1999 23:00:00 +0000`, wrong, '3'},
	} {
		c := argument(t, test.in, false)
		if got := test.read(c); got != test.want {
			t.Errorf("%s: got %s, want %s", test.in, got, test.want)
		}
		if got := c.Peek(); got != test.rest {
			t.Errorf("%s: then %q, want %q", test.in, got, test.rest)
		}
	}
}

func TestEveryMonth(t *testing.T) {
	for m := time.January; m <= time.December; m++ {
		want := time.Date(2026, m, 9, 0, 0, 0, 0, time.UTC)
		if got, err := argument(t, want.Format("2-Jan-2006"), false).Date(); err != nil || !got.Equal(want) {
			t.Errorf("%v: got %v, %v", want, got, err)
		}
		text := string(AppendDateTime(nil, want))
		if got, err := argument(t, text, false).DateTime(); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
}

func TestMailboxUTF8(t *testing.T) {
	for in, want := range map[string]string{
		"\"Entwu\xcc\x88rfe\"":         `"Entwürfe"`, // NFC
		"a&APw-":                       `"a&APw-"`,
		"{1+}\r\n\xff\r\n":             `"�"`,
		"{10+}\r\nEntw\xc3\xbcrfe\r\n": `"Entwürfe\r"`,
	} {
		if got := pair(argument(t, in, true).Mailbox()); got != want {
			t.Errorf("%q: got %s, want %s", in, got, want)
		}
	}
}

func TestStreamedLiteral(t *testing.T) {
	text := strings.Repeat("0123456789", 1e5)
	asked := 0
	r := NewReader(strings.NewReader("a append x ~{1000000}\r\n"+text+" {3+}\r\nabc\r\nb noop\r\n"), AfterLogin)
	r.SetContinue(func() error { asked++; return nil })
	c, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(c.SP(), second(c.Atom()), c.SP()); err != nil {
		t.Fatal(err)
	}
	l, err := c.Literal()
	if err != nil || !l.Binary || l.NonSync || l.Size != 1e6 {
		t.Fatalf("%+v, %v", l, err)
	}
	if err := errors.Join(l.Accept(), l.Accept()); err != nil || asked != 1 {
		t.Fatalf("%v; asked %d times", err, asked)
	}
	if got, err := io.ReadAll(l); err != nil || string(got) != text {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if err := c.SP(); err != nil {
		t.Fatal(err)
	}
	if l, err = c.Literal(); err != nil || l.Binary || !l.NonSync {
		t.Fatalf("%+v, %v", l, err)
	}
	p := make([]byte, 1)
	if _, err := l.Read(p); err != nil || p[0] != 'a' {
		t.Fatal(err)
	}
	if err := c.SP(); err == nil || c.EOL() {
		t.Fatal("went on before the literal was read")
	}
	if c, err = r.Next(); err != nil || c.Name != "NOOP" || asked != 1 {
		t.Fatalf("%+v, %v; asked %d times", c, err, asked)
	}
}

func second[T any](_ T, err error) error { return err }

func TestUseAfterTheEnd(t *testing.T) {
	c := argument(t, `{5}`, false)
	l, err := c.Literal()
	if err != nil {
		t.Fatal(err)
	}
	l.Refuse()
	if _, err := l.Read(make([]byte, 1)); err == nil {
		t.Error("read a refused literal")
	}
	if err := c.Finish(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Read(make([]byte, 1)); err == nil {
		t.Error("read a literal of a finished command")
	}
	if _, err := c.Atom(); err == nil || c.Peek() != 0 || c.EOL() || c.While(func(byte) bool { return true }) != "" {
		t.Error("read an argument of a finished command")
	}
	if err := c.Finish(); err != nil {
		t.Fatal(err)
	}
	if got := c.reader.Consumed(); got != 9 {
		t.Errorf("consumed %d", got)
	}
}

func TestAppend(t *testing.T) {
	date := time.Date(2026, 2, 3, 4, 5, 6, 0, time.FixedZone("", -5*3600))
	for _, test := range []struct{ got, want string }{
		{string(AppendAtom(nil, "abc")), `abc`},
		{string(AppendAtom(nil, "Nil")), `"Nil"`},
		{string(AppendAtom(nil, "")), `""`},
		{string(AppendAtom(nil, "a b")), `"a b"`},
		{string(AppendString(nil, `a"\`)), `"a\"\\"`},
		{string(AppendString(nil, "a\r\nb NO")), "{7}\r\na\r\nb NO"},
		{string(AppendString(nil, "a\x00b")), "{3}\r\na\x80b"},
		{string(AppendString(nil, "ü")), "{2}\r\nü"},
		{string(AppendUTF8String(nil, "ü")), `"ü"`},
		{string(AppendUTF8String(nil, "\xff")), "{1}\r\n\xff"},
		{string(AppendNString(nil, "a", false)), `"a"`},
		{string(AppendNString(nil, "a", true)), `NIL`},
		{string(AppendMailbox(nil, "Entwürfe & mehr", false)), `"Entw&APw-rfe &- mehr"`},
		{string(AppendMailbox(nil, "Entwürfe", true)), `"Entwürfe"`},
		{string(AppendMailbox(nil, "a\r\n* BYE", true)), "{8}\r\na\r\n* BYE"},
		{string(AppendMailbox(nil, "a\r\n* BYE", false)), `"a&AA0ACg-* BYE"`},
		{string(AppendMailbox(nil, "a]b", false)), `"a]b"`},
		{string(AppendFlagList(nil, nil)), `()`},
		{string(AppendFlagList(nil, []string{`\Seen`, "a"})), `(\Seen a)`},
		{string(AppendDateTime(nil, date)), `" 3-Feb-2026 04:05:06 -0500"`},
		{string(AppendDateTime(nil, time.Date(12026, 2, 3, 0, 0, 0, 0, time.UTC))), `" 3-Feb-9999 00:00:00 +0000"`},
		{string(AppendNumSet(nil, []uint32{1, 2, 3, 5, 7, 8, 4294967295})), `1:3,5,7:8,4294967295`},
		{string(AppendNumSet[uint32](nil, nil)), ``},
		{string(AppendLiteralHeader(nil, 5, true)), "~{5}\r\n"},
	} {
		if test.got != test.want {
			t.Errorf("got %q, want %q", test.got, test.want)
		}
	}
}

// What AppendString and AppendMailbox write is what String and Mailbox read.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "a", `"\`, "\r\n", "ü", "\xff", strings.Repeat("x", 2000), "{5}", "nil"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want := strings.ReplaceAll(s, "\x00", "\x80")
		for _, wire := range [][]byte{AppendAtom(nil, s), AppendString(nil, s), AppendUTF8String(nil, s)} {
			c := argument(t, string(wire), false)
			got, err := c.AString()
			if len(s) > int(AfterLogin.Literal) {
				continue
			}
			if err != nil || got != want || !c.EOL() {
				t.Fatalf("%q: got %q, %v", wire, got, err)
			}
		}
	})
}

func FuzzUTF7(f *testing.F) {
	for _, s := range []string{"", "a&-b", "&U,BTFw-", "&U,BTFw-&ZeVnLIqe-", "&Jjo", "&Jjo!", "&AGE-", "&2D3eAA-", "&2D0-", "~peter/mail/&U,BTFw-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if name, err := DecodeUTF7(s); err == nil && EncodeUTF7(name) != s {
			t.Fatalf("%q is %q is %q", s, name, EncodeUTF7(name))
		}
		valid := strings.ToValidUTF8(s, "\ufffd")
		wire := EncodeUTF7(valid)
		for i := range len(wire) {
			if wire[i] < 0x20 || wire[i] > 0x7e {
				t.Fatalf("%q encodes as %q", valid, wire)
			}
		}
		if name, err := DecodeUTF7(wire); err != nil || name != valid {
			t.Fatalf("%q is %q is %q, %v", valid, wire, name, err)
		}
	})
}

func TestUTF7(t *testing.T) {
	for in, want := range map[string]string{
		"~peter/mail/&U,BTFw-/&ZeVnLIqe-": "~peter/mail/台北/日本語", // RFC 3501 section 5.1.3
		"&-":                              "&",
		"&2D3eAA-":                        "😀",
		"a&AAo-":                          "a\n",
	} {
		if got, err := DecodeUTF7(in); err != nil || got != want {
			t.Errorf("%q: got %q, %v", in, got, err)
		}
	}
	for _, in := range []string{"&", "&Jjo", "&Jjo!-", "&U,BTFw-&ZeVnLIqe-", "&AGE-", "&2D0-", "&3gA-", "&2D0A,A-",
		"&AA-", "&AB-", "&U,BTFx-", "ü", "\x00", "a\n", "&U/BTFw-", "&AB\n8-"} {
		if got, err := DecodeUTF7(in); err == nil {
			t.Errorf("%q: got %q", in, got)
		}
	}
}

// FuzzReader calls every method in an order that the input chooses. However the
// stream is cut, the results must be the same, and no more may be consumed than there is.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"a login user pass\r\nb select inbox\r\n", "a login {4}\r\nuser {4+}\r\npass\r\n",
		"a append x (\\Seen) \" 1-Feb-1994 21:52:25 -0800\" ~{5+}\r\n\x00abcd\r\n",
		"a uid fetch 1:*,5 (flags body[1.mime]<0.5>)\r\n", "a s {99999999999999999999+}\r\n", "a s {4294967295}\r\n",
		"a idle\r\nDONE\r\n", "a list \"\" %&U,BTFw-\r\n", "\n\n\x00\n{}\n{1}\n~{+}\n", "a search since 1-Feb-1994 nil \"\\\"\"\r\n",
	} {
		f.Add(s, []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18}, 3)
	}
	f.Fuzz(func(t *testing.T, stream string, methods []byte, cut int) {
		whole := exercise(t, strings.NewReader(stream), methods, len(stream))
		parts := exercise(t, &cutReader{s: stream, n: max(1, cut%70)}, methods, len(stream))
		if !reflect.DeepEqual(whole, parts) {
			t.Fatalf("at once:   %q\nin pieces: %q", whole, parts)
		}
	})
}

// cutReader returns n bytes at a time.
type cutReader struct {
	s string
	n int
}

func (r *cutReader) Read(p []byte) (int, error) {
	if r.s == "" {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.n)], r.s)
	r.s = r.s[n:]
	return n, nil
}

// exercise returns what all method calls returned.
func exercise(t *testing.T, src io.Reader, methods []byte, size int) []string {
	var log []string
	r := NewReader(src, small)
	r.SetContinue(func() error { log = append(log, "+"); return nil })
	for {
		c, err := r.Next()
		log = append(log, fmt.Sprint(err))
		var syntax *SyntaxError
		if err == nil {
			log = append(log, c.Tag, c.Name)
			for _, m := range methods {
				log = append(log, call(r, c, m))
			}
			if err = c.Finish(); err == nil {
				log = append(log, fmt.Sprint(r.Consumed()))
			}
		}
		if r.Consumed() > uint64(size) || r.Buffered() < 0 {
			t.Fatalf("consumed %d of %d bytes, buffered %d", r.Consumed(), size, r.Buffered())
		}
		if err != nil && !errors.As(err, &syntax) {
			return append(log, err.Error())
		}
	}
}

// call calls one method.
func call(r *Reader, c *Command, method byte) string {
	switch method % 19 {
	case 0:
		return pair(0, c.SP())
	case 1:
		return fmt.Sprint(c.EOL())
	case 2:
		return pair(0, c.End())
	case 3:
		return fmt.Sprint(c.Byte('('))
	case 4:
		return pair(c.Atom())
	case 5:
		return pair(c.AString())
	case 6:
		s, _, err := c.NString()
		return pair(s, err)
	case 7:
		return pair(c.Mailbox())
	case 8:
		return pair(c.ListMailbox())
	case 9:
		return pair(c.Number())
	case 10:
		return pair(c.Number64())
	case 11:
		return pair(c.Date())
	case 12:
		return pair(c.DateTime())
	case 13:
		return pair(c.SequenceSet())
	case 14:
		return pair(c.FlagList())
	case 15:
		l, err := c.Literal()
		if err != nil {
			return pair(0, err)
		}
		return pair(io.ReadAll(io.LimitReader(l, 5)))
	case 16:
		l, err := c.Literal()
		if err == nil {
			l.Refuse()
		}
		return pair(0, err)
	case 17:
		return pair(0, c.Finish())
	default:
		line, err := r.ReadLine(20)
		return pair(string(line), err)
	}
}

func BenchmarkReader(b *testing.B) {
	stream := strings.Repeat("a001 UID FETCH 1:100 (FLAGS)\r\n", 1000)
	src := strings.NewReader(stream)
	r := NewReader(src, AfterLogin)
	b.ReportAllocs()
	b.SetBytes(int64(len(stream) / 1000))
	for b.Loop() {
		if src.Len() == 0 {
			src.Reset(stream)
		}
		c, err := r.Next()
		if err != nil {
			b.Fatal(err)
		}
		if c.SP() != nil || !c.Byte('F') {
			b.Fatal("no argument")
		}
		if err := c.Finish(); err != nil {
			b.Fatal(err)
		}
	}
}
