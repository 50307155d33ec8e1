package mailstore

import (
	"fmt"
	"testing"
	"time"
)

func mustDeliver(t testing.TB, s *Account, box, body string) {
	t.Helper()
	st, err := s.Stage(ctxOf(t), int64(len(body)))
	if err != nil {
		t.Fatal(err)
	}
	defer st.Discard()
	if _, err := st.Write([]byte(body)); err != nil {
		t.Fatal(err)
	}
	if err := s.Deliver(ctxOf(t), box, []NewMessage{{Staging: st}}); err != nil {
		t.Fatal(err)
	}
}

// TestDeliveriesAreHeld: they are shown when they are due, or before something
// above them is; a restart meanwhile loses nothing.
func TestDeliveriesAreHeld(t *testing.T) {
	n := newNode(t, 1)
	n.opts.HoldDown = 50 * time.Millisecond
	s := n.session()
	m := mustSelect(t, s, "INBOX")
	mustDeliver(t, s, "INBOX", "held")
	if v := m.View(); v.Len() != 0 {
		t.Errorf("shown at once: %v", uids(v))
	}
	for m.View().Len() == 0 {
		awaitChange(t, m)
	}
	n.opts.HoldDown = time.Minute
	mustDeliver(t, s, "INBOX", "held for long")
	if v := m.View(); v.Len() != 1 {
		t.Errorf("shown at once: %v", uids(v))
	}
	mustAppend(t, s, "INBOX", "above")
	if got := fmt.Sprint(uids(m.View())); got != "[17 18 19]" {
		t.Errorf("with what is above: %s", got)
	}
	mustDeliver(t, s, "INBOX", "held over the restart")
	n.reopen()
	s = n.session()
	m = mustSelect(t, s, "INBOX")
	if v := m.View(); v.Len() != 3 {
		t.Errorf("after the restart: %v", uids(v))
	}
	c, err := n.revealAccount(testUser, true)
	if err != nil || c == nil {
		t.Fatalf("nothing to reveal: %v", err)
	}
	if err := n.synced(c); err != nil {
		t.Fatal(err)
	}
	c.account.settle(c, nil)
	n.release(c.account)
	for m.View().Len() < 4 {
		awaitChange(t, m)
	}
	if err := n.Audit(testUser); err != nil {
		t.Error(err)
	}
}
