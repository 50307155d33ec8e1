package textindex

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

// Needle is a string that is looked for.
type Needle struct {
	Folded  []byte // as texts are compared
	Headers bool   // it may be in headers too
}

// maxNeedle is how many grams of a string are looked at.
const maxNeedle = 64

// needle is a Needle as it is looked for here.
type needle struct {
	headers bool
	grams   []gram // rising; none: it may be anywhere
}

func newNeedle(n Needle) needle {
	out := needle{headers: n.Headers}
	for i := 0; i+3 <= len(n.Folded) && len(out.grams) < maxNeedle; i++ {
		out.grams = append(out.grams, gram(n.Folded[i])<<16|gram(n.Folded[i+1])<<8|gram(n.Folded[i+2]))
	}
	slices.Sort(out.grams)
	out.grams = slices.Compact(out.grams)
	return out
}

// Filter says which contents of an owner may contain some strings. It sees the index as
// it was when it was made. Used by one goroutine; Close ends it.
type Filter struct {
	db      *DB
	ctx     context.Context
	owner   Owner
	needles []needle
	it      *pebble.Iterator // of the owner's keys
	blocks  []*filterBlock
	at      int  // of the block where a content was found last
	broken  bool // it knows nothing any more
	key     []byte
	list    []uint16
}

// filterBlock is a block as far as it has been read.
type filterBlock struct {
	header
	roots *roots
	may   [][]uint64 // by needle, nil: not known yet; bitmap of contents
}

// Filter returns a filter for strings. One that is of less than three bytes may be
// anywhere. nil: nothing is known of the owner's contents, or not of these strings.
func (d *DB) Filter(ctx context.Context, o Owner, needles []Needle) *Filter {
	f := &Filter{db: d, ctx: ctx, owner: o}
	some := false
	for _, n := range needles {
		f.needles = append(f.needles, newNeedle(n))
		some = some || len(n.Folded) >= 3
	}
	if !some {
		return nil
	}
	db, err := d.enter()
	if err != nil {
		return nil
	}
	prefix := o.key(nil)
	if f.it, err = db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)}); err == nil {
		err = f.readHeaders()
	}
	if err != nil {
		f.fail(err)
	}
	if f.broken || len(f.blocks) == 0 {
		f.Close()
		return nil
	}
	return f
}

// Close ends the use.
func (f *Filter) Close() {
	if f == nil {
		return
	}
	if f.it != nil {
		if err := f.it.Close(); err != nil {
			f.fail(err)
		}
		f.it = nil
	}
	f.broken = true
	f.db.leave()
}

// fail has everything read from now on, and if the index is damaged made anew.
func (f *Filter) fail(err error) {
	f.broken = true
	if f.ctx.Err() == nil || !errors.Is(err, f.ctx.Err()) {
		f.db.failed(err)
	}
}

func (f *Filter) readHeaders() error {
	prefix := f.owner.records(nil, recHeader)
	err := eachHeader(f.it, prefix, func(h header) {
		f.blocks = append(f.blocks, &filterBlock{header: h})
	})
	slices.SortFunc(f.blocks, func(a, b *filterBlock) int { return compareRoots(a.first, b.first) })
	return err
}

// eachHeader calls do for the headers that begin with prefix.
func eachHeader(it *pebble.Iterator, prefix []byte, do func(header)) error {
	end := after(prefix)
	for ok := it.SeekGE(prefix); ok && string(it.Key()) < string(end); ok = it.Next() {
		if len(it.Key()) != blockLen {
			return errCorrupt
		}
		v, err := it.ValueAndErr()
		if err != nil {
			return err
		}
		h, err := parseHeader(binary.BigEndian.Uint64(it.Key()[blockLen-8:]), v)
		if err != nil {
			return err
		}
		do(h)
	}
	return it.Error()
}

// May reports whether a content may contain the string with a number, in one of its
// texts. It is false only where that is known not to be so.
func (f *Filter) May(root Root, needle int) bool {
	if f == nil || f.broken || len(f.needles[needle].grams) == 0 {
		return true
	}
	for i := range f.blocks {
		at := (f.at + i) % len(f.blocks)
		b := f.blocks[at]
		if compareRoots(root, b.first) < 0 || compareRoots(root, b.last) > 0 {
			continue
		}
		place, ok, err := f.find(b, root)
		if err == nil && ok {
			f.at = at
			err = f.look(b, needle)
		}
		if err != nil {
			f.fail(err)
			return true
		}
		if ok {
			return b.may[needle][place/64]>>(place%64)&1 == 1
		}
	}
	return true
}

func (f *Filter) find(b *filterBlock, root Root) (int, bool, error) {
	if b.roots == nil {
		f.key = f.owner.block(f.key[:0], recRoots, b.id)
		if !f.it.SeekGE(f.key) || string(f.it.Key()) != string(f.key) {
			return 0, false, cmp.Or(f.it.Error(), errCorrupt)
		}
		v, err := f.it.ValueAndErr()
		if err != nil {
			return 0, false, err
		}
		r, err := parseRoots(v, b.n)
		if err != nil {
			return 0, false, err
		}
		b.roots, b.may = &r, make([][]uint64, len(f.needles))
	}
	place, ok := b.roots.find(root)
	return place, ok, nil
}

// look finds out which contents of a block may contain a string, unless that is known.
func (f *Filter) look(b *filterBlock, needle int) error {
	if b.may[needle] != nil {
		return nil
	}
	if err := f.ctx.Err(); err != nil {
		return err
	}
	n := &f.needles[needle]
	may, err := f.having(b, kindTexts, n.grams)
	if err != nil {
		return err
	}
	if n.headers {
		others, err := f.having(b, kindHeaders, n.grams)
		if err != nil {
			return err
		}
		for i := range may {
			may[i] |= others[i]
		}
	}
	for _, i := range b.roots.any {
		may[i/64] |= 1 << (i % 64)
	}
	b.may[needle] = may
	return nil
}

// having returns the contents of a block that have all grams in texts of a kind.
func (f *Filter) having(b *filterBlock, k kind, grams []gram) ([]uint64, error) {
	words := (b.n + 63) / 64
	have, one := make([]uint64, words), make([]uint64, words)
	var chunk chunkReader
	open := false
	for i, g := range grams {
		var err error
		if !open || g > chunk.last {
			if chunk, err = f.seek(b, k, g); err != nil {
				return nil, err
			}
			open = true
		}
		l, ok, err := chunk.find(g)
		if err != nil {
			return nil, err
		}
		if !ok {
			return make([]uint64, words), nil
		}
		if f.list, err = l.decode(f.list[:0], b.n); err != nil {
			return nil, err
		}
		clear(one)
		for _, x := range f.list {
			one[x/64] |= 1 << (x % 64)
		}
		if i == 0 {
			copy(have, one)
			continue
		}
		left := uint64(0)
		for j := range have {
			have[j] &= one[j]
			left |= have[j]
		}
		if left == 0 {
			break
		}
	}
	return have, nil
}

// seek opens the chunk in which a gram has to be.
func (f *Filter) seek(b *filterBlock, k kind, g gram) (c chunkReader, err error) {
	f.key = f.owner.chunk(f.key[:0], b.id, k, g)
	if !f.it.SeekGE(f.key) || string(f.it.Key()[:min(len(f.it.Key()), chunkLen-3)]) != string(f.key[:chunkLen-3]) {
		return c, cmp.Or(f.it.Error(), errCorrupt)
	}
	last, err := parseChunk(f.it.Key())
	if err != nil {
		return c, err
	}
	v, err := f.it.ValueAndErr()
	if err != nil {
		return c, err
	}
	if c, err = readChunk(last, v, b.n); err == nil && c.next > g {
		err = errCorrupt // a chunk is missing
	}
	return c, err
}

// find goes on to a gram, which is behind those read before.
func (r *chunkReader) find(g gram) (l listCode, ok bool, err error) {
	for r.next <= g {
		before := *r
		at, l, more, err := r.more()
		if err != nil || !more {
			return l, false, err
		}
		if at == g {
			return l, true, nil
		}
		if at > g {
			*r = before // it may be the next one that is asked for
			return l, false, nil
		}
	}
	return l, false, nil
}
