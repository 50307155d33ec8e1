package imap

import (
	"slices"
	"testing"

	"github.com/go-pluto/pluto/imap/wire"
	"pgregory.net/rapid"
)

// ranges draws rising ranges of numbers.
func drawRanges(t *rapid.T, name string) []wire.Range {
	var ranges []wire.Range
	last := uint32(0)
	for range rapid.IntRange(1, 6).Draw(t, name) {
		start := last + rapid.Uint32Range(1, 5).Draw(t, name+" start")
		last = start + rapid.Uint32Range(0, 5).Draw(t, name+" size")
		ranges = append(ranges, wire.Range{Start: start, Stop: last})
	}
	return ranges
}

func expand(ranges []wire.Range) []uint32 {
	var all []uint32
	for _, r := range ranges {
		for n := r.Start; n <= r.Stop; n++ {
			all = append(all, n)
		}
	}
	return all
}

// TestMatchIsItsDefinition compares pair by pair (RFC 7162 section 3.2.5.2).
func TestMatchIsItsDefinition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var view uidView
		for _, n := range expand(drawRanges(t, "view")) {
			view = append(view, UID(n))
		}
		a := selectArgs{numbers: wire.NumSet{Ranges: drawRanges(t, "numbers")}, uids: wire.NumSet{Ranges: drawRanges(t, "uids")}}
		numbers, uids := expand(a.numbers.Ranges), expand(a.uids.Ranges)
		var want UID
		for i := range min(len(numbers), len(uids)) {
			if n := int(numbers[i]); n <= view.Len() && view.UIDAt(n-1) == UID(uids[i]) {
				want = UID(uids[i])
			}
		}
		if got := a.matched(view); got != want {
			t.Fatalf("%v as %v in %v: %d, want %d", numbers, uids, view, got, want)
		}
	})
}

// A client may name all numbers there can be.
func TestMatchOfEverything(t *testing.T) {
	everything := wire.NumSet{Ranges: []wire.Range{{Start: 1, Stop: 1<<32 - 1}}}
	a := selectArgs{numbers: everything, uids: everything}
	if got := a.matched(uidView{1, 2, 3, 5}); got != 3 {
		t.Error(got)
	}
}

func TestIntersect(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var lists [2][]span
		for k := range lists {
			for _, r := range drawRanges(t, "spans") {
				lists[k] = append(lists[k], span{int(r.Start), int(r.Stop) + 1})
			}
		}
		both := intersect(lists[0], lists[1])
		for i := range 80 {
			if want := contains(lists[0], i) && contains(lists[1], i); contains(both, i) != want {
				t.Fatalf("%v and %v: %v, wrong about %d", lists[0], lists[1], both, i)
			}
		}
	})
}

func TestUnseenAndAbove(t *testing.T) {
	b := &selection{told: uidView{3, 5, 6, 20}}
	vanished := []UIDRange{{1, 5}, {7, 9}, {19, 1<<32 - 1}}
	if got, want := b.unseen(vanished), []UIDRange{{1, 2}, {4, 4}, {7, 9}, {19, 19}, {21, 1<<32 - 1}}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got, want := above(vanished, 8), []UIDRange{{9, 9}, {19, 1<<32 - 1}}; !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := above(vanished, 1<<32-1); got != nil {
		t.Error(got)
	}
}
