package crdt

import (
	"fmt"
	"strings"
	"testing"
)

// TestReissuesEnd is C1 at its worst: all replicas append while they are apart,
// each with a client that watches; then all links have the same latency, so that
// whatever one side re-issues crosses what the others do. Re-issuing at once by
// everybody never ends.
func TestReissuesEnd(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		for _, leader := range []bool{true, false} {
			t.Run(fmt.Sprintf("%d replicas, leader %v", n, leader), func(t *testing.T) {
				w := newWorld(n)
				w.reps[0].self.Leader = leader
				for i, r := range w.reps {
					r.watched[Inbox] = true
					for range 20 { // more than a block of UIDs: the blocks interleave
						if _, err := w.do(i, func(s *Site) (Payload, error) {
							return s.PrepareAppend(Inbox, []Added{{Root: Root{byte(i)}}}, true)
						}); err != nil {
							t.Fatal(err)
						}
					}
				}
				const latency, limit, most = 50, 300_000, 200
				start := w.now
				for w.inFlight() || w.waits() {
					if w.now-start > limit || w.truth.ops[kindReissue] > most*n {
						t.Fatalf("%d re-issue operations after %d ms, and more on their way", w.truth.ops[kindReissue], w.now-start)
					}
					w.cross()
					w.now += latency
					for i := range w.reps {
						w.tick(i, false)
					}
				}
				t.Logf("%d re-issue operations, settled after %d ms", w.truth.ops[kindReissue], w.now-start)
				w.final()
				if len(w.truth.errs) > 0 {
					t.Error(strings.Join(w.truth.errs, "\n"))
				}
			})
		}
	}
}

// cross delivers what is under way now, on all links, and nothing that is sent
// because of it.
func (w *world) cross() {
	under := make([][]int, len(w.reps))
	for i := range w.reps {
		for j := range w.reps {
			under[i] = append(under[i], len(w.queue[i][j]))
		}
	}
	for again := true; again; {
		again = false
		for i := range w.reps {
			for j := range w.reps {
				for under[i][j] > 0 && w.deliver(i, j) {
					under[i][j]--
					again = true
				}
			}
		}
	}
}

// waits reports whether any message awaits another UID.
func (w *world) waits() bool {
	for _, r := range w.reps {
		if len(r.mem.awaiting) > 0 {
			return true
		}
	}
	return false
}
