package crdt

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// uidClient is a client without CONDSTORE: it drops what is not in the mailbox
// any more, and fetches what is new from UIDNEXT on, nothing else.
type uidClient struct {
	uidValidity, next uint32
	rows              map[uint32]string // contents by UID
}

// poll lets a client look for new mail in a mailbox at replica i, with UID FETCH n:*.
func (w *world) poll(c *uidClient, i int, box MailboxID, evidence bool) {
	r := w.reps[i]
	b := r.mem.boxes[box]
	if b == nil {
		return
	}
	if v := b.UIDValidity(); v != c.uidValidity {
		*c = uidClient{uidValidity: v, next: 1, rows: map[uint32]string{}}
	}
	if evidence {
		w.evidence(i, box, NewUID(b.Era(), c.next))
	}
	next, _ := w.announce(i, box)
	shown := map[uint32]string{}
	for at, m := range r.mem.messages {
		if at.Box == box && m.Exp != 0 {
			shown[m.Exp.Number()] = string(m.Root[:])
		}
	}
	maps.DeleteFunc(c.rows, func(u uint32, _ string) bool { return shown[u] == "" })
	for u, content := range shown {
		if u >= c.next {
			c.rows[u] = content
		}
	}
	c.next = max(c.next, next.Number())
}

// missing returns how many of the contents it does not have.
func (c *uidClient) missing(contents []string) int {
	has := slices.Collect(maps.Values(c.rows))
	contents = slices.DeleteFunc(contents, func(x string) bool { return slices.Contains(has, x) })
	return len(contents)
}

// evidence is what replica i makes of a client that names UIDs.
func (w *world) evidence(i int, box MailboxID, from UID) {
	before := w.reps[i].mem.boxes[box].N
	if err := w.site(i).Evidence(box, from); err != nil {
		w.truth.fail("evidence: %v", err)
	}
	w.skipped = w.skipped || w.reps[i].mem.boxes[box].N > before
	w.look(i)
}

// forgetSkipped makes the largest UIDs heard of equal, which differ at replicas
// where clients named UIDs.
func (w *world) forgetSkipped() {
	if !w.skipped {
		return
	}
	largest := map[MailboxID]UID{}
	for _, r := range w.reps {
		for id, b := range r.mem.boxes {
			largest[id] = max(largest[id], b.N)
		}
	}
	for _, r := range w.reps {
		for id, b := range r.mem.boxes {
			b.N = largest[id]
		}
	}
}

// lossy plays appends, deliveries and a client that roams, and returns how many
// of the messages the client never found.
func lossy(t *rapid.T, evidence bool) int {
	w := newWorld(rapid.IntRange(2, 3).Draw(t, "replicas"))
	a := &act{t: t, w: w}
	c := new(uidClient)
	for range rapid.IntRange(5, 60).Draw(t, "steps") {
		switch i := a.pick(len(w.reps), "replica"); a.pick(5, "what") {
		case 0:
			a.step([]string{"append"})
		case 1:
			w.now += evidencePause
			w.poll(c, i, Inbox, evidence)
		case 2:
			a.step([]string{"tick", "wait", "restart", "expunge"})
		default:
			a.step([]string{"deliver"})
		}
	}
	w.final()
	for i := range w.reps {
		w.now += evidencePause
		w.poll(c, i, Inbox, evidence)
	}
	if len(w.truth.errs) > 0 {
		t.Fatal(strings.Join(w.truth.errs, "\n"))
	}
	var live []string
	for _, m := range w.reps[0].mem.messages {
		live = append(live, string(m.Root[:]))
	}
	return c.missing(live)
}

// TestEvidence: a client that is driven by UIDNEXT finds every message, at
// whatever replicas it looks (invariant I9); without the rule it does not.
func TestEvidence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		if n := lossy(t, true); n > 0 {
			t.Errorf("I9: %d messages are never found", n)
		}
	})
	missed := 0
	rapid.Check(t, func(t *rapid.T) { missed += lossy(t, false) })
	if missed == 0 && !testing.Short() {
		t.Error("nothing is missed without the rule: the test tests nothing")
	}
}

// TestEvidenceBounds: naming UIDs uses up few of them.
func TestEvidenceBounds(t *testing.T) {
	w := newWorld(2)
	b := func() *Mailbox { return w.reps[0].mem.boxes[Inbox] }
	name := func(from UID) {
		t.Helper()
		w.evidence(0, Inbox, from)
		if len(w.truth.errs) > 0 {
			t.Fatal(w.truth.errs)
		}
	}
	name(101)
	if b().N != 100 || b().H != 100 {
		t.Errorf("after 101:*: N %v, H %v", b().N, b().H)
	}
	name(50)
	name(201) // too soon
	if b().N != 100 || b().H != 100 {
		t.Errorf("after more in a minute: N %v, H %v", b().N, b().H)
	}
	b().N = 150
	name(141) // costs nothing
	if b().N != 150 || b().H != 140 {
		t.Errorf("after 141:*: N %v, H %v", b().N, b().H)
	}
	name(201) // as far as was heard of
	if b().N != 150 || b().H != 150 {
		t.Errorf("after 201:* too soon: N %v, H %v", b().N, b().H)
	}
	w.now += evidencePause
	name(MaxNumber + 1)
	if b().N != 150+evidenceStep || b().H != b().N {
		t.Errorf("after the largest number: N %v, H %v", b().N, b().H)
	}
	for range 60 {
		w.now += evidencePause
		name(MaxNumber)
	}
	if want := UID(150 + evidencePerDay - 100); b().N > want || b().N < want-100 {
		t.Errorf("in a day: N %v, want %v", b().N, want)
	}
	w.now += evidenceDay
	before := b().N
	name(MaxNumber)
	if b().N != before+evidenceStep {
		t.Errorf("the next day: N %v after %v", b().N, before)
	}
	w.now = simStart // the clock is set back
	name(MaxNumber)
	if b().N != before+2*evidenceStep {
		t.Errorf("another time: N %v after %v", b().N, before)
	}
	w.approach(Inbox, 10)
	w.now += evidencePause
	name(MaxNumber)
	w.now += evidencePause
	name(MaxNumber + 1)
	if b().N != MaxNumber || b().Era() != 0 {
		t.Errorf("at the end of the era: N %v", b().N)
	}
	name(NewUID(1, 5))
	if b().N != MaxNumber {
		t.Errorf("another era: N %v", b().N)
	}
	w.evidenceNowhere(t)
}

func (w *world) evidenceNowhere(t *testing.T) {
	if err := w.site(0).Evidence(77, 5); err != nil || slices.Contains(slices.Collect(maps.Keys(w.reps[0].mem.boxes)), 77) {
		t.Errorf("mailbox that does not exist: %v", err)
	}
}
