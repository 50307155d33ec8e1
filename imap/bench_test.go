package imap_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/imap"
	"github.com/go-pluto/pluto/imap/memmail"
)

// benchConn gives a session the same command again and again, each only after
// the answer to the one before, and throws the answers away.
type benchConn struct {
	command  string
	left     int
	pending  string
	written  int64
	received int64
}

func (c *benchConn) Read(p []byte) (int, error) {
	if c.pending == "" {
		if c.left == 0 {
			return 0, io.EOF
		}
		c.left--
		c.pending = c.command
	}
	n := copy(p, c.pending)
	c.pending = c.pending[n:]
	c.received += int64(n)
	return n, nil
}

func (c *benchConn) Write(p []byte) (int, error) {
	c.written += int64(len(p))
	return len(p), nil
}

func (c *benchConn) Answer(imap.Checkpoint) error   { return nil }
func (c *benchConn) Continue(imap.Checkpoint) error { return nil }
func (c *benchConn) Bye() error                     { return nil }

// message17k is of the size of the workload's median message.
func message17k() string {
	return "From: a@example.org\r\nSubject: bench\r\n\r\n" +
		strings.Repeat("0123456789012345678901234567890123456789012345678901234567890123\r\n", 262)
}

func openFilled(b *testing.B, messages int) imap.Account {
	b.Helper()
	store := memmail.New('/')
	account, err := store.Open(context.Background(), 1, "user1", imap.SessionID{})
	if err != nil {
		b.Fatal(err)
	}
	text := message17k()
	c := &benchConn{command: fmt.Sprintf("a APPEND INBOX {%d+}\r\n%s\r\n", len(text), text), left: messages}
	if err := imap.Serve(context.Background(), c, account, imap.Options{}); err != nil {
		b.Fatal(err)
	}
	return account
}

func BenchmarkCommand(b *testing.B) {
	text := message17k()
	for _, bench := range []struct{ name, command string }{
		{"NOOP", "a NOOP\r\n"},
		{"FETCH-100-FLAGS", "a FETCH 1:100 FLAGS\r\n"},
		{"FETCH-body", "a FETCH 1 BODY.PEEK[]\r\n"},
		{"FETCH-100-envelopes", "a FETCH 1:100 (UID FLAGS ENVELOPE)\r\n"},
		{"STORE", "a STORE 1 FLAGS (\\Seen)\r\na STORE 1 FLAGS (\\Answered)\r\n"},
		{"SELECT", "a SELECT INBOX\r\n"},
		{"SEARCH-flags", "a SEARCH UNSEEN\r\n"},
		{"SEARCH-body", "a SEARCH BODY needle\r\n"},
		{"STATUS", "a STATUS INBOX (MESSAGES)\r\n"},
		{"LIST", "a LIST \"\" *\r\n"},
		{"APPEND", fmt.Sprintf("a APPEND Trash {%d+}\r\n%s\r\n", len(text), text)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			account := openFilled(b, 100)
			defer account.Close()
			c := &benchConn{command: bench.command, pending: "s SELECT INBOX\r\n", left: b.N}
			b.ReportAllocs()
			b.ResetTimer()
			if err := imap.Serve(context.Background(), c, account, imap.Options{}); err != nil {
				b.Fatal(err)
			}
			b.ReportMetric(float64(c.written)/float64(b.N), "out-B/op")
		})
	}
}
