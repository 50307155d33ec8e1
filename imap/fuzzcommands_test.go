package imap

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// scriptedConn gives a session bytes and keeps what it answers.
type scriptedConn struct {
	in  []byte
	out bytes.Buffer
}

func (c *scriptedConn) Read(p []byte) (int, error) {
	if len(c.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, c.in)
	c.in = c.in[n:]
	return n, nil
}

func (c *scriptedConn) Write(p []byte) (int, error)     { return c.out.Write(p) }
func (c *scriptedConn) Answer(Checkpoint) error         { return nil }
func (c *scriptedConn) Continue(Checkpoint) error       { return nil }
func (c *scriptedConn) Bye() error                      { return nil }
func (c *scriptedConn) Compress(Checkpoint) error       { return nil }
func (c *scriptedConn) Unauthenticate(Checkpoint) error { return nil }

// OpenForFuzzing is set by the tests of package imap_test, which have mail in memory.
var OpenForFuzzing func(t testing.TB) Account

// fuzzStates bring a session into each state, and into each mode that changes what
// commands answer; the last command has the tag "ready".
var fuzzStates = []string{
	"ready NOOP\r\n",
	"ready SELECT INBOX\r\n",
	"ready EXAMINE INBOX\r\n",
	"s SELECT INBOX\r\ns STORE 1:2 +FLAGS (\\Deleted)\r\nready UID SEARCH RETURN (SAVE) 1:3\r\n",
	"s ENABLE QRESYNC\r\nready SELECT INBOX\r\n",
	"s ENABLE IMAP4rev2 UTF8=ACCEPT METADATA\r\nready SELECT INBOX\r\n",
	"s SELECT INBOX (CONDSTORE)\r\ns SEARCH RETURN (UPDATE CONTEXT ALL) ALL\r\nready SORT RETURN (UPDATE ALL) (SUBJECT) UTF-8 ALL\r\n",
	"s SELECT INBOX\r\ns SELECT INBOX\r\nready NOTIFY SET STATUS (selected (MessageNew (UID ENVELOPE) MessageExpunge FlagChange)) " +
		"(personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange MailboxMetadataChange ServerMetadataChange))\r\n",
	"s DELETE Trash\r\ns CREATE Trash/x\r\ns SUBSCRIBE Trash/gone\r\nready COMPRESS DEFLATE\r\n",
}

// fuzzNames are all commands that there are.
func fuzzNames() []string {
	names := slices.Sorted(maps.Keys(commands))
	return append(names, slices.Sorted(maps.Keys(uidCommands))...)
}

// FuzzCommands gives every command any arguments in every state. It is answered once,
// without a fault of ours, and a session that goes on is in step: the next command is
// answered too.
func FuzzCommands(f *testing.F) {
	if OpenForFuzzing == nil {
		f.Fatal("no mail")
	}
	names := fuzzNames()
	number := func(name string) uint8 { return uint8(slices.Index(names, name)) }
	for name, arguments := range map[string]string{
		"SELECT": ` INBOX (QRESYNC (1001 1 1:* (1 1)))`, "STATUS": ` INBOX (MESSAGES UIDNEXT SIZE DELETED)`,
		"LIST":  ` (SUBSCRIBED RECURSIVEMATCH) "" (% "*") RETURN (CHILDREN STATUS (MESSAGES))`,
		"FETCH": ` 1:* (FLAGS ENVELOPE BODYSTRUCTURE BODY.PEEK[1.MIME]<0.9> BINARY[1] PREVIEW (LAZY) EMAILID) (CHANGEDSINCE 1)`,
		"STORE": ` 1 (UNCHANGEDSINCE 0) +FLAGS.SILENT (\Seen k)`, "SEARCH": ` RETURN (MIN MAX COUNT PARTIAL 1:2) CHARSET UTF-8 OR TEXT x NOT (YOUNGER 9 $)`,
		"SORT": ` RETURN (ALL) (REVERSE DISPLAYFROM SIZE) UTF-8 ALL`, "THREAD": ` REFERENCES UTF-8 ALL`,
		"UID FETCH": ` 1:* (FLAGS) (CHANGEDSINCE 1 VANISHED)`, "UID EXPUNGE": ` $`, "COPY": ` 1:2 Archive`, "MOVE": ` * INBOX`,
		"APPEND":   " INBOX (\\Seen) \"23-Nov-2026 12:00:00 +0000\" CATENATE (URL \"/INBOX/;UID=1/;SECTION=1\" TEXT {1+}\r\nx)",
		"REPLACE":  " 1 INBOX ~{3+}\r\na\x00b",
		"NOTIFY":   ` SET STATUS (mailboxes (INBOX Archive) (MessageNew MessageExpunge)) (subtree Trash (ServerMetadataChange))`,
		"SETQUOTA": ` "" (STORAGE 1)`, "GETMETADATA": ` (DEPTH infinity MAXSIZE 3) INBOX (/private /shared/comment)`,
		"SETMETADATA": ` INBOX (/private/x ~{1+}` + "\r\n\x00)", "RENAME": ` INBOX "a/b&AOQ-"`, "CREATE": ` x (USE (\Archive))`, "ID": ` ("name" NIL)`,
		"ENABLE": ` CONDSTORE x QRESYNC`, "UID REPLACE": ` 1 Archive UTF8 (~{1+}` + "\r\nx)", "CANCELUPDATE": ` "s"`,
	} {
		if number(name) == 255 {
			f.Fatal(name)
		}
		for state := range fuzzStates {
			f.Add(uint8(state), number(name), arguments)
		}
	}
	for i := range names {
		f.Add(uint8(i%len(fuzzStates)), uint8(i), "")
	}
	f.Fuzz(func(t *testing.T, state, command uint8, arguments string) {
		if len(arguments) > 1<<12 {
			return
		}
		name := names[int(command)%len(names)]
		in := fuzzStates[int(state)%len(fuzzStates)] + "x " + name + arguments + "\r\n"
		if name == "IDLE" {
			in += "DONE\r\n"
		}
		in += "last NOOP\r\n"
		c := &scriptedConn{in: []byte(in)}
		account := OpenForFuzzing(t)
		defer account.Close()
		err := Serve(context.Background(), c, account, Options{MaxMessageSize: 1 << 12, Now: func() time.Time { return time.Unix(1_800_000_000, 0) }})
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Fatalf("%q: %v", in, err)
		}
		checkAnswers(t, in, name, arguments, c.out.String())
	})
}

// checkAnswers checks the tagged answers to an input of FuzzCommands.
func checkAnswers(t *testing.T, in, name, arguments, out string) {
	t.Helper()
	if strings.Contains(out, "SERVERBUG") || strings.Contains(out, "Internal error") {
		t.Fatalf("%q is answered by our own fault:\n%s", in, out)
	}
	if !strings.Contains(out, "\r\nready OK ") && !strings.HasPrefix(out, "ready OK ") {
		t.Fatalf("%q: the state is not reached:\n%s", in, out)
	}
	if out != "" && !strings.HasSuffix(out, "\r\n") {
		t.Fatalf("%q: response without end:\n%s", in, out)
	}
	if strings.ContainsAny(arguments, "\r\n{") {
		return // what was meant as arguments may be several commands, or part of one
	}
	answers, next := 0, 0
	for line := range strings.Lines(out) {
		if strings.HasPrefix(line, "x OK ") || strings.HasPrefix(line, "x NO ") || strings.HasPrefix(line, "x BAD ") {
			answers++
		}
		if strings.HasPrefix(line, "last OK ") {
			next++
		}
	}
	ended := strings.Contains(out, "* BYE ") || name == "LOGOUT" || name == "UNAUTHENTICATE"
	if answers != 1 && !(ended && answers == 0) || next != 1 && !ended {
		t.Fatalf("%q: %d answers, %d to the next command:\n%s", in, answers, next, out)
	}
}
