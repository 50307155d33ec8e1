package mailstore

import (
	"errors"
	"strings"
	"testing"

	"github.com/go-pluto/pluto/crdt"
)

// What a session adds must fit, whatever the way; what it takes away makes room.
func TestQuota(t *testing.T) {
	n := newNode(t, 1)
	s := n.session()
	s.SetQuota(Amount{Storage: 100, Messages: 3})
	mustAppend(t, s, "INBOX", strings.Repeat("x", 60))
	if _, err := tryAppend(ctxOf(t), s, "Sent", strings.Repeat("x", 41)); !errors.Is(err, ErrOverQuota) {
		t.Errorf("APPEND of too much: %v", err)
	}
	inbox := mustSelect(t, s, "INBOX")
	if _, err := inbox.Copy(ctxOf(t), tags(inbox.View()), "Sent"); !errors.Is(err, ErrOverQuota) {
		t.Errorf("COPY of too much: %v", err)
	}
	if _, err := tryReplace(ctxOf(t), s, inbox, tags(inbox.View())[0], "INBOX", strings.Repeat("y", 101)); !errors.Is(err, ErrOverQuota) {
		t.Errorf("REPLACE by too much: %v", err)
	}
	if _, err := tryReplace(ctxOf(t), s, inbox, tags(inbox.View())[0], "INBOX", strings.Repeat("y", 90)); err != nil {
		t.Errorf("REPLACE by what fits then: %v", err)
	}
	if _, _, err := inbox.Move(ctxOf(t), tags(inbox.View()), "Sent"); err != nil {
		t.Errorf("MOVE: %v", err)
	}
	mustAppend(t, s, "INBOX", "a")
	mustAppend(t, s, "INBOX", "b")
	if err := deliverOne(t, s, "INBOX", "c"); !errors.Is(err, ErrOverQuota) {
		t.Errorf("delivery of too many: %v", err)
	}
	limit, used, err := s.Usage(ctxOf(t))
	if err != nil || limit != (Amount{100, 3}) || used != (Amount{92, 3}) {
		t.Errorf("%+v of %+v, %v", used, limit, err)
	}
	mustExpunge(t, inbox, tags(inbox.View())[:1])
	if err := deliverOne(t, s, "INBOX", "c"); err != nil {
		t.Errorf("delivery into the room that was made: %v", err)
	}
	if err := s.Delete(ctxOf(t), "Sent"); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, "INBOX", strings.Repeat("z", 50))
}

func deliverOne(t *testing.T, s *Account, box, body string) error {
	t.Helper()
	st, err := s.Stage(ctxOf(t), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	if _, err := st.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	return s.Deliver(ctxOf(t), box, []NewMessage{{Staging: st, Structure: []byte("s")}})
}

// Replicas that add at the same time may together pass the limit; then they agree
// on what is used, and both take nothing more.
func TestQuotaConverges(t *testing.T) {
	a, b := newNode(t, 1), newNode(t, 2)
	sa := a.session()
	settle(t, a, b)
	sb := b.session()
	for _, s := range []*Account{sa, sb} {
		s.SetQuota(Amount{Storage: 100})
		mustAppend(t, s, "INBOX", strings.Repeat("x", 80))
	}
	settle(t, a, b)
	for _, s := range []*Account{sa, sb} {
		_, used, err := s.Usage(ctxOf(t))
		if err != nil || used != (Amount{160, 2}) {
			t.Errorf("%+v are used, %v", used, err)
		}
		if _, err := tryAppend(ctxOf(t), s, "INBOX", "x"); !errors.Is(err, ErrOverQuota) {
			t.Errorf("beyond the limit: %v", err)
		}
	}
	m := mustSelect(t, sb, "INBOX")
	mustExpunge(t, m, []crdt.Tag{tags(m.View())[0]})
	settle(t, a, b)
	for _, s := range []*Account{sa, sb} {
		mustAppend(t, s, "INBOX", "x")
	}
}
