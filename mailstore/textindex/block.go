package textindex

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// header is what is read of a block first.
type header struct {
	id          uint64
	n           int // contents
	first, last Root
	gone        []uint16 // those that are no more, rising
}

func (h *header) live() int { return h.n - len(h.gone) }

func (h *header) append(b []byte) []byte {
	b = binary.AppendUvarint(b, uint64(h.n))
	b = append(append(b, h.first[:]...), h.last[:]...)
	return appendSome(b, h.gone, h.n)
}

func parseHeader(id uint64, b []byte) (h header, err error) {
	h.id = id
	if h.n, b, err = cutNumber(b, maxContents); err != nil || h.n == 0 || len(b) < 2*rootLen {
		return h, errCorrupt
	}
	h.first, h.last = Root(b[:rootLen]), Root(b[rootLen:2*rootLen])
	h.gone, err = parseSome(b[2*rootLen:], h.n)
	return h, err
}

// appendSome appends a list that may be empty.
func appendSome(b []byte, list []uint16, n int) []byte {
	if len(list) == 0 {
		return b
	}
	return appendList(b, list, n)
}

func parseSome(b []byte, n int) ([]uint16, error) {
	if len(b) == 0 {
		return nil, nil
	}
	l, rest, err := cutList(b, n)
	if err != nil || len(rest) > 0 {
		return nil, errCorrupt
	}
	return l.decode(nil, n)
}

// roots are the contents of a block: a content's number is its place.
type roots struct {
	list []Root   // rising
	any  []uint16 // those that may contain anything
}

func (r *roots) append(b []byte) []byte {
	for _, root := range r.list {
		b = append(b, root[:]...)
	}
	return appendSome(b, r.any, len(r.list))
}

func parseRoots(b []byte, n int) (r roots, err error) {
	if len(b) < n*rootLen {
		return r, errCorrupt
	}
	r.list = make([]Root, n)
	for i := range r.list {
		r.list[i] = Root(b[i*rootLen:])
		if i > 0 && compareRoots(r.list[i-1], r.list[i]) >= 0 {
			return r, errCorrupt
		}
	}
	r.any, err = parseSome(b[n*rootLen:], n)
	return r, err
}

func (r *roots) find(root Root) (int, bool) {
	return slices.BinarySearchFunc(r.list, root, compareRoots)
}

func compareRoots(a, b Root) int { return bytes.Compare(a[:], b[:]) }

// blockWriter puts a new block into a batch.
type blockWriter struct {
	batch *pebble.Batch
	owner Owner
	id    uint64
	key   []byte
}

// begin writes what a block says of its contents.
func (w *blockWriter) begin(r *roots) error {
	h := header{id: w.id, n: len(r.list), first: r.list[0], last: r.list[len(r.list)-1]}
	if err := w.batch.Set(w.owner.block(nil, recHeader, w.id), h.append(nil), nil); err != nil {
		return err
	}
	return w.batch.Set(w.owner.block(nil, recRoots, w.id), r.append(nil), nil)
}

// lists returns where the lists of a kind are written to.
func (w *blockWriter) lists(k kind, n int) *chunkWriter {
	return &chunkWriter{n: n, emit: func(last gram, value []byte) error {
		w.key = w.owner.chunk(w.key[:0], w.id, k, last)
		return w.batch.Set(w.key, value, nil)
	}}
}

// writeContents writes a block of at most maxContents contents, which it sorts.
func (w *blockWriter) writeContents(contents []Content) error {
	slices.SortFunc(contents, func(a, b Content) int { return compareRoots(a.Root, b.Root) })
	contents = slices.CompactFunc(contents, func(a, b Content) bool { return a.Root == b.Root })
	var r roots
	for i, c := range contents {
		r.list = append(r.list, c.Root)
		if c.any {
			r.any = append(r.any, uint16(i))
		}
	}
	if err := w.begin(&r); err != nil {
		return err
	}
	for k := range kinds {
		if err := w.writeLists(k, contents); err != nil {
			return err
		}
	}
	return nil
}

func (w *blockWriter) writeLists(k kind, contents []Content) error {
	out := w.lists(k, len(contents))
	var list []uint16
	pairs := pairsOf(k, contents)
	for i := 0; i < len(pairs); {
		g := pairs[i].gram()
		list = list[:0]
		for ; i < len(pairs) && pairs[i].gram() == g; i++ {
			list = append(list, pairs[i].content())
		}
		if err := out.add(g, list); err != nil {
			return err
		}
	}
	return out.end()
}

// pair is a gram and a content that has it.
type pair uint64

func (p pair) gram() gram      { return gram(p >> 16) }
func (p pair) content() uint16 { return uint16(p) }

// pairsOf returns the pairs of contents, sorted.
func pairsOf(k kind, contents []Content) []pair {
	n := 0
	for _, c := range contents {
		n += len(c.kinds[k])
	}
	pairs, other := make([]pair, 0, n), make([]pair, n)
	for i, c := range contents {
		for _, g := range c.kinds[k] {
			pairs = append(pairs, pair(g)<<16|pair(i))
		}
	}
	// By the bytes of the gram, from the lowest on; contents rise already.
	for shift := 16; shift < 40; shift += 8 {
		var from [257]int
		for _, p := range pairs {
			from[p>>shift&0xff+1]++
		}
		for i := range 256 {
			from[i+1] += from[i]
		}
		for _, p := range pairs {
			at := &from[p>>shift&0xff]
			other[*at] = p
			*at++
		}
		pairs, other = other, pairs
	}
	return pairs
}

// input is a block that goes into another one.
type input struct {
	header
	roots
	to []uint16 // a content's number there
}

// isGone says in to that a content is left out.
const isGone = 1<<16 - 1

// merge writes a block of what is live in others, and deletes these. in is where they
// are read from. When nothing is live there is no new block. n is how many contents it has.
func (w *blockWriter) merge(in *pebble.Snapshot, blocks []header) (n int, err error) {
	inputs := make([]*input, len(blocks))
	for i, h := range blocks {
		r, err := readRoots(in, w.owner, h)
		if err != nil {
			return 0, err
		}
		inputs[i] = &input{header: h, roots: r, to: make([]uint16, h.n)}
	}
	r := unite(inputs)
	if n = len(r.list); n > 0 {
		if err := w.begin(&r); err != nil {
			return 0, err
		}
	}
	for k := range kinds {
		if err := w.mergeLists(in, k, inputs, n); err != nil {
			return 0, fmt.Errorf("merge blocks: %w", err)
		}
	}
	for _, h := range blocks {
		for _, rec := range [...]byte{recHeader, recRoots} {
			if err := w.batch.Delete(w.owner.block(nil, rec, h.id), nil); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func readRoots(in pebble.Reader, o Owner, h header) (roots, error) {
	v, closer, err := in.Get(o.block(nil, recRoots, h.id))
	if err != nil {
		return roots{}, notFoundIsCorrupt(err)
	}
	r, err := parseRoots(v, h.n)
	return r, cmp.Or(err, closer.Close())
}

// unite gives the live contents of blocks their numbers in one block. One that is in
// several of them is taken from the first.
func unite(inputs []*input) (r roots) {
	type place struct {
		root  Root
		block int
		at    int
	}
	var places []place
	for b, in := range inputs {
		gone := in.gone
		for i, root := range in.list {
			in.to[i] = isGone
			if len(gone) > 0 && int(gone[0]) == i {
				gone = gone[1:]
				continue
			}
			places = append(places, place{root, b, i})
		}
	}
	slices.SortStableFunc(places, func(a, b place) int { return compareRoots(a.root, b.root) })
	for i, p := range places {
		if i > 0 && places[i-1].root == p.root {
			continue
		}
		in, n := inputs[p.block], uint16(len(r.list))
		in.to[p.at] = n
		r.list = append(r.list, p.root)
		if _, ok := slices.BinarySearch(in.any, uint16(p.at)); ok {
			r.any = append(r.any, n)
		}
	}
	return r
}

func (w *blockWriter) mergeLists(in *pebble.Snapshot, k kind, inputs []*input, n int) (err error) {
	var readers []*listReader
	defer func() {
		for _, r := range readers {
			err = cmp.Or(err, r.it.Close())
		}
	}()
	for _, x := range inputs {
		prefix := w.owner.grams(nil, x.id, k)
		it, err := in.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
		if err != nil {
			return err
		}
		r := &listReader{input: x, it: it, batch: w.batch}
		readers = append(readers, r)
		if err := r.next(); err != nil {
			return err
		}
	}
	out := w.lists(k, n)
	var list, numbers []uint16
	for {
		g := maxGram + 1
		for _, r := range readers {
			if r.more {
				g = min(g, r.gram)
			}
		}
		if g > maxGram {
			break
		}
		list = list[:0]
		for _, r := range readers {
			if !r.more || r.gram != g {
				continue
			}
			if numbers, err = r.list.decode(numbers[:0], r.n); err != nil {
				return err
			}
			for _, i := range numbers {
				if to := r.to[i]; to != isGone {
					list = append(list, to)
				}
			}
			if err := r.next(); err != nil {
				return err
			}
		}
		if len(list) == 0 {
			continue
		}
		slices.Sort(list)
		if err := out.add(g, list); err != nil {
			return err
		}
	}
	if n == 0 {
		return nil
	}
	return out.end()
}

// listReader reads the lists of a kind of a block, and has the chunks deleted as it goes.
type listReader struct {
	*input
	it    *pebble.Iterator
	batch *pebble.Batch
	chunk chunkReader
	begun bool

	more bool
	gram gram
	list listCode
}

func (r *listReader) next() (err error) {
	for {
		if r.begun {
			if r.gram, r.list, r.more, err = r.chunk.more(); err != nil || r.more {
				return err
			}
			if r.chunk.last == maxGram {
				return nil
			}
			r.it.Next()
		} else {
			r.it.First()
		}
		if err := r.open(); err != nil {
			return err
		}
	}
}

// open begins the chunk at which the iterator stands.
func (r *listReader) open() error {
	if !r.it.Valid() {
		return cmp.Or(r.it.Error(), errCorrupt)
	}
	last, err := parseChunk(r.it.Key())
	if err != nil {
		return err
	}
	value, err := r.it.ValueAndErr()
	if err != nil {
		return err
	}
	chunk, err := readChunk(last, value, r.n)
	if err != nil {
		return err
	}
	expected := gram(0)
	if r.begun {
		expected = r.chunk.last + 1
	}
	if chunk.next != expected {
		return errCorrupt
	}
	r.chunk, r.begun = chunk, true
	return r.batch.Delete(r.it.Key(), nil)
}
