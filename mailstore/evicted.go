package mailstore

import (
	"errors"
	"fmt"

	"github.com/go-pluto/pluto/crdt"
)

// Evicted tells that an incarnation is gone for ever. Clients that come from it
// may have been shown what nobody else has, and are told everything anew. The
// clock is set to what it is known to have told, for the one that takes its place
// ([Replica.Joined]). An account that was loaded from it, by a load that went on
// with another peer, may have what no log has: it is put into quarantine. Evicted
// returns when that survives a crash.
func (r *Replica) Evicted(slot crdt.Slot, o crdt.Origin) error {
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	k := &r.tokens
	k.mu.Lock()
	last := k.tokens.LastHeard(slot)
	changed := k.tokens.Evicted(slot, o)
	if changed {
		k.renew(r.keys, slot)
	}
	k.mu.Unlock()
	if !changed {
		return nil
	}
	r.seq.Lock()
	r.seq.clock.Observe(min(last, maxAhead(r.now())))
	r.seq.Unlock()
	if err := errors.Join(r.partFrom(o), r.writeTokens(), r.flushed()); err != nil {
		return fmt.Errorf("note that %v is evicted: %w", o, err)
	}
	return nil
}

// partFrom puts accounts into quarantine that have more of an evicted incarnation
// than the log: nobody may ever send the others that.
func (r *Replica) partFrom(o crdt.Origin) error {
	ids, err := r.accountIDs()
	if err != nil {
		return err
	}
	logged := r.Logged().Get(o)
	for _, id := range ids {
		if err := r.quarantineAhead(id, o, logged); err != nil {
			return err
		}
	}
	return nil
}

func (r *Replica) quarantineAhead(id crdt.AccountID, o crdt.Origin, logged uint64) error {
	a := r.acquire(id)
	defer r.release(a)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.load(); err != nil || a.quarantined != nil {
		return err
	}
	has := a.rec.Vector.Get(o)
	if has <= logged {
		return nil
	}
	return a.damage(fmt.Errorf("operations %d to %d of %v, which is evicted, were loaded with it, and are not in the log", logged+1, has, o))
}

// Joined implements comm.Store: clients are served from now on. Where another
// incarnation had the slot before, MODSEQs that it can have given are not taken
// for own ones: the peers, of whose clocks the own one has learned, heard of its
// clock, and nobody's is believed that is more than an hour ahead of that.
func (r *Replica) Joined(replaces bool) error {
	if !replaces {
		return nil
	}
	if err := r.store.enter(); err != nil {
		return err
	}
	defer r.store.leave()
	clock := r.Clock()
	k := &r.tokens
	k.mu.Lock()
	k.tokens.Reborn(clock)
	k.pending[string(r.keys.checkpoints(nil, r.self.Slot))] = checkpointHead{r.self.Origin, k.tokens.Birth()}.append(nil)
	k.mu.Unlock()
	if err := errors.Join(r.writeTokens(), r.flushed()); err != nil {
		return fmt.Errorf("note when the replica joined: %w", err)
	}
	return nil
}
