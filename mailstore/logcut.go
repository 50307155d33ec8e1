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

// CutLog deletes the log's beginning: for each origin the operations up to v.
// What is not durable here is kept.
func (r *Replica) CutLog(v crdt.VC) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	v = v.Min(r.Logged())
	r.cut.Lock()
	defer r.cut.Unlock()
	next := r.cut.vector.Clone()
	b := r.store.db.NewBatch()
	defer b.Close()
	for o, n := range v.All() {
		old := next.Get(o)
		if n <= old {
			continue
		}
		if err := b.DeleteRange(r.keys.log(nil, crdt.Dot{Origin: o, N: old}), r.keys.log(nil, crdt.Dot{Origin: o, N: n + 1}), nil); err != nil {
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
	if err := b.Commit(pebble.Sync); err != nil {
		return fmt.Errorf("cut log: %w", err)
	}
	r.cut.vector = next
	return nil
}
