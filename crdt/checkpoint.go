package crdt

import (
	"cmp"
	"slices"
	"sort"
)

// Checkpoint says how far a replica was at a moment of its own clock: every
// change that it made with a MODSEQ up to Time stems from operations in Vector,
// and every operation in Vector had been applied when its clock showed Time.
type Checkpoint struct {
	Time   Time
	Vector VC
}

// CheckpointOf returns what an operation says of the replica that made it: the
// vector in its header is the one before it, and it was applied there at its own
// time. From one that is [Op].Partial nothing follows but that its origin has
// made all operations before it.
func CheckpointOf(h *Op) Checkpoint {
	if h.Partial {
		return Checkpoint{h.Time, VC{h.Dot}}
	}
	return Checkpoint{h.Time, h.Deps.With(h.Dot.Origin, h.Dot.N)}
}

// Spacing says how dense a list of checkpoints is: at least Dense milliseconds
// apart while they are younger than Recent, at least Sparse when older, and none
// older than Keep. Fewer checkpoints make translations coarser, never wrong.
type Spacing struct{ Dense, Recent, Sparse, Keep int64 }

// DefaultSpacing is that of crdt.md section 4.2: at most 13,000 checkpoints.
func DefaultSpacing() Spacing {
	const second, minute, day = 1000, 60 * 1000, 24 * 60 * 60 * 1000
	return Spacing{Dense: 10 * second, Recent: 60 * minute, Sparse: 10 * minute, Keep: 90 * day}
}

// Checkpoints is the thinned history of one incarnation of a replica: times and
// vectors rise together. The zero value is empty. It is not safe for concurrent use.
type Checkpoints struct{ list []Checkpoint }

// Len returns the number of checkpoints.
func (c *Checkpoints) Len() int { return len(c.list) }

// Last returns the newest checkpoint, false if there is none.
func (c *Checkpoints) Last() (Checkpoint, bool) {
	if len(c.list) == 0 {
		return Checkpoint{}, false
	}
	return c.list[len(c.list)-1], true
}

// At returns the last checkpoint whose time is not after t, false if there is none.
func (c *Checkpoints) At(t Time) (Checkpoint, bool) {
	return c.before(sort.Search(len(c.list), func(i int) bool { return c.list[i].Time > t }))
}

// Within returns the last checkpoint whose operations v contains, false if there is none.
func (c *Checkpoints) Within(v VC) (Checkpoint, bool) {
	return c.before(sort.Search(len(c.list), func(i int) bool { return !c.list[i].Vector.LessEqual(v) }))
}

func (c *Checkpoints) before(i int) (Checkpoint, bool) {
	if i == 0 {
		return Checkpoint{}, false
	}
	return c.list[i-1], true
}

// Add takes a checkpoint and reports whether it was kept, and the times of those
// that were dropped for it. What adds nothing to the others is not kept: the same
// vector as the last one's, what comes too soon after it, what is older.
func (c *Checkpoints) Add(k Checkpoint, s Spacing) (kept bool, dropped []Time) {
	n := len(c.list)
	for n > 0 && c.list[n-1].Time >= k.Time {
		// The clock was set back, or ran ahead in what was told before: a larger
		// vector at an earlier time says more than all between.
		if !c.list[n-1].Vector.LessEqual(k.Vector) {
			return false, nil
		}
		n--
	}
	if n > 0 {
		last := c.list[n-1]
		if k.Time.UnixMillis()-last.Time.UnixMillis() < s.Dense || !last.Vector.LessEqual(k.Vector) || last.Vector.Equal(k.Vector) {
			return false, nil
		}
	}
	for _, old := range c.list[n:] {
		dropped = append(dropped, old.Time)
	}
	c.list = append(c.list[:n], Checkpoint{k.Time, k.Vector.Clone()})
	return true, append(dropped, c.thin(s)...)
}

// thin drops what the last checkpoint makes old: what is older than Keep, and of
// what has just left the dense part all but one per Sparse.
func (c *Checkpoints) thin(s Spacing) (dropped []Time) {
	now := c.list[len(c.list)-1].Time.UnixMillis()
	first := sort.Search(len(c.list), func(i int) bool { return c.list[i].Time.UnixMillis() >= now-s.Keep })
	for _, k := range c.list[:first] {
		dropped = append(dropped, k.Time)
	}
	c.list = slices.Delete(c.list, 0, first)
	end := sort.Search(len(c.list), func(i int) bool { return c.list[i].Time.UnixMillis() >= now-s.Recent })
	begin := max(end-1, 0)
	for begin > 0 && c.gap(begin-1, begin) < s.Sparse {
		begin--
	}
	kept := begin
	for i := begin + 1; i < end; i++ {
		if c.gap(kept, i) < s.Sparse {
			dropped = append(dropped, c.list[i].Time)
			continue
		}
		kept++
		c.list[kept] = c.list[i]
	}
	if kept+1 < end {
		c.list = slices.Delete(c.list, kept+1, end)
	}
	return dropped
}

// gap returns the milliseconds between two checkpoints.
func (c *Checkpoints) gap(i, j int) int64 {
	return c.list[j].Time.UnixMillis() - c.list[i].Time.UnixMillis()
}

// Restore makes list, in any order, the history: what was read from a disk. What
// does not fit together is left out.
func (c *Checkpoints) Restore(list []Checkpoint) {
	slices.SortFunc(list, func(a, b Checkpoint) int { return cmp.Compare(a.Time, b.Time) })
	c.list = nil
	for _, k := range list {
		if last, ok := c.Last(); !ok || last.Time < k.Time && last.Vector.LessEqual(k.Vector) {
			c.list = append(c.list, k)
		}
	}
}

// Clone returns an independent copy.
func (c *Checkpoints) Clone() Checkpoints { return Checkpoints{slices.Clone(c.list)} }
