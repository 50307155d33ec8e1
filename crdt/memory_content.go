package crdt

import (
	"maps"
	"slices"
)

var _ Contents = (*Memory)(nil)

// Roots returns how many instances each content has that has any.
func (s *Memory) Roots() map[Root]int {
	live := make(map[Root]int)
	for root, c := range s.contents {
		if c.Live > 0 {
			live[root] = int(c.Live)
		}
	}
	return live
}

// Removals returns the removals that are recorded and not settled, in a fixed order.
func (s *Memory) Removals() []Removal {
	return slices.SortedFunc(maps.Keys(s.removals), func(a, b Removal) int {
		if a.By != b.By {
			return Tag{a.By.Origin, a.By.N, 0}.Compare(Tag{b.By.Origin, b.By.N, 0})
		}
		return slices.Compare(a.Root[:], b.Root[:])
	})
}

// Retain implements State.
func (s *Memory) Retain(r Root) error {
	c := s.contents[r]
	c.Retain()
	s.contents[r] = c
	return nil
}

// Release implements State.
func (s *Memory) Release(r Root, by Dot) error {
	c, x := s.contents[r], Removal{r, by}
	c.Release(s.removals[x])
	s.contents[r], s.removals[x] = c, true
	return nil
}

// Content implements Contents.
func (s *Memory) Content(r Root) (Content, error) { return s.contents[r], nil }

// PutContent implements Contents.
func (s *Memory) PutContent(r Root, c Content) error {
	s.contents[r] = c
	return nil
}

// DropRemoval implements Contents.
func (s *Memory) DropRemoval(r Removal) (bool, error) {
	recorded := s.removals[r]
	delete(s.removals, r)
	return recorded, nil
}

// DeleteContent implements Contents.
func (s *Memory) DeleteContent(r Root) error {
	delete(s.contents, r)
	return nil
}
