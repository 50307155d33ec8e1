package mime

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// TestAsDovecot appends every sample to a Dovecot and compares what FETCH says.
// It runs if DOVECOT is the address (host:port, TLS) of a server with the user
// user1, password pass1, whose mailbox "mimetest" the test replaces. Samples that
// DIFFERENCES.md lists must differ, all others must not. DOVECOT_ALL=1 shows all
// differences, DOVECOT_SHOW=name both answers for that sample.
func TestAsDovecot(t *testing.T) {
	addr := os.Getenv("DOVECOT")
	if addr == "" {
		t.Skip("DOVECOT is not set")
	}
	c := dial(t, addr)
	defer c.conn.Close()
	n := 0
	for _, s := range samples(t) {
		if len(s.data) == 0 {
			continue // refused by Dovecot
		}
		n++
		c.append(s.data)
		c.command("NOOP")
		t.Run(s.name, func(t *testing.T) {
			c.t = t
			diffs := c.compare(n, s)
			if differs := differs(s.name); differs && len(diffs) == 0 {
				t.Error("DIFFERENCES.md lists it, but there is no difference")
			} else if !differs || os.Getenv("DOVECOT_ALL") != "" {
				for _, d := range diffs {
					t.Error(d)
				}
			}
		})
		c.t = t
	}
}

// differs reports whether DIFFERENCES.md lists the sample. (That file says why.)
func differs(name string) bool {
	switch name {
	case "ct-empty", "ct-text", "ct-text-slash", "ct-text-params", "ct-slash", "ct-word", "ct-word-slash",
		"ct-unclosed-comment", "ct-garbage", "ct-garbage2", "ct-quoted-type", "ct-nul", "digest-empty-type",
		"multipart-no-subtype", "multipart-slash", "multipart-broken-type", "corpus-missing-subtype.txt", // 1
		"ct-dup",                    // 2
		"2231-order", "2231-broken", // 3
		"bare-words2", "quoted-local", "dots", // 4
		"message-unfinished", "message-blank-boundary", "boundary-in-message-header", // 5
		"many-parts",        // 6
		"multipart-no-body", // 7
		"bare-cr2":          // 8
		return true
	}
	return false
}

var comparedSections = []string{
	"", "HEADER", "TEXT", "HEADER.FIELDS (SUBJECT FROM)", "HEADER.FIELDS.NOT (SUBJECT CONTENT-TYPE)",
	"1", "1.MIME", "1.HEADER", "1.TEXT", "1.HEADER.FIELDS (SUBJECT)", "2", "2.MIME", "2.HEADER", "2.TEXT", "3", "3.MIME", "4",
	"1.1", "1.1.MIME", "1.1.HEADER", "1.1.TEXT", "1.2", "1.2.MIME", "1.2.HEADER", "1.2.TEXT", "2.1", "2.1.MIME", "2.2", "2.2.MIME", "1.1.1", "1.2.1", "1.1.1.MIME", "2.1.1", "9",
}

// compare returns what differs for a sample that is message n.
func (c *imapClient) compare(n int, s sample) (diffs []string) {
	ours := parse(c.t, s.data)
	got := c.fetch(n, "(RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE)")
	want := fmt.Sprintf("* %d FETCH (RFC822.SIZE %d ENVELOPE %s BODY %s BODYSTRUCTURE %s)", n, ours.Size(),
		ours.AppendEnvelope(nil), ours.AppendBody(nil, false), ours.AppendBody(nil, true))
	if os.Getenv("DOVECOT_SHOW") == s.name {
		c.t.Logf("dovecot %s\nours    %s", got, want)
	}
	diffs = diffTrees(nil, "", parseTree(got), parseTree(want))
	for _, sec := range comparedSections {
		theirs := c.section(n, sec)
		// Of a section that does not exist Dovecot sends an empty string; for
		// NUL, which a literal must not contain, it sends 0x80.
		mine, _ := sectionOf(ours, s.data, sec)
		mine = bytes.ReplaceAll(mine, []byte{0}, []byte{0x80})
		if !bytes.Equal(theirs, mine) && !(len(mine) == 0 && c.isPartOfItself(n, sec, theirs)) {
			diffs = append(diffs, fmt.Sprintf("BODY[%s]:\ndovecot %.300q\nours    %.300q", sec, theirs, mine))
		}
	}
	return diffs
}

// isPartOfItself reports whether Dovecot takes part 1 of a part that has no
// parts for the part itself (9 in DIFFERENCES.md).
func (c *imapClient) isPartOfItself(n int, sec string, content []byte) bool {
	for _, suffix := range []string{"", ".MIME"} {
		if whole, ok := strings.CutSuffix(sec, ".1"+suffix); ok && bytes.Equal(content, c.section(n, whole+suffix)) {
			return true
		}
	}
	return false
}

// sectionOf is what our server answers for BODY[sec].
func sectionOf(s *Structure, data []byte, sec string) (content []byte, ok bool) {
	parsed := parseSection(sec)
	r, ok := s.Locate(parsed)
	if !ok {
		return nil, false
	}
	content = data[r.Offset:r.End()]
	switch parsed.Specifier {
	case HeaderFields, HeaderFieldsNot:
		content = FilterHeader(content, parsed.Fields, parsed.Specifier == HeaderFieldsNot)
	}
	return content, true
}

func parseSection(text string) (sec Section) {
	text, list, _ := strings.Cut(text, " ")
	sec.Fields = strings.Fields(strings.Trim(list, "()"))
	for text != "" && text[0] <= '9' {
		var num string
		num, text, _ = strings.Cut(text, ".")
		n, _ := strconv.Atoi(num)
		sec.Part = append(sec.Part, n)
	}
	sec.Specifier = map[string]Specifier{"": Everything, "HEADER": Header, "TEXT": Text, "MIME": MIME,
		"HEADER.FIELDS": HeaderFields, "HEADER.FIELDS.NOT": HeaderFieldsNot}[text]
	return sec
}

// tree is an IMAP value: a list or an atom or a string.
type tree struct {
	list []tree
	text string // strings with a leading "
}

func (tr tree) String() string {
	if tr.list == nil {
		return fmt.Sprintf("%.200q", tr.text)
	}
	var b strings.Builder
	for _, e := range tr.list {
		b.WriteString(e.String() + " ")
	}
	return "(" + b.String() + ")"
}

func parseTree(s string) tree {
	p := treeParser{s}
	return tree{list: p.elements()}
}

type treeParser struct{ s string }

func (p *treeParser) elements() []tree {
	list := []tree{}
	for p.s != "" {
		switch c := p.s[0]; c {
		case ')':
			p.s = p.s[1:]
			return list
		case ' ':
			p.s = p.s[1:]
		case '(':
			p.s = p.s[1:]
			list = append(list, tree{list: p.elements()})
		case '"':
			list = append(list, tree{text: p.quoted()})
		case '{':
			head, rest, _ := strings.Cut(p.s[1:], "}\r\n")
			n, _ := strconv.Atoi(head)
			list = append(list, tree{text: "\"" + rest[:n]})
			p.s = rest[n:]
		default:
			i := strings.IndexAny(p.s, " ()")
			if i < 0 {
				i = len(p.s)
			}
			list = append(list, tree{text: p.s[:i]})
			p.s = p.s[i:]
		}
	}
	return list
}

func (p *treeParser) quoted() string {
	out := []byte{'"'}
	i := 1
	for ; p.s[i] != '"'; i++ {
		if p.s[i] == '\\' {
			i++
		}
		out = append(out, p.s[i])
	}
	p.s = p.s[i+1:]
	return string(out)
}

func diffTrees(diffs []string, path string, a, b tree) []string {
	if (a.list == nil) != (b.list == nil) || len(a.list) != len(b.list) || a.text != b.text {
		return append(diffs, fmt.Sprintf("at %s:\ndovecot %v\nours    %v", path, a, b))
	}
	for i := range a.list {
		diffs = diffTrees(diffs, fmt.Sprintf("%s/%d", path, i), a.list[i], b.list[i])
	}
	return diffs
}

// imapClient is just enough of a client.
type imapClient struct {
	t    *testing.T
	conn *tls.Conn
	r    *bufio.Reader
	tag  int
}

func dial(t *testing.T, addr string) *imapClient {
	conn, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	c := &imapClient{t: t, conn: conn, r: bufio.NewReader(conn)}
	c.response()
	c.command("LOGIN user1 pass1")
	c.send("DELETE mimetest")
	c.wait()
	c.command("CREATE mimetest")
	c.command("SELECT mimetest")
	return c
}

func (c *imapClient) send(line string) {
	c.tag++
	if _, err := fmt.Fprintf(c.conn, "t%d %s\r\n", c.tag, line); err != nil {
		c.t.Fatal(err)
	}
}

// response reads one response, literals included.
func (c *imapClient) response() string {
	var b strings.Builder
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			c.t.Fatal(err)
		}
		b.WriteString(line)
		line = strings.TrimSuffix(line, "\r\n")
		i := strings.LastIndexByte(line, '{')
		if i < 0 || !strings.HasSuffix(line, "}") {
			return strings.TrimSuffix(b.String(), "\r\n")
		}
		n, err := strconv.Atoi(strings.TrimPrefix(line[i+1:len(line)-1], "~"))
		if err != nil {
			return strings.TrimSuffix(b.String(), "\r\n")
		}
		if _, err := io.CopyN(&b, c.r, int64(n)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// wait reads up to the tagged response and returns the untagged ones and it.
func (c *imapClient) wait() (untagged []string, status string) {
	tag := fmt.Sprintf("t%d ", c.tag)
	for {
		line := c.response()
		if rest, ok := strings.CutPrefix(line, tag); ok {
			return untagged, rest
		}
		untagged = append(untagged, line)
	}
}

func (c *imapClient) command(line string) []string {
	c.t.Helper()
	c.send(line)
	untagged, status := c.wait()
	if !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("%s: %s", line, status)
	}
	return untagged
}

func (c *imapClient) append(data []byte) {
	c.t.Helper()
	c.send(fmt.Sprintf("APPEND mimetest {%d+}\r\n%s", len(data), data))
	if _, status := c.wait(); !strings.HasPrefix(status, "OK") {
		c.t.Fatalf("APPEND: %s", status)
	}
}

func (c *imapClient) fetch(n int, items string) string {
	for _, line := range c.command(fmt.Sprintf("FETCH %d %s", n, items)) {
		if strings.HasPrefix(line, fmt.Sprintf("* %d FETCH (", n)) {
			return line
		}
	}
	return ""
}

// section returns BODY[sec].
func (c *imapClient) section(n int, sec string) []byte {
	c.t.Helper()
	for _, line := range c.command(fmt.Sprintf("FETCH %d BODY.PEEK[%s]", n, sec)) {
		_, value, ok := strings.Cut(line, "] ")
		if !ok || !strings.Contains(line, "FETCH (BODY[") {
			continue
		}
		v := parseTree(value).list[0].text
		if !strings.HasPrefix(v, "\"") {
			c.t.Fatalf("BODY[%s] is %s", sec, v)
		}
		return []byte(v[1:])
	}
	c.t.Fatalf("no BODY[%s]", sec)
	return nil
}
