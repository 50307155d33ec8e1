package crdt

import (
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
)

// VC is a version vector: for each origin the number up to which its operations
// are known. The nil vector knows nothing. Entries are sorted by origin and
// their numbers are above 0, so equal vectors have equal entries.
//
// There are at most a few dozen origins, so a sorted slice is smaller and faster
// than a map. A vector is a value that shares memory when it is assigned: who
// keeps one that others may change takes a [VC.Clone]. Reading it concurrently is safe.
type VC []Dot

// find returns the place of an origin, or where it would be.
func (v VC) find(o Origin) (int, bool) {
	for i := range v {
		if v[i].Origin >= o {
			return i, v[i].Origin == o
		}
	}
	return len(v), false
}

// Get returns the number up to which operations of o are known, 0 if none is.
func (v VC) Get(o Origin) uint64 {
	if i, ok := v.find(o); ok {
		return v[i].N
	}
	return 0
}

// Has reports whether operation d is known.
func (v VC) Has(d Dot) bool { return v.Get(d.Origin) >= d.N }

// Set makes n the number of o; 0 removes the origin. It may lower a number.
func (v *VC) Set(o Origin, n uint64) {
	i, ok := v.find(o)
	switch {
	case ok && n == 0:
		*v = slices.Delete(*v, i, i+1)
	case ok:
		(*v)[i].N = n
	case n > 0:
		*v = slices.Insert(*v, i, Dot{o, n})
	}
}

// Add makes operation d, and all of its origin before it, known.
func (v *VC) Add(d Dot) {
	if d.N > v.Get(d.Origin) {
		v.Set(d.Origin, d.N)
	}
}

// With returns a copy of v in which o has the number n.
func (v VC) With(o Origin, n uint64) VC {
	w := make(VC, len(v), len(v)+1)
	copy(w, v)
	w.Set(o, n)
	return w
}

// Clone returns a copy that shares nothing with v.
func (v VC) Clone() VC { return slices.Clone(v) }

// Merge makes known to v what is known to w: the entry-wise maximum.
func (v *VC) Merge(w VC) {
	for _, d := range w {
		v.Add(d)
	}
}

// LessEqual reports whether w knows all that v knows.
func (v VC) LessEqual(w VC) bool {
	i := 0
	for _, d := range v {
		for i < len(w) && w[i].Origin < d.Origin {
			i++
		}
		if i == len(w) || w[i].Origin != d.Origin || w[i].N < d.N {
			return false
		}
	}
	return true
}

// Equal reports whether v and w know the same.
func (v VC) Equal(w VC) bool { return slices.Equal(v, w) }

// Min returns what both v and w know: the entry-wise minimum, in memory of its own.
func (v VC) Min(w VC) VC {
	var out VC
	for _, d := range v {
		if n := min(d.N, w.Get(d.Origin)); n > 0 {
			out = append(out, Dot{d.Origin, n})
		}
	}
	return out
}

// All iterates over origins and numbers in the order of the origins.
func (v VC) All() iter.Seq2[Origin, uint64] {
	return func(yield func(Origin, uint64) bool) {
		for _, d := range v {
			if !yield(d.Origin, d.N) {
				return
			}
		}
	}
}

// String returns the vector as "{origin:n origin:n}", in the order of origins.
func (v VC) String() string {
	var s strings.Builder
	s.WriteByte('{')
	for i, d := range v {
		if i > 0 {
			s.WriteByte(' ')
		}
		s.WriteString(d.Origin.String())
		s.WriteByte(':')
		s.WriteString(strconv.FormatUint(d.N, 10))
	}
	s.WriteByte('}')
	return s.String()
}

// AppendBinary appends the encoding of v to dst. Equal vectors have equal encodings.
func (v VC) AppendBinary(dst []byte) []byte {
	w := writer{b: dst}
	w.vector(v)
	return w.b
}

// DecodeVC reads what [VC.AppendBinary] wrote. It returns an error, and never
// panics, for any other bytes.
func DecodeVC(b []byte) (VC, error) {
	r := reader{b: b}
	v := r.vector()
	if err := r.finish(); err != nil {
		return nil, err
	}
	return v, nil
}

// UnmarshalBinary reads what [VC.AppendBinary] wrote; see [DecodeVC].
func (v *VC) UnmarshalBinary(b []byte) (err error) {
	*v, err = DecodeVC(b)
	return err
}

var errVectorOrder = errors.New("origins of a version vector are not in order")
