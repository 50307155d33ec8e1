package textindex

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func randomList(r *rand.Rand, n, many int) []uint16 {
	list := make([]uint16, 0, many)
	for _, i := range r.Perm(n)[:many] {
		list = append(list, uint16(i))
	}
	slices.Sort(list)
	return list
}

// Every list comes back, whatever its size and density.
func TestListRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for _, n := range []int{1, 2, 3, 7, 64, 65, 1000, maxContents} {
		for range 200 {
			many := 1 + r.IntN(n)
			if r.IntN(2) == 0 {
				many = 1 + r.IntN(min(n, 5))
			}
			want := randomList(r, n, many)
			code := append(appendList(nil, want, n), 0xaa)
			l, rest, err := cutList(code, n)
			if err != nil || len(rest) != 1 || rest[0] != 0xaa {
				t.Fatalf("%d of %d: rest %x, error %v", many, n, rest, err)
			}
			got, err := l.decode(nil, n)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%d of %d: got %v, want %v, error %v", many, n, got, want, err)
			}
		}
	}
}

// The code is as short as it is said to be: at most a bit more for each number than the
// entropy of a random list.
func TestListIsShort(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, tt := range []struct{ many, bits int }{{2048, 2}, {400, 6}, {40, 9}, {4, 14}} {
		code := appendList(nil, randomList(r, maxContents, tt.many), maxContents)
		if got := (len(code) - 4) * 8; got > tt.many*tt.bits {
			t.Errorf("%d numbers take %d bits, more than %d each", tt.many, got, tt.bits)
		}
	}
}

func FuzzList(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	for _, n := range []int{1, 10, 300, maxContents} {
		f.Add(appendList(nil, randomList(r, n, 1+r.IntN(n)), n), n)
	}
	f.Fuzz(func(t *testing.T, code []byte, n int) {
		if n < 1 || n > maxContents {
			return
		}
		l, _, err := cutList(code, n)
		if err != nil {
			return
		}
		list, err := l.decode(nil, n)
		if err != nil {
			return
		}
		if len(list) != l.many || len(list) > 0 && int(list[len(list)-1]) >= n {
			t.Errorf("list of %d of %d is %v", l.many, n, list)
		}
		if !slices.IsSorted(list) {
			t.Errorf("list falls: %v", list)
		}
	})
}

func BenchmarkListDecode(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 4))
	for _, tt := range []struct {
		name string
		many int
	}{{"half", maxContents / 2}, {"tenth", maxContents / 10}, {"thousandth", 4}} {
		b.Run(tt.name, func(b *testing.B) {
			l, _, err := cutList(appendList(nil, randomList(r, maxContents, tt.many), maxContents), maxContents)
			if err != nil {
				b.Fatal(err)
			}
			var list []uint16
			b.ReportAllocs()
			for b.Loop() {
				if list, err = l.decode(list[:0], maxContents); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkListAppend(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 4))
	for _, tt := range []struct {
		name    string
		many, n int
	}{{"half", maxContents / 2, maxContents}, {"thousandth", 4, maxContents}, {"two of ten", 2, 10}} {
		b.Run(tt.name, func(b *testing.B) {
			list := randomList(r, tt.n, tt.many)
			var buf []byte
			b.ReportAllocs()
			for b.Loop() {
				buf = appendList(buf[:0], list, tt.n)
			}
		})
	}
}
