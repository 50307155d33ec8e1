package imap_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
	"github.com/go-pluto/pluto/imap/memmail"
	"github.com/prometheus/client_golang/prometheus"
)

// rawConn gives a session bytes in pieces and keeps what it answers.
type rawConn struct {
	in    []byte
	piece int
	out   bytes.Buffer
}

func (c *rawConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), c.piece)], c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *rawConn) Write(p []byte) (int, error)    { return c.out.Write(p) }
func (c *rawConn) Answer(imap.Checkpoint) error   { return nil }
func (c *rawConn) Continue(imap.Checkpoint) error { return nil }
func (c *rawConn) Bye() error                     { return nil }

// filled returns a store with a few messages in INBOX.
func filled(t testing.TB) *memmail.Store {
	t.Helper()
	store := memmail.New('/')
	store.Now = func() time.Time { return testNow }
	var in strings.Builder
	for _, message := range []string{
		"Subject: one\r\n\r\ntext\r\n",
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: y\r\n\r\nz\r\n--b--\r\n",
		"\x00\xff\r\n\n\r", "x",
	} {
		fmt.Fprintf(&in, "a APPEND INBOX (\\Flagged k) {%d+}\r\n%s\r\n", len(message), message)
	}
	serveRaw(t, store, in.String(), 4096)
	return store
}

// serveRaw runs a session on bytes and returns what was answered. A panic in the
// session fails the test.
func serveRaw(t testing.TB, store *memmail.Store, in string, piece int) string {
	t.Helper()
	account, err := store.Open(context.Background(), 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	defer account.Close()
	c := &rawConn{in: []byte(in), piece: piece}
	err = imap.Serve(context.Background(), c, account, imap.Options{MaxMessageSize: 1 << 16, Now: func() time.Time { return testNow }})
	if err != nil {
		t.Fatalf("%q: %v", in, err)
	}
	return c.out.String()
}

// statesOfSessions are what clients say to bring a session into a state, or into one
// of the modes that change what is answered.
var statesOfSessions = []string{
	"",
	"s SELECT INBOX\r\n",
	"s EXAMINE INBOX\r\n",
	"s ENABLE QRESYNC IMAP4rev2 UTF8=ACCEPT\r\ns SELECT INBOX\r\ns SEARCH RETURN (SAVE) 2:3\r\n",
	"s SELECT INBOX (CONDSTORE)\r\ns UID SEARCH RETURN (UPDATE CONTEXT) NOT SEEN\r\n" +
		"s NOTIFY SET (selected (MessageNew (FLAGS) MessageExpunge FlagChange)) (personal (MessageNew MailboxName))\r\n",
}

// FuzzBytes feeds bytes to a session in each state. Nothing may panic, responses are
// complete, and how the bytes were cut into pieces makes no difference.
func FuzzBytes(f *testing.F) {
	for _, script := range scriptLines(f) {
		f.Add(script)
	}
	f.Add("a FETCH 1:* (FLAGS BODY[1.MIME]<1.2>)\r\nb STORE *:1 -FLAGS.SILENT (k \\Seen)\r\nc IDLE\r\nDONE\r\n")
	f.Add("a SEARCH OR NOT (TEXT x BODY {1}\r\ny) HEADER a \"\"\r\n")
	f.Add("a APPEND INBOX {5+}\r\nhello (\\Seen) {3+}\r\nabc\r\nb LOGOUT\r\n")
	f.Fuzz(func(t *testing.T, in string) {
		if len(in) > 1<<14 {
			return
		}
		for _, state := range statesOfSessions {
			whole := serveRaw(t, filled(t), state+in, 1<<20)
			if whole != "" && !strings.HasSuffix(whole, "\r\n") {
				t.Errorf("response without end: %q", whole)
			}
			if strings.Contains(whole, "NO [SERVERBUG] Internal error") {
				t.Errorf("our own fault: %q", whole)
			}
			if pieces := serveRaw(t, filled(t), state+in, 3); pieces != whole {
				t.Errorf("in pieces:\n%q\nwhole:\n%q", pieces, whole)
			}
		}
	})
}

// scriptLines returns the client's part of the session scripts.
func scriptLines(f *testing.F) []string {
	f.Helper()
	var all []string
	for _, name := range []string{"basics", "fetch", "search", "store", "copymove", "append", "mailboxes", "listext", "sessions", "binary", "catenate", "replace", "preview", "quota", "metadata", "xlist", "multiappend"} {
		if text := imaptest.ClientText(f, "testdata/"+name+".txt"); len(text) < 1<<14 {
			all = append(all, text)
		}
	}
	return all
}

var tags = regexp.MustCompile(`(?m)^[a-z]\d `)

// FuzzSessions has two clients on one mailbox that send the lines of the input in
// turn, wait for the answers as clients do, and keep account of what they are told:
// every command is answered once, and message numbers are what RFC 3501 says.
func FuzzSessions(f *testing.F) {
	for _, script := range scriptLines(f) {
		f.Add(tags.ReplaceAllString(script, ""))
	}
	f.Add("STORE 1 +FLAGS (\\Deleted)\nFETCH 1:4 FLAGS\nEXPUNGE\nSTORE 1:4 FLAGS (x)\nNOOP\nUID FETCH 1:* UID\nNOOP")
	f.Add("MOVE 1 Trash\nCOPY 1:* INBOX\nSEARCH ALL\nNOOP\nUID MOVE 1:* INBOX\nFETCH 1:* UID\nNOOP\nNOOP")
	f.Fuzz(func(t *testing.T, in string) {
		lines := strings.Split(in, "\n")
		if len(in) > 1<<13 || len(lines) > 200 {
			return
		}
		store := filled(t)
		clients := [2]*model{newModel(t, store), newModel(t, store)}
		for i, line := range lines {
			if m := clients[i%2]; m.client != nil {
				m.command(strings.TrimRight(line, "\r"))
			}
		}
		clients[0].agree(clients[1])
	})
}

// model is a client that believes what it is told.
type model struct {
	t        *testing.T
	client   *imaptest.Client // nil: session has ended
	commands int
	uids     []string // by number; "" where not known
	err      chan error
}

func newModel(t *testing.T, store *memmail.Store) *model {
	account, err := store.Open(context.Background(), 1, "user1", imap.SessionID{})
	if err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	m := &model{t: t, client: imaptest.NewClient(t, client), err: make(chan error, 1)}
	registry := prometheus.NewRegistry()
	opts := imap.Options{MaxMessageSize: 1 << 16, Metrics: imap.NewMetrics(registry)}
	go func() {
		defer account.Close()
		defer server.Close()
		m.err <- imap.Serve(context.Background(), imaptest.NewConn(server), account, opts)
	}()
	t.Cleanup(func() {
		if m.client != nil {
			m.client.Close()
			if err := <-m.err; err != nil {
				t.Error(err)
			}
		}
		if counters(t, registry)["pluto_imap_session_panics_total"] > 0 {
			t.Error("a session panicked")
		}
	})
	m.command("SELECT INBOX")
	return m
}

var literalMarker = regexp.MustCompile(`\{(\d{1,18})(\+?)\}$`)

// command sends a line as a command and does what the server asks for until the
// tagged answer comes.
func (m *model) command(line string) {
	if literalMarker.MatchString(line) && strings.HasSuffix(line, "+}") || strings.Contains(line, "\x00") {
		return // what follows would be the literal
	}
	m.commands++
	tag := "t" + strconv.Itoa(m.commands)
	word, _, _ := strings.Cut(strings.ToUpper(line), " ")
	sent := m.client.TrySend(tag + " " + line + "\r\n")
	size := 0
	if marker := literalMarker.FindStringSubmatch(line); marker != nil {
		size, _ = strconv.Atoi(marker[1])
	}
	for {
		answer, ok := m.client.Line()
		switch {
		case !ok:
			m.t.Fatalf("%q: session ended without BYE (%v)", line, sent)
		case strings.HasPrefix(answer, "+ idling"):
			m.client.Send("DONE\r\n")
		case strings.HasPrefix(answer, "+ "):
			m.client.Send(strings.Repeat("x", size) + "\r\n")
		case strings.HasPrefix(answer, "* BYE "):
			m.bye(line, tag)
			return
		case strings.HasPrefix(answer, tag+" "):
			m.finish(word, answer[len(tag)+1:])
			return
		case strings.HasPrefix(answer, "* "):
			m.untagged(word, m.skipLiterals(answer[2:]))
		default:
			m.t.Fatalf("%q answered by %q", line, answer)
		}
	}
}

// skipLiterals reads the literals of a response and returns it without them.
func (m *model) skipLiterals(answer string) string {
	for {
		marker := literalMarker.FindStringSubmatch(answer)
		if marker == nil {
			return answer
		}
		size, _ := strconv.Atoi(marker[1])
		for size >= 0 {
			line, ok := m.client.Raw()
			if !ok {
				m.t.Fatal("session ended in a literal")
			}
			if size -= len(line); size < 0 {
				rest := strings.TrimRight(line[len(line)+size:], "\r\n")
				answer = answer[:len(answer)-len(marker[0])] + rest
			}
		}
	}
}

// bye checks the end of a session.
func (m *model) bye(line, tag string) {
	for {
		answer, ok := m.client.Line()
		if !ok {
			break
		}
		if !strings.HasPrefix(answer, tag+" OK") {
			m.t.Fatalf("%q: %q after BYE", line, answer)
		}
	}
	m.client.Close()
	m.client = nil
	if err := <-m.err; err != nil {
		m.t.Fatal(err)
	}
}

// finish takes note of the tagged answer.
func (m *model) finish(word, answer string) {
	switch status, _, _ := strings.Cut(answer, " "); status {
	case "OK", "NO", "BAD":
	default:
		m.t.Fatalf("tagged %q", answer)
	}
	if strings.Contains(answer, "SERVERBUG") {
		m.t.Fatalf("our own fault: %s", answer)
	}
	if strings.HasPrefix(answer, "OK") && (word == "CLOSE" || word == "UNSELECT") {
		m.uids = nil
	}
}

var numbered = regexp.MustCompile(`^(\d+) (EXISTS|EXPUNGE|RECENT|FETCH)(.*)$`)

// untagged keeps account of message numbers (RFC 3501 section 7.3, 7.4).
func (m *model) untagged(word, answer string) {
	if strings.HasPrefix(answer, "OK [CLOSED]") {
		m.uids = nil
	}
	r := numbered.FindStringSubmatch(answer)
	if r == nil {
		return
	}
	n, _ := strconv.Atoi(r[1])
	switch r[2] {
	case "EXISTS":
		if n < len(m.uids) {
			m.t.Fatalf("%s: %d EXISTS after %d", word, n, len(m.uids))
		}
		m.uids = append(m.uids, make([]string, n-len(m.uids))...)
	case "EXPUNGE":
		if word == "FETCH" || word == "STORE" || word == "SEARCH" {
			m.t.Fatalf("EXPUNGE during %s", word)
		}
		m.known(n)
		m.uids = append(m.uids[:n-1], m.uids[n:]...)
	case "RECENT":
		if n > len(m.uids) {
			m.t.Fatalf("%d RECENT of %d", n, len(m.uids))
		}
	case "FETCH":
		m.known(n)
		m.fetched(n, r[3])
	}
}

func (m *model) known(n int) {
	if n < 1 || n > len(m.uids) {
		m.t.Fatalf("message %d of %d", n, len(m.uids))
	}
}

var fetchedUID = regexp.MustCompile(`^ \((?:.* )?UID (\d+)[ )]`)

// fetched checks that a number keeps its UID and that UIDs rise.
func (m *model) fetched(n int, items string) {
	r := fetchedUID.FindStringSubmatch(items)
	if r == nil || strings.Contains(items, `"`) {
		return
	}
	if have := m.uids[n-1]; have != "" && have != r[1] {
		m.t.Fatalf("message %d has UID %s, had %s", n, r[1], have)
	}
	m.uids[n-1] = r[1]
}

// agree brings both clients to the same mailbox and compares what they see.
func (m *model) agree(other *model) {
	if m.client == nil || other.client == nil {
		return
	}
	for _, c := range []*model{m, other} {
		c.command("SELECT INBOX")
		if c.client == nil {
			return
		}
		c.command("UID FETCH 1:* UID")
	}
	if strings.Join(m.uids, " ") != strings.Join(other.uids, " ") {
		m.t.Fatalf("%v and %v", m.uids, other.uids)
	}
}

// Several clients at once on one mailbox: each is told what is consistent, and in
// the end all see the same.
func TestSessionsAtOnce(t *testing.T) {
	store := filled(t)
	commands := []string{
		"NOOP", "IDLE", "FETCH 1:* (UID FLAGS)", "UID FETCH 1:* FLAGS", "SEARCH UNSEEN", "UID SEARCH ALL",
		"STORE 1 +FLAGS (\\Seen)", "STORE 1 FLAGS.SILENT (k)", "STORE 1 +FLAGS (\\Deleted)", "EXPUNGE",
		"COPY 1 INBOX", "COPY 1:* INBOX", "MOVE 1 INBOX", "UID MOVE 1:3 INBOX", "FETCH 1 BODY[]", "CHECK",
		"APPEND INBOX {20}", "APPEND INBOX (\\Flagged) {5}", "UID STORE 1:* -FLAGS (k)", "SELECT INBOX",
	}
	t.Run("clients", func(t *testing.T) {
		for n := range 4 {
			t.Run(strconv.Itoa(n), func(t *testing.T) {
				t.Parallel()
				m, random := newModel(t, store), rand.New(rand.NewPCG(1, uint64(n)))
				for range 150 {
					if m.command(commands[random.IntN(len(commands))]); len(m.uids) > 200 {
						m.command("UID STORE 10:* +FLAGS.SILENT (\\Deleted)")
						m.command("EXPUNGE")
					}
				}
			})
		}
	})
	newModel(t, store).agree(newModel(t, store))
}
