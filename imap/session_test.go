package imap_test

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/prometheus/client_golang/prometheus"
)

// begin opens a session and reads the answer to the login.
func (s *server) begin(t testing.TB, ctx context.Context) *imaptest.Client {
	t.Helper()
	c := imaptest.NewClient(t, s.dial(t, ctx))
	if line, _ := c.Line(); !strings.HasPrefix(line, "login OK [CAPABILITY IMAP4rev1 ") {
		t.Fatalf("login answered by %q", line)
	}
	return c
}

// last returns the last line of an answer.
func last(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}

func (s *server) append(t testing.TB, c *imaptest.Client, n int) {
	t.Helper()
	for range n {
		c.Send("a APPEND INBOX {10+}\r\nSubject: x\r\n")
		if got := last(c.Answer("a")); !strings.HasPrefix(got, "a OK [APPENDUID") {
			t.Fatal(got)
		}
	}
}

func TestSilentClientIsLoggedOut(t *testing.T) {
	for name, command := range map[string]string{
		"between commands": "",
		"inside a line":    "a NO",
		"inside a literal": "a APPEND INBOX {100+}\r\nxxx",
		"in IDLE":          "a IDLE\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, imap.Options{Autologout: 20 * time.Millisecond})
			c := s.begin(t, t.Context())
			c.Send(command)
			line, _ := c.Line()
			if line == "+ idling" {
				line, _ = c.Line()
			}
			if want := "* BYE Autologout: idle for too long"; line != want {
				t.Fatalf("got %q, want %q", line, want)
			}
			if _, ok := c.Line(); ok {
				t.Fatal("more after BYE")
			}
			if err := <-s.errs; err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAnswersAreNotHeldBackByHalfACommand(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	c.Send("a NOOP\r\nb NO")
	if got := last(c.Answer("a")); got != "a OK NOOP completed" {
		t.Fatal(got)
	}
	c.Send("OP\r\nc NOOP\r\nd NOOP\r\n")
	for _, tag := range []string{"b", "c", "d"} {
		if got := last(c.Answer(tag)); got != tag+" OK NOOP completed" {
			t.Fatal(got)
		}
	}
}

func TestPanicEndsOnlyItsSession(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := newServer(t, imap.Options{Metrics: imap.NewMetrics(registry)})
	s.store.Fail = func(operation string) error {
		if operation == "status" {
			panic("test")
		}
		return nil
	}
	a, b := s.begin(t, t.Context()), s.begin(t, t.Context())
	got := a.Command("x", "STATUS INBOX (MESSAGES)")
	if len(got) != 1 || !strings.HasPrefix(got[0], "* BYE Internal error, reference ") {
		t.Fatal(got)
	}
	if err := <-s.errs; err == nil || !strings.Contains(err.Error(), "panic: test") {
		t.Fatal(err)
	}
	if got := last(b.Command("x", "NOOP")); got != "x OK NOOP completed" {
		t.Fatal(got)
	}
	if got := counters(t, registry)["pluto_imap_session_panics_total"]; got != 1 {
		t.Fatal(got)
	}
}

func TestMetricsCountResults(t *testing.T) {
	registry := prometheus.NewRegistry()
	s := newServer(t, imap.Options{Metrics: imap.NewMetrics(registry)})
	s.store.Fail = func(operation string) error {
		if operation == "create" {
			return errors.New("broken")
		}
		return nil
	}
	c := s.begin(t, t.Context())
	for _, command := range []string{"NOOP", "NOOP", "NOOP x", "SELECT nowhere", "CREATE x", "FOO", "uid foo", "UID FETCH 1 UID"} {
		c.Command("a", command)
	}
	want := map[string]float64{
		"NOOP ok": 2, "NOOP bad": 1, "SELECT no": 1, "CREATE fault": 1, "other bad": 2, "UID FETCH bad": 1,
	}
	if got := counters(t, registry); !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// counters returns the counters that are not zero, by their labels or name.
func counters(t *testing.T, registry *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			if labels := m.GetLabel(); len(labels) == 2 {
				name = labels[0].GetValue() + " " + labels[1].GetValue()
			}
			if v := m.GetCounter().GetValue(); v > 0 {
				values[name] = v
			}
		}
	}
	return values
}

func TestDisconnectCancelsSearch(t *testing.T) {
	s := newServer(t, imap.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var mu sync.Mutex
	looked := 0
	s.store.Fail = func(operation string) error {
		if operation == "body" {
			mu.Lock()
			looked++
			mu.Unlock()
			cancel()
		}
		return nil
	}
	c := s.begin(t, ctx)
	s.append(t, c, 5)
	c.Command("b", "SELECT INBOX")
	c.Send("c SEARCH BODY never\r\n")
	if err := <-s.errs; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if looked != 1 {
		t.Fatalf("%d messages were searched", looked)
	}
}

// A search that cannot look into a message says so, after what it has found.
func TestSearchOfWhatIsNotHere(t *testing.T) {
	s := newServer(t, imap.Options{})
	bodies := 0
	s.store.Fail = func(operation string) error {
		if operation != "body" {
			return nil
		}
		bodies++
		return map[int]error{1: imap.ErrExpunged, 3: imap.ErrUnavailable}[bodies]
	}
	c := s.begin(t, t.Context())
	s.append(t, c, 4)
	c.Command("b", "SELECT INBOX")
	got := c.Command("c", "SEARCH NOT BODY never")
	want := []string{"* SEARCH 2 4", "c NO [UNAVAILABLE] Not available at the moment, try again later"}
	if !slices.Equal(got, want) {
		t.Fatal(got)
	}
}

func TestClientGone(t *testing.T) {
	for name, command := range map[string]string{
		"between commands": "",
		"inside a literal": "a APPEND INBOX {100+}\r\nxxx",
		"in IDLE":          "a IDLE\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, imap.Options{})
			c := s.begin(t, t.Context())
			c.Send(command)
			if strings.HasSuffix(command, "IDLE\r\n") {
				c.Line()
			}
			c.Close()
			if err := <-s.errs; err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A client that stops reading stops nobody else, and is ended by its connection.
func TestClientThatDoesNotRead(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	s.append(t, c, 3)
	silent := s.dial(t, t.Context())
	go io.WriteString(silent, "a SELECT INBOX\r\nb FETCH 1:* BODY[]\r\nc STORE 1 FLAGS (\\Seen)\r\n")
	c.Command("b", "SELECT INBOX")
	if got := last(c.Command("c", "STORE 1:3 +FLAGS (\\Deleted)")); got != "c OK STORE completed" {
		t.Fatal(got)
	}
	if got := last(c.Command("d", "EXPUNGE")); got != "d OK EXPUNGE completed" {
		t.Fatal(got)
	}
	silent.Close()
	if err := <-s.errs; err == nil || !strings.Contains(err.Error(), "write to client") {
		t.Fatal(err)
	}
}

func TestNotIMAP(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	for range 25 {
		c.Send("GET / HTTP/1.1\r\n")
	}
	for range 25 {
		if line, _ := c.Line(); line != "GET BAD Unknown command" {
			t.Fatal(line)
		}
	}
	if line, _ := c.Line(); !strings.HasPrefix(line, "* BYE Too many") {
		t.Fatal(line)
	}
}

func TestCheckpoints(t *testing.T) {
	s := newServer(t, imap.Options{})
	c := s.begin(t, t.Context())
	sent := uint64(0)
	do := func(text, tag string) {
		t.Helper()
		c.Send(text)
		c.Answer(tag)
		sent += uint64(len(text))
	}
	done := func() imap.Checkpoint {
		t.Helper()
		all := s.conns[0].Checkpoints()
		return all[len(all)-1]
	}
	do("a APPEND INBOX {10+}\r\nSubject: x\r\n", "a")
	if p := done(); p.Consumed != sent || p.State != nil {
		t.Errorf("after APPEND without a mailbox: %+v, want %d bytes and no state", p, sent)
	}
	do("b SELECT INBOX\r\n", "b")
	if p := done(); p.Consumed != sent || !strings.Contains(string(p.State), "INBOX") {
		t.Errorf("after SELECT: %+v", p)
	}
	do("c NOOP\r\n", "c")
	if p := done(); p.Consumed != sent || p.State != nil {
		t.Errorf("after NOOP: %+v", p)
	}
	do("d STORE 1 FLAGS (\\Seen)\r\n", "d")
	if p := done(); p.Consumed != sent || p.State == nil {
		t.Errorf("after STORE: %+v", p)
	}
	before := sent
	do("e APPEND INBOX {10}\r\n", "e")
	if p := done(); p.Consumed != before || p.Read != sent {
		t.Errorf("inside APPEND: %d bytes, %d read, want %d and %d", p.Consumed, p.Read, before, sent)
	}
	do("Subject: y\r\n", "e")
	if p := done(); p.Consumed != sent || p.State == nil {
		t.Errorf("after APPEND: %+v", p)
	}
	before = sent
	do("f IDLE\r\n", "f")
	if p := done(); p.Consumed != before || p.Read != sent || p.State != nil {
		t.Errorf("in IDLE: %d bytes, %d read, want %d and %d", p.Consumed, p.Read, before, sent)
	}
	do("DONE\r\n", "f")
	if p := done(); p.Consumed != sent {
		t.Errorf("after IDLE: %d bytes, want %d", p.Consumed, sent)
	}
}

// brokenConn fails in writing.
type brokenConn struct{ net.Conn }

func (brokenConn) Write([]byte) (int, error)      { return 0, os.ErrClosed }
func (brokenConn) Answer(imap.Checkpoint) error   { return os.ErrClosed }
func (brokenConn) Continue(imap.Checkpoint) error { return os.ErrClosed }
func (brokenConn) Bye() error                     { return os.ErrClosed }

func TestWriteErrorEndsSession(t *testing.T) {
	s := newServer(t, imap.Options{})
	account, err := s.store.Open(t.Context(), 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	client, server := net.Pipe()
	defer client.Close()
	defer server.Close()
	if err := imap.Serve(t.Context(), brokenConn{server}, account, imap.Options{Tag: "x"}); !errors.Is(err, os.ErrClosed) {
		t.Fatal(err)
	}
}

// TestRenumberedMessage: a message that got another UID from another replica is
// still the one that the client means by the old UID, until it is told.
func TestRenumberedMessage(t *testing.T) {
	for command, test := range map[string]struct {
		answer []string // without the news, which come at the end
		inbox  string   // flags of the message in INBOX afterwards, "-" if it is gone
	}{
		"UID STORE 2 +FLAGS (\\Draft)": {[]string{`* 2 FETCH (UID 2 FLAGS (\Draft \Recent))`}, `\Draft`},
		"STORE 2 FLAGS ($x)":           {[]string{`* 2 FETCH (FLAGS (\Recent $x))`}, `$x`},
		"FETCH 2 BODY[]<0.1>":          {[]string{`* 2 FETCH (FLAGS (\Seen \Recent) BODY[]<0> {1}`, `S)`}, `\Seen`},
		"UID COPY 1:3 Archive":         {[]string{`[COPYUID 1006 1:3 1:3]`}, ``},
		"MOVE 2 Archive":               {[]string{`* OK [COPYUID 1006 2 1] Moved`}, `-`},
		"EXPUNGE":                      {nil, ``},
	} {
		t.Run(command, func(t *testing.T) {
			s := newServer(t, imap.Options{MaxMessageSize: 1000})
			c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
			s.append(t, c, 3)
			c.Command("b", "SELECT INBOX")
			if uid := s.store.Renumber(1, "INBOX", 2); uid != 4 {
				t.Fatal("not renumbered")
			}
			got := strings.Join(c.Command("c", command), "\n")
			for _, want := range test.answer {
				if !strings.Contains(got, want) {
					t.Errorf("the answer %q lacks %q", got, want)
				}
			}
			if !strings.Contains(got, "c OK ") {
				t.Errorf("answered by %q", got)
			}
			other.Command("a", "EXAMINE INBOX")
			want := []string{`* 3 FETCH (UID 4 FLAGS (` + test.inbox + `))`, "b OK UID FETCH completed"}
			if test.inbox == "-" {
				want = want[1:]
			}
			got = strings.Join(other.Command("b", "UID FETCH 4 (FLAGS)"), "\n")
			got = strings.NewReplacer(`\Recent `, "", ` \Recent`, "", `\Recent`, "").Replace(got)
			if got != strings.Join(want, "\n") {
				t.Errorf("INBOX has %q, want %q", got, want)
			}
		})
	}
}

// TestExpungeOfRenumberedMessage: the message is removed, unless it lost \Deleted
// since the client was told of it.
func TestExpungeOfRenumberedMessage(t *testing.T) {
	for _, command := range []string{"EXPUNGE", "UID EXPUNGE 2"} {
		for _, change := range []string{"-FLAGS", "+FLAGS"} {
			s := newServer(t, imap.Options{MaxMessageSize: 1000})
			c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
			s.append(t, c, 3)
			c.Command("b", "SELECT INBOX")
			c.Command("c", `STORE 2 +FLAGS (\Deleted)`)
			s.store.Renumber(1, "INBOX", 2)
			other.Command("a", "SELECT INBOX")
			other.Command("b", `UID STORE 4 `+change+` (\Deleted)`)
			c.Command("d", command)
			other.Command("c", "NOOP")
			want := "* SEARCH 1 3 4"
			if change == "+FLAGS" {
				want = "* SEARCH 1 3"
			}
			if got := other.Command("d", "UID SEARCH ALL"); !slices.Contains(got, want) {
				t.Errorf("%s after %s left %q, want %q", command, change, got, want)
			}
		}
	}
}

// Who asks for the first or the last message that a search finds is not made to wait
// for those in between (RFC 4731).
func TestSearchForEndsReadsNoMore(t *testing.T) {
	s := newServer(t, imap.Options{})
	var mu sync.Mutex
	bodies := 0
	s.store.Fail = func(operation string) error {
		mu.Lock()
		defer mu.Unlock()
		if operation == "body" {
			bodies++
		}
		return nil
	}
	c := s.begin(t, t.Context())
	for _, text := range []string{"no", "yes", "no", "yes", "no", "yes", "no"} {
		c.Send("a APPEND INBOX {" + strconv.Itoa(len(text)+2) + "+}\r\n\r\n" + text + "\r\n")
		c.Answer("a")
	}
	c.Command("b", "SELECT INBOX")
	for _, test := range []struct {
		command, want string
		bodies        int
	}{
		{"SEARCH RETURN (MIN) BODY yes", " MIN 2", 2},
		{"SEARCH RETURN (MAX) BODY yes", " MAX 6", 2},
		{"SEARCH RETURN (MAX MIN) BODY yes", " MIN 2 MAX 6", 4},
		{"UID SEARCH RETURN (MIN MAX SAVE) 1,4:5 BODY yes", " UID MIN 4 MAX 4", 3},
		{"UID SEARCH RETURN (MIN MAX) $ BODY yes", " UID MIN 4 MAX 4", 1},
		{"SEARCH RETURN (MIN MAX) BODY never", "", 7},
		{"SEARCH RETURN (MAX) BODY never", "", 7},
		{"SEARCH RETURN (MIN COUNT) BODY yes", " MIN 2 COUNT 3", 7},
		{"SEARCH RETURN (MIN ALL) BODY yes", " MIN 2 ALL 2,4,6", 7},
		{"SORT RETURN (MIN) (REVERSE ARRIVAL) UTF-8 BODY yes", " MIN", 7},
	} {
		mu.Lock()
		bodies = 0
		mu.Unlock()
		got := c.Command("c", test.command)
		mu.Lock()
		read := bodies
		mu.Unlock()
		if want := `* ESEARCH (TAG "c")` + test.want; len(got) != 2 || !strings.HasPrefix(got[0], want) || read != test.bodies {
			t.Errorf("%s: got %q, %d bodies were read; want %q, %d", test.command, got, read, want, test.bodies)
		}
	}
}
