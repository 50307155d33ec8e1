package imaptest

import (
	"flag"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write what servers answer into the session scripts")

// Run runs a session script in a mode. dial opens a session; its argument is the name that
// the script gives it.
//
// A script has these lines; the name of the session after the letter is "1" when
// it is left out:
//
//	# a remark
//	C2: text     the client of session 2 sends a line
//	C2| text     the same, inside a literal: nothing is answered
//	C2+ text     the client of session 2 sends text without a line end
//	S2: text     the server must send this line to session 2
//	S2.          the server must end session 2
//
// What comes first from a new session, up to the first tagged line or greeting,
// is not looked at. In text of the server, <any> stands for anything; in that of
// the client, <x*70000> stands for 70000 times x and <tab>, <nul> and <space> for
// what they say. With the flag -rewrite the server's lines after a complete
// command are replaced in the file by what the server really sends.
func Run(t *testing.T, path string, mode Mode, dial func(t *testing.T, session string) net.Conn) {
	t.Helper()
	if *rewrite && mode.Enable != "" {
		t.Skip("scripts are rewritten as of IMAP4rev1")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := &script{t: t, path: path, mode: mode, dial: dial, clients: map[string]*Client{}, dialogues: map[string]*dialogue{}}
	s.parse(string(data))
	s.run()
	if *rewrite && !t.Failed() {
		s.write()
	}
}

// ClientText returns what the clients of a script send, for fuzzers to begin with.
func ClientText(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, line := range strings.Split(string(data), "\n") {
		m := stepLine.FindStringSubmatch(line)
		if m == nil || m[1] != "C" {
			continue
		}
		text.WriteString(expand(m[4]))
		if m[3] != "+" {
			text.WriteString("\r\n")
		}
	}
	return text.String()
}

// step is a line of a script.
type step struct {
	line    int
	kind    string // "C:", "C|", "C+", "S:", "S.", or empty for a remark
	session string
	text    string
	raw     string
}

type script struct {
	t       *testing.T
	path    string
	dial    func(t *testing.T, session string) net.Conn
	steps   []step
	mode    Mode
	clients map[string]*Client
	out     []string

	dialogues map[string]*dialogue // by session
}

var stepLine = regexp.MustCompile(`^([CS])(\w*)([:|+.]) ?(.*)$`)

func (s *script) parse(data string) {
	for i, raw := range strings.Split(strings.TrimSuffix(data, "\n"), "\n") {
		st := step{line: i + 1, raw: raw}
		if m := stepLine.FindStringSubmatch(raw); m != nil {
			st.kind, st.session, st.text = m[1]+m[3], m[2], m[4]
		} else if raw != "" && raw[0] != '#' {
			s.t.Fatalf("%s:%d: neither a remark nor a line of a session", s.path, st.line)
		}
		s.steps = append(s.steps, st)
	}
}

func (s *script) run() {
	s.t.Helper()
	for i := 0; i < len(s.steps); i++ {
		st := s.steps[i]
		s.out = append(s.out, st.raw)
		if s.mode.Sync != nil && st.kind != "" {
			s.mode.Sync()
		}
		if s.mode.Translate != nil && st.kind[:min(len(st.kind), 1)] == "C" {
			st.text = s.mode.Translate(st.session, st.text)
		}
		switch st.kind {
		case "C:":
			s.dialogue(st).sent(st.text)
			s.client(st).Send(expand(st.text) + "\r\n")
			if *rewrite {
				i = s.record(i)
			}
		case "C|":
			s.dialogue(st).sent(st.text)
			s.client(st).Send(expand(st.text) + "\r\n")
		case "C+":
			s.client(st).Send(expand(st.text))
		case "S:", "S.":
			if !s.expect(st) {
				return
			}
		}
	}
}

// dialogue returns where the session of a step is.
func (s *script) dialogue(st step) *dialogue {
	d := s.dialogues[st.session]
	if d == nil {
		d = new(dialogue)
		s.dialogues[st.session] = d
	}
	return d
}

// expect reads what a step of the script is in the mode, and compares it.
func (s *script) expect(st step) bool {
	s.t.Helper()
	lines := []string{st.text}
	if s.mode.expect != nil && st.kind == "S:" {
		lines = s.mode.expect(s.dialogue(st), st.text)
	}
	for _, line := range lines {
		st.text = line
		if !s.expectLine(st) {
			return false
		}
	}
	return true
}

// expectLine reads a line and compares it.
func (s *script) expectLine(st step) bool {
	s.t.Helper()
	uid := strings.HasPrefix(s.dialogue(st).command, "UID ")
	mask := func(line string) string {
		if s.mode.Mask == nil {
			return line
		}
		return s.mode.Mask(line, uid)
	}
	want := st.text
	if st.kind == "S:" && st.text != "" {
		if st.text = mask(st.text); st.text == "" {
			return true
		}
	}
	got, ok := s.client(st).Line()
	for ok && (got != "" && mask(got) == "" || s.mode.added != nil && s.mode.added(got) && !s.matches(st.text, got)) {
		got, ok = s.client(st).Line()
	}
	full := got
	got = mask(got)
	switch {
	case st.kind == "S." && !ok:
		return true
	case st.kind == "S.":
		s.t.Errorf("%s:%d: got %.300q, not the end", s.path, st.line, got)
	case !ok:
		s.t.Errorf("%s:%d: session has ended, want %.300q", s.path, st.line, st.text)
	case !s.matches(st.text, got):
		s.t.Errorf("%s:%d:\n got %.500q\nwant %.500q", s.path, st.line, got, st.text)
	default:
		if s.mode.Learn != nil {
			s.mode.Learn(st.session, want, full)
		}
		return true
	}
	return false
}

// client returns the client of a step, opening the session if it is new.
func (s *script) client(st step) *Client {
	s.t.Helper()
	if c := s.clients[st.session]; c != nil {
		return c
	}
	c := NewClient(s.t, s.dial(s.t, st.session))
	s.clients[st.session] = c
	for {
		line, ok := c.Line()
		if !ok {
			s.t.Fatalf("%s:%d: session did not begin", s.path, st.line)
		}
		if !strings.HasPrefix(line, "* ") || strings.HasPrefix(line, "* OK") {
			if s.mode.Enable != "" {
				c.Command("mode", "ENABLE "+s.mode.Enable)
			}
			return c
		}
	}
}

// record writes down what the server answers to the client line at i, and
// returns the index of the last of the old lines that it stands for.
func (s *script) record(i int) int {
	st := s.steps[i]
	last := i
	for last+1 < len(s.steps) && s.steps[last+1].kind == "S:" && s.steps[last+1].session == st.session {
		last++
	}
	old := s.steps[i+1 : last+1]
	for k := 0; ; k++ {
		line, ok := s.clients[st.session].Line()
		if !ok {
			return last
		}
		if k < len(old) && matches(old[k].text, line) {
			line = old[k].text
		}
		s.out = append(s.out, "S"+st.session+": "+line)
		if complete.MatchString(line) {
			return last
		}
	}
}

// complete matches the last line of an answer.
var complete = regexp.MustCompile(`^([^*+ ]\S* (OK|NO|BAD) |\* BAD |\+ )`)

func (s *script) write() {
	if err := os.WriteFile(s.path, []byte(strings.Join(s.out, "\n")+"\n"), 0o644); err != nil {
		s.t.Error(err)
	}
}

// matches compares lines in the mode.
func (s *script) matches(want, got string) bool {
	if s.mode.strip != nil {
		got = s.mode.strip(want, got)
	}
	return matches(want, got)
}

// matches compares a line with one that may have <any> in it.
func matches(want, got string) bool {
	parts := strings.Split(want, "<any>")
	if len(parts) == 1 {
		return want == got
	}
	rest, ok := strings.CutPrefix(got, parts[0])
	if !ok {
		return false
	}
	last := parts[len(parts)-1]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(rest, part)
		if i < 0 {
			return false
		}
		rest = rest[i+len(part):]
	}
	return strings.HasSuffix(rest, last)
}

var repeated = regexp.MustCompile(`<([^<>]+)\*(\d+)>`)

// expand replaces what a client's text has in angle brackets.
func expand(text string) string {
	text = repeated.ReplaceAllStringFunc(text, func(m string) string {
		parts := repeated.FindStringSubmatch(m)
		n, _ := strconv.Atoi(parts[2])
		return strings.Repeat(parts[1], n)
	})
	return strings.NewReplacer("<tab>", "\t", "<nul>", "\x00", "<space>", " ").Replace(text)
}
