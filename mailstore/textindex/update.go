package textindex

import (
	"cmp"
	"slices"

	"github.com/cockroachdb/pebble/v2"
)

const (
	// fanout is how many blocks of about a size are merged into one, and by what factor
	// sizes differ that are not about the same.
	fanout = 8
	// goneShare is which part of a block has to be gone for it to be written anew.
	goneShare = 8
)

// Add puts contents of an owner into the index, all or none: at most maxContents. It keeps them.
func (d *DB) Add(o Owner, contents []Content) error {
	if len(contents) == 0 {
		return nil
	}
	return d.write(func(db *pebble.DB) error {
		u := &update{db: db, owner: o}
		err := u.load()
		if err == nil {
			err = u.commit(func(w *blockWriter) error { return w.writeContents(contents) })
		}
		return d.finish(u, err)
	})
}

// Remove takes contents of an owner out of the index. What is there of the last few
// of many goes later, with their neighbours.
func (d *DB) Remove(o Owner, list []Root) error {
	list = slices.Clone(list)
	slices.SortFunc(list, compareRoots)
	return d.write(func(db *pebble.DB) error {
		u := &update{db: db, owner: o}
		err := u.load()
		if err == nil {
			err = u.note(func(h header) bool {
				return countBetween(list, h.first, h.last) > 0
			}, func(root Root) bool {
				_, ok := slices.BinarySearchFunc(list, root, compareRoots)
				return ok
			})
		}
		return d.finish(u, err)
	})
}

// countBetween returns how many of sorted roots are in a range.
func countBetween(list []Root, first, last Root) int {
	from, _ := slices.BinarySearchFunc(list, first, compareRoots)
	to, found := slices.BinarySearchFunc(list, last, compareRoots)
	if found {
		to++
	}
	return to - from
}

// Reconcile compares the index with all contents that an owner has, takes out those that
// are not among them, and returns, rising, those that are not in it. It sorts list.
func (d *DB) Reconcile(o Owner, list []Root) (missing []Root, err error) {
	slices.SortFunc(list, compareRoots)
	list = slices.Compact(list)
	have := make([]bool, len(list))
	err = d.write(func(db *pebble.DB) error {
		u := &update{db: db, owner: o}
		err := u.load()
		if err == nil {
			err = u.note(func(header) bool { return true }, func(root Root) bool {
				i, ok := slices.BinarySearchFunc(list, root, compareRoots)
				if ok {
					have[i] = true
				}
				return !ok
			})
		}
		return d.finish(u, err)
	})
	for i, root := range list {
		if !have[i] {
			missing = append(missing, root)
		}
	}
	return missing, err
}

// Missing returns those of an owner's contents that are not in the index, rising. It sorts list.
func (d *DB) Missing(o Owner, list []Root) (missing []Root, err error) {
	slices.SortFunc(list, compareRoots)
	list = slices.Compact(list)
	db, err := d.enter()
	if err != nil {
		return nil, err
	}
	defer d.leave()
	in := db.NewSnapshot()
	defer func() { err = cmp.Or(err, in.Close()) }()
	headers, err := readHeaders(in, o)
	if err != nil {
		d.failed(err)
		return nil, err
	}
	have := make([]bool, len(list))
	for _, h := range headers {
		if countBetween(list, h.first, h.last) == 0 {
			continue
		}
		r, err := readRoots(in, o, h)
		if err != nil {
			d.failed(err)
			return nil, err
		}
		for i, root := range list {
			if n, ok := r.find(root); ok {
				_, gone := slices.BinarySearch(h.gone, uint16(n))
				have[i] = have[i] || !gone
			}
		}
	}
	for i, root := range list {
		if !have[i] {
			missing = append(missing, root)
		}
	}
	return missing, nil
}

// Drop takes an owner out of the index.
func (d *DB) Drop(o Owner) error {
	return d.write(func(db *pebble.DB) error {
		headers, err := readHeaders(db, o)
		if err != nil || len(headers) == 0 {
			return err
		}
		prefix := o.key(nil)
		if err := db.DeleteRange(prefix, after(prefix), pebble.NoSync); err != nil {
			return err
		}
		for _, h := range headers {
			d.contents.Add(-int64(h.live()))
		}
		return nil
	})
}

// finish merges what has to be merged after an update, and counts.
func (d *DB) finish(u *update, err error) error {
	for more := true; more && err == nil; {
		more, err = u.merge()
	}
	d.contents.Add(int64(u.live() - u.before))
	return err
}

// update is a change of the blocks of an owner. Each step is a batch of its own, which
// leaves the index whole.
type update struct {
	db     *pebble.DB
	owner  Owner
	blocks []header
	before int // contents at the beginning
}

func (u *update) load() (err error) {
	u.blocks, err = readHeaders(u.db, u.owner)
	u.before = u.live()
	return err
}

func (u *update) live() (n int) {
	for i := range u.blocks {
		n += u.blocks[i].live()
	}
	return n
}

// commit writes a new block, and what else write puts into the batch.
func (u *update) commit(write func(*blockWriter) error) error {
	w := &blockWriter{batch: u.db.NewBatch(), owner: u.owner}
	defer w.batch.Close()
	for i := range u.blocks {
		w.id = max(w.id, u.blocks[i].id+1)
	}
	if err := write(w); err != nil {
		return err
	}
	if err := w.batch.Commit(pebble.NoSync); err != nil {
		return err
	}
	var err error
	u.blocks, err = readHeaders(u.db, u.owner)
	return err
}

// note notes in the blocks what is gone, looking only into some.
func (u *update) note(look func(header) bool, gone func(Root) bool) error {
	b := u.db.NewBatch()
	defer b.Close()
	for i := range u.blocks {
		h := &u.blocks[i]
		if !look(*h) {
			continue
		}
		r, err := readRoots(u.db, u.owner, *h)
		if err != nil {
			return err
		}
		var list []uint16
		for n, root := range r.list {
			if _, was := slices.BinarySearch(h.gone, uint16(n)); was || gone(root) {
				list = append(list, uint16(n))
			}
		}
		if len(list) == len(h.gone) {
			continue
		}
		h.gone = list
		if err := b.Set(u.owner.block(nil, recHeader, h.id), h.append(nil), nil); err != nil {
			return err
		}
	}
	return b.Commit(pebble.NoSync)
}

// merge does one merge if one is due. more: another one may be.
func (u *update) merge() (more bool, err error) {
	chosen := u.choose()
	if len(chosen) == 0 {
		return false, nil
	}
	in := u.db.NewSnapshot()
	err = u.commit(func(w *blockWriter) error {
		_, err := w.merge(in, chosen)
		return err
	})
	return true, cmp.Or(err, in.Close())
}

// choose returns the blocks that are to be merged into one.
func (u *update) choose() []header {
	sizes := make(map[int][]header)
	for _, h := range u.blocks {
		if len(h.gone)*goneShare >= h.n {
			return []header{h}
		}
		s := sizeOf(h.live())
		sizes[s] = append(sizes[s], h)
	}
	for s := 0; s < sizeOf(maxContents); s++ {
		if same := sizes[s]; len(same) >= fanout {
			return fitting(same)
		}
	}
	return nil
}

// sizeOf returns which blocks one of so many contents is like.
func sizeOf(n int) (s int) {
	for ; n >= fanout; n /= fanout {
		s++
	}
	return s
}

// fitting returns as many blocks, from the smallest on, as fit into one; none if that is
// not even two.
func fitting(list []header) []header {
	slices.SortFunc(list, func(a, b header) int { return cmp.Or(cmp.Compare(a.live(), b.live()), cmp.Compare(a.id, b.id)) })
	n := 0
	for i := range list {
		if n += list[i].live(); n > maxContents {
			list = list[:i]
			break
		}
	}
	if len(list) < 2 {
		return nil
	}
	return list
}
