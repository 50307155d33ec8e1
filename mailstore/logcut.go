package mailstore

import (
	"fmt"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// loadCut reads where the log begins.
func (r *Replica) loadCut() error {
	b, err := r.store.get(r.keys.cut(nil))
	if err != nil || b == nil {
		return err
	}
	if r.cut.vector, err = crdt.DecodeVC(b); err != nil {
		return fmt.Errorf("%w: cut of the log: %w", errCorrupt, err)
	}
	return nil
}

// logCut returns the last number of an origin that is no longer in the log.
func (r *Replica) logCut(o crdt.Origin) uint64 {
	r.cut.Lock()
	defer r.cut.Unlock()
	return r.cut.vector.Get(o)
}

// Cut implements comm.Store.
func (r *Replica) Cut() crdt.VC {
	r.cut.Lock()
	defer r.cut.Unlock()
	return r.cut.vector.Clone()
}

// CutLog deletes the log's beginning: for each origin the operations up to v.
// What is not durable here is kept.
func (r *Replica) CutLog(v crdt.VC) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	v = v.Min(r.Logged())
	r.cut.cutting.Lock()
	defer r.cut.cutting.Unlock()
	next := r.Cut()
	b := r.store.db.NewBatch()
	defer b.Close()
	for o, n := range v.All() {
		old := next.Get(o)
		if n <= old {
			continue
		}
		if err := r.deleteLog(b, o, old+1, n); err != nil {
			return fmt.Errorf("cut log: %w", err)
		}
		next.Set(o, n)
	}
	if b.Empty() {
		return nil
	}
	if err := b.Set(r.keys.cut(nil), next.AppendBinary(nil), nil); err != nil {
		return fmt.Errorf("cut log: %w", err)
	}
	// Known before it is done: who finds that operations are missing has to see why.
	r.cut.Lock()
	r.cut.vector = next
	r.cut.Unlock()
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("cut log: %w", err)
	}
	r.logSize.forgetCut(next)
	return nil
}

// rangeCut is from how many operations on a range deletion is cheaper than one
// for each: the database gets slow with thousands of small ones in memory.
const rangeCut = 4096

// deleteLog puts the deletion of operations from..to of an origin into a batch.
func (r *Replica) deleteLog(b *pebble.Batch, o crdt.Origin, from, to uint64) error {
	if to-from >= rangeCut {
		return b.DeleteRange(r.keys.log(nil, crdt.Dot{Origin: o, N: from}), r.keys.log(nil, crdt.Dot{Origin: o, N: to + 1}), nil)
	}
	var key []byte
	for n := from; n <= to; n++ {
		key = r.keys.log(key[:0], crdt.Dot{Origin: o, N: n})
		if err := b.Delete(key, nil); err != nil {
			return err
		}
	}
	return nil
}
