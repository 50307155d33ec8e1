package crdt

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"
)

// TestPublishedScripts runs the scripts of testdata/published, about the model of
// 2017 (crdt.md part A).
//
//	orders        a state and two operations on it, a line each:
//	    state meta 0 files 1      ids that keep the mailbox alive, messages
//	    create 2                  its own id
//	    append 2
//	    delete 0,1                the ids that it observed
//	    expunge 2 of 1            its own id, the message
//	    store 2 of 1
//	              prints what both orders give, and which condition does not hold
//	pairs         for each pair of operations, how many with ids 0 to 2 satisfy the
//	              conditions, which all commute; how many do not, and of these how
//	              many differ with the order on some state
func TestPublishedScripts(t *testing.T) {
	datadriven.Walk(t, "testdata/published", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			if d.Cmd == "pairs" {
				return pubPairs(t)
			}
			lines := strings.Split(strings.TrimSpace(d.Input), "\n")
			if d.Cmd != "orders" || len(lines) != 3 {
				d.Fatalf(t, "want orders, with a state and two operations")
			}
			s, a, b := parsePubState(lines[0]), parsePubOp(lines[1]), parsePubOp(lines[2])
			return pubOrders(s, a, b)
		})
	})
}

func pubOrders(s pubState, a, b pubOp) string {
	var out strings.Builder
	if x, y := s.apply(a).apply(b), s.apply(b).apply(a); x == y {
		fmt.Fprintf(&out, "in both orders: %v\n", x)
	} else {
		fmt.Fprintf(&out, "%v first: %v\n%v first: %v\n", a, x, b, y)
	}
	for _, c := range pubConditions {
		if !c.ok(a, b) || !c.ok(b, a) {
			fmt.Fprintf(&out, "does not hold: %s\n", c.name)
		}
	}
	return out.String()
}

// pubPairs counts by pairs of kinds.
func pubPairs(t *testing.T) string {
	kinds := []string{"create", "delete", "append", "expunge", "store"}
	var out strings.Builder
	for i, x := range kinds {
		for _, y := range kinds[i:] {
			with, without, differ := 0, 0, 0
			for _, a := range pubOps() {
				for _, b := range pubOps() {
					if a.kind != x || b.kind != y {
						continue
					}
					if pubHolds(a, b) {
						with++
						if !pubAlwaysCommute(a, b) {
							t.Errorf("%v and %v do not commute", a, b)
						}
						continue
					}
					without++
					if !pubAlwaysCommute(a, b) {
						differ++
					}
				}
			}
			fmt.Fprintf(&out, "%-7s %-7s  %2d commute; without the condition %2d, of which %2d depend on the order\n", x, y, with, without, differ)
		}
	}
	return out.String()
}

func pubHolds(a, b pubOp) bool {
	return !slices.ContainsFunc(pubConditions, func(c pubCondition) bool { return !c.ok(a, b) || !c.ok(b, a) })
}

// pubAlwaysCommute tries all states of three ids.
func pubAlwaysCommute(a, b pubOp) bool {
	for s := range uint8(64) {
		st := pubState{s & 7, s >> 3}
		if st.apply(a).apply(b) != st.apply(b).apply(a) {
			return false
		}
	}
	return true
}

func (s pubState) String() string {
	return fmt.Sprintf("meta %s files %s", pubSet(s.meta), pubSet(s.files))
}

func pubSet(set uint8) string {
	var ids []string
	for i := range 8 {
		if set&(1<<i) != 0 {
			ids = append(ids, fmt.Sprint(i))
		}
	}
	return "{" + strings.Join(ids, ",") + "}"
}

func parsePubSet(text string) (set uint8) {
	for _, c := range text {
		if c >= '0' && c <= '7' {
			set |= 1 << (c - '0')
		}
	}
	return set
}

func parsePubState(line string) pubState {
	_, rest, _ := strings.Cut(line, "meta")
	meta, files, _ := strings.Cut(rest, "files")
	return pubState{parsePubSet(meta), parsePubSet(files)}
}

func parsePubOp(line string) (o pubOp) {
	if o.kind, line, _ = strings.Cut(line, " "); o.kind == "delete" {
		o.set = parsePubSet(line)
		return o
	}
	fmt.Sscanf(line, "%d of %d", &o.id, &o.msg)
	return o
}
