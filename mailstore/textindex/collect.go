package textindex

// maxGrams is how many grams a content may have of a kind: one with more may contain anything.
const maxGrams = 100_000

// Collector gets grams out of the texts of one content after the other. It is made
// once, with some 4 MiB of memory, and used by one goroutine.
type Collector struct {
	kinds [kinds]gramSet
}

// NewCollector returns a collector.
func NewCollector() *Collector {
	c := new(Collector)
	for i := range c.kinds {
		c.kinds[i].seen = make([]uint64, (maxGram+1)/64)
	}
	return c
}

// Headers takes the headers of the content, folded.
func (c *Collector) Headers() *Texts { return (*Texts)(&c.kinds[kindHeaders]) }

// Texts takes the other texts of the content, folded.
func (c *Collector) Texts() *Texts { return (*Texts)(&c.kinds[kindTexts]) }

// Texts takes texts in pieces.
type Texts gramSet

// gramSet is the grams of a content.
type gramSet struct {
	seen  []uint64 // bitmap
	grams []gram   // those in it, unordered; no more than maxGrams+1
	have  int      // bytes of the text before that are in last
	last  gram     // they
}

// Write takes a piece of a text.
func (t *Texts) Write(folded []byte) {
	s := (*gramSet)(t)
	for len(folded) > 0 && s.have < 2 {
		s.last = s.last<<8 | gram(folded[0])
		s.have++
		folded = folded[1:]
	}
	last := s.last
	for _, c := range folded {
		last = (last<<8 | gram(c)) & maxGram
		if word, bit := last/64, uint64(1)<<(last%64); s.seen[word]&bit == 0 && len(s.grams) <= maxGrams {
			s.seen[word] |= bit
			s.grams = append(s.grams, last)
		}
	}
	s.last = last
}

// End ends a text: no gram spans what comes next.
func (t *Texts) End() { t.have, t.last = 0, 0 }

// take returns the grams and begins anew.
func (s *gramSet) take() []gram {
	grams := make([]gram, len(s.grams))
	copy(grams, s.grams)
	for _, g := range s.grams {
		s.seen[g/64] = 0
	}
	s.grams, s.have, s.last = s.grams[:0], 0, 0
	return grams
}

// Content is what the index keeps of a content.
type Content struct {
	Root  Root
	kinds [kinds][]gram
	any   bool // it may contain anything
}

// Grams returns how many grams the content has.
func (c *Content) Grams() (n int) {
	for _, grams := range c.kinds {
		n += len(grams)
	}
	return n
}

// Take returns what was written, as that of a content, and begins the next one.
func (c *Collector) Take(root Root) Content {
	out := Content{Root: root}
	for k := range c.kinds {
		out.kinds[k] = c.kinds[k].take()
		out.any = out.any || len(out.kinds[k]) > maxGrams
	}
	if out.any {
		out.kinds = [kinds][]gram{}
	}
	return out
}

// Opaque returns a content that cannot be looked into, and may contain anything: it is
// in the index so that it is not tried again.
func Opaque(root Root) Content { return Content{Root: root, any: true} }
