package imap_test

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/imaptest"
)

// roamer is a client whose session moves from one node to another.
type roamer struct {
	t      *testing.T
	server *server
	client *imaptest.Client
	conn   net.Conn
	node   *imaptest.Conn // the other end
	sent   string         // all that the client has said since the login
	moves  uint32
	left   imap.Checkpoint // what earlier nodes have said last
	chunks map[[imap.ChunkName]byte][]byte
}

func newRoamer(t *testing.T, s *server) *roamer {
	t.Helper()
	r := &roamer{t: t, server: s, chunks: map[[imap.ChunkName]byte][]byte{}}
	r.conn = s.dial(t, t.Context())
	r.node = s.conns[len(s.conns)-1]
	r.client = imaptest.NewClient(t, r.conn)
	r.client.Answer("login")
	return r
}

func (r *roamer) say(text string) {
	r.sent += text
	r.client.Send(text)
}

// do says a command and returns the answer.
func (r *roamer) do(text string) []string {
	r.t.Helper()
	r.say(text + "\r\n")
	tag, _, _ := strings.Cut(text, " ")
	return r.client.Answer(tag)
}

// expect takes the next line.
func (r *roamer) expect(want string) {
	r.t.Helper()
	if line, ok := r.client.Line(); !ok || line != want {
		r.t.Fatalf("got %q, want %q", line, want)
	}
}

// look takes over what the present node has said about the session.
func (r *roamer) look() {
	for _, p := range r.node.Checkpoints() {
		r.left.Consumed = p.Consumed
		if p.State == nil {
			continue
		}
		r.left.State, r.left.Chunks = p.State, nil
		for _, c := range p.Chunks {
			if c.Data != nil {
				r.chunks[c.Name] = c.Data
			}
			r.left.Chunks = append(r.left.Chunks, imap.Chunk{Name: c.Name, Data: r.chunks[c.Name]})
		}
	}
}

// move ends the session at its node and goes on at another; continued is how many
// continuation requests the present command has had.
func (r *roamer) move(continued int) {
	r.t.Helper()
	r.look()
	r.conn.Close()
	r.moves++
	opts := r.server.opts
	r.server.opts.Resume = &imap.Resume{
		State: r.left.State, Chunks: r.left.Chunks, Consumed: r.left.Consumed, Continued: continued,
		Sent: uint64(len(r.sent)), Attempt: r.moves, Key: "secret",
	}
	r.conn = r.server.dial(r.t, r.t.Context())
	r.node = r.server.conns[len(r.server.conns)-1]
	r.server.opts = opts
	r.client = imaptest.NewClient(r.t, r.conn)
	if rest := r.sent[r.left.Consumed:]; rest != "" {
		r.client.Send(rest)
	}
}

func (r *roamer) want(got []string, want ...string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Messages keep their numbers, and what happened meanwhile is told where numbers
// may change.
func TestResumeKeepsNumbers(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	s.append(t, other, 5)
	r := newRoamer(t, s)
	r.do("a SELECT INBOX")
	r.move(0)
	other.Command("b", "SELECT INBOX")
	other.Command("c", `STORE 2 FLAGS (\Deleted)`)
	other.Command("d", "EXPUNGE")
	s.append(t, other, 1)
	other.Command("e", `STORE 4 +FLAGS (\Seen)`) // the client's fifth
	r.want(r.do("f UID SEARCH RETURN (ALL) ALL"), `* ESEARCH (TAG "f") UID ALL 1:5`,
		"* 2 EXPUNGE", "* 5 EXISTS", "* 4 RECENT", `* 4 FETCH (UID 5 FLAGS (\Seen \Recent))`, "f OK UID SEARCH completed")
	r.move(0)
	r.want(r.do("g FETCH 2:3 UID"), "* 2 FETCH (UID 3)", "* 3 FETCH (UID 4)", "g OK FETCH completed")
	r.want(r.do("h NOOP"), "h OK NOOP completed")
}

func TestResumeInIdle(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	r := newRoamer(t, s)
	r.do("a SELECT INBOX")
	r.say("b IDLE\r\n")
	r.expect("+ idling")
	r.move(1)
	s.append(t, other, 1)
	r.expect("* 1 EXISTS")
	r.expect("* 1 RECENT")
	r.move(1)
	s.append(t, other, 1)
	r.expect("* 2 EXISTS")
	r.expect("* 2 RECENT")
	r.say("DONE\r\n")
	r.expect("b OK IDLE completed")
	r.want(r.do("c NOOP"), "c OK NOOP completed")
}

// A literal goes on where it was, and one that is refused after all is skipped.
func TestResumeInALiteral(t *testing.T) {
	s := newServer(t, imap.Options{})
	r := newRoamer(t, s)
	r.do("a CREATE box")
	r.say("b APPEND box {10}\r\n")
	r.expect("+ OK")
	r.say("Subj")
	r.move(1)
	r.say("ect: ")
	r.move(1)
	r.say("x\r\n")
	if got := last(r.client.Answer("b")); !strings.HasPrefix(got, "b OK [APPENDUID ") {
		t.Fatal(got)
	}
	r.say("c APPEND box {10}\r\n")
	r.expect("+ OK")
	other := s.begin(t, t.Context())
	other.Command("x", "DELETE box")
	r.move(1)
	r.say("d LOGOUT\r\n\r\ne NOOP\r\n")
	if got := last(r.client.Answer("c")); !strings.HasPrefix(got, "c NO [TRYCREATE]") {
		t.Fatal(got)
	}
	r.want(r.client.Answer("e"), "e OK NOOP completed")
}

// Several literals in a command, of which some were asked for.
func TestResumeBetweenLiterals(t *testing.T) {
	s := newServer(t, imap.Options{})
	r := newRoamer(t, s)
	r.say("b LIST {0}\r\n")
	r.expect("+ OK")
	r.say(" {5}\r\n")
	r.expect("+ OK")
	r.move(2)
	r.say("INBOX\r\n")
	r.want(r.client.Answer("b"), `* LIST (\HasNoChildren) "/" INBOX`, "b OK LIST completed")
	r.say("c LIST {0}\r\n")
	r.expect("+ OK")
	r.move(1)
	r.say(" {5}\r\n")
	r.expect("+ OK")
	r.say("INBOX\r\n")
	r.want(r.client.Answer("c"), `* LIST (\HasNoChildren) "/" INBOX`, "c OK LIST completed")
}

// An upload that is not kept is answered, and the bytes after it count on.
func TestLostUpload(t *testing.T) {
	s := newServer(t, imap.Options{})
	r := newRoamer(t, s)
	r.do("a SELECT INBOX")
	r.move(0)
	const size = 5 << 20
	at := len(r.sent)
	r.client.Send(fmt.Sprintf("b XPLUTOLOST secret %d\r\n", size))
	r.sent += strings.Repeat("x", size)
	r.want(r.client.Answer("b"), "b NO [UNAVAILABLE] Server was lost during the upload, try again")
	r.do("c NOOP")
	if r.look(); r.left.Consumed != uint64(at+size+len("c NOOP\r\n")) {
		t.Errorf("%d bytes after %d and %d", r.left.Consumed, at, size)
	}
	if got := last(r.do("d XPLUTOLOST guess 7")); got != "d BAD Unknown command" {
		t.Error(got)
	}
}

func TestResumeOfADeletedMailbox(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	other.Command("x", "CREATE box")
	r := newRoamer(t, s)
	r.do("a SELECT box")
	r.look()
	other.Command("y", "DELETE box")
	r.move(0)
	r.expect("* BYE Selected mailbox was deleted, have to reconnect")
}

// What else a session has: a result that "$" stands for, and searches that are followed.
func TestResumeOfResults(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	s.append(t, other, 3)
	r := newRoamer(t, s)
	r.do("a SELECT INBOX")
	r.do("b SEARCH RETURN (SAVE) 2:3")
	r.do("c SEARCH RETURN (UPDATE COUNT) SEEN")
	r.move(0)
	r.expect(`* NO [NOUPDATE "c"] Searches are not followed any more, search again`)
	r.want(r.do("d FETCH $ UID"), "* 2 FETCH (UID 2)", "* 3 FETCH (UID 3)", "d OK FETCH completed")
}

// A state that cannot be read is refused before anything is said.
func TestNotResumed(t *testing.T) {
	s := newServer(t, imap.Options{Resume: &imap.Resume{State: []byte("?"), Attempt: 1}})
	c := imaptest.NewClient(t, s.dial(t, t.Context()))
	if line, ok := c.Line(); ok {
		t.Errorf("told %q", line)
	}
	if err := <-s.errs; !errors.Is(err, imap.ErrNotResumed) {
		t.Error(err)
	}
}

// The states of all sessions in the scripts so far have few bytes: an idle session
// with an ordinary mailbox costs a distributor little.
func TestStateIsSmall(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	s.append(t, other, 1000)
	r := newRoamer(t, s)
	r.do("a SELECT INBOX")
	r.look()
	size := len(r.left.State)
	for _, data := range maps.All(r.chunks) {
		size += len(data)
	}
	if size == 0 || size > 1000 {
		t.Errorf("%d bytes", size)
	}
}

// What was enabled stays so.
func TestResumeOfModes(t *testing.T) {
	s := newServer(t, imap.Options{})
	other := s.begin(t, t.Context())
	s.append(t, other, 3)
	r := newRoamer(t, s)
	r.do("a ENABLE QRESYNC IMAP4rev2")
	r.do("b SELECT INBOX")
	r.move(0)
	other.Command("x", "SELECT INBOX")
	other.Command("y", `STORE 2 FLAGS (\Deleted)`)
	other.Command("z", "EXPUNGE")
	got := r.do("c NOOP")
	if len(got) != 2 || got[0] != "* VANISHED 2" || !strings.HasPrefix(got[1], "c OK [HIGHESTMODSEQ ") {
		t.Error(got)
	}
	if got := r.do("d SEARCH ALL"); got[0] != `* ESEARCH (TAG "d") ALL 1:2` {
		t.Error(got)
	}
}
