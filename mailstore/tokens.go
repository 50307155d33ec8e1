package mailstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"github.com/go-pluto/pluto/crdt"
)

// tokenTable keeps what translates MODSEQs of other replicas (crdt.md 4.2): in
// memory, and on the disk written by writeTokens. What a crash loses of the
// newest makes translations coarser, never wrong: of two facts, that an operation
// was applied and that a checkpoint says so, the disk has the first one earlier.
type tokenTable struct {
	mu      sync.Mutex // innermost: nothing is done under it that waits
	tokens  *crdt.Tokens
	pending map[string][]byte // keys to write, nil values: to delete
	renewed []crdt.Slot       // all older keys of these slots are void
}

// loadTokens reads the checkpoints, or begins with none on a new disk.
func (r *Replica) loadTokens() error {
	k := &r.tokens
	k.pending = make(map[string][]byte)
	heads, lists, err := r.readCheckpoints()
	if err != nil {
		return err
	}
	own, ok := heads[r.self.Slot]
	if !ok || own.origin != r.self.Origin {
		own = checkpointHead{r.self.Origin, crdt.TimeAt(r.now(), r.self.Slot)} // or later: see Joined
		delete(lists, r.self.Slot)
		k.pending[string(r.keys.checkpoints(nil, r.self.Slot))] = own.append(nil)
	}
	k.tokens = crdt.NewTokens(r.self, own.since, crdt.DefaultSpacing())
	k.tokens.RestoreOwn(lists[r.self.Slot])
	for slot, h := range heads {
		if slot != r.self.Slot {
			k.tokens.RestorePeer(slot, h.origin, h.since, lists[slot])
		}
	}
	return r.writeTokens()
}

// checkpointHead says to whom the checkpoints of a slot belong.
type checkpointHead struct {
	origin crdt.Origin
	since  crdt.Time
}

func (h checkpointHead) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(h.origin))
	return binary.BigEndian.AppendUint64(b, uint64(h.since))
}

func (r *Replica) readCheckpoints() (map[crdt.Slot]checkpointHead, map[crdt.Slot][]crdt.Checkpoint, error) {
	heads, lists := make(map[crdt.Slot]checkpointHead), make(map[crdt.Slot][]crdt.Checkpoint)
	prefix := r.keys.kind(nil, spaceState, kindCheckpoint)
	it, err := r.store.db.NewIter(&pebble.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, nil, err
	}
	for ok := it.First(); ok; ok = it.Next() {
		v, err := it.ValueAndErr()
		rest := it.Key()[len(prefix):]
		switch {
		case err != nil:
		case len(rest) == 1 && len(v) == 16:
			heads[crdt.Slot(rest[0])] = checkpointHead{crdt.Origin(binary.BigEndian.Uint64(v)), crdt.Time(binary.BigEndian.Uint64(v[8:]))}
		case len(rest) == 9:
			c := crdt.Checkpoint{Time: crdt.Time(binary.BigEndian.Uint64(rest[1:]))}
			c.Vector, err = crdt.DecodeVC(v)
			lists[crdt.Slot(rest[0])] = append(lists[crdt.Slot(rest[0])], c)
		default:
			err = errCorrupt
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("checkpoint %x: %w", it.Key(), err), it.Close())
		}
	}
	return heads, lists, it.Close()
}

// writeTokens writes what is new, without a sync of its own.
func (r *Replica) writeTokens() error {
	k := &r.tokens
	k.mu.Lock()
	pending, renewed := k.pending, k.renewed
	k.pending, k.renewed = make(map[string][]byte), nil
	k.mu.Unlock()
	if len(pending) == 0 || r.store.Err() != nil {
		return nil
	}
	b := r.store.db.NewBatch()
	defer b.Close()
	var err error
	for _, slot := range renewed {
		prefix := r.keys.checkpoints(nil, slot)
		err = errors.Join(err, b.DeleteRange(prefix, after(prefix), nil))
	}
	for key, v := range pending {
		if v == nil {
			err = errors.Join(err, b.Delete([]byte(key), nil))
			continue
		}
		err = errors.Join(err, b.Set([]byte(key), v, nil))
	}
	if err = errors.Join(err, b.Commit(pebble.NoSync)); err != nil {
		return fmt.Errorf("write checkpoints: %w", err)
	}
	return nil
}

// changed notes what is to be written of a slot. Under k.mu.
func (k *tokenTable) changed(keys keyspace, c crdt.Checkpoint, kept bool, dropped []crdt.Time) {
	for _, t := range dropped {
		k.pending[string(keys.checkpoint(nil, c.Time.Slot(), t))] = nil
	}
	if kept {
		k.pending[string(keys.checkpoint(nil, c.Time.Slot(), c.Time))] = c.Vector.AppendBinary(nil)
	}
}

// heardOp takes what the header of a peer's operation tells of its replica.
func (r *Replica) heardOp(op *crdt.Op) {
	k, c := &r.tokens, crdt.CheckpointOf(op)
	k.mu.Lock()
	defer k.mu.Unlock()
	slot := c.Time.Slot()
	_, _, known := k.tokens.Incarnation(slot)
	kept, dropped := k.tokens.HeardOp(op.Dot.Origin, c)
	if !known {
		k.head(r.keys, slot)
	}
	k.changed(r.keys, c, kept, dropped)
}

// head notes that a slot's incarnation is to be written. Under k.mu.
func (k *tokenTable) head(keys keyspace, slot crdt.Slot) {
	if o, since, ok := k.tokens.Incarnation(slot); ok {
		k.pending[string(keys.checkpoints(nil, slot))] = checkpointHead{o, since}.append(nil)
	}
}

// Heard implements comm.Store.
func (r *Replica) Heard(o crdt.Origin, clock crdt.Time, applied crdt.VC) {
	k, c := &r.tokens, crdt.Checkpoint{Time: clock, Vector: applied}
	k.mu.Lock()
	defer k.mu.Unlock()
	kept, dropped, changed := k.tokens.HeardPeer(o, c)
	if changed {
		k.renew(r.keys, clock.Slot())
	}
	k.changed(r.keys, c, kept, dropped)
}

// renew notes that the older checkpoints of a slot are void. Under k.mu.
func (k *tokenTable) renew(keys keyspace, slot crdt.Slot) {
	prefix := string(keys.checkpoints(nil, slot))
	for key := range k.pending {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
			delete(k.pending, key)
		}
	}
	k.renewed = append(k.renewed, slot)
	k.head(keys, slot)
}

// Clock implements comm.Store: everything that was durable here before the call
// was applied with a MODSEQ up to it, and no MODSEQ above it was drawn yet.
func (r *Replica) Clock() crdt.Time {
	r.seq.Lock()
	defer r.seq.Unlock()
	return max(r.seq.clock.Last, crdt.TimeAt(r.now(), r.self.Slot))
}

// noteTokens keeps a checkpoint of this replica, if it has applied something.
func (r *Replica) noteTokens() {
	r.seq.Lock()
	c := crdt.Checkpoint{Time: r.seq.clock.Last, Vector: r.seq.vector}
	if c.Time == 0 || r.tokensOff {
		r.seq.Unlock()
		return
	}
	c.Vector = c.Vector.Clone()
	r.seq.Unlock()
	k := &r.tokens
	k.mu.Lock()
	defer k.mu.Unlock()
	kept, dropped := k.tokens.Note(c)
	k.changed(r.keys, c, kept, dropped)
}

// SuspendCheckpoints drops the own checkpoints and takes no more (on), because
// from now on changes appear here that do not stem from what the replica's vector
// says at their time: the snapshot of an account is loaded. When all are and the
// vector is right again, checkpoints begin anew (not on).
func (r *Replica) SuspendCheckpoints(on bool) {
	r.seq.Lock()
	r.tokensOff = on
	r.seq.Unlock()
	k := &r.tokens
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tokens.Forget()
	slot := r.self.Slot
	prefix := string(r.keys.checkpoints(nil, slot))
	head := checkpointHead{r.self.Origin, k.tokens.Birth()}.append(nil)
	for key := range k.pending {
		if len(key) >= len(prefix) && key[:len(prefix)] == prefix {
			delete(k.pending, key)
		}
	}
	k.renewed = append(k.renewed, slot)
	k.pending[prefix] = head
}

// lastHeard returns the latest time that a peer is known to have told.
func (r *Replica) lastHeard() (last crdt.Time) {
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	for slot := crdt.Slot(1); slot <= crdt.MaxSlot; slot++ {
		last = max(last, r.tokens.tokens.LastHeard(slot))
	}
	return last
}

// floor says what a MODSEQ that a client has is worth here.
func (r *Replica) floor(t crdt.Time) crdt.Floor {
	r.seq.Lock()
	last := r.seq.clock.Last
	r.seq.Unlock()
	r.tokens.mu.Lock()
	defer r.tokens.mu.Unlock()
	return r.tokens.tokens.Floor(t, last, r.now())
}

// observe draws a time that is above what a client was told elsewhere, if that
// can be believed. It must be committed before it is told.
func (r *Replica) observe(t crdt.Time) crdt.Time {
	r.tokens.mu.Lock()
	credible := r.tokens.tokens.Credible(t, r.now())
	r.tokens.mu.Unlock()
	r.seq.Lock()
	defer r.seq.Unlock()
	if credible {
		r.seq.clock.Observe(t)
	}
	return r.seq.clock.Bump(r.now())
}
