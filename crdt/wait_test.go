package crdt

import "testing"

// TestTickReadsWhatIsDue: without a leader that answers, messages shown under an
// old UID wait for a quiet moment. A tick for another one does not read them, and
// neither does telling MODSEQs.
func TestTickReadsWhatIsDue(t *testing.T) {
	const stale = 200
	w := newWorld(2)
	w.noAudit = true
	add := func(n int) {
		t.Helper()
		if _, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, costMessages(n, 1), true) }); err != nil {
			t.Fatal(err)
		}
		w.deliver(0, 1)
	}
	add(stale)
	b := w.reps[1].mem.boxes[Inbox]
	b.H = 100_000
	re := &Reissue{}
	for i := range stale {
		re.List = append(re.List, TagUID{Tag{1, 1, uint32(i)}, UID(i/16*256 + i%16 + 16*256 + 17)})
	}
	if _, err := w.do(0, func(*Site) (Payload, error) { return re, nil }); err != nil {
		t.Fatal(err)
	}
	w.deliver(0, 1)
	if n := len(w.reps[1].mem.awaiting); n != stale {
		t.Fatalf("%d messages wait", n)
	}
	w.reps[1].self.Rank = 1
	tick := func(ms int64) (read int, next int64) {
		t.Helper()
		w.now += ms
		s := w.site(1)
		c := &counting{Memory: w.reps[1].mem}
		s.State = c
		list, next, err := s.Tick(false)
		if err != nil {
			t.Fatal(err)
		}
		w.followUp(1, list)
		return c.messages, next
	}
	if n, _ := tick(10); n != stale { // asks the leader
		t.Fatalf("the first tick reads %d messages", n)
	}
	tick(1)
	for range 5 {
		add(1)
		if n, next := tick(10); n > 2 || next == 0 {
			t.Errorf("a tick for one message reads %d; the next one is at %d", n, next)
		}
	}
	s := w.site(1)
	c := &counting{Memory: w.reps[1].mem}
	s.State = c
	if _, err := s.Unhide(Inbox); err != nil || c.messages > 5 {
		t.Errorf("reads %d messages to tell a MODSEQ, 5 are hidden: %v", c.messages, err)
	}
	quiet := w.reps[1].self.policy().Quiet
	if n, _ := tick(quiet / 2); n == 0 { // the hidden ones; that is a change
		t.Error("the hidden messages are forgotten")
	}
	tick(quiet / 2)
	tick(quiet)
	if n := len(w.reps[1].mem.awaiting); n != 0 {
		t.Errorf("%d messages still wait when all was quiet for long", n)
	}
	for i := range w.reps[1].mem.messages {
		w.reps[1].mem.Note(i, Wait{w.now, w.now + quiet, WaitShown})
	}
	if left, next := w.site(1).resting(w.instances(1, Inbox)); len(left) != 0 || next != w.now+quiet {
		t.Errorf("%d messages are looked at too early; the next at %d", len(left), next)
	}
	w.now-- // the clock is set back
	if left, _ := w.site(1).resting(w.instances(1, Inbox)); len(left) != stale+5 {
		t.Errorf("%d messages are looked at when the clock was set back", len(left))
	}
}
