package crdt

import (
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestVC(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v, w := drawVC(t), drawVC(t)
		ref := map[Origin]uint64{}
		for o, n := range v.All() {
			ref[o] = n
		}
		less := true
		for o := Origin(0); o < 8; o++ {
			if v.Get(o) != ref[o] {
				t.Fatalf("%v: %s is %d, not %d", v, o, v.Get(o), ref[o])
			}
			less = less && v.Get(o) <= w.Get(o)
		}
		if v.LessEqual(w) != less {
			t.Fatalf("%v <= %v is %v", v, w, !less)
		}
		up, low := v.Clone(), v.Min(w)
		up.Merge(w)
		for o := Origin(0); o < 8; o++ {
			if up.Get(o) != max(v.Get(o), w.Get(o)) || low.Get(o) != min(v.Get(o), w.Get(o)) {
				t.Fatalf("%v, %v: merged %v, min %v", v, w, up, low)
			}
		}
		x := v.With(3, 77)
		if x.Get(3) != 77 || v.Get(3) != ref[3] || !slices.IsSortedFunc(x, func(a, b Dot) int { return less2(a, b) }) {
			t.Fatalf("%v with 3:77 is %v", v, x)
		}
		x.Set(3, 0)
		if x.Has(Dot{3, 1}) {
			t.Fatalf("%v has origin 3", x)
		}
		if !v.Equal(v.Clone()) || v.Equal(v.With(9, 1)) {
			t.Fatal("equality")
		}
	})
	v := VC{{1, 2}, {0xabc, 3}}
	if got, want := v.String(), "{0000000000000001:2 0000000000000abc:3}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for _, bad := range []VC{{{2, 1}, {1, 1}}, {{1, 1}, {1, 1}}, {{1, 0}}} {
		if _, err := DecodeVC(bad.AppendBinary(nil)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v decodes: %v", bad, err)
		}
	}
}

func less2(a, b Dot) int { return Tag{a.Origin, a.N, 0}.Compare(Tag{b.Origin, b.N, 0}) }
