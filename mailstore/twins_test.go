package mailstore

import (
	"errors"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// sessionAs opens the test user's account for a session that other nodes know.
func (n *node) sessionAs(id SessionID) *Account {
	n.t.Helper()
	s, err := n.Open(ctxOf(n.t), testUser, testLogin, id)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(s.Close)
	return s
}

// TestLateOriginal: a commits APPEND and dies before the push, b replays it, the
// user expunges or keeps what the replay added, and a returns (C21). What b
// remembers survives a restart.
func TestLateOriginal(t *testing.T) {
	for _, c := range []struct {
		name    string
		expunge bool
		want    []string
	}{
		{"kept", false, []string{"33 00001 [] mail"}},
		{"expunged", true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b, third := newNode(t, 1), newNode(t, 2), newNode(t, 3)
			id := newSessionID()
			b.pull(a)
			sa, sb := a.sessionAs(id), b.sessionAs(id)
			sa.Command(100)
			mustAppend(t, sa, "INBOX", "mail", `\Seen`)
			sb.Command(100)
			sb.Attempt(1)
			mustAppend(t, sb, "INBOX", "mail", `\Seen`)
			if c.expunge {
				sb.Command(200)
				m := mustSelect(t, sb, "INBOX")
				mustExpunge(t, m, tags(m.View()))
			}
			sb.Close()
			b.reopen()
			third.pull(a) // the original comes first here
			third.pull(b)
			b.pull(a)
			a.pull(b)
			for _, n := range []*node{a, b, third} {
				s := n.session()
				wantLines(t, lines(t, s, mustSelect(t, s, "INBOX").View()), c.want...)
				n.audit(testUser)
			}
		})
	}
}

// TestEarlierAttemptIsRefused: a worker whose session has moved away learns of
// the replay before it commits.
func TestEarlierAttemptIsRefused(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	b.pull(a)
	sb := b.sessionAs(id)
	sb.Command(100)
	sb.Attempt(1)
	mustAppend(t, sb, "INBOX", "mail")
	a.pull(b)
	sa.Command(100)
	if _, err := tryAppend(ctxOf(t), sa, "INBOX", "mail"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the first attempt after the second: %v", err)
	}
	sa.Command(101)
	mustAppend(t, sa, "INBOX", "more")
	if got := mustSelect(t, sa, "INBOX").View().Len(); got != 2 {
		t.Errorf("%d messages", got)
	}
	a.audit(testUser)
}

// TestCausesAreForgotten: what operations leave for concurrent ones goes when
// they are stable, and no account is visited for it again.
func TestCausesAreForgotten(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	s.Command(1)
	for range 2*forgetStep + 1 {
		mustAppend(t, s, "INBOX", "mail")
	}
	s.Command(2)
	s.Attempt(1)
	mustAppend(t, s, "INBOX", "replayed")
	m := mustSelect(t, s, "INBOX")
	view := m.View()
	s.Command(3)
	if _, _, err := m.Move(ctxOf(t), tags(view)[:1], "Archive"); err != nil {
		t.Fatal(err)
	}
	view = m.View()
	if got := n.entries(recTwin); got != 2*forgetStep+2 {
		t.Errorf("%d causes and sources are filed", got)
	}
	if got := n.entries(recReplay); got != 1 {
		t.Errorf("%d replays are remembered", got)
	}
	n.audit(testUser)
	stable := n.applied()
	for range 2 { // the second visit finds nothing left and ends them
		if err := n.forget(stable); err != nil {
			t.Fatal(err)
		}
	}
	if twins, replays := n.entries(recTwin), n.entries(recReplay); twins+replays > 0 {
		t.Errorf("%d causes, %d replays are kept", twins, replays)
	}
	if list, err := n.filedAccounts(); err != nil || len(list) > 0 {
		t.Errorf("visited again: %v, %v", list, err)
	}
	if c := m.View().Since(view); len(c.Changed)+len(c.Added)+len(c.Expunged) > 0 {
		t.Errorf("forgetting is seen: %+v", c)
	}
	n.audit(testUser)
	s.Command(4)
	mustAppend(t, s, "INBOX", "later")
	if list, err := n.filedAccounts(); err != nil || len(list) != 1 || list[0] != testUser {
		t.Errorf("not visited: %v, %v", list, err)
	}
}

func TestTwinKeys(t *testing.T) {
	tag := crdt.Tag{Origin: 3, N: 4, Index: 5}
	command := crdt.Cause{Session: [16]byte{1, 2}, Command: 7}
	listed := crdt.Cause{Session: [16]byte{1, 2}, Command: 7, Index: 9}
	for _, k := range []crdt.TwinKey{
		{Source: tag}, {Cause: listed}, {Cause: listed, Root: crdt.Root{8}}, {Cause: command, Source: tag},
	} {
		b := appendTwinKey(nil, k)
		got, rest, err := parseTwinKey(append(b, "rest"...))
		if err != nil || got != k || string(rest) != "rest" {
			t.Errorf("%+v became %+v, %q, %v", k, got, rest, err)
		}
		for n := range len(b) {
			if _, _, err := parseTwinKey(b[:n]); err == nil {
				t.Errorf("%d of %d bytes of %+v are a key", n, len(b), k)
			}
		}
	}
	if _, _, err := parseTwinKey(append([]byte{'?'}, make([]byte, 100)...)); err == nil {
		t.Error("an unknown kind is a key")
	}
}
