package crdt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// deliver prepares a delivery of one message.
func delivery(box MailboxID, root byte, hold int64) func(*Site) (Payload, error) {
	return func(s *Site) (Payload, error) { return s.PrepareDelivery(box, []Added{{Root: Root{root, 2}}}, hold) }
}

// TestHoldRefusesNothing: with a hold of twice the longest way and no faults, no
// delivery gets another UID, and every reader sees only rising UIDs (crdt.md 2.4).
// Without a hold the same arrivals are refused.
func TestHoldRefusesNothing(t *testing.T) {
	const lmax = 50
	refused := 0
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "replicas")
		type event struct{ at, from int64 }
		arrivals := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) event {
			return event{at: int64(rapid.IntRange(0, 600).Draw(t, "at")), from: int64(rapid.IntRange(0, n-1).Draw(t, "at replica"))}
		}), 2, 20).Draw(t, "arrivals")
		delay := rapid.SliceOfN(rapid.Int64Range(1, lmax), n*n, n*n).Draw(t, "delays")
		for _, hold := range []int64{2*lmax + 20, 0} {
			w := newWorld(n)
			for i := range w.reps {
				w.reps[i].watched[Inbox] = true
				w.announce(i, Inbox)
			}
			sent := map[*Op]int64{}
			for ms := range int64(900) {
				w.now = simStart + ms
				for k, e := range arrivals {
					if e.at != ms {
						continue
					}
					op, err := w.do(int(e.from), delivery(Inbox, byte(k+1), hold))
					if err != nil {
						t.Fatal(err)
					}
					sent[op] = ms
				}
				for again := true; again; {
					again = false
					for i := range w.reps {
						for j := range w.reps {
							if !w.ready(i, j) {
								continue
							}
							op := w.queue[i][j][0]
							at, ok := sent[op]
							if !ok {
								sent[op], at = ms, ms
							}
							if ms-at >= delay[i*n+j] {
								again = w.deliver(i, j) || again
							}
						}
					}
				}
				for i := range w.reps {
					w.tick(i, false)
				}
			}
			w.final()
			if len(w.truth.errs) > 0 {
				t.Fatal(strings.Join(w.truth.errs, "\n"))
			}
			if hold == 0 {
				refused += w.truth.ops[kindReissue] + w.truth.ops[kindNudge]
			} else if n := w.truth.ops[kindReissue] + w.truth.ops[kindNudge]; n > 0 {
				t.Errorf("%d re-issues and nudges", n)
			}
		}
	})
	if refused == 0 {
		t.Error("nothing is refused without a hold: the test tests nothing")
	}
}

// TestHoldTakesAlong: whatever is shown takes what is held below it along, and a
// restart forgets neither.
func TestHoldTakesAlong(t *testing.T) {
	shown := func(w *world, i int) string {
		var out []UID
		for _, at := range w.instances(i, Inbox) {
			if m := w.reps[i].mem.messages[at]; m.Exp != 0 {
				out = append(out, m.Exp)
			}
		}
		slices.Sort(out)
		return fmt.Sprint(out)
	}
	w := newWorld(2)
	must := func(op *Op, err error) {
		t.Helper()
		if err != nil || op == nil {
			t.Fatal(err)
		}
	}
	check := func(i int, want string) {
		t.Helper()
		if got := shown(w, i); got != want || len(w.truth.errs) > 0 {
			t.Errorf("replica %d shows %s, want %s; %v", i, got, want, w.truth.errs)
		}
	}
	w.reps[0].watched[Inbox] = true
	must(w.do(0, delivery(Inbox, 1, 1000)))
	w.now += 300
	must(w.do(0, delivery(Inbox, 2, 1000)))
	must(w.do(1, delivery(Inbox, 3, 500)))
	w.flow()
	check(0, "[]")
	if next := w.tick(0, false); next != w.now+500 {
		t.Errorf("next tick in %d ms", next-w.now)
	}
	w.now += 500
	w.tick(0, false) // that of replica 1 is due and takes both others along
	check(0, "[17 18 33]")
	check(1, "[]")
	must(w.do(1, func(s *Site) (Payload, error) { return s.PrepareAppend(Inbox, []Added{{Root: Root{4}}}, true) }))
	check(1, "[17 18 33 34]")

	must(w.do(0, delivery(Inbox, 5, 1000)))
	w.flow()
	w.restart(1)
	check(1, "[17 18 33 34]")
	w.now += 1001
	w.tick(1, false) // all UIDs may have been told before the restart
	if w.final(); len(w.reps[1].mem.awaiting) > 0 || w.reps[1].mem.boxes[Inbox].Messages != 5 {
		t.Errorf("%v still wait", w.reps[1].mem.awaiting)
	}
	if len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}

// TestHoldAndClocks: clocks that are wrong do not hide mail for long.
func TestHoldAndClocks(t *testing.T) {
	w := newWorld(2)
	w.reps[0].clock.Observe(TimeAt(w.now+3600_000, 1)) // an hour ahead
	if _, err := w.do(0, delivery(Inbox, 1, 1000)); err != nil {
		t.Fatal(err)
	}
	w.flow()
	for i := range w.reps {
		if next := w.tick(i, false); next != w.now+1000 {
			t.Errorf("replica %d shows it in %d ms", i, next-w.now)
		}
	}
	w.now -= 3600_000 // the clock is set back
	w.tick(1, false)
	if w.reps[1].mem.boxes[Inbox].Messages != 1 {
		t.Error("hidden while the clock comes back")
	}
	p, err := w.site(0).PrepareDelivery(Inbox, []Added{{}}, 1<<40)
	if err != nil || p.Hold > maxHold {
		t.Errorf("%+v, %v", p, err)
	}
	if w.final(); len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}

// TestHeldIsShownForModSeq: a held message is shown at once when a MODSEQ is to be
// told that says that it was.
func TestHeldIsShownForModSeq(t *testing.T) {
	w := newWorld(2)
	op, err := w.do(0, func(s *Site) (Payload, error) { return s.PrepareDelivery(Inbox, costMessages(1, 1), 4000) })
	if err != nil {
		t.Fatal(err)
	}
	w.deliver(0, 1)
	at := Instance{Inbox, Tag{op.Dot.Origin, op.Dot.N, 0}}
	for i := range w.reps {
		s := w.site(i)
		s.Mod = TimeAt(w.now+60_000, s.Self.Slot) // above that of a client
		list, err := s.Unhide(Inbox)
		if err != nil || len(list) != 1 {
			t.Fatalf("replica %d: %v, %v", i, list, err)
		}
		w.followUp(i, list)
		if m := w.reps[i].mem.messages[at]; m.Exp == 0 {
			t.Errorf("hidden at %d, whatever UID it is given: %+v", i, m)
		}
	}
	if w.final(); len(w.truth.errs) > 0 {
		t.Error(w.truth.errs)
	}
}
