package causal

import "github.com/go-pluto/pluto/crdt"

// Entry is an encoded operation with what replication must know of it.
type Entry struct {
	Dot    crdt.Dot
	Deps   crdt.VC // what its replica had applied when it was prepared, without itself
	Time   crdt.Time
	Bodies []crdt.Root // contents that travel just before it
	Data   []byte      // crdt.Op, encoded
}

// entryOverhead stands for an entry's header in the reckoning of windows.
const entryOverhead = 128

// Size is what the entry counts in windows and batches, in bytes. Sender and
// receiver must compute the same, so it does not depend on any encoding.
func (e *Entry) Size() int {
	return len(e.Data) + len(crdt.Root{})*len(e.Bodies) + entryOverhead
}
