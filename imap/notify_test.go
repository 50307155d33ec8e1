package imap_test

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-pluto/pluto/imap"
)

// What cannot be told any more ends the notifications, not the session (RFC 5465
// section 5.8).
func TestNotifyOverflow(t *testing.T) {
	s := newServer(t, imap.Options{})
	var broken atomic.Bool
	s.store.Fail = func(operation string) error {
		if operation == "status" && broken.Load() {
			return imap.ErrUnavailable
		}
		return nil
	}
	c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
	c.Command("a", "NOTIFY SET (personal (MessageNew MessageExpunge))")
	broken.Store(true)
	s.append(t, other, 1)
	if line, _ := c.Line(); !strings.HasPrefix(line, "* OK [NOTIFICATIONOVERFLOW] ") {
		t.Fatal(line)
	}
	broken.Store(false)
	s.append(t, other, 1)
	if got := c.Command("b", "NOOP"); !slices.Equal(got, []string{"b OK NOOP completed"}) {
		t.Fatal(got)
	}
}

// While a client listens it can still be silent for too long, leave, and send
// half a command.
func TestListeningClient(t *testing.T) {
	const listen = "NOTIFY SET (selected (MessageNew MessageExpunge)) (personal (MessageNew MessageExpunge))"
	t.Run("silent", func(t *testing.T) {
		// A busy machine may take longer to send the command than it may take.
		for limit := 20 * time.Millisecond; ; limit *= 4 {
			s := newServer(t, imap.Options{Autologout: limit})
			c := s.begin(t, t.Context())
			c.TrySend("a " + listen + "\r\n")
			line, _ := c.Line()
			listening := line == "a OK NOTIFY completed"
			if listening {
				line, _ = c.Line()
			}
			if line != "* BYE Autologout: idle for too long" {
				t.Fatal(line)
			}
			if listening {
				return
			}
		}
	})
	t.Run("gone", func(t *testing.T) {
		s := newServer(t, imap.Options{})
		c := s.begin(t, t.Context())
		c.Command("a", listen)
		c.Close()
		if err := <-s.errs; err != nil {
			t.Fatal(err)
		}
	})
	t.Run("half a command", func(t *testing.T) {
		s := newServer(t, imap.Options{})
		c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
		c.Command("a", listen)
		c.Send("b NO")
		s.append(t, other, 1)
		c.Send("OP\r\n")
		got := c.Answer("b")
		want := []string{"* STATUS INBOX (MESSAGES 1 UIDNEXT 2)", "b OK NOOP completed"}
		if !slices.Equal(got, want) {
			t.Fatalf("got %q, want %q", got, want)
		}
	})
	t.Run("mailbox deleted", func(t *testing.T) {
		s := newServer(t, imap.Options{})
		c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
		other.Command("x", "CREATE Box")
		c.Command("a", "SELECT Box")
		c.Command("b", listen)
		other.Command("y", "DELETE Box")
		if line, _ := c.Line(); !strings.HasPrefix(line, "* BYE ") {
			t.Fatal(line)
		}
		if _, ok := c.Line(); ok {
			t.Fatal("more after BYE")
		}
	})
}

// A session that goes on elsewhere listens there too, and hears how its mailboxes
// are now.
func TestNotifyGoesOnElsewhere(t *testing.T) {
	s := newServer(t, imap.Options{})
	r, other := newRoamer(t, s), s.begin(t, t.Context())
	s.append(t, other, 1)
	r.do("a NOTIFY SET (selected (MessageNew (UID) MessageExpunge)) (mailboxes INBOX (MessageNew MessageExpunge))")
	r.move(0)
	r.expect("* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1001)")
	s.append(t, other, 1)
	r.expect("* STATUS INBOX (MESSAGES 2 UIDNEXT 3)")
	r.do("b EXAMINE INBOX")
	r.move(0)
	s.append(t, other, 1)
	r.expect("* 3 EXISTS")
	r.expect("* 3 RECENT")
	r.expect("* 3 FETCH (UID 3)")
}

// What is not known any more after a move to another node is told as changed: names of
// annotations, to those who want them.
func TestAnnotationsAreToldElsewhere(t *testing.T) {
	for ask, want := range map[string][]string{
		"NOTIFY SET (mailboxes INBOX (MailboxMetadataChange ServerMetadataChange))": {`* METADATA "" /private/a`, "* METADATA INBOX /private/b"},
		"NOTIFY SET (mailboxes Sent (MailboxMetadataChange))":                       nil,
		"NOTIFY SET (mailboxes Sent (ServerMetadataChange))":                        {`* METADATA "" /private/a`},
		"ENABLE METADATA": {`* METADATA "" /private/a`, "* METADATA INBOX /private/b"},
	} {
		t.Run(ask, func(t *testing.T) {
			s := newServer(t, imap.Options{})
			r, other := newRoamer(t, s), s.begin(t, t.Context())
			r.do("a " + ask)
			r.do(`b SETMETADATA "" (/private/a "x")`)
			r.do(`c SETMETADATA INBOX (/private/b "x")`)
			r.move(0)
			got := r.do("d NOOP")
			slices.Sort(got)
			r.want(got, append(slices.Clone(want), "d OK NOOP completed")...)
			other.Command("a", `SETMETADATA "" (/private/a NIL)`)
			got = r.do("e NOOP")
			if want != nil {
				r.want(got[:1], `* METADATA "" /private/a`)
			}
			r.want(got[len(got)-1:], "e OK NOOP completed")
		})
	}
}

// An account that cannot say what its mailboxes are called says so later.
func TestAnnotationsThatCannotBeTold(t *testing.T) {
	s := newServer(t, imap.Options{})
	var broken atomic.Bool
	s.store.Fail = func(operation string) error {
		if operation == "mailboxes" && broken.Load() {
			return imap.ErrUnavailable
		}
		return nil
	}
	c, other := s.begin(t, t.Context()), s.begin(t, t.Context())
	c.Command("a", "ENABLE METADATA")
	broken.Store(true)
	other.Command("a", `SETMETADATA "" (/private/a "x")`)
	if got := c.Command("b", "NOOP"); !slices.Equal(got, []string{"b OK NOOP completed"}) {
		t.Fatal(got)
	}
	broken.Store(false)
	if got := c.Command("c", "NOOP"); !slices.Equal(got, []string{`* METADATA "" /private/a`, "c OK NOOP completed"}) {
		t.Fatal(got)
	}
}
