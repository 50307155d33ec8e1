package mailstore

import (
	"slices"

	"github.com/go-pluto/pluto/crdt"
)

// change is what an operation did to one UID of a view: the message is there
// now as row, or gone.
type change struct {
	uid  crdt.UID
	gone bool
	row  row
}

// update returns a view with changes made. It takes at most one change for
// each UID, in any order, and sorts them.
func (v *View) update(changes []change, next crdt.UID, high crdt.Time) *View {
	if len(changes) == 0 {
		w := *v
		w.next, w.high = next, high
		return &w
	}
	slices.SortFunc(changes, func(a, b change) int { return int(int64(a.uid) - int64(b.uid)) })
	chunks := make([]*chunk, 0, len(v.chunks)+1)
	same, at := -1, 0 // leading chunks that stay, chunks dealt with
	for len(changes) > 0 && at < len(v.chunks) {
		c := min(at+chunkOf(v.chunks[at:], changes[0].uid), len(v.chunks)-1)
		if same < 0 {
			same = c
		}
		n := len(changes) // what lies behind all belongs to the last chunk
		if c < len(v.chunks)-1 {
			last := v.chunks[c].last()
			n, _ = slices.BinarySearchFunc(changes, last+1, func(x change, uid crdt.UID) int { return int(int64(x.uid) - int64(uid)) })
		}
		chunks = append(chunks, v.chunks[at:c]...)
		chunks = append(chunks, v.chunks[c].update(changes[:n])...)
		at, changes = c+1, changes[n:]
	}
	chunks = append(chunks, v.chunks[at:]...)
	if len(changes) > 0 {
		chunks = append(chunks, merged(nil, changes)...)
	}
	w := assemble(chunks, v.starts[:max(same, 0)], next, high)
	if len(chunks) > 4*(w.len/chunkRows+1) {
		return assemble(compact(chunks, w.len), nil, next, high)
	}
	return w
}

// update returns what a chunk becomes: none, one or several chunks.
func (c *chunk) update(changes []change) []*chunk {
	if c.last() < changes[0].uid {
		return c.extend(changes)
	}
	if state, ok := c.restate(changes); ok {
		return []*chunk{{uids: c.uids, fixed: c.fixed, state: state}}
	}
	return merged(c, changes)
}

// extend adds messages behind the last one.
func (c *chunk) extend(changes []change) []*chunk {
	tip := &chunk{uids: c.uids, fixed: c.fixed, state: c.state}
	out := []*chunk{tip}
	for i := range changes {
		if changes[i].gone {
			continue
		}
		if len(tip.uids) == chunkRows {
			tip = &chunk{}
			out = append(out, tip)
		}
		tip.push(changes[i].row)
	}
	return out
}

// restate copies the changeable columns if the changes touch nothing else.
func (c *chunk) restate(changes []change) ([]stateRow, bool) {
	for i := range changes {
		if _, ok := slices.BinarySearch(c.uids, changes[i].uid); !ok || changes[i].gone {
			return nil, false
		}
	}
	state := make([]stateRow, len(c.state), max(len(c.state), cap(c.uids)))
	copy(state, c.state)
	for i := range changes {
		j, _ := slices.BinarySearch(c.uids, changes[i].uid)
		state[j] = changes[i].row.stateRow
	}
	return state, true
}

// merged makes new chunks of the messages of c (nil for none) and changes.
func merged(c *chunk, changes []change) []*chunk {
	if c == nil {
		c = &chunk{}
	}
	rows := make([]row, 0, len(c.uids)+len(changes))
	j := 0
	for i := range changes {
		for j < len(c.uids) && c.uids[j] < changes[i].uid {
			rows = append(rows, c.row(j))
			j++
		}
		if j < len(c.uids) && c.uids[j] == changes[i].uid {
			j++
		}
		if !changes[i].gone {
			rows = append(rows, changes[i].row)
		}
	}
	for ; j < len(c.uids); j++ {
		rows = append(rows, c.row(j))
	}
	var out []*chunk
	for part := range slices.Chunk(rows, chunkRows) {
		out = append(out, newChunk(part))
	}
	return out
}

// compact makes full chunks of many small ones that expunges have left.
func compact(chunks []*chunk, n int) []*chunk {
	rows := make([]row, 0, n)
	for _, c := range chunks {
		for j := range c.uids {
			rows = append(rows, c.row(j))
		}
	}
	var out []*chunk
	for part := range slices.Chunk(rows, chunkRows) {
		out = append(out, newChunk(part))
	}
	return out
}

// Changes is the difference between two views of one mailbox.
type Changes struct {
	Expunged []crdt.UID // in the older view only, rising
	Changed  []crdt.UID // in both, with another MODSEQ, rising
	Added    []crdt.UID // in the newer view only, rising
}

// Empty reports whether nothing differs.
func (c *Changes) Empty() bool {
	return len(c.Expunged) == 0 && len(c.Changed) == 0 && len(c.Added) == 0
}

// Since compares an older view of the same mailbox with v, in time
// proportional to the number of chunks and to the size of those that differ.
func (v *View) Since(old *View) Changes {
	var d Changes
	if old == v {
		return d
	}
	a, b := cursor{chunks: old.chunks}, cursor{chunks: v.chunks}
	for !a.end() && !b.end() {
		if a.skip(&b) {
			continue
		}
		u, w := a.uid(), b.uid()
		switch {
		case u < w:
			d.Expunged = append(d.Expunged, u)
			a.next()
		case u > w:
			d.Added = append(d.Added, w)
			b.next()
		default:
			if a.mod() != b.mod() {
				d.Changed = append(d.Changed, u)
			}
			a.next()
			b.next()
		}
	}
	for ; !a.end(); a.next() {
		d.Expunged = append(d.Expunged, a.uid())
	}
	for ; !b.end(); b.next() {
		d.Added = append(d.Added, b.uid())
	}
	return d
}

// cursor walks over the messages of a list of chunks, none of them empty.
type cursor struct {
	chunks []*chunk
	row    int
}

func (c *cursor) end() bool      { return len(c.chunks) == 0 }
func (c *cursor) uid() crdt.UID  { return c.chunks[0].uids[c.row] }
func (c *cursor) mod() crdt.Time { return c.chunks[0].state[c.row].mod }

func (c *cursor) next() {
	if c.row++; c.row == len(c.chunks[0].uids) {
		c.chunks, c.row = c.chunks[1:], 0
	}
}

// skip leaps over a chunk that both share, and reports whether it did.
func (c *cursor) skip(d *cursor) bool {
	if c.row != 0 || d.row != 0 || c.chunks[0] != d.chunks[0] {
		return false
	}
	c.chunks, d.chunks = c.chunks[1:], d.chunks[1:]
	return true
}
