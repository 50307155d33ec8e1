package mailstore

import (
	"context"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// tryReplace replaces a message by one with another body.
func tryReplace(ctx context.Context, s *Account, m *Mailbox, tag crdt.Tag, to, body string) (Appended, error) {
	st, err := s.Stage(ctx, int64(len(body)))
	if err != nil {
		return Appended{}, err
	}
	defer st.Discard()
	if _, err := io.WriteString(st, body); err != nil {
		return Appended{}, err
	}
	out, _, err := m.Replace(ctx, tag, to, NewMessage{Staging: st, Structure: []byte("s")})
	return out, err
}

// Nobody ever sees a mailbox with both messages or with neither, and what is on
// the disk is both operations or none.
func TestReplaceIsOneChange(t *testing.T) {
	n := newNode(t, 1)
	s, other := n.session(), n.session()
	mustAppend(t, s, "Drafts", "one")
	mustAppend(t, s, "Drafts", "two")
	m, watched := mustSelect(t, s, "Drafts"), mustSelect(t, other, "Drafts")
	before := watched.View()
	out, err := tryReplace(ctxOf(t), s, m, tags(m.View())[0], "Drafts", "three")
	if err != nil {
		t.Fatal(err)
	}
	awaitChange(t, watched)
	if c := watched.View().Since(before); len(c.Expunged) != 1 || len(c.Added) != 1 || c.Added[0] != out.UIDs[0] {
		t.Errorf("the first change seen is %+v, replaced by %v", c, out.UIDs)
	}
	wantLines(t, lines(t, s, m.View()), "18 00000 [] two", "19 00000 [] three")
	if _, err := tryReplace(ctxOf(t), s, m, tags(m.View())[0], "Sent", "four"); err != nil {
		t.Fatal(err)
	}
	wantLines(t, lines(t, s, m.View()), "19 00000 [] three")
	wantLines(t, lines(t, s, mustSelect(t, s, "Sent").View()), "17 00000 [] four")
	n.audit(testUser)
}

// What cannot be done leaves both mailboxes as they were.
func TestReplaceNothing(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	mustAppend(t, s, "Drafts", "one")
	m := mustSelect(t, s, "Drafts")
	tag := tags(m.View())[0]
	if _, err := tryReplace(ctxOf(t), s, m, tag, "nowhere", "x"); !errors.Is(err, ErrNonexistent) {
		t.Errorf("into a mailbox that does not exist: %v", err)
	}
	readOnly, err := s.Select(ctxOf(t), "Drafts", true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tryReplace(ctxOf(t), s, readOnly, tag, "Drafts", "x"); !errors.Is(err, ErrReadOnly) {
		t.Errorf("in a mailbox that is read-only: %v", err)
	}
	wantLines(t, lines(t, s, m.View()), "17 00000 [] one")
	mustExpunge(t, m, []crdt.Tag{tag})
	if _, err := tryReplace(ctxOf(t), s, m, tag, "Sent", "x"); !errors.Is(err, ErrExpunged) {
		t.Errorf("of a message that is gone: %v", err)
	}
	if v := mustSelect(t, s, "Sent").View(); v.Len() != 0 {
		t.Errorf("%d messages were added", v.Len())
	}
	n.audit(testUser)
}

// TestReplaceIsAnsweredOnce: asked for again at a replica that knows of it, it is
// answered the same and not done again.
func TestReplaceIsAnsweredOnce(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	id := newSessionID()
	sa := a.sessionAs(id)
	mustAppend(t, sa, "INBOX", "one")
	m := mustSelect(t, sa, "INBOX")
	tag := tags(m.View())[0]
	sa.Command(5)
	first, err := tryReplace(ctxOf(t), sa, m, tag, "Drafts", "two")
	if err != nil {
		t.Fatal(err)
	}
	settle(t, a, b)
	sb := b.sessionAs(id)
	sb.Command(5)
	sb.Attempt(1)
	again, err := tryReplace(ctxOf(t), sb, mustSelect(t, sb, "INBOX"), tag, "Drafts", "two")
	if err != nil || !slices.Equal(again.UIDs, first.UIDs) || again.UIDValidity != first.UIDValidity {
		t.Errorf("%+v, %v; first %+v", again, err, first)
	}
	if got := mustSelect(t, sb, "Drafts").View().Len(); got != 1 {
		t.Errorf("%d messages", got)
	}
}
