package mailstore

import (
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// NextAccount returns the first account that has records here, from one on; false if
// there is none.
func (r *Replica) NextAccount(from crdt.AccountID) (id crdt.AccountID, ok bool, err error) {
	err = r.inStore(func() error {
		kind := r.keys.kind(nil, spaceState, kindAccount)
		it, err := r.store.db.NewIter(iterBounds(r.keys.record(nil, from, 0), after(kind)))
		if err != nil {
			return err
		}
		if ok = it.First(); ok {
			id, err = parseAccount(it.Key()[len(kind):])
		}
		return errors.Join(err, it.Error(), it.Close())
	})
	return id, ok, err
}

// accountIDs lists the accounts of which there is anything here.
func (r *Replica) accountIDs() (out []crdt.AccountID, err error) {
	for next := crdt.AccountID(0); ; {
		id, ok, err := r.NextAccount(next)
		if err != nil {
			return nil, fmt.Errorf("list accounts: %w", err)
		}
		if ok {
			out = append(out, id)
			next = id + 1
		}
		if !ok || next == 0 {
			return out, nil
		}
	}
}
