package imapc

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"testing/iotest"
	"time"
)

func readAll(t *testing.T, in string) []Response {
	t.Helper()
	r := NewReader(iotest.OneByteReader(strings.NewReader(in)))
	var out []Response
	for {
		x, err := r.Next()
		if err == io.EOF {
			return out
		}
		if err != nil {
			t.Fatalf("Next: %v", err)
		}
		c := *x
		c.Rest = bytes.Clone(x.Rest)
		out = append(out, c)
	}
}

func TestReaderLiterals(t *testing.T) {
	in := "* 1 FETCH (UID 7 BODY[] {12}\r\nab\r\na1 OK)\r\n BODY[HEADER.FIELDS (SUBJECT)] {2}\r\n\r\n FLAGS (\\Seen))\r\n" +
		"* 2 FETCH (BODY[] {0}\r\n)\r\n" +
		"* 3 FETCH (BINARY[1] ~{3}\r\n\x00\r\n)\r\n" +
		"* OK the text ends like a literal {5}\r\n" +
		"+ go on {3}\r\n" +
		"* LIST () \"/\" {5}\r\nA b(c\r\n" +
		"* 4 EXISTS\r\n" +
		"a1 OK [READ-WRITE] done {9}\r\n"
	rs := readAll(t, in)
	if len(rs) != 8 {
		t.Fatalf("got %d responses: %+v", len(rs), rs)
	}
	v, ok := FetchItem(rs[0].Rest, "BODY[]")
	if !ok || string(v.Str) != "ab\r\na1 OK)\r\n" {
		t.Errorf("BODY[] = %q, %v", v.Str, ok)
	}
	if v, ok = FetchItem(rs[0].Rest, "body[header.fields (subject)]"); !ok || string(v.Str) != "\r\n" {
		t.Errorf("header = %q, %v", v.Str, ok)
	}
	if v, ok = FetchItem(rs[0].Rest, "FLAGS"); !ok || len(v.List) != 1 || string(v.List[0].Str) != `\Seen` {
		t.Errorf("FLAGS = %+v", v)
	}
	if v, ok = FetchItem(rs[1].Rest, "BODY[]"); !ok || v.Kind != String || len(v.Str) != 0 {
		t.Errorf("empty literal = %+v %v", v, ok)
	}
	if v, ok = FetchItem(rs[2].Rest, "BINARY[1]"); !ok || string(v.Str) != "\x00\r\n" {
		t.Errorf("literal8 = %q %v", v.Str, ok)
	}
	if rs[3].Name != "OK" || !strings.HasSuffix(string(rs[3].Rest), "{5}") {
		t.Errorf("status text: %+v", rs[3])
	}
	if rs[4].Tag != "+" || string(rs[4].Rest) != "go on {3}" {
		t.Errorf("continuation: %+v", rs[4])
	}
	vs, err := Parse(rs[5].Rest)
	if err != nil || len(vs) != 3 || string(vs[2].Str) != "A b(c" {
		t.Errorf("LIST: %+v %v", vs, err)
	}
	if rs[6].Name != "EXISTS" || rs[6].Num != 4 || len(rs[6].Rest) != 0 {
		t.Errorf("EXISTS: %+v", rs[6])
	}
	if n, _ := rs[7].Code(); rs[7].Tag != "a1" || n != "READ-WRITE" {
		t.Errorf("tagged: %+v", rs[7])
	}
}

func TestReaderLongLine(t *testing.T) {
	s := "* SEARCH" + strings.Repeat(" 123456", 50000)
	rs := readAll(t, s+"\r\na1 OK x\r\n")
	if len(rs) != 2 {
		t.Fatal(len(rs))
	}
	vs, err := Parse(rs[0].Rest)
	if err != nil || len(vs) != 50000 {
		t.Fatal(len(vs), err)
	}
	if n, ok := vs[49999].Uint(); !ok || n != 123456 {
		t.Fatal(n, ok)
	}
}

func TestReaderBad(t *testing.T) {
	for _, in := range []string{"* 1 FETCH (BODY[] {9}\r\nabc", "* OK no end", "* OK bare newline\n", "\r\n"} {
		r := NewReader(strings.NewReader(in))
		if x, err := r.Next(); err == nil {
			t.Errorf("%q gave %+v", in, x)
		}
	}
}

func TestParse(t *testing.T) {
	vs, err := Parse([]byte(`("a \"q\" \\" NIL nil {3}` + "\r\n" + `)(" (x (y)) BODY[1.HEADER.FIELDS ("A B" C)]<0> "")`))
	if err != nil {
		t.Fatal(err)
	}
	l := vs[0].List
	if string(l[0].Str) != `a "q" \` || l[1].Kind != Nil || l[2].Kind != Nil || string(l[3].Str) != `)("` {
		t.Errorf("%+v", l)
	}
	if l[4].Kind != List || len(l[4].List) != 2 || l[4].List[1].Kind != List {
		t.Errorf("%+v", l[4])
	}
	if string(l[5].Str) != `BODY[1.HEADER.FIELDS ("A B" C)]<0>` || l[6].Kind != String {
		t.Errorf("%+v", l[5:])
	}
	for _, bad := range []string{"(", ")", `"x`, "{5}\r\nab", "{x}\r\n", "BODY[x", strings.Repeat("(", 100)} {
		if v, err := Parse([]byte(bad)); err == nil {
			t.Errorf("%q gave %+v", bad, v)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`(UID 1 FLAGS (\Seen) BODY[] {2}` + "\r\nab)"))
	f.Add([]byte(`"a\"b" NIL ~{1}` + "\r\nx"))
	f.Fuzz(func(t *testing.T, b []byte) {
		Parse(b)
		NewReader(bytes.NewReader(b)).Next()
	})
}

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{"INBOX": "INBOX", "": `""`, "a b": `"a b"`, `a"\`: `"a\"\\"`, "nil": `"nil"`, "A.b/c": "A.b/c"} {
		if got := Quote(in); got != want {
			t.Errorf("Quote(%q) = %s", in, got)
		}
	}
}

// TestConn plays a short dialogue against a scripted server.
func TestConn(t *testing.T) {
	cl, sv := net.Pipe()
	done := make(chan error, 1)
	go func() {
		defer sv.Close()
		script := []struct{ expect, reply string }{
			{"", "* OK [CAPABILITY IMAP4rev1 IDLE] hi\r\n"},
			{"a1 LOGIN u \"p w\"\r\n", "a1 OK [CAPABILITY IMAP4rev1 IDLE UIDPLUS] in\r\n"},
			{"a2 SELECT INBOX\r\n", "* 3 EXISTS\r\n* OK [UIDNEXT 9] x\r\na2 OK [READ-WRITE] ok\r\n"},
			{"a3 APPEND INBOX (\\Seen) {5}\r\n", "+ go\r\n"},
			{"hello\r\n", "* 4 EXISTS\r\na3 OK [APPENDUID 1 9] ok\r\n"},
			{"a4 APPEND nobox {5}\r\n", "a4 NO [TRYCREATE] none\r\n"},
			{"a5 IDLE\r\n", "+ idling\r\n* 1 EXPUNGE\r\n"},
			{"DONE\r\n", "a5 OK done\r\n"},
		}
		for _, s := range script {
			b := make([]byte, len(s.expect))
			if _, err := io.ReadFull(sv, b); err != nil || string(b) != s.expect {
				done <- &StatusError{"got", string(b)}
				return
			}
			io.WriteString(sv, s.reply)
		}
		done <- nil
	}()
	c := NewConn(cl, 5*time.Second)
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(c.greeting())
	check(c.Login("u", "p w"))
	if !c.Caps["UIDPLUS"] {
		t.Error("no UIDPLUS")
	}
	check(c.Select("INBOX"))
	if c.Exists != 3 || c.UIDNext != 9 {
		t.Error(c.Exists, c.UIDNext)
	}
	uid, err := c.Append("INBOX", `\Seen`, []byte("hello"), false)
	check(err)
	if uid != (AppendUID{1, 9}) || c.Exists != 4 {
		t.Error(uid, c.Exists)
	}
	if _, err = c.Append("nobox", "", []byte("hello"), false); !IsStatus(err) {
		t.Error(err)
	}
	tag, err := c.Idle()
	check(err)
	r, err := c.IdleNext(time.Second)
	check(err)
	if r.Name != "EXPUNGE" || c.Exists != 3 {
		t.Error(r, c.Exists)
	}
	check(c.Done(tag))
	check(<-done)
}
