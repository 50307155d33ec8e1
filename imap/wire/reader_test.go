package wire

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// describe runs the reader over a whole stream and writes down what it saw. A command's
// arguments are read by its name: S strings, L a streamed literal, R refuses one,
// Q quits after the name.
func describe(r *Reader) string {
	var out strings.Builder
	r.SetContinue(func() error { out.WriteString("+ "); return nil })
	for {
		c, err := r.Next()
		if err != nil {
			if !describeError(&out, err) {
				return out.String()
			}
			continue
		}
		fmt.Fprintf(&out, "%s %s", c.Tag, c.Name)
		if err := describeArguments(&out, c); err != nil && !describeError(&out, err) {
			return out.String()
		}
		if err := c.Finish(); err != nil {
			describeError(&out, err)
			return out.String()
		}
		fmt.Fprintf(&out, " @%d\n", r.Consumed())
	}
}

// describeError writes an error down and reports whether the stream goes on.
func describeError(out *strings.Builder, err error) bool {
	var syntax *SyntaxError
	if errors.As(err, &syntax) {
		fmt.Fprintf(out, " [%s: %s %t]", syntax.Tag, syntax.Message, syntax.Limit)
		return true
	}
	fmt.Fprintf(out, " %v", err)
	return false
}

func describeArguments(out *strings.Builder, c *Command) error {
	if c.Name == "Q" {
		return nil
	}
	for !c.EOL() {
		if err := c.SP(); err != nil {
			return err
		}
		if c.Name == "S" {
			s, err := c.AString()
			if err != nil {
				return err
			}
			fmt.Fprintf(out, " %q", s)
			continue
		}
		l, err := c.Literal()
		if err != nil {
			return err
		}
		if c.Name == "R" {
			l.Refuse()
			return nil
		}
		b, err := io.ReadAll(l)
		fmt.Fprintf(out, " L%d%t%q", l.Size, l.Binary, b)
		if err != nil {
			return err
		}
	}
	return c.End()
}

var small = Limits{Line: 64, Literal: 16, Literals: 3, Drain: 256}

func TestReader(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, test := range []struct{ name, in, want string }{
		{"nothing", "", " EOF"},
		{"plain", "a s b \"c d\" \"\\\"\\\\\"\r\n", "a S \"b\" \"c d\" \"\\\"\\\\\" @20\n EOF"},
		{"bare LF", "a s b\nb s\n", "a S \"b\" @6\nb S @10\n EOF"},
		{"cut", "a s b", " unexpected EOF"},
		{"cut in a literal", "a s {5+}\r\nab", "a S unexpected EOF"},
		{"literal", "a s {3}\r\na\r\n {2+}\r\n)( x\r\nb s\r\n", "a S+  \"a\\r\\n\" \")(\" \"x\" @25\nb S @30\n EOF"},
		{"empty literal", "a s {0}\r\n {0+}\r\n\r\n", "a S+  \"\" \"\" @18\n EOF"},
		{"no tag", "\r\na s\r\n", " [: Expected a tag false]a S @7\n EOF"},
		{"tag alone", "a\r\n", " [a: Expected a command false] EOF"},
		{"wrong tag", "a+ s\r\n* s\r\n", " [: Expected a tag and a command false] [: Expected a tag false] EOF"},
		{"two spaces", "a  s\r\n", " [a: Expected a command false] EOF"},
		{"trailing spaces", "a s  \r\n", "a S @7\n EOF"},
		{"two spaces before an argument", "a s  b\r\n", "a S \"b\" @8\n EOF"},
		{"spaces before a literal", "a s  {1+}\r\nb  \r\nb s\r\n", "a S \"b\" @16\nb S @21\n EOF"},
		{"NUL", "a s b\x00\r\nb s\r\n", " [a: NUL is not allowed false]b S @13\n EOF"},
		{"NUL in a literal", "a s {1+}\r\n\x00\r\nb s\r\n", "a S [a: NUL is not allowed false] @13\nb S @18\n EOF"},
		{"NUL in a streamed literal", "a l ~{1+}\r\n\x00\r\n", "a L L1true\"\\x00\" @14\n EOF"},
		{"binary literal as a string", "a s ~{5+}\r\nb s\r\n\r\nc s\r\n", "a S [a: Binary literal is not allowed here false] @18\nc S @23\n EOF"},
		{"too long", "a s " + long + "\r\nb s\r\n", " [a: Command line is too long true]b S @111\n EOF"},
		{"too long together", "a s {1+}\r\nx {1+}\r\nx " + long[:60] + "\r\nb s\r\n",
			"a S \"x\" \"x\" [a: Command line is too long true] @82\nb S @87\n EOF"},
		{"too long with a literal", "a s " + long + " {10+}\r\nx q\r\ny q\r\n\r\nb s\r\n", " [a: Command line is too long true]b S @129\n EOF"},
		{"too long with a refused literal", "a s " + long + " {9}\r\nb s\r\n", " [a: Command line is too long true]b S @115\n EOF"},
		{"line without end", "a s " + long + long + long + long, " Command line is too long"},
		{"too long, then end", "a s " + long, " unexpected EOF"},
		{"big literal not sent", "a s {17}\r\nb s\r\n", "a S [a: Literal is too big true] @10\nb S @15\n EOF"},
		{"big literal sent", "a s {17+}\r\nb delete precious\r\nb s\r\n", "a S [a: Literal is too big true] @30\nb S @35\n EOF"},
		{"4 GiB, not sent", "a s {4294967295}\r\nb s\r\n", "a S [a: Literal is too big true] @18\nb S @23\n EOF"},
		{"4 GiB, sent", "a s {4294967295+}\r\nb s\r\n", "a S [a: Literal is too big true] Literal is too big to be skipped"},
		{"2^66, not sent", "a l {99999999999999999999}\r\nb s\r\n", "a L [a: Literal is too big true] @28\nb S @33\n EOF"},
		{"2^66, sent", "a l {99999999999999999999+}\r\nb s\r\n", "a L [a: Literal is too big true] Literal is too big to be skipped"},
		{"many digits", "a l {" + strings.Repeat("0", 40) + "1+}\r\n", "a L [a: Literal is too big true] Literal is too big to be skipped"},
		{"many digits, too long", "a l {" + strings.Repeat("0", 90) + "1+}\r\n", " Literal is too big to be skipped"},
		{"refused and sent", "a r {5+}\r\nb s\r\n c\r\nd s\r\n", "a R @19\nd S @24\n EOF"},
		{"refused, not sent", "a r {5}\r\nb s\r\n", "a R @9\nb S @14\n EOF"},
		{"ignored and sent", "a q {5+}\r\nb s\r\n c\r\nd s\r\n", "a Q @19\nd S @24\n EOF"},
		{"error before a literal", "a s \"x {5+}\r\nb s\r\n\r\nd s\r\n", "a S [a: Quoted string without end false] @20\nd S @25\n EOF"},
		{"literal glued to an atom", "a s x{5+}\r\nb s\r\n\r\nd s\r\n", "a S \"x\" [a: Expected a space false] @18\nd S @23\n EOF"},
		{"no literal", "a s {-1+}\r\nb s {+}\r\nc s {5+} \r\n",
			"a S [a: Expected a literal false] @11\nb S [b: Expected a literal false] @20\nc S [c: Expected a literal false] @31\n EOF"},
		{"many literals", "a l {1+}\r\na {1+}\r\nb {1+}\r\nc {1+}\r\nd\r\nb s\r\n",
			"a L L1false\"a\" L1false\"b\" L1false\"c\" [a: Too many literals in a command true] @37\nb S @42\n EOF"},
		{"too many literals to skip", "a q" + strings.Repeat(" {0+}\r\n", 50), "a Q Too many literals"},
		{"wrong escapes", "a s \"\\a\"\r\nb s \"\\\r\nc s \"\r\"\r\n",
			"a S [a: Wrong escape in a quoted string false] @10\nb S [b: Wrong escape in a quoted string false] @18\n" +
				"c S [c: Line end in a quoted string false] @27\n EOF"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := describe(NewReader(strings.NewReader(test.in), small)); got != test.want {
				t.Errorf("at once: got  %q\nwant %q", got, test.want)
			}
			if got := describe(NewReader(iotest.OneByteReader(strings.NewReader(test.in)), small)); got != test.want {
				t.Errorf("byte by byte: got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestReaderErrorsStay(t *testing.T) {
	broken := errors.New("broken")
	r := NewReader(io.MultiReader(strings.NewReader("a s b"), iotest.ErrReader(broken)), small)
	for range 2 {
		if _, err := r.Next(); !errors.Is(err, broken) {
			t.Fatalf("Next: %v", err)
		}
	}
	if _, err := r.ReadLine(10); !errors.Is(err, broken) {
		t.Fatalf("ReadLine: %v", err)
	}
	r = NewReader(strings.NewReader("a s {1}\r\nx\r\n"), small)
	r.SetContinue(func() error { return broken })
	c, err := r.Next()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.SP(); err != nil {
		t.Fatal(err)
	}
	if _, err := c.String(); !errors.Is(err, broken) {
		t.Fatalf("String: %v", err)
	}
	if err := c.Finish(); !errors.Is(err, broken) {
		t.Fatalf("Finish: %v", err)
	}
}

func TestReadLine(t *testing.T) {
	r := NewReader(strings.NewReader("a idle\r\nDONE\r\n{5+}\n"+strings.Repeat("x", 90)+"\r\na\x00\r\nb noop\r\nrest"), small)
	if c, err := r.Next(); err != nil || c.Name != "IDLE" {
		t.Fatal(c, err)
	}
	for _, want := range []string{"DONE", "{5+}"} {
		if line, err := r.ReadLine(10); err != nil || string(line) != want {
			t.Fatalf("got %q, %v; want %q", line, err, want)
		}
	}
	for range 2 {
		var syntax *SyntaxError
		if line, err := r.ReadLine(10); !errors.As(err, &syntax) || syntax.Tag != "" {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	if c, err := r.Next(); err != nil || c.Name != "NOOP" || c.Tag != "b" {
		t.Fatal(c, err)
	}
	if err := r.command.Finish(); err != nil {
		t.Fatal(err)
	}
	if r.Buffered() != 4 || string(r.Unread()) != "rest" || r.Consumed() != 8+6+5+92+4+8 {
		t.Fatalf("buffered %d %q, consumed %d", r.Buffered(), r.Unread(), r.Consumed())
	}
}

func TestReaderGivesLargeBuffersBack(t *testing.T) {
	r := NewReader(strings.NewReader("a s "+strings.Repeat("x", 60<<10)+"\r\nb s\r\n"), AfterLogin)
	for range 2 {
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Fatal(err)
	}
	if len(r.buf) > keptBuffer {
		t.Errorf("idle reader keeps %d bytes", len(r.buf))
	}
}
