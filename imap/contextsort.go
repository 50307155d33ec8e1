package imap

import (
	"slices"

	"github.com/go-kit/log/level"
)

// remove takes messages out of the result. Each position counts after the
// removals before it.
func (t *sortTable) remove(gone []UID) (removed []resultUpdate) {
	kept := t.sorted[:0]
	for _, row := range t.sorted {
		uid := t.uids[row]
		if !inUIDs(gone, uid) {
			kept = append(kept, row)
			continue
		}
		if last := len(removed) - 1; last >= 0 && removed[last].position == len(kept)+1 {
			removed[last].uids = append(removed[last].uids, uid)
		} else {
			removed = append(removed, resultUpdate{len(kept) + 1, []UID{uid}})
		}
	}
	t.sorted = kept
	return removed
}

// insert puts messages into the result of a SORT where they belong.
func (s *session) insert(x *searchContext, come []UID) []resultUpdate {
	t := x.table
	has := make([]bool, len(come))
	for _, row := range t.sorted {
		if i, ok := slices.BinarySearch(come, t.uids[row]); ok {
			has[i] = true
		}
	}
	t.compact()
	old := t.sorted
	t.sorted = nil
	f := finder{session: s, box: s.box, program: x.program}
	for k, uid := range come {
		i, _ := s.box.told.Find(uid)
		if has[k] {
			continue
		}
		if err := f.keysOf(i, t); err != nil {
			level.Warn(s.log).Log("msg", "message not put into a sorted result", "err", err)
		}
	}
	fresh := t.sorted
	slices.SortFunc(fresh, t.compare)
	var added []resultUpdate
	all := make([]int32, 0, len(old)+len(fresh))
	for len(fresh) > 0 {
		if len(old) > 0 && t.compare(old[0], fresh[0]) < 0 {
			all, old = append(all, old[0]), old[1:]
			continue
		}
		all = append(all, fresh[0])
		n := len(all)
		if last := len(added) - 1; last >= 0 && added[last].position+len(added[last].uids) == n {
			added[last].uids = append(added[last].uids, t.uids[fresh[0]])
		} else {
			added = append(added, resultUpdate{n, []UID{t.uids[fresh[0]]}})
		}
		fresh = fresh[1:]
	}
	t.sorted = append(all, old...)
	return added
}

// compact drops the rows of messages that are no results any more when they are
// most of all.
func (t *sortTable) compact() {
	if len(t.uids) < 2*len(t.sorted)+ctxEvery {
		return
	}
	n := newSortTable(t.criteria, len(t.sorted))
	for i, row := range t.sorted {
		for k := range t.columns {
			n.columns[k].copy(&t.columns[k], row)
		}
		n.uids = append(n.uids, t.uids[row])
		n.sorted = append(n.sorted, int32(i))
	}
	*t = *n
}

// copy appends a value of another column of the same kind.
func (c *sortColumn) copy(from *sortColumn, row int32) {
	if from.numbers != nil {
		c.numbers = append(c.numbers, from.numbers[row])
		return
	}
	c.texts = append(c.texts, from.at(row)...)
	c.ends = append(c.ends, uint32(len(c.texts)))
}
